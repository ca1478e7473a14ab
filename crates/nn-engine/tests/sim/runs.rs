//! The runs of the simulation, and their results on one machine.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nn_core::{
    Activation, Augmentation, Cost, Dataset, DeltaBits, Features, InputScale, Isa, Model, Node,
    Normalization, Optimizer, OptimizerState, Output, Regularization, Samples, Schedule, ScheduleShape,
    StepInputs, Targets, Threads, Tree, encode_4, encode_4_to_nearest, encode_8, initial_parameters,
    reference, rounding_keys,
};
use nn_engine::{
    Compute, Encoding, Engine, EpochReport, Manifest, ManifestParts, Recipe, Rounds, SampleOrder, Snapshot,
    StepReport, local, params_sha256,
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

/// All runs: short last mini-batches, leaves that do not divide them, one layer and several, all optimizers; and rounds with
/// each number of bits, short last ones, and replicas with less to do than others.
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
            in_rounds(30, 3, 2, Optimizer::Sgd, (4, Some(2), DeltaBits::Eight)),
            in_rounds(25, 4, 1, Optimizer::Momentum { momentum }, (2, None, DeltaBits::Four)),
            in_rounds(41, 5, 2, Optimizer::Adam { beta1, beta2, epsilon }, (8, Some(1), DeltaBits::Exact)),
            with_everything(None),
            with_everything(Some((4, Some(2), DeltaBits::Eight))),
            private(),
        ]
    })
}

/// A run with every means of training that goes with the others.
fn with_everything(rounds: Option<(u32, Option<u32>, DeltaBits)>) -> Run {
    let augmentation = Augmentation { elastic: 1.2, flip: true, ..Augmentation::AFFINE };
    let recipe = Recipe {
        optimizer: Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 },
        learning_rate: 0.05,
        batch_size: 7,
        shard_size: 2,
        epochs: 4,
        seed: 5,
        schedule: Schedule {
            shape: ScheduleShape::OneCycle { rise: 0.3, divisor: 25.0, final_divisor: 1e4 },
            warmup_steps: 0,
        },
        clip_norm: Some(0.2),
        max_norm: Some(1.5),
        ema: Some(0.9),
        regularization: Regularization {
            input_dropout: 0.1,
            dropout: 0.2,
            label_smoothing: 0.1,
            clip_samples: 0.5,
            augmentation,
        },
        rounds: rounds.map(|(replicas, steps, delta_bits)| Rounds {
            replicas,
            steps,
            outer_learning_rate: 0.9,
            outer_momentum: 0.6,
            delta_bits,
        }),
        ..Recipe::book()
    };
    let model =
        Model::new(vec![6, 20, 10, 3], Activation::Gelu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let scale = InputScale::new(0.4, 0.3).unwrap();
    let model = model.with_normalization(Normalization::Layer).unwrap().with_input_scale(Some(scale));
    made(model, recipe, 26)
}

/// A run with differential privacy.
fn private() -> Run {
    let recipe = Recipe {
        learning_rate: 0.1,
        batch_size: 9,
        shard_size: 2,
        epochs: 4,
        seed: 90_210,
        regularization: Regularization { clip_samples: 0.5, ..Regularization::default() },
        dp_noise: Some(1.1),
        ..Recipe::book()
    };
    made(tanh(&[6, 5, 3], Cost::Mse), recipe, 25)
}

fn tanh(widths: &[usize], cost: Cost) -> Model {
    Model::new(widths.to_vec(), Activation::Tanh, Output::Sigmoid, cost).unwrap()
}

/// A run with rounds, whose parameters are three pieces.
fn in_rounds(
    train_samples: usize,
    batch_size: usize,
    shard_size: usize,
    optimizer: Optimizer,
    (replicas, steps, delta_bits): (u32, Option<u32>, DeltaBits),
) -> Run {
    let rounds = Rounds { replicas, steps, outer_learning_rate: 0.9, outer_momentum: 0.6, delta_bits };
    let recipe = Recipe {
        optimizer,
        schedule: Schedule { shape: ScheduleShape::Wsd { decay: 0.4 }, warmup_steps: 2 },
        learning_rate: 0.1,
        l2: 0.1,
        batch_size,
        shard_size,
        epochs: 4,
        seed: 5,
        rounds: Some(rounds),
        ..Recipe::book()
    };
    made(tanh(&[6, 60, 3], Cost::CrossEntropy), recipe, train_samples)
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
    let recipe = Recipe {
        optimizer,
        schedule: Schedule { shape: ScheduleShape::Cosine { floor: 0.1 }, warmup_steps: 2 },
        learning_rate,
        l2: 0.1,
        batch_size,
        shard_size,
        epochs,
        seed: 5,
        ..Recipe::book()
    };
    made(tanh(widths, cost), recipe, train_samples)
}

fn made(model: Model, recipe: Recipe, train_samples: usize) -> Run {
    let width = model.input_width();
    let manifest = Manifest::new(ManifestParts {
        model,
        recipe,
        train_samples,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    })
    .unwrap()
    .with_smallest_pieces();
    let data = Arc::new(data(train_samples, width));
    let hashes = match manifest.rounds() {
        Some(rounds) => rounds_by_hand(&manifest, rounds, &data),
        None => by_hand(&manifest, &data),
    };
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
    Dataset::new(features, width, Targets::Classes { labels, classes: 3 }, Some((2, width / 2))).unwrap()
}

/// The hash of the weights after each number of steps, without the engine: gradient, step, gradient, step.
fn by_hand(manifest: &Manifest, data: &Dataset) -> Vec<String> {
    let p = manifest.parts();
    let compute = compute();
    let mut params = initial_parameters(&p.model, p.recipe.init, p.recipe.seed);
    let mut optimizer = OptimizerState::new(p.recipe.optimizer, &p.model).with_max_norm(p.recipe.max_norm);
    let mut workspace = manifest.workspace(compute.clone());
    let mut order = SampleOrder::new(manifest);
    let mut gradient = vec![0.0; params.len()];
    let mut hashes = vec![params_sha256(&params)];
    for step in 0..manifest.total_steps() {
        let samples = order.batch(manifest, step);
        workspace.node_gradient(&params, data, samples, p.recipe.shard_size, &mut gradient).unwrap();
        let (learning_rate, l2) = (manifest.learning_rate(step), p.recipe.l2 / p.train_samples as f32);
        let samples = samples.indices.len();
        let (clip, noise) = (clip(manifest, &gradient, samples), p.recipe.noise(step));
        let inputs = StepInputs { samples, step, learning_rate, l2, clip, noise };
        optimizer.step(&compute, &mut params, &gradient, inputs);
        hashes.push(params_sha256(&params));
    }
    hashes
}

/// What clips the mean of this gradient sum.
fn clip(manifest: &Manifest, gradient: &[f32], samples: usize) -> f32 {
    manifest
        .recipe()
        .clip_norm
        .map_or(1.0, |most| reference::clip_factor(manifest.model(), gradient, samples, most))
}

/// [`by_hand`] with rounds: every replica after the other, their sum along the tree, the outer step.
fn rounds_by_hand(manifest: &Manifest, rounds: &Rounds, data: &Dataset) -> Vec<String> {
    let p = manifest.parts();
    let compute = compute();
    let mut public = initial_parameters(&p.model, p.recipe.init, p.recipe.seed);
    let n = public.len();
    let (mut velocity, mut residual) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    let mut workspace = manifest.workspace(compute.clone());
    let mut order = SampleOrder::new(manifest);
    let mut gradient = vec![0.0; n];
    let mut hashes = vec![params_sha256(&public)];
    for round in 0..manifest.total_steps() {
        let (tree, first) = (manifest.tree(round), manifest.span(round).first_step);
        let samples = order.batch(manifest, round);
        let mut differences = Vec::new();
        for replica in 0..tree.leaves() {
            let slice = samples.part(tree.samples_of(Node { level: 0, index: replica }));
            let mut w = public.clone();
            let mut optimizer =
                OptimizerState::new(p.recipe.optimizer, &p.model).with_max_norm(p.recipe.max_norm);
            for (step, batch) in (0..).zip(slice.indices.chunks(p.recipe.batch_size)) {
                let samples = Samples { indices: batch, ..slice };
                workspace.node_gradient(&w, data, samples, p.recipe.shard_size, &mut gradient).unwrap();
                let learning_rate = manifest.learning_rate_at(first + step);
                let l2 = p.recipe.l2 / p.train_samples as f32;
                let (samples, noise) = (batch.len(), None);
                let clip = clip(manifest, &gradient, samples);
                let inputs = StepInputs { samples, step, learning_rate, l2, clip, noise };
                optimizer.step(&compute, &mut w, &gradient, inputs);
            }
            let weight = slice.indices.len() as f32 / tree.shard() as f32;
            let difference: Vec<f32> = public.iter().zip(&w).map(|(p, w)| (p - w) * weight).collect();
            let keys = rounding_keys(p.recipe.seed, round, replica);
            differences.push(coded(rounds.delta_bits, Some(keys), &difference));
        }
        let sum = along_the_tree(&tree, tree.root(), &differences);
        let mean = tree.shard() as f32 / tree.samples() as f32;
        let (nu, mu) = (rounds.outer_learning_rate, rounds.outer_momentum);
        let mut wanted = residual.clone();
        for i in 0..n {
            let g = sum[i] * mean;
            velocity[i] = mu.mul_add(velocity[i], g);
            wanted[i] = (-nu).mul_add(mu.mul_add(velocity[i], g), residual[i]);
        }
        let said = coded(rounds.delta_bits, None, &wanted);
        for i in 0..n {
            public[i] += said[i];
            residual[i] = wanted[i] - said[i];
        }
        hashes.push(params_sha256(&public));
    }
    hashes
}

/// Numbers as they are after coding and decoding; a replica's with its keys.
fn coded(bits: DeltaBits, keys: Option<[u32; 2]>, values: &[f32]) -> Vec<f32> {
    let encoding = match bits {
        DeltaBits::Exact => return values.to_vec(),
        DeltaBits::Eight => Encoding::I8,
        DeltaBits::Four => Encoding::I4,
    };
    let mut bytes = vec![0; encoding.bytes_for(values.len())];
    let finite = match (bits, keys) {
        (DeltaBits::Four, Some(keys)) => encode_4(Isa::best(), keys, 0, values, &mut bytes),
        (DeltaBits::Four, None) => encode_4_to_nearest(Isa::best(), values, &mut bytes),
        _ => encode_8(Isa::best(), values, &mut bytes),
    };
    assert!(finite);
    let mut out = vec![0.0; values.len()];
    encoding.decode(&bytes, &mut out);
    out
}

/// The sum of a node, from the definition of the tree.
fn along_the_tree(tree: &Tree, node: Node, leaves: &[Vec<f32>]) -> Vec<f32> {
    if node.level == 0 {
        return leaves[node.index as usize].clone();
    }
    let left = Node { level: node.level - 1, index: 2 * node.index };
    let sum = along_the_tree(tree, left, leaves);
    if !tree.contains(left.sibling()) {
        return sum;
    }
    let right = along_the_tree(tree, left.sibling(), leaves);
    sum.iter().zip(right).map(|(l, r)| l + r).collect()
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
