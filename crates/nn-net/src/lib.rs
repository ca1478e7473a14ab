//! The network of `nn`: the protocol of `proto/nn/v1`, a coordinator's server and a worker's client over gRPC.
//!
//! - [`Coordinator::start`] runs an engine on its own thread, and [`serve`] lets workers join it.
//! - [`work`] is a worker: it dials, shakes hands, fetches the training set, computes.
//! - [`status`] and [`watch`] ask a coordinator for its status, and a [`Prober`] measures the path to it.
//!
//! Invariants: `nn-engine` alone decides which worker computes what, and whether a contribution counts. No number is
//! computed in an async task. Nothing from a peer is trusted, and no memory is allocated for it before its size has been
//! compared with the run's manifest.

mod client;
mod compute;
mod data;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod proto;
mod runs;
mod security;
mod server;
mod wire;

pub use client::{
    ConnectError, DEFAULT_PORT, DialOptions, Latency, LocalAddresses, Pong, ProbeError, Prober, RunOver,
    WorkerEnd, WorkerError, WorkerEvent, WorkerMeter, WorkerOptions, WorkerProgress, certificate,
    coordinator_url, status, watch, work,
};
pub use data::{DataError, TrainingSet};
pub use runs::{Desk, Link, Order, Piece, RunFile, Runner, RunsServer, Sample, Sent, serve_runs};
pub use security::{
    Authorities, CertificateError, CertificateFacts, ClientSecurity, Identity, Pem, SecurityError,
    ServerSecurity, Token, utc_date,
};
pub use server::{
    Coordinator, CoordinatorHandle, CoordinatorOptions, CutOff, Door, DoorLimits, Finished, Rate, Refusal,
    ServeError, StartError, Times, serve,
};
pub use wire::ends::Limit;
pub use wire::error::{TensorError, WireError};
