//! The shape of a run's tensors: what every header is compared with.

use std::ops::Range;

use nn_core::{LayerLayout, layout};
use nn_engine::{Encoding, Manifest, Part};

/// Bytes converted and checked at a time: they stay in the first cache.
pub(super) const BLOCK: usize = 4096;

/// Where the layers of the run's model are, and how its numbers are encoded.
#[derive(Debug)]
pub(crate) struct Shapes {
    layers: Vec<LayerLayout>,
    total: usize,
    encoding: Encoding,
}

impl Shapes {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        Self {
            layers: layout(manifest.model()),
            total: manifest.model().parameters(),
            encoding: Encoding::F32,
        }
    }

    /// Layers that have weights.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// All parameters.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// The encoding of every tensor of the run.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The bytes of a set of weights.
    pub(crate) fn bytes(&self) -> usize {
        self.encoding.bytes_for(self.total)
    }

    /// Where a part is among the parameters.
    pub(crate) fn range(&self, part: Part) -> Option<Range<usize>> {
        match part {
            Part::All => Some(0..self.total),
            Part::Layer(layer) => self.layers.get(layer as usize).map(LayerLayout::range),
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
