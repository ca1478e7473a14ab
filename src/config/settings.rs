//! The options of a run, checked together and completed.

use super::choice::Task;
use super::defaults::default_out;
use super::options::{Train, TrainOptions};
use super::origins::Origins;
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
    let mut options = options.clone().check(origins)?;
    let numbered = options.out.is_none();
    let out = options.out.get_or_insert_with(|| default_out(&options.data));
    if out.as_os_str().is_empty() {
        let text = format_args!("{} names no folder", origins.subject("out"));
        return Err(Failure::usage(text).help("leave it out to write to runs/"));
    }
    let task = known_task(&options, origins)?;
    let learn = &mut options.learn;
    let design = match task {
        Some(task) => learn.design(task, origins)?,
        // What neither task allows is refused now; the rest once the data has shown its task.
        None => learn
            .design(Task::Classification, origins)
            .or_else(|failure| learn.design(Task::Regression, origins).map_err(|_| failure))?,
    };
    learn.init = Some(design.recipe.init);
    learn.shard_size = Some(design.recipe.shard_size);
    if task.is_some() {
        learn.output = Some(design.output);
        learn.learning_rate = Some(design.recipe.learning_rate);
    }
    Ok(Settings { options, origins: origins.clone(), numbered })
}

/// The task, if it is known before the data is read.
fn known_task(options: &Train, origins: &Origins) -> Result<Option<Task>, Failure> {
    let Train { data, format, .. } = options;
    let built_in = ["digits", "mnist", "fashion-mnist"].contains(&data.as_str());
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
