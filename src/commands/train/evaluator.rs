//! The evaluation of a run on its test samples.

use std::sync::Arc;

use nn_core::{Dataset, Evaluation, Targets, Workspace};
use serde_json::Value;

use crate::failure::Failure;
use crate::store::Validation;

/// Evaluates the network after every few epochs, and remembers the last result and the best.
pub(super) struct Evaluator {
    test: Arc<Dataset>,
    workspace: Workspace,
    /// Epochs between two evaluations.
    every: u32,
    /// The epoch, counted from 1, and its result.
    last: Option<(u64, Evaluation)>,
    best: Option<Validation>,
}

impl Evaluator {
    /// Evaluates on `test` after every `every` epochs.
    pub(super) fn new(test: Arc<Dataset>, workspace: Workspace, every: u32) -> Self {
        Self { test, workspace, every, last: None, best: None }
    }

    /// True if an evaluation is due after `epoch` (counted from 1) of `epochs`: the last is always evaluated.
    pub(super) fn is_due(&self, epoch: u64, epochs: u32) -> bool {
        epoch == u64::from(epochs) || epoch.is_multiple_of(u64::from(self.every))
    }

    /// Evaluates the parameters after `epoch`.
    ///
    /// # Errors
    /// Exit code 3, if the network does not fit the samples.
    pub(super) fn evaluate(&mut self, epoch: u64, params: &[f32]) -> Result<Evaluation, Failure> {
        let evaluation = self.workspace.evaluate(params, &self.test).map_err(Failure::data)?;
        self.remember(epoch, evaluation);
        Ok(evaluation)
    }

    fn remember(&mut self, epoch: u64, evaluation: Evaluation) {
        self.last = Some((epoch, evaluation));
        let new = validation(epoch, &evaluation);
        if self.best.is_none_or(|best| new.is_better_than(&best)) {
            self.best = Some(new);
        }
    }

    /// Takes up a result from the log, a line of which is an epoch.
    pub(super) fn recall(&mut self, epoch: u64, line: &Value) {
        if let Some(loss) = line["test_loss"].as_f64() {
            let samples = self.test.len();
            let correct = correct(line, "test_accuracy", samples);
            self.remember(epoch, Evaluation { samples, loss, correct });
        }
    }

    /// Takes up the result of the best checkpoint, whose line in the log may be lost.
    pub(super) fn recall_best(&mut self, best: Validation) {
        self.best = self.best.filter(|other| !best.is_better_than(other)).or(Some(best));
    }

    /// The last evaluated epoch and its result.
    pub(super) fn last(&self) -> Option<(u64, Evaluation)> {
        self.last
    }

    /// The best result.
    pub(super) fn best(&self) -> Option<Validation> {
        self.best
    }

    /// The fraction of correct answers; `None` for a regression.
    pub(super) fn accuracy(&self, evaluation: &Evaluation) -> Option<f64> {
        matches!(self.test.targets(), Targets::Classes { .. })
            .then(|| evaluation.correct as f64 / evaluation.samples as f64)
    }
}

/// The number of correct answers behind a fraction in a line of the log; 0 if it has none.
pub(super) fn correct(line: &Value, name: &str, samples: usize) -> usize {
    line[name].as_f64().map_or(0, |fraction| (fraction * samples as f64).round() as usize)
}

/// A result in the form that checkpoints keep.
pub(super) fn validation(epoch: u64, test: &Evaluation) -> Validation {
    Validation { epoch, samples: test.samples, correct: test.correct, loss: test.loss }
}
