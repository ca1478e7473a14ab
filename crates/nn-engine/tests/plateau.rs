//! The schedule `plateau`: the engine's rate follows the losses that it is told, in a run that is resumed at any step, too.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use nn_core::{
    Activation, Compute, Cost, Dataset, Features, Isa, Model, Output, Schedule, ScheduleShape, StepInputs,
    Targets, Threads, initial_parameters,
};
use nn_engine::{
    Engine, EpochReport, Manifest, ManifestParts, Outcome, Recipe, SampleOrder, Snapshot, SnapshotError,
    StepReport, local,
};

const FACTOR: f32 = 0.25;
const WARMUP: u64 = 7;

/// Losses after each epoch: the 2nd and the 3rd, the 5th and the 6th, and the last two are no improvements.
const LOSSES: [f64; 9] = [1.0, 1.1, 1.0, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8];

/// A run of nine epochs of four steps.
fn manifest(every_epochs: u32) -> Manifest {
    let shape = ScheduleShape::Plateau { factor: FACTOR, evaluations: 2, every_epochs };
    Manifest::new(ManifestParts {
        model: Model::new(vec![6, 5, 3], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap(),
        recipe: Recipe {
            schedule: Schedule { shape, warmup_steps: WARMUP },
            learning_rate: 0.5,
            epochs: LOSSES.len() as u32,
            ema: Some(0.9),
            ..Recipe::book()
        },
        train_samples: 37,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    })
    .unwrap()
}

fn data() -> Dataset {
    let bytes = (0..37 * 6_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let targets = Targets::Classes { labels: (0..37).map(|s| s % 3).collect(), classes: 3 };
    Dataset::new(Features::U8 { data: bytes, scale: 255.0 }, 6, targets, None).unwrap()
}

fn compute(isa: Isa) -> Compute {
    Compute { isa, threads: Arc::new(Threads::new(1).unwrap()) }
}

/// Tells the losses, and keeps what it sees. Stops after `stop` steps.
#[derive(Default)]
struct Teller {
    stop: u64,
    loss: Option<f64>,
    rates: Vec<f32>,
    snapshot: Option<Snapshot>,
}

impl local::Observer for Teller {
    fn now(&mut self) -> Duration {
        Duration::ZERO
    }
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.rates.push(report.learning_rate);
        if report.step.0 + 1 == self.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn epoch(&mut self, report: &EpochReport, _: &[f32]) {
        self.loss = Some(LOSSES[report.epoch as usize]);
    }
    fn validation_loss(&mut self) -> Option<f64> {
        self.loss
    }
    fn snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
    }
}

/// How often the rate is lower in each epoch: by hand, from the losses above.
fn drops(every_epochs: u32) -> [i32; 9] {
    match every_epochs {
        1 => [0, 0, 0, 1, 1, 1, 2, 2, 2],
        // Of 1.1, 0.9, 0.95 and 0.8 after epochs 2, 4, 6 and 8, none stands still for two.
        2 => [0; 9],
        // Of 1.0 (0.95, 0.8) after epochs 3, 6 and 9, all are improvements.
        3 => [0; 9],
        _ => unreachable!(),
    }
}

/// The rate of a step.
fn rate(step: u64, every_epochs: u32) -> f32 {
    let warm = if step < WARMUP { (step + 1) as f64 / WARMUP as f64 } else { 1.0 };
    (0.5 * warm * f64::from(FACTOR).powi(drops(every_epochs)[step as usize / 4])) as f32
}

#[test]
fn the_rate_follows_the_losses_and_the_weights_follow_the_rate() {
    let data = data();
    for every_epochs in [1, 2, 3] {
        let manifest = manifest(every_epochs);
        let p = manifest.parts();
        let mut params = initial_parameters(&p.model, p.recipe.init, p.recipe.seed);
        let mut optimizer = manifest.optimizer_state();
        let mut workspace = manifest.workspace(compute(Isa::best()));
        let mut order = SampleOrder::new(&manifest);
        let mut gradient = vec![0.0; params.len()];
        assert_eq!(manifest.total_steps(), 36);
        for step in 0..36 {
            let samples = order.batch(&manifest, step);
            workspace.node_gradient(&params, &data, samples, p.recipe.shard_size, &mut gradient).unwrap();
            let (samples, learning_rate) = (samples.indices.len(), rate(step, every_epochs));
            let inputs = StepInputs { samples, step, learning_rate, l2: 0.0, clip: 1.0, noise: None };
            optimizer.step(&compute(Isa::best()), &mut params, &gradient, inputs);
        }
        for isa in Isa::available() {
            let mut engine = Engine::new(manifest.clone(), compute(isa), Duration::ZERO);
            let mut teller = Teller::default();
            assert_eq!(local::run(&mut engine, &data, &mut teller).unwrap(), Outcome::Complete);
            let rates: Vec<f32> = (0..36).map(|step| rate(step, every_epochs)).collect();
            assert_eq!(teller.rates, rates);
            assert_eq!(engine.params(), params, "{}", isa.name());
        }
    }
}

#[test]
fn a_run_resumed_after_any_step_has_the_same_rates_and_weights() {
    let (manifest, data) = (manifest(1), data());
    let run = |snapshot: Option<Snapshot>, stop: u64| {
        let mut engine = Engine::new(manifest.clone(), compute(Isa::best()), Duration::ZERO);
        if let Some(snapshot) = snapshot {
            engine.restore(snapshot).unwrap();
        }
        let mut teller = Teller { stop, ..Teller::default() };
        local::run(&mut engine, &data, &mut teller).unwrap();
        (engine.params().to_vec(), engine.model_params().to_vec(), teller)
    };
    let whole = run(None, 0);
    for at in 1..manifest.total_steps() {
        let first = run(None, at).2;
        let rest = run(first.snapshot, 0);
        assert!((&rest.0, &rest.1) == (&whole.0, &whole.1), "resumed after {at}");
        assert_eq!([first.rates, rest.2.rates].concat(), whole.2.rates, "resumed after {at}");
    }
}

#[test]
fn a_snapshot_without_the_state_of_the_schedule_is_refused() {
    let (manifest, data) = (manifest(1), data());
    let mut engine = Engine::new(manifest.clone(), compute(Isa::best()), Duration::ZERO);
    let mut teller = Teller { stop: 13, ..Teller::default() };
    local::run(&mut engine, &data, &mut teller).unwrap();
    let snapshot = teller.snapshot.unwrap();
    assert_eq!(snapshot.plateau.unwrap().drops, 1);
    let mut fresh = Engine::new(manifest, compute(Isa::best()), Duration::ZERO);
    let without = Snapshot { plateau: None, ..snapshot.clone() };
    assert_eq!(fresh.restore(without), Err(SnapshotError::Plateau));
    assert_eq!(fresh.steps_done(), 0);
    fresh.restore(snapshot).unwrap();
}
