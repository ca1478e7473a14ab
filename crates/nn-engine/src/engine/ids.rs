//! The names of things: workers, members, generations, steps, attempts and parts.

/// A connection of a worker. The driver numbers connections and never reuses a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// A worker's process, whichever connection it uses. The process draws this number when it starts and keeps it when it
/// dials again; an incarnation tells its connections apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(pub u64);

/// The number of times that the coordinator of this run has been started. Anything of an earlier generation is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Generation(pub u64);

/// A step of the run, counted from 0. It also names weights: the gradients of step t are computed with the weights of
/// step t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Step(pub u64);

/// A round of assignments within a step: 0 is the first plan, later rounds reissue nodes. It tells log lines apart; a
/// node has the same bits in every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Attempt(pub u32);

/// A part of a node's numbers: the unit that is sent, reduced, stepped and broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The weights and biases of one layer, counted from 0 at the input.
    Layer(u32),
    /// All layers at once.
    All,
}
