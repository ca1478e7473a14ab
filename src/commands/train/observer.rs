//! What watches a run: the clock, the signals, the progress, the test samples, the files.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};
use nn_core::{Dataset, Evaluation, Targets, Workspace};
use nn_engine::{
    Engine, EpochReport, Manifest, Outcome, Snapshot, StepReport, arithmetic_fingerprint, local,
    params_sha256,
};
use serde_json::{Value, json};

use super::RunFolder;
use crate::clock::Clock;
use crate::config::TrainConfig;
use crate::failure::Failure;
use crate::progress::{EpochLine, Progress};
use crate::signals::StopFlag;
use crate::store::{InputInfo, ModelFile, RunInfo};

/// Watches a run and writes what it yields.
pub(in crate::commands) struct Watch {
    clock: Clock,
    stop: StopFlag,
    progress: Progress,
    folder: Arc<RunFolder>,
    manifest: Manifest,
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
    best: Option<(u64, Evaluation)>,
    writer: Option<Writer>,
    trouble: Option<Failure>,
    done: u64,
}

/// A thread that writes checkpoints beside the training. One may wait while one is written.
struct Writer {
    sender: Sender<ModelFile>,
    thread: JoinHandle<Vec<Failure>>,
}

impl Writer {
    fn start(folder: &RunFolder) -> Result<Self, Failure> {
        let (sender, receiver) = bounded::<ModelFile>(1);
        let checkpoints = folder.checkpoints();
        let out = folder.path().display().to_string();
        let write = move || {
            let mut troubles = Vec::new();
            for file in receiver {
                if let Err(error) = checkpoints.write(&file) {
                    troubles.push(
                        Failure::failed(format_args!("cannot write a checkpoint to {out}: {error}"))
                            .help("make room; older checkpoints are intact"),
                    );
                }
            }
            troubles
        };
        let thread = std::thread::Builder::new()
            .name("nn-checkpoints".to_owned())
            .spawn(write)
            .map_err(|error| Failure::failed(format_args!("cannot start a thread: {error}")))?;
        Ok(Self { sender, thread })
    }
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
        eval_every: u32,
        done: u64,
    ) -> Result<Self, Failure> {
        let began = clock.now();
        let writer = Writer::start(&folder)?;
        Ok(Self {
            clock,
            stop,
            progress,
            folder,
            manifest,
            input,
            test,
            evaluation,
            eval_every,
            began,
            aside: Duration::ZERO,
            samples: 0,
            epoch_began: (began, 0),
            last_epoch: None,
            last_test: None,
            best: None,
            writer: Some(writer),
            trouble: None,
            done,
        })
    }

    /// Takes up what is known of the epochs before a resumption from their lines in the metrics, for the summary.
    pub(super) fn recall(&mut self, lines: &[Value]) {
        for line in lines {
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
    }

    /// Keeps the last and the best evaluation.
    fn tested(&mut self, epoch: u64, evaluation: Evaluation) {
        self.last_test = Some((epoch, evaluation));
        let better = |best: &Evaluation| (evaluation.correct, -evaluation.loss) > (best.correct, -best.loss);
        if self.best.is_none_or(|(_, best)| better(&best)) {
            self.best = Some((epoch, evaluation));
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
            config_hash: self.manifest.hash(),
        };
        ModelFile::new(self.manifest.model().clone(), self.input.clone(), run, snapshot)
    }

    /// A fraction, for classification.
    fn accuracy(&self, evaluation: &Evaluation) -> Option<f64> {
        matches!(self.test.targets(), Targets::Classes { .. })
            .then(|| evaluation.correct as f64 / evaluation.samples as f64)
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
        let mut checkpoint_trouble = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.sender);
            let troubles = writer.thread.join().unwrap_or_default();
            for trouble in &troubles {
                self.progress.warn(trouble.message());
            }
            checkpoint_trouble = troubles.into_iter().last();
        }
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if matches!(outcome, Outcome::Stopped | Outcome::NoWorkers { .. })
            && let Some(trouble) = checkpoint_trouble
        {
            return Err(Failure::interrupted(trouble.message())
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
            "config_hash": self.manifest.hash(),
            "data_sha256": p.data_sha256,
            "steps": steps,
            "epochs": epoch,
            "train_loss": self.last_epoch.map(|report| report.train_loss),
            "train_accuracy": self.last_epoch.filter(|_| p.model.output_width() > 1 && self.input.classes.is_some())
                .map(|report| report.correct as f64 / report.samples as f64),
            "test_loss": test.map(|t| t.loss),
            "test_accuracy": test.and_then(|t| self.accuracy(&t)),
            "best_test_accuracy": self.best.and_then(|(_, t)| self.accuracy(&t)),
            "best_epoch": self.best.map(|(epoch, _)| epoch),
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
        self.folder.write_summary(&summary)?;
        Ok(model)
    }
}

impl local::Observer for Watch {
    fn now(&mut self) -> Duration {
        self.clock.now()
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.done += 1;
        self.samples += report.samples as u64;
        let now = self.clock.now();
        let rate = self.rate(self.samples - self.epoch_began.1, self.epoch_began.0);
        let (epoch, batch) = self.manifest.place(report.step.0);
        self.progress.step(
            now,
            self.done,
            (epoch + 1, self.manifest.parts().epochs),
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
        let last = number == u64::from(self.manifest.parts().epochs);
        let test = if last || number.is_multiple_of(u64::from(self.eval_every)) {
            self.evaluate(number, params)
        } else {
            None
        };
        let accuracy = test.and_then(|t| self.accuracy(&t));
        self.progress.epoch(&EpochLine {
            epoch: number,
            epochs: self.manifest.parts().epochs,
            train_loss: report.train_loss,
            test_loss: test.map(|t| t.loss),
            test_accuracy: accuracy,
            samples_per_second: rate,
        });
        let line = json!({
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
        if let Err(trouble) = self.folder.append_metrics(&line) {
            self.trouble.get_or_insert(trouble);
        }
        self.last_epoch = Some(*report);
        let now = self.clock.now();
        self.aside += now.saturating_sub(before);
        self.epoch_began = (now, self.samples);
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        let file = self.file(snapshot);
        if let Some(writer) = &self.writer
            && writer.sender.send(file).is_err()
        {
            self.trouble.get_or_insert(Failure::failed("the thread that writes checkpoints has ended"));
        }
    }
}
