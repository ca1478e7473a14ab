//! The beginning of a run that is resumed: its newest checkpoint, and what must fit.

use std::path::Path;

use nn_engine::{Engine, Manifest};

use super::log::Log;
use super::observer::Earlier;
use super::output::RunFolder;
use crate::failure::Failure;
use crate::progress::{Progress, warn};
use crate::store::{Checkpoints, Validation};

/// Resumes from the newest checkpoint that verifies, or starts from the beginning if there is none. A run that `chooses`
/// has a best checkpoint, too; one with early stopping, which ends with its weights, cannot resume without.
pub(super) fn resume(
    engine: &mut Engine,
    folder: &RunFolder,
    (checkpoints, chooses): (&Checkpoints, bool),
    log: &mut Log,
    say: &Progress,
) -> Result<Earlier, Failure> {
    let found = checkpoints.newest().map_err(|error| {
        Failure::failed(format_args!("cannot read the checkpoints in {}: {error}", folder.path().display()))
    })?;
    let mut earlier = Earlier::default();
    let mut unlogged = Vec::new();
    let mut from = None;
    let rule = engine.manifest().recipe().early_stopping;
    // NaN stands where weights would be that nobody has brought.
    let lacks_weights = engine.manifest().lacks_initial_weights();
    let (beginning, mut restarted) = (rule.filter(|_| !lacks_weights).map(|_| engine.snapshot()), false);
    if let Some((path, mut file)) = found.newest {
        let theirs = Manifest::new(file.run.manifest.clone()).map_err(Failure::data)?;
        same_run(engine.manifest(), &theirs, &path, folder)?;
        earlier.generation = file.run.generation.map_or(0, |generation| generation + 1);
        unlogged = std::mem::take(&mut file.run.unlogged);
        earlier.best = file.run.best;
        engine.restore(file.snapshot()).map_err(|error| {
            Failure::usage(format_args!("cannot resume from {}: {error}", path.display()))
        })?;
        from = Some(path);
    } else {
        same_model(engine.manifest(), folder)?;
    }
    // Files are touched only now that the checkpoint is known to be of this run.
    for (path, error) in &found.passed_over {
        let aside = checkpoints.set_aside(path);
        let now = aside.map_or(String::new(), |name| format!("; renamed it to {}", name.display()));
        warn(format_args!("skipped a checkpoint: {error}{now}"));
    }
    if chooses {
        let must = rule.is_some() && earlier.best.is_some();
        let trouble = match checkpoints.best() {
            Ok(None) => must.then(|| "it is not there".to_owned()),
            Ok(Some((path, best))) => {
                let theirs = Manifest::new(best.run.manifest.clone()).map_err(Failure::data)?;
                same_run(engine.manifest(), &theirs, &path, folder)?;
                earlier.best_file = best.run.validation;
                let epoch = |result: Option<Validation>| result.map_or(0, |result| result.epoch);
                let (wanted, found) = (epoch(earlier.best.map(|b| b.result)), epoch(earlier.best_file));
                earlier.best_params = (wanted == found).then(|| best.into_model_params());
                // One of a later epoch was better than all before, and will be again.
                (must && found < wanted).then(|| format!("{} is of an earlier epoch", path.display()))
            }
            Err(error) => Some(error.to_string()),
        };
        match trouble {
            Some(trouble) if must => {
                warn(format_args!(
                    "the best checkpoint, with which a run with early stopping ends, cannot be used: {trouble}; the run \
                     repeats all its steps"
                ));
                let beginning = beginning.ok_or_else(no_beginning)?;
                engine.restore(beginning).map_err(Failure::failed)?;
                earlier = Earlier { generation: earlier.generation, ..Earlier::default() };
                (from, unlogged, restarted) = (None, Vec::new(), true);
            }
            Some(trouble) => warn(format_args!(
                "the best checkpoint cannot be used: {trouble}; the best of the epochs to come replaces it"
            )),
            None => {}
        }
    }
    if lacks_weights && from.is_none() {
        return Err(no_beginning());
    }
    earlier.epochs =
        log.cut(engine.steps_done(), unlogged).map_err(|error| folder.failed("write to", &error))?;
    let folder = folder.path().display();
    say.say(&match from {
        Some(path) => format!("resuming after step {} from {}", engine.steps_done(), path.display()),
        None if restarted => format!("starting from the beginning in {folder}"),
        None => format!("there is no checkpoint in {folder}: starting from the beginning"),
    });
    if matches!((rule, &earlier.best), (Some(rule), Some(best)) if best.since >= rule.evaluations) {
        say.say("this run has stopped early already: no step is left to do");
    }
    Ok(earlier)
}

/// The failure of a run that has to begin again with the weights of a model that is not there any more.
fn no_beginning() -> Failure {
    Failure::usage(
        "no checkpoint can be used, so the run begins again, and the model of --from is not there any more",
    )
    .help("put its file back where it was, or choose another --out")
}

/// Fails if the folder, which has no checkpoint to resume from, has the model of another or a longer run: starting from
/// the beginning would replace it.
fn same_model(mine: &Manifest, folder: &RunFolder) -> Result<(), Failure> {
    let Some((path, model)) = folder.model() else { return Ok(()) };
    let theirs = Manifest::new(model.run.manifest).map_err(Failure::data)?;
    same_run(mine, &theirs, &path, folder)?;
    if model.run.step <= mine.total_steps() {
        return Ok(());
    }
    Err(Failure::usage(format_args!(
        "{} is a model after step {}, and there is no checkpoint to resume from; this run would end after step {}",
        path.display(),
        model.run.step,
        mine.total_steps()
    ))
    .help("give at least as many --epochs, or choose another --out"))
}

/// Fails if `theirs`, the manifest of the checkpoint at `path`, is of another run.
fn same_run(mine: &Manifest, theirs: &Manifest, path: &Path, folder: &RunFolder) -> Result<(), Failure> {
    let differences = mine.differences(theirs);
    if differences.is_empty() {
        return Ok(());
    }
    let list: Vec<String> =
        differences.iter().map(|(name, mine, theirs)| format!("{name} is {mine}, was {theirs}")).collect();
    Err(Failure::usage(format_args!(
        "{} is a checkpoint of another run: {}",
        path.display(),
        list.join("; ")
    ))
    .help(if folder.has_options() {
        "resume with the options the run was started with: --resume and --out alone take them from its run.toml; or \
         choose another --out"
    } else {
        "resume with the options the run was started with, which its folder does not tell, as it has no run.toml; or \
         choose another --out"
    }))
}
