//! The working memory of a thread.

use super::bf16_tile::half_lanes;
use super::gradient_tile::{SLOT_FLOATS, STACK_SLOTS};
use super::lanes::Lane;
use super::memory::zeroed_lanes;
use super::tile::K_PANEL;

/// A thread's working memory for products and gradients; its contents do not outlive a call.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// One or two columns of inputs, one lane of 16 for each sample.
    pub(super) features: Vec<Lane>,
    /// The partial sums of a gradient tile.
    pub(super) stack: Vec<Lane>,
    /// A tile of weights, in the order in which it is read.
    pub(super) packed: Vec<Lane>,
    /// Half the sums of a tile with bf16 operands.
    pub(super) half: Vec<Lane>,
    /// An operand of a matrix unit, and sums of its tiles. It grows to what is needed.
    pub(super) tiles: Vec<Lane>,
}

impl Scratch {
    /// Room for nodes of up to `panels` × 16 samples.
    pub(crate) fn new(panels: usize) -> Self {
        Self {
            features: vec![Lane::ZERO; panels * 2 * 16],
            stack: vec![Lane::ZERO; STACK_SLOTS * SLOT_FLOATS / 16],
            packed: vec![Lane::ZERO; K_PANEL * 28 / 16 + 2],
            half: half_lanes(),
            tiles: Vec::new(),
        }
    }

    /// At least so many lanes for tiles.
    pub(super) fn tiles(&mut self, lanes: usize) -> *mut f32 {
        if self.tiles.len() < lanes {
            self.tiles = zeroed_lanes(lanes);
        }
        self.tiles.as_mut_ptr().cast()
    }
}
