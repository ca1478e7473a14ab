//! Who comes and goes, and who is sent away.

use std::time::Duration;

use super::Engine;
use super::protocol::{Action, Join, Member, Release, WorkerId};
use super::state::Worker;
use super::status::Quarantine;
use super::validate::Rejection;

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
