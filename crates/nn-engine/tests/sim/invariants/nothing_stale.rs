//! Nothing stale reaches the optimizer: a contribution that counts comes from a worker of the run, untampered, for this
//! generation and step, computed with exactly the weights of that step. One that does not count changes no weights.

use nn_engine::{Generation, Part};

use super::{Delivery, Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct NothingStale {
    delivered: Option<Delivery>,
    /// Contributions of this step that were neither counted nor refused, if there are audits.
    held: Vec<Delivery>,
    audits: bool,
    /// Whether the latest delivery was counted, and whether it was refused.
    counted: bool,
    rejected: bool,
    /// Whether anything has counted since the engine last handled an event.
    moved: bool,
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
            Fact::Born { generation, step, weights, audits } => {
                *self = Self {
                    audits: *audits,
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
                let named = |sent: &&Delivery| {
                    (sent.worker, sent.step, sent.node) == (*worker, *step, *node)
                        && (sent.part == Part::All || sent.part == *part)
                };
                let own = self.delivered.as_ref().filter(named);
                self.counted |= own.is_some();
                // A worker that gets a node again sends all of it again, so the latest one counts.
                let Some(sent) = own.or_else(|| self.held.iter().rev().find(named)) else {
                    return Err(format!(
                        "{fact:?} counts because of {:?}, which does not match",
                        self.delivered
                    ));
                };
                // The worker of a held contribution may have gone meanwhile; the contribution is still good.
                let fresh = sent.generation == self.generation && step.0 == self.done && !sent.gone;
                let right = sent.computed_with == run.hashes[step.0 as usize] && !sent.tampered;
                if !(fresh && right) {
                    return Err(format!("{fact:?} counts at step {} because of {sent:?}", self.done));
                }
                self.moved = true;
            }
            Fact::Handled { steps_done, weights } => {
                if !self.moved && self.weights != *weights && !self.weights.is_empty() {
                    return Err(format!("the weights have changed after {:?}", self.delivered));
                }
                match self.delivered.take() {
                    Some(sent) if self.audits && !self.rejected => self.held.push(sent),
                    Some(sent) if self.counted == self.rejected => {
                        return Err(format!("counted: {0}, rejected: {0}: {sent:?}", self.counted));
                    }
                    _ => {}
                }
                if *steps_done != self.done {
                    self.held.clear();
                }
                self.moved = false;
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
    // With audits it may count later, or never, under the same conditions.
    let Fact::Born { generation, step, weights, .. } = born(1, 0) else { unreachable!() };
    let born = Fact::Born { generation, step, weights: weights.clone(), audits: true };
    let at = |weights: &str| Fact::Handled { steps_done: 0, weights: weights.to_owned() };
    let later = |delivery| {
        let facts = [born.clone(), Fact::Delivered(delivery), at(&weights), counted(0, 0, 0, Part::Layer(1))];
        !objects(NothingStale::default(), &facts)
    };
    assert!(later(right.clone()) && !later(Delivery { tampered: true, ..right.clone() }));
    let at = |weights: &str| Fact::Handled { steps_done: 0, weights: weights.to_owned() };
    assert!(objects(NothingStale::default(), &[at("a"), Fact::Delivered(right.clone()), at("a")]));
    assert!(objects(
        NothingStale::default(),
        &[at("a"), Fact::Delivered(right), Fact::Rejected { malformed: true }, at("b")]
    ));
}
