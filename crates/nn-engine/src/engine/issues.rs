//! The nodes that have been assigned in a step, and how far each worker is with each of them.

use std::time::Duration;

use nn_core::Node;

use super::ids::{Attempt, Part, WorkerId};

/// How far a worker is with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IssueState {
    /// The run waits for it.
    Pending,
    /// All its parts have arrived.
    Done,
    /// A part of it was malformed: the rest is welcome, but the run does not wait for it.
    Void,
}

/// A node that has been assigned to a worker in this step: one issue for each pair of both.
#[derive(Debug)]
pub(super) struct Issue {
    pub(super) worker: WorkerId,
    pub(super) node: Node,
    pub(super) attempt: Attempt,
    pub(super) since: Duration,
    state: IssueState,
    /// Layers that have arrived from this worker one by one.
    layers: Vec<u32>,
    stats: bool,
}

impl Issue {
    fn new(worker: WorkerId, node: Node, attempt: Attempt, since: Duration) -> Self {
        let state = IssueState::Pending;
        Self { worker, node, attempt, since, state, layers: Vec::new(), stats: false }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.state == IssueState::Pending
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == IssueState::Done
    }

    pub(super) fn is_void(&self) -> bool {
        self.state == IssueState::Void
    }

    /// Assigns the node to the same worker again.
    fn renew(&mut self, attempt: Attempt, since: Duration) {
        (self.attempt, self.since, self.state) = (attempt, since, IssueState::Pending);
        self.layers.clear();
        self.stats = false;
    }

    /// Notes that a part has arrived, whether or not it counts. True if the run waited for this part and no other.
    pub(super) fn arrived(&mut self, part: Part, stats: bool, layers: usize) -> bool {
        self.stats |= stats;
        let all = match part {
            Part::All => true,
            Part::Layer(layer) => {
                if !self.layers.contains(&layer) {
                    self.layers.push(layer);
                }
                self.layers.len() == layers
            }
        };
        if all && self.stats && self.is_pending() {
            self.state = IssueState::Done;
            return true;
        }
        false
    }
}

/// All issues of a step, in the order of assignment. An index stays valid until a worker is forgotten.
#[derive(Debug, Default)]
pub(super) struct Issues(Vec<Issue>);

impl Issues {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, index: usize) -> &Issue {
        &self.0[index]
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut Issue {
        &mut self.0[index]
    }

    /// All issues with their indices.
    pub(super) fn indexed(&self) -> impl Iterator<Item = (usize, &Issue)> {
        self.0.iter().enumerate()
    }

    /// The issues that the run waits for.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Issue> {
        self.0.iter().filter(|issue| issue.is_pending())
    }

    /// The issues that the run waits for from one worker.
    pub(super) fn pending_of(&self, worker: WorkerId) -> impl Iterator<Item = &Issue> {
        self.pending().filter(move |issue| issue.worker == worker)
    }

    /// The index of the issue of a worker and a node.
    pub(super) fn find(&self, worker: WorkerId, node: Node) -> Option<usize> {
        self.0.iter().position(|issue| issue.worker == worker && issue.node == node)
    }

    pub(super) fn is_busy(&self, worker: WorkerId) -> bool {
        self.pending_of(worker).next().is_some()
    }

    /// Whether a worker is idle and has not already delivered this node, which is then under audit.
    pub(super) fn can_help(&self, worker: WorkerId, node: Node) -> bool {
        !self.is_busy(worker) && self.find(worker, node).is_none_or(|at| !self.get(at).is_done())
    }

    /// Whether a worker has sent a malformed contribution in this step.
    pub(super) fn has_offended(&self, worker: WorkerId) -> bool {
        self.0.iter().any(|issue| issue.worker == worker && issue.is_void())
    }

    /// Assigns a node to a worker. True if the worker has had the node before.
    pub(super) fn assign(&mut self, worker: WorkerId, node: Node, attempt: Attempt, now: Duration) -> bool {
        let old = self.find(worker, node);
        match old {
            Some(at) => self.0[at].renew(attempt, now),
            None => self.0.push(Issue::new(worker, node, attempt, now)),
        }
        old.is_some()
    }

    /// Stops waiting for a node from a worker whose contribution to it was malformed. If the worker does not have that
    /// node, nobody can say which one it meant: then the run waits for none of its nodes.
    pub(super) fn void(&mut self, worker: WorkerId, node: Node) {
        let named = self.find(worker, node).is_some();
        for issue in self.0.iter_mut().filter(|issue| issue.worker == worker && issue.is_pending()) {
            if !named || issue.node == node {
                issue.state = IssueState::Void;
            }
        }
    }

    /// Drops all issues of a worker.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.0.retain(|issue| issue.worker != worker);
    }
}
