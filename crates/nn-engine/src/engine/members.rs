//! Who comes and goes, and who is sent away.

use std::time::Duration;

use super::Engine;
use super::audit::Trial;
use super::deadlines::allowance;
use super::protocol::{Action, Join, Member, Release, WorkerId};
use super::state::Worker;
use super::status::Quarantine;
use super::validate::Rejection;

/// A worker that is alive is let go after so many times what it is allowed, and may be silent: no hiccup takes as long.
const FAR_TOO_LONG: u32 = 4;

impl Engine {
    pub(super) fn join(&mut self, now: Duration, join: Join, actions: &mut Vec<Action>) {
        let worker = join.worker;
        if let Some(outcome) = self.outcome {
            actions.push(Action::Release { worker, reason: Release::Over(outcome) });
            return;
        }
        match self.workers.join(join, now) {
            // It is there, whoever says that it joins.
            Err(Release::Refused(reason @ Rejection::AlreadyJoined(_))) => {
                actions.push(Action::Reject { worker, reason });
            }
            Err(reason) => actions.push(Action::Release { worker, reason }),
            Ok(superseded) => {
                if let Some(old) = superseded {
                    self.round.forget(old);
                    actions.push(Action::Release { worker: old, reason: Release::Superseded });
                }
                self.settle(now, actions);
            }
        }
    }

    /// A worker and what it holds are gone.
    pub(super) fn drop_worker(&mut self, worker: WorkerId) -> Option<Worker> {
        let gone = self.workers.remove(worker)?;
        self.round.forget(worker);
        Some(gone)
    }

    pub(super) fn release_silent(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let silence = self.cluster.silence;
        let quiet = |worker: &Worker| now.saturating_sub(worker.last_heard);
        let silent: Vec<(WorkerId, Duration)> = self
            .workers
            .iter()
            .filter(|(_, worker)| quiet(worker) > silence)
            .map(|(id, worker)| (id, quiet(worker)))
            .collect();
        for (worker, quiet) in silent {
            if let Some(gone) = self.drop_worker(worker) {
                self.workers.departed(worker, gone.member);
            }
            actions.push(Action::Release { worker, reason: Release::Silent(quiet) });
        }
    }

    /// Lets those go who say that they are alive and finish nothing, if what is audited is held back meanwhile: without an
    /// audit others take over what they hold, but a second witness of every node may be nobody else. It is a strike, since
    /// the same would come of it again.
    pub(super) fn release_stalled(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (worker, since, until) in self.stalls() {
            if now < until || self.strike(now, worker, Rejection::Stalled, actions) {
                continue;
            }
            if let Some(gone) = self.drop_worker(worker) {
                self.workers.departed(worker, gone.member);
            }
            let reason = Release::Stalled(now.saturating_sub(since));
            actions.push(Action::Release { worker, reason });
        }
    }

    /// Who is waited for while something is held back: since when, and until when it may take at most.
    pub(super) fn stalls(&self) -> Vec<(WorkerId, Duration, Duration)> {
        if !self.round.trials.iter().any(Trial::has_testimony) {
            return Vec::new();
        }
        let stall = |(id, worker): (WorkerId, &Worker)| {
            let pending =
                || self.round.issues.iter().filter(move |issue| issue.worker == id && issue.is_pending());
            let since = pending().map(|issue| issue.since.max(worker.free_since)).max()?;
            let samples = pending().map(|issue| self.tree.samples_of(issue.node).len()).sum();
            let allowed =
                allowance(&worker.pace, self.workers.typical(worker), samples, self.cluster.patience);
            let until = since
                .saturating_add(allowed.saturating_add(self.cluster.silence).saturating_mul(FAR_TOO_LONG));
            Some((id, since, until))
        };
        self.workers.iter().filter_map(stall).collect()
    }

    /// A worker has sent what cannot be right. True if that was once too often: then it is gone, and not let in again.
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

    /// A worker is gone, and its member is not let in again.
    pub(super) fn quarantine(
        &mut self,
        now: Duration,
        id: WorkerId,
        reason: Release,
        actions: &mut Vec<Action>,
    ) {
        if let Some(gone) = self.drop_worker(id) {
            self.workers.quarantine(Quarantine { worker: id, member: gone.member, since: now, reason });
            actions.push(Action::Release { worker: id, reason });
        }
    }

    /// The same for whatever connection the member has now, if it has any. It was `worker` when it did what it is sent
    /// away for.
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
