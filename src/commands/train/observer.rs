//! The observer of a run: passes what happens to the meter, the evaluator, the recorder and the progress bar.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_engine::{
    Engine, EpochReport, EpochSums, Outcome, Snapshot, StepReport, arithmetic_fingerprint,
    local::{self, WorkerChange},
    params_sha256,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::choice::Choice;
use super::conclusion::{Ending, Finished};
use super::evaluator::{Evaluated, Evaluator, Reports, correct, validation};
use super::meter::Meter;
use super::noise::NoiseMeter;
use super::outlets::Outlets;
use super::raw::{Aside, Raw};
use super::recorder::Recorder;
use super::vigil::{SAMPLES, Seen, Vigil};
use crate::failure::Failure;
use crate::metrics::{Baseline, Figures, Report};
use crate::privacy::Privacy;
use crate::progress::{EpochLine, Progress, warn};
use crate::signals::StopFlag;
use crate::store::{BestSoFar, Validation};

/// So few training samples say nothing about dead units.
const FEW_SAMPLES: usize = 64;

/// Observes a run, on one machine or of a cluster.
pub(in crate::commands) struct Watch {
    stop: StopFlag,
    progress: Progress,
    meter: Meter,
    evaluator: Evaluator,
    choice: Choice,
    vigil: Vigil,
    recorder: Recorder,
    /// Steps done.
    done: u64,
    last_epoch: Option<EpochReport>,
    /// Where the model is an average: the results of the trained weights of the last epoch, and of the best.
    raw: Option<Raw>,
    best_raw: Option<Raw>,
    /// What is to be said about the epoch that is just over.
    said: Option<String>,
    /// What measures the noise in the gradient, if it is to be measured.
    noise: Option<NoiseMeter>,
    /// Who else is told.
    outlets: Outlets,
    /// How privacy is counted, with differential privacy.
    privacy: Option<Privacy>,
    /// The learning rate of the last step.
    rate: f32,
    /// The loss of the last epoch on the validation samples, if it was evaluated on them.
    validation_loss: Option<f64>,
    /// The line of the last epoch in the log.
    last_line: Value,
    /// The first failure, which ends the run.
    trouble: Option<Failure>,
    /// The summary's part on the cluster, if there is one.
    cluster: Option<Value>,
    /// The file of the model that the run began with, if it did.
    from: Option<String>,
}

impl Watch {
    /// Observes a run that has `done` steps behind it and may have been resumed.
    pub(super) fn new(
        stop: StopFlag,
        progress: Progress,
        meter: Meter,
        (evaluator, vigil): (Evaluator, Vigil),
        (recorder, privacy, noise): (Recorder, Option<Privacy>, Option<NoiseMeter>),
        outlets: Outlets,
        (done, earlier): (u64, Earlier),
    ) -> Self {
        let (last_epoch, last_line, trouble, cluster) = (None, Value::Null, None, None);
        let (raw, best_raw, said) = (None, None, None);
        let choice = Choice::new(recorder.manifest().recipe().early_stopping);
        let mut watch = Self {
            stop,
            progress,
            meter,
            evaluator,
            choice,
            vigil,
            recorder,
            done,
            last_epoch,
            raw,
            best_raw,
            said,
            noise,
            outlets,
            privacy,
            rate: 0.0,
            validation_loss: None,
            last_line,
            trouble,
            cluster,
            from: None,
        };
        let resumed = earlier.generation > 0;
        watch.recall(earlier);
        if resumed {
            watch.happened(json!({ "event": "resumed" }));
        }
        watch
    }

    /// Logs something beside the steps, and tells it to all who follow the run.
    fn happened(&mut self, event: Value) {
        let manifest = self.recorder.manifest();
        let mut line = json!({
            "kind": "event",
            "step": manifest.sequential_steps(self.done),
            "seconds": self.meter.now().as_secs_f64(),
        });
        if manifest.rounds().is_some() {
            line["round"] = json!(self.done);
        }
        if let (Value::Object(line), Value::Object(event)) = (&mut line, event) {
            line.extend(event);
        }
        let now = self.meter.now();
        self.recorder.event(&line, now);
        self.outlets.event(&line);
    }

    /// Of a run that begins with the model in this file.
    pub(super) fn beginning_with(self, from: Option<String>) -> Self {
        Self { from, ..self }
    }

    /// Takes up the results of a run before its resumption.
    fn recall(&mut self, earlier: Earlier) {
        self.recorder.resume(earlier.generation, earlier.best_file, earlier.best);
        self.choice.recall(earlier.best, earlier.best_params);
        for line in &earlier.epochs {
            let Some(epoch) = line["epoch"].as_u64().filter(|&epoch| epoch > 0) else { continue };
            if let Some(train_loss) = line["train_loss"].as_f64() {
                let samples = self.recorder.manifest().parts().train_samples;
                let correct = correct(line, "train_accuracy", samples);
                let steps = self.recorder.manifest().steps_until(epoch);
                let report = EpochReport { epoch: epoch - 1, steps, samples, train_loss, correct };
                self.last_epoch = Some(report);
                self.choice.recall_report(&report);
                self.vigil.recall(train_loss);
            }
            self.evaluator.recall(epoch, line);
            self.raw = Raw::of_line(epoch, line);
            if earlier.best.is_some_and(|best| best.result.epoch == epoch) {
                self.best_raw.clone_from(&self.raw);
            }
        }
    }

    /// Whether the run has ended early, so that no step is left to do.
    pub(in crate::commands) fn is_over(&self) -> bool {
        self.choice.is_over()
    }

    /// The line of the last epoch in the log; null before the first.
    pub(in crate::commands) fn last_line(&self) -> &Value {
        &self.last_line
    }

    fn evaluate(&mut self, epoch: u64, params: &[f32]) -> Option<Evaluated> {
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
        self.outlets.finish(matches!(outcome, Outcome::Complete | Outcome::Stopped));
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
        let mut snapshot = engine.snapshot();
        let ending = self.restore(&mut snapshot, outcome);
        let manifest = self.recorder.manifest();
        let (epoch, batch) = manifest.place(snapshot.step);
        self.average(&mut snapshot, epoch, batch == 0)?;
        let reports = self.evaluator.report(epoch, batch == 0, &snapshot.params)?;
        let untouched = self.recorder.has_not_begun();
        let summary = self.summary(engine, &snapshot, &reports, (outcome, ending), rate, threads);
        let model = self.recorder.model(snapshot);
        let (figures, baseline) = (reports.test.figures(), self.evaluator.baseline().clone());
        let finished = Finished { model, figures, baseline, ending };
        // Without a step, the folder is still an older run's.
        if untouched {
            return Ok(finished);
        }
        // After a divergence the parameters are those before the bad step, and an older model file stays.
        if !matches!(outcome, Outcome::Diverged { .. }) {
            self.recorder.write_model(&finished.model)?;
        }
        self.recorder.write_summary(&summary)?;
        self.outlets.end(&summary);
        logged?;
        Ok(finished)
    }

    /// Puts the weights of the best evaluation in place of the last ones, if the run is to end with them.
    fn restore(&mut self, last: &mut Snapshot, outcome: Outcome) -> Option<Ending> {
        let early = self.choice.is_over();
        if outcome != Outcome::Complete && !(early && outcome == Outcome::Stopped) {
            return None;
        }
        let (rule, best) = (self.choice.rule()?, self.choice.best()?);
        let params = self.choice.take_params()?;
        let ending =
            Ending { early, epoch: best.result.epoch, last: last.step, evaluations: rule.evaluations };
        let step = self.recorder.manifest().steps_until(best.result.epoch);
        let (moments, average) = Default::default();
        *last = Snapshot { step, params, moments, average, epoch: EpochSums::default(), plateau: None };
        self.raw = self.best_raw.take();
        self.last_epoch = self.choice.report().or(self.last_epoch);
        Some(ending)
    }

    /// Puts the average of the weights in their place, if it is the run's model, and sees to it that their own results are
    /// known. `epoch` and `whole` are as for [`Evaluator::report`].
    fn average(&mut self, last: &mut Snapshot, epoch: u64, whole: bool) -> Result<(), Failure> {
        let average = std::mem::take(&mut last.average);
        if average.is_empty() {
            return Ok(());
        }
        let trained = std::mem::replace(&mut last.params, average);
        if !(whole && self.raw.as_ref().is_some_and(|raw| raw.epoch == epoch && raw.is_evaluated())) {
            let results = self.evaluator.aside(&trained)?;
            self.raw = Some(self.raw_of(epoch, &trained, Some(results)));
        }
        Ok(())
    }

    fn raw_of(&self, epoch: u64, trained: &[f32], results: Option<Aside>) -> Raw {
        let of = (self.evaluator.chooses(), self.recorder.input().classes.is_some());
        Raw::new(epoch, params_sha256(trained), results, of)
    }

    /// Measures the noise in the gradient at the trained weights of an epoch, if it is to be measured.
    fn measure_noise(&mut self, report: &EpochReport, trained: &[f32]) {
        if let Some(noise) = &mut self.noise {
            noise.measure(report.epoch, trained);
        }
    }

    /// Looks for a run that stands still, by the trained weights of an epoch.
    fn watch_over(&mut self, report: &EpochReport, trained: &[f32]) {
        let manifest = self.recorder.manifest();
        let rate = f64::from(self.rate / manifest.recipe().learning_rate);
        let seen = Seen { epoch: report.epoch + 1, loss: report.train_loss, rate, params: trained };
        // Of few samples, many units are 0 by chance.
        let few = manifest.parts().train_samples < FEW_SAMPLES;
        let dead = || if few { Vec::new() } else { self.evaluator.dead_units(trained, SAMPLES) };
        self.said = self.vigil.look(&seen, dead);
    }

    fn summary(
        &mut self,
        engine: &Engine,
        last: &Snapshot,
        reports: &Reports,
        (outcome, ending): (Outcome, Option<Ending>),
        samples_per_second: f64,
        threads: usize,
    ) -> Value {
        let (manifest, input) = (self.recorder.manifest(), self.recorder.input());
        let model = manifest.model();
        let test = self.evaluator.last();
        let classes = input.classes.is_some();
        let mut summary = json!({
            "outcome": match outcome {
                _ if ending.is_some_and(|ending| ending.early) => "early-stopped",
                Outcome::Complete => "complete",
                Outcome::Stopped => "stopped",
                Outcome::Diverged { .. } => "diverged",
                Outcome::NoWorkers { .. } => "no-workers",
            },
            "params_sha256": params_sha256(&last.params),
            "config_hash": self.recorder.config_hash(),
            "data_sha256": manifest.parts().data_sha256,
            "preprocess_sha256": manifest.parts().preprocess_sha256,
            "steps": manifest.sequential_steps(last.step),
            "epochs": manifest.place(last.step).0,
            "train_loss": self.last_epoch.map(|report| report.train_loss),
            "train_accuracy": self.last_epoch.filter(|_| classes && model.output_width() > 1)
                .map(|report| report.correct as f64 / report.samples as f64),
            "test_loss": test.map(|t| t.loss),
            "test_accuracy": test.and_then(|t| self.evaluator.accuracy(&t)),
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
        if manifest.rounds().is_some() {
            summary["rounds"] = json!(last.step);
        }
        if let Some(hash) = &manifest.recipe().initial_sha256 {
            summary["initial_sha256"] = json!(hash);
            summary["from"] = json!(self.from);
        }
        if let Some(noise) = &self.noise {
            summary["noise_scale"] = json!(noise.value());
        }
        if let Some(privacy) = self.privacy {
            summary["epsilon"] = json!(privacy.epsilon(last.step));
            summary["delta"] = json!(privacy.delta);
        }
        if let Some(raw) = &self.raw {
            raw.add_to(&mut summary);
        }
        if let Some(ending) = ending {
            summary["stopped_at_step"] = json!(manifest.sequential_steps(ending.last));
        }
        add_report(&mut summary, "test", &reports.test);
        if let Some((validation, report)) = &reports.validation {
            summary["validation_loss"] = json!(validation.loss);
            add_report(&mut summary, "validation", report);
        }
        if let Some(BestSoFar { result: best, .. }) = self.choice.best() {
            summary["best_epoch"] = json!(best.epoch);
            summary["best_validation_loss"] = json!(best.loss);
            if classes {
                summary["best_validation_accuracy"] = json!(best.correct as f64 / best.samples as f64);
            }
        }
        let baseline = self.evaluator.baseline();
        match baseline {
            Baseline::Majority { accuracy, .. } => summary["baseline_accuracy"] = json!(accuracy),
            Baseline::Mean { figures, .. } => summary["baseline_rmse"] = json!(figures.rmse),
        }
        summary["better_than_baseline"] = json!(baseline.is_beaten_by(&reports.test.figures()));
        if let Some(cluster) = self.cluster.take() {
            summary["cluster"] = cluster;
        }
        if let Some(waited) = self.outlets.waited() {
            summary["outlets_seconds"] = json!(waited.as_secs_f64());
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
        self.rate = report.learning_rate;
        self.meter.count(report.samples);
        let now = self.meter.now();
        self.recorder.settle(now);
        let rate = self.meter.epoch_rate();
        let manifest = self.recorder.manifest();
        let (epoch, batch) = manifest.place(report.step.0);
        self.progress.step(
            now,
            self.done,
            (epoch + 1, manifest.recipe().epochs),
            (batch + 1, manifest.steps_in(epoch)),
            report.loss,
            rate,
        );
        self.outlets.step(now, report, manifest.sequential_steps(self.done), rate);
        if self.stop.is_set() || self.trouble.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn trained(&mut self, report: &EpochReport, params: &[f32]) {
        let epoch = report.epoch + 1;
        let mut results = None;
        if self.evaluator.is_due(epoch, self.recorder.manifest().recipe().epochs) {
            results =
                self.evaluator.aside(params).map_err(|failure| self.trouble.get_or_insert(failure)).ok();
        }
        self.raw = Some(self.raw_of(epoch, params, results));
        self.measure_noise(report, params);
        self.watch_over(report, params);
    }

    fn epoch(&mut self, report: &EpochReport, params: &[f32]) {
        let training_stopped = self.meter.now();
        let rate = self.meter.epoch_rate();
        if self.raw.is_none() {
            self.measure_noise(report, params);
        }
        let (epoch, epochs) = (report.epoch + 1, self.recorder.manifest().recipe().epochs);
        let evaluated =
            if self.evaluator.is_due(epoch, epochs) { self.evaluate(epoch, params) } else { None };
        let on_validation = evaluated.and_then(|evaluated| evaluated.validation);
        self.validation_loss = on_validation.map(|results| results.evaluation.loss);
        if let Some(results) = &on_validation {
            let result = validation(epoch, &results.evaluation);
            if self.choice.consider(result, report, params) {
                self.best_raw.clone_from(&self.raw);
            }
            self.recorder.consider(result, self.choice.best());
        }
        let classes = self.recorder.input().classes.is_some();
        let figures = evaluated.map_or(Figures::unknown(classes), |evaluated| evaluated.test.figures);
        let test = evaluated.map(|evaluated| evaluated.test.evaluation);
        let test_accuracy = test.and_then(|t| self.evaluator.accuracy(&t));
        // What the run chooses by is what its user should look at.
        let shown = on_validation.or(evaluated.map(|evaluated| evaluated.test));
        let set = if self.evaluator.chooses() { "validation" } else { "test" };
        self.progress.epoch(&EpochLine {
            epoch,
            epochs,
            train_loss: report.train_loss,
            set,
            loss: shown.map(|results| results.evaluation.loss),
            accuracy: shown.and_then(|results| self.evaluator.accuracy(&results.evaluation)),
            raw_accuracy: self.raw.as_ref().and_then(|raw| raw.accuracy(set)),
            numbers: shown.and_then(|results| results.figures.numbers()),
            noise_scale: self.noise.as_ref().map(|noise| noise.value().unwrap_or(f64::INFINITY)),
            epsilon: self.privacy.map(|privacy| privacy.epsilon(report.steps)),
            samples_per_second: rate,
        });
        let mut line = json!({
            "kind": "epoch",
            "epoch": epoch,
            "steps": self.recorder.manifest().sequential_steps(report.steps),
            "train_loss": report.train_loss,
            "train_accuracy": classes.then(|| report.correct as f64 / report.samples as f64),
            "test_loss": test.map(|t| t.loss),
            "test_accuracy": test_accuracy,
            "learning_rate": self.rate,
            "samples_per_second": rate,
            "seconds": training_stopped.as_secs_f64(),
            "params_sha256": params_sha256(params),
        });
        if self.recorder.manifest().rounds().is_some() {
            line["rounds"] = json!(report.steps);
        }
        if let Some(noise) = &self.noise {
            line["noise_scale"] = json!(noise.value());
        }
        if let Some(privacy) = self.privacy {
            line["epsilon"] = json!(privacy.epsilon(report.steps));
        }
        add(&mut line, "test", &figures);
        if self.evaluator.chooses() {
            line["validation_loss"] = json!(on_validation.map(|results| results.evaluation.loss));
            let figures = on_validation.map_or(Figures::unknown(classes), |results| results.figures);
            add(&mut line, "validation", &figures);
        }
        if let Some(raw) = &self.raw {
            raw.add_to(&mut line);
        }
        if let Some(norms) = self.outlets.gradient_norms(params, report.epoch) {
            line["gradient_norm"] = json!(norms);
        }
        let steps = self.recorder.manifest().sequential_steps(report.steps);
        let outputs = evaluated.and_then(|_| self.evaluator.outputs());
        self.outlets.epoch(&line, steps, params, outputs);
        self.last_line = line.clone();
        if let Err(broken) = self.recorder.epoch(report.steps, line) {
            self.trouble.get_or_insert(broken);
        }
        self.recorder.flush(training_stopped);
        // An average moves little, and its units die late.
        if self.raw.is_none() {
            self.watch_over(report, params);
        }
        if let Some(said) = self.said.take() {
            warn(said);
        }
        self.last_epoch = Some(*report);
        self.meter.next_epoch(training_stopped);
        self.outlets.stepped = self.meter.now();
    }

    fn validation_loss(&mut self) -> Option<f64> {
        self.validation_loss
    }

    fn keeps(&mut self) -> bool {
        self.recorder.wants_snapshot()
    }

    fn ends(&mut self) -> bool {
        self.choice.is_over()
    }

    fn worker(&mut self, name: &str, change: &WorkerChange) {
        self.happened(match change {
            WorkerChange::Joined => json!({ "event": "joined", "worker": name }),
            WorkerChange::Left => json!({ "event": "left", "worker": name }),
            WorkerChange::Removed(reason) => {
                json!({ "event": "removed", "worker": name, "reason": reason })
            }
        });
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
    pub(super) best_file: Option<Validation>,
    /// The best result up to the step from which the run resumes.
    pub(super) best: Option<BestSoFar>,
    /// The weights that had it, if the best checkpoint has them.
    pub(super) best_params: Option<Vec<f32>>,
}

/// Adds all figures on the data set `set` to the summary.
fn add_report(summary: &mut Value, set: &str, report: &Report) {
    add(summary, set, &report.figures());
    if let Report::Classes(report) = report {
        add(summary, set, &report.curves);
    }
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
