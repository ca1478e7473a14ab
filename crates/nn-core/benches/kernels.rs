//! The kernels one by one, as a share of the processor's measured peak, and whole steps.
//!
//! Run `cargo bench -p nn-core` on an idle machine. `-- --test` only runs each benchmark once.
#![allow(clippy::print_stdout)] // a benchmark's result is its output

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nn_core::measure::{Bench, Distortions, multiply_adds};
use nn_core::{
    Activation, Augmentation, Compute, Cost, Dataset, Features, Init, Integers, Isa, Model, Optimizer,
    OptimizerState, Output, Purpose, Samples, StepInputs, Targets, Threads, Workspace, compact, expand,
    initial_parameters, permutation, zeroed,
};

/// One thread's peak, in 10⁹ floating-point operations a second.
#[allow(clippy::disallowed_methods)] // a benchmark reads a clock
fn peak(isa: Isa) -> f64 {
    let rounds = if isa.name() == "portable" { 20_000 } else { 400_000 };
    let run = || {
        let start = Instant::now();
        multiply_adds(isa, rounds) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..20).map(|_| run()).fold(0.0, f64::max)
}

/// (inputs, outputs, samples): the hidden layers of the shapes that [`steps`] trains.
const LAYERS: [(usize, usize, usize); 5] =
    [(784, 30, 10), (784, 128, 32), (784, 512, 128), (512, 256, 128), (2500, 2000, 256)];

/// Prints the share of the peak that a kernel reaches, which criterion does not know.
#[allow(clippy::disallowed_methods)] // as above
fn share(name: &str, operations: u64, peak: f64, mut run: impl FnMut()) {
    run();
    let once = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let best = (0..30).map(|_| once(&mut run)).min().unwrap_or(Duration::MAX);
    let speed = operations as f64 / best.as_secs_f64() / 1e9;
    println!("{name}: {speed:.0} GFLOP/s, {:.0} % of the peak", 100.0 * speed / peak);
}

fn products(c: &mut Criterion) {
    for isa in Isa::available().into_iter().filter(|isa| !["portable", "avx2-tiles"].contains(&isa.name())) {
        let peak = peak(isa);
        println!("{}: a peak of {peak:.0} GFLOP/s a thread", isa.name());
        let mut group = c.benchmark_group(format!("product/{}", isa.name()));
        for (inputs, outputs, samples) in LAYERS {
            let mut bench = Bench::new(isa, inputs, outputs, samples, samples);
            let shape = format!("{inputs}x{outputs}x{samples}");
            let operations = bench.operations();
            group.throughput(Throughput::Elements(operations));
            share(&format!("forward {shape}"), operations, peak, || bench.forward());
            group.bench_function(BenchmarkId::new("forward", &shape), |b| b.iter(|| bench.forward()));
            share(&format!("backward {shape}"), operations, peak, || bench.backward());
            group.bench_function(BenchmarkId::new("backward", &shape), |b| b.iter(|| bench.backward()));
        }
        group.finish();
    }
}

fn gradient_by_leaf(c: &mut Criterion) {
    let isa = Isa::best();
    let peak = peak(isa);
    let mut group = c.benchmark_group("gradient");
    for (inputs, outputs, samples) in LAYERS {
        for shard in [2, 4, 16, 32].into_iter().filter(|&s| s < samples).chain([samples]) {
            let mut bench = Bench::new(isa, inputs, outputs, samples, shard);
            let name = format!("{inputs}x{outputs}x{samples} in leaves of {shard}");
            group.throughput(Throughput::Elements(bench.operations()));
            share(&name, bench.operations(), peak, || {
                bench.gradient();
            });
            group.bench_function(&name, |b| b.iter(|| bench.gradient()));
        }
    }
    group.finish();
}

fn activations(c: &mut Criterion) {
    let mut group = c.benchmark_group("activation");
    for activation in [Activation::Sigmoid, Activation::Relu, Activation::Tanh] {
        let mut bench = Bench::new(Isa::best(), 16, 512, 16, 16);
        group.throughput(Throughput::Elements(512 * 16));
        group.bench_function(format!("{activation:?}"), |b| b.iter(|| bench.activate(activation)));
    }
    group.finish();
}

fn model(widths: &[usize]) -> Model {
    Model::new(widths.to_vec(), Activation::Relu, Output::Softmax, Cost::CrossEntropy).expect("a sound model")
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("update");
    let model = model(&[784, 512, 256, 10]);
    let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
    for optimizer in [
        Optimizer::Sgd,
        Optimizer::Momentum { momentum: 0.9 },
        Optimizer::Nesterov { momentum: 0.9 },
        Optimizer::Adam { beta1, beta2, epsilon },
        Optimizer::AdamW { beta1, beta2, epsilon, weight_decay: 0.01 },
    ] {
        let threads = Arc::new(Threads::new(1).expect("the calling thread"));
        let compute = Compute { isa: Isa::best(), threads };
        let inputs =
            StepInputs { samples: 32, step: 1, learning_rate: 0.01, l2: 0.0, clip: 1.0, noise: None };
        let mut state = OptimizerState::new(optimizer, &model);
        let mut params = zeroed(model.parameters());
        let gradient = zeroed(model.parameters());
        group.throughput(Throughput::Elements(model.parameters() as u64));
        let name = format!("{optimizer:?}");
        let name = name.split(' ').next().unwrap_or_default();
        group.bench_function(name, |b| {
            b.iter(|| state.step(&compute, &mut params, &gradient, inputs));
        });
    }
    group.finish();
}

fn distortions(c: &mut Criterion) {
    let both = Augmentation { elastic: Augmentation::ELASTIC.elastic, ..Augmentation::AFFINE };
    for isa in Isa::available().into_iter().filter(|isa| isa.name() != "avx2-tiles") {
        let mut group = c.benchmark_group(format!("distort/{}", isa.name()));
        group.throughput(Throughput::Elements(1));
        for (name, augmentation) in [("affine", Augmentation::AFFINE), ("affine and elastic", both)] {
            let mut pictures = Distortions::new(isa, augmentation, (28, 28));
            group.bench_function(name, |b| {
                b.iter(|| {
                    black_box(pictures.next_sample());
                });
            });
        }
        group.finish();
    }
}

fn steps(c: &mut Criterion) {
    let isa = Isa::best();
    let samples = 10_000;
    let noise = |i: usize| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let data = Dataset::new(
        Features::U8 { data: (0..samples * 784).map(noise).collect(), scale: 255.0 },
        784,
        Targets::Classes { labels: (0..samples as u32).map(|i| i % 10).collect(), classes: 10 },
        None,
    )
    .expect("sound data");
    let mut order = vec![0; samples];
    permutation(1, Purpose::Shuffle, 0, &mut order);
    let shapes: [(&[usize], usize); 5] = [
        (&[784, 30, 10], 10),
        (&[784, 128, 10], 32),
        (&[784, 512, 256, 10], 128),
        (&[784, 512, 256, 10], 1024),
        (&[784, 2500, 2000, 1500, 1000, 500, 10], 256),
    ];
    let mut group = c.benchmark_group("step");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for (widths, batch) in shapes {
        let model = model(widths);
        for count in [1, 2] {
            let compute = Compute { isa, threads: Arc::new(Threads::new(count).expect("threads")) };
            let mut workspace = Workspace::new(&model, batch, compute.threads.clone(), isa);
            let mut state = OptimizerState::new(Optimizer::Sgd, &model);
            let mut params = zeroed(model.parameters());
            params.copy_from_slice(&initial_parameters(&model, Init::He, 1));
            let mut gradient = zeroed(model.parameters());
            // The operations that a step needs: the first layer has no input gradient.
            let weights: usize = widths.windows(2).map(|w| w[0] * w[1]).sum();
            group
                .throughput(Throughput::Elements((2 * (3 * weights - widths[0] * widths[1]) * batch) as u64));
            for shard in [batch.div_ceil(8).min(32), batch] {
                let name = format!("{widths:?}, batch {batch} in leaves of {shard}, {count} thread(s)");
                let mut at = 0;
                group.bench_function(name, |b| {
                    b.iter_custom(|iterations| {
                        compute.threads.enter(|| {
                            time(iterations, || {
                                let samples = Samples::first(&order[at..at + batch]);
                                at = (at + batch) % (order.len() - batch);
                                let stats = workspace
                                    .node_gradient(&params, &data, samples, shard, &mut gradient)
                                    .expect("they fit");
                                let inputs = StepInputs {
                                    samples: stats.samples,
                                    step: 0,
                                    learning_rate: 0.01,
                                    l2: 0.0,
                                    clip: 1.0,
                                    noise: None,
                                };
                                state.step(&compute, &mut params, &gradient, inputs);
                                black_box(stats);
                            })
                        })
                    });
                });
            }
        }
    }
    group.finish();
}

#[allow(clippy::disallowed_methods)] // as above
fn time(iterations: u64, mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..iterations {
        f();
    }
    start.elapsed()
}

/// The compact form of differences, in bytes of blocks a second: half of the integers are 0, and the others small.
fn compact_form(c: &mut Criterion) {
    let isa = Isa::best();
    let mut group = c.benchmark_group("compact");
    let integer = |i: usize| {
        let noise = (i as u32).wrapping_mul(2_654_435_761) >> 24;
        if (i / 8).is_multiple_of(2) { 0 } else { (noise as i8 >> (i / 4 % 7)) as u8 }
    };
    for (name, integers, block) in [("8 bits", Integers::Eight, 257), ("4 bits", Integers::Four, 129)] {
        let blocks: Vec<u8> =
            (0..1024 * block).map(|i| if i % block == 0 { 120 } else { integer(i) }).collect();
        let mut short = Vec::new();
        compact(isa, integers, &blocks, &mut short);
        println!("{name}: {:.2} of the bytes", short.len() as f64 / blocks.len() as f64);
        group.throughput(Throughput::Bytes(blocks.len() as u64));
        group.bench_function(BenchmarkId::new("write", name), |b| {
            b.iter(|| {
                short.clear();
                compact(isa, integers, black_box(&blocks), &mut short);
            });
        });
        let mut again = vec![0; blocks.len()];
        group.bench_function(BenchmarkId::new("read", name), |b| {
            b.iter(|| expand(isa, integers, black_box(&short), &mut again));
        });
    }
    group.finish();
}

criterion_group!(benches, products, gradient_by_leaf, activations, updates, distortions, compact_form, steps);
criterion_main!(benches);
