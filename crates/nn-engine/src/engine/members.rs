//! Members: who joins, who leaves, who is released, and who is excluded.

use std::time::Duration;

use super::Engine;
use super::deadlines::allowance;
use super::handle::Change;
use super::ids::{Member, WorkerId};
use super::protocol::{Action, Join, Release};
use super::rejection::Rejection;
use super::trial::Trial;
use super::workers::{Quarantine, Worker};

/// A worker stalls when it takes this many times what it may take, silence included: no hiccup takes that long.
const FAR_TOO_LONG: u32 = 4;

/// A worker that the run waits for while a node is held for audit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall {
    worker: WorkerId,
    since: Duration,
    /// When the worker is released.
    pub(super) until: Duration,
}

impl Engine {
    pub(super) fn join(&mut self, now: Duration, join: Join, actions: &mut Vec<Action>) -> Change {
        let worker = join.worker;
        if let Some(outcome) = self.outcome {
            actions.push(Action::Release { worker, reason: Release::Over(outcome) });
            return Change::None;
        }
        match self.workers.join(join, now) {
            // The connection has joined already, so it must not be closed.
            Err(Release::Refused(reason @ Rejection::AlreadyJoined(_))) => {
                actions.push(Action::Reject { worker, reason });
                Change::None
            }
            Err(reason) => {
                actions.push(Action::Release { worker, reason });
                Change::None
            }
            Ok(superseded) => {
                if let Some(old) = superseded {
                    self.round.forget(old);
                    actions.push(Action::Release { worker: old, reason: Release::Superseded });
                }
                Change::Made
            }
        }
    }

    /// Notes that a worker is alive.
    pub(super) fn hear(&mut self, now: Duration, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.last_heard = now;
        }
    }

    /// Removes a worker that has left or was given up, and its nodes. False if there is no such worker.
    pub(super) fn depart(&mut self, worker: WorkerId) -> bool {
        let gone = self.workers.depart(worker).is_some();
        if gone {
            self.round.forget(worker);
        }
        gone
    }

    /// Counts a malformed message, because of which the driver has closed the connection.
    pub(super) fn drop_garbled(&mut self, now: Duration, worker: WorkerId, actions: &mut Vec<Action>) {
        if !self.strike(now, worker, Rejection::NoMessage, actions) {
            self.depart(worker);
        }
    }

    /// Releases workers that have been silent for too long.
    pub(super) fn release_silent(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let silence = self.cluster.silence;
        let quiet = |worker: &Worker| now.saturating_sub(worker.last_heard);
        let silent: Vec<(WorkerId, Duration)> = self
            .workers
            .iter()
            .filter(|(id, worker)| quiet(worker) > silence && Some(*id) != self.cluster.own)
            .map(|(id, worker)| (id, quiet(worker)))
            .collect();
        for (worker, quiet) in silent {
            self.depart(worker);
            actions.push(Action::Release { worker, reason: Release::Silent(quiet) });
        }
    }

    /// Releases workers that send heartbeats but no results, while a node is held for audit. Without an audit other
    /// workers take over their nodes; but a node may have no other second witness. This counts as a strike, because the
    /// worker would do the same again.
    pub(super) fn release_stalled(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for Stall { worker, since, until } in self.stalls() {
            if now < until || self.strike(now, worker, Rejection::Stalled, actions) {
                continue;
            }
            self.depart(worker);
            let reason = Release::Stalled(now.saturating_sub(since));
            actions.push(Action::Release { worker, reason });
        }
    }

    /// The workers that the run waits for while a node is held for audit.
    pub(super) fn stalls(&self) -> Vec<Stall> {
        if !self.round.trials.iter().any(Trial::has_testimony) {
            return Vec::new();
        }
        let stall = |(id, worker): (WorkerId, &Worker)| {
            if Some(id) == self.cluster.own {
                return None;
            }
            let pending = || self.round.issues.pending_of(id);
            let since = pending().map(|issue| issue.since.max(worker.free_since)).max()?;
            let samples = pending().map(|issue| self.tree.samples_of(issue.node).len()).sum();
            let typical = self.workers.typical(worker);
            let allowed = allowance(&worker.pace, typical, samples, self.cluster.patience);
            let longest = allowed.saturating_add(self.cluster.silence).saturating_mul(FAR_TOO_LONG);
            Some(Stall { worker: id, since, until: since.saturating_add(longest) })
        };
        self.workers.iter().filter_map(stall).collect()
    }

    /// Counts a malformed contribution. True if it was one too many: then the member is quarantined.
    pub(super) fn strike(
        &mut self,
        now: Duration,
        id: WorkerId,
        last: Rejection,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(member) = self.workers.get(id).map(|worker| worker.member) else { return false };
        let strikes = self.workers.strike(member);
        let quarantine = strikes >= self.cluster.strikes.max(1);
        if quarantine {
            self.quarantine(now, id, Release::Quarantined { strikes, last }, actions);
        }
        quarantine
    }

    /// Removes a worker and excludes its member from the run.
    fn quarantine(&mut self, now: Duration, id: WorkerId, reason: Release, actions: &mut Vec<Action>) {
        if let Some(gone) = self.workers.remove(id) {
            self.round.forget(id);
            self.workers.quarantine(Quarantine { worker: id, member: gone.member, since: now, reason });
            actions.push(Action::Release { worker: id, reason });
        }
    }

    /// Excludes a member from the run, whichever connection it has now, if any. It offended on connection `worker`.
    pub(super) fn quarantine_member(
        &mut self,
        now: Duration,
        worker: WorkerId,
        member: Member,
        reason: Release,
        actions: &mut Vec<Action>,
    ) {
        match self.workers.of(member) {
            Some(id) => self.quarantine(now, id, reason, actions),
            None => self.workers.quarantine(Quarantine { worker, member, since: now, reason }),
        }
    }
}
