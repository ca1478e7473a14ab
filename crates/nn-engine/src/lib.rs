//! The training protocol of `nn`: what the coordinator does, without a clock, a file or a socket.
//!
//! - [`Manifest`]: everything that decides the weights after step t, and its hash.
//! - [`Engine`]: events in, actions out. It plans, validates, reduces along the canonical tree and takes the optimizer step.
//! - [`local`]: the in-process driver that `nn train` runs on; the network drives the same engine.
//!
//! Invariants: nothing in here reads a clock, draws randomness, opens a file or a socket, or knows an async runtime.

mod encoding;
mod engine;
mod fingerprint;
pub mod local;
mod manifest;

pub use encoding::Encoding;
pub use engine::{
    Action, Assignment, Attempt, Cluster, Compute, Contribution, Engine, EpochReport, EpochSums, Event,
    Generation, Join, Member, Outcome, Part, Quarantine, Received, Rejection, Release, Snapshot,
    SnapshotError, Status, Step, StepReport, Values, Waiting, WorkerId, WorkerState, WorkerStatus,
};
pub use fingerprint::{ARITHMETIC, arithmetic_fingerprint, params_sha256};
pub use manifest::{Manifest, ManifestError, ManifestParts, SampleOrder};

/// The most workers that a coordinator takes at a time. Whatever is remembered about workers is bounded by a multiple of it.
pub const MAX_WORKERS: usize = 1024;
