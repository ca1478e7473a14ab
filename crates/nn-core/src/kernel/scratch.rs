//! A thread's working memory.

use super::gradient_tile::{SLOT_FLOATS, STACK_SLOTS};
use super::lanes::Lane;
use super::tile::K_PANEL;

/// A thread's own memory: nothing in it outlives a call.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Inputs of one or two column lanes for every sample, one lane a sample.
    pub(super) features: Vec<Lane>,
    /// The partial sums of a gradient tile.
    pub(super) stack: Vec<Lane>,
    /// A tile of weights in the order of use.
    pub(super) packed: Vec<Lane>,
}

impl Scratch {
    /// Room for nodes of up to `panels` × 16 samples.
    pub(crate) fn new(panels: usize) -> Self {
        Self {
            features: vec![Lane::ZERO; panels * 2 * 16],
            stack: vec![Lane::ZERO; STACK_SLOTS * SLOT_FLOATS / 16],
            packed: vec![Lane::ZERO; K_PANEL * 28 / 16 + 2],
        }
    }
}
