//! The register tile of the weight gradient: sums the leaves along the canonical tree within the first-level cache.

use std::ops::Range;

use super::lanes::Simd;
use super::tile::{Broadcast, Columns, K_PANEL, accumulate, with_rows};

/// The deepest stack of partial sums that a tree over 2³² leaves needs, and one slot for the panels of a long leaf.
pub(super) const STACK_SLOTS: usize = 34;

/// The most floats that one slot of the stack holds: 28 rows of one lane, or 14 of two.
pub(super) const SLOT_FLOATS: usize = 28 * 16;

/// The samples that a gradient tile sums over.
#[derive(Clone, Copy)]
pub(super) struct Leaves {
    /// Samples in the node.
    pub(super) samples: usize,
    /// Samples in a leaf; the last one may be short.
    pub(super) shard: usize,
    /// Floats from the deltas of one sample panel to those of the next.
    pub(super) panel_stride: usize,
}

/// The destination of a gradient tile: element (r, column) goes to `start + r·row_stride + column`; there are
/// `columns`.
#[derive(Clone, Copy)]
pub(super) struct GradientOut {
    pub(super) start: *mut f32,
    pub(super) row_stride: usize,
    pub(super) columns: usize,
    /// A lane that stays 0 as long as everything written is finite.
    pub(super) check: *mut f32,
}

// The functions below are not closures: a closure does not inherit the instructions that its function enables, so it
// would be compiled without them, and every addition in it would become a call.

/// `acc` ← slot + `acc`.
#[inline(always)]
unsafe fn add_slot<S: Simd, const R: usize, const P: usize>(
    acc: &mut [[S::V; P]; R],
    stack: *const f32,
    slot: usize,
) {
    for r in 0..R {
        for p in 0..P {
            // SAFETY: the caller vouches for the stack; R·P lanes fit a slot.
            unsafe {
                let left = S::load(stack.add(slot * SLOT_FLOATS + (r * P + p) * 16));
                acc[r][p] = S::add(left, acc[r][p]);
            }
        }
    }
}

/// slot ← `acc`.
#[inline(always)]
unsafe fn put_slot<S: Simd, const R: usize, const P: usize>(
    acc: &[[S::V; P]; R],
    stack: *mut f32,
    slot: usize,
) {
    for r in 0..R {
        for p in 0..P {
            // SAFETY: as above.
            unsafe { S::store(stack.add(slot * SLOT_FLOATS + (r * P + p) * 16), acc[r][p]) }
        }
    }
}

/// Rows of a tile's output to prefetch: a few with each panel of samples, so that they do not delay the deltas.
struct OutputAhead {
    out: GradientOut,
    /// Rows requested so far.
    requested: usize,
    rows_a_panel: usize,
}

impl OutputAhead {
    /// Requests the next few of `R` rows.
    #[inline(always)]
    unsafe fn request<S: Simd, const R: usize, const P: usize>(&mut self) {
        let end = (self.requested + self.rows_a_panel).min(R);
        while self.requested < end {
            let row = self.out.start.wrapping_add(self.requested * self.out.row_stride);
            // SAFETY: any address may be requested.
            unsafe {
                for p in 0..P {
                    S::prefetch_far(row.wrapping_add(16 * p));
                }
                S::prefetch_far(row.wrapping_add(16 * P - 1));
            }
            self.requested += 1;
        }
    }
}

/// Accumulates the products δ·a of one leaf's samples. Every [`K_PANEL`] samples make a sum of their own, which waits
/// in the last slot of the stack.
#[inline(always)]
unsafe fn add_leaf<S: Simd, const R: usize, const P: usize>(
    acc: &mut [[S::V; P]; R],
    Range { start, end }: Range<usize>,
    delta: *const f32,
    inputs: Columns,
    leaves: Leaves,
    stack: *mut f32,
    ahead: &mut OutputAhead,
) {
    const PANELS: usize = STACK_SLOTS - 1;
    let mut s = start;
    // SAFETY: the caller vouches for deltas, inputs and stack.
    unsafe {
        loop {
            // Up to the end of the leaf, of the sample panel or of the k-panel, whichever is nearest.
            let in_panel = s % 16;
            let stop = end.min(s - in_panel + 16).min(s + K_PANEL - (s - start) % K_PANEL);
            let a = Broadcast {
                start: delta.add((s / 16) * leaves.panel_stride + in_panel),
                row_stride: 16,
                k_stride: 1,
            };
            let b = Columns { start: inputs.start.add(16 * s), column_stride: inputs.column_stride };
            // The next panel's deltas, and the output, lie on other pages, which no hardware prefetcher reaches.
            if s / 16 + 1 < leaves.samples.div_ceil(16) {
                for r in 0..R {
                    S::prefetch(a.start.wrapping_add(leaves.panel_stride + 16 * r));
                }
            }
            ahead.request::<S, R, P>();
            accumulate::<S, R, P>(acc, a, b, stop - s);
            s = stop;
            let k = s - start;
            if s == end {
                if k > K_PANEL {
                    add_slot::<S, R, P>(acc, stack, PANELS);
                }
                return;
            }
            if k.is_multiple_of(K_PANEL) {
                if k > K_PANEL {
                    add_slot::<S, R, P>(acc, stack, PANELS);
                }
                put_slot::<S, R, P>(acc, stack, PANELS);
                *acc = [[S::zero(); P]; R];
            }
        }
    }
}

/// The gradient of one node for `R` neurons and `16·P` inputs: for each leaf the sum over its samples of δ·a, and the
/// leaves summed along the canonical tree. The tree is a binary counter: leaf i closes as many nodes as i has trailing
/// ones, and the other partial sums wait on `stack`. The last leaf closes them all, because a node without a right
/// sibling passes up unchanged.
///
/// `delta` is the address of the tile's first neuron in the first sample panel, where row r of sample s lies at
/// `(s / 16)·panel_stride + 16r + s % 16`; `inputs` has one lane of 16 inputs for each sample and column.
#[inline(always)]
unsafe fn gradient_tile<S: Simd, const R: usize, const P: usize>(
    delta: *const f32,
    inputs: Columns,
    leaves: Leaves,
    stack: *mut f32,
    out: GradientOut,
) {
    let rows_a_panel = if leaves.samples > 32 { R.div_ceil(leaves.samples / 16) } else { 0 };
    let mut ahead = OutputAhead { out, requested: 0, rows_a_panel };
    let (mut leaf, mut depth, mut s) = (0_usize, 0, 0);
    // SAFETY: the caller vouches for all five; the stack has STACK_SLOTS slots of SLOT_FLOATS.
    unsafe {
        loop {
            let end = leaves.samples.min(s + leaves.shard);
            let mut acc = [[S::zero(); P]; R];
            add_leaf::<S, R, P>(&mut acc, s..end, delta, inputs, leaves, stack, &mut ahead);
            s = end;
            let last = s == leaves.samples;
            let closed = if last { depth } else { leaf.trailing_ones() as usize };
            for _ in 0..closed {
                depth -= 1;
                add_slot::<S, R, P>(&mut acc, stack, depth);
            }
            if last {
                return write_gradient::<S, R, P>(&acc, stack, out);
            }
            put_slot::<S, R, P>(&acc, stack, depth);
            depth += 1;
            leaf += 1;
        }
    }
}

/// Writes a finished tile, and adds 0·x of each of its elements x to `out.check`: 0 if x is finite, NaN if not.
#[inline(always)]
unsafe fn write_gradient<S: Simd, const R: usize, const P: usize>(
    acc: &[[S::V; P]; R],
    stack: *mut f32,
    out: GradientOut,
) {
    // SAFETY: the caller vouches for R rows of `columns` floats, and for the stack.
    unsafe {
        let mut checks = [S::zero(); 4]; // four chains, because the additions of one would wait for each other
        for r in 0..R {
            for p in 0..P {
                let check = &mut checks[(r * P + p) % 4];
                *check = S::fma(S::zero(), acc[r][p], *check);
            }
        }
        let check = S::add(S::add(checks[0], checks[1]), S::add(checks[2], checks[3]));
        S::store(out.check, S::add(S::load(out.check), check));
        if out.columns == 16 * P {
            for r in 0..R {
                for p in 0..P {
                    S::store(out.start.add(r * out.row_stride + 16 * p), acc[r][p]);
                }
            }
        } else {
            put_slot::<S, R, P>(acc, stack, 0);
            for r in 0..R {
                let (from, to) = (stack.add(r * P * 16), out.start.add(r * out.row_stride));
                std::ptr::copy_nonoverlapping(from, to, out.columns);
            }
        }
    }
}

/// [`gradient_tile`] for a number of rows known at run time.
#[inline(always)]
pub(super) unsafe fn gradient_tile_rows<S: Simd, const P: usize>(
    rows: usize,
    delta: *const f32,
    inputs: Columns,
    leaves: Leaves,
    stack: *mut f32,
    out: GradientOut,
) {
    with_rows!(rows, S::ROWS[P - 1], [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22],
    R => {
        // SAFETY: passed on.
        unsafe { gradient_tile::<S, R, P>(delta, inputs, leaves, stack, out) }
    })
}
