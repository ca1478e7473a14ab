//! From the options of a network and its recipe to the network and the recipe, for data of a known task.

use nn_core::{
    CombinationError, Cost, Model, ModelError, Normalization, Optimizer, Output, Precision, Regularization,
    Schedule, ScheduleShape, check_combination,
};
use nn_engine::{EarlyStopping, Recipe, Rounds};

use super::augment::Augment;
use super::choice::{Choice, OptimizerName, RecipeName, ScheduleName, Task};
use super::defaults::{default_init, default_learning_rate, default_output, default_shard_size};
use super::lists::Widths;
use super::option::OnlyWith;
use super::options::{Learn, LearnOptions};
use super::origins::{Origin, Origins};
use super::privacy;
use super::recipes::{self, Facts};
use super::rounds::{self, RoundSteps};
use super::table::Options as _;
use crate::failure::Failure;

/// What is trained and how, in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// The widths of the hidden layers; empty for none.
    pub hidden: Vec<usize>,
    /// The activation of the hidden layers.
    pub activation: nn_core::Activation,
    /// The normalisation of the hidden layers.
    pub normalization: Normalization,
    /// The activation of the output layer.
    pub output: Output,
    /// The loss to minimise.
    pub cost: Cost,
    /// The precision of the products' operands.
    pub precision: Precision,
    /// The training.
    pub recipe: Recipe,
}

impl Design {
    /// The network between inputs and outputs of these widths.
    ///
    /// # Errors
    /// What [`Model::new`] and [`Model::with_normalization`] refuse.
    pub fn model(&self, inputs: usize, outputs: usize) -> Result<Model, ModelError> {
        let widths = [&[inputs][..], &self.hidden, &[outputs]].concat();
        let model = Model::new(widths, self.activation, self.output, self.cost)?;
        model.with_precision(self.precision).with_normalization(self.normalization)
    }
}

impl Learn {
    /// The recipe that the defaults come from: the one asked for, or else the one that suits the data.
    pub(super) fn recipe_for(&self, facts: &Facts) -> RecipeName {
        self.recipe
            .unwrap_or_else(|| recipes::suitable(self.hidden.as_ref().map(|widths| &widths.0[..]), facts))
    }

    /// This with the defaults for the data in place of what was not asked for.
    pub(super) fn with_defaults(&self, facts: &Facts) -> Self {
        let name = self.recipe_for(facts);
        let defaults = recipes::defaults(name, facts, self.batch_size, self.epochs);
        let mut learn = self.clone();
        learn.recipe = Some(name);
        let batch_size = *learn.batch_size.get_or_insert(defaults.batch_size);
        let epochs = *learn.epochs.get_or_insert(defaults.epochs);
        let steps = facts.samples.div_ceil(batch_size.max(1)) as u64;
        if learn.schedule == Some(ScheduleName::OneCycle) {
            learn.warmup_steps.get_or_insert(0);
        }
        rounds::with_defaults(&mut learn, steps.saturating_mul(u64::from(epochs)));
        let optimizer = *learn.optimizer.get_or_insert(defaults.optimizer);
        if optimizer == defaults.optimizer && learn.learning_rate.is_none() {
            learn.learning_rate = defaults.learning_rate;
        }
        learn.hidden.get_or_insert(Widths(defaults.hidden));
        learn.activation.get_or_insert(defaults.activation);
        learn.cost.get_or_insert(defaults.cost);
        learn.weight_decay.get_or_insert(defaults.weight_decay);
        learn.schedule.get_or_insert(defaults.schedule);
        learn.warmup_steps.get_or_insert(defaults.warmup_steps);
        learn
    }

    /// These options with all that the design decided, so that they give the same design again, whatever the data and the
    /// defaults are then.
    pub(super) fn completed(&self, design: &Design) -> Self {
        // Without `..`: a part that is not stored must not compile.
        let Design { hidden, activation, normalization, output, cost, precision, recipe } = design;
        let Recipe {
            init,
            optimizer,
            schedule,
            learning_rate,
            l2,
            batch_size,
            shard_size,
            epochs,
            seed,
            early_stopping,
            clip_norm,
            max_norm,
            ema,
            rounds,
            regularization,
            dp_noise,
            initial_sha256: _, // it stands with the folder in which the run began
        } = recipe.clone();
        // Without `..`, as above.
        let Regularization { input_dropout, dropout, label_smoothing, clip_samples, augmentation } =
            regularization;
        let Schedule { shape, warmup_steps } = schedule;
        let mut learn = Self {
            recipe: self.recipe,
            hidden: Some(Widths(hidden.clone())),
            activation: Some(*activation),
            normalization: *normalization,
            output: Some(*output),
            cost: Some(*cost),
            precision: *precision,
            // The weights of a model have no distribution.
            init: self.from.is_none().then_some(init),
            warmup_steps: Some(warmup_steps),
            learning_rate: Some(learning_rate),
            l2,
            batch_size: Some(batch_size),
            shard_size: Some(shard_size),
            epochs: Some(epochs),
            max_seconds: None, // it has decided the epochs
            early_stopping: early_stopping.map(|rule| rule.evaluations),
            clip_norm,
            max_norm,
            ema,
            dp_noise,
            // Both are the limit on samples' gradients.
            dp_clip: dp_noise.map(|_| clip_samples),
            seed,
            input_dropout,
            dropout,
            label_smoothing,
            clip_samples: if dp_noise.is_some() { 0.0 } else { clip_samples },
            augment: Augment(augmentation),
            ..self.clone() // constants of optimizers and schedules, of which the design has those in use
        };
        learn.optimizer = Some(match optimizer {
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
                learn.weight_decay = Some(weight_decay);
                OptimizerName::AdamW
            }
        });
        learn.schedule = Some(match shape {
            ScheduleShape::Constant => ScheduleName::Constant,
            ScheduleShape::Step { every_epochs, factor } => {
                (learn.step_epochs, learn.step_factor) = (every_epochs, factor);
                ScheduleName::Step
            }
            ScheduleShape::Cosine { floor } => {
                learn.cosine_floor = floor;
                ScheduleName::Cosine
            }
            ScheduleShape::Wsd { decay } => {
                learn.wsd_decay = decay;
                ScheduleName::Wsd
            }
            ScheduleShape::Plateau { factor, evaluations, every_epochs: _ } => {
                (learn.plateau_factor, learn.plateau_evaluations) = (factor, evaluations);
                ScheduleName::Plateau
            }
            ScheduleShape::OneCycle { rise, divisor, final_divisor } => {
                (learn.one_cycle_rise, learn.one_cycle_divisor) = (rise, divisor);
                learn.one_cycle_final_divisor = final_divisor;
                ScheduleName::OneCycle
            }
        });
        if let Some(Rounds { replicas, steps, outer_learning_rate, outer_momentum, delta_bits }) = rounds {
            learn.rounds = Some(RoundSteps(steps));
            learn.replicas = Some(replicas);
            learn.outer_momentum = Some(outer_momentum);
            learn.outer_learning_rate = Some(outer_learning_rate);
            learn.delta_bits = Some(delta_bits);
        }
        learn
    }

    /// The design for data of which `facts` are known: what was asked for, or else what suits the data.
    ///
    /// # Errors
    /// Exit code 2 if options do not fit each other or the data.
    pub(super) fn design(&self, facts: &Facts, origins: &Origins) -> Result<Design, Failure> {
        let task = facts.task;
        let completed = self.with_defaults(facts);
        check_selected(&completed, origins)?;
        privacy::check(&completed, origins)?;
        let defaults = recipes::defaults(self.recipe_for(facts), facts, self.batch_size, self.epochs);
        let rounds = rounds::rounds(&completed, origins)?;
        // Without `..`: an option that is not used must not compile.
        let Self {
            recipe: _, // it has decided the others
            from: _,   // its network is in the others, and its weights are the manifest's
            hidden,
            activation,
            normalization,
            output,
            cost,
            precision,
            init,
            epochs,
            max_seconds: _, // it decides the epochs once the data is there
            early_stopping,
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
            dropout,
            input_dropout,
            label_smoothing,
            clip_samples,
            augment: Augment(augmentation),
            clip_norm,
            max_norm,
            ema,
            dp_noise,
            dp_clip,
            dp_delta: _, // it decides only what is said
            schedule,
            warmup_steps,
            step_epochs,
            step_factor,
            cosine_floor,
            wsd_decay,
            one_cycle_rise,
            one_cycle_divisor,
            one_cycle_final_divisor,
            plateau_factor,
            plateau_evaluations,
            rounds: _, // `rounds::rounds` has read these
            replicas: _,
            delta_bits: _,
            outer_learning_rate: _,
            outer_momentum: _,
        } = completed;
        let clip_samples = dp_clip.unwrap_or(clip_samples);
        let hidden = hidden.map_or(defaults.hidden, |widths| widths.0);
        let activation = activation.unwrap_or(defaults.activation);
        let cost = cost.unwrap_or(defaults.cost);
        let epochs = epochs.unwrap_or(defaults.epochs);
        let batch_size = batch_size.unwrap_or(defaults.batch_size);
        let optimizer = optimizer.unwrap_or(defaults.optimizer);
        let weight_decay = weight_decay.unwrap_or(defaults.weight_decay);
        let schedule = schedule.unwrap_or(defaults.schedule);
        let warmup_steps = warmup_steps.unwrap_or(defaults.warmup_steps);
        let output = output.unwrap_or_else(|| default_output(task, activation, cost));
        check_loss(task, output, cost, origins)?;
        check_warmup(schedule, warmup_steps, origins)?;
        if schedule == ScheduleName::Plateau && rounds.is_some() {
            let subject = origins.subject("schedule");
            return Err(Failure::usage(format_args!(
                "{subject} plateau does not go with --rounds, whose replicas follow a rate that is known beforehand"
            ))
            .help("use --schedule wsd, or leave out rounds"));
        }
        if max_norm.is_some() && hidden.is_empty() {
            let subject = origins.subject("max-norm");
            return Err(Failure::usage(format_args!(
                "{subject} bounds the weights into hidden units, but the network has none"
            ))
            .help("remove it, or give hidden layers, as --hidden 30 does; --l2 keeps the weights of any layer small"));
        }
        if task == Task::Regression && label_smoothing > 0.0 {
            let subject = origins.subject("label-smoothing");
            return Err(Failure::usage(format_args!(
                "{subject} is for classes, but the answers of this data are numbers"
            ))
            .help("remove it, or use --task classification if the numbers are labels"));
        }
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
                    ScheduleName::Wsd => ScheduleShape::Wsd { decay: wsd_decay },
                    ScheduleName::OneCycle => ScheduleShape::OneCycle {
                        rise: one_cycle_rise,
                        divisor: one_cycle_divisor,
                        final_divisor: one_cycle_final_divisor,
                    },
                    ScheduleName::Plateau => ScheduleShape::Plateau {
                        factor: plateau_factor,
                        evaluations: plateau_evaluations,
                        every_epochs: 1,
                    },
                },
                warmup_steps,
            },
            learning_rate: learning_rate.unwrap_or_else(|| match rounds {
                Some(rounds) if optimizer == OptimizerName::Sgd => {
                    rounds::learning_rate(rounds.replicas, activation, cost, output)
                }
                _ => default_learning_rate(optimizer, activation, cost, output),
            }),
            l2,
            batch_size,
            shard_size: check_shard_size(shard_size, batch_size, precision, origins)?,
            epochs,
            seed,
            early_stopping: early_stopping.map(|evaluations| EarlyStopping { evaluations, every_epochs: 1 }),
            clip_norm,
            max_norm,
            ema,
            rounds,
            regularization: Regularization {
                input_dropout,
                dropout,
                label_smoothing,
                clip_samples,
                augmentation,
            },
            dp_noise,
            initial_sha256: None, // `TrainConfig::for_data` knows the model
        };
        Ok(Design { hidden, activation, normalization, output, cost, precision, recipe })
    }
}

/// Refuses constants without effect, now that the optimizer and the schedule are known.
fn check_selected(learn: &Learn, origins: &Origins) -> Result<(), Failure> {
    let selected = |selector: &str| match selector {
        "optimizer" => learn.optimizer.map(Choice::name),
        "schedule" => learn.schedule.map(Choice::name),
        _ => None,
    };
    for entry in LearnOptions::entries() {
        let Some(OnlyWith { selector, names }) = &entry.only_with else { continue };
        let (key, given) = (entry.key, origins.of(entry.key) != Origin::Default);
        // What is given was compared with what is given before; here the recipe has chosen.
        if origins.of(selector) != Origin::Default || !given {
            continue;
        }
        if let Some(selected) = selected(selector).filter(|selected| !names.contains(selected)) {
            let subject = origins.subject(key);
            let text = format_args!("{subject} has no effect with --{selector} {selected}");
            let with = names.join(" or ");
            return Err(Failure::usage(text).help(format_args!("add --{selector} {with}, or remove {key}")));
        }
    }
    Ok(())
}

/// Refuses a warm-up before a schedule that rises by itself.
fn check_warmup(schedule: ScheduleName, warmup_steps: u64, origins: &Origins) -> Result<(), Failure> {
    if schedule != ScheduleName::OneCycle || warmup_steps == 0 {
        return Ok(());
    }
    let subject = origins.subject("warmup-steps");
    Err(Failure::usage(format_args!(
        "{subject} does not go with --schedule one-cycle, whose rate rises by itself"
    ))
    .help("say with --one-cycle-rise in which part of the steps it rises, and leave out warmup-steps"))
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
        CombinationError::HuberNeedsLinear => (
            "cost",
            "huber is for linear outputs, as regression has them",
            "use --output linear, or --cost cross-entropy for classes",
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

fn check_shard_size(
    given: Option<usize>,
    batch_size: usize,
    precision: Precision,
    origins: &Origins,
) -> Result<usize, Failure> {
    let default = default_shard_size(batch_size, precision);
    match given {
        Some(shard_size) if shard_size > batch_size => Err(Failure::usage(format_args!(
            "{} must be at most the size of a mini-batch, {batch_size}, not {shard_size}",
            origins.subject("shard-size")
        ))
        .help(format_args!("the default for this mini-batch is {default}; or raise --batch-size"))),
        given => Ok(given.unwrap_or(default)),
    }
}
