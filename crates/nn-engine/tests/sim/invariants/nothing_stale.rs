//! Nothing stale reaches the optimizer: what counts was sent by a worker of the run, as computed, for this generation
//! and step, from exactly the weights of that step. What does not count leaves the weights alone.

use nn_engine::{Generation, Part};

use super::{Delivery, Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct NothingStale {
    delivered: Option<Delivery>,
    counted: bool,
    rejected: bool,
    generation: Generation,
    done: u64,
    weights: String,
}

impl Invariant for NothingStale {
    fn name(&self) -> &'static str {
        "nothing stale reaches the optimizer"
    }

    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Born { generation, step, weights } => {
                *self = Self {
                    generation: *generation,
                    done: *step,
                    weights: weights.clone(),
                    ..Self::default()
                };
            }
            Fact::Delivered(delivery) => {
                self.delivered = Some(delivery.clone());
                (self.counted, self.rejected) = (false, false);
            }
            Fact::Rejected { .. } => self.rejected = true,
            Fact::Counted { worker, step, node, part } => {
                let Some(sent) = &self.delivered else {
                    return Err("something counts that nobody has sent".to_owned());
                };
                let named = (sent.worker, sent.step, sent.node) == (*worker, *step, *node)
                    && (sent.part == Part::All || sent.part == *part);
                let fresh = sent.generation == self.generation && step.0 == self.done && !sent.gone;
                let right = sent.computed_with == run.hashes[step.0 as usize] && !sent.tampered;
                if !(named && fresh && right) {
                    return Err(format!("{fact:?} counts at step {}, because of {sent:?}", self.done));
                }
                self.counted = true;
            }
            Fact::Handled { steps_done, weights } => {
                if let Some(sent) = &self.delivered
                    && self.counted == self.rejected
                {
                    return Err(format!("counted: {0}, rejected: {0}: {sent:?}", self.counted));
                }
                if !self.counted && self.weights != *weights && !self.weights.is_empty() {
                    return Err(format!("the weights have changed after {:?}", self.delivered));
                }
                self.delivered = None;
                self.counted = false;
                self.done = *steps_done;
                self.weights.clone_from(weights);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use nn_core::Node;
    use nn_engine::{Step, WorkerId};

    use super::{born, counted, objects};
    let right = Delivery {
        worker: WorkerId(1),
        generation: Generation(1),
        step: Step(0),
        node: Node { level: 0, index: 0 },
        part: Part::All,
        computed_with: crate::runs::runs()[0].hashes[0].clone(),
        tampered: false,
        gone: false,
    };
    let counts = |delivery: Delivery| {
        let facts = [born(1, 0), Fact::Delivered(delivery), counted(0, 0, 0, Part::Layer(1))];
        !objects(NothingStale::default(), &facts)
    };
    assert!(counts(right.clone()));
    assert!(!counts(Delivery { worker: WorkerId(2), ..right.clone() }));
    assert!(!counts(Delivery { generation: Generation(0), ..right.clone() }));
    assert!(!counts(Delivery { step: Step(1), ..right.clone() }));
    assert!(!counts(Delivery { node: Node { level: 1, index: 0 }, ..right.clone() }));
    assert!(!counts(Delivery { part: Part::Layer(0), ..right.clone() }));
    assert!(!counts(Delivery { computed_with: "old".to_owned(), ..right.clone() }));
    assert!(!counts(Delivery { tampered: true, ..right.clone() }));
    assert!(!counts(Delivery { gone: true, ..right.clone() }));
    let later = [born(2, 0), Fact::Delivered(right.clone()), counted(0, 0, 0, Part::Layer(1))];
    assert!(objects(NothingStale::default(), &later));
    let at = |weights: &str| Fact::Handled { steps_done: 0, weights: weights.to_owned() };
    assert!(objects(NothingStale::default(), &[at("a"), Fact::Delivered(right.clone()), at("a")]));
    assert!(objects(
        NothingStale::default(),
        &[at("a"), Fact::Delivered(right), Fact::Rejected { malformed: true }, at("b")]
    ));
}
