//! The observer of a run: passes what happens to the meter, the evaluator, the recorder and the progress bar.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_core::Evaluation;
use nn_engine::{
    Engine, EpochReport, Outcome, Snapshot, StepReport, arithmetic_fingerprint, local, params_sha256,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::evaluator::{Evaluator, correct, validation};
use super::meter::Meter;
use super::recorder::Recorder;
use crate::failure::Failure;
use crate::metrics::{Baseline, Figures, Report};
use crate::progress::{EpochLine, Progress};
use crate::signals::StopFlag;
use crate::store::{ModelFile, Validation};

/// Observes a run, on one machine or of a cluster.
pub(in crate::commands) struct Watch {
    stop: StopFlag,
    progress: Progress,
    meter: Meter,
    evaluator: Evaluator,
    recorder: Recorder,
    /// Steps done.
    done: u64,
    last_epoch: Option<EpochReport>,
    /// The first failure, which ends the run.
    trouble: Option<Failure>,
    /// The summary's part on the cluster, if there is one.
    cluster: Option<Value>,
}

impl Watch {
    /// Observes a run that has `done` steps behind it and may have been resumed.
    pub(super) fn new(
        stop: StopFlag,
        progress: Progress,
        meter: Meter,
        evaluator: Evaluator,
        recorder: Recorder,
        (done, earlier): (u64, &Earlier),
    ) -> Self {
        let (last_epoch, trouble, cluster) = (None, None, None);
        let mut watch =
            Self { stop, progress, meter, evaluator, recorder, done, last_epoch, trouble, cluster };
        watch.recall(earlier);
        watch
    }

    /// Takes up the results of a run before its resumption.
    fn recall(&mut self, earlier: &Earlier) {
        self.recorder.resume(earlier.generation, earlier.best);
        let steps_per_epoch = self.recorder.manifest().steps_per_epoch();
        for line in &earlier.epochs {
            let Some(epoch) = line["epoch"].as_u64().filter(|&epoch| epoch > 0) else { continue };
            if let Some(train_loss) = line["train_loss"].as_f64() {
                let samples = self.recorder.manifest().parts().train_samples;
                let correct = correct(line, "train_accuracy", samples);
                let steps = epoch * steps_per_epoch;
                self.last_epoch = Some(EpochReport { epoch: epoch - 1, steps, samples, train_loss, correct });
            }
            self.evaluator.recall(epoch, line);
        }
        // The best checkpoint may be of an epoch that is still to be repeated, or of one whose line is lost.
        if let Some(best) = earlier.best.filter(|best| best.epoch * steps_per_epoch <= self.done) {
            self.evaluator.recall_best(best);
        }
    }

    fn evaluate(&mut self, epoch: u64, params: &[f32]) -> Option<(Evaluation, Figures)> {
        self.evaluator.evaluate(epoch, params).map_err(|failure| self.trouble.get_or_insert(failure)).ok()
    }

    /// Adds what the summary says about the cluster.
    pub(in crate::commands) fn summarise_cluster(&mut self, cluster: Value) {
        self.cluster = Some(cluster);
    }

    /// Waits for the last checkpoint, and writes model and summary; `threads` is for the summary.
    pub(in crate::commands) fn finish(
        mut self,
        engine: &Engine,
        outcome: Outcome,
        threads: usize,
    ) -> Result<Finished, Failure> {
        let rate = self.meter.rate();
        self.progress.finish();
        let (written, logged) = self.recorder.close(self.meter.now());
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if matches!(outcome, Outcome::Stopped | Outcome::NoWorkers { .. })
            && let Err(trouble) = written
        {
            return Err(Failure::interrupted(trouble)
                .help("the run is stopped and its last steps are lost; older checkpoints are intact"));
        }
        let snapshot = engine.snapshot();
        let manifest = self.recorder.manifest();
        let (epoch, batch) = manifest.place(snapshot.step);
        let report = self.evaluator.report(epoch, batch == 0, &snapshot.params)?;
        let untouched = self.recorder.has_not_begun();
        let summary = self.summary(engine, &snapshot, &report, outcome, rate, threads);
        let model = self.recorder.model(snapshot);
        // Without a step, the folder is still an older run's.
        if untouched {
            return Ok(Finished {
                model,
                figures: report.figures(),
                baseline: self.evaluator.baseline().clone(),
            });
        }
        // After a divergence the parameters are those before the bad step, and an older model file stays.
        if !matches!(outcome, Outcome::Diverged { .. }) {
            self.recorder.write_model(&model)?;
        }
        self.recorder.write_summary(&summary)?;
        logged?;
        Ok(Finished { model, figures: report.figures(), baseline: self.evaluator.baseline().clone() })
    }

    fn summary(
        &mut self,
        engine: &Engine,
        last: &Snapshot,
        report: &Report,
        outcome: Outcome,
        samples_per_second: f64,
        threads: usize,
    ) -> Value {
        let (manifest, input) = (self.recorder.manifest(), self.recorder.input());
        let model = manifest.model();
        let test = self.evaluator.last();
        let classes = input.classes.is_some();
        let mut summary = json!({
            "outcome": match outcome {
                Outcome::Complete => "complete",
                Outcome::Stopped => "stopped",
                Outcome::Diverged { .. } => "diverged",
                Outcome::NoWorkers { .. } => "no-workers",
            },
            "params_sha256": params_sha256(&last.params),
            "config_hash": self.recorder.config_hash(),
            "data_sha256": manifest.parts().data_sha256,
            "steps": last.step,
            "epochs": manifest.place(last.step).0,
            "train_loss": self.last_epoch.map(|report| report.train_loss),
            "train_accuracy": self.last_epoch.filter(|_| classes && model.output_width() > 1)
                .map(|report| report.correct as f64 / report.samples as f64),
            "test_loss": test.map(|t| t.loss),
            "test_accuracy": test.and_then(|t| self.evaluator.accuracy(&t)),
            "best_test_accuracy": self.evaluator.best().filter(|_| classes)
                .map(|best| best.correct as f64 / best.samples as f64),
            "best_epoch": self.evaluator.best().map(|best| best.epoch),
            "samples_per_second": samples_per_second,
            "wall_seconds": self.meter.now().as_secs_f64(),
            "data": input.data,
            "layers": model.widths(),
            "parameters": model.parameters(),
            "threads": threads,
            "isa": engine.compute().isa.name(),
            "arithmetic_fingerprint": arithmetic_fingerprint(engine.compute().isa),
            "version": env!("CARGO_PKG_VERSION"),
        });
        add(&mut summary, "test", &report.figures());
        if let Report::Classes(report) = report {
            add(&mut summary, "test", &report.curves);
        }
        let baseline = self.evaluator.baseline();
        match baseline {
            Baseline::Majority { accuracy, .. } => summary["baseline_accuracy"] = json!(accuracy),
            Baseline::Mean { figures, .. } => summary["baseline_rmse"] = json!(figures.rmse),
        }
        summary["better_than_baseline"] = json!(baseline.is_beaten_by(&report.figures()));
        if let Some(cluster) = self.cluster.take() {
            summary["cluster"] = cluster;
        }
        summary
    }
}

impl local::Observer for Watch {
    fn now(&mut self) -> Duration {
        self.meter.now()
    }

    fn weights(&mut self, report: &StepReport, params: &[f32]) {
        if let Err(broken) = self.recorder.weights(report, params) {
            self.trouble.get_or_insert(broken);
        }
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.done += 1;
        self.meter.count(report.samples);
        let now = self.meter.now();
        self.recorder.settle(now);
        let manifest = self.recorder.manifest();
        let (epoch, batch) = manifest.place(report.step.0);
        self.progress.step(
            now,
            self.done,
            (epoch + 1, manifest.recipe().epochs),
            (batch + 1, manifest.steps_per_epoch()),
            report.loss,
            self.meter.epoch_rate(),
        );
        if self.stop.is_set() || self.trouble.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, report: &EpochReport, params: &[f32]) {
        let training_stopped = self.meter.now();
        let rate = self.meter.epoch_rate();
        let (epoch, epochs) = (report.epoch + 1, self.recorder.manifest().recipe().epochs);
        let test = if self.evaluator.is_due(epoch, epochs) { self.evaluate(epoch, params) } else { None };
        if let Some((test, _)) = &test {
            self.recorder.consider(validation(epoch, test));
        }
        let classes = self.recorder.input().classes.is_some();
        let figures = test.map_or(Figures::unknown(classes), |(_, figures)| figures);
        let test = test.map(|(evaluation, _)| evaluation);
        let test_accuracy = test.and_then(|t| self.evaluator.accuracy(&t));
        self.progress.epoch(&EpochLine {
            epoch,
            epochs,
            train_loss: report.train_loss,
            test_loss: test.map(|t| t.loss),
            test_accuracy,
            test_numbers: figures.numbers(),
            samples_per_second: rate,
        });
        let mut line = json!({
            "kind": "epoch",
            "epoch": epoch,
            "steps": report.steps,
            "train_loss": report.train_loss,
            "train_accuracy": classes.then(|| report.correct as f64 / report.samples as f64),
            "test_loss": test.map(|t| t.loss),
            "test_accuracy": test_accuracy,
            "learning_rate": self.recorder.manifest().learning_rate(report.steps - 1),
            "samples_per_second": rate,
            "seconds": training_stopped.as_secs_f64(),
            "params_sha256": params_sha256(params),
        });
        add(&mut line, "test", &figures);
        if let Err(broken) = self.recorder.epoch(report.steps, line) {
            self.trouble.get_or_insert(broken);
        }
        self.recorder.flush(training_stopped);
        self.last_epoch = Some(*report);
        self.meter.next_epoch(training_stopped);
    }

    fn keeps(&mut self) -> bool {
        self.recorder.wants_snapshot()
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        self.recorder.snapshot(snapshot, self.meter.now());
    }
}

/// The results of a run before its resumption.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// How many times the run was resumed, this time included.
    pub(super) generation: u64,
    /// The lines of its epochs.
    pub(super) epochs: Vec<Value>,
    /// The result that the best checkpoint has.
    pub(super) best: Option<Validation>,
}

/// A run that is over, and how good its network is on the test samples.
pub(in crate::commands) struct Finished {
    /// The network after the last step.
    pub(in crate::commands) model: ModelFile,
    pub(in crate::commands) figures: Figures,
    /// The trivial answer, to compare with.
    pub(in crate::commands) baseline: Baseline,
}

/// Adds figures on the data set `set` to a line of the log or the summary, under names such as `test_macro_f1`. Names that
/// are there already keep their values.
fn add(line: &mut Value, set: &str, figures: &impl Serialize) {
    if let (Value::Object(line), Ok(Value::Object(figures))) = (line, serde_json::to_value(figures)) {
        for (name, figure) in figures {
            line.entry(format!("{set}_{name}")).or_insert(figure);
        }
    }
}
