//! Leaves and the canonical tree: the order in which the gradients of a mini-batch are summed, on any machine.
//!
//! A mini-batch of n samples is cut into leaves of `shard` consecutive samples; the last may be short. Node `(level,
//! i)` is the sum of `(level−1, 2i)` and `(level−1, 2i+1)`; without a right one, the left passes up unchanged.
//!
//! ```text
//! level 3                 (3,0)
//! level 2         (2,0)           (2,1)
//! level 1     (1,0)   (1,1)   (1,2) = (0,4)
//! leaves    (0,0) (0,1) (0,2) (0,3) (0,4)
//! ```

use std::ops::Range;

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// 0 for a leaf.
    pub level: u32,
    /// Position within the level.
    pub index: u32,
}

/// The division of a mini-batch into leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    samples: usize,
    shard: usize,
    leaves: u32,
}

impl Tree {
    /// The tree of a mini-batch of `samples` samples in leaves of `shard`.
    ///
    /// # Panics
    /// If either is 0, or there would be more than 2³¹ leaves.
    #[must_use]
    pub fn new(samples: usize, shard: usize) -> Self {
        assert!(samples > 0 && shard > 0, "a mini-batch and its leaves have samples");
        let leaves = samples.div_ceil(shard);
        assert!(leaves <= 1 << 31, "at most 2³¹ leaves");
        Self { samples, shard, leaves: leaves as u32 }
    }

    /// Samples in the mini-batch.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Samples in a leaf; the last may be short.
    #[must_use]
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// The number of leaves.
    #[must_use]
    pub fn leaves(&self) -> u32 {
        self.leaves
    }

    /// The node that sums the whole mini-batch.
    #[must_use]
    pub fn root(&self) -> Node {
        Node { level: self.leaves.next_power_of_two().trailing_zeros(), index: 0 }
    }

    /// Whether a node belongs to this tree.
    #[must_use]
    pub fn contains(&self, node: Node) -> bool {
        node.level <= self.root().level && (u64::from(node.index) << node.level) < u64::from(self.leaves)
    }

    /// The leaves below a node of this tree.
    #[must_use]
    pub fn leaves_of(&self, node: Node) -> Range<u32> {
        let start = u64::from(node.index) << node.level;
        let end = (start + (1 << node.level)).min(u64::from(self.leaves));
        start as u32..end as u32
    }

    /// The samples below a node of this tree, as positions in the mini-batch.
    #[must_use]
    pub fn samples_of(&self, node: Node) -> Range<usize> {
        let leaves = self.leaves_of(node);
        leaves.start as usize * self.shard..(leaves.end as usize * self.shard).min(self.samples)
    }

    /// The fewest nodes whose leaves are exactly the range, in order.
    #[must_use]
    pub fn cover(&self, leaves: Range<u32>) -> Vec<Node> {
        let mut nodes = Vec::new();
        self.cover_into(leaves, &mut nodes);
        nodes
    }

    /// Appends the [`Tree::cover`] of the range to `nodes`.
    pub fn cover_into(&self, leaves: Range<u32>, nodes: &mut Vec<Node>) {
        let mut start = u64::from(leaves.start);
        let end = u64::from(leaves.end.min(self.leaves));
        while start < end {
            let mut level = if start == 0 { 32 } else { start.trailing_zeros() };
            // A node may reach beyond the last leaf, but not beyond the end of a range that stops before it.
            while level > 0 && start + (1 << level) > end && end < u64::from(self.leaves)
                || level > self.root().level
                || level > 0 && start + (1 << (level - 1)) >= end
            {
                level -= 1;
            }
            nodes.push(Node { level, index: (start >> level) as u32 });
            start += 1 << level;
        }
    }
}

impl Node {
    /// The parent.
    #[must_use]
    pub fn parent(self) -> Self {
        Self { level: self.level + 1, index: self.index / 2 }
    }

    /// The other child of the same parent. A tree may lack it.
    #[must_use]
    pub fn sibling(self) -> Self {
        Self { level: self.level, index: self.index ^ 1 }
    }
}

/// Sums numbers along the canonical tree over their indices, as the kernels sum tiles of gradients.
#[must_use]
pub fn tree_sum(leaves: impl Iterator<Item = f64>) -> f64 {
    let mut stack = [0.0; 64];
    let mut depth = 0;
    for (i, leaf) in leaves.enumerate() {
        let mut sum = leaf;
        let mut closed = i;
        while closed & 1 == 1 {
            depth -= 1;
            sum += stack[depth];
            closed >>= 1;
        }
        stack[depth] = sum;
        depth += 1;
    }
    stack[..depth].iter().rev().copied().reduce(|right, left| left + right).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of the sum, level by level.
    fn by_levels(mut level: Vec<f64>) -> f64 {
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| pair.iter().copied().reduce(|l, r| l + r).unwrap()).collect();
        }
        level.first().copied().unwrap_or(0.0)
    }

    #[test]
    fn sums_follow_the_definition() {
        for n in 0..200_u32 {
            let leaves: Vec<f64> = (0..n).map(|i| 1.0 / (1.0 + f64::from(i * i * 7 % 31))).collect();
            assert_eq!(tree_sum(leaves.iter().copied()).to_bits(), by_levels(leaves).to_bits(), "{n} leaves");
        }
    }

    #[test]
    fn covers_are_exact_and_minimal() {
        for leaves in 1..40_usize {
            let tree = Tree::new(leaves * 3 - 1, 3);
            assert_eq!(tree.cover(0..tree.leaves()), vec![tree.root()]);
            for start in 0..leaves as u32 {
                for end in start + 1..=leaves as u32 {
                    let nodes = tree.cover(start..end);
                    let mut at = start;
                    for &node in &nodes {
                        assert!(tree.contains(node), "{node:?} of {leaves}");
                        assert_eq!(tree.leaves_of(node).start, at);
                        at = tree.leaves_of(node).end;
                    }
                    assert_eq!(at, end);
                    // Two siblings would have been their parent.
                    for pair in nodes.windows(2) {
                        assert!(
                            pair[0].sibling() != pair[1] || pair[0].index & 1 == 1,
                            "{nodes:?} of {leaves}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn samples_end_with_the_mini_batch() {
        let tree = Tree::new(10, 3);
        assert_eq!(tree.leaves(), 4);
        assert_eq!(tree.samples_of(tree.root()), 0..10);
        assert_eq!(tree.samples_of(Node { level: 0, index: 3 }), 9..10);
        assert_eq!(tree.samples_of(Node { level: 1, index: 1 }), 6..10);
        assert!(!tree.contains(Node { level: 0, index: 4 }) && !tree.contains(Node { level: 3, index: 0 }));
    }
}
