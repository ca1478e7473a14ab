//! Nodes become the root: each layer's sums, and the loss and counts, along the canonical tree.
//!
//! A layer is a lane of its own, and so are loss and counts: lanes complete when they complete. Within a lane each leaf
//! counts once, alone or in a larger node.

use std::ops::Range;

use nn_core::{LayerLayout, Node, NodeStats, Threads, Tree};

use super::received::Received;

/// A set of leaves.
#[derive(Debug, Default)]
pub(super) struct LeafSet {
    words: Vec<u64>,
    leaves: u32,
}

impl LeafSet {
    /// The empty set of a tree with so many leaves.
    pub(super) fn reset(&mut self, leaves: u32) {
        self.words.clear();
        self.words.resize(leaves.div_ceil(64) as usize, 0);
        self.leaves = leaves;
    }

    /// The words that a range touches, each with the range's bits.
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

    /// Keeps what is in `other` too.
    fn intersect(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
    }

    fn copy_from(&mut self, other: &Self) {
        self.words.clone_from(&other.words);
        self.leaves = other.leaves;
    }

    /// The first run of leaves from `at` on that are not in the set.
    pub(super) fn gap(&self, at: u32) -> Option<Range<u32>> {
        let missing = |leaf: &u32| self.words[(*leaf / 64) as usize] >> (*leaf % 64) & 1 == 0;
        let start = (at..self.leaves).find(missing)?;
        let end = (start..self.leaves).find(|leaf| !missing(leaf)).unwrap_or(self.leaves);
        Some(start..end)
    }
}

/// The sums of one kind on their way to the root.
#[derive(Debug)]
pub(super) struct Lane<T> {
    counted: LeafSet,
    /// Sums whose sibling is not there yet.
    held: Vec<(Node, T)>,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self { counted: LeafSet::default(), held: Vec::new() }
    }

    /// Counts a node and merges it, always the left one first, with what is there; `merge` is told which node that makes.
    /// Some when that is the root. None of its leaves may have been counted before.
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

/// One layer's sum of a node.
#[derive(Debug)]
pub(super) enum Sum {
    /// Still in the bytes that it came in.
    Received(Received),
    /// In memory of our own.
    Buffer(Vec<f32>),
    /// The root's two halves. They are added block by block when the layer is stepped, without being written anywhere.
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
            Self::Pair(_) => unreachable!("a pair is the root, which nothing is added to"),
        }
    }

    /// Gives memory back.
    fn recycle(self, pool: &mut Vec<Vec<f32>>) {
        match self {
            Self::Received(_) => {}
            Self::Buffer(buffer) => pool.push(buffer),
            Self::Pair(halves) => halves.into_iter().for_each(|half| half.recycle(pool)),
        }
    }
}

/// All lanes of a step.
#[derive(Debug)]
pub(super) struct Reduction {
    layers: Vec<Lane<Sum>>,
    stats: Lane<NodeStats>,
    /// Free buffers of each layer's size.
    pool: Vec<Vec<Vec<f32>>>,
    sizes: Vec<usize>,
    tree: Tree,
    untouched: bool,
    all: LeafSet,
}

impl Reduction {
    pub(super) fn new(layout: &[LayerLayout], tree: Tree) -> Self {
        let mut reduction = Self {
            layers: layout.iter().map(|_| Lane::new()).collect(),
            stats: Lane::new(),
            pool: layout.iter().map(|_| Vec::new()).collect(),
            sizes: layout.iter().map(|layer| layer.range().len()).collect(),
            tree,
            untouched: false,
            all: LeafSet::default(),
        };
        reduction.reset(tree);
        reduction
    }

    /// Forgets everything but its memory.
    pub(super) fn reset(&mut self, tree: Tree) {
        if self.untouched && tree.leaves() == self.tree.leaves() {
            self.tree = tree;
            return;
        }
        for (lane, pool) in self.layers.iter_mut().zip(&mut self.pool) {
            lane.counted.reset(tree.leaves());
            for (_, sum) in lane.held.drain(..) {
                sum.recycle(pool);
            }
        }
        self.stats.counted.reset(tree.leaves());
        self.stats.held.clear();
        self.tree = tree;
        self.untouched = true;
    }

    /// Whether nothing has been counted yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// Whether some of a node's leaves have been counted in this layer.
    pub(super) fn has_layer(&self, layer: usize, node: Node) -> bool {
        self.layers[layer].counted.touches(self.tree.leaves_of(node))
    }

    /// Whether some of a node's leaves have been counted in loss and counts.
    pub(super) fn has_stats(&self, node: Node) -> bool {
        self.stats.counted.touches(self.tree.leaves_of(node))
    }

    /// Whether anything of a node has been counted.
    pub(super) fn touches(&self, node: Node) -> bool {
        self.has_stats(node) || (0..self.layers.len()).any(|layer| self.has_layer(layer, node))
    }

    /// Whether nothing of a node is wanted any more.
    pub(super) fn has_all(&self, node: Node) -> bool {
        self.has_stats(node) && (0..self.layers.len()).all(|layer| self.has_layer(layer, node))
    }

    /// Divides nodes until each is, in every lane, either counted or not: a node of which a part has been counted, in a
    /// smaller node, could not count itself, and what is missing of it would never come.
    pub(super) fn divide(&self, nodes: &mut Vec<Node>) {
        if self.untouched {
            return;
        }
        let lanes = || self.layers.iter().map(|lane| &lane.counted).chain([&self.stats.counted]);
        let mut at = 0;
        while at < nodes.len() {
            let leaves = self.tree.leaves_of(nodes[at]);
            if lanes().any(|counted| counted.touches(leaves.clone()) && !counted.covers(leaves.clone())) {
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

    /// The leaves that have been counted in all lanes.
    pub(super) fn counted_into(&mut self, out: &mut LeafSet) {
        self.all.copy_from(&self.stats.counted);
        for lane in &self.layers {
            self.all.intersect(&lane.counted);
        }
        out.copy_from(&self.all);
    }

    /// Counts a layer of a node. Some when all of the layer's leaves have been counted: its gradient sum, to be given
    /// back with [`Reduction::give_back`].
    pub(super) fn add_layer(&mut self, threads: &Threads, layer: usize, node: Node, sum: Sum) -> Option<Sum> {
        self.untouched = false;
        let (pool, size, root) = (&mut self.pool[layer], self.sizes[layer], self.tree.root());
        self.layers[layer].add(&self.tree, node, sum, |node, left, right| {
            if node == root {
                return Sum::Pair(Box::new([left, right]));
            }
            // Which term is the first cannot be seen in the sum of two finite numbers.
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

    /// Counts loss and counts of a node. Some when those of all leaves have been counted.
    pub(super) fn add_stats(&mut self, node: Node, stats: NodeStats) -> Option<NodeStats> {
        self.untouched = false;
        self.stats.add(&self.tree, node, stats, |_, left, right| NodeStats {
            samples: left.samples + right.samples,
            loss: left.loss + right.loss,
            correct: left.correct + right.correct,
            finite: left.finite && right.finite,
        })
    }

    /// A buffer of a layer's size, with anything in it.
    pub(super) fn take(&mut self, layer: usize) -> Vec<f32> {
        self.pool[layer].pop().unwrap_or_else(|| vec![0.0; self.sizes[layer]])
    }

    /// A layer's sum is not needed any more.
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
    fn a_lane_sums_along_the_tree_in_any_order_of_arrival() {
        for leaves in 1..12_usize {
            let tree = Tree::new(leaves, 1);
            let want = expression(&tree, tree.root());
            for rotation in 0..leaves as u32 {
                let mut lane = Lane::new();
                lane.counted.reset(tree.leaves());
                let mut roots = Vec::new();
                for i in 0..leaves as u32 {
                    // Forwards from some leaf, and backwards.
                    let index =
                        if rotation & 1 == 0 { i + rotation } else { 2 * leaves as u32 - i - rotation };
                    let node = Node { level: 0, index: index % leaves as u32 };
                    assert!(roots.is_empty() && !lane.counted.touches(tree.leaves_of(node)));
                    let value = node.index.to_string();
                    roots.extend(lane.add(&tree, node, value, |_, l, r| format!("({l}+{r})")));
                }
                assert_eq!(roots, std::slice::from_ref(&want), "{leaves} leaves");
                assert!(lane.held.is_empty());
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
