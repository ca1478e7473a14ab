//! The configuration of a run: flags and file as they are given ([`TrainOptions`]), merged, then checked once
//! by [`validate`] into a [`TrainConfig`], the only thing that the work itself takes.
//!
//! ```text
//! flags ──────────────┐
//!                     ├─ or ─ TrainOptions ─ validate ─ TrainConfig ─ for_task ─ TaskChoices
//! run.toml ─ file::read┘                                                (once the data is known)
//! ```

pub mod choice;
pub mod defaults;
pub mod file;
mod host;
mod options;
mod print;
mod validate;
mod value;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use nn_core::{Activation, Cost, Optimizer, Output};
use nn_data::LoadOptions;
use nn_engine::Recipe;

pub use choice::{Choice, Header, OptimizerName, ScheduleName, Task, Tri, choice};
pub use host::Host;
pub use options::{DataOptions, TrainArgs, TrainOptions};
pub use print::{print, value_of};
pub use validate::{
    MAX_BATCH_SIZE, MAX_CLASSES, MAX_EPOCHS, MAX_HIDDEN_LAYERS, MAX_THREADS, MAX_WIDTH, check_data,
    check_layers, check_range, validate,
};
pub use value::Hidden;
pub(crate) use value::{real, text, whole};

use crate::failure::Failure;

/// How a data set is to be read, checked. What is `None` the data decides.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DataFormat {
    /// The part kept for testing, in (0, 1), of data that has no test samples of its own.
    /// `None` leaves it to `nn-data`, which then does not mind if it has no use for it.
    pub test_fraction: Option<f64>,
    /// The column of the answers: its name, or else its position from 0, or from the end if negative.
    pub label_column: Option<String>,
    /// Whether a CSV has a header.
    pub header: Header,
    /// Classes or numbers.
    pub task: Option<Task>,
    /// How many classes, 2 to [`MAX_CLASSES`].
    pub classes: Option<usize>,
}

impl DataFormat {
    /// What `nn-data` has to know to load data; `seed` chooses the test samples where the data has none.
    pub fn load_options(&self, seed: u64) -> LoadOptions {
        LoadOptions {
            test_fraction: self.test_fraction,
            label_column: self.label_column.clone(),
            header: self.header,
            task: self.task,
            classes: self.classes,
            seed,
            ..LoadOptions::default()
        }
    }
}

/// A run, checked. Only [`validate`] makes one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainConfig {
    /// `digits`, `mnist`, `fashion-mnist` or a path.
    pub data: String,
    /// How the data is to be read.
    pub format: DataFormat,
    /// The widths of the hidden layers, each 1 to [`MAX_WIDTH`]; empty for none.
    pub hidden: Vec<usize>,
    /// The function of the hidden layers.
    pub activation: Activation,
    /// The function of the output layer; `None` until the data has shown its task: see [`TrainConfig::for_task`].
    pub output: Option<Output>,
    /// What is made small.
    pub cost: Cost,
    /// How the network is trained. Its learning rate counts only once the task is known: see [`TrainConfig::for_task`].
    pub recipe: Recipe,
    /// Epochs between two looks at the test samples, at least 1.
    pub eval_every: u32,
    /// Positive; `None` until the data has shown its task: see [`TrainConfig::for_task`].
    pub learning_rate: Option<f32>,
    /// 1 to [`MAX_THREADS`].
    pub threads: NonZeroUsize,
    /// Where the files of the run go.
    pub out: PathBuf,
    /// Whether to go on from the newest checkpoint in `out`.
    pub resume: bool,
    /// Seconds between two checkpoints; 0 for none by the clock.
    pub checkpoint_seconds: u64,
    /// Steps between two checkpoints; 0 for none by steps.
    pub checkpoint_steps: u64,
    /// How many of the newest are kept, at least 1.
    pub keep_checkpoints: usize,
    /// Steps between two hashes in the log; 0 for none.
    pub log_steps: u64,
    /// Print nothing but errors.
    pub quiet: bool,
}

/// What could not be chosen before the data had shown its task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskChoices {
    /// The function of the output layer.
    pub output: Output,
    /// The recipe with its learning rate.
    pub recipe: Recipe,
}

/// What was asked for and cannot learn the task: the option's key, the rest of the sentence, and the remedy.
struct Misfit {
    key: &'static str,
    says: &'static str,
    help: &'static str,
}

impl TrainConfig {
    /// The output layer and the learning rate for data of that task: what was asked for, or else what fits.
    ///
    /// # Errors
    /// Exit code 2, where what was asked for cannot learn the task.
    pub fn for_task(&self, task: Task) -> Result<TaskChoices, Failure> {
        self.try_for_task(task).map_err(|misfit| {
            Failure::usage(format_args!("--{} {}", misfit.key, misfit.says)).help(misfit.help)
        })
    }

    fn try_for_task(&self, task: Task) -> Result<TaskChoices, Misfit> {
        let output =
            self.output.unwrap_or_else(|| defaults::default_output(task, self.activation, self.cost));
        let (key, says, help) = match (task, output, self.cost) {
            (Task::Regression, _, Cost::CrossEntropy) => (
                "cost",
                "cross-entropy is for classes, but the answers of this data are numbers",
                "use --cost mse, or --task classification if the numbers are labels",
            ),
            (Task::Regression, Output::Softmax, _) => (
                "output",
                "softmax is for classes, but the answers of this data are numbers",
                "use --output linear, or --task classification if the numbers are labels",
            ),
            (_, Output::Linear, Cost::CrossEntropy) => (
                "cost",
                "cross-entropy needs probabilities, which --output linear does not give",
                "use --output softmax, or --cost mse",
            ),
            _ => {
                let learning_rate = self.learning_rate.unwrap_or_else(|| {
                    defaults::default_learning_rate(self.optimizer_name(), self.activation, self.cost, output)
                });
                return Ok(TaskChoices { output, recipe: Recipe { learning_rate, ..self.recipe.clone() } });
            }
        };
        Err(Misfit { key, says, help })
    }

    /// The optimizer without its constants.
    pub fn optimizer_name(&self) -> OptimizerName {
        match self.recipe.optimizer {
            Optimizer::Sgd => OptimizerName::Sgd,
            Optimizer::Momentum { .. } => OptimizerName::Momentum,
            Optimizer::Nesterov { .. } => OptimizerName::Nesterov,
            Optimizer::Adam { .. } => OptimizerName::Adam,
            Optimizer::AdamW { .. } => OptimizerName::AdamW,
        }
    }
}

impl TrainArgs {
    /// The whole way from flags to a checked configuration: reads the file of `--config`, lets the flags win
    /// over it, and checks the outcome.
    ///
    /// # Errors
    /// Exit code 2, with the flag or the line to blame.
    pub fn check(self) -> Result<TrainConfig, Failure> {
        let (options, origins) = match &self.config {
            None => (self.options, file::Origins::default()),
            Some(path) => {
                let (from_file, mut origins) = file::read(path)?;
                origins.overrule(self.options.given());
                (self.options.or(from_file), origins)
            }
        };
        validate(&options, &origins, defaults::available_threads())
    }
}
