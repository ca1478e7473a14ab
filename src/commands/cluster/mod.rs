//! The programs of a cluster: `nn-coord`, `nn-worker` and `nn status`, which also shows a sweep (`sweep_status.rs`).

mod children;
mod coord;
mod interface;
mod outlook;
mod runs;
pub(super) mod security;
mod status;
mod sweep_status;
mod table;
mod worker;

use std::time::Duration;

pub(crate) use coord::coord;
pub(super) use coord::{bind, bind_for, join, url};
pub(super) use interface::interfaces;
pub(super) use security::Doorman;
pub(super) use status::as_json as status_as_json;
pub(crate) use status::status;
pub(super) use worker::machine_name;
pub(crate) use worker::worker;

use crate::failure::Failure;
use crate::signals::StopFlag;

/// An async runtime for the network. Training computes on other threads.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("nn-net")
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format_args!("cannot start the network's threads: {error}")))
}

/// Completes once a signal has arrived.
pub(super) async fn stopped(stop: StopFlag) {
    while !stop.is_set() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
