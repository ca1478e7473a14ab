//! The one check that options pass before anything is done with them.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use nn_core::{Cost, Optimizer, Output, Schedule, ScheduleShape};
use nn_engine::Recipe;

use super::file::Origins;
use super::{
    Choice, DataFormat, DataOptions, OptimizerName, ScheduleName, Task, TrainConfig, TrainOptions, defaults,
};
use crate::failure::Failure;

/// The widest layer.
pub const MAX_WIDTH: u64 = 1_000_000;
/// The most hidden layers.
pub const MAX_HIDDEN_LAYERS: usize = 1_000;
/// The most epochs.
pub const MAX_EPOCHS: u64 = 1_000_000;
/// The largest mini-batch: up to here f32, by which a sum is divided, counts exactly.
pub const MAX_BATCH_SIZE: u64 = 1 << 24;
/// The most steps, wherever they are counted.
const MAX_STEPS: u64 = 1_000_000_000_000;
/// The most checkpoints that are kept.
const MAX_CHECKPOINTS: u64 = 1_000_000;
/// The most threads.
pub const MAX_THREADS: u64 = 4096;
/// The most classes.
pub const MAX_CLASSES: u64 = MAX_WIDTH;
/// The highest learning rate: ten thousand of Nielsen's steps in one.
const MAX_LEARNING_RATE: f64 = 30_000.0;

/// The numbers that an option may have.
#[derive(Clone, Copy)]
enum Interval {
    /// `0 < x ≤ high`
    Positive(f64),
    /// `0 ≤ x ≤ high`
    FromZero(f64),
    /// `0 ≤ x < high`
    FromZeroBelow(f64),
    /// `0 < x < 1`
    Inside,
}

impl Interval {
    fn contains(self, x: f64) -> bool {
        match self {
            Self::Positive(high) => x > 0.0 && x <= high,
            Self::FromZero(high) => (0.0..=high).contains(&x),
            Self::FromZeroBelow(high) => (0.0..high).contains(&x),
            Self::Inside => x > 0.0 && x < 1.0,
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Positive(high) => write!(f, "above 0 and at most {high}"),
            Self::FromZero(high) => write!(f, "at least 0 and at most {high}"),
            Self::FromZeroBelow(high) => write!(f, "at least 0 and below {high}"),
            Self::Inside => write!(f, "above 0 and below 1"),
        }
    }
}

/// Checks one option after the other and knows where each came from.
struct Checker<'a>(&'a Origins);

impl Checker<'_> {
    fn fail(&self, key: &str, says: impl fmt::Display, help: impl fmt::Display) -> Failure {
        Failure::usage(format_args!("{} {says}", self.0.subject(key))).help(help)
    }

    fn whole(
        &self,
        key: &str,
        value: Option<u64>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, Failure> {
        let value = value.unwrap_or(default);
        if range.contains(&value) {
            return Ok(value);
        }
        let (low, high) = range.into_inner();
        Err(self.fail(
            key,
            format_args!("must be at least {low} and at most {high}, not {value}"),
            format_args!("the default is {default}"),
        ))
    }

    fn count(&self, key: &str, value: Option<u64>, default: usize, high: u64) -> Result<usize, Failure> {
        let value = self.whole(key, value, default as u64, 1..=high)?;
        usize::try_from(value)
            .map_err(|_| self.fail(key, "is too large for this machine", "use a smaller one"))
    }

    fn real(
        &self,
        key: &str,
        value: f64,
        default: impl fmt::Display,
        interval: Interval,
    ) -> Result<f64, Failure> {
        if interval.contains(value) {
            return Ok(value);
        }
        Err(self.fail(
            key,
            format_args!("must be a number {interval}, not {value}"),
            format_args!("the default is {default}"),
        ))
    }

    fn real32(
        &self,
        key: &str,
        value: Option<f32>,
        default: f32,
        interval: Interval,
    ) -> Result<f32, Failure> {
        let value = value.unwrap_or(default);
        // The shortest text of an f32 is the number that the user wrote; its exact value is not.
        let shown = value.to_string().parse().unwrap_or(f64::from(value));
        self.real(key, shown, format_args!("{default:?}"), interval).map(|_| value)
    }

    /// Refuses a constant of something that `selector` has not selected: it would have no effect.
    ///
    /// A constant of the file is passed over, though, where it is a flag that selects something else: flags win,
    /// and no flag could take the line out of the file.
    fn only_with(
        &self,
        key: &str,
        given: bool,
        selector: &str,
        selected: &str,
        with: &[&str],
    ) -> Result<(), Failure> {
        let overruled = self.0.is_from_file(key) && self.0.is_from_flag(selector);
        if !given || with.contains(&selected) || overruled {
            return Ok(());
        }
        let with = with.join(" or ");
        Err(self.fail(
            key,
            format_args!("has no effect with --{selector} {selected}"),
            format_args!("add --{selector} {with}, or remove {key}"),
        ))
    }
}

/// Checks a number that is not an option of a run, such as those of `nn eval`.
///
/// # Errors
/// Exit code 2, where `value` is out of `range`.
pub fn check_range(key: &str, value: u64, range: RangeInclusive<u64>) -> Result<usize, Failure> {
    if range.contains(&value)
        && let Ok(value) = usize::try_from(value)
    {
        return Ok(value);
    }
    let (low, high) = range.into_inner();
    Err(Failure::usage(format_args!("--{key} must be at least {low} and at most {high}, not {value}")))
}

/// Checks the widths of layers; `subject` is how an error calls them.
///
/// # Errors
/// Exit code 2, where one is 0 or absurd, or where there are too many.
pub fn check_layers(subject: &str, widths: &[u64]) -> Result<Vec<usize>, Failure> {
    if widths.len() > MAX_HIDDEN_LAYERS {
        return Err(Failure::usage(format_args!(
            "{subject} has {} layers; at most {MAX_HIDDEN_LAYERS} are allowed",
            widths.len()
        ))
        .help("use fewer, wider layers"));
    }
    let checked = widths.iter().enumerate().map(|(layer, &width)| match usize::try_from(width) {
        Ok(width) if (1..=MAX_WIDTH).contains(&(width as u64)) => Ok(width),
        _ => Err(Failure::usage(format_args!(
            "{subject} gives layer {} a width of {width}; every layer has at least 1 and at most {MAX_WIDTH} \
             neurons",
            layer + 1
        ))
        .help("for no hidden layer say --hidden none")),
    });
    checked.collect()
}

/// Checks how data is to be read.
///
/// # Errors
/// Exit code 2, with the flag or the line to blame.
pub fn check_data(options: &DataOptions, origins: &Origins) -> Result<DataFormat, Failure> {
    let check = Checker(origins);
    let test_fraction = options
        .test_fraction
        .map(|fraction| check.real("test-fraction", fraction, defaults::TEST_FRACTION, Interval::Inside))
        .transpose()?;
    let classes = match options.classes {
        None => None,
        Some(_) if options.task == Some(Task::Regression) => {
            return Err(check.fail(
                "classes",
                "has no effect with --task regression",
                "use --task classification, or remove classes",
            ));
        }
        Some(classes) if !(2..=MAX_CLASSES).contains(&classes) => {
            return Err(check.fail(
                "classes",
                format_args!("must be at least 2 and at most {MAX_CLASSES}, not {classes}"),
                "leave it out to take the classes that occur in the data",
            ));
        }
        Some(classes) => Some(check.count("classes", Some(classes), 2, MAX_CLASSES)?),
    };
    Ok(DataFormat {
        test_fraction,
        label_column: options.label_column.clone(),
        header: options.header.unwrap_or(defaults::HEADER),
        task: options.task,
        classes,
    })
}

/// Checks the merged options of a run and fills in the defaults; `cores` is how many threads there are unasked.
///
/// # Errors
/// Exit code 2, with one sentence that names the flag, or the line of the file, and a remedy.
pub fn validate(
    options: &TrainOptions,
    origins: &Origins,
    cores: NonZeroUsize,
) -> Result<TrainConfig, Failure> {
    let check = Checker(origins);
    let format = check_data(&options.format, origins)?;
    let data = options.data.clone().unwrap_or_else(|| defaults::DATA.to_owned());
    let hidden = match &options.hidden {
        None => defaults::HIDDEN.to_vec(),
        Some(hidden) => check_layers(&origins.subject("hidden"), &hidden.0)?,
    };
    let activation = options.activation.unwrap_or(defaults::ACTIVATION);
    let cost = options.cost.unwrap_or(defaults::COST);
    if cost == Cost::CrossEntropy && options.output == Some(Output::Linear) {
        return Err(check.fail(
            "cost",
            "cross-entropy needs probabilities, which --output linear does not give",
            "use --output softmax, or --cost mse",
        ));
    }
    let epochs = check.whole("epochs", options.epochs, defaults::EPOCHS.into(), 1..=MAX_EPOCHS)? as u32;
    let batch_size = check.count("batch-size", options.batch_size, defaults::BATCH_SIZE, MAX_BATCH_SIZE)?;
    let default_shard = defaults::default_shard_size(batch_size);
    let shard_size = check.count("shard-size", options.shard_size, default_shard, MAX_BATCH_SIZE)?;
    if shard_size > batch_size {
        return Err(check.fail(
            "shard-size",
            format_args!("must be at most the size of a mini-batch, {batch_size}, not {shard_size}"),
            format_args!("the default for this mini-batch is {default_shard}; or raise --batch-size"),
        ));
    }
    let eval_every =
        check.whole("eval-every", options.eval_every, defaults::EVAL_EVERY.into(), 1..=MAX_EPOCHS)? as u32;
    let config = TrainConfig {
        hidden,
        activation,
        output: options.output,
        cost,
        recipe: Recipe {
            init: options.init.unwrap_or_else(|| defaults::default_init(activation)),
            optimizer: optimizer(options, &check)?,
            schedule: schedule(options, &check)?,
            learning_rate: options.learning_rate.unwrap_or(Recipe::book().learning_rate),
            l2: check.real32("l2", options.l2, defaults::L2, Interval::FromZero(1e9))?,
            batch_size,
            shard_size,
            epochs,
            seed: options.seed.unwrap_or(defaults::SEED),
        },
        eval_every,
        learning_rate: options
            .learning_rate
            .map(|rate| {
                let default = defaults::default_learning_rate(
                    options.optimizer.unwrap_or(defaults::OPTIMIZER),
                    activation,
                    cost,
                    options.output.unwrap_or(defaults::default_output(
                        Task::Classification,
                        activation,
                        cost,
                    )),
                );
                let interval = Interval::Positive(MAX_LEARNING_RATE);
                check
                    .real32("learning-rate", Some(rate), default, interval)
                    .map_err(|failure| failure.help(format_args!("{default:?} suits this network")))
            })
            .transpose()?,
        threads: NonZeroUsize::new(check.count("threads", options.threads, cores.get(), MAX_THREADS)?)
            .unwrap_or(cores),
        out: options.out.clone().unwrap_or_else(|| defaults::default_out(&data)),
        resume: options.resume.unwrap_or(false),
        checkpoint_seconds: check.whole(
            "checkpoint-seconds",
            options.checkpoint_seconds,
            defaults::CHECKPOINT_SECONDS,
            0..=31_536_000,
        )?,
        checkpoint_steps: check.whole(
            "checkpoint-steps",
            options.checkpoint_steps,
            defaults::CHECKPOINT_STEPS,
            0..=MAX_STEPS,
        )?,
        keep_checkpoints: check.count(
            "keep-checkpoints",
            options.keep_checkpoints,
            defaults::KEEP_CHECKPOINTS,
            MAX_CHECKPOINTS,
        )?,
        log_steps: check.whole("log-steps", options.log_steps, defaults::LOG_STEPS, 0..=MAX_STEPS)?,
        quiet: options.quiet.unwrap_or(false),
        data,
        format,
    };
    settle(config, &check)
}

/// Chooses the output layer and the learning rate, where the task is known without the data.
fn settle(mut config: TrainConfig, check: &Checker<'_>) -> Result<TrainConfig, Failure> {
    if config.out.as_os_str().is_empty() {
        return Err(check.fail("out", "names no folder", "leave it out to write to runs/"));
    }
    let built_in = ["digits", "mnist", "fashion-mnist"].contains(&config.data.as_str());
    let classes = built_in || config.format.classes.is_some();
    let task = config.format.task.or(classes.then_some(Task::Classification));
    if built_in && task == Some(Task::Regression) {
        return Err(check.fail(
            "task",
            format_args!("regression does not fit --data {}, whose answers are classes", config.data),
            "use --task classification, or data of your own",
        ));
    }
    if let Some(task) = task {
        let choices =
            config.try_for_task(task).map_err(|misfit| check.fail(misfit.key, misfit.says, misfit.help))?;
        config.output = Some(choices.output);
        config.learning_rate = Some(choices.recipe.learning_rate);
        config.recipe = choices.recipe;
    }
    Ok(config)
}

fn optimizer(options: &TrainOptions, check: &Checker<'_>) -> Result<Optimizer, Failure> {
    use OptimizerName as N;
    let name = options.optimizer.unwrap_or(defaults::OPTIMIZER);
    let momenta = [N::Momentum.name(), N::Nesterov.name()];
    let adams = [N::Adam.name(), N::AdamW.name()];
    for (key, given, with) in [
        ("momentum", options.momentum.is_some(), &momenta[..]),
        ("beta1", options.beta1.is_some(), &adams),
        ("beta2", options.beta2.is_some(), &adams),
        ("epsilon", options.epsilon.is_some(), &adams),
        ("weight-decay", options.weight_decay.is_some(), &adams[1..]),
    ] {
        check.only_with(key, given, "optimizer", name.name(), with)?;
    }
    let below_one = Interval::FromZeroBelow(1.0);
    let momentum = check.real32("momentum", options.momentum, defaults::MOMENTUM, below_one)?;
    let beta1 = check.real32("beta1", options.beta1, defaults::BETA1, below_one)?;
    let beta2 = check.real32("beta2", options.beta2, defaults::BETA2, below_one)?;
    let epsilon = check.real32("epsilon", options.epsilon, defaults::EPSILON, Interval::Positive(1.0))?;
    let weight_decay = check.real32(
        "weight-decay",
        options.weight_decay,
        defaults::WEIGHT_DECAY,
        Interval::FromZero(1e6),
    )?;
    Ok(match name {
        N::Sgd => Optimizer::Sgd,
        N::Momentum => Optimizer::Momentum { momentum },
        N::Nesterov => Optimizer::Nesterov { momentum },
        N::Adam => Optimizer::Adam { beta1, beta2, epsilon },
        N::AdamW => Optimizer::AdamW { beta1, beta2, epsilon, weight_decay },
    })
}

fn schedule(options: &TrainOptions, check: &Checker<'_>) -> Result<Schedule, Failure> {
    use ScheduleName as N;
    let name = options.schedule.unwrap_or(defaults::SCHEDULE);
    for (key, given, with) in [
        ("step-epochs", options.step_epochs.is_some(), N::Step),
        ("step-factor", options.step_factor.is_some(), N::Step),
        ("cosine-floor", options.cosine_floor.is_some(), N::Cosine),
    ] {
        check.only_with(key, given, "schedule", name.name(), &[with.name()])?;
    }
    let every_epochs =
        check.whole("step-epochs", options.step_epochs, defaults::STEP_EPOCHS.into(), 1..=MAX_EPOCHS)? as u32;
    let factor =
        check.real32("step-factor", options.step_factor, defaults::STEP_FACTOR, Interval::Positive(1.0))?;
    let floor = check.real32(
        "cosine-floor",
        options.cosine_floor,
        defaults::COSINE_FLOOR,
        Interval::FromZero(1.0),
    )?;
    let shape = match name {
        N::Constant => ScheduleShape::Constant,
        N::Step => ScheduleShape::Step { every_epochs, factor },
        N::Cosine => ScheduleShape::Cosine { floor },
    };
    let warmup = options.warmup_steps;
    let warmup_steps = check.whole("warmup-steps", warmup, defaults::WARMUP_STEPS, 0..=MAX_STEPS)?;
    Ok(Schedule { shape, warmup_steps })
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
