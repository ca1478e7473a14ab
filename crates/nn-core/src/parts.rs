//! Nodes of more samples than there is room for: computed part by part, so that large mini-batches take no more memory.
//!
//! This is gradient accumulation, along the canonical tree. Each part but the last has 2ᵏ whole leaves and so is a node of the
//! tree, and the sums of parts are those of the nodes above: the bits are the same. The parts are summed in the tree's order
//! from left to right, so of n parts at most ⌈log₂ n⌉ sums wait for the ones to their right.

use crate::compute::Compute;
use crate::dataset::Dataset;
use crate::kernel::vector::{add_assign, all_finite};
use crate::kernel::zeroed;
use crate::regularization::Samples;
use crate::tree::tree_sum;
use crate::workspace::{NodeStats, Workspace};

/// The samples that [`samples_at_once`] keeps to, unless a leaf has more.
///
/// The activations and deltas of so many samples of a network with 12 million parameters take some 120 MB; and their products
/// take so long that adding up the sums of parts, which read and write all of the parameters' memory, does not count.
pub const MOST_SAMPLES_AT_ONCE: usize = 2048;

/// The samples that a [`Workspace`] should have room for, if mini-batches have so many of them in leaves of `shard`.
#[must_use]
pub fn samples_at_once(samples: usize, shard: usize) -> usize {
    samples.min(part_within(MOST_SAMPLES_AT_ONCE, shard)).max(1)
}

/// How many gradients of the size of the parameters wait while a mini-batch is summed in parts.
#[must_use]
pub fn waiting_sums(samples: usize, shard: usize) -> usize {
    let parts = samples.div_ceil(samples_at_once(samples, shard)).max(1);
    parts.next_power_of_two().trailing_zeros() as usize
}

/// The samples of the largest number 2ᵏ of leaves within `room`; one leaf, if not even that has room.
fn part_within(room: usize, shard: usize) -> usize {
    let leaves = (room / shard.max(1)).max(1);
    shard.max(1) << leaves.ilog2()
}

/// Gradients of parts that wait to be added; there are as many as have been needed at once.
#[derive(Debug, Default)]
pub(crate) struct Partial(Vec<Vec<f32>>);

/// A node whose parts are computed.
struct Parts<'a> {
    params: &'a [f32],
    data: &'a Dataset,
    samples: Samples<'a>,
    shard: usize,
    /// Samples of a part.
    part: usize,
    /// The loss of each part that is done.
    losses: Vec<f64>,
    correct: usize,
}

impl Workspace {
    /// [`Workspace::node_gradient`] of a node of more samples than there is room for.
    ///
    /// # Panics
    /// If there is no room for one leaf.
    pub(crate) fn gradient_of_parts(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: Samples<'_>,
        shard: usize,
        out: &mut [f32],
    ) -> NodeStats {
        assert!(shard > 0 && shard <= self.room(), "the workspace has room for a leaf");
        let part = part_within(self.room(), shard);
        let mut node = Parts { params, data, samples, shard, part, losses: Vec::new(), correct: 0 };
        let parts = samples.indices.len().div_ceil(part);
        let level = parts.next_power_of_two().trailing_zeros();
        let mut waiting = std::mem::take(&mut self.partial.0);
        waiting.resize_with(waiting.len().max(level as usize), || zeroed(params.len()));
        node.sum(self, 0, level, &mut waiting, out);
        self.partial.0 = waiting;
        let loss = tree_sum(node.losses.into_iter());
        // A part that is not finite makes the sum so, and finite parts may add up to infinity.
        let finite = loss.is_finite() && all_finite(self.compute().isa, out);
        NodeStats { samples: samples.indices.len(), loss, correct: node.correct, finite }
    }
}

impl Parts<'_> {
    /// Writes the sum of 2^`level` parts from `first` on to `out`, or of those of them that there are. `waiting` has room for a sum
    /// at each level below.
    fn sum(
        &mut self,
        workspace: &mut Workspace,
        first: usize,
        level: u32,
        waiting: &mut [Vec<f32>],
        out: &mut [f32],
    ) {
        let all = self.samples.indices.len();
        let Some((right, waiting)) = waiting[..level as usize].split_last_mut() else {
            let from = first * self.part;
            let samples = self.samples.part(from..all.min(from + self.part));
            let stats = workspace.part_gradient(self.params, self.data, samples, self.shard, out);
            self.losses.push(stats.loss);
            self.correct += stats.correct;
            return;
        };
        self.sum(workspace, first, level - 1, waiting, out);
        let second = first + (1 << (level - 1));
        if second * self.part < all {
            self.sum(workspace, second, level - 1, waiting, right);
            let Compute { isa, threads } = workspace.compute();
            threads.for_each_block(out, |at, out| add_assign(isa, out, &right[at..at + out.len()]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_nodes_of_the_tree() {
        assert_eq!(samples_at_once(10, 2), 10);
        assert_eq!(samples_at_once(2048, 32), 2048);
        assert_eq!(samples_at_once(16_384, 32), 2048);
        assert_eq!(samples_at_once(16_384, 10), 1280, "128 leaves");
        assert_eq!(samples_at_once(16_384, 5000), 5000, "a leaf is not divided");
        assert_eq!(samples_at_once(100_000, 1), 2048);
        assert_eq!([1, 2048, 2049, 4097, 16_384, 16_385].map(|n| waiting_sums(n, 32)), [0, 0, 1, 2, 3, 4]);
    }
}
