//! What a run tells about itself: steps, epochs, its end, and what a checkpoint holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::protocol::Step;

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
    /// There were too few workers for longer than the operator wants to wait.
    NoWorkers {
        /// Connected ones.
        have: usize,
        /// How many there should have been, at least one of them ready.
        want: usize,
        /// Since when, by the driver's clock.
        since: Duration,
        /// How long that was.
        waited: Duration,
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
