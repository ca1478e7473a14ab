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

/// All workers, and what is remembered of those who are gone.
#[derive(Debug, Default)]
pub(super) struct Workers {
    all: BTreeMap<WorkerId, Worker>,
    /// Of a member, not of a connection: dialling again wipes nothing out.
    strikes: BTreeMap<Member, u32>,
    quarantined: BTreeMap<Member, Quarantine>,
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

    /// Counts a strike: how many that makes.
    pub(super) fn strike(&mut self, member: Member) -> u32 {
        let strikes = self.strikes.entry(member).or_default();
        *strikes = strikes.saturating_add(1);
        *strikes
    }

    pub(super) fn strikes(&self, member: Member) -> u32 {
        self.strikes.get(&member).copied().unwrap_or_default()
    }

    pub(super) fn quarantine(&mut self, quarantine: Quarantine) {
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
