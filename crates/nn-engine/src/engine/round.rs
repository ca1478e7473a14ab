//! The state of the step under way.

use std::time::Duration;

use nn_core::{Node, NodeStats};

use super::ids::{Attempt, WorkerId};
use super::issues::Issues;
use super::plan::Planner;
use super::reduce::LeafSet;
use super::trial::Trial;

/// Nodes that were assigned, nodes that are held for audit, and the time of the step under way.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Whether the step has begun.
    pub(super) begun: bool,
    pub(super) began: Duration,
    /// Since when the run has had too few workers.
    pub(super) paused: Option<Duration>,
    /// The first time that the run had too few workers since a contribution counted. Workers that join and leave again
    /// change nothing about it.
    pub(super) fruitless: Option<Duration>,
    /// The number of attempts so far.
    pub(super) attempts: u32,
    pub(super) issues: Issues,
    /// Nodes that were assigned again, in all steps.
    pub(super) reissued: u64,
    /// The earliest deadline, as far as it was known when it was computed.
    pub(super) next_due: Duration,
    /// Loss and counts of the whole mini-batch, once they are complete.
    pub(super) stats: Option<NodeStats>,
    /// Nodes that are held for audit.
    pub(super) trials: Vec<Trial>,
    /// Whether one of them needs one more worker.
    pub(super) deadlock: bool,
    /// The computing time that each worker has reported in this step.
    computed: Vec<(WorkerId, Duration)>,
    /// Scratch memory.
    pub(super) covered: LeafSet,
    /// Scratch memory.
    pub(super) nodes: Vec<Node>,
    pub(super) planner: Planner,
}

impl Round {
    /// Stops waiting for a worker.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.issues.forget(worker);
        for trial in &mut self.trials {
            trial.forget(worker);
        }
    }

    /// Assigns a node to a worker, in the current attempt.
    pub(super) fn assign(&mut self, worker: WorkerId, node: Node, now: Duration) {
        let again = self.issues.assign(worker, node, Attempt(self.attempts), now);
        if again {
            // The worker sends everything again.
            self.trials.iter_mut().filter(|trial| trial.node == node).for_each(|trial| trial.forget(worker));
        }
    }

    /// Adds to a worker's computing time.
    pub(super) fn computed(&mut self, worker: WorkerId, time: Duration) {
        if time.is_zero() {
            return;
        }
        match self.computed.iter_mut().find(|(id, _)| *id == worker) {
            Some((_, all)) => *all = all.saturating_add(time),
            None => self.computed.push((worker, time)),
        }
    }

    /// The time to transfer one node, measured over this step, which ends now. Whatever exceeds the slowest worker's
    /// computing time was spent on weights in one direction, on gradients in the other, and on everything around them.
    /// None if no worker has reported its computing time, or none but `own`, whose nodes do not travel.
    pub(super) fn transfer(&self, now: Duration, own: Option<WorkerId>) -> Option<Duration> {
        let slowest = self.computed.iter().map(|(_, time)| *time).max()?;
        let travelled = self.issues.indexed().filter(|(_, issue)| Some(issue.worker) != own).count();
        if travelled == 0 && own.is_some() {
            return None;
        }
        let nodes = u32::try_from(travelled).unwrap_or(u32::MAX).max(1);
        Some(now.saturating_sub(self.began).saturating_sub(slowest) / 2 / nodes)
    }

    /// Ends the step.
    pub(super) fn clear(&mut self) {
        self.computed.clear();
        self.issues.clear();
        self.trials.clear();
        self.deadlock = false;
        self.begun = false;
        self.attempts = 0;
        self.paused = None;
        self.fruitless = None;
        self.stats = None;
    }
}
