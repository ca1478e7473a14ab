//! Audits: some nodes are computed by two workers, and count only when both give the same bits.
//!
//! Whoever computes a node, its bits are the same; so two workers that differ are proof that one of them computes wrongly,
//! and a third tells which. Until then the node is held back, and with it the step: what is wrong never gets into the
//! weights. Which nodes are audited is addressed by (seed, step, node), not drawn. It guards against bad memory and broken
//! processors; one who knows the seed and means harm knows when nobody looks, unless all nodes are audited.

use std::time::Duration;

use nn_core::Node;
use sha2::{Digest, Sha256};

use super::Engine;
use super::protocol::{Action, Contribution, Member, Part, Release, Step, Values, WorkerId};
use super::state::{Progress, Standing};

/// A node that is held back until two have said the same.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) node: Node,
    testimonies: Vec<Testimony>,
}

/// What one worker says that a node is.
#[derive(Debug)]
struct Testimony {
    worker: WorkerId,
    member: Member,
    parts: Vec<Contribution>,
    /// Once it is complete.
    digest: Option<[u8; 32]>,
}

impl Testimony {
    /// The hash of all numbers, layer by layer, however they came.
    fn seal(&mut self) {
        // In this order they are what comes all at once from others.
        self.parts.sort_by_key(|part| part.part);
        let mut hash = Sha256::new();
        for part in &self.parts {
            match &part.values {
                Values::Own(values) => values.iter().for_each(|x| hash.update(x.to_le_bytes())),
                Values::Received(received) => received.pieces().iter().for_each(|piece| hash.update(piece)),
            }
        }
        // One is usual; were more passed over here, another one than this could count.
        for stats in self.parts.iter().filter_map(|part| part.stats) {
            hash.update(stats.loss.to_bits().to_le_bytes());
            hash.update((stats.correct as u64).to_le_bytes());
        }
        self.digest = Some(hash.finalize().into());
    }
}

impl Trial {
    fn sealed(&self) -> impl Iterator<Item = &Testimony> {
        self.testimonies.iter().filter(|testimony| testimony.digest.is_some())
    }

    /// Whether somebody has said all that there is to say.
    pub(super) fn has_testimony(&self) -> bool {
        self.sealed().next().is_some()
    }

    fn has_heard(&self, member: Member) -> bool {
        self.sealed().any(|testimony| testimony.member == member)
    }

    /// Whether this worker has said that before, or its member has said all, on whatever connection: who dials again is
    /// no second witness.
    pub(super) fn knows(&self, worker: WorkerId, member: Member, part: Part) -> bool {
        if self.has_heard(member) {
            return true;
        }
        let own = self.testimonies.iter().filter(|testimony| testimony.worker == worker);
        own.flat_map(|testimony| &testimony.parts).any(|said| said.part == part || said.part == Part::All)
    }

    /// What is gone with a worker: all that it has not finished saying.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.testimonies.retain(|testimony| testimony.worker != worker || testimony.digest.is_some());
    }

    /// What two have said alike.
    fn verdict(&self) -> Option<[u8; 32]> {
        let said = |digest| self.sealed().filter(|testimony| testimony.digest == digest).count();
        self.sealed().map(|testimony| testimony.digest).find(|&digest| said(digest) > 1).flatten()
    }
}

impl Engine {
    /// Whether a node is among those that are computed twice.
    fn is_audited(&self, node: Node) -> bool {
        if self.cluster.audit <= 0.0 {
            return false;
        }
        let mut hash = Sha256::new();
        hash.update(b"nn audit 1");
        for word in [self.manifest.parts().seed, self.step, node.level.into(), node.index.into()] {
            hash.update(word.to_le_bytes());
        }
        let word = hash.finalize().iter().take(8).fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
        word as f64 / 2_f64.powi(64) < self.cluster.audit
    }

    /// Whether what comes of a node is held back.
    pub(super) fn is_tried(&self, node: Node) -> bool {
        if self.round.trials.iter().any(|trial| trial.node == node) {
            return true;
        }
        let several = self.cluster.min_workers > 1 || self.workers.active().nth(1).is_some();
        several && self.is_audited(node) && !self.reduction.touches(node)
    }

    /// Keeps a checked contribution to a node that is tried. `done` if it was the last one of its worker.
    pub(super) fn testify(&mut self, now: Duration, c: Contribution, done: bool, actions: &mut Vec<Action>) {
        let (node, worker) = (c.node, c.worker);
        let Some(member) = self.workers.get(worker).map(|worker| worker.member) else { return };
        let trials = &mut self.round.trials;
        let at = trials.iter().position(|trial| trial.node == node).unwrap_or_else(|| {
            trials.push(Trial { node, testimonies: Vec::new() });
            trials.len() - 1
        });
        let trial = &mut trials[at];
        let own = trial.testimonies.iter().position(|testimony| testimony.worker == worker);
        let own = own.unwrap_or_else(|| {
            trial.testimonies.push(Testimony { worker, member, parts: Vec::new(), digest: None });
            trial.testimonies.len() - 1
        });
        let parts = &mut trial.testimonies[own].parts;
        if c.part == Part::All {
            parts.clear();
        }
        parts.push(c);
        if !done {
            return;
        }
        trial.testimonies[own].seal();
        match trial.verdict() {
            Some(digest) => self.decide(now, at, digest, actions),
            None => self.settle(now, actions),
        }
    }

    /// Counts what was found to be right, and sends those away who have said something else.
    fn decide(&mut self, now: Duration, at: usize, truth: [u8; 32], actions: &mut Vec<Action>) {
        let Trial { node, testimonies } = self.round.trials.swap_remove(at);
        let step = Step(self.step);
        let mut right = None;
        for testimony in testimonies {
            match testimony.digest {
                Some(digest) if digest != truth => {
                    let reason = Release::Disproved { step, node };
                    self.quarantine_member(now, testimony.worker, testimony.member, reason, actions);
                }
                Some(_) if right.is_none() => right = Some(testimony.parts),
                _ => {}
            }
        }
        // Parts of it may have come to count in smaller nodes meanwhile: then the rest is planned anew.
        if !self.reduction.touches(node) {
            // The last layer first, as ever.
            for part in right.into_iter().flatten().rev() {
                if self.take_in(now, part, actions) {
                    break;
                }
            }
        }
        self.settle(now, actions);
    }

    /// Believes a worker that is alone, if one is enough to go on. True if that has brought the run further. It comes
    /// before anybody is let into the step, because the step may end with it.
    pub(super) fn believe(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        if self.cluster.min_workers > 1 || self.workers.count() == 0 {
            return false;
        }
        let alone = |trial: &Trial| {
            let digest = trial.sealed().next()?.digest;
            let more = trial.sealed().nth(1).is_some();
            let mut able = self.workers.iter().filter(|(_, w)| !matches!(w.standing, Standing::Late { .. }));
            (!more && !able.any(|(_, worker)| !trial.has_heard(worker.member))).then_some(digest).flatten()
        };
        let found = self.round.trials.iter().enumerate().find_map(|(at, trial)| Some((at, alone(trial)?)));
        if let Some((at, digest)) = found {
            self.decide(now, at, digest, actions);
        }
        found.is_some()
    }

    /// Has what is tried computed once more, by workers that have not said anything about it.
    pub(super) fn call_witnesses(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let reduction = &self.reduction;
        self.round.trials.retain(|trial| !reduction.touches(trial.node));
        let (mut any, mut stuck) = (false, false);
        let mut at = 0;
        while at < self.round.trials.len() {
            let trial = &self.round.trials[at];
            let (node, heard) = (trial.node, trial.sealed().count());
            at += 1;
            let asked = |id: WorkerId| {
                let at = self.round.find(id, node);
                at.is_some_and(|at| self.round.issues[at].progress != Progress::Void)
            };
            let fit = |(id, member): &(WorkerId, Member)| !trial.has_heard(*member) && !asked(*id);
            let expected = self.round.issues.iter().any(|issue| {
                let member = self.workers.get(issue.worker).map(|worker| worker.member);
                issue.node == node && issue.is_pending() && member.is_some_and(|m| !trial.has_heard(m))
            });
            if heard == 0 || expected {
                continue;
            }
            let others: Vec<(WorkerId, Member)> =
                self.workers.active().map(|(id, worker)| (id, worker.member)).filter(fit).collect();
            if let Some(&(idle, _)) = others.iter().find(|(id, _)| !self.round.is_busy(*id)) {
                self.issue_nodes(now, idle, &[node], actions);
                any = true;
            } else if self.workers.iter().any(|(_, worker)| worker.standing == Standing::Joining) {
                // Whoever is busy may be so for ever.
                self.admit(actions);
                at -= 1;
            } else {
                stuck |= others.is_empty();
            }
        }
        if any {
            self.round.attempts += 1;
        }
        // One more worker is needed to go on; but there is no hurry while others are at work.
        let idle = !self.round.issues.iter().any(super::state::Issue::is_pending);
        if stuck && idle {
            self.round.deadlock = true;
            self.pause(now, actions);
        } else if self.round.deadlock {
            (self.round.deadlock, self.round.paused) = (false, None);
        }
    }
}
