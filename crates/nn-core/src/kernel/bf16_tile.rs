//! The register tile of products and gradients with bf16 operands: the order of [`bf16`](super::bf16) with the
//! multiply-adds of `f32`.

use std::ops::Range;

use super::bf16::{BLOCK, round_to_bf16};
use super::gradient_tile::{GradientOut, Leaves, SLOT_FLOATS};
use super::lanes::{Lane, Simd};
use super::products::{Groups, Product};
use super::tile::{Columns, K_PANEL, load_columns, with_rows};

/// The most rows of a tile, whatever the instructions would allow.
pub(super) const MOST_ROWS: usize = 14;

/// The most rows of a tile with one column of lanes and with two; 0 if it should not be used.
pub(super) const fn most_rows(rows: [usize; 2]) -> [usize; 2] {
    const fn least(a: usize) -> usize {
        if a < MOST_ROWS { a } else { MOST_ROWS }
    }
    [least(rows[0]), least(rows[1])]
}

/// Sums of products for a tile of some rows and columns. All operands are bf16 numbers already.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    /// The operand that is broadcast. Its element (row, k) is at `a + (k / 16)·a_stride + 16·row + k % 16`, or, if it lies
    /// [`by_term`](Self::by_term), at `a + k·rows + row`.
    pub(super) a: *const f32,
    pub(super) a_stride: usize,
    pub(super) by_term: bool,
    /// The operand in lanes.
    pub(super) b: Columns,
    pub(super) terms: usize,
    /// Lane (row, column) of the sums is at `sum + column·sum_stride + 16·row`.
    pub(super) sum: *mut f32,
    pub(super) sum_stride: usize,
    /// Whether the sums go on from what is there, which is a sum of whole blocks.
    pub(super) resumed: bool,
    /// Room for a lane for each row and column.
    pub(super) half: *mut f32,
}

/// `acc[r][p] += Σ a(r, 2i) · b(p, 2i)` for i in `0..count`, in order. `a` is the address of the first term, and `row` and `term`
/// are the distances of rows and of terms that are multiplied one after the other.
#[inline(always)]
unsafe fn accumulate_half<S: Simd, const R: usize, const P: usize>(
    acc: &mut [[S::V; P]; R],
    (a, row, term): (*const f32, usize, usize),
    b: Columns,
    count: usize,
) {
    let (mut pa, mut pb) = (a, b.start);
    for _ in 0..count {
        // SAFETY: the caller vouches for both operands.
        unsafe {
            let columns = load_columns::<S, P>(pb, b.column_stride);
            for r in 0..R {
                let x = S::splat(pa.add(r * row));
                for p in 0..P {
                    acc[r][p] = S::fma_exact(x, columns[p], acc[r][p]);
                }
            }
        }
        pa = pa.wrapping_add(term);
        pb = pb.wrapping_add(32);
    }
}

/// The sum of the even terms (`odd` is 0) or the odd ones (1) of the block at `k`, which has `len` terms.
#[inline(always)]
unsafe fn half_block<S: Simd, const R: usize, const P: usize, const BY_TERM: bool>(
    task: &Blocks,
    k: usize,
    len: usize,
    odd: usize,
) -> [[S::V; P]; R] {
    // SAFETY: the caller vouches for the operands.
    unsafe {
        let mut acc = [[S::zero(); P]; R];
        let lanes = |k: usize| Columns { start: task.b.start.add(16 * k), ..task.b };
        if BY_TERM {
            let first = k + odd;
            let a = (task.a.wrapping_add(first * R), 1, 2 * R);
            accumulate_half::<S, R, P>(&mut acc, a, lanes(first), (len + 1 - odd) / 2);
        } else {
            let mut first = k;
            while first < k + len {
                let panel = 16.min(k + len - first);
                let a = (task.a.wrapping_add(first / 16 * task.a_stride + odd), 16, 2);
                accumulate_half::<S, R, P>(&mut acc, a, lanes(first + odd), (panel + 1 - odd) / 2);
                first += 16;
            }
        }
        acc
    }
}

/// [`sum_blocks`] for a number of rows and columns known at compile time.
#[inline(always)]
unsafe fn sum_tile<S: Simd, const R: usize, const P: usize, const BY_TERM: bool>(task: &Blocks) {
    let mut k = 0;
    // SAFETY: the caller vouches for everything in `task`.
    unsafe {
        while k < task.terms {
            let len = BLOCK.min(task.terms - k);
            // One half at a time: both would need twice the registers.
            let even = half_block::<S, R, P, BY_TERM>(task, k, len, 0);
            for r in 0..R {
                for p in 0..P {
                    S::store(task.half.add((r * P + p) * 16), even[r][p]);
                }
            }
            let odd = half_block::<S, R, P, BY_TERM>(task, k, len, 1);
            let resumed = k > 0 || task.resumed;
            for r in 0..R {
                for p in 0..P {
                    let block = S::add(S::load(task.half.add((r * P + p) * 16)), odd[r][p]);
                    let at = task.sum.add(p * task.sum_stride + 16 * r);
                    // The first block may take the place of +0 and itself: it is never -0, because its halves start from +0.
                    S::store(at, if resumed { S::add(S::load(at), block) } else { block });
                }
            }
            k += len;
        }
    }
}

/// Sums for `rows` × 16·`columns` elements over all blocks of terms.
#[inline(always)]
pub(super) unsafe fn sum_blocks<S: Simd>(rows: usize, columns: usize, task: &Blocks) {
    #[inline(always)]
    unsafe fn of<S: Simd, const P: usize, const BY_TERM: bool>(rows: usize, task: &Blocks) {
        with_rows!(rows, most_rows(S::ROWS)[P - 1], [1 2 3 4 5 6 7 8 9 10 11 12 13 14], R => {
            // SAFETY: passed on.
            unsafe { sum_tile::<S, R, P, BY_TERM>(task) }
        })
    }
    // SAFETY: passed on.
    unsafe {
        match (columns, task.by_term) {
            (2, false) => of::<S, 2, false>(rows, task),
            (2, true) => of::<S, 2, true>(rows, task),
            (_, false) => of::<S, 1, false>(rows, task),
            (_, true) => of::<S, 1, true>(rows, task),
        }
    }
}

/// Rounds `rows` rows of a matrix, `terms` each, to bf16, in the order of [`Blocks`]. Element (row, k) is at
/// `matrix + row·row_stride + k·term_stride`, and `readable` floats may be read from there.
/// Returns the distance of panels of 16 terms, or nothing if the copy lies by term.
#[inline(always)]
unsafe fn pack<S: Simd>(
    (matrix, row_stride, term_stride): (*const f32, usize, usize),
    rows: usize,
    terms: usize,
    readable: usize,
    to: *mut f32,
) -> Option<usize> {
    // SAFETY: the caller vouches for the matrix, and for K_PANEL·MOST_ROWS + 32 floats at `to`.
    unsafe {
        if row_stride == 1 && term_stride > 1 {
            // Whole lanes as far as they are in the matrix; the next lane overwrites the excess of the one before.
            let whole = if readable < 16 { 0 } else { ((readable - 16) / term_stride + 1).min(terms) };
            for k in 0..whole {
                S::store(to.add(k * rows), S::round_to_bf16(S::load(matrix.add(k * term_stride))));
            }
            for k in whole..terms {
                for r in 0..rows {
                    *to.add(k * rows + r) = round_to_bf16(*matrix.add(k * term_stride + r));
                }
            }
            return None;
        }
        let panel = 16 * rows;
        for r in 0..rows {
            let (from, to) = (matrix.add(r * row_stride), to.add(16 * r));
            let whole = if term_stride == 1 { terms / 16 * 16 } else { 0 };
            for k in (0..whole).step_by(16) {
                S::store(to.add(k / 16 * panel), S::round_to_bf16(S::load(from.add(k))));
            }
            for k in whole..terms {
                *to.add(k / 16 * panel + k % 16) = round_to_bf16(*from.add(k * term_stride));
            }
        }
        Some(panel)
    }
}

/// The tile of a product at `row` and term `k`: `rows` × `terms` of the matrix times each group of sample panels.
#[inline(always)]
pub(super) unsafe fn product_tile<S: Simd>(
    task: &Product<'_>,
    (row, rows): (usize, usize),
    (k, terms): (usize, usize),
    groups: Groups,
    scratch: (*mut f32, *mut f32),
) {
    let Groups { panels, stride, columns, count } = groups;
    let (packed, half) = scratch;
    let corner = row * task.row_stride + k * task.term_stride;
    // SAFETY: the caller vouches for the matrix, the panels and the scratch memory.
    unsafe {
        let matrix = (task.matrix.as_ptr().add(corner), task.row_stride, task.term_stride);
        let a_stride = pack::<S>(matrix, rows, terms, task.matrix.len() - corner, packed);
        for group in 0..count {
            let panel = panels.add(group * columns * stride);
            let blocks = Blocks {
                a: packed,
                a_stride: a_stride.unwrap_or(0),
                by_term: a_stride.is_none(),
                b: Columns { start: panel.add((task.input + k) * 16), column_stride: stride },
                terms,
                sum: panel.add((task.output + row) * 16),
                sum_stride: stride,
                // K_PANEL is a multiple of a block.
                resumed: k > 0,
                half,
            };
            S::sum_blocks(rows, columns, &blocks);
        }
    }
    const { assert!(K_PANEL.is_multiple_of(BLOCK)) }
}

/// The gradient of one node for `rows` neurons and 16·`columns` inputs, as `gradient_tile` has it for `f32`. A leaf's blocks
/// begin at its own first sample.
#[inline(always)]
pub(super) unsafe fn gradient_tile<S: Simd>(
    (rows, columns): (usize, usize),
    delta: *const f32,
    inputs: Columns,
    leaves: Leaves,
    (stack, packed, half): (*mut f32, *mut f32, *mut f32),
    out: GradientOut,
) {
    let lanes = rows * columns;
    let (mut leaf, mut depth, mut s) = (0_usize, 0, 0);
    // SAFETY: the caller vouches for all of them; the stack has STACK_SLOTS slots of SLOT_FLOATS.
    unsafe {
        loop {
            let end = leaves.samples.min(s + leaves.shard);
            let mut blocks = Blocks {
                a: delta.add(s / 16 * leaves.panel_stride),
                a_stride: leaves.panel_stride,
                by_term: false,
                b: Columns { start: inputs.start.add(16 * s), ..inputs },
                terms: end - s,
                sum: stack.add(depth * SLOT_FLOATS),
                sum_stride: 16 * rows,
                resumed: false,
                half,
            };
            if s.is_multiple_of(16) {
                S::sum_blocks(rows, columns, &blocks);
            } else {
                // The samples of a block are not those of two panels, so they are copied first.
                for first in (s..end).step_by(K_PANEL) {
                    let samples = first..end.min(first + K_PANEL);
                    blocks.a = packed;
                    blocks.a_stride = 16 * rows;
                    blocks.b.start = inputs.start.add(16 * first);
                    blocks.terms = samples.len();
                    blocks.resumed = first > s;
                    pack_deltas(rows, delta, leaves.panel_stride, samples, packed);
                    S::sum_blocks(rows, columns, &blocks);
                }
            }
            s = end;
            let last = s == leaves.samples;
            let closed = if last { depth } else { leaf.trailing_ones() as usize };
            for _ in 0..closed {
                depth -= 1;
                let slot = stack.add(depth * SLOT_FLOATS);
                for lane in 0..lanes {
                    let at = slot.add(16 * lane);
                    S::store(at, S::add(S::load(at), S::load(at.add(SLOT_FLOATS))));
                }
            }
            if last {
                return write_gradient::<S>(rows, columns, stack, out);
            }
            depth += 1;
            leaf += 1;
        }
    }
}

/// Copies the deltas of some samples, up to [`K_PANEL`], so that they begin with a panel.
unsafe fn pack_deltas(
    rows: usize,
    delta: *const f32,
    panel_stride: usize,
    samples: Range<usize>,
    to: *mut f32,
) {
    for (k, s) in samples.enumerate() {
        for r in 0..rows {
            // SAFETY: the caller vouches for the deltas, and for K_PANEL·MOST_ROWS floats at `to`.
            unsafe {
                *to.add(k / 16 * 16 * rows + 16 * r + k % 16) =
                    *delta.add(s / 16 * panel_stride + 16 * r + s % 16);
            }
        }
    }
}

/// Writes a finished tile, and adds 0·x of each of its elements x to `out.check`: 0 if x is finite, NaN if not.
#[inline(always)]
pub(super) unsafe fn write_gradient<S: Simd>(
    rows: usize,
    columns: usize,
    from: *const f32,
    out: GradientOut,
) {
    // SAFETY: the caller vouches for `rows` rows of `out.columns` floats.
    unsafe {
        let mut check = S::load(out.check);
        for column in 0..columns {
            let width = (out.columns - 16 * column).min(16);
            for r in 0..rows {
                let lane = from.add((column * rows + r) * 16);
                let to = out.start.add(r * out.row_stride + 16 * column);
                check = S::fma(S::zero(), S::load(lane), check);
                if width == 16 {
                    S::store(to, S::load(lane));
                } else {
                    std::ptr::copy_nonoverlapping(lane, to, width);
                }
            }
        }
        S::store(out.check, check);
    }
}

/// Room for the half sums of a tile.
pub(super) fn half_lanes() -> Vec<Lane> {
    vec![Lane::ZERO; MOST_ROWS * 2]
}
