//! The network of `nn`: the protocol of `proto/nn/v1`, a coordinator's server and a worker's client over gRPC.
//!
//! - [`Coordinator::start`] puts an engine on a thread of its own, [`serve`] lets workers join it.
//! - [`work`] is a worker: it dials, shakes hands, is sent the training set, computes.
//! - [`status`] and [`watch`] ask a coordinator what its run is at, and a [`Prober`] measures the path to it.
//!
//! Invariants: nothing in here decides who computes what, or whether a contribution counts: that is `nn-engine`'s. No
//! number is computed in an async task. Nothing that a peer sends is believed, and no memory is taken for it before its
//! size has been compared with the run's manifest.

mod client;
mod data;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod proto;
mod security;
mod server;
mod wire;

pub use client::{
    ConnectError, DEFAULT_PORT, DialOptions, Latency, LocalAddresses, Pong, ProbeError, Prober, Progress,
    RunOver, WorkerEnd, WorkerError, WorkerEvent, WorkerOptions, certificate, coordinator_url, status, watch,
    work,
};
pub use data::{DataError, TrainingSet};
pub use security::{
    Authorities, CertificateFacts, ClientSecurity, Identity, Pem, SecurityError, ServerSecurity, Token,
};
pub use server::{
    Coordinator, CoordinatorHandle, CoordinatorOptions, Door, DoorLimits, Finished, Rate, Refusal,
    ServeError, StartError, Times, serve,
};
pub use wire::error::{TensorError, WireError};
