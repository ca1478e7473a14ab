//! Audits: two workers compute some of the nodes, which count only if both give the same bits.
//!
//! A node has the same bits on every worker. If two workers differ, one of them computes wrongly, and a third tells
//! which. Until then the node is held, and with it the step: wrong numbers never reach the weights. Which nodes are
//! audited is addressed by (seed, step, node), not drawn. Audits guard against bad memory and broken processors. An
//! attacker who knows the seed knows which nodes are safe to falsify, unless all nodes are audited.

use std::time::Duration;

use nn_core::Node;
use sha2::{Digest, Sha256};

use super::Engine;
use super::handle::Change;
use super::ids::{Member, Step, WorkerId};
use super::protocol::{Action, Contribution, Release};
use super::trial::{Testified, Trial};

impl Engine {
    /// Whether two workers have to compute this node.
    fn is_audited(&self, node: Node) -> bool {
        if self.cluster.audit <= 0.0 {
            return false;
        }
        let mut hash = Sha256::new();
        hash.update(b"nn audit 1");
        for word in [self.manifest.recipe().seed, self.step, node.level.into(), node.index.into()] {
            hash.update(word.to_le_bytes());
        }
        let word = hash.finalize().iter().take(8).fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
        word as f64 / 2_f64.powi(64) < self.cluster.audit
    }

    /// Whether contributions to this node are held.
    pub(super) fn is_on_trial(&self, node: Node) -> bool {
        if self.round.trials.iter().any(|trial| trial.node == node) {
            return true;
        }
        let several = self.cluster.min_workers > 1 || self.workers.active().nth(1).is_some();
        several && self.is_audited(node) && !self.reduction.touches(node)
    }

    /// Holds a checked contribution to a node on trial. `done` if it was the worker's last for this node.
    pub(super) fn testify(
        &mut self,
        now: Duration,
        c: Contribution,
        done: bool,
        actions: &mut Vec<Action>,
    ) -> Change {
        let Some(member) = self.workers.get(c.worker).map(|worker| worker.member) else {
            return Change::None;
        };
        let trials = &mut self.round.trials;
        let at = trials.iter().position(|trial| trial.node == c.node).unwrap_or_else(|| {
            trials.push(Trial::new(c.node));
            trials.len() - 1
        });
        match trials[at].testify(member, c, done) {
            Some(truth) => self.decide(now, at, truth, actions),
            None => Change::when(done),
        }
    }

    /// Ends a trial: the true result counts, and members that testified to another are quarantined.
    fn decide(&mut self, now: Duration, at: usize, truth: Testified, actions: &mut Vec<Action>) -> Change {
        let trial = self.round.trials.swap_remove(at);
        let (step, node) = (Step(self.step), trial.node);
        let mut right = None;
        for testimony in trial.into_testimonies() {
            match testimony.digest {
                Some(digest) if digest != truth => {
                    let reason = Release::Disproved { step, node };
                    self.quarantine_member(now, testimony.worker, testimony.member, reason, actions);
                }
                Some(_) if right.is_none() => right = Some(testimony.parts),
                _ => {}
            }
        }
        // Some of its leaves may have been counted meanwhile, in smaller nodes: then the rest is planned again.
        if !self.reduction.touches(node) {
            // The last layer comes first, as everywhere.
            for part in right.into_iter().flatten().rev() {
                if self.take_in(now, part, actions) == Change::Made {
                    break;
                }
            }
        }
        Change::Made
    }

    /// Ends a trial that has one testimony, if no other worker can give a second one and `min_workers` allows the run to
    /// rely on one worker.
    pub(super) fn believe_lone_worker(&mut self, now: Duration, actions: &mut Vec<Action>) -> Change {
        if self.cluster.min_workers > 1 || self.workers.count() == 0 {
            return Change::None;
        }
        let unopposed = |trial: &Trial| {
            let only = trial.only_testimony()?;
            let mut able = self.workers.iter().filter(|(_, worker)| worker.is_ready());
            able.all(|(_, worker)| trial.has_heard(worker.member)).then_some(only)
        };
        let mut trials = self.round.trials.iter().enumerate();
        match trials.find_map(|(at, trial)| Some((at, unopposed(trial)?))) {
            Some((at, truth)) => self.decide(now, at, truth, actions),
            None => Change::None,
        }
    }

    /// Assigns nodes on trial to workers that have not testified about them.
    pub(super) fn call_witnesses(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let reduction = &self.reduction;
        self.round.trials.retain(|trial| !reduction.touches(trial.node));
        let (mut any, mut stuck) = (false, false);
        let mut at = 0;
        while let Some(trial) = self.round.trials.get(at) {
            if !trial.has_testimony() || self.is_witness_expected(trial) {
                at += 1;
                continue;
            }
            let node = trial.node;
            let others = self.possible_witnesses(trial);
            if let Some(&idle) = others.iter().find(|id| !self.round.issues.is_busy(**id)) {
                self.issue_nodes(now, idle, &[node], actions);
                any = true;
            } else if self.workers.any_joining() {
                // The busy workers may never finish. Admit those that have joined, and try this node again.
                self.admit(actions);
                continue;
            } else {
                stuck |= others.is_empty();
            }
            at += 1;
        }
        if any {
            self.round.attempts += 1;
        }
        self.wait_for_witnesses(now, stuck, actions);
    }

    /// Whether a worker that has not testified about the node is computing it.
    fn is_witness_expected(&self, trial: &Trial) -> bool {
        self.round.issues.pending().filter(|issue| issue.node == trial.node).any(|issue| {
            let member = self.workers.get(issue.worker).map(|worker| worker.member);
            member.is_some_and(|member| !trial.has_heard(member))
        })
    }

    /// The active workers that have neither testified about the node nor been asked to.
    fn possible_witnesses(&self, trial: &Trial) -> Vec<WorkerId> {
        let asked = |id: WorkerId| {
            let issue = self.round.issues.find(id, trial.node);
            issue.is_some_and(|at| !self.round.issues.get(at).is_void())
        };
        let heard = |member: Member| trial.has_heard(member);
        let active = self.workers.active();
        active.filter(|(id, worker)| !heard(worker.member) && !asked(*id)).map(|(id, _)| id).collect()
    }

    /// Pauses the run if a trial needs one more worker and no worker is computing: while one is, there is no hurry.
    fn wait_for_witnesses(&mut self, now: Duration, stuck: bool, actions: &mut Vec<Action>) {
        let idle = self.round.issues.pending().next().is_none();
        if stuck && idle {
            self.round.deadlock = true;
            self.pause(now, actions);
        } else if self.round.deadlock {
            (self.round.deadlock, self.round.paused) = (false, None);
        }
    }
}
