//! Where every run is, and how it ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nn_net::proto as pb;
use serde_json::{Map, Value, json};

use super::folder::SweepFolder;
use super::plan::Plan;
use super::rank::{By, Ranked, Score, ranked};
use crate::config::SweepConfig;
use crate::failure::{Failure, FailureKind};

/// The figures of a summary that an entry of `sweep.json` repeats.
const FIGURES: [&str; 18] = [
    "params_sha256",
    "data_sha256",
    "steps",
    "epochs",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "validation_rmse",
    "validation_r2",
    "best_epoch",
    "test_loss",
    "test_accuracy",
    "test_rmse",
    "test_r2",
    "better_than_baseline",
    "samples_per_second",
    "wall_seconds",
];

/// What has become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum State {
    /// It has not begun, or waits for its next stage.
    Waiting,
    Running,
    Done,
    Diverged,
    /// It was interrupted, and can go on.
    Stopped,
    Failed,
    /// Successive halving left it behind.
    Left,
}

impl State {
    const ALL: [Self; 7] =
        [Self::Waiting, Self::Running, Self::Done, Self::Diverged, Self::Stopped, Self::Failed, Self::Left];

    /// The state with that name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The word for it, here and in `sweep.json`.
    pub(in crate::commands) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Diverged => "diverged",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Left => "left behind",
        }
    }
}

/// A run on the board.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) configuration: usize,
    pub(super) words: String,
    pub(super) state: State,
    /// Epochs done, and all.
    pub(super) epoch: u64,
    pub(super) epochs: u64,
    pub(super) train_loss: Option<f64>,
    /// The figure that compares runs, of the last evaluation.
    pub(super) score: Score,
    /// Who computes it, if not this process.
    pub(super) place: Option<String>,
    /// The scores at the ends of the stages of successive halving.
    stages: Vec<Score>,
    summary: Value,
    /// What does not change: options, seed, fold and hash.
    fixed: Value,
    failure: Option<Failure>,
}

/// How a run, or a stage of one, ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// At its end, or with a divergence, with this summary.
    Finished(Value),
    /// At the end of its stage.
    Paused(Value),
    /// A stop was asked for.
    Stopped(Option<Value>),
    Failed(Failure),
}

/// All runs. Every thread may change it.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) by: By,
    options: Vec<Value>,
    words: Vec<String>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: Vec<Entry>,
    /// Set at the end: the time, and whether a stop was asked for.
    end: Option<(Duration, bool)>,
}

impl Board {
    /// The board at the beginning, with what an earlier part of the sweep has done.
    pub(super) fn new(plan: &Plan, config: &SweepConfig, earlier: Vec<Value>) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let (mut options, mut words) = (Vec::new(), Vec::new());
        for (at, planned) in plan.runs.iter().enumerate() {
            let run = &planned.run;
            let values = Value::Object(
                run.options.iter().map(|(key, value)| (key.clone(), from_toml(value))).collect::<Map<_, _>>(),
            );
            if run.configuration == options.len() {
                options.push(values.clone());
                let mut of_all = run.clone();
                (of_all.seed, of_all.fold) = (None, None);
                words.push(of_all.in_words());
            }
            let fixed = json!({
                "run": at + 1,
                "folder": SweepFolder::name(at),
                "configuration": run.configuration + 1,
                "words": run.in_words(),
                "options": values,
                "seed": run.seed,
                "fold": run.fold,
                "epochs_planned": plan.epochs(at),
                "config_hash": planned.manifest.hash(),
            });
            let mut entry = Entry {
                configuration: run.configuration,
                words: run.in_words(),
                state: State::Waiting,
                epoch: 0,
                epochs: plan.epochs(at),
                train_loss: None,
                score: plan.by.score_of(None, None),
                place: None,
                stages: Vec::new(),
                summary: Value::Null,
                fixed,
                failure: None,
            };
            if let Some(earlier) = earlier.get(at) {
                entry.recall(earlier, plan.by, config.halving.is_some());
            }
            entries.push(entry);
        }
        let inner = Mutex::new(Inner { entries, end: None });
        Self { by: plan.by, options, words, inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All runs as they are now.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// What distinguishes a configuration.
    pub(super) fn words(&self, configuration: usize) -> &str {
        self.words.get(configuration).map_or("", String::as_str)
    }

    /// The number of runs that have nothing left to do.
    pub(super) fn finished(&self) -> usize {
        self.lock().entries.iter().filter(|entry| entry.is_finished()).count()
    }

    /// Whether a run has something to do in stage number `stage`.
    pub(super) fn has_work(&self, run: usize, stage: usize) -> bool {
        let entry = &self.lock().entries[run];
        !entry.is_finished() && entry.state != State::Failed && entry.stages.len() <= stage
    }

    /// A run begins, or goes on.
    pub(super) fn begin(&self, run: usize, place: Option<String>) {
        let entry = &mut self.lock().entries[run];
        (entry.state, entry.place) = (State::Running, place);
    }

    /// A run waits again, since its worker is lost.
    pub(super) fn wait(&self, run: usize) {
        let entry = &mut self.lock().entries[run];
        (entry.state, entry.place) = (State::Waiting, None);
    }

    /// A run has done an epoch; `line` is that of its log.
    pub(super) fn epoch(&self, run: usize, epoch: u64, line: &Value) {
        let score = self.by.score(line);
        let entry = &mut self.lock().entries[run];
        entry.epoch = epoch;
        entry.train_loss = line["train_loss"].as_f64().or(entry.train_loss);
        if score.value.is_some() {
            entry.score = score;
        }
    }

    /// A run, or its stage, is over. Gives its entry.
    pub(super) fn end(&self, run: usize, ended: Ended) -> Entry {
        let by = self.by;
        let entry = &mut self.lock().entries[run];
        match ended {
            Ended::Finished(summary) => entry.finish(summary, by),
            Ended::Paused(summary) => {
                entry.take(summary, by);
                entry.stages.push(entry.score);
                entry.state = State::Waiting;
            }
            Ended::Stopped(summary) => {
                if let Some(summary) = summary {
                    entry.take(summary, by);
                }
                entry.state = State::Stopped;
            }
            Ended::Failed(failure) => {
                (entry.state, entry.failure) = (State::Failed, Some(failure));
            }
        }
        entry.clone()
    }

    /// Successive halving goes on without a configuration.
    pub(super) fn leave(&self, configuration: usize) {
        for entry in &mut self.lock().entries {
            if entry.configuration == configuration && entry.state == State::Waiting {
                entry.state = State::Left;
            }
        }
    }

    /// These configurations in the order of their scores: at the end of stage number `stage`, or now.
    pub(super) fn ranked(&self, stage: Option<usize>, among: impl Fn(usize) -> bool) -> Vec<Ranked> {
        let inner = self.lock();
        let entries = inner.entries.iter().filter(|entry| among(entry.configuration));
        let scores = entries.map(|entry| {
            let of_stage = stage.and_then(|stage| entry.stages.get(stage));
            let none = self.by.score_of(None, None);
            let score = match entry.state {
                State::Diverged | State::Failed => none,
                _ => of_stage.copied().unwrap_or(entry.score),
            };
            (entry.configuration, score)
        });
        ranked(self.by, scores)
    }

    /// The configurations of which all runs are done, the best first.
    pub(super) fn result(&self) -> Vec<Ranked> {
        let entries = self.entries();
        let done = |configuration| {
            let mut of = entries.iter().filter(|entry| entry.configuration == configuration);
            of.all(|entry| entry.state == State::Done)
        };
        self.ranked(None, done)
    }

    /// The sweep is over after a time, or was stopped.
    pub(super) fn conclude(&self, time: Duration, stopped: bool) {
        self.lock().end = Some((time, stopped));
    }

    /// What has become of the runs, and the progress of those that are running.
    pub(super) fn status(&self) -> (pb::SweepStatus, Vec<pb::RunProgress>) {
        let inner = self.lock();
        let mut status = pb::SweepStatus::default();
        for entry in &inner.entries {
            *match entry.state {
                State::Waiting => &mut status.waiting,
                State::Running => &mut status.running,
                State::Done => &mut status.done,
                State::Diverged => &mut status.diverged,
                State::Failed => &mut status.failed,
                State::Stopped => &mut status.stopped,
                State::Left => &mut status.left_behind,
            } += 1;
        }
        let running = inner.entries.iter().enumerate().filter(|(_, entry)| entry.state == State::Running);
        let progress = running.map(|(run, entry)| pb::RunProgress {
            run: run as u64,
            name: SweepFolder::name(run),
            options: entry.words.clone(),
            epoch: entry.epoch,
            epochs: entry.epochs,
            train_loss: entry.train_loss,
        });
        (status, progress.collect())
    }

    /// The text of `sweep.json`.
    pub(super) fn json(&self) -> Value {
        let result = self.result();
        let inner = self.lock();
        let outcome = match inner.end {
            None => "running",
            Some(_) if inner.entries.iter().any(|entry| entry.state == State::Failed) => "failed",
            Some((_, true)) => "stopped",
            Some(_) => "complete",
        };
        let all = ranked(self.by, inner.entries.iter().map(|entry| (entry.configuration, entry.score)));
        let configuration = |ranked: &Ranked| {
            let of = |entry: &&Entry| entry.configuration == ranked.configuration;
            let runs: Vec<&Value> =
                inner.entries.iter().filter(of).map(|entry| &entry.fixed["run"]).collect();
            json!({
                "configuration": ranked.configuration + 1,
                "options": self.options[ranked.configuration],
                "runs": runs,
                "mean": ranked.score.value,
                "standard_deviation": ranked.spread,
                "mean_loss": ranked.score.loss,
            })
        };
        json!({
            "outcome": outcome,
            "by": self.by.key(),
            "wall_seconds": inner.end.map(|(time, _)| time.as_secs_f64()),
            "best": result.first().map(configuration),
            "configurations": all.iter().map(configuration).collect::<Vec<_>>(),
            "runs": inner.entries.iter().map(Entry::json).collect::<Vec<_>>(),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// How the sweep ended, for the exit code.
    pub(super) fn verdict(&self, folder: &SweepFolder) -> Result<(), Failure> {
        let entries = self.entries();
        let failures: Vec<(usize, &Failure)> = entries
            .iter()
            .enumerate()
            .filter_map(|(at, entry)| Some((at, entry.failure.as_ref()?)))
            .collect();
        // A checkpoint that could not be written is what the user must hear of.
        let lost = failures.iter().find(|(_, failure)| failure.kind() == FailureKind::Interrupted);
        if let Some((at, failure)) = lost.or(failures.first()) {
            let name = folder.of_run(*at).display().to_string();
            let failure = (*failure).clone().within(&name);
            return Err(match failures.len() {
                1 => failure,
                count => failure.within(&format!("{count} runs failed; the first")),
            });
        }
        if entries.iter().all(|entry| entry.state == State::Diverged) {
            return Err(Failure::failed("all runs diverged").help("try a smaller learning-rate"));
        }
        Ok(())
    }
}

impl Entry {
    /// Whether nothing is left to do.
    fn is_finished(&self) -> bool {
        matches!(self.state, State::Done | State::Diverged)
    }

    /// Takes the figures of a summary.
    fn take(&mut self, summary: Value, by: By) {
        self.epoch = summary["epochs"].as_u64().unwrap_or(self.epoch);
        self.train_loss = summary["train_loss"].as_f64().or(self.train_loss);
        self.score = by.score(&summary);
        self.summary = summary;
    }

    fn finish(&mut self, summary: Value, by: By) {
        self.state = if summary["outcome"] == "diverged" { State::Diverged } else { State::Done };
        self.take(summary, by);
        if self.state == State::Diverged {
            self.score = by.score_of(None, None);
        }
    }

    /// Takes up what an earlier part of the sweep has said of this run.
    fn recall(&mut self, earlier: &Value, by: By, halving: bool) {
        if matches!(earlier["state"].as_str(), Some("done" | "diverged")) {
            let mut summary = earlier.clone();
            summary["outcome"] = json!(earlier["state"]);
            self.finish(summary, by);
        } else if earlier["params_sha256"].is_string() {
            self.take(earlier.clone(), by);
        }
        if halving {
            let stages = earlier["stages"].as_array().into_iter().flatten();
            self.stages =
                stages.map(|stage| by.score_of(stage["figure"].as_f64(), stage["loss"].as_f64())).collect();
        }
    }

    fn json(&self) -> Value {
        let mut json = self.fixed.clone();
        json["state"] = json!(self.state.name());
        json["epochs_done"] = json!(self.epoch);
        for key in FIGURES {
            if !self.summary[key].is_null() {
                json[key] = self.summary[key].clone();
            }
        }
        if !self.stages.is_empty() {
            let stages = self.stages.iter().map(|s| json!({"figure": s.value, "loss": s.loss}));
            json["stages"] = stages.collect();
        }
        if let Some(failure) = &self.failure {
            json["error"] = json!(failure.message());
        }
        if let Some(place) = &self.place {
            json["worker"] = json!(place);
        }
        json
    }
}

/// A value in TOML as JSON.
fn from_toml(value: &str) -> Value {
    let table: Option<toml::Table> = toml::from_str(&format!("value = {value}")).ok();
    let value_of = |table: toml::Table| serde_json::to_value(table.get("value")?).ok();
    table.and_then(value_of).unwrap_or_else(|| json!(value))
}
