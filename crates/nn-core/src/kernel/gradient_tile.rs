//! The register tile of the weight gradient: leaves summed along the canonical tree without leaving the first cache.

use super::lanes::Simd;
use super::tile::{Broadcast, Columns, K_PANEL, accumulate, with_rows};

/// The deepest stack of partial sums that a tree over 2³² leaves needs, and one slot for the panels of a long leaf.
pub(super) const STACK_SLOTS: usize = 34;

/// The most floats that one slot of the stack holds: 28 rows of one lane, or 14 of two.
pub(super) const SLOT_FLOATS: usize = 28 * 16;

/// What a gradient tile is computed from, beside its rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Leaves {
    /// Samples of the node.
    pub(super) samples: usize,
    /// Samples of a leaf; the last one may have fewer.
    pub(super) shard: usize,
    /// Floats from the deltas of one sample panel to those of the next.
    pub(super) panel_stride: usize,
}

/// Where a gradient tile goes: element (r, column) is at `start + r·row_stride + column`, of which `columns` exist.
#[derive(Clone, Copy)]
pub(super) struct GradientOut {
    pub(super) start: *mut f32,
    pub(super) row_stride: usize,
    pub(super) columns: usize,
    /// One lane that stays 0 as long as everything that is written is finite.
    pub(super) check: *mut f32,
}

// The functions below are not closures, because a closure does not inherit the instructions that its function enables:
// it would be compiled on its own, and every addition in it would become a call.

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

/// The gradient of one node for `R` neurons and `16·P` inputs: for each leaf the sum over its samples of δ·a, and the
/// leaves summed along the canonical tree, which is a binary counter: leaf i closes as many nodes as i has trailing
/// ones, and the partial sums that wait lie on `stack`. What is left at the end passes up unchanged.
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
    // SAFETY: the caller vouches for all five; the stack has STACK_SLOTS slots of SLOT_FLOATS.
    unsafe {
        const PANELS: usize = STACK_SLOTS - 1;
        let rows_a_panel = if leaves.samples > 32 { R.div_ceil(leaves.samples / 16) } else { 0 };
        let mut asked = 0;
        let mut depth = 0;
        let mut leaf = 0_usize;
        let mut s = 0;
        loop {
            let end = leaves.samples.min(s + leaves.shard);
            let start = s;
            let mut acc = [[S::zero(); P]; R];
            loop {
                // Up to the end of the leaf, of the sample panel and of the k-panel, whichever is nearest.
                let in_panel = s % 16;
                let stop = end.min(s - in_panel + 16).min(s + K_PANEL - (s - start) % K_PANEL);
                let a = Broadcast {
                    start: delta.add((s / 16) * leaves.panel_stride + in_panel),
                    row_stride: 16,
                    k_stride: 1,
                };
                let b = Columns { start: inputs.start.add(16 * s), column_stride: inputs.column_stride };
                // The next panel's deltas lie on another page, where no hardware prefetcher looks.
                if s / 16 + 1 < leaves.samples.div_ceil(16) {
                    for r in 0..R {
                        S::prefetch(a.start.wrapping_add(leaves.panel_stride + 16 * r));
                    }
                }
                // So does the output; a few rows at a time, lest they hold up the deltas.
                let ahead = (asked + rows_a_panel).min(R);
                while asked < ahead {
                    let row = out.start.wrapping_add(asked * out.row_stride);
                    for p in 0..P {
                        S::prefetch_far(row.wrapping_add(16 * p));
                    }
                    S::prefetch_far(row.wrapping_add(16 * P - 1));
                    asked += 1;
                }
                accumulate::<S, R, P>(&mut acc, a, b, stop - s);
                s = stop;
                let k = s - start;
                if s == end {
                    if k > K_PANEL {
                        add_slot::<S, R, P>(&mut acc, stack, PANELS);
                    }
                    break;
                }
                if k.is_multiple_of(K_PANEL) {
                    if k > K_PANEL {
                        add_slot::<S, R, P>(&mut acc, stack, PANELS);
                    }
                    put_slot::<S, R, P>(&acc, stack, PANELS);
                    acc = [[S::zero(); P]; R];
                }
            }
            let mut closed = leaf;
            while closed & 1 == 1 {
                depth -= 1;
                add_slot::<S, R, P>(&mut acc, stack, depth);
                closed >>= 1;
            }
            if s == leaves.samples {
                while depth > 0 {
                    depth -= 1;
                    add_slot::<S, R, P>(&mut acc, stack, depth);
                }
                write_gradient::<S, R, P>(&acc, stack, out);
                return;
            }
            put_slot::<S, R, P>(&acc, stack, depth);
            depth += 1;
            leaf += 1;
        }
    }
}

/// Writes a finished tile, and adds 0·x of each of its elements to `out.check`: 0 for a finite x, NaN for the others.
#[inline(always)]
unsafe fn write_gradient<S: Simd, const R: usize, const P: usize>(
    acc: &[[S::V; P]; R],
    stack: *mut f32,
    out: GradientOut,
) {
    // SAFETY: the caller vouches for R rows of `columns` floats, and for the stack.
    unsafe {
        let mut checks = [S::zero(); 4]; // not one chain, which would wait for itself
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

/// [`gradient_tile`] for a number of rows that is known at run time.
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
