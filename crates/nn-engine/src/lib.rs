//! The training protocol of `nn`: the coordinator's behaviour, without a clock, a file or a socket.
//!
//! - [`Recipe`]: how a network is trained. [`Manifest`]: recipe, network and data, that is everything that decides the
//!   weights after step t, and its hash.
//! - [`Engine`]: events in, actions out. It plans, validates, reduces along the canonical tree and takes the optimizer
//!   step.
//! - [`local`]: the in-process driver that `nn train` runs on; the network drives the same engine.
//!
//! Invariants: nothing in here reads a clock, draws randomness, opens a file or a socket, or knows an async runtime.

mod encoding;
mod engine;
mod fingerprint;
mod halves;
pub mod local;
mod manifest;
mod recipe;
mod replica;
mod rounds;

pub use encoding::Encoding;
pub use engine::{
    Action, Assignment, Attempt, Cluster, Contribution, Engine, EpochReport, EpochSums, Event, Generation,
    Join, MAX_REMEMBERED, MAX_WORKERS, Member, Outcome, Part, Quarantine, Received, Rejection, Release,
    Snapshot, SnapshotError, Status, Step, StepReport, Values, Waiting, WorkerId, WorkerState, WorkerStatus,
};
pub use fingerprint::{ARITHMETIC, arithmetic_fingerprint, params_sha256};
pub use manifest::{Manifest, ManifestError, ManifestParts, SampleOrder};
pub use nn_core::Compute;
pub use recipe::{EarlyStopping, Recipe};
pub use replica::{Computed, Replica, Replicas, Round};
pub use rounds::{MAX_REPLICAS, Rounds, Span};
