//! `nn replay`: recompute steps of a run on this machine, and compare the weights after each step with the run's log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nn_core::{Dataset, ScheduleShape, Workspace};
use nn_engine::{
    Compute, Engine, EpochReport, Manifest, ManifestParts, Outcome, Recipe, Snapshot, SnapshotError,
    StepReport, local, params_sha256,
};
use serde_json::{Value, json};

use super::{isa, load_data, options_for, tell, threads};
use crate::clock::Clock;
use crate::config::ReplayConfig;
use crate::failure::{Failure, write_stdout};
use crate::memory;
use crate::progress::Progress;
use crate::signals::StopFlag;
use crate::store::{ModelFile, WeightsHash};

/// Replays steps and reports whether they match the log.
pub(crate) fn replay(config: &ReplayConfig) -> Result<(), Failure> {
    let clock = Clock::start();
    let stop = StopFlag::install()?;
    let file = ModelFile::read_checkpoint(&config.checkpoint)?;
    if file.run.imported.is_some() {
        return Err(Failure::usage(format_args!(
            "{} was imported, so there is no run to replay",
            config.checkpoint.display()
        ))
        .help("give a checkpoint of a run with --checkpoint"));
    }
    let path = config.log.clone().unwrap_or_else(|| beside(&config.checkpoint));
    let log = Recorded::read(&path)?;
    let from = file.run.step;
    let until = config.until.unwrap_or_else(|| log.last().max(from));
    if until < from {
        return Err(Failure::usage(format_args!(
            "--until {until} is before {}, which is at step {from}",
            config.checkpoint.display()
        ))
        .help("start from an older checkpoint"));
    }
    if until > from && file.run.manifest.recipe.dp_noise.is_some() && file.run.generation.is_none() {
        return Err(Failure::usage(format_args!(
            "{} was trained with --dp-noise and has no seed, so that it can be given away",
            config.checkpoint.display()
        ))
        .help("give a file of the run's folder checkpoints with --checkpoint"));
    }
    let manifest = manifest(&file, until)?;
    let mut replay = Replay {
        clock,
        stop,
        progress: Progress::new(config.json, until, from).counting(&manifest),
        manifest: manifest.clone(),
        log,
        until,
        began: clock.now(),
        samples: 0,
        judge: None,
        validation_loss: None,
        compared: 0,
        missing: Vec::new(),
        difference: None,
    };
    // The checkpoint itself must match the log.
    replay.compare(from, Hash::Weights, &WeightsHash::of(&file.params).to_string());
    replay.compare(from, Hash::Epoch, &params_sha256(file.model_params()));
    let mut reached = from;
    if from < until && replay.difference.is_none() {
        tell(config.note.as_deref(), config.json)?;
        let options = options_for(&config.format, &file);
        let splits = load_data(&data_of(config, &file)?, &options, config.json)?;
        if splits.sha256 != manifest.parts().data_sha256 {
            return Err(Failure::data(format_args!(
                "the run was not trained on {}: its fingerprint is {}, the run's is {}",
                splits.name,
                splits.sha256,
                manifest.parts().data_sha256
            ))
            .help("give the same --data, with the same options for reading it"));
        }
        let compute = Compute { isa: isa()?, threads: threads(config.threads.get())? };
        replay.judge = Judge::of(&manifest, splits.validation, &compute);
        memory::Need::of(&manifest, compute.threads.count()).check(memory::left(Path::new("/")))?;
        let mut engine = Engine::new(manifest.clone(), compute, Duration::ZERO);
        engine.restore(file.snapshot()).map_err(|error: SnapshotError| {
            Failure::data(format_args!("cannot start from {}: {error}", config.checkpoint.display()))
        })?;
        let outcome = local::run(&mut engine, &splits.train, &mut replay).map_err(Failure::data)?;
        reached = engine.steps_done();
        if let Outcome::Diverged { step, .. } = outcome {
            return Err(Failure::failed(format_args!(
                "the loss or a gradient becomes NaN or infinite in step {}, before the last step to replay, {until}",
                step.0 + 1
            )));
        }
    }
    replay.progress.finish();
    replay.report(config, &path, from, reached)
}

/// The log of a checkpoint's run: `metrics.jsonl` in the checkpoint's folder, or in the folder above.
fn beside(checkpoint: &Path) -> PathBuf {
    let near = checkpoint.with_file_name("metrics.jsonl");
    match checkpoint.parent().and_then(Path::parent) {
        Some(around) if !near.exists() => around.join("metrics.jsonl"),
        _ => near,
    }
}

/// The data set given by `--data` or by the run's file, or else the one that the checkpoint names.
fn data_of(config: &ReplayConfig, file: &ModelFile) -> Result<String, Failure> {
    match &config.data {
        Some(data) => Ok(data.clone()),
        None if ["digits", "mnist", "fashion-mnist"].contains(&file.input.data.as_str()) => {
            Ok(file.input.data.clone())
        }
        None => Err(Failure::usage(format_args!(
            "the run was trained on {}, but no run.toml that tells its path lies with the checkpoint",
            file.input.data
        ))
        .help("give the path with --data, and the options with which the run read it")),
    }
}

/// The manifest of the run, extended to `until` if the number of epochs does not affect the weights: the run may have been
/// extended after the checkpoint.
fn manifest(file: &ModelFile, until: u64) -> Result<Manifest, Failure> {
    let manifest = Manifest::new(file.run.manifest.clone()).map_err(Failure::data)?;
    if until <= manifest.total_steps() {
        return Ok(manifest);
    }
    let beyond = || {
        Failure::usage(format_args!("step {until} is beyond the end of the run, {}", manifest.total_steps()))
            .help("choose a smaller --until")
    };
    // Every epoch has a step at least.
    let most = manifest.recipe().epochs.saturating_add(u32::try_from(until).unwrap_or(u32::MAX));
    let epochs =
        (manifest.recipe().epochs..most).find(|&epochs| until <= manifest.steps_until(epochs.into()));
    let epochs = epochs.ok_or_else(beyond)?;
    let longer = Manifest::new(ManifestParts {
        recipe: Recipe { epochs, ..manifest.recipe().clone() },
        ..manifest.parts().clone()
    })
    .map_err(Failure::data)?;
    if longer.hash() == manifest.hash() { Ok(longer) } else { Err(beyond()) }
}

/// The two kinds of hashes in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    /// The [`WeightsHash`] of a step.
    Weights,
    /// The `params_sha256` of an epoch: that of the average, in a run whose model is the average of the weights.
    Epoch,
}

/// The hashes in a log, by the number of completed steps.
#[derive(Debug, Default)]
struct Recorded {
    steps: BTreeMap<u64, String>,
    epochs: BTreeMap<u64, String>,
    /// The numbers of unreadable lines.
    damaged: Vec<usize>,
}

impl Recorded {
    fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::data(format_args!("cannot read the log {}: {error}", path.display()))
                .help("give its path with --log: `nn train` writes <out>/metrics.jsonl")
        })?;
        let mut log = Self::default();
        for (number, line) in (1..).zip(bytes.split_inclusive(|&byte| byte == b'\n')) {
            let value: Value = serde_json::from_slice(line).unwrap_or_default();
            let text = |name: &str| value[name].as_str().map(str::to_owned);
            // What a run counts: rounds, if it has any.
            let count = |rounds: &str, steps: &str| value[rounds].as_u64().or(value[steps].as_u64());
            let known = match (
                count("round", "step"),
                text("weights"),
                count("rounds", "steps"),
                text("params_sha256"),
            ) {
                (Some(step), Some(hash), ..) => {
                    log.steps.insert(step, hash.clone()).filter(|old| *old != hash)
                }
                (.., Some(steps), Some(hash)) => {
                    log.epochs.insert(steps, hash.clone()).filter(|old| *old != hash)
                }
                // The last line may be incomplete if the run was killed or is still running.
                _ => {
                    if line.ends_with(b"\n") && value["kind"] != "event" {
                        log.damaged.push(number);
                    }
                    continue;
                }
            };
            if known.is_some() {
                return Err(Failure::data(format_args!(
                    "line {number} of {} contradicts another line of the same step",
                    path.display()
                )));
            }
        }
        Ok(log)
    }

    /// The last step with a hash; 0 if there is none.
    fn last(&self) -> u64 {
        let last = |hashes: &BTreeMap<u64, String>| hashes.keys().next_back().copied().unwrap_or(0);
        last(&self.steps).max(last(&self.epochs))
    }
}

/// The first step that differs from the log.
#[derive(Debug)]
struct Difference {
    step: u64,
    logged: String,
    computed: String,
}

/// Observes the recomputed steps and compares them with the log.
struct Replay {
    clock: Clock,
    stop: StopFlag,
    progress: Progress,
    manifest: Manifest,
    log: Recorded,
    until: u64,
    began: Duration,
    samples: u64,
    judge: Option<Judge>,
    /// The loss of the last epoch on the validation samples, where the rate depends on it.
    validation_loss: Option<f64>,
    compared: u64,
    /// Ranges of steps that the log lacks: first and last.
    missing: Vec<(u64, u64)>,
    difference: Option<Difference>,
}

/// The validation samples of a run whose learning rate depends on them.
struct Judge {
    workspace: Workspace,
    validation: Dataset,
    /// Epochs between two evaluations.
    every: u64,
}

impl Judge {
    /// That of a run with the schedule `plateau`; `None` for others.
    fn of(manifest: &Manifest, validation: Option<Dataset>, compute: &Compute) -> Option<Self> {
        let ScheduleShape::Plateau { every_epochs, .. } = manifest.recipe().schedule.shape else {
            return None;
        };
        let workspace = Workspace::for_evaluation(manifest.model(), compute.threads.clone(), compute.isa);
        // The fingerprint of the data, which was compared, has said that they are those of the run.
        Some(Self { workspace, validation: validation?, every: every_epochs.into() })
    }

    /// The loss after this epoch, counted from 1, if it is to be evaluated.
    fn loss(&mut self, epoch: u64, params: &[f32]) -> Option<f64> {
        let evaluation =
            epoch.is_multiple_of(self.every).then(|| self.workspace.evaluate(params, &self.validation));
        Some(evaluation?.ok()?.loss)
    }
}

impl Replay {
    /// Compares a hash with the log.
    fn compare(&mut self, step: u64, kind: Hash, computed: &str) {
        let logged = match kind {
            Hash::Weights => self.log.steps.get(&step),
            Hash::Epoch => self.log.epochs.get(&step),
        };
        match logged {
            Some(logged) if logged == computed => self.compared += 1,
            Some(logged) => {
                let (logged, computed) = (logged.clone(), computed.to_owned());
                self.difference.get_or_insert(Difference { step, logged, computed });
            }
            // No log has the initial weights.
            None if kind == Hash::Weights && step > 0 => match self.missing.last_mut() {
                Some((_, last)) if *last + 1 == step => *last = step,
                _ => self.missing.push((step, step)),
            },
            None => {}
        }
    }

    /// Prints the result; fails unless all hashes agree.
    fn report(self, config: &ReplayConfig, log: &Path, from: u64, reached: u64) -> Result<(), Failure> {
        write_stdout(if config.json { self.as_json(from, reached) } else { self.notes() })?;
        let (path, log) = (config.checkpoint.display(), log.display());
        if let Some(Difference { step, logged, computed }) = &self.difference {
            let values = format!("the log has {logged}, but the weights hash to {computed}");
            return Err(if *step == from {
                Failure::failed(format_args!("{path} does not match the log at step {step}: {values}"))
                    .help("the checkpoint or the log was altered, or they belong to different runs")
            } else {
                Failure::failed(format_args!("step {step} is the first that differs from {log}: {values}"))
                    .help(format_args!(
                        "the {} hashes before it agree, starting at step {from}",
                        self.compared
                    ))
            });
        }
        if reached < self.until {
            return Err(Failure::interrupted(format_args!(
                "interrupted after step {reached}; the {} hashes up to there agree",
                self.compared
            )));
        }
        if self.compared == 0 {
            return Err(Failure::failed(format_args!(
                "nothing could be compared: {log} has no hash from step {from} to {reached}"
            ))
            .help("give the log of that run with --log; a run with --log-steps 0 logs no steps"));
        }
        if config.json {
            return Ok(());
        }
        write_stdout(format!(
            "the weights match {log}: all {} hashes from step {from} to {reached} agree\n",
            self.compared
        ))
    }

    fn as_json(&self, from: u64, reached: u64) -> String {
        let difference = self
            .difference
            .as_ref()
            .map(|d| json!({ "step": d.step, "logged": d.logged, "computed": d.computed }));
        let report = json!({
            "agrees": self.difference.is_none() && self.compared > 0 && reached == self.until,
            "from": from,
            "until": reached,
            "compared": self.compared,
            "missing": self.missing,
            "damaged_lines": self.log.damaged,
            "first_difference": difference,
        });
        format!("{report}\n")
    }

    /// The steps and lines that could not be compared, for people to read.
    fn notes(&self) -> String {
        let mut notes = String::new();
        if !self.missing.is_empty() {
            let total: u64 = self.missing.iter().map(|(first, last)| last - first + 1).sum();
            let steps = ranges(&self.missing);
            notes += &format!("not in the log, so not compared: {steps} ({total} in all)\n");
        }
        if !self.log.damaged.is_empty() {
            let lines: Vec<String> = self.log.damaged.iter().take(SHOWN).map(usize::to_string).collect();
            notes += &format!("damaged lines of the log: {}\n", lines.join(", "));
        }
        notes
    }
}

/// The most ranges or lines that are listed.
const SHOWN: usize = 10;

/// Lists ranges of steps.
fn ranges(ranges: &[(u64, u64)]) -> String {
    let name = |&(first, last): &(u64, u64)| match last - first {
        0 => format!("step {first}"),
        _ => format!("steps {first} to {last}"),
    };
    let mut names: Vec<String> = ranges.iter().take(SHOWN).map(name).collect();
    if ranges.len() > SHOWN {
        names.push("others".to_owned());
    }
    names.join(", ")
}

impl local::Observer for Replay {
    fn now(&mut self) -> Duration {
        self.clock.now()
    }

    fn weights(&mut self, report: &StepReport, params: &[f32]) {
        self.compare(report.step.0 + 1, Hash::Weights, &WeightsHash::of(params).to_string());
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let done = report.step.0 + 1;
        let (epoch, batch) = self.manifest.place(report.step.0);
        let now = self.clock.now();
        let (epochs, batches) = (self.manifest.recipe().epochs, self.manifest.steps_in(epoch));
        self.samples += report.samples as u64;
        let rate = self.samples as f64 / now.saturating_sub(self.began).as_secs_f64().max(1e-9);
        self.progress.step(now, done, (epoch + 1, epochs), (batch + 1, batches), report.loss, rate);
        if done >= self.until || self.difference.is_some() || self.stop.is_set() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, report: &EpochReport, params: &[f32]) {
        if self.log.epochs.contains_key(&report.steps) {
            self.compare(report.steps, Hash::Epoch, &params_sha256(params));
        }
        self.validation_loss = self.judge.as_mut().and_then(|judge| judge.loss(report.epoch + 1, params));
    }

    fn validation_loss(&mut self) -> Option<f64> {
        self.validation_loss
    }

    fn snapshot(&mut self, _: Snapshot) {}
}
