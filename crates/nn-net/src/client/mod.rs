//! The worker's side: dial, shake hands, fetch the training set, compute what is assigned.
//!
//! ```text
//!   stream ──► session ──► compute thread ──► outbox ──► stream
//!              weights     nn_core::Workspace
//!     async task           one OS thread, and the pool
//! ```
//!
//! The next step's weights arrive while a node is computed, and a node is sent while the next one is computed.

mod address;
mod cache;
mod connector;
mod dial;
mod error;
mod event;
mod meter;
mod options;
mod probe;
mod session;
mod sink;
mod status;
mod weights;
mod work;

pub use address::{DEFAULT_PORT, coordinator_url};
pub(crate) use cache::{Partial, is_hash, load as load_kept};
pub use dial::{DialOptions, LocalAddresses};
pub use error::{ConnectError, WorkerError};
pub use event::{RunOver, WorkerEnd, WorkerEvent, WorkerProgress};
pub use meter::WorkerMeter;
pub use options::WorkerOptions;
pub use probe::{Latency, Pong, ProbeError, Prober, certificate};
#[cfg(any(test, fuzzing))]
pub(crate) use session::hostile;
pub use status::{status, watch};
pub use work::work;
