//! Within a life of the coordinator, steps never go back, and none is skipped.

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct StepOrder {
    reported: u64,
    done: u64,
}

impl Invariant for StepOrder {
    fn name(&self) -> &'static str {
        "steps never go back"
    }

    fn see(&mut self, _: &Run, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Born { step, .. } => (self.reported, self.done) = (*step, *step),
            Fact::Stepped(report) => {
                if report.step.0 != self.reported {
                    return Err(format!(
                        "step {} is reported, but step {} was due",
                        report.step.0, self.reported
                    ));
                }
                self.reported += 1;
            }
            Fact::Handled { steps_done, .. } => {
                if *steps_done < self.done || *steps_done != self.reported {
                    return Err(format!(
                        "{steps_done} steps are done; {} were before, and {} have been reported",
                        self.done, self.reported
                    ));
                }
                self.done = *steps_done;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use super::{born, objects, report};
    let at = |steps_done| Fact::Handled { steps_done, weights: String::new() };
    assert!(!objects(StepOrder::default(), &[at(0), report(0, 12), at(1), report(1, 12), at(2)]));
    assert!(objects(StepOrder::default(), &[at(0), report(0, 12), at(1), report(0, 12)]));
    assert!(objects(StepOrder::default(), &[at(0), report(1, 12)]));
    assert!(objects(StepOrder::default(), &[at(0), report(0, 12), at(1), at(0)]));
    assert!(objects(StepOrder::default(), &[at(0), at(1)]));
    assert!(!objects(StepOrder::default(), &[at(0), report(0, 12), at(1), born(2, 0), report(0, 12), at(1)]));
    assert!(objects(StepOrder::default(), &[at(0), report(0, 12), at(1), born(2, 0), report(1, 12)]));
}
