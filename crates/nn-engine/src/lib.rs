//! The training protocol of `nn`: what the coordinator does, without a clock, a file or a socket.
//!
//! - [`Manifest`]: everything that decides the weights after step t, and its hash.
//! - [`Engine`]: events in, actions out. It plans, validates, reduces along the canonical tree and takes the optimizer step.
//! - [`local`]: the in-process driver that `nn train` runs on; the network drives the same engine.
//!
//! Invariants: nothing in here reads a clock, draws randomness, opens a file or a socket, or knows an async runtime.

mod engine;
mod fingerprint;
pub mod local;
mod manifest;

pub use engine::{
    Action, Assignment, Attempt, Cluster, Contribution, Engine, EpochReport, EpochSums, Event, Generation,
    Join, Member, Outcome, Part, Quarantine, Rejection, Release, Snapshot, SnapshotError, Status, Step,
    StepReport, Values, Waiting, WorkerId, WorkerState, WorkerStatus,
};
pub use fingerprint::{ARITHMETIC, arithmetic_fingerprint, params_sha256};
pub use manifest::{Manifest, ManifestError, ManifestParts, SampleOrder};
pub use nn_core::Compute;
