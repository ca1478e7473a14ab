//! The run as people see it: workers, their share, what is waited for.

use std::time::Duration;

use super::Engine;
use super::protocol::{Generation, Member, Release, Step, WorkerId};
use super::report::Outcome;
use super::state::Standing;

/// What the run waits for, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// There are fewer workers than the run wants.
    ForWorkers {
        /// Connected ones.
        have: usize,
        /// Those of them that could begin at once: one that a step has left behind has to answer first.
        ready: usize,
        /// How many must be connected to go on, at least one of them ready.
        want: usize,
        /// The connections of those who have gone since there were enough, the latest first.
        missed: Vec<WorkerId>,
        /// When it began to wait.
        since: Duration,
    },
    /// The step's nodes are being computed.
    ForNodes {
        /// By whom.
        workers: Vec<WorkerId>,
        /// When the step began.
        since: Duration,
    },
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It takes part from the next step on.
    Joining,
    /// It has done what it was given.
    Idle,
    /// It computes.
    Computing,
    /// It computes for longer than it should; an idle worker has been given the same node, or will be.
    Overdue,
    /// The step ended without it; it gets nothing until it answers.
    Late,
}

/// A worker, to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// Its connection.
    pub id: WorkerId,
    /// Who it is.
    pub member: Member,
    /// Which of its connections this is.
    pub incarnation: u64,
    /// Its threads.
    pub threads: usize,
    /// The fraction of the step's samples that it was given.
    pub share: f64,
    /// Its measured speed while it has something to do, wire included.
    pub samples_per_second: Option<f64>,
    /// What it is doing.
    pub state: WorkerState,
    /// When it was last heard of.
    pub last_heard: Duration,
    /// Contributions refused, duplicates and late ones among them.
    pub rejected: u64,
    /// Malformed contributions of the member, whatever the connection.
    pub strikes: u32,
}

/// A member that is not let in any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// Who.
    pub member: Member,
    /// The connection that it had.
    pub worker: WorkerId,
    /// When it was sent away.
    pub since: Duration,
    /// Why: as it was told, and is told again whenever it dials.
    pub reason: Release,
}

/// A run, to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// How often the coordinator has been started.
    pub generation: Generation,
    /// The step that is under way: as many are done.
    pub step: Step,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// The epoch of the step.
    pub epoch: u64,
    /// By connection.
    pub workers: Vec<WorkerStatus>,
    /// Those who are not let in any more.
    pub quarantined: Vec<Quarantine>,
    /// None when the run is over.
    pub waiting: Option<Waiting>,
    /// How the run ended.
    pub outcome: Option<Outcome>,
    /// Contributions refused, duplicates and late ones among them.
    pub rejected: u64,
    /// Nodes that were given out again.
    pub reissued: u64,
}

impl Engine {
    /// What the run waits for; None when it is over.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        if self.outcome.is_some() {
            return None;
        }
        if !self.round.begun || self.round.paused.is_some() {
            return Some(Waiting::ForWorkers {
                have: self.workers.count(),
                ready: self.workers.ready(),
                want: self.wanted(),
                missed: self.workers.missed().collect(),
                since: self.round.paused.map_or(Duration::ZERO, |since| self.clock.shown(since)),
            });
        }
        let busy = self.workers.iter().map(|(id, _)| id).filter(|&id| self.round.is_busy(id));
        Some(Waiting::ForNodes { workers: busy.collect(), since: self.clock.shown(self.round.began) })
    }

    /// The run at time `now`, to be shown.
    #[must_use]
    pub fn status(&self, now: Duration) -> Status {
        let now = self.clock.at(now);
        let overdue: Vec<WorkerId> = self
            .deadlines()
            .into_iter()
            .filter(|(_, deadline)| *deadline <= now)
            .map(|(at, _)| self.round.issues[at].worker)
            .collect();
        let workers = self.workers.iter().map(|(id, worker)| WorkerStatus {
            id,
            member: worker.member,
            incarnation: worker.incarnation,
            threads: worker.threads,
            share: worker.given as f64 / self.tree.samples() as f64,
            samples_per_second: worker.pace.speed(),
            state: match worker.standing {
                Standing::Joining => WorkerState::Joining,
                Standing::Late { .. } => WorkerState::Late,
                Standing::Active if overdue.contains(&id) => WorkerState::Overdue,
                Standing::Active if self.round.is_busy(id) => WorkerState::Computing,
                Standing::Active => WorkerState::Idle,
            },
            last_heard: self.clock.shown(worker.last_heard),
            rejected: worker.rejected,
            strikes: self.workers.strikes(worker.member),
        });
        Status {
            generation: self.generation(),
            step: Step(self.step),
            total_steps: self.total_steps,
            epoch: self.manifest.place(self.step.min(self.total_steps - 1)).0,
            workers: workers.collect(),
            quarantined: self
                .workers
                .quarantined()
                .map(|quarantine| Quarantine { since: self.clock.shown(quarantine.since), ..*quarantine })
                .collect(),
            waiting: self.waiting(),
            outcome: self.outcome,
            rejected: self.rejected,
            reissued: self.round.reissued,
        }
    }
}
