//! The coordinator as a pure state machine: events in, actions out, time as an argument.
//!
//! ```text
//!    joined, enough workers        ┌────────────────────────────────────────────────────────────────┐
//!   ┌─────────┐      │             ▼                                                                │
//!   │ waiting │──────┴────►┌───────────────┐  Send: all weights, to workers that have joined         │
//!   │ (missed,│            │ begin a step  │  Assign: ranges of leaves, as nodes                    │
//!   │  since) │◄── too few └───────────────┘                                                        │
//!   └─────────┘                    │                                                                │
//!        ▲                         ▼                                                                │
//!        │         ┌───────────────────────────────────────────────┐  left, silent, malformed:      │
//!        └ nobody ─│            nodes are computed                 │  leaves that no worker holds   │
//!          is left │                                               │  any more are planned again    │
//!                  │  contribution ──► check ──bad──► Reject       │◄──────┐                        │
//!                  │                     │ good; an audited node   │       │ overdue: an idle worker│
//!                  │                     ▼ once two results agree  │───────┘ gets the node too; the │
//!                  │   layer 0 ─┐  layer 1 ─┐      loss, counts ─┐ │         first result counts    │
//!                  │        nodes → tree → root, for each sum      │                                │
//!                  └────────────┬───────────┬────────────────────┬─┘                                │
//!               sum is complete │           │                    │                                  │
//!                               ▼           ▼                    │                                  │
//!                   step the layer into the second buffer,       │                                  │
//!                   Broadcast it                                 │                                  │
//!                               └───────────┴──all sums──────────┤                                  │
//!                                                                ▼                                  │
//!                  ┌──────────────────────────────────────────────────┐                             │
//!                  │ commit: swap the buffers; workers that are still │─────────────────────────────┘
//!                  │ computing are late; StepDone, EpochDone,         │
//!                  │ WriteSnapshot if one is due                      │───►  last step, a stop in any state, or NaN in
//!                  └──────────────────────────────────────────────────┘      any sum (the second buffer is abandoned):
//!                                                                            Release, WriteSnapshot (except after NaN),
//!                                                                            Finish
//! ```
//!
//! With `--clip-norm` the layers are stepped only once all of their sums are complete, as the norm of the gradient runs over
//! all of them.
//!
//! Nothing in here reads a clock, draws randomness, or opens a file or a socket. A contribution is validated completely
//! before anything changes; a bad one leaves no trace but counters and a typed reason. All weights visible from outside
//! belong to a complete step, except layers that are broadcast ahead.
//!
//! | Files | Concern |
//! | --- | --- |
//! | `ids`, `protocol`, `rejection`, `report`, `options` | the vocabulary: events, actions, reasons, reports, choices |
//! | `workers`, `issues`, `trial`, `round` | state: workers, assigned nodes, a node under audit, the step under way |
//! | `reduce`, `received`, `weights` | sums along the tree, received numbers, the two buffers |
//! | `clipping` | sums that wait for all layers, where the gradient is clipped by its norm |
//! | `plan`, `deadlines`, `clock` | shares of the leaves, each worker's pace, time without jumps |
//! | `handle` | the control flow: an event is applied, then the run is settled |
//! | `members` | joining, leaving, release, quarantine |
//! | `assign`, `overdue` | which worker gets a node, and which other one gets it when it is overdue |
//! | `validate`, `step` | from a contribution to the next weights |
//! | `audit` | nodes that two workers compute before they count |
//! | `status` | the run for display |
//!
//! The files of the first five rows know nothing of [`Engine`]; the others are its `impl` blocks.

mod assign;
mod audit;
mod clipping;
mod clock;
mod deadlines;
mod handle;
mod ids;
mod issues;
mod members;
mod options;
mod overdue;
mod plan;
mod protocol;
mod received;
mod reduce;
mod rejection;
mod report;
mod round;
mod status;
mod step;
mod trial;
mod validate;
mod weights;
mod workers;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nn_core::{Average, Compute, Plateau, RangeTest, ScheduleShape, Tree, all_finite};

use crate::manifest::Manifest;

pub use self::ids::{Attempt, Generation, Member, Part, Step, WorkerId};
pub use self::options::{Cluster, MAX_REMEMBERED, MAX_WORKERS};
pub use self::protocol::{Action, Assignment, Contribution, Event, Join, Release, Values};
pub use self::received::Received;
pub use self::rejection::Rejection;
pub use self::report::{EpochReport, EpochSums, Outcome, Snapshot, SnapshotError, StepReport};
pub use self::status::{Status, Waiting, WorkerState, WorkerStatus};
pub use self::workers::Quarantine;

use self::clipping::Clipping;
use self::clock::Clock;
use self::reduce::Reduction;
use self::round::Round;
use self::weights::{DoubleBuffer, Stepper};
use self::workers::{Standing, Workers};

/// The state machine. See the module's diagram.
#[derive(Debug)]
pub struct Engine {
    manifest: Manifest,
    compute: Compute,
    cluster: Cluster,
    /// The parts of the parameters that are sent, summed and stepped on their own.
    pieces: Vec<Range<usize>>,
    weights: DoubleBuffer,
    /// The moving average of the weights, if that is the run's model. It takes in the weights of steps that are committed, so
    /// it needs no second buffer.
    average: Option<Average>,
    /// What the evaluations have come to, in a run whose rate depends on them.
    plateau: Option<Plateau>,
    /// The rates of the steps, in place of those of the schedule.
    range_test: Option<RangeTest>,
    /// Steps done, which is also the index of the step under way.
    step: u64,
    total_steps: u64,
    epoch: EpochSums,
    tree: Tree,
    reduction: Reduction,
    /// `None` where gradients are not clipped: each layer is then stepped as soon as its sum is complete.
    clipping: Option<Clipping>,
    round: Round,
    workers: Workers,
    snapshot_every: Duration,
    /// None before the first event.
    last_snapshot: Option<Duration>,
    snapshot_steps: u64,
    snapshot_pending: Option<Step>,
    rejected: u64,
    /// Events handled.
    events: u64,
    clock: Clock,
    /// The time to transfer a node, once measured.
    transfer: Option<Duration>,
    outcome: Option<Outcome>,
    /// Whether a step has begun since the process started.
    started: bool,
}

impl Engine {
    /// A run from its beginning. A snapshot becomes due every `snapshot_every` (never, if that is zero) and at the end.
    ///
    /// A run that begins with a model's weights needs them in its manifest ([`Manifest::beginning_with`]), or a snapshot to
    /// [`restore`](Self::restore). Without either it diverges in its first step.
    #[must_use]
    pub fn new(manifest: Manifest, compute: Compute, snapshot_every: Duration) -> Self {
        let (model, recipe) = (manifest.model(), manifest.recipe());
        let pieces = manifest.pieces();
        // NaN ends the run before it could train weights that are not its own.
        let params = manifest.initial_weights().unwrap_or_else(|| vec![f32::NAN; model.parameters()]);
        let stepper = Stepper::new(&manifest);
        let tree = manifest.tree(0);
        Self {
            compute,
            cluster: Cluster::default(),
            average: recipe.ema.map(|decay| Average::new(decay, &params)),
            range_test: None,
            plateau: matches!(recipe.schedule.shape, ScheduleShape::Plateau { .. }).then(Plateau::default),
            weights: DoubleBuffer::new(params, stepper, pieces.clone()),
            step: 0,
            total_steps: manifest.total_steps(),
            epoch: EpochSums::default(),
            tree,
            reduction: Reduction::new(&pieces, tree),
            clipping: Clipping::of(&manifest),
            pieces,
            round: Round::default(),
            workers: Workers::default(),
            snapshot_every,
            last_snapshot: None,
            snapshot_steps: 0,
            snapshot_pending: None,
            rejected: 0,
            events: 0,
            clock: Clock::default(),
            transfer: None,
            outcome: None,
            started: false,
            manifest,
        }
    }

    /// Makes a snapshot due after every `steps` steps, too; 0 for never.
    #[must_use]
    pub fn with_snapshot_steps(mut self, steps: u64) -> Self {
        self.snapshot_steps = steps;
        self
    }

    /// Takes the steps of a range test, each at its rate, in place of the run's own. For runs without rounds, whose replicas
    /// compute the rates of their steps from the manifest.
    #[must_use]
    pub fn with_range_test(mut self, test: RangeTest) -> Self {
        (self.range_test, self.total_steps) = (Some(test), test.steps);
        self
    }

    /// Replaces the rules for workers.
    #[must_use]
    pub fn with_cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = cluster;
        self
    }

    /// Resumes from a snapshot of the same run, before any worker has joined.
    ///
    /// # Errors
    /// If the snapshot does not fit the run; then nothing has changed.
    pub fn restore(&mut self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let want = self.params().len();
        if snapshot.params.len() != want {
            return Err(SnapshotError::Parameters { got: snapshot.params.len(), want });
        }
        for (mine, theirs) in self.weights.moments().iter().zip(&snapshot.moments) {
            if mine.len() != theirs.len() {
                return Err(SnapshotError::Moments { got: theirs.len(), want: mine.len() });
            }
        }
        let want = self.average().map_or(0, <[f32]>::len);
        if snapshot.average.len() != want {
            return Err(SnapshotError::Average { got: snapshot.average.len(), want });
        }
        if snapshot.plateau.is_some() != self.plateau.is_some() {
            return Err(SnapshotError::Plateau);
        }
        let isa = self.compute.isa;
        let numbers = [&snapshot.params, &snapshot.moments[0], &snapshot.moments[1], &snapshot.average];
        if !numbers.into_iter().all(|x| all_finite(isa, x)) || !snapshot.epoch.loss.is_finite() {
            return Err(SnapshotError::NonFinite);
        }
        if snapshot.step > self.total_steps {
            return Err(SnapshotError::Beyond { got: snapshot.step, want: self.total_steps });
        }
        self.weights.restore(snapshot.params);
        for (mine, theirs) in self.weights.moments_mut().into_iter().zip(&snapshot.moments) {
            mine.copy_from_slice(theirs);
        }
        if let Some(average) = &mut self.average {
            average.values_mut().copy_from_slice(&snapshot.average);
        }
        self.step = snapshot.step;
        self.epoch = snapshot.epoch;
        self.plateau = snapshot.plateau;
        if self.step < self.total_steps {
            self.tree = self.manifest.tree(self.step);
            self.reduction.reset(self.tree);
        }
        Ok(())
    }

    /// The run's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The instructions and threads that the engine computes with.
    #[must_use]
    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    /// The rules for workers.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The parameters after the last complete step.
    #[must_use]
    pub fn params(&self) -> &[f32] {
        self.weights.params()
    }

    /// The moving average of the parameters up to the last complete step; `None` if the run has none.
    #[must_use]
    pub fn average(&self) -> Option<&[f32]> {
        self.average.as_ref().map(Average::values)
    }

    /// The parameters of the run's model after the last complete step: the average, if the run has one. Gradients are
    /// computed with [`Engine::params`].
    #[must_use]
    pub fn model_params(&self) -> &[f32] {
        self.average().unwrap_or_else(|| self.params())
    }

    /// [`Engine::params`] for a worker in this process, which computes with them where they are. While it holds them, the
    /// engine writes elsewhere; so it should let go of them before it sends what it has computed.
    #[must_use]
    pub fn shared_params(&self) -> Arc<Vec<f32>> {
        self.weights.shared_params()
    }

    /// The weights that the gradients of `step` are computed with. There are those of the current step and, of the next
    /// step, each layer that has already been broadcast; None for any other.
    #[must_use]
    pub fn weights(&self, step: Step, part: Part) -> Option<&[f32]> {
        let range = self.part_range(part)?;
        if step.0 == self.step {
            return Some(&self.params()[range]);
        }
        match part {
            Part::Layer(layer) if step.0 == self.step + 1 => self.weights.next_layer(layer as usize),
            _ => None,
        }
    }

    /// With rounds, what a part of the weights of `step` differs by from that of the step before, encoded
    /// ([`Manifest::update_encoding`]). There are updates to the current step, and to the next one for each part that has
    /// already been broadcast; None for any other, and without rounds.
    #[must_use]
    pub fn update(&self, step: Step, part: Part) -> Option<Bytes> {
        let Part::Layer(piece) = part else { return None };
        match step.0.checked_sub(self.step)? {
            0 => self.weights.update(piece as usize),
            1 => self.weights.next_update(piece as usize),
            _ => None,
        }
    }

    /// A part's place in the flat buffer of parameters; None if the model has no such layer.
    #[must_use]
    pub fn part_range(&self, part: Part) -> Option<Range<usize>> {
        match part {
            Part::All => Some(0..self.params().len()),
            Part::Layer(piece) => self.pieces.get(piece as usize).cloned(),
        }
    }

    /// The number of parts that are sent on their own: layers or, with rounds, pieces of the parameters.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.pieces.len()
    }

    /// Whether a worker gets the broadcasts of the event that was handled last. One that was admitted in that event does not:
    /// all weights that it is sent are newer.
    #[must_use]
    pub fn is_synced(&self, worker: WorkerId) -> bool {
        let worker = self.workers.get(worker);
        worker.is_some_and(|worker| worker.standing == Standing::Active && worker.admitted < self.events)
    }

    /// The number of times that the coordinator of this run has been started.
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

    /// Contributions refused so far, including duplicates and late ones.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The run's state after the last complete step, for a checkpoint.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            step: self.step,
            params: self.params().to_vec(),
            moments: self.weights.moments().map(<[f32]>::to_vec),
            average: self.average().unwrap_or_default().to_vec(),
            epoch: self.epoch,
            plateau: self.plateau,
        }
    }

    /// Takes in the mean loss of the run's model on the validation samples after the epoch that was reported last. A run with the
    /// schedule `plateau` has to be told after each epoch that the schedule evaluates, before the next event is handled; others
    /// ignore it.
    pub fn evaluated(&mut self, loss: f64) {
        let ScheduleShape::Plateau { evaluations, every_epochs, factor: _ } =
            self.manifest.recipe().schedule.shape
        else {
            return;
        };
        let (epochs, into) = self.manifest.place(self.step);
        if let (Some(plateau), 0, true) =
            (&mut self.plateau, into, epochs.is_multiple_of(every_epochs.into()))
        {
            plateau.take_in(loss, evaluations);
        }
    }

    /// The learning rate of a step from the last evaluation on; of its first sequential step, if it is a round.
    pub(super) fn learning_rate(&self, step: u64) -> f32 {
        if let Some(test) = self.range_test {
            return test.rate(step);
        }
        let first = self.manifest.span(step).first_step;
        self.manifest.lowered_rate(first, &self.plateau.unwrap_or_default())
    }
}
