//! Products on tiles: the whole of the arithmetic of a matrix unit for bf16, over any unit that has it ([`Tiles`]).
//!
//! A tile is 16 rows of 16 words of 32 bits. An operand's word holds two bf16 numbers, terms 2j and 2j + 1 of a block of
//! 32, so one tile of each operand is one [`BLOCK`] of the definition in [`bf16`](super::bf16): row r of the left operand
//! has the block's 32 terms of output row r, and row j of the right one has terms 2j and 2j + 1 of 16 output columns. An
//! output's word is an `f32`.
//!
//! - Forward and backward: the left operand is the weights, which [`pack_weights`] writes as tiles once for a pass,
//!   and the right one a panel's activations or deltas, where a column is a sample. The output is then in the
//!   arena's own order.
//! - The gradient: the left operand is the deltas, which [`pack_deltas`] writes as tiles once for a node, and the
//!   right one the inputs. A term is a sample, and blocks begin with a leaf.

use std::ops::Range;

use super::bf16::{BLOCK, round_to_bf16};
use super::gradient_tile::{GradientOut, Leaves, STACK_SLOTS};
use super::lanes::{Lane, Simd};

/// Lanes of a tile.
pub(super) const TILE: usize = 16;
/// Floats of a tile.
const FLOATS: usize = TILE * 16;

/// The sums of 2 × 2 tiles: `sums[r][c]` = Σ `left[r]` · `right[c]` over blocks, in order, from +0.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// The first tiles of the left operand; those of the next block follow.
    pub(super) left: [*const f32; 2],
    /// The same of the right operand.
    pub(super) right: [*const f32; 2],
    /// Blocks, at least 1.
    pub(super) blocks: usize,
    /// Where the sums go: 16 lanes each.
    pub(super) sums: [[*mut f32; 2]; 2],
}

/// A matrix unit, with the lanes for everything else.
pub(super) trait Tiles {
    /// The lanes that go with it.
    type Lanes: Simd;
    /// Prepares the unit for this thread, until [`end`](Self::end).
    unsafe fn begin();
    /// Releases the unit.
    unsafe fn end();
    /// Computes [`Sums`].
    unsafe fn sums(task: &Sums);
}

/// Plain code in the order of a matrix unit. It is for tests, so that the code around the unit runs on every machine.
pub(super) struct Emulated<S>(std::marker::PhantomData<S>);

/// The two bf16 numbers of a word, as `f32`: the even term and the odd one.
#[inline(always)]
fn halves(word: u32) -> (f32, f32) {
    (f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000))
}

impl<S: Simd> Tiles for Emulated<S> {
    type Lanes = S;
    #[inline(always)]
    unsafe fn begin() {}
    #[inline(always)]
    unsafe fn end() {}
    #[inline(always)]
    unsafe fn sums(task: &Sums) {
        for (left, sums) in task.left.into_iter().zip(task.sums) {
            for (right, to) in task.right.into_iter().zip(sums) {
                for row in 0..TILE {
                    let mut sum = [0.0_f32; 16];
                    for block in 0..task.blocks {
                        let (mut even, mut odd) = ([0.0_f32; 16], [0.0_f32; 16]);
                        for j in 0..16 {
                            // SAFETY: the caller vouches for the tiles.
                            let (a, b) = unsafe {
                                let a = *left.add(block * FLOATS + 16 * row + j).cast::<u32>();
                                (halves(a), *right.add(block * FLOATS + 16 * j).cast::<[u32; 16]>())
                            };
                            for column in 0..16 {
                                let b = halves(b[column]);
                                // The products are exact, so it does not matter whether they are rounded.
                                even[column] += a.0 * b.0;
                                odd[column] += a.1 * b.1;
                            }
                        }
                        for column in 0..16 {
                            sum[column] += even[column] + odd[column];
                        }
                    }
                    // SAFETY: the caller vouches for 16 lanes.
                    unsafe { *to.add(16 * row).cast::<[f32; 16]>() = sum }
                }
            }
        }
    }
}

/// Writes the tiles of a right operand: lane k of the terms is at `lanes + 16·k`, and blocks begin with it.
#[inline(always)]
unsafe fn pack_right<S: Simd>(lanes: *const f32, terms: usize, to: *mut f32) {
    let zero = [0.0_f32; 16];
    let pairs = terms.next_multiple_of(BLOCK) / 2;
    for pair in 0..pairs {
        let lane = |k: usize| if k < terms { lanes.wrapping_add(16 * k) } else { zero.as_ptr() };
        // SAFETY: the caller vouches for `terms` lanes, and for the tiles.
        unsafe { S::interleave(lane(2 * pair), lane(2 * pair + 1), to.add(16 * pair)) }
    }
}

/// Lanes that the tiles of a matrix take in a product of so many terms, with so many output lanes.
pub(super) fn matrix_lanes(terms: usize, rows: usize) -> usize {
    rows.div_ceil(16) * terms.div_ceil(BLOCK) * TILE
}

/// A matrix of weights, row-major `[outputs][inputs]`.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) start: *const f32,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

/// Rounds 32 rows of weights from `row` on, and writes them as tiles to `forward` and, transposed, to `backward`. The
/// tiles of 16 outputs (or, transposed, of 16 inputs) lie together, block after block.
#[inline(always)]
pub(super) unsafe fn pack_weights<S: Simd>(
    weights: Weights,
    row: usize,
    forward: *mut f32,
    backward: Option<*mut f32>,
) {
    let Weights { start, inputs, outputs } = weights;
    let (blocks, back_blocks) = (inputs.div_ceil(BLOCK), outputs.div_ceil(BLOCK));
    let rows = (outputs - row).min(BLOCK);
    // Element (r, k) of a block is at 32·r + k.
    let mut rounded = [Lane::ZERO; 2 * BLOCK];
    let mut pairs = [Lane::ZERO; TILE];
    for block in 0..blocks {
        let first = block * BLOCK;
        let columns = (inputs - first).min(BLOCK);
        if columns < BLOCK {
            rounded = [Lane::ZERO; 2 * BLOCK];
        }
        let at = rounded.as_mut_ptr().cast::<f32>();
        // SAFETY: the caller vouches for the weights and for room for the tiles; row and columns are inside.
        unsafe {
            for r in 0..rows {
                let from = start.add((row + r) * inputs + first);
                if columns == BLOCK {
                    for half in 0..2 {
                        S::store(at.add(32 * r + 16 * half), S::round_to_bf16(S::load(from.add(16 * half))));
                    }
                } else {
                    for k in 0..columns {
                        *at.add(32 * r + k) = round_to_bf16(*from.add(k));
                    }
                }
            }
            for tile in 0..rows.div_ceil(16) {
                let to = forward.add(((row / 16 + tile) * blocks + block) * FLOATS);
                for r in 0..16 {
                    for half in 0..2 {
                        S::upper_halves(at.add((tile * 16 + r) * 32 + 16 * half), to.add(16 * r + 8 * half));
                    }
                }
            }
            let Some(backward) = backward else { continue };
            for tile in 0..columns.div_ceil(16) {
                let pairs = pairs.as_mut_ptr().cast::<f32>();
                for j in 0..16 {
                    let even = at.add(2 * j * 32 + 16 * tile);
                    S::interleave(even, even.add(32), pairs.add(16 * j));
                }
                let to = backward.add(((first / 16 + tile) * back_blocks + row / BLOCK) * FLOATS);
                S::transpose(pairs, to);
            }
        }
    }
}

/// Sample panels that a product works on: the first at `start`, each `stride` floats after the one before.
#[derive(Clone, Copy)]
pub(super) struct SamplePanels {
    pub(super) start: *mut f32,
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// Lanes of memory that a product of so many terms over so many panels needs.
pub(super) fn product_lanes(terms: usize, panels: usize) -> usize {
    panels * terms.div_ceil(BLOCK) * TILE + TILE
}

/// A product: `rows` output lanes from `output` on, from `terms` lanes from `input` on, for all panels. `left` are the tiles
/// of the matrix. Up to 15 output lanes more are written, where a layer has its padding.
#[inline(always)]
pub(super) unsafe fn product_tiles<T: Tiles>(
    left: *const f32,
    (rows, output): (usize, usize),
    (terms, input): (usize, usize),
    panels: SamplePanels,
    memory: *mut f32,
) {
    let SamplePanels { start, stride, count } = panels;
    let blocks = terms.div_ceil(BLOCK);
    let (spare, right) = (memory, memory.wrapping_add(FLOATS));
    let of_panel = |panel: usize| right.wrapping_add(panel * blocks * FLOATS);
    // SAFETY: the caller vouches for the tiles, the panels, and `product_lanes` of memory.
    unsafe {
        for panel in 0..count {
            pack_right::<T::Lanes>(start.add(panel * stride + 16 * input), terms, of_panel(panel));
        }
        T::begin();
        let tiles = rows.div_ceil(16);
        for row in (0..tiles).step_by(2) {
            for panel in (0..count).step_by(2) {
                // Where there is no second row or panel, the first is computed again, and thrown away.
                let (rows, columns) = (pair(row, tiles), pair(panel, count));
                let mut sums = [[spare; 2]; 2];
                for r in 0..rows.1 {
                    for c in 0..columns.1 {
                        sums[r][c] = start.add((panel + c) * stride + (output + 16 * (row + r)) * 16);
                    }
                }
                T::sums(&Sums {
                    left: rows.0.map(|row| left.add(row * blocks * FLOATS)),
                    right: columns.0.map(|panel| of_panel(panel).cast_const()),
                    blocks,
                    sums,
                });
            }
        }
        T::end();
    }
}

/// Two neighbours from `first` on, and how many of them are below `end`; if it is one, the first twice.
#[inline(always)]
fn pair(first: usize, end: usize) -> ([usize; 2], usize) {
    if first + 1 < end { ([first, first + 1], 2) } else { ([first, first], 1) }
}

/// Blocks of a node's samples: each leaf has its own, of which the last may be short.
#[derive(Clone, Copy)]
pub(super) struct LeafBlocks {
    samples: usize,
    shard: usize,
}

impl LeafBlocks {
    /// The blocks of a node of `samples` samples with leaves of `shard`.
    pub(super) fn new(samples: usize, shard: usize) -> Self {
        Self { samples, shard: shard.min(samples) }
    }

    /// The samples of the node.
    pub(super) fn samples(self) -> usize {
        self.samples
    }

    /// All of them.
    pub(super) fn count(self) -> usize {
        self.samples / self.shard * self.shard.div_ceil(BLOCK) + (self.samples % self.shard).div_ceil(BLOCK)
    }

    /// The samples of each leaf.
    fn leaves(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.samples).step_by(self.shard).map(move |s| s..self.samples.min(s + self.shard))
    }

    /// The samples of each block.
    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        let of = |leaf: Range<usize>| leaf.clone().step_by(BLOCK).map(move |s| s..leaf.end.min(s + BLOCK));
        self.leaves().flat_map(of)
    }
}

/// Lanes that the tiles of a layer's deltas take.
pub(super) fn delta_lanes(outputs: usize, blocks: LeafBlocks) -> usize {
    outputs.div_ceil(16) * blocks.count() * TILE
}

/// Writes the deltas of 16 neurons as tiles, one for each block. Those of panel p are 16 lanes at `delta + p·stride`.
#[inline(always)]
pub(super) unsafe fn pack_deltas<S: Simd>(
    delta: *const f32,
    stride: usize,
    blocks: LeafBlocks,
    to: *mut f32,
) {
    for (block, samples) in blocks.blocks().enumerate() {
        // SAFETY: the caller vouches for the panels of all samples, and for the tiles.
        unsafe {
            let to = to.add(block * FLOATS);
            if samples.start % 16 == 0 && samples.len() == BLOCK {
                for half in 0..2 {
                    let from = delta.add((samples.start / 16 + half) * stride);
                    for r in 0..16 {
                        S::upper_halves(from.add(16 * r), to.add(16 * r + 8 * half));
                    }
                }
            } else {
                for r in 0..16 {
                    let mut row = [Lane::ZERO; 2];
                    let row = row.as_mut_ptr().cast::<f32>();
                    for (k, s) in samples.clone().enumerate() {
                        *row.add(k) = *delta.add(s / 16 * stride + 16 * r + s % 16);
                    }
                    for half in 0..2 {
                        S::upper_halves(row.add(16 * half), to.add(16 * r + 8 * half));
                    }
                }
            }
        }
    }
}

/// Lanes of memory that a gradient item needs.
pub(super) fn gradient_lanes(blocks: LeafBlocks) -> usize {
    (STACK_SLOTS * 4 + 2 * blocks.count()) * TILE
}

/// The gradient of the weights from up to 32 inputs, which are in one or two columns of `features`, one lane a sample, to
/// the neurons `rows`. `left` are the tiles of all of the layer's deltas; `out` begins with the layer's first neuron.
#[inline(always)]
pub(super) unsafe fn gradient_tiles<T: Tiles>(
    (features, column_stride): (*const f32, usize),
    rows: Range<usize>,
    left: *const f32,
    leaves: Leaves,
    memory: *mut f32,
    out: GradientOut,
) {
    let blocks = LeafBlocks::new(leaves.samples, leaves.shard);
    let count = blocks.count();
    let columns = out.columns.div_ceil(16);
    let (stack, right) = (memory, memory.wrapping_add(STACK_SLOTS * 4 * FLOATS));
    // SAFETY: the caller vouches for inputs, deltas, output and `gradient_lanes` of memory.
    unsafe {
        for column in 0..columns {
            for (block, samples) in blocks.blocks().enumerate() {
                let lanes = features.add(column * column_stride + 16 * samples.start);
                pack_right::<T::Lanes>(lanes, samples.len(), right.add((column * count + block) * FLOATS));
            }
        }
        T::begin();
        let (first, end) = (rows.start / 16, rows.end.div_ceil(16));
        for row in (first..end).step_by(2) {
            let ((two, of), (both, width)) = (pair(row, end), pair(0, columns));
            let tile = |slot: usize, r: usize, c: usize| stack.add((slot * 4 + 2 * r + c) * FLOATS);
            let (mut leaf, mut depth, mut block) = (0_usize, 0, 0);
            for samples in blocks.leaves() {
                let of_leaf = samples.len().div_ceil(BLOCK);
                T::sums(&Sums {
                    left: two.map(|row| left.add((row * count + block) * FLOATS)),
                    right: both.map(|column| right.add((column * count + block) * FLOATS).cast_const()),
                    blocks: of_leaf,
                    sums: [0, 1].map(|r| [0, 1].map(|c| tile(depth, r, c))),
                });
                block += of_leaf;
                let last = samples.end == leaves.samples;
                let closed = if last { depth } else { leaf.trailing_ones() as usize };
                for _ in 0..closed {
                    depth -= 1;
                    for r in 0..of {
                        for c in 0..width {
                            add_tile::<T::Lanes>(tile(depth, r, c), tile(depth + 1, r, c));
                        }
                    }
                }
                depth += 1;
                leaf += 1;
            }
            for r in 0..of {
                let lanes = (rows.end - 16 * (row + r)).min(16);
                for c in 0..width {
                    let to = GradientOut {
                        start: out.start.wrapping_add(16 * (row + r) * out.row_stride + 16 * c),
                        columns: (out.columns - 16 * c).min(16),
                        ..out
                    };
                    super::bf16_tile::write_gradient::<T::Lanes>(lanes, 1, tile(0, r, c), to);
                }
            }
        }
        T::end();
    }
}

/// `to` ← `to` + `from`.
#[inline(always)]
unsafe fn add_tile<S: Simd>(to: *mut f32, from: *const f32) {
    for lane in 0..TILE {
        // SAFETY: the caller vouches for both.
        unsafe {
            let at = to.add(16 * lane);
            S::store(at, S::add(S::load(at), S::load(from.add(16 * lane))));
        }
    }
}
