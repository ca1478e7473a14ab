//! The defaults that other options or the data decide, and how help puts them. A default that is always the same stands
//! in the table: see `options.rs`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use nn_core::{Activation, Cost, Init, Output, Precision};
use nn_engine::Recipe;

use super::choice::{Choice, OptimizerName, Task};

/// The handwritten digits that come with the program.
pub const DATA: &str = "digits";
/// The largest default leaf: beyond it the sum of a leaf no longer gets cheaper.
pub const MAX_DEFAULT_SHARD: usize = 32;

/// The smallest default leaf of a mini-batch that has more samples: sums of fewer cost more than dividing them can gain.
pub const MIN_DEFAULT_SHARD: usize = 16;

/// An eighth of the mini-batch, rounded up, between [`MIN_DEFAULT_SHARD`] and [`MAX_DEFAULT_SHARD`]; of one that is no larger than
/// [`MIN_DEFAULT_SHARD`], as in Nielsen's book, an eighth too, so that it divides among workers. With bf16 always
/// [`MAX_DEFAULT_SHARD`] if there are so many: a matrix unit sums 32 samples as fast as one.
pub fn default_shard_size(batch_size: usize, precision: Precision) -> usize {
    match precision {
        Precision::F32 if batch_size <= MIN_DEFAULT_SHARD => batch_size.div_ceil(8).max(1),
        Precision::F32 => batch_size.div_ceil(8).clamp(MIN_DEFAULT_SHARD, MAX_DEFAULT_SHARD),
        Precision::Bf16 => batch_size.clamp(1, MAX_DEFAULT_SHARD),
    }
}

/// He's initialisation for ReLU and its relatives, N(0, 1/fan_in) otherwise.
pub fn default_init(activation: Activation) -> Init {
    match activation {
        _ if activation.is_rectifier() => Init::He,
        _ => Init::Scaled,
    }
}

/// Linear for regression. For classes the book's sigmoid, but softmax for other activations with cross-entropy, the usual
/// combination.
pub fn default_output(task: Task, activation: Activation, cost: Cost) -> Output {
    match (task, activation, cost) {
        (Task::Regression, _, _) => Output::Linear,
        (Task::Classification, activation, Cost::CrossEntropy) if activation != Activation::Sigmoid => {
            Output::Softmax
        }
        (Task::Classification, _, _) => Output::Sigmoid,
    }
}

/// The learning rate that fits the network.
///
/// - Adam and AdamW set the size of a step themselves: 0.001.
/// - Sigmoid neurons with the quadratic cost learn slowly where they are saturated, so Nielsen's η is 3.0; with
///   cross-entropy that factor is gone and his η is 0.5.
/// - The other activations pass the gradient on undamped: 0.1.
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
        _ => (0.1, 0.01),
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

/// The threads that the machine runs at once. They never change the result.
pub fn available_threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// [`default_shard_size`] in words.
pub(super) fn shard_size_in_words() -> String {
    let shard = default_shard_size(Recipe::book().batch_size, Precision::F32);
    format!(
        "{shard}: an eighth of the batch, rounded up; {MIN_DEFAULT_SHARD} to {MAX_DEFAULT_SHARD} if the batch is larger than \
         {MIN_DEFAULT_SHARD}; with bf16 {MAX_DEFAULT_SHARD}"
    )
}

/// [`default_init`] in words.
pub(super) fn init_in_words() -> String {
    let init = |activation| default_init(activation).name();
    format!("{}; {} for relu and its relatives", init(Activation::Sigmoid), init(Activation::Relu))
}

/// [`default_output`] in words.
pub(super) fn output_in_words() -> String {
    let output = |task, activation, cost| default_output(task, activation, cost).name();
    format!(
        "{}; {} with cross-entropy, but for sigmoid; {} for regression",
        output(Task::Classification, Activation::Sigmoid, Cost::Mse),
        output(Task::Classification, Activation::Relu, Cost::CrossEntropy),
        output(Task::Regression, Activation::Sigmoid, Cost::Mse),
    )
}

/// [`default_learning_rate`] in words.
pub(super) fn learning_rate_in_words() -> String {
    use {Activation as A, OptimizerName as N};
    let rate = default_learning_rate;
    format!(
        "{:?}; cross-entropy {:?}; other than sigmoid {:?}; regression {:?}; momentum or nesterov a tenth of these; \
         adam or adamw {:?}; with --rounds larger, by the replicas",
        rate(N::Sgd, A::Sigmoid, Cost::Mse, Output::Sigmoid),
        rate(N::Sgd, A::Sigmoid, Cost::CrossEntropy, Output::Sigmoid),
        rate(N::Sgd, A::Relu, Cost::Mse, Output::Sigmoid),
        rate(N::Sgd, A::Relu, Cost::Mse, Output::Linear),
        rate(N::Adam, A::Relu, Cost::Mse, Output::Sigmoid),
    )
}

/// [`default_out`] in words.
pub(super) fn out_in_words() -> String {
    format!("{}, named after the data", default_out(DATA).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_an_eighth_of_the_batch_within_bounds() {
        for (batch, shard) in [
            (1, 1),
            (8, 1),
            (9, 2),
            (10, 2),
            (16, 2),
            (17, 16),
            (32, 16),
            (128, 16),
            (256, 32),
            (257, 32),
            (60_000, 32),
        ] {
            assert_eq!(default_shard_size(batch, Precision::F32), shard, "batch {batch}");
            assert_eq!(default_shard_size(batch, Precision::Bf16), batch.min(32), "batch {batch}");
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
