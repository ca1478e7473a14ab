//! What a run chooses by its validation samples: the best of its evaluations, and whether to end early.

use nn_engine::{EarlyStopping, EpochReport};

use crate::store::{BestSoFar, Validation};

/// The best evaluation so far. It is a function of the evaluations, so it is the same however often the run was
/// interrupted.
#[derive(Debug, Default)]
pub(super) struct Choice {
    rule: Option<EarlyStopping>,
    best: Option<BestSoFar>,
    /// The weights of the best evaluation. They are kept only for a run that ends with them.
    params: Option<Vec<f32>>,
    /// The epoch of the best evaluation.
    report: Option<EpochReport>,
}

impl Choice {
    /// A choice by this rule, with nothing to choose from yet.
    pub(super) fn new(rule: Option<EarlyStopping>) -> Self {
        Self { rule, ..Self::default() }
    }

    /// Takes up the choice of a run before its resumption, with the weights of the best checkpoint if that is the one.
    pub(super) fn recall(&mut self, best: Option<BestSoFar>, params: Option<Vec<f32>>) {
        (self.best, self.params) = (best, params.filter(|_| self.rule.is_some()));
    }

    /// Takes up the report of an epoch before the resumption.
    pub(super) fn recall_report(&mut self, report: &EpochReport) {
        if self.best.is_some_and(|best| best.result.epoch == report.epoch + 1) {
            self.report = Some(*report);
        }
    }

    /// Considers the result of an evaluation. True if it is the best so far.
    pub(super) fn consider(&mut self, result: Validation, report: &EpochReport, params: &[f32]) -> bool {
        if let Some(best) = &mut self.best
            && !(result.loss.is_finite() && result.is_better_than(&best.result))
        {
            best.since += 1;
            return false;
        }
        if !result.loss.is_finite() {
            return false;
        }
        self.best = Some(BestSoFar { result, since: 0 });
        self.report = Some(*report);
        if self.rule.is_some() {
            let kept = self.params.get_or_insert_default();
            kept.clear();
            kept.extend_from_slice(params);
        }
        true
    }

    /// The best evaluation so far.
    pub(super) fn best(&self) -> Option<BestSoFar> {
        self.best
    }

    /// The epoch of the best evaluation.
    pub(super) fn report(&self) -> Option<EpochReport> {
        self.report
    }

    /// The rule by which the run ends early, if it has one.
    pub(super) fn rule(&self) -> Option<EarlyStopping> {
        self.rule
    }

    /// Whether there were as many evaluations without improvement as end the run.
    pub(super) fn is_over(&self) -> bool {
        matches!((self.rule, self.best), (Some(rule), Some(best)) if best.since >= rule.evaluations)
    }

    /// The weights of the best evaluation, for a run that ends with them.
    pub(super) fn take_params(&mut self) -> Option<Vec<f32>> {
        self.params.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(choice: &mut Choice, epoch: u64, loss: f64) -> bool {
        let result = Validation { epoch, samples: 10, correct: 0, loss };
        let report =
            EpochReport { epoch: epoch - 1, steps: epoch, samples: 10, train_loss: loss, correct: 0 };
        choice.consider(result, &report, &[epoch as f32])
    }

    #[test]
    fn a_run_ends_after_so_many_evaluations_without_improvement() {
        let losses = [0.9, 0.5, f64::NAN, 0.4, 0.4, 0.6, 0.5, 0.1];
        let rule = Some(EarlyStopping { evaluations: 3, every_epochs: 1 });
        let mut choice = Choice::new(rule);
        let mut states = vec![(choice.best(), choice.is_over())];
        for (epoch, loss) in (1..).zip(losses) {
            let better = run(&mut choice, epoch, loss);
            assert_eq!(better, [1, 2, 4, 8].contains(&epoch), "{epoch}");
            assert_eq!(choice.is_over(), epoch == 7, "{epoch}");
            states.push((choice.best(), choice.is_over()));
        }
        assert_eq!((choice.report().unwrap().epoch, choice.take_params()), (7, Some(vec![8.0])));
        // Interrupted after any evaluation, it goes on as if nothing had happened.
        for done in 0..losses.len() {
            let mut resumed = Choice::new(rule);
            resumed.recall(states[done].0, Some(vec![0.0]));
            for (epoch, loss) in (1..).zip(losses).skip(done) {
                let _ = run(&mut resumed, epoch, loss);
                assert_eq!((resumed.best(), resumed.is_over()), states[epoch as usize], "{done}");
            }
        }
    }

    #[test]
    fn without_a_rule_a_run_never_ends_early_and_keeps_no_weights() {
        let mut choice = Choice::new(None);
        for epoch in 1..50 {
            assert_eq!(run(&mut choice, epoch, 1.0), epoch == 1);
        }
        assert_eq!((choice.is_over(), choice.best().unwrap().since, choice.take_params()), (false, 48, None));
    }
}
