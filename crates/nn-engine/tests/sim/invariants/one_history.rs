//! All lives of the coordinator have one history: a life begins where an earlier one has been, and no step has two
//! outcomes.

use std::collections::HashMap;

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct OneHistory {
    /// The weights after each number of steps, in any life.
    weights: HashMap<u64, String>,
    generation: Option<u64>,
    /// The most steps that any life has done.
    done: u64,
}

impl OneHistory {
    fn tell(&mut self, steps: u64, weights: &str) -> Result<(), String> {
        let before = self.weights.entry(steps).or_insert_with(|| weights.to_owned());
        if before == weights {
            return Ok(());
        }
        Err(format!(
            "the weights after {steps} steps are {weights}, but in an earlier life they were {before}"
        ))
    }
}

impl Invariant for OneHistory {
    fn name(&self) -> &'static str {
        "all lives have one history"
    }

    fn see(&mut self, _: &Run, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Born { generation, step, weights, .. } => {
                if self.generation.is_some_and(|before| before >= generation.0) {
                    return Err(format!("generation {} follows {:?}", generation.0, self.generation));
                }
                if *step > self.done {
                    return Err(format!("a life begins at step {step}, which no earlier one has reached"));
                }
                if self.generation.is_some() && *step > 0 && !self.weights.contains_key(step) {
                    return Err(format!("a life begins at step {step}, where no earlier one has been"));
                }
                self.generation = Some(generation.0);
                self.tell(*step, weights)
            }
            Fact::Handled { steps_done, weights } => {
                // A later life may be behind an earlier one: only checkpoints last.
                self.done = *steps_done.max(&self.done);
                self.tell(*steps_done, weights)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use nn_engine::Generation;

    use super::objects;
    let born = |generation, step, weights: &str| Fact::Born {
        generation: Generation(generation),
        step,
        weights: weights.to_owned(),
        audits: false,
    };
    let at = |steps_done, weights: &str| Fact::Handled { steps_done, weights: weights.to_owned() };
    let first = [born(1, 0, "a"), at(0, "a"), at(1, "b"), at(2, "c")];
    let then = |more: &[Fact]| objects(OneHistory::default(), &[&first[..], more].concat());
    assert!(!then(&[born(2, 1, "b"), at(2, "c"), at(3, "d"), born(3, 0, "a")]));
    assert!(then(&[born(1, 1, "b")]));
    assert!(then(&[born(2, 1, "c")]));
    assert!(then(&[born(2, 3, "d")]));
    assert!(then(&[born(2, 1, "b"), at(2, "d")]));
}
