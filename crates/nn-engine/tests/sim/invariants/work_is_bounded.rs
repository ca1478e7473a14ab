//! Work is reissued only for a reason: never a node that has been counted, and never twice to the same worker, unless
//! its contribution was malformed.

use std::collections::{HashMap, HashSet};

use nn_core::Node;
use nn_engine::{Part, WorkerId};

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct WorkIsBounded {
    /// How often each worker has been assigned each node of the step.
    given: HashMap<(WorkerId, Node), u64>,
    counted: HashSet<(usize, u32)>,
    delivered: Option<WorkerId>,
    /// Malformed contributions of each worker in the run.
    malformed: HashMap<WorkerId, u64>,
}

impl Invariant for WorkIsBounded {
    fn name(&self) -> &'static str {
        "work is reissued only for a reason"
    }

    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String> {
        let layers = run.manifest.pieces().len();
        match fact {
            Fact::Born { .. } => {
                self.given.clear();
                self.counted.clear();
            }
            Fact::Garbled { worker } => self.delivered = Some(*worker),
            Fact::Delivered(delivery) => self.delivered = Some(delivery.worker),
            Fact::Rejected { malformed: true } => {
                *self.malformed.entry(self.delivered.ok_or("nothing was delivered")?).or_default() += 1;
            }
            Fact::Counted { step, node, part, .. } => {
                for leaf in run.manifest.tree(step.0).leaves_of(*node) {
                    let all = (0..layers).filter(|&l| *part == Part::All || *part == Part::Layer(l as u32));
                    self.counted.extend(all.map(|layer| (layer, leaf)));
                }
            }
            Fact::Stepped(_) => {
                self.given.clear();
                self.counted.clear();
            }
            Fact::Assigned { worker, step, node } => {
                let mut leaves = run.manifest.tree(step.0).leaves_of(*node);
                if leaves.all(|leaf| (0..layers).all(|layer| self.counted.contains(&(layer, leaf)))) {
                    return Err(format!(
                        "{node:?} is assigned to worker {} after it has been counted",
                        worker.0
                    ));
                }
                let given = self.given.entry((*worker, *node)).or_default();
                *given += 1;
                if *given > 1 + self.malformed.get(worker).copied().unwrap_or_default() {
                    return Err(format!("{node:?} is assigned to worker {} {given} times", worker.0));
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
    use nn_engine::Step;

    use super::{counted, objects, report};
    let given = |step, worker, index| Fact::Assigned {
        worker: WorkerId(worker),
        step: Step(step),
        node: Node { level: 0, index },
    };
    assert!(!objects(
        WorkIsBounded::default(),
        &[given(0, 1, 0), given(0, 2, 0), report(0, 12), given(1, 1, 0)]
    ));
    assert!(objects(WorkIsBounded::default(), &[given(0, 1, 0), given(0, 1, 0)]));
    assert!(objects(WorkIsBounded::default(), &[counted(0, 1, 0, Part::All), given(0, 1, 1)]));
    assert!(!objects(WorkIsBounded::default(), &[counted(0, 1, 0, Part::Layer(1)), given(0, 1, 1)]));
}
