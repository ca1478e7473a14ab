//! The runs of the simulation, and their results on one machine.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nn_core::{
    Activation, Cost, Dataset, Features, Isa, Model, Optimizer, OptimizerState, Output, Schedule,
    ScheduleShape, StepInputs, Targets, Threads, Workspace, initial_parameters,
};
use nn_engine::{
    Compute, Engine, EpochReport, Manifest, ManifestParts, Recipe, SampleOrder, Snapshot, StepReport, local,
    params_sha256,
};

/// A run, with the hash of its weights after each number of steps.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) manifest: Manifest,
    pub(crate) data: Arc<Dataset>,
    pub(crate) hashes: Vec<String>,
    /// The reports of one machine, by step and by epoch.
    pub(crate) steps: Vec<StepReport>,
    pub(crate) epochs: Vec<EpochReport>,
}

pub(crate) fn compute() -> Compute {
    Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).unwrap()) }
}

/// All runs: short last mini-batches, leaves that do not divide them, one layer and several, all optimizers.
pub(crate) fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| {
        let momentum = 0.9;
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        vec![
            run(&[6, 5, 3], 12, 2, 30, 4, Optimizer::Sgd, 1.0, Cost::Mse),
            run(&[6, 5, 3], 12, 1, 30, 4, Optimizer::Momentum { momentum }, 0.3, Cost::CrossEntropy),
            run(&[6, 5, 3], 12, 5, 25, 4, Optimizer::Adam { beta1, beta2, epsilon }, 0.01, Cost::Mse),
            run(&[6, 5, 4, 3], 10, 1, 23, 4, Optimizer::Nesterov { momentum }, 0.2, Cost::CrossEntropy),
            run(
                &[6, 3],
                7,
                2,
                26,
                3,
                Optimizer::AdamW { beta1, beta2, epsilon, weight_decay: 0.01 },
                0.05,
                Cost::Mse,
            ),
            run(&[6, 4, 3], 90, 1, 90, 8, Optimizer::Sgd, 0.5, Cost::Mse),
        ]
    })
}

#[allow(clippy::too_many_arguments)] // a table's columns
fn run(
    widths: &[usize],
    batch_size: usize,
    shard_size: usize,
    train_samples: usize,
    epochs: u32,
    optimizer: Optimizer,
    learning_rate: f32,
    cost: Cost,
) -> Run {
    let manifest = Manifest::new(ManifestParts {
        model: Model::new(widths.to_vec(), Activation::Tanh, Output::Sigmoid, cost).unwrap(),
        recipe: Recipe {
            optimizer,
            schedule: Schedule { shape: ScheduleShape::Cosine { floor: 0.1 }, warmup_steps: 2 },
            learning_rate,
            l2: 0.1,
            batch_size,
            shard_size,
            epochs,
            seed: 5,
            ..Recipe::book()
        },
        train_samples,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    })
    .unwrap();
    let data = Arc::new(data(train_samples, widths[0]));
    let hashes = by_hand(&manifest, &data);
    let mut engine = Engine::new(manifest.clone(), compute(), Duration::ZERO);
    let mut reports = Reports::default();
    local::run(&mut engine, &data, &mut reports).unwrap();
    assert_eq!(params_sha256(engine.params()), hashes[hashes.len() - 1]);
    Run { manifest, data, hashes, steps: reports.steps, epochs: reports.epochs }
}

fn data(samples: usize, width: usize) -> Dataset {
    let bytes = (0..samples * width).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let labels = (0..samples).map(|s| (s % 3) as u32).collect();
    let features = Features::U8 { data: bytes, scale: 255.0 };
    Dataset::new(features, width, Targets::Classes { labels, classes: 3 }, None).unwrap()
}

/// The hash of the weights after each number of steps, without the engine: gradient, step, gradient, step.
fn by_hand(manifest: &Manifest, data: &Dataset) -> Vec<String> {
    let p = manifest.parts();
    let compute = compute();
    let mut params = initial_parameters(&p.model, p.recipe.init, p.recipe.seed);
    let mut optimizer = OptimizerState::new(p.recipe.optimizer, &p.model);
    let mut workspace = Workspace::new(&p.model, p.recipe.batch_size, compute.threads.clone(), compute.isa);
    let mut order = SampleOrder::new(manifest);
    let mut gradient = vec![0.0; params.len()];
    let mut hashes = vec![params_sha256(&params)];
    for step in 0..manifest.total_steps() {
        let samples = order.batch(manifest, step);
        workspace.node_gradient(&params, data, samples, p.recipe.shard_size, &mut gradient).unwrap();
        let (learning_rate, l2) = (manifest.learning_rate(step), p.recipe.l2 / p.train_samples as f32);
        let inputs = StepInputs { samples: samples.len(), step, learning_rate, l2 };
        optimizer.step(&compute, &mut params, &gradient, inputs);
        hashes.push(params_sha256(&params));
    }
    hashes
}

#[derive(Debug, Default)]
struct Reports {
    steps: Vec<StepReport>,
    epochs: Vec<EpochReport>,
}

impl local::Observer for Reports {
    fn now(&mut self) -> Duration {
        Duration::ZERO
    }
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.steps.push(*report);
        ControlFlow::Continue(())
    }
    fn epoch(&mut self, report: &EpochReport, _: &[f32]) {
        self.epochs.push(*report);
    }
    fn snapshot(&mut self, _: Snapshot) {}
}
