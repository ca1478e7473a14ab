//! The engine's vocabulary: the events that a driver passes in and the actions that the engine asks for.

use std::time::Duration;

use nn_core::{Node, NodeStats};

use super::ids::{Attempt, Generation, Member, Part, Step, WorkerId};
use super::received::Received;
use super::rejection::Rejection;
use super::report::{EpochReport, Outcome, StepReport};

/// The numbers of a part, in the order of the parameters.
#[derive(Debug)]
pub enum Values {
    /// Computed by this process: the kernels' own report on NaN and infinity is believed, and the numbers are not
    /// checked again. [`Action::Recycle`] returns a buffer.
    Own(Vec<f32>),
    /// Received. The engine checks and reduces them in the bytes that arrived.
    Received(Received),
}

/// A computed part of a node.
#[derive(Debug)]
pub struct Contribution {
    /// The worker that computed it.
    pub worker: WorkerId,
    /// The generation of the assignment.
    pub generation: Generation,
    /// The step of the assignment.
    pub step: Step,
    /// The attempt of the assignment.
    pub attempt: Attempt,
    /// The node of the assignment.
    pub node: Node,
    /// The part of the node's numbers.
    pub part: Part,
    /// The numbers: sums over the node's samples.
    pub values: Values,
    /// The sender's word that neither values nor loss contain NaN or infinity. An honest `false` means that the run has
    /// diverged.
    pub finite: bool,
    /// Loss and counts of the node, as sums: with the last part that is sent, and with no other.
    pub stats: Option<NodeStats>,
    /// The computing time of the node as measured by the sender, with the last part; zero if unknown. It serves for
    /// planning only.
    pub compute: Duration,
}

/// A worker's request to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The connection.
    pub worker: WorkerId,
    /// The process at its other end.
    pub member: Member,
    /// Counts the member's connections. A connection replaces one with a lower incarnation at once, without waiting for
    /// that one to time out.
    pub incarnation: u64,
    /// Threads that the worker computes with: the first guess at its speed, until that has been measured.
    pub threads: usize,
}

/// Input of the engine.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A worker is ready. It joins at the next step, or at once if the current step cannot continue without it.
    Joined(Join),
    /// A worker's connection is gone: other workers get its unfinished nodes.
    Left(WorkerId),
    /// The driver has closed a worker's connection because of a malformed or corrupted message. It is an
    /// [`Event::Left`] that counts as a malformed contribution.
    Garbled(WorkerId),
    /// A worker sends a part of a node.
    Contribution(Contribution),
    /// A worker is alive.
    Heartbeat(WorkerId),
    /// Time has passed: the engine checks its deadlines. The driver sends a tick at
    /// [`Engine::next_tick`](super::Engine::next_tick), and several times a second while there are remote workers: see
    /// [`Engine::handle`](super::Engine::handle).
    Tick,
    /// The operator wants the run to end after a checkpoint.
    StopRequested,
    /// The snapshot of this step is safe, or could not be written: the next one may become due.
    SnapshotWritten(Step),
}

/// A node that a worker has to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The worker.
    pub worker: WorkerId,
    /// The generation, which contributions return.
    pub generation: Generation,
    /// The step, which determines both mini-batch and weights.
    pub step: Step,
    /// The attempt, which contributions return.
    pub attempt: Attempt,
    /// The node of the step's tree.
    pub node: Node,
}

/// Output of the engine: requests to the driver, to be met in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Send weights of a step ([`Engine::weights`](super::Engine::weights)) to one worker: first all of them, and then
    /// each layer of the next step that has already been broadcast. From here on the worker gets every
    /// [`Action::Broadcast`], until it is late, released or gone.
    Send {
        /// The worker to send to.
        worker: WorkerId,
        /// The step that the weights belong to.
        step: Step,
        /// The part of the weights.
        part: Part,
    },
    /// Send these weights to every worker for which [`Engine::is_synced`](super::Engine::is_synced) holds. Other parts
    /// of the step may still be under way.
    Broadcast {
        /// The step that the weights belong to: the one after the current step or, once that is complete, the new
        /// current step.
        step: Step,
        /// The part of the weights.
        part: Part,
    },
    /// Have a worker compute a node.
    Assign(Assignment),
    /// A part of a node counts. Each part of each node of a step counts exactly once.
    Counted {
        /// The worker that computed it.
        worker: WorkerId,
        /// The step.
        step: Step,
        /// The node.
        node: Node,
        /// The part; only some layers of a contribution of all layers may count.
        part: Part,
    },
    /// A contribution or a request to join was refused. It changed nothing but counters.
    Reject {
        /// The worker that sent it.
        worker: WorkerId,
        /// The reason.
        reason: Rejection,
    },
    /// A worker is out of the run: send it the reason and close the connection. No [`Event::Left`] has to follow.
    Release {
        /// The worker to release.
        worker: WorkerId,
        /// The reason.
        reason: Release,
    },
    /// The buffer of [`Values::Own`] is free, or another one of its size.
    Recycle(Vec<f32>),
    /// A step is complete.
    StepDone(StepReport),
    /// An epoch is complete; the parameters are those after its last step.
    EpochDone(EpochReport),
    /// A checkpoint is due: write [`Engine::snapshot`](super::Engine::snapshot), and then send
    /// [`Event::SnapshotWritten`]. Until then no other checkpoint becomes due, except the last.
    WriteSnapshot,
    /// The run is over.
    Finish(Outcome),
}

/// Why a worker is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Release {
    /// The run is over.
    #[error("the run is over")]
    Over(Outcome),
    /// The worker was not admitted.
    #[error("{0}")]
    Refused(Rejection),
    /// The same member has dialled again.
    #[error("a newer connection of the same worker has replaced this one")]
    Superseded,
    /// The worker has been silent for too long.
    #[error("the worker has been silent for {0:.1?}; it may join again")]
    Silent(Duration),
    /// The worker has sent heartbeats but no results, while a node under audit waited for it.
    #[error(
        "the worker has sent heartbeats for {0:.0?} but finished none of its nodes; it may join again, but this counts \
         as a strike against it: check its load"
    )]
    Stalled(Duration),
    /// Two other workers agree on a node, and this one differs.
    #[error(
        "the worker's result for node {}/{} of step {} differs from the one that two others agree on: the worker \
         computes wrongly and is excluded from this run; check its memory and its processor, and restart it",
        .node.level, .node.index, .step.0
    )]
    Disproved {
        /// The step.
        step: Step,
        /// The node.
        node: Node,
    },
    /// The member has sent too many malformed contributions.
    #[error(
        "the worker has sent {strikes} malformed contributions and is excluded from this run; the last one: {last}. \
         Check its memory and its version of nn, and restart it"
    )]
    Quarantined {
        /// The number of malformed contributions.
        strikes: u32,
        /// The reason for which the last one was refused.
        last: Rejection,
    },
}
