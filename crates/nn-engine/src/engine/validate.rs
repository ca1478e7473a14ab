//! The checks that a contribution must pass before anything changes.

use std::cmp::Ordering;

use nn_core::Isa;

use super::Engine;
use super::ids::Part;
use super::protocol::{Contribution, Values};
use super::rejection::Rejection;

impl Engine {
    /// Checks a contribution completely, and changes nothing. Returns the index of the issue that it answers.
    pub(super) fn check(&self, c: &Contribution) -> Result<usize, Rejection> {
        self.check_origin(c)?;
        let want = self.check_place(c)?;
        let issue = self.round.issues.find(c.worker, c.node).ok_or(Rejection::NotAssigned(c.node))?;
        if !self.is_news(c) {
            return Err(Rejection::Duplicate(c.node));
        }
        self.check_stats(c)?;
        check_values(c, want, self.compute.isa)?;
        Ok(issue)
    }

    /// The sender must be a worker of this run, and answer for the current generation and step.
    fn check_origin(&self, c: &Contribution) -> Result<(), Rejection> {
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
            Ordering::Less => Err(Rejection::StaleStep { got, now }),
            Ordering::Greater => Err(Rejection::FutureStep { got, now }),
            Ordering::Equal => Ok(()),
        }
    }

    /// Node, part and attempt must exist. Returns how many numbers the part has.
    fn check_place(&self, c: &Contribution) -> Result<usize, Rejection> {
        // A sum of two replicas' differences has no code.
        if !self.tree.contains(c.node) || c.node.level > 0 && self.manifest.rounds().is_some() {
            return Err(Rejection::UnknownNode(c.node));
        }
        let Some(range) = self.part_range(c.part) else {
            let Part::Layer(got) = c.part else { unreachable!("every model has `Part::All`") };
            return Err(Rejection::UnknownPart { got, want: self.pieces.len() as u32 });
        };
        if c.attempt.0 >= self.round.attempts {
            return Err(Rejection::UnknownAttempt { got: c.attempt.0, now: self.round.attempts });
        }
        Ok(range.len())
    }

    /// Whether any of it would count.
    fn is_news(&self, c: &Contribution) -> bool {
        let trial = self.round.trials.iter().find(|trial| trial.node == c.node);
        if let (Some(trial), Some(worker)) = (trial, self.workers.get(c.worker)) {
            return !trial.knows(c.worker, worker.member, c.part) && !self.reduction.touches(c.node);
        }
        let layer = match c.part {
            Part::Layer(layer) => !self.reduction.has_layer(layer as usize, c.node),
            Part::All => (0..self.pieces.len()).any(|layer| !self.reduction.has_layer(layer, c.node)),
        };
        layer || c.stats.is_some() && !self.reduction.has_stats(c.node)
    }

    /// Loss and counts must come with all layers at once, and cover the node's samples.
    fn check_stats(&self, c: &Contribution) -> Result<(), Rejection> {
        let Some(stats) = c.stats else {
            return if c.part == Part::All { Err(Rejection::MissingStats) } else { Ok(()) };
        };
        let want = self.tree.samples_of(c.node).len();
        if stats.samples != want || stats.correct > want {
            return Err(Rejection::WrongCount { got: stats.samples, want });
        }
        Ok(())
    }
}

/// There must be `want` numbers, and the sender's word about NaN and infinity must be true.
fn check_values(c: &Contribution, want: usize, isa: Isa) -> Result<(), Rejection> {
    let (got, want) = match &c.values {
        Values::Own(buffer) => (buffer.len(), want),
        Values::Received(received) => {
            if let Some(bytes) = received.ragged() {
                return Err(Rejection::Ragged(bytes));
            }
            (received.numbers(), received.encoding().whole_blocks(want))
        }
    };
    if got != want {
        return Err(Rejection::WrongLength { got, want });
    }
    let loss = c.stats.is_none_or(|stats| stats.loss.is_finite());
    let finite = match &c.values {
        Values::Own(_) => c.finite && loss,
        Values::Received(received) => loss && received.all_finite(isa),
    };
    match (finite, c.finite) {
        (false, true) => Err(Rejection::HiddenNonFinite),
        (true, false) => Err(Rejection::FalseAlarm),
        _ => Ok(()),
    }
}
