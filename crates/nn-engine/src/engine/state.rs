//! Who takes part, and what each has been given in this step.

use std::collections::BTreeMap;
use std::time::Duration;

use nn_core::Node;

use super::deadlines::Pace;
use super::protocol::{Attempt, Join, Member, Part, Release, WorkerId};
use super::status::Quarantine;
use super::validate::Rejection;

/// Whether a worker has the step's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not yet.
    Joining,
    /// Yes, and it is sent all that follow.
    Active,
    /// Not any more: a step ended without it. It is sent nothing until it has answered what it still owes.
    Late {
        /// Nodes.
        owes: u32,
    },
}

/// A worker, by its connection.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) member: Member,
    pub(super) incarnation: u64,
    pub(super) threads: usize,
    pub(super) standing: Standing,
    pub(super) pace: Pace,
    pub(super) last_heard: Duration,
    /// When it finished the last of its nodes.
    pub(super) free_since: Duration,
    /// Samples that it has been given in this step.
    pub(super) given: usize,
    pub(super) rejected: u64,
}

impl Worker {
    pub(super) fn new(join: Join, now: Duration) -> Self {
        Self {
            member: join.member,
            incarnation: join.incarnation,
            threads: join.threads.max(1),
            standing: Standing::Joining,
            pace: Pace::default(),
            last_heard: now,
            free_since: now,
            given: 0,
            rejected: 0,
        }
    }
}

/// How many of those who have gone are remembered by name.
const DEPARTED: usize = 16;

/// How many members are remembered for their strikes, and how many because they are not let in again. Whoever dials
/// chooses a member's number, so without a bound strangers could fill the memory with them. It is twice as many as can be
/// connected with the usual options.
pub(super) const REMEMBERED: usize = 2048;

/// All workers, and what is remembered of those who are gone.
#[derive(Debug, Default)]
pub(super) struct Workers {
    all: BTreeMap<WorkerId, Worker>,
    /// Of a member, not of a connection: dialling again wipes nothing out.
    strikes: BTreeMap<Member, Strikes>,
    quarantined: BTreeMap<Member, Quarantine>,
    /// Strikes so far, of whomever: tells which was last.
    struck: u64,
    departed: Vec<(Member, WorkerId)>,
}

impl Workers {
    /// Lets a worker in, or says why not. Some if an older connection of the same member has to go: it is gone from
    /// here.
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

    /// Counts a strike: how many that makes. Where there are too many to remember, the member with the fewest is
    /// forgotten, and of those the one whose last strike is longest ago: so nobody's second strike makes room for
    /// strangers' first ones.
    pub(super) fn strike(&mut self, member: Member) -> u32 {
        self.struck += 1;
        if !self.strikes.contains_key(&member) && self.strikes.len() >= REMEMBERED {
            let least = self.strikes.iter().min_by_key(|(_, strikes)| (strikes.count, strikes.last));
            if let Some(least) = least.map(|(&member, _)| member) {
                self.strikes.remove(&least);
            }
        }
        let strikes = self.strikes.entry(member).or_default();
        *strikes = Strikes { count: strikes.count.saturating_add(1), last: self.struck };
        strikes.count
    }

    pub(super) fn strikes(&self, member: Member) -> u32 {
        self.strikes.get(&member).map(|strikes| strikes.count).unwrap_or_default()
    }

    /// From here on a member is not let in. Where there are too many to remember, one is forgotten that only sent
    /// malformed messages, the one of longest ago, before any that was found to compute wrongly: for that, somebody must
    /// have been let in, given work, and outvoted, which strangers cannot do by the thousand.
    pub(super) fn quarantine(&mut self, quarantine: Quarantine) {
        self.strikes.remove(&quarantine.member);
        if !self.quarantined.contains_key(&quarantine.member) && self.quarantined.len() >= REMEMBERED {
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

    /// A worker has left, or was given up: it may be missed.
    pub(super) fn departed(&mut self, worker: WorkerId, member: Member) {
        self.departed.truncate(DEPARTED - 1);
        self.departed.insert(0, (member, worker));
    }

    /// There are workers enough: nobody is missed.
    pub(super) fn miss_nobody(&mut self) {
        self.departed.clear();
    }

    /// The last connections of those who have gone, the latest first.
    pub(super) fn missed(&self) -> impl Iterator<Item = WorkerId> {
        self.departed.iter().map(|(_, worker)| *worker)
    }

    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<Worker> {
        self.all.remove(&worker)
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// A member's connection.
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

    /// Those that could take part in a step that begins now.
    pub(super) fn ready(&self) -> usize {
        self.all.values().filter(|worker| !matches!(worker.standing, Standing::Late { .. })).count()
    }

    /// Those that are connected.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// A guess at a worker's speed in samples a second: as measured; else that of the others for each thread; else
    /// none.
    pub(super) fn speed(&self, worker: &Worker) -> Option<f64> {
        worker.pace.speed().or_else(|| self.typical(worker))
    }

    /// The speed of a worker with as many threads as this one.
    pub(super) fn typical(&self, worker: &Worker) -> Option<f64> {
        let mut per_thread: Vec<f64> =
            self.all.values().filter_map(|w| Some(w.pace.speed()? / w.threads as f64)).collect();
        per_thread.sort_by(f64::total_cmp);
        Some(per_thread.get(per_thread.len() / 2)? * worker.threads as f64)
    }
}

/// A member's malformed messages.
#[derive(Debug, Clone, Copy, Default)]
struct Strikes {
    count: u32,
    /// Which of all strikes was its last.
    last: u64,
}

/// How far a worker is with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is waited for.
    Pending,
    /// All its parts have come.
    Done,
    /// A part of it could not be right: what else comes of it is welcome, but it is not waited for.
    Void,
}

/// A node that has been given to a worker in this step. There is one for each pair of both.
#[derive(Debug)]
pub(super) struct Issue {
    pub(super) worker: WorkerId,
    pub(super) node: Node,
    pub(super) attempt: Attempt,
    pub(super) since: Duration,
    pub(super) progress: Progress,
    /// Layers that have come from this worker, where they come one by one.
    layers: Vec<u32>,
    stats: bool,
}

impl Issue {
    pub(super) fn new(worker: WorkerId, node: Node, attempt: Attempt, since: Duration) -> Self {
        let progress = Progress::Pending;
        Self { worker, node, attempt, since, progress, layers: Vec::new(), stats: false }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.progress == Progress::Pending
    }

    /// Given to the same worker again.
    pub(super) fn renew(&mut self, attempt: Attempt, since: Duration) {
        (self.attempt, self.since, self.progress) = (attempt, since, Progress::Pending);
        self.layers.clear();
        self.stats = false;
    }

    /// A part has come, counted or not. True if that was the last one that was waited for.
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
            self.progress = Progress::Done;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_away(member: u64, reason: Release) -> Quarantine {
        let since = Duration::from_secs(member);
        Quarantine { member: Member(member), worker: WorkerId(member), since, reason }
    }

    const MALFORMED: Release = Release::Quarantined { strikes: 3, last: Rejection::NoMessage };
    const DISPROVED: Release =
        Release::Disproved { step: crate::engine::Step(1), node: Node { level: 0, index: 0 } };

    #[test]
    fn strangers_cannot_fill_the_memory_with_strikes_nor_wipe_out_anybodys() {
        let mut workers = Workers::default();
        workers.strike(Member(7));
        assert_eq!(workers.strike(Member(7)), 2);
        for stranger in 0..3 * REMEMBERED as u64 {
            assert_eq!(workers.strike(Member(1000 + stranger)), 1);
        }
        assert_eq!(workers.strikes.len(), REMEMBERED);
        assert_eq!(workers.strike(Member(7)), 3);
        // Of those with as few strikes the latest are remembered.
        assert_eq!(workers.strikes(Member(1000 + 3 * REMEMBERED as u64 - 1)), 1);
        assert_eq!(workers.strikes(Member(1000)), 0);
    }

    #[test]
    fn strangers_cannot_wash_a_member_clean_that_computes_wrongly() {
        let mut workers = Workers::default();
        workers.quarantine(sent_away(1, DISPROVED));
        for stranger in 2..3 * REMEMBERED as u64 {
            workers.strike(Member(stranger));
            workers.quarantine(sent_away(stranger, MALFORMED));
        }
        assert_eq!((workers.quarantined.len(), workers.strikes.len()), (REMEMBERED, 0));
        let join =
            |member| Join { worker: WorkerId(1 << 40), member: Member(member), incarnation: 9, threads: 1 };
        assert_eq!(workers.join(join(1), Duration::ZERO).unwrap_err(), DISPROVED);
        // The latest of the others are remembered.
        assert_eq!(workers.join(join(3 * REMEMBERED as u64 - 1), Duration::ZERO).unwrap_err(), MALFORMED);
        assert!(workers.join(join(2), Duration::ZERO).is_ok());
    }
}
