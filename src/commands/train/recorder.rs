//! The files of a run: log, checkpoints, model and summary.

use std::sync::Arc;
use std::time::Duration;

use nn_engine::{Manifest, Snapshot, StepReport};
use serde_json::Value;

use super::log::Log;
use super::output::RunFolder;
use super::writer::Writer;
use crate::failure::Failure;
use crate::store::{BestSoFar, InputInfo, ModelFile, RunInfo, Validation};

/// Writes a run to its folder.
pub(super) struct Recorder {
    folder: Arc<RunFolder>,
    manifest: Manifest,
    config_hash: String,
    input: InputInfo,
    log: Log,
    /// `None` once the run is over.
    writer: Option<Writer>,
    /// How many times the run was resumed.
    generation: u64,
    /// The result that the best checkpoint has, or will have once the next snapshot is written.
    best: Option<Validation>,
    /// The best result so far, of which the best checkpoint may have been lost.
    best_so_far: Option<BestSoFar>,
    /// The result of the next snapshot, if it becomes the best checkpoint.
    next_best: Option<Validation>,
    /// True once a step contradicts the log: no later snapshot is written.
    broken: bool,
    /// The options of a run that is to destroy an older one with its first step.
    to_begin: Option<String>,
    /// What happened before the first step, without which there is nothing to log; `None` after it.
    events: Option<Vec<Value>>,
}

impl Recorder {
    /// Records the run that `manifest` describes in `folder`, which keeps the newest `keep` checkpoints.
    ///
    /// # Errors
    /// Exit code 1, if the thread that writes checkpoints cannot be started.
    pub(super) fn new(
        folder: Arc<RunFolder>,
        keep: usize,
        manifest: Manifest,
        input: InputInfo,
        log: Log,
    ) -> Result<Self, Failure> {
        let writer = Writer::start(folder.checkpoints(keep), folder.path().display().to_string())?;
        Ok(Self {
            folder,
            config_hash: manifest.hash(),
            manifest,
            input,
            log,
            writer: Some(writer),
            generation: 0,
            best: None,
            best_so_far: None,
            next_best: None,
            broken: false,
            to_begin: None,
            events: Some(Vec::new()),
        })
    }

    /// Leaves the older run in the folder alone until the first step is done; `options` are those of the new one.
    pub(super) fn begin_with_the_first_step(&mut self, options: String) {
        self.to_begin = Some(options);
    }

    /// Whether the folder is still an older run's.
    pub(super) fn has_not_begun(&self) -> bool {
        self.to_begin.is_some()
    }

    /// Continues a run that was resumed `generation` times, has a best checkpoint with the result `best`, and had this
    /// result up to its last step.
    pub(super) fn resume(
        &mut self,
        generation: u64,
        best: Option<Validation>,
        best_so_far: Option<BestSoFar>,
    ) {
        (self.generation, self.best, self.best_so_far) = (generation, best, best_so_far);
    }

    /// The run.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The hash of the manifest.
    pub(super) fn config_hash(&self) -> &str {
        &self.config_hash
    }

    /// The form of the inputs.
    pub(super) fn input(&self) -> &InputInfo {
        &self.input
    }

    /// Logs a step with the hash of its weights.
    ///
    /// # Errors
    /// If the log of an earlier attempt has other weights for this step. Nothing of the run is kept from then on.
    pub(super) fn weights(&mut self, report: &StepReport, params: &[f32]) -> Result<(), Failure> {
        if let Some(options) = self.to_begin.take() {
            self.folder.begin(&options).inspect_err(|_| self.broken = true)?;
        }
        for event in self.events.take().unwrap_or_default() {
            self.log.event(&event);
        }
        let done = report.step.0 + 1;
        let sequential = self.manifest.rounds().map(|_| self.manifest.sequential_steps(done));
        let logged = self.log.weights(done, sequential, report.samples, params);
        self.unless_broken(logged)
    }

    /// Logs an epoch that is over after `steps` steps.
    ///
    /// # Errors
    /// As for [`Recorder::weights`].
    pub(super) fn epoch(&mut self, steps: u64, line: Value) -> Result<(), Failure> {
        let logged = self.log.epoch(steps, line);
        self.unless_broken(logged)
    }

    /// Logs something that happened beside the steps at time `now`, once there is a step.
    pub(super) fn event(&mut self, line: &Value, now: Duration) {
        if let Some(events) = &mut self.events {
            events.push(line.clone());
            return;
        }
        self.log.event(line);
        // The run may be waiting for workers, without a step that would write it.
        self.log.flush(now);
    }

    fn unless_broken(&mut self, logged: Result<(), Failure>) -> Result<(), Failure> {
        self.broken |= logged.is_err();
        logged
    }

    /// Writes waiting lines of the log if they have waited long enough at time `now`.
    pub(super) fn settle(&mut self, now: Duration) {
        self.log.settle(now);
    }

    /// Writes all waiting lines of the log.
    pub(super) fn flush(&mut self, now: Duration) {
        self.log.flush(now);
    }

    /// Considers a result for the best checkpoint: if it is better than that of the file, the next snapshot is kept as
    /// such. `best_so_far` goes into every checkpoint.
    pub(super) fn consider(&mut self, result: Validation, best_so_far: Option<BestSoFar>) {
        self.best_so_far = best_so_far;
        if result.loss.is_finite() && self.best.is_none_or(|best| result.is_better_than(&best)) {
            (self.best, self.next_best) = (Some(result), Some(result));
        }
    }

    /// True if a snapshot is wanted now, for the best checkpoint.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.next_best.is_some() && !self.broken
    }

    /// Writes a snapshot as the best checkpoint or as the newest, in the background.
    pub(super) fn snapshot(&mut self, snapshot: Snapshot, now: Duration) {
        if self.broken || self.has_not_begun() {
            return;
        }
        // Every step before a checkpoint is in the log, or its line is in the checkpoint.
        self.log.flush(now);
        let mut file = self.file(snapshot);
        file.run.generation = Some(self.generation);
        file.run.best = self.best_so_far;
        file.run.unlogged = self.log.unlogged().to_vec();
        file.run.validation = self.next_best.take();
        match &self.writer {
            Some(writer) if file.run.validation.is_some() => writer.best(file),
            Some(writer) => writer.newest(file),
            None => {}
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
            best: None,
            plateau: snapshot.plateau,
            unlogged: Vec::new(),
            imported: None,
        };
        ModelFile::new(self.manifest.model().clone(), self.input.clone(), run, snapshot)
    }

    /// Waits for the last checkpoint and writes the rest of the log: how each of the two ended.
    pub(super) fn close(&mut self, now: Duration) -> (Result<(), String>, Result<(), Failure>) {
        (self.writer.take().map_or(Ok(()), Writer::finish), self.log.finish(now))
    }

    /// The network after the last step, as an exported model: without the optimizer's state, and after private training without the
    /// seed. `last` has the model's parameters.
    pub(super) fn model(&self, mut last: Snapshot) -> ModelFile {
        (last.moments, last.average, last.plateau) = Default::default();
        let mut model = self.file(last);
        if model.run.manifest.recipe.dp_noise.is_some() {
            // The model may be given away, and who knows the seed can take the noise away.
            model.run.manifest.recipe.seed = 0;
            if let Ok(without) = Manifest::new(model.run.manifest.clone()) {
                model.run.config_hash = without.hash();
            }
        }
        model
    }

    /// Writes `model.safetensors`.
    ///
    /// # Errors
    /// Exit code 1, if it cannot be written.
    pub(super) fn write_model(&self, model: &ModelFile) -> Result<(), Failure> {
        self.folder.write_model(model)
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// Exit code 1, if it cannot be written.
    pub(super) fn write_summary(&self, summary: &Value) -> Result<(), Failure> {
        self.folder.write_summary(summary)
    }
}
