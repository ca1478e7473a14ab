//! The run's reports: a step, an epoch, the end, and the state that a checkpoint holds.

use std::time::Duration;

use nn_core::Plateau;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ids::Step;

/// A completed step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The step.
    pub step: Step,
    /// Its epoch, counted from 0.
    pub epoch: u64,
    /// Samples in the mini-batch.
    pub samples: usize,
    /// Mean loss of these samples, before the step.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f32,
}

/// A completed epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Steps since the run began.
    pub steps: u64,
    /// Samples in the epoch.
    pub samples: usize,
    /// Mean loss during training: each sample's loss before the step that used it.
    pub train_loss: f64,
    /// Samples classified correctly, counted before the step that used them.
    pub correct: usize,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Complete,
    /// The operator stopped the run.
    Stopped,
    /// A loss, gradient or weight became NaN or infinite in this step; the parameters are those before the step.
    Diverged {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The step, counted from 0.
        step: Step,
    },
    /// There were too few workers for longer than the operator wants to wait.
    NoWorkers {
        /// Workers that were connected.
        have: usize,
        /// Workers that the run needed, at least one of them ready.
        want: usize,
        /// The start of the wait, by the driver's clock.
        since: Duration,
        /// The length of the wait.
        waited: Duration,
    },
}

/// The state that a run resumes from: the contents of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// Parameters after these steps.
    pub params: Vec<f32>,
    /// Moments of the optimizer; empty if it has none.
    pub moments: [Vec<f32>; 2],
    /// The moving average of the parameters; empty if the run has none.
    pub average: Vec<f32>,
    /// Sums over the epoch so far.
    pub epoch: EpochSums,
    /// The state of the schedule `plateau`, in runs that have it.
    pub plateau: Option<Plateau>,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochSums {
    /// Sum of the samples' losses.
    pub loss: f64,
    /// Samples classified correctly.
    pub correct: usize,
}

/// Why a snapshot does not fit the run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum SnapshotError {
    #[error("it has {got} parameters, but the model has {want}")]
    Parameters { got: usize, want: usize },
    #[error("its optimizer state has {got} numbers instead of {want}")]
    Moments { got: usize, want: usize },
    #[error("its average of the weights has {got} numbers instead of {want}")]
    Average { got: usize, want: usize },
    #[error("it lacks the state of the schedule plateau, or has one although this run has another schedule")]
    Plateau,
    #[error("it contains NaN or infinity")]
    NonFinite,
    #[error("it is at step {got}, but the run has only {want} steps; ask for more --epochs")]
    Beyond { got: u64, want: u64 },
}
