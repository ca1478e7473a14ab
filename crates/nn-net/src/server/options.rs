//! How a coordinator treats its workers.

use std::time::Duration;

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
}

impl Default for CoordinatorOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            grace: Duration::from_secs(5),
            limits: DoorLimits::default(),
        }
    }
}
