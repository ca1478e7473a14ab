//! The coordinator's side: an engine on its own thread, and the gRPC services in front of it.
//!
//! ```text
//!   stream ──► session ──┐ bounded             ┌──► outbox ──► stream
//!   stream ──► session ──┼─────────► driver ───┼──► outbox ──► stream
//!     …                  │ channel   engine    │      …
//!   ticker ──────────────┤           observer  ├──► status (a watch channel)
//!        async tasks     │         one OS thread           async tasks
//!                        │                     │
//!                        └──── own worker ◄────┘
//!                       one OS thread, if this machine computes too
//! ```
//!
//! The driver's thread owns all state of the run; async tasks never compute. A session that is ahead of the driver waits,
//! and HTTP/2's windows make its worker wait with it.

mod coordinator;
mod cuts;
mod door;
mod driver;
mod error;
mod facts;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod options;
mod own;
mod peer;
mod probe;
mod serve;
mod service;
mod session;
mod status;
mod times;

pub use coordinator::{Coordinator, CoordinatorHandle};
pub use cuts::CutOff;
pub use door::{Door, DoorLimits, Rate, Refusal};
pub(crate) use door::{Gate, Lobby, Visitor, incoming};
pub use driver::Finished;
pub use error::{ServeError, StartError};
pub use options::CoordinatorOptions;
pub(crate) use probe::Probe;
pub(crate) use serve::common_services;
pub use serve::serve;
pub(crate) use status::watch_interval;
pub use times::Times;
