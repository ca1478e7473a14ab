//! What the engine is told and what it wants done: the closed vocabulary that every driver speaks.

use std::time::Duration;

use nn_core::{Node, NodeStats};

use super::received::Received;
use super::report::{EpochReport, Outcome, StepReport};
use super::validate::Rejection;

/// One connection of a worker. The driver numbers them and never gives a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// What stays the same when a worker's connection breaks and it dials again: drawn by the worker's process when it
/// starts. Several connections of one member are told apart by their incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(pub u64);

/// How often the coordinator of this run has been started. What belongs to an earlier generation is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Generation(pub u64);

/// A step of the run, counted from 0. Also names weights: those of step t are the ones its gradients are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Step(pub u64);

/// Which of a step's rounds of assignments a node was given out in: 0 for the first plan, more for what had to be given
/// out again. It tells log lines apart; who computes a node in which attempt cannot be seen in its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Attempt(pub u32);

/// Which of a node's numbers: the unit that is sent, reduced, stepped and broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// One layer's weights and biases, counted from 0 at the input.
    Layer(u32),
    /// All layers at once.
    All,
}

/// The numbers of a part, in the order of the parameters.
#[derive(Debug)]
pub enum Values {
    /// Computed by the kernels of this very process: what they say about NaN and infinity is believed, not looked up.
    /// The buffer comes back with [`Action::Recycle`].
    Own(Vec<f32>),
    /// As received. They are checked, and reduced out of these bytes.
    Received(Received),
}

/// A part of a node, computed.
#[derive(Debug)]
pub struct Contribution {
    /// Who computed it.
    pub worker: WorkerId,
    /// The assignment's.
    pub generation: Generation,
    /// The assignment's.
    pub step: Step,
    /// The assignment's.
    pub attempt: Attempt,
    /// Which node.
    pub node: Node,
    /// Which of its numbers.
    pub part: Part,
    /// Those numbers: the sum over the node's samples.
    pub values: Values,
    /// What the sender says: neither the values nor the loss have NaN or infinity in them. An honest `false` means that
    /// the run has diverged.
    pub finite: bool,
    /// Loss and counts of the node, as sums: with the last part that is sent, and only with it.
    pub stats: Option<NodeStats>,
    /// What the sender says that computing the node took, with the last part; zero if that is not known. Plans are made with
    /// it, nothing else.
    pub compute: Duration,
}

/// A worker that wants to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The connection.
    pub worker: WorkerId,
    /// Who is at its other end.
    pub member: Member,
    /// Counts the member's connections: a higher one takes the place of a lower one at once, without waiting for it to
    /// time out.
    pub incarnation: u64,
    /// Threads that it computes with: the guess at its speed until that is measured.
    pub threads: usize,
}

/// What the engine is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A worker is ready. It takes part from the next step on, or at once if the step does not go on without it.
    Joined(Join),
    /// A worker's connection is gone: its unfinished nodes go to others.
    Left(WorkerId),
    /// The driver has closed a worker's connection, because what came was no message of the protocol or was damaged. As
    /// [`Event::Left`], and it counts as a malformed contribution.
    Garbled(WorkerId),
    /// A worker sends a part of a node.
    Contribution(Contribution),
    /// A worker is alive.
    Heartbeat(WorkerId),
    /// Time has passed: deadlines are looked at. Wanted at [`Engine::next_tick`](super::Engine::next_tick), and several
    /// times a second while there are workers elsewhere: see [`Engine::handle`](super::Engine::handle).
    Tick,
    /// The operator wants the run to end after a checkpoint.
    StopRequested,
    /// The snapshot of this step is safe, or could not be written: the next one may become due.
    SnapshotWritten(Step),
}

/// A node that a worker is to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// Who.
    pub worker: WorkerId,
    /// To be sent back with the contributions.
    pub generation: Generation,
    /// The step whose mini-batch it is, and whose weights are to be used.
    pub step: Step,
    /// To be sent back with the contributions.
    pub attempt: Attempt,
    /// Which node of the step's tree.
    pub node: Node,
}

/// What the engine wants done, in this order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Send one worker weights of a step ([`Engine::weights`](super::Engine::weights)): all of them, from where on it is
    /// sent every [`Action::Broadcast`] until it is late, released or gone; then, should layers of the step that follows
    /// have been broadcast before, each of those.
    Send {
        /// Whom.
        worker: WorkerId,
        /// Which step's.
        step: Step,
        /// Which.
        part: Part,
    },
    /// Send these weights to every worker for which [`Engine::is_synced`](super::Engine::is_synced): they are stepped,
    /// though other parts of the step may still be under way.
    Broadcast {
        /// The step that they are for: the one after the current one, or, when this completed it, the new one.
        step: Step,
        /// Which.
        part: Part,
    },
    /// Have a worker compute a node.
    Assign(Assignment),
    /// A part of a node counts. There is one for every part of every node of a step, and never two.
    Counted {
        /// Whose.
        worker: WorkerId,
        /// In which step.
        step: Step,
        /// Which node.
        node: Node,
        /// Which part of it; a contribution of all layers may count only in some of them.
        part: Part,
    },
    /// What a worker sent changed nothing but counters.
    Reject {
        /// Whose.
        worker: WorkerId,
        /// Why.
        reason: Rejection,
    },
    /// A worker has no part in the run any more: tell it why and close the connection. No [`Event::Left`] is needed.
    Release {
        /// Whom.
        worker: WorkerId,
        /// Why.
        reason: Release,
    },
    /// The buffer of [`Values::Own`] is free to be used again.
    Recycle(Vec<f32>),
    /// A step is done.
    StepDone(StepReport),
    /// An epoch is done; the parameters are those after its last step.
    EpochDone(EpochReport),
    /// A checkpoint is due: take [`Engine::snapshot`](super::Engine::snapshot), write it, and say so with
    /// [`Event::SnapshotWritten`]. Until then no other becomes due but the last.
    WriteSnapshot,
    /// The run is over.
    Finish(Outcome),
}

/// Why a worker is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Release {
    /// The run is over.
    #[error("the run is over")]
    Over(Outcome),
    /// It was not let in.
    #[error("{0}")]
    Refused(Rejection),
    /// The same member has dialled again.
    #[error("a newer connection of the same worker has taken its place")]
    Superseded,
    /// Nothing was heard of it for too long.
    #[error("nothing was heard of the worker for {0:.1?}; it may join again")]
    Silent(Duration),
    /// It said that it was alive and finished nothing, while what is audited waited for it.
    #[error(
        "the worker has said for {0:.0?} that it is alive, and finished nothing that it was given; it may join again, but \
         it counts against it: check its load"
    )]
    Stalled(Duration),
    /// Two others have computed the same node alike, and differently.
    #[error(
        "what the worker computed for node {}/{} of step {} differs from what two others computed alike: it computes \
         wrongly, and is not let in again in this run; check its memory and its processor, and start it anew",
        .node.level, .node.index, .step.0
    )]
    Disproved {
        /// In which step.
        step: Step,
        /// Which node.
        node: Node,
    },
    /// It has sent too many contributions that cannot be right.
    #[error(
        "the worker has sent {strikes} malformed contributions, the last of them because: {last}; it is not let in \
         again in this run: check its memory and its version of nn, and start it anew"
    )]
    Quarantined {
        /// How many.
        strikes: u32,
        /// Why the last one was refused.
        last: Rejection,
    },
}
