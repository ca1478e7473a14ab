//! The evaluation of a run: on its validation samples, by which it chooses, and on its test samples, by which it does not.

use std::sync::Arc;

use nn_core::{Dataset, Evaluation, Targets, Workspace};
use serde_json::Value;

use super::probe::evenly;
use super::raw::Aside;
use crate::failure::Failure;
use crate::metrics::{Baseline, Figures, OutputKind, Report, Units};
use crate::store::Validation;

/// Evaluates the network after every few epochs, and remembers the last result.
pub(super) struct Evaluator {
    train: Arc<Dataset>,
    test: Set,
    /// The samples by which the run chooses, if it has any.
    validation: Option<Set>,
    workspace: Workspace,
    /// The meaning of the outputs.
    kind: OutputKind,
    /// Epochs between two evaluations.
    every: u32,
    /// The epoch, counted from 1, and its result on the test samples.
    last: Option<(u64, Evaluation)>,
    baseline: Baseline,
}

/// A data set to evaluate on.
struct Set {
    data: Arc<Dataset>,
    units: Units,
    /// The outputs of the last evaluation, row-major; empty before the first.
    outputs: Vec<f32>,
}

/// The results of an evaluation on one data set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Results {
    pub(super) evaluation: Evaluation,
    pub(super) figures: Figures,
}

/// The results of an evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluated {
    pub(super) test: Results,
    /// Those on the validation samples, if there are any.
    pub(super) validation: Option<Results>,
}

/// The reports at the end of a run.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) test: Report,
    /// The result on the validation samples and its report, if there are any.
    pub(super) validation: Option<(Evaluation, Report)>,
}

impl Set {
    fn new(data: Arc<Dataset>, units: Units) -> Self {
        Self { data, units, outputs: Vec::new() }
    }

    fn results(
        &mut self,
        workspace: &mut Workspace,
        params: &[f32],
        kind: OutputKind,
    ) -> Result<Results, Failure> {
        let evaluation = self.evaluate(workspace, params)?;
        Ok(Results { evaluation, figures: self.figures(kind) })
    }

    fn report(&self, kind: OutputKind) -> Report {
        Report::of(&self.data, &self.outputs, kind, &self.units)
    }

    fn evaluate(&mut self, workspace: &mut Workspace, params: &[f32]) -> Result<Evaluation, Failure> {
        workspace.evaluate_into(params, &self.data, &mut self.outputs).map_err(Failure::data)
    }

    fn figures(&self, kind: OutputKind) -> Figures {
        Figures::of(&self.data, &self.outputs, kind, &self.units)
    }
}

impl Evaluator {
    /// Evaluates on `test` and `validation`, whose targets are in `units` as those of `train` are, after every `every`
    /// epochs.
    pub(super) fn new(
        train: Arc<Dataset>,
        (validation, test): (Option<Arc<Dataset>>, Arc<Dataset>),
        units: Units,
        workspace: Workspace,
        every: u32,
    ) -> Self {
        let baseline = Baseline::of(train.targets(), test.targets(), &units);
        let kind = OutputKind::of(workspace.model());
        let validation = validation.map(|data| Set::new(data, units.clone()));
        let test = Set::new(test, units);
        Self { train, test, validation, workspace, kind, every, last: None, baseline }
    }

    /// Whether there are samples by which to choose.
    pub(super) fn chooses(&self) -> bool {
        self.validation.is_some()
    }

    /// True if an evaluation is due after `epoch` (counted from 1) of `epochs`: the last is always evaluated.
    pub(super) fn is_due(&self, epoch: u64, epochs: u32) -> bool {
        epoch == u64::from(epochs) || epoch.is_multiple_of(u64::from(self.every))
    }

    /// Evaluates the parameters after `epoch`.
    ///
    /// # Errors
    /// Exit code 3, if the network does not fit the samples.
    pub(super) fn evaluate(&mut self, epoch: u64, params: &[f32]) -> Result<Evaluated, Failure> {
        let (workspace, kind) = (&mut self.workspace, self.kind);
        let validation =
            self.validation.as_mut().map(|set| set.results(workspace, params, kind)).transpose()?;
        let test = self.test.results(workspace, params, kind)?;
        self.last = Some((epoch, test.evaluation));
        Ok(Evaluated { test, validation })
    }

    /// Evaluates other parameters than those of the run's model, and remembers nothing.
    ///
    /// # Errors
    /// As for [`Evaluator::evaluate`].
    pub(super) fn aside(&mut self, params: &[f32]) -> Result<Aside, Failure> {
        let workspace = &mut self.workspace;
        let mut on = |set: &Set| workspace.evaluate(params, &set.data).map_err(Failure::data);
        let validation = self.validation.as_ref().map(&mut on).transpose()?;
        Ok(Aside { test: on(&self.test)?, validation })
    }

    /// The reports on `params`, the parameters at the end of the run; `epoch` if they are those after a whole epoch. Those
    /// that were evaluated last are not evaluated again.
    ///
    /// # Errors
    /// As for [`Evaluator::evaluate`].
    pub(super) fn report(&mut self, epoch: u64, whole: bool, params: &[f32]) -> Result<Reports, Failure> {
        let evaluated = whole && self.last.is_some_and(|(evaluated, _)| evaluated == epoch);
        // A result from the log of the run before its resumption has no outputs.
        if !evaluated || self.test.outputs.is_empty() {
            self.evaluate(epoch, params)?;
        }
        let validation = match &mut self.validation {
            None => None,
            Some(set) => {
                let evaluation = set.evaluate(&mut self.workspace, params)?;
                Some((evaluation, set.report(self.kind)))
            }
        };
        Ok(Reports { test: self.test.report(self.kind), validation })
    }

    /// The samples that a user should look at, those by which the run chooses if there are any, and the outputs for them in the last
    /// evaluation, row-major; `None` before the first.
    pub(super) fn outputs(&self) -> Option<(&Arc<Dataset>, &[f32])> {
        let set = self.validation.as_ref().unwrap_or(&self.test);
        (!set.outputs.is_empty()).then_some((&set.data, &*set.outputs))
    }

    /// Takes up a result from the log, a line of which is an epoch.
    pub(super) fn recall(&mut self, epoch: u64, line: &Value) {
        if let Some(loss) = line["test_loss"].as_f64() {
            let samples = self.test.data.len();
            let correct = correct(line, "test_accuracy", samples);
            self.last = Some((epoch, Evaluation { samples, loss, correct }));
        }
    }

    /// The dead units of each hidden layer, on up to `most` training samples; none if that cannot be said.
    pub(super) fn dead_units(&mut self, params: &[f32], most: usize) -> Vec<usize> {
        let chosen = evenly(self.train.len(), most);
        self.workspace.dead_units(params, &self.train, &chosen).unwrap_or_default()
    }

    /// The last result on the test samples.
    pub(super) fn last(&self) -> Option<Evaluation> {
        self.last.map(|(_, evaluation)| evaluation)
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
pub(super) fn validation(epoch: u64, result: &Evaluation) -> Validation {
    Validation { epoch, samples: result.samples, correct: result.correct, loss: result.loss }
}
