//! Coordinator and workers hold the same weights of a step: those of one machine.

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug)]
pub(super) struct SameWeights;

impl Invariant for SameWeights {
    fn name(&self) -> &'static str {
        "all live workers hold the same weights at a step boundary"
    }

    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String> {
        let (who, step, weights) = match fact {
            Fact::Handled { steps_done, weights } => ("the coordinator".to_owned(), *steps_done, weights),
            Fact::Born { step, weights, .. } => ("the new coordinator".to_owned(), *step, weights),
            Fact::Holds { worker, step, weights } => (format!("worker {}", worker.0), step.0, weights),
            _ => return Ok(()),
        };
        match run.hashes.get(step as usize) {
            Some(hash) if hash == weights => Ok(()),
            Some(hash) => {
                Err(format!("{who} holds {weights} as the weights of step {step}, but they are {hash}"))
            }
            None => Err(format!("{who} holds weights of step {step}, which is beyond the run")),
        }
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use nn_engine::{Step, WorkerId};

    use super::objects;
    let hashes = &crate::runs::runs()[0].hashes;
    let holds = |step, weights: &str| Fact::Holds {
        worker: WorkerId(3),
        step: Step(step),
        weights: weights.to_owned(),
    };
    assert!(!objects(SameWeights, &[holds(3, &hashes[3])]));
    assert!(objects(SameWeights, &[holds(3, &hashes[2])]));
    assert!(objects(SameWeights, &[holds(hashes.len() as u64, &hashes[0])]));
    assert!(objects(SameWeights, &[Fact::Handled { steps_done: 1, weights: hashes[0].clone() }]));
}
