//! The reports of a step and an epoch, in any life, are those of one machine, to the last bit.

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug)]
pub(super) struct SameReports;

impl Invariant for SameReports {
    fn name(&self) -> &'static str {
        "the reports of steps and epochs are those of one machine"
    }

    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Stepped(report) if run.steps.get(report.step.0 as usize) != Some(report) => Err(format!(
                "the report is {report:?}, but one machine reports {:?}",
                run.steps.get(report.step.0 as usize)
            )),
            Fact::Epoch(report) if run.epochs.get(report.epoch as usize) != Some(report) => Err(format!(
                "the report is {report:?}, but one machine reports {:?}",
                run.epochs.get(report.epoch as usize)
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use nn_engine::{EpochReport, StepReport};

    use super::objects;
    let run = &crate::runs::runs()[0];
    let (step, epoch) = (run.steps[3], run.epochs[1]);
    assert!(!objects(SameReports, &[Fact::Stepped(step), Fact::Epoch(epoch)]));
    assert!(objects(SameReports, &[Fact::Stepped(StepReport { loss: step.loss + 1e-9, ..step })]));
    let another = EpochReport { correct: epoch.correct + 1, ..epoch };
    assert!(objects(SameReports, &[Fact::Epoch(another)]));
    assert!(objects(SameReports, &[Fact::Epoch(EpochReport { epoch: 99, ..epoch })]));
}
