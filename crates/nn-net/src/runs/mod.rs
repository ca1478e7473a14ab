//! Whole runs for workers: the unit of a sweep. The messages are in `proto/nn/v1/runs.proto`.
//!
//! | File | Content |
//! | --- | --- |
//! | `desk.rs` | what a sweep and a worker provide: [`Desk`] gives out runs, [`Runner`] trains them |
//! | `piece.rs` | files in pieces, checked |
//! | `server.rs`, `session.rs` | the service, and one worker's stream |
//! | `status.rs`, `workers.rs` | the read-only status; the workers in it |
//! | `client.rs`, `fetch.rs` | a worker's connection to such a coordinator; the samples that come through it |
//! | `hostile/` | for fuzzing: workers and coordinators that say anything |
//!
//! What a run's files mean is not known here; the desk checks them before it keeps them.

mod client;
mod desk;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod piece;
mod server;
mod session;
mod status;
mod workers;

pub(crate) use client::{RunsEnd, work};
pub use desk::{Desk, Link, Order, Piece, RunFile, Runner, Sample, Sent};
pub use server::{RunsServer, serve_runs};
