//! Deadlines: when each node is overdue, and which idle worker gets it then.

use std::cmp::Ordering;
use std::time::Duration;

use nn_core::Node;

use super::Engine;
use super::deadlines::allowance;
use super::ids::WorkerId;
use super::protocol::Action;

impl Engine {
    /// The deadline of each node that is still wanted, with the index of its issue. A node that another worker has
    /// delivered meanwhile is not wanted, but its worker computes it before the nodes that follow.
    pub(super) fn deadlines(&self) -> Vec<(usize, Duration)> {
        let mut deadlines = Vec::new();
        for (id, worker) in self.workers.iter() {
            let typical = self.workers.typical(worker);
            let (mut start, mut samples) = (None, 0);
            for (at, issue) in self.round.issues.indexed() {
                if issue.worker != id || !issue.is_pending() {
                    continue;
                }
                // A worker computes its nodes one after the other.
                let start = *start.get_or_insert(issue.since.max(worker.free_since));
                samples += self.tree.samples_of(issue.node).len();
                if self.reduction.has_all(issue.node) {
                    continue;
                }
                let allowed = allowance(&worker.pace, typical, samples, self.cluster.patience);
                deadlines.push((at, start.saturating_add(allowed)));
            }
        }
        deadlines
    }

    /// Assigns overdue nodes to idle workers too.
    pub(super) fn reissue_overdue(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // This runs whenever a node arrives, and computing the deadlines takes time.
        if now < self.round.next_due {
            return;
        }
        let joining = self.workers.any_joining();
        if !joining && !self.workers.active().any(|(id, _)| !self.round.issues.is_busy(id)) {
            return;
        }
        let mut overdue = self.deadlines();
        self.round.next_due = overdue.iter().map(|(_, deadline)| *deadline).min().unwrap_or(Duration::MAX);
        overdue.retain(|(_, deadline)| *deadline <= now);
        if overdue.is_empty() {
            return;
        }
        overdue.sort_by_key(|(at, deadline)| (*deadline, *at));
        // Workers that have just joined would wait for the next step, which the others may never reach without them.
        let helpless = |&(at, _): &(usize, Duration)| self.helper(self.round.issues.get(at).node).is_none();
        if joining && overdue.iter().any(helpless) {
            self.admit(actions);
        }
        let mut any = false;
        for &(at, _) in &overdue {
            let node = self.round.issues.get(at).node;
            if self.is_expected(node, &overdue) {
                continue;
            }
            let Some(idle) = self.helper(node) else { continue };
            self.issue_nodes(now, idle, &[node], actions);
            any = true;
        }
        if any {
            self.round.attempts += 1;
        }
    }

    /// Whether a worker that is not overdue is computing this node.
    fn is_expected(&self, node: Node, overdue: &[(usize, Duration)]) -> bool {
        let late = |at: usize| overdue.iter().any(|(late, _)| *late == at);
        self.round.issues.indexed().any(|(at, issue)| issue.node == node && issue.is_pending() && !late(at))
    }

    /// The fastest idle worker that can compute a node. One that has sent a malformed contribution in this step comes
    /// last.
    fn helper(&self, node: Node) -> Option<WorkerId> {
        let worth = |id: WorkerId| {
            let speed = self.workers.get(id).and_then(|worker| self.workers.speed(worker));
            (!self.round.issues.has_offended(id), speed.unwrap_or(0.0))
        };
        self.workers
            .active()
            .map(|(id, _)| id)
            .filter(|&id| self.round.issues.can_help(id, node))
            .max_by(|&a, &b| worth(a).partial_cmp(&worth(b)).unwrap_or(Ordering::Equal))
    }

    /// The time of the next [`Event::Tick`](super::Event::Tick) that could change something. It may be in the past while
    /// an overdue node waits for an idle worker: then a tick changes nothing until another event does. None once the
    /// run is over.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        if self.outcome.is_some() {
            return None;
        }
        let silence = self.cluster.silence + Duration::from_millis(1);
        let remote = self.workers.iter().filter(|(id, _)| Some(*id) != self.cluster.own);
        let silent = remote.map(|(_, worker)| worker.last_heard.saturating_add(silence));
        let overdue = self.deadlines().into_iter().map(|(_, deadline)| deadline);
        let given_up = self.round.paused.zip(self.cluster.wait_timeout);
        let given_up = given_up.map(|(since, timeout)| since.saturating_add(timeout));
        let stalled = self.stalls().into_iter().map(|stall| stall.until);
        silent.chain(overdue).chain(given_up).chain(stalled).min().map(|time| self.clock.shown(time))
    }
}
