//! The workers of a run, and the memory of those that are gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deadlines::Pace;
use super::ids::{Member, WorkerId};
use super::options::MAX_REMEMBERED;
use super::protocol::{Join, Release};
use super::rejection::Rejection;

/// Whether a worker has the step's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does not have them yet.
    Joining,
    /// It has them, and gets all that follow.
    Active,
    /// A step ended without it. It gets nothing until it has answered for the nodes that it owes.
    Late {
        /// Nodes that it still owes.
        owes: u32,
    },
}

/// A connected worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) member: Member,
    pub(super) incarnation: u64,
    pub(super) threads: usize,
    pub(super) standing: Standing,
    /// The number of the event that admitted it: broadcasts of that event are older than the weights it was sent.
    pub(super) admitted: u64,
    pub(super) pace: Pace,
    pub(super) last_heard: Duration,
    /// When it finished its latest node.
    pub(super) free_since: Duration,
    /// Samples assigned to it in this step.
    pub(super) given: usize,
    pub(super) rejected: u64,
}

impl Worker {
    fn new(join: Join, now: Duration) -> Self {
        Self {
            member: join.member,
            incarnation: join.incarnation,
            threads: join.threads.max(1),
            standing: Standing::Joining,
            admitted: 0,
            pace: Pace::default(),
            last_heard: now,
            free_since: now,
            given: 0,
            rejected: 0,
        }
    }

    /// Whether it could work in a step that begins now: a late worker has to answer first.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.standing, Standing::Late { .. })
    }
}

/// A member that is excluded from the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// The member.
    pub member: Member,
    /// The connection that it had.
    pub worker: WorkerId,
    /// When it was excluded.
    pub since: Duration,
    /// The reason that it was given, and is given again whenever it dials.
    pub reason: Release,
}

/// A member's malformed messages.
#[derive(Debug, Clone, Copy, Default)]
struct Strikes {
    count: u32,
    /// The number of its latest strike among the strikes of all members.
    last: u64,
}

/// Departed workers that are remembered by name.
const DEPARTED: usize = 16;

/// All workers, and the memory of those that are gone.
#[derive(Debug, Default)]
pub(super) struct Workers {
    all: BTreeMap<WorkerId, Worker>,
    /// By member rather than connection: dialling again clears nothing.
    strikes: BTreeMap<Member, Strikes>,
    quarantined: BTreeMap<Member, Quarantine>,
    /// Strikes so far, of all members.
    struck: u64,
    departed: Vec<(Member, WorkerId)>,
}

impl Workers {
    /// Admits a worker, or says why not. Some older connection of the same member may be replaced: it has been removed.
    pub(super) fn join(&mut self, join: Join, now: Duration) -> Result<Option<WorkerId>, Release> {
        if let Some(quarantine) = self.quarantined.get(&join.member) {
            return Err(quarantine.reason);
        }
        if self.all.contains_key(&join.worker) {
            return Err(Release::Refused(Rejection::AlreadyJoined(join.worker.0)));
        }
        let old = self.all.iter().find(|(_, worker)| worker.member == join.member);
        let old = old.map(|(&id, worker)| (id, worker.incarnation));
        if let Some((_, incarnation)) = old
            && incarnation >= join.incarnation
        {
            let now = incarnation;
            return Err(Release::Refused(Rejection::StaleIncarnation { got: join.incarnation, now }));
        }
        if let Some((id, _)) = old {
            self.all.remove(&id);
        }
        self.departed.retain(|(member, _)| *member != join.member);
        self.all.insert(join.worker, Worker::new(join, now));
        Ok(old.map(|(id, _)| id))
    }

    /// Counts a strike and returns the member's total. If the memory is full, it forgets the member with the fewest
    /// strikes, and among those the one whose latest strike is oldest: strangers' first strikes never displace a
    /// second one.
    pub(super) fn strike(&mut self, member: Member) -> u32 {
        self.struck += 1;
        if !self.strikes.contains_key(&member) && self.strikes.len() >= MAX_REMEMBERED {
            let least = self.strikes.iter().min_by_key(|(_, strikes)| (strikes.count, strikes.last));
            if let Some(least) = least.map(|(&member, _)| member) {
                self.strikes.remove(&least);
            }
        }
        let strikes = self.strikes.entry(member).or_default();
        *strikes = Strikes { count: strikes.count.saturating_add(1), last: self.struck };
        strikes.count
    }

    /// The member's strikes so far.
    pub(super) fn strikes(&self, member: Member) -> u32 {
        self.strikes.get(&member).map(|strikes| strikes.count).unwrap_or_default()
    }

    /// Excludes a member from the run. If the memory is full, it forgets a member that only sent malformed messages, the
    /// longest excluded first, before any that computed wrongly: for the latter somebody must have been admitted, given
    /// work and outvoted, which strangers cannot do by the thousand.
    pub(super) fn quarantine(&mut self, quarantine: Quarantine) {
        self.strikes.remove(&quarantine.member);
        if !self.quarantined.contains_key(&quarantine.member) && self.quarantined.len() >= MAX_REMEMBERED {
            let worth = |kept: &Quarantine| matches!(kept.reason, Release::Disproved { .. });
            let least = self.quarantined.values().min_by_key(|kept| (worth(kept), kept.since, kept.worker));
            if let Some(least) = least.map(|kept| kept.member) {
                self.quarantined.remove(&least);
            }
        }
        self.quarantined.insert(quarantine.member, quarantine);
    }

    pub(super) fn quarantined(&self) -> impl Iterator<Item = &Quarantine> {
        self.quarantined.values()
    }

    /// Removes a worker that has left or was given up, and remembers its name as missing.
    pub(super) fn depart(&mut self, worker: WorkerId) -> Option<Worker> {
        let gone = self.remove(worker)?;
        self.departed.truncate(DEPARTED - 1);
        self.departed.insert(0, (gone.member, worker));
        Some(gone)
    }

    /// Forgets the names of missing workers: there are enough workers again.
    pub(super) fn miss_nobody(&mut self) {
        self.departed.clear();
    }

    /// The last connections of departed members, the latest first.
    pub(super) fn missed(&self) -> impl Iterator<Item = WorkerId> {
        self.departed.iter().map(|(_, worker)| *worker)
    }

    /// Removes a worker without missing it.
    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<Worker> {
        self.all.remove(&worker)
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// The member's connection.
    pub(super) fn of(&self, member: Member) -> Option<WorkerId> {
        self.all.iter().find(|(_, worker)| worker.member == member).map(|(&id, _)| id)
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Worker> {
        self.all.get(&worker)
    }

    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Worker> {
        self.all.get_mut(&worker)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.all.iter().map(|(&id, worker)| (id, worker))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerId, &mut Worker)> {
        self.all.iter_mut().map(|(&id, worker)| (id, worker))
    }

    pub(super) fn active(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.iter().filter(|(_, worker)| worker.standing == Standing::Active)
    }

    /// Whether a worker waits for the next step.
    pub(super) fn any_joining(&self) -> bool {
        self.all.values().any(|worker| worker.standing == Standing::Joining)
    }

    /// The number of workers that could work in a step that begins now.
    pub(super) fn ready(&self) -> usize {
        self.all.values().filter(|worker| worker.is_ready()).count()
    }

    /// The number of connected workers other than this one.
    pub(super) fn count_without(&self, own: Option<WorkerId>) -> usize {
        self.all.keys().filter(|&&id| Some(id) != own).count()
    }

    /// The number of connected workers.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The worker's speed in samples a second: as measured, or else as typical for its threads. None if no worker's
    /// speed has been measured.
    pub(super) fn speed(&self, worker: &Worker) -> Option<f64> {
        worker.pace.speed().or_else(|| self.typical(worker))
    }

    /// The typical speed of a worker with as many threads as this one.
    pub(super) fn typical(&self, worker: &Worker) -> Option<f64> {
        let mut per_thread: Vec<f64> =
            self.all.values().filter_map(|w| Some(w.pace.speed()? / w.threads as f64)).collect();
        per_thread.sort_by(f64::total_cmp);
        Some(per_thread.get(per_thread.len() / 2)? * worker.threads as f64)
    }
}

#[cfg(test)]
mod tests {
    use nn_core::Node;

    use super::*;
    use crate::engine::ids::Step;

    fn excluded(member: u64, reason: Release) -> Quarantine {
        let since = Duration::from_secs(member);
        Quarantine { member: Member(member), worker: WorkerId(member), since, reason }
    }

    const MALFORMED: Release = Release::Quarantined { strikes: 3, last: Rejection::NoMessage };
    const DISPROVED: Release = Release::Disproved { step: Step(1), node: Node { level: 0, index: 0 } };

    #[test]
    fn strangers_can_neither_fill_the_memory_with_strikes_nor_clear_anybody_elses() {
        let mut workers = Workers::default();
        workers.strike(Member(7));
        assert_eq!(workers.strike(Member(7)), 2);
        for stranger in 0..3 * MAX_REMEMBERED as u64 {
            assert_eq!(workers.strike(Member(1000 + stranger)), 1);
        }
        assert_eq!(workers.strikes.len(), MAX_REMEMBERED);
        assert_eq!(workers.strike(Member(7)), 3);
        // Among members with equally few strikes the latest are remembered.
        assert_eq!(workers.strikes(Member(1000 + 3 * MAX_REMEMBERED as u64 - 1)), 1);
        assert_eq!(workers.strikes(Member(1000)), 0);
    }

    #[test]
    fn strangers_cannot_clear_a_member_that_computes_wrongly() {
        let mut workers = Workers::default();
        workers.quarantine(excluded(1, DISPROVED));
        for stranger in 2..3 * MAX_REMEMBERED as u64 {
            workers.strike(Member(stranger));
            workers.quarantine(excluded(stranger, MALFORMED));
        }
        assert_eq!((workers.quarantined.len(), workers.strikes.len()), (MAX_REMEMBERED, 0));
        let join =
            |member| Join { worker: WorkerId(1 << 40), member: Member(member), incarnation: 9, threads: 1 };
        assert_eq!(workers.join(join(1), Duration::ZERO).unwrap_err(), DISPROVED);
        // Of the others the latest are remembered.
        assert_eq!(workers.join(join(3 * MAX_REMEMBERED as u64 - 1), Duration::ZERO).unwrap_err(), MALFORMED);
        assert!(workers.join(join(2), Duration::ZERO).is_ok());
    }
}
