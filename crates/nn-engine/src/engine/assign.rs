//! Assignment: leaves that no worker holds are planned, and assigned as nodes.

use std::ops::Range;
use std::time::Duration;

use nn_core::Node;

use super::Engine;
use super::ids::{Attempt, Step, WorkerId};
use super::plan::{Candidate, plan};
use super::protocol::{Action, Assignment};

impl Engine {
    /// Assigns all leaves that have not been counted and that no worker holds.
    pub(super) fn issue_missing(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let nothing_held = self.round.issues.is_empty() && self.round.trials.is_empty();
        let any = if nothing_held && self.reduction.is_untouched() {
            self.issue_range(now, 0..self.tree.leaves(), actions);
            true
        } else {
            self.issue_gaps(now, actions)
        };
        if any {
            self.round.attempts += 1;
        }
    }

    /// Assigns the leaves that are neither counted, nor assigned to a worker, nor held for audit. False if there are
    /// none.
    fn issue_gaps(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        let mut covered = std::mem::take(&mut self.round.covered);
        self.reduction.counted_into(&mut covered);
        for issue in self.round.issues.pending() {
            covered.insert(self.tree.leaves_of(issue.node));
        }
        for trial in self.round.trials.iter().filter(|trial| trial.has_testimony()) {
            covered.insert(self.tree.leaves_of(trial.node));
        }
        let mut at = 0;
        let mut any = false;
        while let Some(gap) = covered.gap(at) {
            at = gap.end;
            any = true;
            self.issue_range(now, gap, actions);
        }
        self.round.covered = covered;
        any
    }

    /// Divides a range of leaves among the workers.
    fn issue_range(&mut self, now: Duration, range: Range<u32>, actions: &mut Vec<Action>) {
        let mut active = self.workers.active().map(|(id, _)| id);
        let (first, second) = (active.next(), active.next());
        drop(active);
        match (first, second) {
            (None, _) => {}
            (Some(only), None) => self.issue_cover(now, only, range, actions),
            _ => {
                let whole = range == (0..self.tree.leaves());
                for (id, range) in self.divide(range) {
                    if !range.is_empty() {
                        self.issue_cover(now, id, range, actions);
                    } else if let Some(worker) = self.workers.get_mut(id).filter(|_| whole) {
                        worker.pace.fade();
                    }
                }
            }
        }
    }

    /// Each worker's share of a range of leaves.
    fn divide(&mut self, range: Range<u32>) -> Vec<(WorkerId, Range<u32>)> {
        let (ids, candidates) = self.candidates();
        let measured = self.workers.iter().any(|(_, worker)| worker.pace.speed().is_some());
        // Replicas travel one by one, however they are divided.
        let joins = measured && self.manifest.rounds().is_none();
        let node_seconds = if joins { self.transfer().as_secs_f64() } else { 0.0 };
        let ranges = if range == (0..self.tree.leaves()) {
            self.round.planner.whole(&self.tree, &ids, &candidates, node_seconds).to_vec()
        } else {
            plan(&self.tree, range, &candidates, node_seconds)
        };
        ids.into_iter().zip(ranges).collect()
    }

    /// Assigns a range of leaves to one worker, as the fewest nodes that can count.
    fn issue_cover(&mut self, now: Duration, worker: WorkerId, range: Range<u32>, actions: &mut Vec<Action>) {
        let mut nodes = std::mem::take(&mut self.round.nodes);
        nodes.clear();
        if self.manifest.rounds().is_some() {
            // A sum of two differences has no code: replicas are sent one by one.
            nodes.extend(range.map(|index| Node { level: 0, index }));
        } else {
            self.tree.cover_into(range, &mut nodes);
        }
        self.reduction.divide(&mut nodes);
        self.issue_nodes(now, worker, &nodes, actions);
        self.round.nodes = nodes;
    }

    /// Assigns nodes to one worker.
    pub(super) fn issue_nodes(
        &mut self,
        now: Duration,
        worker: WorkerId,
        nodes: &[Node],
        actions: &mut Vec<Action>,
    ) {
        self.round.next_due = Duration::ZERO;
        let attempt = Attempt(self.round.attempts);
        if attempt.0 > 0 {
            self.round.reissued += nodes.len() as u64;
        }
        for &node in nodes {
            self.round.assign(worker, node, now);
            if let Some(state) = self.workers.get_mut(worker) {
                state.given += self.tree.samples_of(node).len();
            }
            actions.push(Action::Assign(Assignment {
                worker,
                generation: self.cluster.generation,
                step: Step(self.step),
                attempt,
                node,
            }));
        }
    }

    /// The time to transfer a node to the coordinator: as measured, or else as assumed.
    pub(super) fn transfer(&self) -> Duration {
        if let Some(transfer) = self.transfer {
            return transfer;
        }
        let bytes = self.manifest.contribution_encoding().bytes_for(self.params().len());
        let seconds = bytes as f64 / self.cluster.link_bytes_per_second.max(1.0);
        Duration::from_secs_f64(seconds.min(86_400.0))
    }

    /// The workers that may get nodes. Those that sent malformed contributions in this step are among them only if
    /// there are no others.
    fn candidates(&self) -> (Vec<WorkerId>, Vec<Candidate>) {
        let spotless = |id: WorkerId| !self.round.issues.has_offended(id);
        let anybody = !self.workers.active().any(|(id, _)| spotless(id));
        self.workers
            .active()
            .filter(|(id, _)| anybody || spotless(*id))
            .map(|(id, worker)| {
                let speed = self.workers.speed(worker).unwrap_or(worker.threads as f64);
                let pending = self.round.issues.pending_of(id);
                let samples: usize = pending.map(|issue| self.tree.samples_of(issue.node).len()).sum();
                let remote = Some(id) != self.cluster.own;
                (id, Candidate { speed, busy: samples as f64 / speed, remote })
            })
            .unzip()
    }
}
