//! From nodes to the root: sums along the canonical tree.
//!
//! Each layer (or, with rounds, each piece of the parameters) has a sum of its own, and so have loss and counts; they
//! complete independently. Within a sum each leaf
//! counts once, alone or as part of a larger node.

use std::ops::Range;

use nn_core::{Node, NodeStats, Threads, Tree};

use super::received::Received;

/// A set of leaves.
#[derive(Debug, Default)]
pub(super) struct LeafSet {
    words: Vec<u64>,
    leaves: u32,
}

impl LeafSet {
    /// Empties the set, for a tree with this many leaves.
    pub(super) fn reset(&mut self, leaves: u32) {
        self.words.clear();
        self.words.resize(leaves.div_ceil(64) as usize, 0);
        self.leaves = leaves;
    }

    /// The words that a range touches, each with the bits of the range.
    fn masks(range: Range<u32>) -> impl Iterator<Item = (usize, u64)> {
        let Range { start, end } = range;
        (start / 64..end.div_ceil(64)).map(move |word| {
            let (from, to) = (start.max(word * 64) - word * 64, end.min(word * 64 + 64) - word * 64);
            (word as usize, (u64::MAX >> (64 - (to - from))) << from)
        })
    }

    pub(super) fn insert(&mut self, range: Range<u32>) {
        for (word, mask) in Self::masks(range) {
            self.words[word] |= mask;
        }
    }

    pub(super) fn touches(&self, range: Range<u32>) -> bool {
        Self::masks(range).any(|(word, mask)| self.words[word] & mask != 0)
    }

    fn covers(&self, range: Range<u32>) -> bool {
        Self::masks(range).all(|(word, mask)| self.words[word] & mask == mask)
    }

    /// Keeps the leaves that are in `other` too.
    fn intersect(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
    }

    fn copy_from(&mut self, other: &Self) {
        self.words.clone_from(&other.words);
        self.leaves = other.leaves;
    }

    /// The first run of leaves at or after `at` that are not in the set.
    pub(super) fn gap(&self, at: u32) -> Option<Range<u32>> {
        let missing = |leaf: &u32| self.words[(*leaf / 64) as usize] >> (*leaf % 64) & 1 == 0;
        let start = (at..self.leaves).find(missing)?;
        let end = (start..self.leaves).find(|leaf| !missing(leaf)).unwrap_or(self.leaves);
        Some(start..end)
    }
}

/// A sum along the tree, as far as its nodes have arrived.
#[derive(Debug)]
struct TreeSum<T> {
    counted: LeafSet,
    /// Nodes whose sibling has not arrived.
    held: Vec<(Node, T)>,
}

impl<T> TreeSum<T> {
    fn new() -> Self {
        Self { counted: LeafSet::default(), held: Vec::new() }
    }

    /// Counts a node and merges it with its sibling, the left one first, and so on up the tree; `merge` gets the parent.
    /// Some once that is the root. None of the node's leaves may have been counted before.
    fn add(
        &mut self,
        tree: &Tree,
        node: Node,
        value: T,
        mut merge: impl FnMut(Node, T, T) -> T,
    ) -> Option<T> {
        self.counted.insert(tree.leaves_of(node));
        let (mut node, mut value, root) = (node, value, tree.root());
        while node != root {
            let sibling = node.sibling();
            if tree.contains(sibling) {
                let Some(at) = self.held.iter().position(|(held, _)| *held == sibling) else {
                    self.held.push((node, value));
                    return None;
                };
                let (_, other) = self.held.swap_remove(at);
                let (left, right) = if sibling.index < node.index { (other, value) } else { (value, other) };
                value = merge(node.parent(), left, right);
            }
            node = node.parent();
        }
        Some(value)
    }
}

/// A node's sum of one layer.
#[derive(Debug)]
pub(super) enum Sum {
    /// The bytes that it arrived in.
    Received(Received),
    /// Numbers in memory.
    Buffer(Vec<f32>),
    /// The two halves of the root. They are added block by block when the layer is stepped, and never stored as a sum.
    Pair(Box<[Self; 2]>),
}

impl Sum {
    /// Writes the numbers from number `from` on to `out`.
    pub(super) fn read(&self, from: usize, out: &mut [f32]) {
        match self {
            Self::Received(received) => received.read(from, out),
            Self::Buffer(buffer) => out.copy_from_slice(&buffer[from..from + out.len()]),
            Self::Pair(halves) => {
                halves[0].read(from, out);
                halves[1].add_to(from, out);
            }
        }
    }

    /// Adds the numbers from number `from` on to `out`.
    fn add_to(&self, from: usize, out: &mut [f32]) {
        match self {
            Self::Received(received) => received.add_to(from, out),
            Self::Buffer(buffer) => out.iter_mut().zip(&buffer[from..]).for_each(|(x, y)| *x += y),
            Self::Pair(_) => unreachable!("a pair is the root, which has no sibling"),
        }
    }

    /// Returns its memory to the pool.
    fn recycle(self, pool: &mut Vec<Vec<f32>>) {
        match self {
            Self::Received(_) => {}
            Self::Buffer(buffer) => pool.push(buffer),
            Self::Pair(halves) => halves.into_iter().for_each(|half| half.recycle(pool)),
        }
    }
}

/// All sums of a step.
#[derive(Debug)]
pub(super) struct Reduction {
    layers: Vec<TreeSum<Sum>>,
    stats: TreeSum<NodeStats>,
    /// Free buffers, by layer.
    pool: Vec<Vec<Vec<f32>>>,
    sizes: Vec<usize>,
    tree: Tree,
    untouched: bool,
    all: LeafSet,
}

impl Reduction {
    pub(super) fn new(pieces: &[Range<usize>], tree: Tree) -> Self {
        let mut reduction = Self {
            layers: pieces.iter().map(|_| TreeSum::new()).collect(),
            stats: TreeSum::new(),
            pool: pieces.iter().map(|_| Vec::new()).collect(),
            sizes: pieces.iter().map(Range::len).collect(),
            tree,
            untouched: false,
            all: LeafSet::default(),
        };
        reduction.reset(tree);
        reduction
    }

    /// Begins a new step; memory is kept.
    pub(super) fn reset(&mut self, tree: Tree) {
        if self.untouched && tree.leaves() == self.tree.leaves() {
            self.tree = tree;
            return;
        }
        for (layer, pool) in self.layers.iter_mut().zip(&mut self.pool) {
            layer.counted.reset(tree.leaves());
            for (_, sum) in layer.held.drain(..) {
                sum.recycle(pool);
            }
        }
        self.stats.counted.reset(tree.leaves());
        self.stats.held.clear();
        self.tree = tree;
        self.untouched = true;
    }

    /// Whether nothing has been counted.
    pub(super) fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// Whether any leaf of a node has been counted in this layer.
    pub(super) fn has_layer(&self, layer: usize, node: Node) -> bool {
        self.layers[layer].counted.touches(self.tree.leaves_of(node))
    }

    /// Whether any leaf of a node has been counted in loss and counts.
    pub(super) fn has_stats(&self, node: Node) -> bool {
        self.stats.counted.touches(self.tree.leaves_of(node))
    }

    /// Whether any leaf of a node has been counted in any sum.
    pub(super) fn touches(&self, node: Node) -> bool {
        self.has_stats(node) || (0..self.layers.len()).any(|layer| self.has_layer(layer, node))
    }

    /// Whether no sum needs this node any more.
    pub(super) fn has_all(&self, node: Node) -> bool {
        self.has_stats(node) && (0..self.layers.len()).all(|layer| self.has_layer(layer, node))
    }

    /// Divides nodes until each sum has counted either all of a node or nothing of it: a node could not count if one of
    /// its leaves had counted as part of a smaller node, and its other leaves would never arrive.
    pub(super) fn divide(&self, nodes: &mut Vec<Node>) {
        if self.untouched {
            return;
        }
        let sums = || self.layers.iter().map(|layer| &layer.counted).chain([&self.stats.counted]);
        let mut at = 0;
        while at < nodes.len() {
            let leaves = self.tree.leaves_of(nodes[at]);
            if sums().any(|counted| counted.touches(leaves.clone()) && !counted.covers(leaves.clone())) {
                let left = Node { level: nodes[at].level - 1, index: nodes[at].index * 2 };
                nodes[at] = left;
                if self.tree.contains(left.sibling()) {
                    nodes.insert(at + 1, left.sibling());
                }
            } else {
                at += 1;
            }
        }
    }

    /// The leaves that have been counted in all sums.
    pub(super) fn counted_into(&mut self, out: &mut LeafSet) {
        self.all.copy_from(&self.stats.counted);
        for layer in &self.layers {
            self.all.intersect(&layer.counted);
        }
        out.copy_from(&self.all);
    }

    /// Counts a node in a layer. Some once all leaves have been counted: the layer's gradient sum, which the caller
    /// returns with [`Reduction::give_back`].
    pub(super) fn add_layer(&mut self, threads: &Threads, layer: usize, node: Node, sum: Sum) -> Option<Sum> {
        self.untouched = false;
        let (pool, size, root) = (&mut self.pool[layer], self.sizes[layer], self.tree.root());
        self.layers[layer].add(&self.tree, node, sum, |node, left, right| {
            if node == root {
                return Sum::Pair(Box::new([left, right]));
            }
            // Addition of two finite numbers is commutative.
            match (left, right) {
                (Sum::Buffer(mut sum), other) | (other, Sum::Buffer(mut sum)) => {
                    threads.for_each_block(&mut sum, |from, out| other.add_to(from, out));
                    other.recycle(pool);
                    Sum::Buffer(sum)
                }
                (left, right) => {
                    let mut sum = pool.pop().unwrap_or_else(|| vec![0.0; size]);
                    threads.for_each_block(&mut sum, |from, out| {
                        left.read(from, out);
                        right.add_to(from, out);
                    });
                    Sum::Buffer(sum)
                }
            }
        })
    }

    /// Counts loss and counts of a node. Some once those of all leaves have been counted.
    pub(super) fn add_stats(&mut self, node: Node, stats: NodeStats) -> Option<NodeStats> {
        self.untouched = false;
        self.stats.add(&self.tree, node, stats, |_, left, right| NodeStats {
            samples: left.samples + right.samples,
            loss: left.loss + right.loss,
            correct: left.correct + right.correct,
            finite: left.finite && right.finite,
        })
    }

    /// A free buffer of a layer's size, with arbitrary contents, if there is one.
    pub(super) fn spare(&mut self, layer: usize) -> Option<Vec<f32>> {
        self.pool[layer].pop()
    }

    /// A buffer of a layer's size, with arbitrary contents.
    pub(super) fn take(&mut self, layer: usize) -> Vec<f32> {
        self.spare(layer).unwrap_or_else(|| vec![0.0; self.sizes[layer]])
    }

    /// Takes back a layer's sum that is no longer needed.
    pub(super) fn give_back(&mut self, layer: usize, sum: Sum) {
        sum.recycle(&mut self.pool[layer]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_leaves_cross_words() {
        let mut set = LeafSet::default();
        set.reset(200);
        assert_eq!(set.gap(0), Some(0..200));
        set.insert(60..130);
        set.insert(0..1);
        assert!(set.touches(0..2) && set.touches(129..130) && set.touches(64..65));
        assert!(!set.touches(1..60) && !set.touches(130..200));
        assert_eq!((set.gap(0), set.gap(60), set.gap(131)), (Some(1..60), Some(130..200), Some(131..200)));
        assert!(set.covers(60..130) && set.covers(70..71) && !set.covers(59..64) && !set.covers(129..131));
        set.insert(0..200);
        assert_eq!(set.gap(0), None);
    }

    #[test]
    fn nodes_are_summed_along_the_tree_in_any_order_of_arrival() {
        for leaves in 1..12_usize {
            let tree = Tree::new(leaves, 1);
            let want = expression(&tree, tree.root());
            for rotation in 0..leaves as u32 {
                let mut sum = TreeSum::new();
                sum.counted.reset(tree.leaves());
                let mut roots = Vec::new();
                for i in 0..leaves as u32 {
                    // Forwards from any leaf, and backwards.
                    let index =
                        if rotation & 1 == 0 { i + rotation } else { 2 * leaves as u32 - i - rotation };
                    let node = Node { level: 0, index: index % leaves as u32 };
                    assert!(roots.is_empty() && !sum.counted.touches(tree.leaves_of(node)));
                    let value = node.index.to_string();
                    roots.extend(sum.add(&tree, node, value, |_, l, r| format!("({l}+{r})")));
                }
                assert_eq!(roots, std::slice::from_ref(&want), "{leaves} leaves");
                assert!(sum.held.is_empty());
            }
        }
    }

    fn expression(tree: &Tree, node: Node) -> String {
        if node.level == 0 {
            return node.index.to_string();
        }
        let left = Node { level: node.level - 1, index: node.index * 2 };
        let right = left.sibling();
        if tree.contains(right) {
            format!("({}+{})", expression(tree, left), expression(tree, right))
        } else {
            expression(tree, left)
        }
    }
}
