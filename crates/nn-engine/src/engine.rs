//! The coordinator's behaviour as a pure state machine: events in, actions out, time passed in.
//!
//! ```text
//!                       worker joined                     a node arrives, the root is not complete
//!                      ┌─────────────┐                            ┌──────────┐
//!   ┌─────────┐        │             ▼                            │          ▼
//!   │ Waiting │────────┘        ┌──────────┐  Assign   ┌──────────────────────┐
//!   └─────────┘◄── last worker ─│ Planning │──────────►│       Reducing       │
//!        ▲            left      └──────────┘           │ nodes → tree → root  │
//!        │                           ▲                 └──────────────────────┘
//!        │                           │ next step                  │ root complete
//!        │                           │                            ▼
//!        │                      ┌────────────────────────────────────────┐   last step, stop asked,
//!        └── every state ──────►│ optimizer step, StepDone, EpochDone,   │── or the loss diverged ──► Finished
//!            can be stopped     │ WriteSnapshot when it is due           │   (WriteSnapshot, Finish)
//!                               └────────────────────────────────────────┘
//! ```
//!
//! Nothing here reads a clock, draws randomness, opens a file or a socket. A contribution is validated completely before
//! anything changes; a bad one leaves no trace but a counter and a typed reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nn_core::{
    Isa, Node, NodeStats, OptimizerState, Threads, Tree, add_assign, all_finite, initial_parameters,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::manifest::Manifest;
use crate::plan::share;

/// A worker, as the engine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// A step of the run, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Step(pub u64);

/// One node of a step's tree, computed.
#[derive(Debug)]
pub struct Contribution {
    /// Who computed it.
    pub worker: WorkerId,
    /// For which step.
    pub step: Step,
    /// Which node.
    pub node: Node,
    /// Loss and counts, as sums.
    pub stats: NodeStats,
    /// The node's gradient sum, in the order of the parameters.
    pub gradient: Vec<f32>,
}

/// What the engine is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A worker is ready. It takes part from the next step on.
    WorkerJoined(WorkerId),
    /// A worker is gone: its unfinished nodes go to others.
    WorkerLeft(WorkerId),
    /// A worker sends a node.
    Contribution(Contribution),
    /// Time has passed.
    Tick,
    /// The operator wants the run to end after a checkpoint.
    StopRequested,
}

/// What the engine wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Have a worker compute a node of a step, with the parameters as they are now ([`Engine::params`]).
    Assign {
        /// Who.
        worker: WorkerId,
        /// The step whose mini-batch it is.
        step: Step,
        /// Which node of its tree.
        node: Node,
    },
    /// A contribution changed nothing.
    Reject {
        /// Whose.
        worker: WorkerId,
        /// Why.
        reason: Rejection,
    },
    /// A gradient buffer is free to be used again.
    Recycle(Vec<f32>),
    /// A step is done.
    StepDone(StepReport),
    /// An epoch is done; the parameters are those after its last step.
    EpochDone(EpochReport),
    /// A checkpoint is due: take [`Engine::snapshot`] and write it.
    WriteSnapshot,
    /// The run is over.
    Finish(Outcome),
}

/// Why a contribution was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The worker never joined, or has left.
    #[error("worker {0} is not part of this run")]
    UnknownWorker(u64),
    /// A step that is over, or has not begun.
    #[error("the contribution is for step {got}, but the run is at step {now}")]
    WrongStep {
        /// The contribution's.
        got: u64,
        /// The run's.
        now: u64,
    },
    /// Not a node of the step's tree.
    #[error("node {}/{} is not part of the step's tree", .0.level, .0.index)]
    UnknownNode(Node),
    /// Already counted, alone or in a larger node.
    #[error("node {}/{} has been counted already", .0.level, .0.index)]
    Duplicate(Node),
    /// Not as many numbers as there are parameters.
    #[error("the gradient has {got} numbers, but the model has {want} parameters")]
    WrongLength {
        /// The contribution's.
        got: usize,
        /// The model's.
        want: usize,
    },
    /// Not the node's number of samples.
    #[error("the node has {want} samples, but the contribution counts {got}")]
    WrongCount {
        /// The contribution's.
        got: usize,
        /// The node's.
        want: usize,
    },
    /// The statistics say that all is finite, but it is not.
    #[error("the contribution has NaN or infinity in it and does not say so")]
    HiddenNonFinite,
    /// The run has ended.
    #[error("the run is over")]
    Over,
}

/// A step, done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Which.
    pub step: Step,
    /// Its epoch, counted from 0.
    pub epoch: u64,
    /// Samples of the mini-batch.
    pub samples: usize,
    /// Their mean loss, before the step was taken.
    pub loss: f64,
    /// The learning rate it was taken with.
    pub learning_rate: f32,
}

/// An epoch, done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// Which, counted from 0.
    pub epoch: u64,
    /// Steps since the run began.
    pub steps: u64,
    /// Samples of the epoch.
    pub samples: usize,
    /// Their mean loss while training: each sample's before the step that it took part in.
    pub train_loss: f64,
    /// How many of them were answered rightly, likewise.
    pub correct: usize,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Complete,
    /// The operator asked for the end.
    Stopped,
    /// A loss, gradient or weight became NaN or infinite in this step; the parameters are those before it.
    Diverged {
        /// Counted from 0.
        epoch: u64,
        /// Counted from 0.
        step: Step,
    },
}

/// All that a run needs to go on: what a checkpoint holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// The parameters after them.
    pub params: Vec<f32>,
    /// The optimizer's moments; empty where it has none.
    pub moments: [Vec<f32>; 2],
    /// Sums over the epoch so far.
    pub epoch: EpochSums,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochSums {
    /// Of the losses.
    pub loss: f64,
    /// Of the right answers.
    pub correct: usize,
}

/// Why a snapshot does not fit the run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum SnapshotError {
    #[error("it has {got} parameters where the model has {want}")]
    Parameters { got: usize, want: usize },
    #[error("it has optimizer state of {got} numbers where {want} belong")]
    Moments { got: usize, want: usize },
    #[error("it has NaN or infinity in it")]
    NonFinite,
    #[error("it is at step {got}, but the run has only {want} steps; ask for more --epochs")]
    Beyond { got: u64, want: u64 },
}

/// What the engine computes with. It cannot be seen in the result.
#[derive(Debug, Clone)]
pub struct Compute {
    /// The instructions.
    pub isa: Isa,
    /// The threads of the optimizer step.
    pub threads: Arc<Threads>,
}

/// The state machine. See the module's diagram.
#[derive(Debug)]
pub struct Engine {
    manifest: Manifest,
    compute: Compute,
    params: Vec<f32>,
    optimizer: OptimizerState,
    step: u64,
    epoch: EpochSums,
    workers: BTreeMap<WorkerId, Vec<Node>>,
    /// Whether the step's nodes have been given out.
    assigned: bool,
    tree: Tree,
    reduced: BTreeMap<Node, (NodeStats, Vec<f32>)>,
    snapshot_every: Duration,
    last_snapshot: Duration,
    rejected: u64,
    outcome: Option<Outcome>,
}

impl Engine {
    /// A run from its beginning. A snapshot becomes due every `snapshot_every`, and at the end.
    #[must_use]
    pub fn new(manifest: Manifest, compute: Compute, snapshot_every: Duration) -> Self {
        let parts = manifest.parts();
        let params = initial_parameters(&parts.model, parts.init, parts.seed);
        let optimizer = OptimizerState::new(parts.optimizer, &parts.model);
        let tree = manifest.tree(0);
        Self {
            manifest,
            compute,
            params,
            optimizer,
            step: 0,
            epoch: EpochSums::default(),
            workers: BTreeMap::new(),
            assigned: false,
            tree,
            reduced: BTreeMap::new(),
            snapshot_every,
            last_snapshot: Duration::ZERO,
            rejected: 0,
            outcome: None,
        }
    }

    /// Goes back to a snapshot of the same run.
    ///
    /// # Errors
    /// If it does not fit; then nothing has changed.
    pub fn restore(&mut self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let want = self.params.len();
        if snapshot.params.len() != want {
            return Err(SnapshotError::Parameters { got: snapshot.params.len(), want });
        }
        for (mine, theirs) in self.optimizer.moments().iter().zip(&snapshot.moments) {
            if mine.len() != theirs.len() {
                return Err(SnapshotError::Moments { got: theirs.len(), want: mine.len() });
            }
        }
        let isa = self.compute.isa;
        let numbers = [&snapshot.params, &snapshot.moments[0], &snapshot.moments[1]];
        if !numbers.into_iter().all(|x| all_finite(isa, x)) || !snapshot.epoch.loss.is_finite() {
            return Err(SnapshotError::NonFinite);
        }
        let total = self.manifest.total_steps();
        if snapshot.step > total {
            return Err(SnapshotError::Beyond { got: snapshot.step, want: total });
        }
        self.params = snapshot.params;
        for (mine, theirs) in self.optimizer.moments_mut().into_iter().zip(&snapshot.moments) {
            mine.copy_from_slice(theirs);
        }
        self.step = snapshot.step;
        self.epoch = snapshot.epoch;
        if self.step < total {
            self.tree = self.manifest.tree(self.step);
        }
        Ok(())
    }

    /// The run's description.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The parameters after all steps done.
    #[must_use]
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// What the engine computes with.
    #[must_use]
    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Contributions refused so far.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The run as it is now, to be written.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            step: self.step,
            params: self.params.clone(),
            moments: self.optimizer.moments().map(<[f32]>::to_vec),
            epoch: self.epoch,
        }
    }

    /// Takes in an event at time `now` (since any fixed moment) and appends what is to be done.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::WorkerJoined(worker) => {
                self.workers.entry(worker).or_default();
                self.assign(actions);
            }
            Event::WorkerLeft(worker) => {
                if let Some(nodes) = self.workers.remove(&worker) {
                    self.reassign(nodes, actions);
                }
            }
            Event::Contribution(contribution) => match self.check(&contribution) {
                Ok(()) => self.contribute(now, contribution, actions),
                Err(reason) => {
                    self.rejected += 1;
                    actions.push(Action::Recycle(contribution.gradient));
                    actions.push(Action::Reject { worker: contribution.worker, reason });
                }
            },
            Event::Tick => {}
            Event::StopRequested => {
                if self.outcome.is_none() {
                    self.finish(Outcome::Stopped, actions);
                }
            }
        }
    }

    /// Gives out the step's nodes, if there is a step, somebody to do it, and it is not under way.
    fn assign(&mut self, actions: &mut Vec<Action>) {
        if self.outcome.is_some() || self.assigned || self.workers.is_empty() {
            return;
        }
        if self.step >= self.manifest.total_steps() {
            self.finish(Outcome::Complete, actions);
            return;
        }
        self.assigned = true;
        let step = Step(self.step);
        let count = self.workers.len();
        for (i, (&worker, nodes)) in self.workers.iter_mut().enumerate() {
            nodes.clear();
            self.tree.cover_into(share(self.tree.leaves(), i, count), nodes);
            actions.extend(nodes.iter().map(|&node| Action::Assign { worker, step, node }));
        }
    }

    /// Gives the nodes that a lost worker has not finished to the one with the least to do.
    fn reassign(&mut self, nodes: Vec<Node>, actions: &mut Vec<Action>) {
        if self.outcome.is_some() || nodes.is_empty() {
            return;
        }
        let idle = self.workers.iter().min_by_key(|(_, nodes)| nodes.len()).map(|(&w, _)| w);
        if let Some(worker) = idle {
            let step = Step(self.step);
            actions.extend(nodes.iter().map(|&node| Action::Assign { worker, step, node }));
            self.workers.entry(worker).or_default().extend(nodes);
        } else {
            // Nobody is left: the next to join gets the whole step.
            self.assigned = false;
            for (_, buffer) in std::mem::take(&mut self.reduced).into_values() {
                actions.push(Action::Recycle(buffer));
            }
        }
    }

    fn check(&self, c: &Contribution) -> Result<(), Rejection> {
        if self.outcome.is_some() {
            return Err(Rejection::Over);
        }
        if !self.workers.contains_key(&c.worker) {
            return Err(Rejection::UnknownWorker(c.worker.0));
        }
        if c.step.0 != self.step {
            return Err(Rejection::WrongStep { got: c.step.0, now: self.step });
        }
        if !self.tree.contains(c.node) {
            return Err(Rejection::UnknownNode(c.node));
        }
        let leaves = self.tree.leaves_of(c.node);
        let overlaps = |node: &Node| {
            let have = self.tree.leaves_of(*node);
            have.start < leaves.end && leaves.start < have.end
        };
        if self.reduced.keys().any(overlaps) {
            return Err(Rejection::Duplicate(c.node));
        }
        if c.gradient.len() != self.params.len() {
            return Err(Rejection::WrongLength { got: c.gradient.len(), want: self.params.len() });
        }
        let want = self.tree.samples_of(c.node).len();
        if c.stats.samples != want || c.stats.correct > want {
            return Err(Rejection::WrongCount { got: c.stats.samples, want });
        }
        if c.stats.finite && !c.stats.loss.is_finite() {
            return Err(Rejection::HiddenNonFinite);
        }
        Ok(())
    }

    /// Adds a checked node to the tree and, when that completes the root, takes the step.
    fn contribute(&mut self, now: Duration, c: Contribution, actions: &mut Vec<Action>) {
        if let Some(nodes) = self.workers.get_mut(&c.worker) {
            nodes.retain(|&n| n != c.node);
        }
        let (mut node, mut stats, mut gradient) = (c.node, c.stats, c.gradient);
        let root = self.tree.root();
        while node != root {
            let sibling = node.sibling();
            if self.tree.contains(sibling) {
                let Some((other_stats, mut other)) = self.reduced.remove(&sibling) else {
                    self.reduced.insert(node, (stats, gradient));
                    return;
                };
                // The left one is always the first term.
                if sibling.index < node.index {
                    std::mem::swap(&mut gradient, &mut other);
                }
                add_assign(self.compute.isa, &mut gradient, &other);
                let (left, right) =
                    if sibling.index < node.index { (other_stats, stats) } else { (stats, other_stats) };
                stats = NodeStats {
                    samples: left.samples + right.samples,
                    loss: left.loss + right.loss,
                    correct: left.correct + right.correct,
                    finite: left.finite && right.finite,
                };
                actions.push(Action::Recycle(other));
            }
            node = node.parent();
        }
        let joined = c.node != root;
        let finite = stats.finite && stats.loss.is_finite();
        if !finite || joined && !all_finite(self.compute.isa, &gradient) {
            let outcome =
                Outcome::Diverged { epoch: self.manifest.place(self.step).0, step: Step(self.step) };
            actions.push(Action::Recycle(gradient));
            self.finish(outcome, actions);
            return;
        }
        self.take_step(now, stats, &gradient, actions);
        actions.push(Action::Recycle(gradient));
        self.assign(actions);
    }

    fn take_step(&mut self, now: Duration, stats: NodeStats, gradient: &[f32], actions: &mut Vec<Action>) {
        let parts = self.manifest.parts();
        let learning_rate = self.manifest.learning_rate(self.step);
        self.optimizer.step(
            self.compute.isa,
            &self.compute.threads,
            &mut self.params,
            gradient,
            stats.samples,
            self.step,
            learning_rate,
            parts.l2 / parts.train_samples as f32,
        );
        let (epoch, batch) = self.manifest.place(self.step);
        self.epoch.loss += stats.loss;
        self.epoch.correct += stats.correct;
        let loss = stats.loss / stats.samples as f64;
        let step = Step(self.step);
        actions.push(Action::StepDone(StepReport {
            step,
            epoch,
            samples: stats.samples,
            loss,
            learning_rate,
        }));
        self.step += 1;
        self.assigned = false;
        if batch + 1 == self.manifest.steps_per_epoch() {
            let sums = std::mem::take(&mut self.epoch);
            actions.push(Action::EpochDone(EpochReport {
                epoch,
                steps: self.step,
                samples: parts.train_samples,
                train_loss: sums.loss / parts.train_samples as f64,
                correct: sums.correct,
            }));
        }
        if self.step < self.manifest.total_steps() {
            self.tree = self.manifest.tree(self.step);
            if !self.snapshot_every.is_zero() && now.saturating_sub(self.last_snapshot) >= self.snapshot_every
            {
                self.last_snapshot = now;
                actions.push(Action::WriteSnapshot);
            }
        }
    }

    fn finish(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.outcome = Some(outcome);
        for (_, buffer) in std::mem::take(&mut self.reduced).into_values() {
            actions.push(Action::Recycle(buffer));
        }
        // After a divergence the last good checkpoint stays the newest.
        if !matches!(outcome, Outcome::Diverged { .. }) {
            actions.push(Action::WriteSnapshot);
        }
        actions.push(Action::Finish(outcome));
    }
}
