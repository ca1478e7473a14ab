//! The evaluation of a run on its test samples.

use std::sync::Arc;

use nn_core::{Dataset, Evaluation, Targets, Workspace};
use serde_json::Value;

use crate::failure::Failure;
use crate::metrics::{Baseline, Figures, OutputKind, Report, Units};
use crate::store::Validation;

/// Evaluates the network after every few epochs, and remembers the last result and the best.
pub(super) struct Evaluator {
    test: Set,
    workspace: Workspace,
    /// The meaning of the outputs.
    kind: OutputKind,
    /// Epochs between two evaluations.
    every: u32,
    /// The epoch, counted from 1, and its result.
    last: Option<(u64, Evaluation)>,
    best: Option<Validation>,
    baseline: Baseline,
}

/// A data set to evaluate on.
struct Set {
    data: Arc<Dataset>,
    units: Units,
    /// The outputs of the last evaluation, row-major; empty before the first.
    outputs: Vec<f32>,
}

impl Set {
    fn evaluate(&mut self, workspace: &mut Workspace, params: &[f32]) -> Result<Evaluation, Failure> {
        workspace.evaluate_into(params, &self.data, &mut self.outputs).map_err(Failure::data)
    }

    fn figures(&self, kind: OutputKind) -> Figures {
        Figures::of(&self.data, &self.outputs, kind, &self.units)
    }
}

impl Evaluator {
    /// Evaluates on `test`, whose targets are in `units` as those of `train` are, after every `every` epochs.
    pub(super) fn new(
        train: &Dataset,
        test: Arc<Dataset>,
        units: Units,
        workspace: Workspace,
        every: u32,
    ) -> Self {
        let baseline = Baseline::of(train.targets(), test.targets(), &units);
        let kind = OutputKind::of(workspace.model());
        let test = Set { data: test, units, outputs: Vec::new() };
        Self { test, workspace, kind, every, last: None, best: None, baseline }
    }

    /// True if an evaluation is due after `epoch` (counted from 1) of `epochs`: the last is always evaluated.
    pub(super) fn is_due(&self, epoch: u64, epochs: u32) -> bool {
        epoch == u64::from(epochs) || epoch.is_multiple_of(u64::from(self.every))
    }

    /// Evaluates the parameters after `epoch`.
    ///
    /// # Errors
    /// Exit code 3, if the network does not fit the samples.
    pub(super) fn evaluate(&mut self, epoch: u64, params: &[f32]) -> Result<(Evaluation, Figures), Failure> {
        let evaluation = self.test.evaluate(&mut self.workspace, params)?;
        self.remember(epoch, evaluation);
        Ok((evaluation, self.test.figures(self.kind)))
    }

    fn remember(&mut self, epoch: u64, evaluation: Evaluation) {
        self.last = Some((epoch, evaluation));
        let new = validation(epoch, &evaluation);
        if self.best.is_none_or(|best| new.is_better_than(&best)) {
            self.best = Some(new);
        }
    }

    /// The report on `params`, the parameters at the end of the run; `epoch` if they are those after a whole epoch. Those
    /// that were evaluated last are not evaluated again.
    ///
    /// # Errors
    /// As for [`Evaluator::evaluate`].
    pub(super) fn report(&mut self, epoch: u64, whole: bool, params: &[f32]) -> Result<Report, Failure> {
        let evaluated = whole && self.last.is_some_and(|(evaluated, _)| evaluated == epoch);
        // A result from the log of the run before its resumption has no outputs.
        if !evaluated || self.test.outputs.is_empty() {
            self.evaluate(epoch, params)?;
        }
        Ok(Report::of(&self.test.data, &self.test.outputs, self.kind, &self.test.units))
    }

    /// Takes up a result from the log, a line of which is an epoch.
    pub(super) fn recall(&mut self, epoch: u64, line: &Value) {
        if let Some(loss) = line["test_loss"].as_f64() {
            let samples = self.test.data.len();
            let correct = correct(line, "test_accuracy", samples);
            self.remember(epoch, Evaluation { samples, loss, correct });
        }
    }

    /// Takes up the result of the best checkpoint, whose line in the log may be lost.
    pub(super) fn recall_best(&mut self, best: Validation) {
        self.best = self.best.filter(|other| !best.is_better_than(other)).or(Some(best));
    }

    /// The last result.
    pub(super) fn last(&self) -> Option<Evaluation> {
        self.last.map(|(_, evaluation)| evaluation)
    }

    /// The best result.
    pub(super) fn best(&self) -> Option<Validation> {
        self.best
    }

    /// The trivial answer.
    pub(super) fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// The fraction of correct answers; `None` for a regression.
    pub(super) fn accuracy(&self, evaluation: &Evaluation) -> Option<f64> {
        matches!(self.test.data.targets(), Targets::Classes { .. })
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
