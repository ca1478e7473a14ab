//! A training step allocates nothing once it has run a few times: no thread waits for the allocator, and memory does
//! not grow. The allocator counts for the whole process, so this binary has no other test.
#![allow(unsafe_code)] // a global allocator needs it

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nn_core::{
    Activation, Compute, Cost, Dataset, Features, Init, Isa, Model, Optimizer, OptimizerState, Output,
    Samples, StepInputs, Targets, Threads, Workspace, initial_parameters,
};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_training_step_allocates_nothing_in_the_steady_state() {
    const STEPS: u64 = 20;
    let isa = Isa::best();
    let adam = (0.9, 0.999, 1e-8);
    let optimizers = [
        Optimizer::Sgd,
        Optimizer::Momentum { momentum: 0.9 },
        Optimizer::Nesterov { momentum: 0.9 },
        Optimizer::Adam { beta1: adam.0, beta2: adam.1, epsilon: adam.2 },
        Optimizer::AdamW { beta1: adam.0, beta2: adam.1, epsilon: adam.2, weight_decay: 0.01 },
    ];
    // Large enough for two threads to share every phase of a step.
    let model =
        Model::new(vec![784, 700, 10], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let samples = 96;
    let data = Dataset::new(
        Features::U8 { data: (0..samples * 784).map(|i| (i * 7 % 251) as u8).collect(), scale: 255.0 },
        784,
        Targets::Classes { labels: (0..samples as u32).map(|i| i % 10).collect(), classes: 10 },
        None,
    )
    .unwrap();
    let batch: Vec<u32> = (0..samples as u32).rev().collect();
    let samples = Samples::first(&batch);
    for count in [1, 2] {
        for optimizer in optimizers {
            let compute = Compute { isa, threads: Arc::new(Threads::new(count).unwrap()) };
            let mut workspace = Workspace::new(&model, batch.len(), compute.threads.clone(), isa);
            let mut params = initial_parameters(&model, Init::He, 1);
            let mut gradient = vec![0.0; params.len()];
            let mut state = OptimizerState::new(optimizer, &model);
            let mut run = |steps| {
                for step in 0..steps {
                    let stats = workspace.node_gradient(&params, &data, samples, 12, &mut gradient).unwrap();
                    let inputs = StepInputs {
                        samples: stats.samples,
                        step,
                        learning_rate: 1e-3,
                        l2: 0.0,
                        clip: 1.0,
                        noise: None,
                    };
                    state.step(&compute, &mut params, &gradient, inputs);
                }
            };
            // One thread allocates nothing at all. With more, the pool allocates a message to wake a thread that fell
            // asleep, on a busy machine perhaps in every step. So a few small messages are allowed, but nothing of
            // the size of a layer, or even of a leaf's losses.
            let messages = if count == 1 { 0 } else { 12 * STEPS as usize };
            let quiet = compute.threads.enter(|| {
                run(3);
                (0..50).any(|_| {
                    let before = (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
                    run(STEPS);
                    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before.0;
                    let bytes = BYTES.load(Ordering::Relaxed) - before.1;
                    allocations <= messages && bytes <= 128 * messages
                })
            });
            assert!(quiet, "every {STEPS} steps allocate with {count} thread(s) and {optimizer:?}");
        }
    }
}
