//! What a contribution must satisfy before anything changes.

use std::cmp::Ordering;

use nn_core::Node;
use thiserror::Error;

use super::Engine;
use super::protocol::{Contribution, Part, Values};

/// Why what a worker sent was refused. Each message ends with the remedy where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The worker never joined, or has left.
    #[error("worker {0} is not part of this run, or not any more; join again")]
    UnknownWorker(u64),
    /// The connection's number is taken.
    #[error("worker {0} has joined already; every connection needs a number of its own")]
    AlreadyJoined(u64),
    /// Another connection of the same member is as new or newer.
    #[error("connection {got} of this worker is not newer than its connection {now}; count incarnations up")]
    StaleIncarnation {
        /// The joining one's incarnation.
        got: u64,
        /// The incarnation that is there.
        now: u64,
    },
    /// Not even a message of the protocol, or a tensor with a wrong checksum.
    #[error("what came was no message of the protocol, or damaged; use the same version of nn on both ends")]
    NoMessage,
    /// No message either, but none for far too long, though the worker says that it is alive.
    #[error(
        "the worker says that it is alive, and finished nothing that it was given for far too long; check its load"
    )]
    Stalled,
    /// Computed for the coordinator as it was before it was started again.
    #[error("the contribution is for generation {got} of the run, but this is {now}; drop it and go on")]
    StaleGeneration {
        /// The contribution's.
        got: u64,
        /// The run's.
        now: u64,
    },
    /// A step that is over.
    #[error("the contribution is for step {got}, but the run is at step {now} already; drop it and go on")]
    StaleStep {
        /// The contribution's.
        got: u64,
        /// The run's.
        now: u64,
    },
    /// A step that has not begun.
    #[error(
        "the contribution is for step {got}, but the run is only at step {now}; compute what is assigned"
    )]
    FutureStep {
        /// The contribution's.
        got: u64,
        /// The run's.
        now: u64,
    },
    /// An attempt that has not been made.
    #[error(
        "the contribution is for attempt {got}, but there have been {now} so far; send back the assignment's"
    )]
    UnknownAttempt {
        /// The contribution's, counted from 0.
        got: u32,
        /// How many there have been.
        now: u32,
    },
    /// Not a node of the step's tree.
    #[error("node {}/{} is not part of the step's tree; compute what is assigned", .0.level, .0.index)]
    UnknownNode(Node),
    /// Not a layer of the model.
    #[error("the contribution is for layer {got}, counted from 0, but the model has {want}")]
    UnknownPart {
        /// The contribution's.
        got: u32,
        /// The model's.
        want: u32,
    },
    /// The node was never given to this worker in this step.
    #[error("node {}/{} was not assigned to this worker in this step; compute what is assigned", .0.level, .0.index)]
    NotAssigned(Node),
    /// Already counted, from this worker or another. Nobody is to blame.
    #[error("node {}/{} has been counted already", .0.level, .0.index)]
    Duplicate(Node),
    /// Not as many numbers as belong to the part.
    #[error(
        "the contribution has {got} numbers, but the part has {want}; send little-endian f32, all of them"
    )]
    WrongLength {
        /// The contribution's.
        got: usize,
        /// The part's.
        want: usize,
    },
    /// A piece of received bytes ends within a number.
    #[error("a piece of {0} bytes ends within a number; cut the values at multiples of 4 bytes")]
    Ragged(usize),
    /// All layers came at once without loss and counts.
    #[error("all layers came without the node's loss and counts; send those with the last part")]
    MissingStats,
    /// Not the node's number of samples.
    #[error("the node has {want} samples, but the contribution counts {got}; check data set and manifest")]
    WrongCount {
        /// The contribution's.
        got: usize,
        /// The node's.
        want: usize,
    },
    /// The sender says that all is finite, but it is not.
    #[error("the contribution has NaN or infinity in it and does not say so; check the machine's memory")]
    HiddenNonFinite,
    /// The sender says that something is NaN or infinite, but nothing is.
    #[error(
        "the contribution is said to have NaN or infinity in it, but has none; check the machine's memory"
    )]
    FalseAlarm,
    /// The run has ended.
    #[error("the run is over")]
    Over,
}

impl Rejection {
    /// Whether it can only come from a fault of the sender. What comes late or twice is part of an orderly run.
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

impl Engine {
    /// Everything that must hold of a contribution. Nothing changes; the issue that it answers.
    pub(super) fn check(&self, c: &Contribution) -> Result<usize, Rejection> {
        if self.outcome.is_some() {
            return Err(Rejection::Over);
        }
        if self.workers.get(c.worker).is_none() {
            return Err(Rejection::UnknownWorker(c.worker.0));
        }
        if c.generation != self.generation() {
            return Err(Rejection::StaleGeneration { got: c.generation.0, now: self.generation().0 });
        }
        let (got, now) = (c.step.0, self.step);
        match got.cmp(&now) {
            Ordering::Less => return Err(Rejection::StaleStep { got, now }),
            Ordering::Greater => return Err(Rejection::FutureStep { got, now }),
            Ordering::Equal => {}
        }
        if !self.tree.contains(c.node) {
            return Err(Rejection::UnknownNode(c.node));
        }
        let Some(range) = self.part_range(c.part) else {
            let Part::Layer(got) = c.part else { unreachable!("all layers are always there") };
            return Err(Rejection::UnknownPart { got, want: self.layout.len() as u32 });
        };
        if c.attempt.0 >= self.round.attempts {
            return Err(Rejection::UnknownAttempt { got: c.attempt.0, now: self.round.attempts });
        }
        let issue = self.round.find(c.worker, c.node).ok_or(Rejection::NotAssigned(c.node))?;
        if !self.is_news(c) {
            return Err(Rejection::Duplicate(c.node));
        }
        if c.part == Part::All && c.stats.is_none() {
            return Err(Rejection::MissingStats);
        }
        if let Some(stats) = c.stats {
            let want = self.tree.samples_of(c.node).len();
            if stats.samples != want || stats.correct > want {
                return Err(Rejection::WrongCount { got: stats.samples, want });
            }
        }
        let (got, want) = match &c.values {
            Values::Own(buffer) => (buffer.len(), range.len()),
            Values::Received(received) => {
                if let Some(bytes) = received.ragged() {
                    return Err(Rejection::Ragged(bytes));
                }
                (received.numbers(), received.encoding().whole_blocks(range.len()))
            }
        };
        if got != want {
            return Err(Rejection::WrongLength { got, want });
        }
        let loss = c.stats.is_none_or(|stats| stats.loss.is_finite());
        let finite = match &c.values {
            Values::Own(_) => c.finite && loss,
            Values::Received(received) => loss && received.all_finite(),
        };
        match (finite, c.finite) {
            (false, true) => Err(Rejection::HiddenNonFinite),
            (true, false) => Err(Rejection::FalseAlarm),
            _ => Ok(issue),
        }
    }

    /// Whether any of it would count.
    fn is_news(&self, c: &Contribution) -> bool {
        let trial = self.round.trials.iter().find(|trial| trial.node == c.node);
        if let (Some(trial), Some(worker)) = (trial, self.workers.get(c.worker)) {
            return !trial.knows(c.worker, worker.member, c.part) && !self.reduction.touches(c.node);
        }
        let layer = match c.part {
            Part::Layer(layer) => !self.reduction.has_layer(layer as usize, c.node),
            Part::All => (0..self.layout.len()).any(|layer| !self.reduction.has_layer(layer, c.node)),
        };
        layer || c.stats.is_some() && !self.reduction.has_stats(c.node)
    }
}
