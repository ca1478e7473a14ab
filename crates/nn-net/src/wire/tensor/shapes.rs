//! The shape of a run's tensors: what every header is compared with.

use std::ops::Range;

use nn_engine::{Encoding, Manifest, Part};

/// Bytes converted and checked at a time: they stay in the first cache.
pub(super) const BLOCK: usize = 4096;

/// The tensors of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Contributions, to the coordinator.
    Up,
    /// Weights and updates, to the workers.
    Down,
}

/// Where the parts of the run's parameters are, and how their numbers are encoded.
#[derive(Debug)]
pub(crate) struct Shapes {
    pieces: Vec<Range<usize>>,
    total: usize,
    contributions: Encoding,
    /// With rounds, parts of the weights are sent as what changes.
    updates: Option<Encoding>,
    /// What workers need only as bf16.
    rounded: Vec<Range<usize>>,
}

impl Shapes {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        Self {
            pieces: manifest.pieces(),
            total: manifest.model().parameters(),
            contributions: manifest.contribution_encoding(),
            updates: manifest.update_encoding(),
            rounded: manifest.rounded_parameters(),
        }
    }

    /// Parts that are sent on their own: layers that have weights or, with rounds, pieces of the parameters.
    pub(crate) fn layers(&self) -> usize {
        self.pieces.len()
    }

    /// All parameters.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// The encoding of a tensor of the run.
    pub(crate) fn encoding(&self, direction: Direction, part: Part) -> Encoding {
        match (direction, part) {
            (Direction::Up, _) => self.contributions,
            (Direction::Down, Part::Layer(_)) => self.updates.unwrap_or(Encoding::F32),
            (Direction::Down, Part::All) => Encoding::F32,
        }
    }

    /// Whether parts of the weights are added to those of the step before.
    pub(crate) fn has_updates(&self) -> bool {
        self.updates.is_some()
    }

    /// Whether workers need some of the weights only as bf16.
    pub(crate) fn has_rounded(&self) -> bool {
        !self.rounded.is_empty()
    }

    /// The numbers of a part that workers need only as bf16, counted from its first.
    pub(crate) fn rounded(&self, part: Part) -> Vec<Range<usize>> {
        let Some(all) = self.range(part) else { return Vec::new() };
        let within = |range: &Range<usize>| all.start <= range.start && range.end <= all.end;
        let from_first = |range: &Range<usize>| range.start - all.start..range.end - all.start;
        self.rounded.iter().filter(|range| within(range)).map(from_first).collect()
    }

    /// The bytes of a set of weights.
    pub(crate) fn bytes(&self) -> usize {
        Encoding::F32.bytes_for(self.total)
    }

    /// Where a part is among the parameters.
    pub(crate) fn range(&self, part: Part) -> Option<Range<usize>> {
        match part {
            Part::All => Some(0..self.total),
            Part::Layer(piece) => self.pieces.get(piece as usize).cloned(),
        }
    }
}

/// The `layer` field of a part's header and chunks.
pub(crate) fn layer_of(part: Part) -> Option<u32> {
    match part {
        Part::Layer(layer) => Some(layer),
        Part::All => None,
    }
}
