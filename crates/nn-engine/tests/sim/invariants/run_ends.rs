//! After the faults stop, the run ends, exactly once, and every connected worker is told.

use std::collections::HashSet;

use nn_engine::WorkerId;

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct RunEnds {
    finished: bool,
    told: HashSet<WorkerId>,
}

impl Invariant for RunEnds {
    fn name(&self) -> &'static str {
        "after the faults stop, the run ends"
    }

    fn see(&mut self, _: &Run, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Told { worker } => {
                self.told.insert(*worker);
            }
            Fact::Finished { .. } if self.finished => return Err("the run ends twice".to_owned()),
            Fact::Finished { .. } => self.finished = true,
            Fact::End { .. } if !self.finished => return Err("the run does not end".to_owned()),
            Fact::End { connected } => {
                if let Some(worker) = connected.iter().find(|worker| !self.told.contains(worker)) {
                    return Err(format!("worker {} is not told that the run has ended", worker.0));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use nn_engine::Outcome;

    use super::objects;
    let finished = Fact::Finished { outcome: Outcome::Complete, weights: String::new() };
    let told = |worker| Fact::Told { worker: WorkerId(worker) };
    let end = Fact::End { connected: vec![WorkerId(1), WorkerId(2)] };
    assert!(!objects(RunEnds::default(), &[told(1), told(2), finished.clone(), end.clone()]));
    assert!(objects(RunEnds::default(), &[told(1), finished.clone(), end.clone()]));
    assert!(objects(RunEnds::default(), &[told(1), told(2), end]));
    assert!(objects(RunEnds::default(), &[finished.clone(), finished]));
}
