//! A configuration as a file that `--config` takes.

use std::fmt::Write as _;
use std::num::NonZeroUsize;

use clap::{Args as _, Command};
use nn_core::{Optimizer, ScheduleShape};

use super::{Choice, DataFormat, ScheduleName, Task, TrainConfig, TrainOptions, defaults};
use crate::failure::Failure;

/// What a line of the file says of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// The value in effect.
    Value(String),
    /// Nothing is set: an example, which is commented out.
    Example(String),
}

/// The configuration as a commented TOML file with every option. Read back, it gives the same configuration.
///
/// What is left to the data, or to the machine (`cores`, its threads), is commented out, and so are constants
/// that have no effect.
///
/// # Errors
/// Exit code 2, where the output folder has a name that TOML, which is UTF-8, cannot hold.
pub fn print(config: &TrainConfig, cores: NonZeroUsize) -> Result<String, Failure> {
    let mut text = String::from(
        "# A run of `nn train`, for its option --config. Flags win over what is here.\n\
         # A line that begins with # has no effect; where it holds an option, it shows a value it could have.\n",
    );
    let command = TrainOptions::augment_args(Command::new("nn"));
    let mut heading = None;
    for argument in command.get_arguments() {
        let (Some(key), Some(help)) = (argument.get_long(), argument.get_help()) else { continue };
        if argument.get_help_heading() != heading {
            heading = argument.get_help_heading();
            let _ = write!(text, "\n# ---- {} ----\n", heading.unwrap_or("Other"));
        }
        let Some(line) = line(config, cores, key)? else { continue };
        let mut comment = help.to_string();
        if let Some(possible) = names(argument) {
            let _ = write!(comment, ": {possible}");
        }
        if let Some(words) = defaults::in_words(key) {
            let _ = write!(comment, " [default: {words}]");
        }
        text.push('\n');
        for line in wrapped(&comment, 100) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = match line {
            Line::Value(value) => writeln!(text, "{key} = {value}"),
            Line::Example(value) => writeln!(text, "# {key} = {value}"),
        };
    }
    Ok(text)
}

/// The value in effect of the option with that key, in TOML; `None` where nothing is set or nothing has that key.
pub fn value_of(config: &TrainConfig, cores: NonZeroUsize, key: &str) -> Option<String> {
    match line(config, cores, key) {
        Ok(Some(Line::Value(value))) => Some(value),
        _ => None,
    }
}

/// The names that an option's value can have, unless its help says them already.
fn names(argument: &clap::Arg) -> Option<String> {
    let values = argument.get_possible_values();
    let names: Vec<&str> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
    let told =
        argument.get_help().is_some_and(|help| names.iter().all(|name| help.to_string().contains(name)));
    (!names.is_empty() && !argument.is_hide_possible_values_set() && !told).then(|| names.join(", "))
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn named(value: impl Choice) -> String {
    quoted(value.name())
}

/// A float as TOML wants it: with a point or an exponent.
fn real(value: f32) -> String {
    format!("{value:?}")
}

fn set_or<T>(value: Option<T>, example: T, show: impl Fn(T) -> String) -> Line {
    value.map_or_else(|| Line::Example(show(example)), |value| Line::Value(show(value)))
}

fn line(config: &TrainConfig, cores: NonZeroUsize, key: &str) -> Result<Option<Line>, Failure> {
    use Line::{Example, Value};
    let regression = config.for_task(Task::Regression).or_else(|_| config.for_task(Task::Classification));
    Ok(Some(match key {
        "data" => Value(quoted(&config.data)),
        "hidden" => Value(format!("{:?}", config.hidden)),
        "activation" => Value(named(config.activation)),
        "output" => {
            set_or(config.output, regression.map_or(nn_core::Output::Linear, |choices| choices.output), named)
        }
        "cost" => Value(named(config.cost)),
        "init" => Value(named(config.recipe.init)),
        "epochs" => Value(config.recipe.epochs.to_string()),
        "batch-size" => Value(config.recipe.batch_size.to_string()),
        "shard-size" => Value(config.recipe.shard_size.to_string()),
        "seed" => Value(config.recipe.seed.to_string()),
        "eval-every" => Value(config.eval_every.to_string()),
        "optimizer" => Value(named(config.optimizer_name())),
        "learning-rate" => set_or(
            config.learning_rate,
            regression.map_or(0.01, |choices| choices.recipe.learning_rate),
            real,
        ),
        "momentum" | "beta1" | "beta2" | "epsilon" | "weight-decay" => constant(config.recipe.optimizer, key),
        "l2" => Value(real(config.recipe.l2)),
        "schedule" => Value(named(match config.recipe.schedule.shape {
            ScheduleShape::Constant => ScheduleName::Constant,
            ScheduleShape::Step { .. } => ScheduleName::Step,
            ScheduleShape::Cosine { .. } => ScheduleName::Cosine,
        })),
        "warmup-steps" => Value(config.recipe.schedule.warmup_steps.to_string()),
        "step-epochs" => match config.recipe.schedule.shape {
            ScheduleShape::Step { every_epochs, .. } => Value(every_epochs.to_string()),
            _ => Example(defaults::STEP_EPOCHS.to_string()),
        },
        "step-factor" => match config.recipe.schedule.shape {
            ScheduleShape::Step { factor, .. } => Value(real(factor)),
            _ => Example(real(defaults::STEP_FACTOR)),
        },
        "cosine-floor" => match config.recipe.schedule.shape {
            ScheduleShape::Cosine { floor } => Value(real(floor)),
            _ => Example(real(defaults::COSINE_FLOOR)),
        },
        "threads" if config.threads == cores => Example(cores.to_string()),
        "threads" => Value(config.threads.to_string()),
        "out" => {
            let out = config.out.to_str().ok_or_else(|| {
                Failure::usage(format_args!(
                    "--out {} cannot be written in a configuration file, which is UTF-8",
                    config.out.display()
                ))
                .help("give it as a flag, and leave it out of the file")
            })?;
            Value(quoted(out))
        }
        "resume" => Value(config.resume.to_string()),
        "checkpoint-seconds" => Value(config.checkpoint_seconds.to_string()),
        "checkpoint-steps" => Value(config.checkpoint_steps.to_string()),
        "keep-checkpoints" => Value(config.keep_checkpoints.to_string()),
        "log-steps" => Value(config.log_steps.to_string()),
        "quiet" => Value(config.quiet.to_string()),
        _ => return Ok(data_line(&config.format, key)),
    }))
}

fn data_line(format: &DataFormat, key: &str) -> Option<Line> {
    Some(match key {
        "test-fraction" => {
            set_or(format.test_fraction, defaults::TEST_FRACTION, |fraction| format!("{fraction:?}"))
        }
        "label-column" => set_or(format.label_column.as_deref(), "label", quoted),
        "header" => Line::Value(named(format.header)),
        "task" => set_or(format.task, Task::Classification, named),
        "classes" => set_or(format.classes, 10, |classes| classes.to_string()),
        _ => return None,
    })
}

/// A constant of the optimizer, if it has it.
fn constant(optimizer: Optimizer, key: &str) -> Line {
    let (value, default) = match (key, optimizer) {
        ("momentum", Optimizer::Momentum { momentum } | Optimizer::Nesterov { momentum }) => {
            (Some(momentum), defaults::MOMENTUM)
        }
        ("beta1", Optimizer::Adam { beta1, .. } | Optimizer::AdamW { beta1, .. }) => {
            (Some(beta1), defaults::BETA1)
        }
        ("beta2", Optimizer::Adam { beta2, .. } | Optimizer::AdamW { beta2, .. }) => {
            (Some(beta2), defaults::BETA2)
        }
        ("epsilon", Optimizer::Adam { epsilon, .. } | Optimizer::AdamW { epsilon, .. }) => {
            (Some(epsilon), defaults::EPSILON)
        }
        ("weight-decay", Optimizer::AdamW { weight_decay, .. }) => {
            (Some(weight_decay), defaults::WEIGHT_DECAY)
        }
        ("momentum", _) => (None, defaults::MOMENTUM),
        ("beta1", _) => (None, defaults::BETA1),
        ("beta2", _) => (None, defaults::BETA2),
        ("epsilon", _) => (None, defaults::EPSILON),
        _ => (None, defaults::WEIGHT_DECAY),
    };
    set_or(value, default, real)
}
