//! The reasons for which a contribution or a connection is refused.

use nn_core::Node;
use thiserror::Error;

/// Why a contribution or a connection was refused. Each message ends with the remedy, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The worker never joined, or has left.
    #[error("worker {0} is not, or no longer, part of this run; join again")]
    UnknownWorker(u64),
    /// The connection's number is taken.
    #[error("worker {0} has already joined; give every connection a number of its own")]
    AlreadyJoined(u64),
    /// Another connection of the same member has the same or a higher incarnation.
    #[error("connection {got} of this worker is not newer than its connection {now}; count incarnations up")]
    StaleIncarnation {
        /// The incarnation of the connection that wants to join.
        got: u64,
        /// The incarnation of the connection that has joined.
        now: u64,
    },
    /// The bytes are no message of the protocol, or a tensor's checksum is wrong.
    #[error("malformed or corrupted message; use the same version of nn on both ends")]
    NoMessage,
    /// The worker has delivered nothing for far too long, although it sends heartbeats.
    #[error(
        "the worker sends heartbeats but has finished none of its nodes for far too long; check its load"
    )]
    Stalled,
    /// The contribution was computed for an earlier start of the coordinator.
    #[error("the contribution is for generation {got} of the run, but this is {now}; drop it and continue")]
    StaleGeneration {
        /// The contribution's generation.
        got: u64,
        /// The run's generation.
        now: u64,
    },
    /// The step is over.
    #[error("the contribution is for step {got}, but the run is already at step {now}; drop it and continue")]
    StaleStep {
        /// The contribution's step.
        got: u64,
        /// The run's step.
        now: u64,
    },
    /// The step has not begun.
    #[error(
        "the contribution is for step {got}, but the run is only at step {now}; compute only what was assigned"
    )]
    FutureStep {
        /// The contribution's step.
        got: u64,
        /// The run's step.
        now: u64,
    },
    /// The attempt has not been made.
    #[error(
        "the contribution is for attempt {got}, but there have been {now} so far; return the assignment's attempt"
    )]
    UnknownAttempt {
        /// The contribution's attempt, counted from 0.
        got: u32,
        /// The number of attempts so far.
        now: u32,
    },
    /// The node is not in the step's tree.
    #[error("node {}/{} is not part of the step's tree; compute only what was assigned", .0.level, .0.index)]
    UnknownNode(Node),
    /// The model has no such layer.
    #[error("the contribution is for layer {got}, counted from 0, but the model has {want} layers")]
    UnknownPart {
        /// The contribution's layer.
        got: u32,
        /// The number of layers.
        want: u32,
    },
    /// The worker was not given this node in this step.
    #[error("node {}/{} was not assigned to this worker in this step; compute only what was assigned", .0.level, .0.index)]
    NotAssigned(Node),
    /// The node has been counted, from this worker or another. Nobody is to blame.
    #[error("node {}/{} has already been counted", .0.level, .0.index)]
    Duplicate(Node),
    /// The contribution has too few or too many numbers.
    #[error(
        "the contribution has {got} numbers, but the part has {want}; send all of them, as little-endian f32"
    )]
    WrongLength {
        /// The numbers in the contribution.
        got: usize,
        /// The numbers in the part.
        want: usize,
    },
    /// A piece of the received bytes ends inside a number.
    #[error("a piece of {0} bytes ends inside a number; cut the values at multiples of 4 bytes")]
    Ragged(usize),
    /// All layers came at once, without loss and counts.
    #[error("all layers came without the node's loss and counts; send those with the last part")]
    MissingStats,
    /// The contribution covers the wrong number of samples.
    #[error(
        "the node has {want} samples, but the contribution counts {got}; check the data set and the manifest"
    )]
    WrongCount {
        /// The samples in the contribution.
        got: usize,
        /// The samples in the node.
        want: usize,
    },
    /// The contribution contains NaN or infinity, but is marked as finite.
    #[error("the contribution contains NaN or infinity, but is marked as finite; check the machine's memory")]
    HiddenNonFinite,
    /// The contribution is finite, but is marked as containing NaN or infinity.
    #[error(
        "the contribution is marked as containing NaN or infinity, but is finite; check the machine's memory"
    )]
    FalseAlarm,
    /// The run has ended.
    #[error("the run is over")]
    Over,
}

impl Rejection {
    /// Whether only a faulty sender can cause it. Late and repeated contributions are part of an orderly run.
    #[must_use]
    pub fn is_malformed(self) -> bool {
        match self {
            Self::FutureStep { .. }
            | Self::UnknownAttempt { .. }
            | Self::UnknownNode(_)
            | Self::UnknownPart { .. }
            | Self::NotAssigned(_)
            | Self::WrongLength { .. }
            | Self::Ragged(_)
            | Self::MissingStats
            | Self::WrongCount { .. }
            | Self::HiddenNonFinite
            | Self::FalseAlarm
            | Self::NoMessage
            | Self::Stalled => true,
            Self::UnknownWorker(_)
            | Self::AlreadyJoined(_)
            | Self::StaleIncarnation { .. }
            | Self::StaleGeneration { .. }
            | Self::StaleStep { .. }
            | Self::Duplicate(_)
            | Self::Over => false,
        }
    }
}
