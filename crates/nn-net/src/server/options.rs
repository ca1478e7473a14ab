//! How a coordinator treats its workers.

use std::time::Duration;

use nn_core::Compute;

use super::door::DoorLimits;

/// How a coordinator treats its workers. The weights do not depend on it.
#[derive(Debug, Clone)]
pub struct CoordinatorOptions {
    /// How often each worker should send a heartbeat.
    pub heartbeat: Duration,
    /// How long to wait for workers to leave once the run is over.
    pub grace: Duration,
    /// What a connection may do before it has a worker at work.
    pub limits: DoorLimits,
    /// The instructions and the threads with which this process computes as a worker of its own run, beside those that
    /// join; `None` if it only coordinates.
    pub own_worker: Option<Compute>,
}

impl Default for CoordinatorOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            grace: Duration::from_secs(5),
            limits: DoorLimits::default(),
            own_worker: None,
        }
    }
}
