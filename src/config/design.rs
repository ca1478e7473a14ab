//! From the options of a network and its recipe to the network and the recipe, for data of a known task.

use nn_core::{
    CombinationError, Cost, Model, ModelError, Optimizer, Output, Schedule, ScheduleShape, check_combination,
};
use nn_engine::Recipe;

use super::choice::{OptimizerName, ScheduleName, Task};
use super::defaults::{default_init, default_learning_rate, default_output, default_shard_size};
use super::lists::Widths;
use super::options::Learn;
use super::origins::Origins;
use crate::failure::Failure;

/// What is trained and how, in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// The widths of the hidden layers; empty for none.
    pub hidden: Vec<usize>,
    /// The activation of the hidden layers.
    pub activation: nn_core::Activation,
    /// The activation of the output layer.
    pub output: Output,
    /// The loss to minimise.
    pub cost: Cost,
    /// The training.
    pub recipe: Recipe,
}

impl Design {
    /// The network between inputs and outputs of these widths.
    ///
    /// # Errors
    /// What [`Model::new`] refuses.
    pub fn model(&self, inputs: usize, outputs: usize) -> Result<Model, ModelError> {
        let widths = [&[inputs][..], &self.hidden, &[outputs]].concat();
        Model::new(widths, self.activation, self.output, self.cost)
    }
}

impl Learn {
    /// These options with all that the design decided, so that they give the same design again, whatever the data and the
    /// defaults are then.
    pub(super) fn completed(&self, design: &Design) -> Self {
        // Without `..`: a part that is not stored must not compile.
        let Design { hidden, activation, output, cost, recipe } = design;
        let Recipe { init, optimizer, schedule, learning_rate, l2, batch_size, shard_size, epochs, seed } =
            recipe.clone();
        let Schedule { shape, warmup_steps } = schedule;
        let mut learn = Self {
            hidden: Widths(hidden.clone()),
            activation: *activation,
            output: Some(*output),
            cost: *cost,
            init: Some(init),
            warmup_steps,
            learning_rate: Some(learning_rate),
            l2,
            batch_size,
            shard_size: Some(shard_size),
            epochs,
            seed,
            ..self.clone() // constants of optimizers and schedules, of which the design has those in use
        };
        learn.optimizer = match optimizer {
            Optimizer::Sgd => OptimizerName::Sgd,
            Optimizer::Momentum { momentum } => {
                learn.momentum = momentum;
                OptimizerName::Momentum
            }
            Optimizer::Nesterov { momentum } => {
                learn.momentum = momentum;
                OptimizerName::Nesterov
            }
            Optimizer::Adam { beta1, beta2, epsilon } => {
                (learn.beta1, learn.beta2, learn.epsilon) = (beta1, beta2, epsilon);
                OptimizerName::Adam
            }
            Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
                (learn.beta1, learn.beta2, learn.epsilon) = (beta1, beta2, epsilon);
                learn.weight_decay = weight_decay;
                OptimizerName::AdamW
            }
        };
        learn.schedule = match shape {
            ScheduleShape::Constant => ScheduleName::Constant,
            ScheduleShape::Step { every_epochs, factor } => {
                (learn.step_epochs, learn.step_factor) = (every_epochs, factor);
                ScheduleName::Step
            }
            ScheduleShape::Cosine { floor } => {
                learn.cosine_floor = floor;
                ScheduleName::Cosine
            }
        };
        learn
    }

    /// The design for data of that task: what was asked for, or else what suits the task.
    ///
    /// # Errors
    /// Exit code 2 if options do not fit each other or the task.
    pub(super) fn design(&self, task: Task, origins: &Origins) -> Result<Design, Failure> {
        // Without `..`: an option that is not used must not compile.
        let Self {
            hidden,
            activation,
            output,
            cost,
            init,
            epochs,
            batch_size,
            shard_size,
            seed,
            optimizer,
            learning_rate,
            momentum,
            beta1,
            beta2,
            epsilon,
            weight_decay,
            l2,
            schedule,
            warmup_steps,
            step_epochs,
            step_factor,
            cosine_floor,
        } = self.clone();
        let output = output.unwrap_or_else(|| default_output(task, activation, cost));
        check_loss(task, output, cost, origins)?;
        let recipe = Recipe {
            init: init.unwrap_or_else(|| default_init(activation)),
            optimizer: match optimizer {
                OptimizerName::Sgd => Optimizer::Sgd,
                OptimizerName::Momentum => Optimizer::Momentum { momentum },
                OptimizerName::Nesterov => Optimizer::Nesterov { momentum },
                OptimizerName::Adam => Optimizer::Adam { beta1, beta2, epsilon },
                OptimizerName::AdamW => Optimizer::AdamW { beta1, beta2, epsilon, weight_decay },
            },
            schedule: Schedule {
                shape: match schedule {
                    ScheduleName::Constant => ScheduleShape::Constant,
                    ScheduleName::Step => {
                        ScheduleShape::Step { every_epochs: step_epochs, factor: step_factor }
                    }
                    ScheduleName::Cosine => ScheduleShape::Cosine { floor: cosine_floor },
                },
                warmup_steps,
            },
            learning_rate: learning_rate
                .unwrap_or_else(|| default_learning_rate(optimizer, activation, cost, output)),
            l2,
            batch_size,
            shard_size: check_shard_size(shard_size, batch_size, origins)?,
            epochs,
            seed,
        };
        Ok(Design { hidden: hidden.0, activation, output, cost, recipe })
    }
}

/// Refuses a loss and an output that cannot learn the task.
fn check_loss(task: Task, output: Output, cost: Cost, origins: &Origins) -> Result<(), Failure> {
    let Err(misfit) = check_combination(Some(task), output, cost) else { return Ok(()) };
    let (key, says, help) = match misfit {
        CombinationError::LinearCrossEntropy => (
            "cost",
            "cross-entropy needs probabilities, which --output linear does not give",
            "use --output softmax, or --cost mse",
        ),
        CombinationError::RegressionCrossEntropy => (
            "cost",
            "cross-entropy is for classes, but the answers of this data are numbers",
            "use --cost mse, or --task classification if the numbers are labels",
        ),
        CombinationError::RegressionSoftmax => (
            "output",
            "softmax is for classes, but the answers of this data are numbers",
            "use --output linear, or --task classification if the numbers are labels",
        ),
    };
    Err(Failure::usage(format_args!("{} {says}", origins.subject(key))).help(help))
}

fn check_shard_size(given: Option<usize>, batch_size: usize, origins: &Origins) -> Result<usize, Failure> {
    let default = default_shard_size(batch_size);
    match given {
        Some(shard_size) if shard_size > batch_size => Err(Failure::usage(format_args!(
            "{} must be at most the size of a mini-batch, {batch_size}, not {shard_size}",
            origins.subject("shard-size")
        ))
        .help(format_args!("the default for this mini-batch is {default}; or raise --batch-size"))),
        given => Ok(given.unwrap_or(default)),
    }
}
