//! The run as people see it: its workers, their shares, and what it waits for.

use std::time::Duration;

use super::Engine;
use super::ids::{Generation, Member, Step, WorkerId};
use super::report::Outcome;
use super::workers::{Quarantine, Standing, Worker};

/// What the run is waiting for, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The run has too few workers.
    ForWorkers {
        /// Connected workers, without [`Cluster::own`](super::Cluster::own).
        have: usize,
        /// Connected workers that could begin at once. A worker that a step left behind has to answer first.
        ready: usize,
        /// Connected workers, counted as in `have`, that the run needs to continue, at least one of them ready.
        want: usize,
        /// Connections of the workers that have gone since there were enough, the latest first.
        missed: Vec<WorkerId>,
        /// Start of the wait.
        since: Duration,
    },
    /// Workers are computing the step's nodes.
    ForNodes {
        /// The workers that are computing.
        workers: Vec<WorkerId>,
        /// Start of the step.
        since: Duration,
    },
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It joins at the next step.
    Joining,
    /// It has computed all its nodes.
    Idle,
    /// It is computing.
    Computing,
    /// It is computing for longer than it should; an idle worker gets the same node, now or later.
    Overdue,
    /// The step ended without it; it gets nothing until it answers.
    Late,
}

/// A worker, for display.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// The worker's connection.
    pub id: WorkerId,
    /// The worker's process.
    pub member: Member,
    /// The connection's incarnation.
    pub incarnation: u64,
    /// The worker's threads.
    pub threads: usize,
    /// Fraction of the step's samples that it was assigned.
    pub share: f64,
    /// Measured speed while computing; None before the first measurement.
    pub samples_per_second: Option<f64>,
    /// What it is doing.
    pub state: WorkerState,
    /// When it was last heard from.
    pub last_heard: Duration,
    /// Refused contributions, including duplicates and late ones.
    pub rejected: u64,
    /// Malformed contributions of the member, over all its connections.
    pub strikes: u32,
}

/// A run, for display.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The number of times that the coordinator has been started.
    pub generation: Generation,
    /// The step under way, which is also the number of completed steps.
    pub step: Step,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// The epoch of the step.
    pub epoch: u64,
    /// Connected workers, ordered by connection.
    pub workers: Vec<WorkerStatus>,
    /// Members that are excluded from the run, ordered by member.
    pub quarantined: Vec<Quarantine>,
    /// What the run is waiting for; None once it is over.
    pub waiting: Option<Waiting>,
    /// How the run ended, once it has.
    pub outcome: Option<Outcome>,
    /// Refused contributions, including duplicates and late ones.
    pub rejected: u64,
    /// Nodes that were assigned again.
    pub reissued: u64,
}

impl Engine {
    /// What the run is waiting for; None once it is over.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        if self.outcome.is_some() {
            return None;
        }
        let paused = !self.round.begun || self.round.paused.is_some();
        if paused && self.goes_on_alone() && !self.round.deadlock {
            // It still computes what a step has done without.
            let since = self.clock.shown(self.round.paused.unwrap_or(self.round.began));
            return Some(Waiting::ForNodes { workers: self.cluster.own.into_iter().collect(), since });
        }
        if paused {
            return Some(Waiting::ForWorkers {
                have: self.elsewhere(),
                ready: self.workers.ready(),
                want: self.wanted(),
                missed: self.workers.missed().collect(),
                since: self.round.paused.map_or(Duration::ZERO, |since| self.clock.shown(since)),
            });
        }
        let busy = self.workers.iter().map(|(id, _)| id).filter(|&id| self.round.issues.is_busy(id));
        Some(Waiting::ForNodes { workers: busy.collect(), since: self.clock.shown(self.round.began) })
    }

    /// The run at time `now`, for display.
    #[must_use]
    pub fn status(&self, now: Duration) -> Status {
        let now = self.clock.at(now);
        let overdue: Vec<WorkerId> = self
            .deadlines()
            .into_iter()
            .filter(|(_, deadline)| *deadline <= now)
            .map(|(at, _)| self.round.issues.get(at).worker)
            .collect();
        let workers = self.workers.iter();
        Status {
            generation: self.generation(),
            step: Step(self.step),
            total_steps: self.total_steps,
            epoch: self.manifest.place(self.step.min(self.total_steps - 1)).0,
            workers: workers.map(|(id, worker)| self.worker_status(id, worker, &overdue)).collect(),
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

    fn worker_status(&self, id: WorkerId, worker: &Worker, overdue: &[WorkerId]) -> WorkerStatus {
        WorkerStatus {
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
                Standing::Active if self.round.issues.is_busy(id) => WorkerState::Computing,
                Standing::Active => WorkerState::Idle,
            },
            last_heard: self.clock.shown(worker.last_heard),
            rejected: worker.rejected,
            strikes: self.workers.strikes(worker.member),
        }
    }
}
