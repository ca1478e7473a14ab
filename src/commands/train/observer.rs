//! What watches a run: the clock, the signals, the progress, the test samples, the files.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use nn_core::{Dataset, Evaluation, Targets, Workspace};
use nn_engine::{
    Engine, EpochReport, Manifest, Outcome, Snapshot, StepReport, arithmetic_fingerprint, local,
    params_sha256,
};
use serde_json::{Value, json};

use super::RunFolder;
use super::log::Log;
use super::writer::Writer;
use crate::clock::Clock;
use crate::config::TrainConfig;
use crate::failure::Failure;
use crate::progress::{EpochLine, Progress};
use crate::signals::StopFlag;
use crate::store::{InputInfo, ModelFile, RunInfo, Validation};

/// Watches a run and writes what it yields.
pub(in crate::commands) struct Watch {
    clock: Clock,
    stop: StopFlag,
    progress: Progress,
    folder: Arc<RunFolder>,
    manifest: Manifest,
    config_hash: String,
    input: InputInfo,
    test: Arc<Dataset>,
    evaluation: Workspace,
    eval_every: u32,
    /// When training began, and how long was spent on other things since.
    began: Duration,
    aside: Duration,
    samples: u64,
    epoch_began: (Duration, u64),
    last_epoch: Option<EpochReport>,
    last_test: Option<(u64, Evaluation)>,
    best: Option<Validation>,
    /// What the best checkpoint holds, and what the next snapshot is to be kept as.
    kept: Option<Validation>,
    keep: Option<Validation>,
    log: Log,
    generation: u64,
    writer: Option<Writer>,
    trouble: Option<Failure>,
    /// A step has given other weights than before: nothing of it may be kept.
    broken: bool,
    done: u64,
    /// What the summary says of the cluster, where there is one.
    cluster: Option<Value>,
}

impl Watch {
    #[allow(clippy::too_many_arguments)] // they are all of the run's own parts, and this is called once
    pub(super) fn new(
        clock: Clock,
        stop: StopFlag,
        progress: Progress,
        folder: Arc<RunFolder>,
        manifest: Manifest,
        input: InputInfo,
        test: Arc<Dataset>,
        evaluation: Workspace,
        config: &TrainConfig,
        log: Log,
        done: u64,
    ) -> Result<Self, Failure> {
        let began = clock.now();
        let out = folder.path().display().to_string();
        let writer = Writer::start(folder.checkpoints(config.keep_checkpoints), out)?;
        Ok(Self {
            clock,
            stop,
            progress,
            folder,
            config_hash: manifest.hash(),
            manifest,
            input,
            test,
            evaluation,
            eval_every: config.eval_every,
            began,
            aside: Duration::ZERO,
            samples: 0,
            epoch_began: (began, 0),
            last_epoch: None,
            last_test: None,
            best: None,
            kept: None,
            keep: None,
            log,
            generation: 0,
            writer: Some(writer),
            trouble: None,
            broken: false,
            done,
            cluster: None,
        })
    }

    /// Takes up what is known of a run before its resumption.
    pub(super) fn recall(&mut self, earlier: &Earlier) {
        self.generation = earlier.generation;
        self.kept = earlier.best;
        for line in &earlier.epochs {
            let Some(epoch) = line["epoch"].as_u64().filter(|&epoch| epoch > 0) else { continue };
            let count = |name: &str, samples: usize| {
                line[name].as_f64().map_or(0, |fraction| (fraction * samples as f64).round() as usize)
            };
            if let Some(train_loss) = line["train_loss"].as_f64() {
                let samples = self.manifest.parts().train_samples;
                let correct = count("train_accuracy", samples);
                let steps = epoch * self.manifest.steps_per_epoch();
                self.last_epoch = Some(EpochReport { epoch: epoch - 1, steps, samples, train_loss, correct });
            }
            if let Some(loss) = line["test_loss"].as_f64() {
                let samples = self.test.len();
                self.tested(epoch, Evaluation { samples, loss, correct: count("test_accuracy", samples) });
            }
        }
        // It may come from an epoch that is still to be done again, or from one whose line is lost.
        let past = |best: &Validation| best.epoch * self.manifest.steps_per_epoch() <= self.done;
        if let Some(best) = earlier.best.filter(past) {
            self.best = self.best.filter(|other| !best.is_better_than(other)).or(Some(best));
        }
    }

    /// Keeps the last and the best evaluation.
    fn tested(&mut self, epoch: u64, evaluation: Evaluation) {
        self.last_test = Some((epoch, evaluation));
        let new = validation(epoch, &evaluation);
        if self.best.is_none_or(|best| new.is_better_than(&best)) {
            self.best = Some(new);
        }
    }

    /// Samples a second of training since `since`, without the time spent aside.
    fn rate(&self, samples: u64, since: Duration) -> f64 {
        samples as f64 / self.clock.now().saturating_sub(since).as_secs_f64().max(1e-9)
    }

    fn evaluate(&mut self, epoch: u64, params: &[f32]) -> Option<Evaluation> {
        match self.evaluation.evaluate(params, &self.test) {
            Ok(evaluation) => {
                self.tested(epoch, evaluation);
                Some(evaluation)
            }
            Err(error) => {
                self.trouble.get_or_insert(Failure::data(error));
                None
            }
        }
    }

    fn file(&self, snapshot: Snapshot) -> ModelFile {
        let run = RunInfo {
            step: snapshot.step,
            epoch: snapshot.epoch,
            manifest: self.manifest.parts().clone(),
            config_hash: self.config_hash.clone(),
            generation: None,
            validation: None,
            unlogged: Vec::new(),
        };
        ModelFile::new(self.manifest.model().clone(), self.input.clone(), run, snapshot)
    }

    /// Ends the run, and keeps nothing of what it has come to.
    fn give_up(&mut self, failure: Failure) {
        self.broken = true;
        self.trouble.get_or_insert(failure);
    }

    /// A fraction, for classification.
    fn accuracy(&self, evaluation: &Evaluation) -> Option<f64> {
        matches!(self.test.targets(), Targets::Classes { .. })
            .then(|| evaluation.correct as f64 / evaluation.samples as f64)
    }

    /// What the summary is to say of the cluster.
    pub(in crate::commands) fn summarise_cluster(&mut self, cluster: Value) {
        self.cluster = Some(cluster);
    }

    /// Waits for the last checkpoint and writes model and summary.
    pub(in crate::commands) fn finish(
        mut self,
        engine: &Engine,
        outcome: Outcome,
        config: &TrainConfig,
    ) -> Result<ModelFile, Failure> {
        let training = self.clock.now().saturating_sub(self.began + self.aside);
        self.progress.finish();
        let written = self.writer.take().map_or(Ok(()), Writer::finish);
        let logged = self.log.finish(self.clock.now());
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if matches!(outcome, Outcome::Stopped | Outcome::NoWorkers { .. })
            && let Err(trouble) = written
        {
            return Err(Failure::interrupted(trouble)
                .help("the run is stopped and its last steps are lost; older checkpoints are intact"));
        }
        let mut snapshot = engine.snapshot();
        let hash = params_sha256(&snapshot.params);
        let steps = snapshot.step;
        let epoch = self.manifest.place(steps).0;
        if self.last_test.is_none_or(|(tested, _)| tested != epoch)
            || !steps.is_multiple_of(self.manifest.steps_per_epoch())
        {
            self.evaluate(epoch, &snapshot.params);
        }
        snapshot.moments = Default::default();
        let model = self.file(snapshot);
        // A diverged run's parameters are those before the bad step, and its model file stays what it was.
        if !matches!(outcome, Outcome::Diverged { .. }) {
            self.folder.write_model(&model)?;
        }
        let p = self.manifest.parts();
        let test = self.last_test.map(|(_, evaluation)| evaluation);
        let summary = json!({
            "outcome": match outcome {
                Outcome::Complete => "complete",
                Outcome::Stopped => "stopped",
                Outcome::Diverged { .. } => "diverged",
                Outcome::NoWorkers { .. } => "no-workers",
            },
            "params_sha256": hash,
            "config_hash": self.config_hash,
            "data_sha256": p.data_sha256,
            "steps": steps,
            "epochs": epoch,
            "train_loss": self.last_epoch.map(|report| report.train_loss),
            "train_accuracy": self.last_epoch.filter(|_| p.model.output_width() > 1 && self.input.classes.is_some())
                .map(|report| report.correct as f64 / report.samples as f64),
            "test_loss": test.map(|t| t.loss),
            "test_accuracy": test.and_then(|t| self.accuracy(&t)),
            "best_test_accuracy": self.best.filter(|_| self.input.classes.is_some())
                .map(|best| best.correct as f64 / best.samples as f64),
            "best_epoch": self.best.map(|best| best.epoch),
            "samples_per_second": self.samples as f64 / training.as_secs_f64().max(1e-9),
            "wall_seconds": self.clock.now().as_secs_f64(),
            "data": self.input.data,
            "layers": p.model.widths(),
            "parameters": p.model.parameters(),
            "threads": config.threads.get(),
            "isa": engine.compute().isa.name(),
            "arithmetic_fingerprint": arithmetic_fingerprint(engine.compute().isa),
            "version": env!("CARGO_PKG_VERSION"),
        });
        let mut summary = summary;
        if let Some(cluster) = self.cluster.take() {
            summary["cluster"] = cluster;
        }
        self.folder.write_summary(&summary)?;
        logged?;
        Ok(model)
    }
}

impl local::Observer for Watch {
    fn now(&mut self) -> Duration {
        self.clock.now()
    }

    fn weights(&mut self, report: &StepReport, params: &[f32]) {
        if let Err(broken) = self.log.weights(report.step.0 + 1, report.samples, params) {
            self.give_up(broken);
        }
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.done += 1;
        self.samples += report.samples as u64;
        let now = self.clock.now();
        self.log.settle(now);
        let rate = self.rate(self.samples - self.epoch_began.1, self.epoch_began.0);
        let (epoch, batch) = self.manifest.place(report.step.0);
        self.progress.step(
            now,
            self.done,
            (epoch + 1, self.manifest.recipe().epochs),
            (batch + 1, self.manifest.steps_per_epoch()),
            report.loss,
            rate,
        );
        if self.stop.is_set() || self.trouble.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, report: &EpochReport, params: &[f32]) {
        let before = self.clock.now();
        let rate = self.rate(self.samples - self.epoch_began.1, self.epoch_began.0);
        let number = report.epoch + 1;
        let last = number == u64::from(self.manifest.recipe().epochs);
        let test = if last || number.is_multiple_of(u64::from(self.eval_every)) {
            self.evaluate(number, params)
        } else {
            None
        };
        if let Some(new) = test.map(|test| validation(number, &test))
            && new.loss.is_finite()
            && self.kept.is_none_or(|kept| new.is_better_than(&kept))
        {
            (self.kept, self.keep) = (Some(new), Some(new));
        }
        let accuracy = test.and_then(|t| self.accuracy(&t));
        self.progress.epoch(&EpochLine {
            epoch: number,
            epochs: self.manifest.recipe().epochs,
            train_loss: report.train_loss,
            test_loss: test.map(|t| t.loss),
            test_accuracy: accuracy,
            samples_per_second: rate,
        });
        let line = json!({
            "kind": "epoch",
            "epoch": number,
            "steps": report.steps,
            "train_loss": report.train_loss,
            "train_accuracy": self.input.classes.is_some().then(|| report.correct as f64 / report.samples as f64),
            "test_loss": test.map(|t| t.loss),
            "test_accuracy": accuracy,
            "learning_rate": self.manifest.learning_rate(report.steps - 1),
            "samples_per_second": rate,
            "seconds": before.as_secs_f64(),
            "params_sha256": params_sha256(params),
        });
        if let Err(broken) = self.log.epoch(report.steps, line) {
            self.give_up(broken);
        }
        self.log.flush(before);
        self.last_epoch = Some(*report);
        let now = self.clock.now();
        self.aside += now.saturating_sub(before);
        self.epoch_began = (now, self.samples);
    }

    fn keeps(&mut self) -> bool {
        self.keep.is_some() && !self.broken
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        if self.broken {
            return;
        }
        // What a checkpoint has behind it is in the log, or goes with the checkpoint.
        self.log.flush(self.clock.now());
        let mut file = self.file(snapshot);
        file.run.generation = Some(self.generation);
        file.run.unlogged = self.log.unlogged().to_vec();
        file.run.validation = self.keep.take();
        match &self.writer {
            Some(writer) if file.run.validation.is_some() => writer.best(file),
            Some(writer) => writer.newest(file),
            None => {}
        }
    }
}

/// What is known of a run before its resumption.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// How often the run has been taken up, this time included.
    pub(super) generation: u64,
    /// The lines of its epochs.
    pub(super) epochs: Vec<Value>,
    /// What the best checkpoint holds.
    pub(super) best: Option<Validation>,
}

fn validation(epoch: u64, test: &Evaluation) -> Validation {
    Validation { epoch, samples: test.samples, correct: test.correct, loss: test.loss }
}
