//! The options of a run, checked together and completed.

use super::choice::{RecipeName, ScheduleName, Task};
use super::defaults::{DATA, default_out};
use super::options::{Train, TrainOptions};
use super::origins::Origins;
use super::recipes::{self, Facts};
use super::table::Options as _;
use crate::failure::Failure;

/// The options of a run after all checks that do not need the data. Only [`validate`] makes them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The options, with every default that is known without the data.
    pub options: Train,
    /// Where each comes from.
    pub origins: Origins,
    /// Whether the output folder is the default, which gets a number if it holds a run.
    pub numbered: bool,
}

/// Checks the merged options of a run and completes them.
///
/// # Errors
/// Exit code 2, with one sentence that names the flag, the variable or the line of the file, and a remedy.
pub fn validate(options: &TrainOptions, origins: &Origins) -> Result<Settings, Failure> {
    let mut options = options.clone();
    // Of the data sets that come with the program everything is known, so that all is decided before they are read.
    let known = built_in(options.data.as_deref().unwrap_or(DATA));
    if let (Some(facts), Some(RecipeName::Book)) = (known, recipe_of(&options, known)) {
        let learn = &mut options.learn;
        let defaults = recipes::defaults(RecipeName::Book, &facts, learn.batch_size, learn.epochs);
        let in_rounds = learn.rounds.is_some();
        learn.optimizer.get_or_insert(defaults.optimizer);
        learn.schedule.get_or_insert(if in_rounds { ScheduleName::Wsd } else { defaults.schedule });
    }
    let mut options = options.check(origins)?;
    let mut origins = origins.clone();
    validate_what_is_chosen(&mut options, &mut origins);
    let origins = &origins;
    let _ = options.metrics.resolve(origins)?;
    one_validation(&options, origins)?;
    validation_for_plateau(&options, origins)?;
    let numbered = options.out.is_none();
    let out = options.out.get_or_insert_with(|| default_out(&options.data));
    if out.as_os_str().is_empty() {
        let text = format_args!("{} names no folder", origins.subject("out"));
        return Err(Failure::usage(text).help("leave it out to write to runs/"));
    }
    let task = known_task(&options, origins)?;
    let learn = &mut options.learn;
    if let Some(facts) = known {
        let design = learn.design(&facts, origins)?;
        if learn.max_seconds.is_some() {
            // The number of epochs, on which other defaults depend, is still to be measured.
            return Ok(Settings { options, origins: origins.clone(), numbered });
        }
        *learn = learn.with_defaults(&facts);
        learn.init = learn.from.is_none().then_some(design.recipe.init);
        learn.shard_size = Some(design.recipe.shard_size);
        learn.output = Some(design.output);
        learn.learning_rate = Some(design.recipe.learning_rate);
    } else {
        // What no data allows is refused now; the rest once the data has shown what it is.
        let of = |task| Facts { task, pictures: false, samples: usize::MAX >> 32 };
        match task {
            Some(task) => learn.design(&of(task), origins)?,
            None => learn
                .design(&of(Task::Classification), origins)
                .or_else(|failure| learn.design(&of(Task::Regression), origins).map_err(|_| failure))?,
        };
    }
    Ok(Settings { options, origins: origins.clone(), numbered })
}

/// The fraction of the training samples by which early stopping chooses, if nothing else is said.
const VALIDATION_FRACTION: f64 = 0.1;

/// Takes validation samples where something is chosen by them. It is said here, so that all that read the data of the run
/// by its `run.toml` do the same.
fn validate_what_is_chosen(options: &mut Train, origins: &mut Origins) {
    let Train { format, learn, .. } = options;
    if learn.early_stopping.is_some()
        && format.validation.is_none()
        && format.fold.is_none()
        && format.validation_fraction.is_none()
    {
        format.validation_fraction = Some(VALIDATION_FRACTION);
        let fraction = format!(
            "{} takes a tenth of the training samples for validation, as --validation-fraction {VALIDATION_FRACTION} does",
            origins.subject("early-stopping")
        );
        origins.say("validation-fraction", fraction);
    }
}

/// Refuses a rate that depends on validation samples, if there are none.
fn validation_for_plateau(options: &Train, origins: &Origins) -> Result<(), Failure> {
    let Train { format, learn, .. } = options;
    if learn.schedule != Some(ScheduleName::Plateau)
        || format.validation.is_some()
        || format.fold.is_some()
        || format.validation_fraction.is_some()
    {
        return Ok(());
    }
    let subject = origins.subject("schedule");
    Err(Failure::usage(format_args!(
        "{subject} plateau lowers the rate by the loss on validation samples, but there are none"
    ))
    .help(format_args!(
        "add --validation-fraction {VALIDATION_FRACTION}, or a table of them with --validation"
    )))
}

/// Refuses a fold beside other validation samples: a run chooses by one set of them.
fn one_validation(options: &Train, origins: &Origins) -> Result<(), Failure> {
    let format = &options.format;
    let other = match (&format.validation, format.validation_fraction) {
        (Some(_), _) => "validation",
        (None, Some(_)) => "validation-fraction",
        (None, None) => return Ok(()),
    };
    if format.fold.is_none() {
        return Ok(());
    }
    let (fold, other_subject) = (origins.subject("fold"), origins.subject(other));
    Err(Failure::usage(format_args!("{fold} and {other_subject} both choose the validation samples"))
        .help(format_args!("leave out fold, or {other}")))
}

/// The recipe, if it is known before the data is read.
fn recipe_of(options: &TrainOptions, known: Option<Facts>) -> Option<RecipeName> {
    let hidden = options.learn.hidden.as_ref().map(|widths| &widths.0[..]);
    options.learn.recipe.or_else(|| known.map(|facts| recipes::suitable(hidden, &facts)))
}

/// What is known about the data sets that come with the program.
fn built_in(data: &str) -> Option<Facts> {
    match data {
        "digits" => Some(Facts::DIGITS),
        "mnist" | "fashion-mnist" => Some(Facts { samples: 60_000, ..Facts::DIGITS }),
        _ => None,
    }
}

/// The task, if it is known before the data is read.
fn known_task(options: &Train, origins: &Origins) -> Result<Option<Task>, Failure> {
    let Train { data, format, .. } = options;
    let built_in = built_in(data).is_some();
    if built_in && format.task == Some(Task::Regression) {
        return Err(Failure::usage(format_args!(
            "{} regression does not fit --data {data}, whose answers are classes",
            origins.subject("task")
        ))
        .help("use --task classification, or data of your own"));
    }
    let classes = built_in || format.classes.is_some();
    Ok(format.task.or(classes.then_some(Task::Classification)))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
