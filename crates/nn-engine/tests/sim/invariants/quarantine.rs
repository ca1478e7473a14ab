//! An excluded member has deserved it, and gets no more nodes, however often it dials.

use std::collections::{HashMap, HashSet};

use nn_engine::{Member, WorkerId};

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    members: HashMap<WorkerId, Member>,
    /// Members excluded in this life of the coordinator.
    banned: HashSet<Member>,
    /// Members that have ever sent tampered contributions.
    liars: HashSet<Member>,
}

impl Invariant for Quarantine {
    fn name(&self) -> &'static str {
        "quarantine is deserved, and holds"
    }

    fn see(&mut self, _: &Run, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Born { .. } => self.banned.clear(),
            Fact::Met { worker, member } => {
                self.members.insert(*worker, *member);
            }
            Fact::Delivered(sent) if sent.tampered => {
                self.liars.extend(self.members.get(&sent.worker));
            }
            Fact::Banned { worker, lied } => {
                let member = self.members.get(worker).ok_or("an unknown worker is excluded")?;
                if *lied && !self.liars.contains(member) {
                    return Err(format!("worker {} is excluded, but has done nothing wrong", worker.0));
                }
                self.banned.insert(*member);
            }
            Fact::Assigned { worker, node, .. }
                if self.members.get(worker).is_some_and(|member| self.banned.contains(member)) =>
            {
                return Err(format!("worker {} is excluded, but gets {node:?}", worker.0));
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
    use nn_engine::{Generation, Part, Step};

    use super::{Delivery, born, objects};
    let node = Node { level: 0, index: 0 };
    let met = |worker| Fact::Met { worker: WorkerId(worker), member: Member(7) };
    let banned = |lied| Fact::Banned { worker: WorkerId(1), lied };
    let given = |worker| Fact::Assigned { worker: WorkerId(worker), step: Step(0), node };
    let sent = |tampered| {
        Fact::Delivered(Delivery {
            worker: WorkerId(1),
            generation: Generation(1),
            step: Step(0),
            node,
            part: Part::All,
            computed_with: String::new(),
            tampered,
            gone: false,
        })
    };
    let objects = |facts: &[Fact]| objects(Quarantine::default(), facts);
    assert!(!objects(&[met(1), given(1), sent(true), banned(true), met(2), born(2, 0), given(2)]));
    assert!(objects(&[met(1), sent(true), banned(true), met(2), given(2)]));
    assert!(objects(&[met(1), banned(false), given(1)]));
    assert!(objects(&[met(1), sent(false), banned(true)]));
    assert!(objects(&[banned(false)]));
}
