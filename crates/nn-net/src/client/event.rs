//! What a worker reports to people.

use std::time::Duration;

use nn_engine::Manifest;

use super::error::ConnectError;
use crate::proto as pb;
use crate::wire::ends::Limit;

/// What a worker reports to people.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent<'a> {
    /// It could not reach a coordinator, or was not admitted for now, and will try again.
    Waiting {
        /// The last coordinator that it dialled.
        coordinator: &'a str,
        /// The reason.
        error: &'a ConnectError,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
    /// It was admitted.
    Joined {
        /// The coordinator's address.
        coordinator: &'a str,
        /// The worker's number there.
        worker: u64,
        /// The run.
        manifest: &'a Manifest,
    },
    /// It was admitted by a coordinator that has whole runs.
    JoinedRuns {
        /// The coordinator's address.
        coordinator: &'a str,
        /// The worker's number there.
        worker: u64,
    },
    /// It begins a whole run.
    Ordered {
        /// The run's number.
        run: u64,
    },
    /// It is about to receive the training set.
    Receiving {
        /// Bytes that it already has, from before an earlier connection broke.
        from: u64,
        /// Bytes of the whole set.
        total: u64,
    },
    /// It is receiving the training set.
    Loading {
        /// Bytes so far.
        done: u64,
        /// Bytes of the whole set.
        total: u64,
    },
    /// It has the training set, and is ready.
    Ready {
        /// Whether it already had the set.
        at_hand: bool,
    },
    /// It has finished nodes: reported several times a second, and at the end of a connection.
    Progress(WorkerProgress),
    /// A contribution did not count.
    Refused {
        /// The reason.
        reason: pb::RefusalReason,
        /// The reason as a sentence.
        message: &'a str,
    },
    /// The connection is lost; the worker will dial again.
    Lost {
        /// The reason, as far as it is known.
        reason: &'a str,
    },
    /// Connections end after about as many bytes again and again.
    CutOff(Limit),
    /// A run is over.
    RunOver(&'a RunOver),
}

/// What a worker has done since it joined a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct WorkerProgress {
    /// The current step.
    pub step: u64,
    /// Nodes computed.
    pub nodes: u64,
    /// Samples computed.
    pub samples: u64,
    /// Time spent computing.
    pub computing: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOver {
    /// The outcome.
    pub outcome: pb::Outcome,
    /// Steps done.
    pub steps: u64,
    /// The hash of the parameters.
    pub params_sha256: String,
}

/// How a worker's work ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum WorkerEnd {
    /// The run is over.
    RunOver(RunOver),
    /// `shutdown` resolved, and the coordinator was told.
    ShutDown,
}
