//! The options of a run as they are given, unchecked: as flags or as the keys of a file, which are the same
//! names. Every field is an `Option`, so that what was not said can be told from what was.
//!
//! Numbers may begin with a hyphen so that a negative one gets a sentence of its own and not "unexpected argument".
//! Clap's narrower negative numbers do not know -1e-3, so real numbers take any hyphen.

use std::path::PathBuf;

use clap::Args;
use nn_core::{Activation, Cost, Init, Output};

use super::value::{FromToml, Hidden, Wrong, fraction, real, text, whole};
use super::{Header, OptimizerName, ScheduleName, Task, choice};

/// Gives an options struct what a configuration file needs of it, from one list of its fields: the list must be
/// complete, since [`or`](TrainOptions::or) builds the struct from it.
macro_rules! keys {
    ($options:ident { $($field:ident),* $(,)? } $($nested:ident: $type:ident)?) => {
        impl $options {
            /// The keys of a file, which are the long flags without their dashes.
            pub fn keys() -> Vec<String> {
                #[allow(unused_mut)]
                let mut keys: Vec<String> = vec![$(stringify!($field).replace('_', "-")),*];
                $(keys.extend($type::keys());)?
                keys
            }

            /// The keys that have a value.
            pub fn given(&self) -> Vec<String> {
                let mut keys = Vec::new();
                $(if self.$field.is_some() {
                    keys.push(stringify!($field).replace('_', "-"));
                })*
                $(keys.extend(self.$nested.given());)?
                keys
            }

            /// What is given here, and of the rest what is given in `other`.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self {
                    $($field: self.$field.or(other.$field),)*
                    $($nested: self.$nested.or(other.$nested),)?
                }
            }

            /// Sets the option of that key from a file's value; `None` where there is no such key.
            pub(crate) fn set(
                &mut self,
                key: &str,
                value: &toml::de::DeValue<'_>,
            ) -> Option<Result<(), Wrong>> {
                $(if key == stringify!($field).replace('_', "-") {
                    return Some(FromToml::from_toml(value).map(|value| self.$field = Some(value)));
                })*
                $(if let Some(outcome) = self.$nested.set(key, value) {
                    return Some(outcome);
                })?
                None
            }
        }
    };
}

/// How a data set is to be read, where it does not say so itself.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Data")]
pub struct DataOptions {
    /// Part of the samples that is kept for testing, where the data has no test samples of its own
    #[arg(long, value_name = "X", value_parser = fraction, allow_hyphen_values = true)]
    pub test_fraction: Option<f64>,
    /// Column of a CSV that holds the answers: its name, or its position from 0, or from the end if negative
    #[arg(long, value_name = "COLUMN", value_parser = text, allow_negative_numbers = true)]
    pub label_column: Option<String>,
    /// Whether a CSV's first line names its columns
    #[arg(long, value_name = "WHETHER", value_parser = choice::<Header>())]
    pub header: Option<Header>,
    /// What is to be learnt from the answers
    #[arg(long, value_name = "TASK", value_parser = choice::<Task>())]
    pub task: Option<Task>,
    /// How many classes there are, where not all occur in the data
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub classes: Option<u64>,
}

keys!(DataOptions { test_fraction, label_column, header, task, classes });

/// Everything that decides how a run goes, for `nn train` as for a coordinator.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct TrainOptions {
    /// What to learn from: digits (comes with the program), mnist, fashion-mnist, or the path of a folder,
    /// archive, CSV, NPY or NPZ
    #[arg(long, value_name = "DATA", value_parser = text, help_heading = "Data")]
    pub data: Option<String>,
    /// See [`DataOptions`].
    #[command(flatten)]
    pub format: DataOptions,

    /// Widths of the hidden layers, such as 30 or 128,64; none for no hidden layer
    #[arg(long, value_name = "WIDTHS", help_heading = "Network", allow_negative_numbers = true)]
    pub hidden: Option<Hidden>,
    /// Activation function of the hidden layers
    #[arg(long, value_name = "NAME", value_parser = choice::<Activation>(), help_heading = "Network")]
    pub activation: Option<Activation>,
    /// Function of the output layer
    #[arg(long, value_name = "NAME", value_parser = choice::<Output>(), help_heading = "Network")]
    pub output: Option<Output>,
    /// What the training makes small
    #[arg(long, value_name = "NAME", value_parser = choice::<Cost>(), help_heading = "Network")]
    pub cost: Option<Cost>,
    /// How the weights are drawn: normal N(0, 1), scaled N(0, 1/inputs), xavier, he
    #[arg(long, value_name = "NAME", value_parser = choice::<Init>(), hide_possible_values = true, help_heading = "Network")]
    pub init: Option<Init>,

    /// How often the whole training data is gone through
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Training", allow_negative_numbers = true)]
    pub epochs: Option<u64>,
    /// Samples in a mini-batch, after each of which the weights are changed
    #[arg(long, value_name = "B", value_parser = whole, help_heading = "Training", allow_negative_numbers = true)]
    pub batch_size: Option<u64>,
    /// Samples that are summed in one piece: the grain in which a mini-batch divides among threads and workers
    #[arg(long, value_name = "S", value_parser = whole, help_heading = "Training", allow_negative_numbers = true)]
    pub shard_size: Option<u64>,
    /// Where all randomness comes from: the same seed gives the same network, bit for bit
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Training", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Look at the test samples after every N epochs, and after the last
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Training", allow_negative_numbers = true)]
    pub eval_every: Option<u64>,

    /// How a gradient changes the weights
    #[arg(long, value_name = "NAME", value_parser = choice::<OptimizerName>(), help_heading = "Optimizer")]
    pub optimizer: Option<OptimizerName>,
    /// Size of a step, η
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Optimizer", allow_hyphen_values = true)]
    pub learning_rate: Option<f32>,
    /// μ of momentum and nesterov
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Optimizer", allow_hyphen_values = true)]
    pub momentum: Option<f32>,
    /// Decay of the first moment of adam and adamw
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Optimizer", allow_hyphen_values = true)]
    pub beta1: Option<f32>,
    /// Decay of the second moment of adam and adamw
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Optimizer", allow_hyphen_values = true)]
    pub beta2: Option<f32>,
    /// Added to the root of the second moment of adam and adamw
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Optimizer", allow_hyphen_values = true)]
    pub epsilon: Option<f32>,
    /// Decoupled weight decay of adamw
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Optimizer", allow_hyphen_values = true)]
    pub weight_decay: Option<f32>,
    /// λ of L2 regularisation, which adds λ/(2n) Σw² to the cost; n is the number of training samples
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Optimizer", allow_hyphen_values = true)]
    pub l2: Option<f32>,

    /// How the learning rate goes on over the run
    #[arg(long, value_name = "NAME", value_parser = choice::<ScheduleName>(), help_heading = "Schedule")]
    pub schedule: Option<ScheduleName>,
    /// Steps over which the learning rate first climbs to its full value
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Schedule", allow_negative_numbers = true)]
    pub warmup_steps: Option<u64>,
    /// Epochs between two drops of the step schedule
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Schedule", allow_negative_numbers = true)]
    pub step_epochs: Option<u64>,
    /// Part of the learning rate that a drop of the step schedule leaves
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Schedule", allow_hyphen_values = true)]
    pub step_factor: Option<f32>,
    /// Part of the learning rate that the cosine schedule leaves in the end
    #[arg(long, value_name = "X", value_parser = real, help_heading = "Schedule", allow_hyphen_values = true)]
    pub cosine_floor: Option<f32>,

    /// Threads to compute with; they change the time, never the result
    #[arg(long, value_name = "T", value_parser = whole, help_heading = "Run", allow_negative_numbers = true)]
    pub threads: Option<u64>,
    /// Folder for the model, the summary, the metrics and the checkpoints
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub out: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          hide_possible_values = true, help_heading = "Run")]
    pub quiet: Option<bool>,

    /// Go on from the newest checkpoint in the output folder
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          hide_possible_values = true, help_heading = "Durability")]
    pub resume: Option<bool>,
    /// Seconds between two checkpoints; 0 for none by the clock
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Durability", allow_negative_numbers = true)]
    pub checkpoint_seconds: Option<u64>,
    /// Steps between two checkpoints, beside those by the clock; 0 for none by steps
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Durability", allow_negative_numbers = true)]
    pub checkpoint_steps: Option<u64>,
    /// How many of the newest checkpoints are kept, beside the best by validation
    #[arg(long, value_name = "K", value_parser = whole, help_heading = "Durability", allow_negative_numbers = true)]
    pub keep_checkpoints: Option<u64>,
    /// Write the hash of the weights after every N steps to metrics.jsonl; 0 for none
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Durability", allow_negative_numbers = true)]
    pub log_steps: Option<u64>,
}

keys!(TrainOptions {
    data, hidden, activation, output, cost, init, epochs, batch_size, shard_size, seed, eval_every, optimizer,
    learning_rate, momentum, beta1, beta2, epsilon, weight_decay, l2, schedule, warmup_steps, step_epochs,
    step_factor, cosine_floor, threads, out, quiet, resume, checkpoint_seconds,
    checkpoint_steps, keep_checkpoints, log_steps,
} format: DataOptions);

/// [`TrainOptions`] with the file that they may come from, for a command that trains.
#[derive(Debug, Clone, Default, Args)]
pub struct TrainArgs {
    /// Take options from a TOML file whose keys are the flags' names; flags win over it; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Print the options in effect as a file that --config takes, and stop
    #[arg(long, help_heading = "Configuration")]
    pub print_config: bool,
    /// See [`TrainOptions`].
    #[command(flatten)]
    pub options: TrainOptions,
}
