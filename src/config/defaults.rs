//! The defaults of a run: the one place where they are written down. Help, `--print-config` and the checks of
//! [`validate`](super::validate) all read them here.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use nn_core::{Activation, Cost, Init, Output};

use super::{Choice, Header, OptimizerName, ScheduleName, Task};

/// The handwritten digits that come with the program.
pub const DATA: &str = "digits";
/// One hidden layer, as in Nielsen's book.
pub const HIDDEN: &[usize] = &[30];
/// Nielsen's hidden neurons.
pub const ACTIVATION: Activation = Activation::Sigmoid;
/// Nielsen's first cost.
pub const COST: Cost = Cost::Mse;
/// Nielsen's optimizer.
pub const OPTIMIZER: OptimizerName = OptimizerName::Sgd;
/// As in Nielsen's first run.
pub const EPOCHS: u32 = 30;
/// As in Nielsen's first run.
pub const BATCH_SIZE: usize = 10;
/// Any number does; this one is easily typed.
pub const SEED: u64 = 1;
/// μ of momentum and Nesterov.
pub const MOMENTUM: f32 = 0.9;
/// Of Adam's paper.
pub const BETA1: f32 = 0.9;
/// Of Adam's paper.
pub const BETA2: f32 = 0.999;
/// Of Adam's paper.
pub const EPSILON: f32 = 1e-8;
/// Of AdamW, as PyTorch has it.
pub const WEIGHT_DECAY: f32 = 0.01;
/// λ of L2: none.
pub const L2: f32 = 0.0;
/// A constant learning rate.
pub const SCHEDULE: ScheduleName = ScheduleName::Constant;
/// No warm-up.
pub const WARMUP_STEPS: u64 = 0;
/// Epochs between the drops of `--schedule step`.
pub const STEP_EPOCHS: u32 = 10;
/// What a drop of `--schedule step` leaves.
pub const STEP_FACTOR: f32 = 0.1;
/// What `--schedule cosine` leaves in the end.
pub const COSINE_FLOOR: f32 = 0.0;
/// Of data that has no test part of its own.
pub const TEST_FRACTION: f64 = 0.2;
/// Whether a CSV has a header: look.
pub const HEADER: Header = Header::Auto;
/// Seconds between two checkpoints.
pub const CHECKPOINT_SECONDS: u64 = 60;
/// Steps between two checkpoints: none, as a clock suits networks of every size.
pub const CHECKPOINT_STEPS: u64 = 0;
/// Should the newest turn out damaged, there are two more.
pub const KEEP_CHECKPOINTS: usize = 3;
/// Every step, so that a difference can be pinned to the step that it came with. It costs up to 8 % of a step where
/// mini-batches are small (0.2 µs of 3 for the default run, 2 of 25 for 784-30-10) or the network is large (5 ms of 130 for
/// 12 million parameters on one thread); every tenth costs a tenth of that.
pub const LOG_STEPS: u64 = 1;
/// Epochs between two looks at the test samples.
pub const EVAL_EVERY: u32 = 1;

/// The largest leaf that is chosen unasked: beyond it the sum of a leaf no longer gets cheaper.
pub const MAX_DEFAULT_SHARD: usize = 32;

/// An eighth of the mini-batch, rounded up and at most [`MAX_DEFAULT_SHARD`], so that a small mini-batch still
/// divides among workers.
pub fn default_shard_size(batch_size: usize) -> usize {
    batch_size.div_ceil(8).clamp(1, MAX_DEFAULT_SHARD)
}

/// He's initialisation for ReLU, N(0, 1/fan_in) otherwise.
pub fn default_init(activation: Activation) -> Init {
    match activation {
        Activation::Relu => Init::He,
        Activation::Sigmoid | Activation::Tanh => Init::Scaled,
    }
}

/// Linear outputs for regression. For classes the book's sigmoid, but softmax where ReLU or tanh meet
/// cross-entropy, which is what everybody means by it.
pub fn default_output(task: Task, activation: Activation, cost: Cost) -> Output {
    match (task, activation, cost) {
        (Task::Regression, _, _) => Output::Linear,
        (Task::Classification, Activation::Relu | Activation::Tanh, Cost::CrossEntropy) => Output::Softmax,
        (Task::Classification, _, _) => Output::Sigmoid,
    }
}

/// The learning rate that fits the network.
///
/// - Adam and AdamW set the size of a step themselves: 0.001.
/// - Sigmoid neurons with the quadratic cost learn slowly where they are saturated, so Nielsen's η is 3.0; with
///   cross-entropy that factor is gone and his η is 0.5.
/// - ReLU and tanh pass the gradient on undamped: 0.1.
/// - The error of linear outputs has no bound, so the steps must be small: 0.01.
/// - Momentum and Nesterov at μ = 0.9 add up ten steps, so their rate is a tenth of SGD's.
pub fn default_learning_rate(
    optimizer: OptimizerName,
    activation: Activation,
    cost: Cost,
    output: Output,
) -> f32 {
    // The tenths are written out: 0.3 is a number that people recognise, 3.0 × 0.1 in f32 is not.
    let (sgd, tenth) = match (output, activation, cost) {
        (Output::Linear, _, _) => (0.01, 0.001),
        (_, Activation::Sigmoid, Cost::Mse) => (3.0, 0.3),
        (_, Activation::Sigmoid, Cost::CrossEntropy) => (0.5, 0.05),
        (_, Activation::Relu | Activation::Tanh, _) => (0.1, 0.01),
    };
    match optimizer {
        OptimizerName::Sgd => sgd,
        OptimizerName::Momentum | OptimizerName::Nesterov => tenth,
        OptimizerName::Adam | OptimizerName::AdamW => 0.001,
    }
}

/// `runs/<name of the data>`: for a path, its last part without the extensions.
pub fn default_out(data: &str) -> PathBuf {
    let file = data.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(data);
    let stem = file.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or("data");
    PathBuf::from("runs").join(stem)
}

/// As many threads as the machine runs at once. They never change the result.
pub fn available_threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The defaults as help shows them: the option's key, and its value in words.
pub fn table() -> Vec<(&'static str, String)> {
    let rate = |cost| default_learning_rate(OPTIMIZER, ACTIVATION, cost, Output::Sigmoid);
    let relu = |optimizer, output| default_learning_rate(optimizer, Activation::Relu, Cost::Mse, output);
    let widths: Vec<String> = HIDDEN.iter().map(ToString::to_string).collect();
    vec![
        ("data", DATA.to_owned()),
        ("test-fraction", TEST_FRACTION.to_string()),
        ("header", HEADER.name().to_owned()),
        ("task", "what the data shows".to_owned()),
        ("classes", "what the data shows".to_owned()),
        ("hidden", widths.join(",")),
        ("activation", ACTIVATION.name().to_owned()),
        (
            "output",
            format!(
                "{}; {} for relu or tanh with cross-entropy; {} for regression",
                default_output(Task::Classification, ACTIVATION, COST).name(),
                default_output(Task::Classification, Activation::Relu, Cost::CrossEntropy).name(),
                default_output(Task::Regression, ACTIVATION, COST).name(),
            ),
        ),
        ("cost", COST.name().to_owned()),
        (
            "init",
            format!(
                "{}; {} for relu",
                default_init(ACTIVATION).name(),
                default_init(Activation::Relu).name()
            ),
        ),
        ("epochs", EPOCHS.to_string()),
        ("batch-size", BATCH_SIZE.to_string()),
        (
            "shard-size",
            format!(
                "{}: an eighth of the batch, rounded up, at most {MAX_DEFAULT_SHARD}",
                default_shard_size(BATCH_SIZE)
            ),
        ),
        ("seed", SEED.to_string()),
        ("optimizer", OPTIMIZER.name().to_owned()),
        (
            "learning-rate",
            format!(
                "{:?}; cross-entropy {:?}; relu or tanh {:?}; regression {:?}; momentum or nesterov a tenth of \
                 these; adam or adamw {:?}",
                rate(Cost::Mse),
                rate(Cost::CrossEntropy),
                relu(OptimizerName::Sgd, Output::Sigmoid),
                relu(OptimizerName::Sgd, Output::Linear),
                relu(OptimizerName::Adam, Output::Sigmoid),
            ),
        ),
        ("momentum", MOMENTUM.to_string()),
        ("beta1", BETA1.to_string()),
        ("beta2", BETA2.to_string()),
        ("epsilon", format!("{EPSILON:?}")),
        ("weight-decay", WEIGHT_DECAY.to_string()),
        ("l2", L2.to_string()),
        ("schedule", SCHEDULE.name().to_owned()),
        ("warmup-steps", WARMUP_STEPS.to_string()),
        ("step-epochs", STEP_EPOCHS.to_string()),
        ("step-factor", STEP_FACTOR.to_string()),
        ("cosine-floor", COSINE_FLOOR.to_string()),
        ("threads", "all that the machine has".to_owned()),
        ("out", format!("{}, after the name of the data", default_out(DATA).display())),
        ("checkpoint-seconds", CHECKPOINT_SECONDS.to_string()),
        ("checkpoint-steps", CHECKPOINT_STEPS.to_string()),
        ("keep-checkpoints", KEEP_CHECKPOINTS.to_string()),
        ("log-steps", LOG_STEPS.to_string()),
        ("eval-every", EVAL_EVERY.to_string()),
    ]
}

/// The default of the option with that key, in words.
pub fn in_words(key: &str) -> Option<String> {
    table().into_iter().find(|(candidate, _)| *candidate == key).map(|(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_an_eighth_of_the_batch_within_bounds() {
        for (batch, shard) in [(1, 1), (8, 1), (9, 2), (10, 2), (128, 16), (256, 32), (257, 32), (60_000, 32)]
        {
            assert_eq!(default_shard_size(batch), shard, "batch {batch}");
        }
    }

    #[test]
    fn learning_rates_are_those_of_the_book_where_it_has_one() {
        use {Activation as A, Cost as C, OptimizerName as N, Output as O};
        for (optimizer, activation, cost, output, rate) in [
            (N::Sgd, A::Sigmoid, C::Mse, O::Sigmoid, 3.0),
            (N::Sgd, A::Sigmoid, C::CrossEntropy, O::Sigmoid, 0.5),
            (N::Sgd, A::Relu, C::CrossEntropy, O::Softmax, 0.1),
            (N::Nesterov, A::Tanh, C::Mse, O::Sigmoid, 0.01),
            (N::Momentum, A::Sigmoid, C::Mse, O::Sigmoid, 0.3),
            (N::Sgd, A::Sigmoid, C::Mse, O::Linear, 0.01),
            (N::AdamW, A::Relu, C::Mse, O::Linear, 0.001),
        ] {
            assert_eq!(default_learning_rate(optimizer, activation, cost, output), rate, "{optimizer:?}");
        }
    }

    #[test]
    fn the_default_folder_is_named_after_the_data() {
        for (data, out) in [
            ("digits", "runs/digits"),
            ("mnist", "runs/mnist"),
            ("some/where/irises.csv", "runs/irises"),
            ("../letters.tar.gz", "runs/letters"),
            ("folder/", "runs/folder"),
            ("..", "runs/data"),
            ("/", "runs/data"),
        ] {
            assert_eq!(default_out(data), PathBuf::from(out), "{data}");
        }
    }
}
