//! The coordinator's behaviour as a pure state machine: events in, actions out, time passed in.
//!
//! ```text
//!    joined, enough workers        ┌───────────────────────────────────────────────────────────────┐
//!   ┌─────────┐      │             ▼                                                               │
//!   │ Waiting │──────┴────►┌───────────────┐  Send: all weights, to those who joined               │
//!   │ (whom,  │            │ begin a step  │  Assign: the planner's leaves, as nodes               │
//!   │  since) │◄── too few └───────────────┘                                                       │
//!   └─────────┘                    │                                                               │
//!        ▲                         ▼                                                               │
//!        │         ┌───────────────────────────────────────────────┐  left, silent, malformed:     │
//!        └─nobody──│            nodes are computed                 │  the leaves that nobody holds │
//!          is left │                                               │  any more are planned anew    │
//!                  │  contribution ──► check ──bad──► Reject       │◄──────┐                       │
//!                  │                     │ good                    │       │ overdue: the node is  │
//!                  │                     ▼                         │───────┘ given to an idle      │
//!                  │   layer 0 ─┐  layer 1 ─┐      loss, counts ─┐ │         worker too; the first │
//!                  │       nodes → tree → root, one lane each      │         result counts         │
//!                  └────────────┬───────────┬────────────────────┬─┘                               │
//!                  lane is full │           │                    │                                 │
//!                               ▼           ▼                    │                                 │
//!                   step the layer into the second buffer,       │                                 │
//!                   Broadcast it                                 │                                 │
//!                               └───────────┴──all lanes─────────┤                                 │
//!                                                                ▼                                 │
//!                  ┌──────────────────────────────────────────────────┐                            │
//!                  │ commit: the buffers change places; who has not   │────────────────────────────┘
//!                  │ delivered is late; StepDone, EpochDone,          │      last step, stop asked in any state, or
//!                  │ WriteSnapshot when it is due                     │───►  NaN in any lane (the second buffer is
//!                  └──────────────────────────────────────────────────┘      left behind): Release, WriteSnapshot, Finish
//! ```
//!
//! Nothing here reads a clock, draws randomness, opens a file or a socket. A contribution is validated completely before
//! anything changes; a bad one leaves no trace but counters and a typed reason. All weights that can be seen from
//! outside are those of a complete step, but for layers that are broadcast ahead.
//!
//! One file per concern: `protocol` (events and actions), `validate`, `reduce` (lanes and trees) and `wire` (received
//! bytes), `weights` (two buffers), `step` (from contribution to commit), `members` (who comes and goes), `state` (workers and
//! what they hold), `round`
//! (who is given what, and when again), `plan`, `deadlines`, `clock`, `status`, `report`.

mod audit;
mod clock;
mod deadlines;
mod members;
mod plan;
mod protocol;
mod reduce;
mod report;
mod round;
mod state;
mod status;
mod step;
mod validate;
mod weights;
mod wire;

use std::ops::Range;
use std::time::Duration;

use nn_core::{
    Compute, LayerLayout, OptimizerState, Tree, all_finite, initial_parameters, layout as layout_of,
};

use crate::manifest::Manifest;

pub use self::protocol::{
    Action, Assignment, Attempt, Contribution, Event, Generation, Join, Member, Part, Release, Step, Values,
    WorkerId,
};
pub use self::report::{EpochReport, EpochSums, Outcome, Snapshot, SnapshotError, StepReport};
pub use self::status::{Quarantine, Status, Waiting, WorkerState, WorkerStatus};
pub use self::validate::Rejection;

use self::clock::Clock;
use self::reduce::Reduction;
use self::round::Round;
use self::state::{Standing, Workers};
use self::weights::Weights;

/// How workers are treated. None of it can be seen in the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// How often the coordinator of this run has been started.
    pub generation: Generation,
    /// With fewer workers no step begins; one that is under way is still ended. 0 counts as 1.
    pub min_workers: usize,
    /// How far beyond its usual time a worker may be, in median absolute deviations, before an idle one is given the same
    /// node.
    pub patience: f64,
    /// A worker that nothing is heard of for so long is let go.
    pub silence: Duration,
    /// With too few workers for so long the run ends with [`Outcome::NoWorkers`]. None: it waits for ever.
    pub wait_timeout: Option<Duration>,
    /// A member that has sent so many malformed contributions, over all its connections, is let go for good. 0 counts as
    /// 1.
    pub strikes: u32,
    /// What the coordinator's link carries, for the planner's choice between balance and bytes, until it is measured.
    pub link_bytes_per_second: f64,
    /// The fraction of nodes that a second worker computes too, so that their bits can be compared before they count;
    /// where they differ, a third decides. With `min_workers` of 1 a worker that is alone is believed all the same.
    pub audit: f64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            generation: Generation(0),
            min_workers: 1,
            patience: 6.0,
            silence: Duration::from_secs(10),
            wait_timeout: None,
            strikes: 3,
            link_bytes_per_second: 125e6,
            audit: 0.0,
        }
    }
}

/// The state machine. See the module's diagram.
#[derive(Debug)]
pub struct Engine {
    manifest: Manifest,
    compute: Compute,
    cluster: Cluster,
    layout: Vec<LayerLayout>,
    weights: Weights,
    /// Steps done; the index of the one under way.
    step: u64,
    total_steps: u64,
    epoch: EpochSums,
    tree: Tree,
    reduction: Reduction,
    round: Round,
    workers: Workers,
    snapshot_every: Duration,
    /// None before the first event.
    last_snapshot: Option<Duration>,
    snapshot_steps: u64,
    snapshot_pending: Option<Step>,
    rejected: u64,
    clock: Clock,
    /// What carrying a node takes, once measured.
    transfer: Option<Duration>,
    outcome: Option<Outcome>,
}

impl Engine {
    /// A run from its beginning. A snapshot becomes due every `snapshot_every`, and at the end.
    #[must_use]
    pub fn new(manifest: Manifest, compute: Compute, snapshot_every: Duration) -> Self {
        let parts = manifest.parts();
        let layout = layout_of(&parts.model);
        let params = initial_parameters(&parts.model, parts.init, parts.seed);
        let optimizer = OptimizerState::new(parts.optimizer, &parts.model);
        let tree = manifest.tree(0);
        Self {
            compute,
            cluster: Cluster::default(),
            weights: Weights::new(params, optimizer, layout.len()),
            step: 0,
            total_steps: manifest.total_steps(),
            epoch: EpochSums::default(),
            tree,
            reduction: Reduction::new(&layout, tree),
            layout,
            round: Round::default(),
            workers: Workers::default(),
            snapshot_every,
            last_snapshot: None,
            snapshot_steps: 0,
            snapshot_pending: None,
            rejected: 0,
            clock: Clock::default(),
            transfer: None,
            outcome: None,
            manifest,
        }
    }

    /// The same run, in which a snapshot becomes due after every `steps` steps too; never, for 0.
    #[must_use]
    pub fn with_snapshot_steps(mut self, steps: u64) -> Self {
        self.snapshot_steps = steps;
        self
    }

    /// The same run with other rules for its workers.
    #[must_use]
    pub fn with_cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = cluster;
        self
    }

    /// Goes back to a snapshot of the same run, before any worker has joined.
    ///
    /// # Errors
    /// If it does not fit; then nothing has changed.
    pub fn restore(&mut self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let want = self.params().len();
        if snapshot.params.len() != want {
            return Err(SnapshotError::Parameters { got: snapshot.params.len(), want });
        }
        for (mine, theirs) in self.weights.optimizer().moments().iter().zip(&snapshot.moments) {
            if mine.len() != theirs.len() {
                return Err(SnapshotError::Moments { got: theirs.len(), want: mine.len() });
            }
        }
        let isa = self.compute.isa;
        let numbers = [&snapshot.params, &snapshot.moments[0], &snapshot.moments[1]];
        if !numbers.into_iter().all(|x| all_finite(isa, x)) || !snapshot.epoch.loss.is_finite() {
            return Err(SnapshotError::NonFinite);
        }
        if snapshot.step > self.total_steps {
            return Err(SnapshotError::Beyond { got: snapshot.step, want: self.total_steps });
        }
        *self.weights.params_mut() = snapshot.params;
        for (mine, theirs) in self.weights.optimizer_mut().moments_mut().into_iter().zip(&snapshot.moments) {
            mine.copy_from_slice(theirs);
        }
        self.step = snapshot.step;
        self.epoch = snapshot.epoch;
        if self.step < self.total_steps {
            self.tree = self.manifest.tree(self.step);
            self.reduction.reset(self.tree);
        }
        Ok(())
    }

    /// The run's description.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the engine computes with.
    #[must_use]
    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    /// How workers are treated.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The parameters after the last complete step.
    #[must_use]
    pub fn params(&self) -> &[f32] {
        self.weights.params()
    }

    /// The weights that the gradients of `step` are computed with: all of the current step's, and of the step after it
    /// each layer that has been broadcast already. None for any other.
    #[must_use]
    pub fn weights(&self, step: Step, part: Part) -> Option<&[f32]> {
        let range = self.part_range(part)?;
        if step.0 == self.step {
            return Some(&self.params()[range]);
        }
        match part {
            Part::Layer(layer) if step.0 == self.step + 1 => {
                self.weights.next_layer(layer as usize, &self.layout[layer as usize])
            }
            _ => None,
        }
    }

    /// Where a part is in the flat buffer of parameters; None if the model has no such layer.
    #[must_use]
    pub fn part_range(&self, part: Part) -> Option<Range<usize>> {
        match part {
            Part::All => Some(0..self.params().len()),
            Part::Layer(layer) => Some(self.layout.get(layer as usize)?.range()),
        }
    }

    /// Layers that have weights.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layout.len()
    }

    /// Whether a worker is to be sent what is broadcast.
    #[must_use]
    pub fn is_synced(&self, worker: WorkerId) -> bool {
        self.workers.get(worker).is_some_and(|worker| worker.standing == Standing::Active)
    }

    /// How often the coordinator of this run has been started.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.cluster.generation
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// How the run ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Contributions refused so far, duplicates and late ones among them.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The run after the last complete step, to be written.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            step: self.step,
            params: self.params().to_vec(),
            moments: self.weights.optimizer().moments().map(<[f32]>::to_vec),
            epoch: self.epoch,
        }
    }

    /// Takes in an event at time `now` (since any fixed moment) and appends what is to be done, in order. Should the clock
    /// go back, the engine's time goes on from where it was; and a time of more than half a second without any
    /// event hardly counts, because it was the coordinator that was not there.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        let now = self.clock.read(now);
        self.last_snapshot.get_or_insert(self.clock.wall());
        match event {
            Event::Contribution(contribution) => self.receive(now, contribution, actions),
            Event::Joined(join) => self.join(now, join, actions),
            Event::Left(worker) => {
                if let Some(gone) = self.drop_worker(worker) {
                    self.workers.departed(worker, gone.member);
                    self.settle(now, actions);
                }
            }
            Event::Garbled(worker) => {
                let reason = Rejection::NoMessage;
                if !self.strike(now, worker, reason, actions)
                    && let Some(gone) = self.drop_worker(worker)
                {
                    self.workers.departed(worker, gone.member);
                }
                self.settle(now, actions);
            }
            Event::Heartbeat(worker) => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.last_heard = now;
                }
            }
            Event::Tick => {
                self.release_silent(now, actions);
                self.release_stalled(now, actions);
                self.round.next_due = Duration::ZERO;
                self.settle(now, actions);
            }
            Event::StopRequested => {
                if self.outcome.is_none() {
                    self.finish(Outcome::Stopped, actions);
                }
            }
            Event::SnapshotWritten(step) => {
                if self.snapshot_pending.is_some_and(|pending| pending <= step) {
                    self.snapshot_pending = None;
                }
            }
        }
    }

    fn finish(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.outcome = Some(outcome);
        self.weights.abandon();
        self.reduction.reset(self.tree);
        self.round.clear();
        let reason = Release::Over(outcome);
        actions.extend(self.workers.iter().map(|(worker, _)| Action::Release { worker, reason }));
        self.workers.clear();
        // After a divergence the last good checkpoint stays the newest.
        if !matches!(outcome, Outcome::Diverged { .. }) {
            actions.push(Action::WriteSnapshot);
        }
        actions.push(Action::Finish(outcome));
    }
}
