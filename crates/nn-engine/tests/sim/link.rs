//! A connection between a worker and the coordinator, and the messages on it.

use std::sync::Arc;

use nn_engine::{Assignment, Join, Part, Release, Step};

use crate::machine::Sent;

pub(crate) enum ToCoordinator {
    Hello(Join),
    Heartbeat,
    Contribution(Box<Sent>),
    /// No message of the protocol.
    Garbage,
}

pub(crate) enum ToWorker {
    Weights(Step, Part, Arc<Vec<f32>>),
    Assign(Assignment),
    Release(Release),
}

/// A connection.
pub(crate) struct Link {
    pub(crate) machine: usize,
    /// Whether anything gets through.
    pub(crate) cut: bool,
    /// Whether the coordinator knows that it is over.
    pub(crate) closed: bool,
    /// Whether the worker has been sent weights.
    pub(crate) synced: bool,
    /// When the last message in each direction arrives: none overtakes another.
    pub(crate) up: u64,
    pub(crate) down: u64,
}
