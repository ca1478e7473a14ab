//! The register tiles: the innermost loops of every matrix product, generic over [`Simd`].
//!
//! The law of the arithmetic (checked against `reference.rs` bit for bit):
//! - an output element is accumulated over k in ascending order by fused multiply-adds that start from +0, in panels
//!   of [`K_PANEL`]; the panels' sums are then added in order;
//! - SIMD runs across outputs, never across k, so its width cannot be seen;
//! - a gradient element is such a sum over the samples of one leaf; leaves are added along the canonical tree.

use super::lanes::Simd;

/// How many terms are accumulated before they are added to the sum of the panels before.
pub(crate) const K_PANEL: usize = 256;

/// The deepest stack of partial sums that a tree over 2³² leaves needs, and one slot for the panels of a long leaf.
pub(super) const STACK_SLOTS: usize = 34;

/// The most floats that one slot of the stack holds: 28 rows of one lane, or 14 of two.
pub(super) const SLOT_FLOATS: usize = 28 * 16;

/// A matrix of which tiles broadcast single elements: element (row, k) is at `start + row·row_stride + k·k_stride`.
#[derive(Clone, Copy)]
pub(super) struct Broadcast {
    pub(super) start: *const f32,
    pub(super) row_stride: usize,
    pub(super) k_stride: usize,
}

/// A matrix of lanes: lane (column, k) is at `start + column·column_stride + 16k`, counted in floats.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) start: *const f32,
    pub(super) column_stride: usize,
}

/// `acc[r][p] += Σ a(r, k) · b(p, k)` for k in `0..len`, in order.
#[inline(always)]
unsafe fn accumulate<S: Simd, const R: usize, const P: usize>(
    acc: &mut [[S::V; P]; R],
    a: Broadcast,
    b: Columns,
    len: usize,
) {
    // SAFETY: the caller vouches for both matrices.
    unsafe {
        let mut pa = a.start;
        let mut pb = b.start;
        for _ in 0..len {
            let mut columns = [S::zero(); P];
            for p in 0..P {
                columns[p] = S::load(pb.add(p * b.column_stride));
            }
            for r in 0..R {
                let x = S::splat(pa.add(r * a.row_stride));
                for p in 0..P {
                    acc[r][p] = S::fma(x, columns[p], acc[r][p]);
                }
            }
            pa = pa.wrapping_add(a.k_stride);
            pb = pb.wrapping_add(16);
        }
    }
}

/// Addresses that will be needed soon: runs of cache lines, one run for each row of a matrix.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    at: *const f32,
    /// Lines that are left of this run, and lines of a whole one.
    left: usize,
    lines: usize,
    /// Floats from the last line of a run to the first of the next.
    skip: usize,
}

impl Ahead {
    /// Runs of `length` floats, the first at `start` and each `stride` behind the last.
    pub(super) fn new(start: *const f32, length: usize, stride: usize) -> Self {
        let lines = length.div_ceil(16);
        Self { at: start, left: lines, lines, skip: stride.wrapping_sub((lines - 1) * 16) }
    }

    /// Asks for the next line.
    #[inline(always)]
    unsafe fn touch<S: Simd>(&mut self) {
        // SAFETY: any address may be asked for.
        unsafe { S::prefetch_far(self.at) }
        self.left -= 1;
        let step = if self.left == 0 { self.skip } else { 16 };
        self.left = if self.left == 0 { self.lines } else { self.left };
        self.at = self.at.wrapping_add(step);
    }
}

/// What a product tile is computed from, beside its rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    /// Terms of this k-panel.
    pub(super) len: usize,
    /// Output lane (r, column) is at `out + column·out_stride + 16r`.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
    /// Groups of sample panels.
    pub(super) count: usize,
    /// The first k-panel is written, the others are added to what is there.
    pub(super) first: bool,
    /// Room for a tile of the broadcast matrix.
    pub(super) packed: *mut f32,
    /// Floats that may be read from the broadcast matrix' start.
    pub(super) readable: usize,
    /// What the next tile needs.
    pub(super) ahead: Ahead,
}

/// Terms between two looks ahead: a cache line of the weights.
const CHUNK: usize = 16;

/// How a tile of the broadcast matrix is used: [`PLAIN`] where it lies, or from a copy. Copying pays where a tile is used
/// twice or more: its rows (of the weights, or of their transpose) lie on a page each and compete for the same places of
/// the cache, and an address whose strides are constants costs nothing to form.
pub(super) type Packing = usize;
/// Not copied.
pub(super) const PLAIN: Packing = 0;
/// Copied row by row; k_stride is 1.
pub(super) const BY_ROW: Packing = 1;
/// Copied term by term; row_stride is 1.
pub(super) const BY_TERM: Packing = 2;

/// Copies a tile to `packed` and returns the copy.
#[inline(always)]
unsafe fn pack<S: Simd, const R: usize, const M: Packing>(a: Broadcast, task: &Panels) -> Broadcast {
    let (len, packed) = (task.len, task.packed);
    // SAFETY: the caller vouches for the matrix, and for R·K_PANEL + 32 floats in `packed`.
    unsafe {
        match M {
            BY_ROW => {
                for r in 0..R {
                    let (from, to) = (a.start.add(r * a.row_stride), packed.add(r * K_PANEL));
                    std::ptr::copy_nonoverlapping(from, to, len);
                }
                Broadcast { start: packed, row_stride: K_PANEL, k_stride: 1 }
            }
            BY_TERM => {
                // Whole lanes, of which the next one overwrites what is too much, as far as they are in the matrix.
                let width = R.next_multiple_of(16);
                let whole = if task.readable < width {
                    0
                } else {
                    ((task.readable - width) / a.k_stride + 1).min(len)
                };
                for k in 0..whole {
                    for lane in (0..width).step_by(16) {
                        S::store(packed.add(k * R + lane), S::load(a.start.add(k * a.k_stride + lane)));
                    }
                }
                for k in whole..len {
                    for r in 0..R {
                        *packed.add(k * R + r) = *a.start.add(k * a.k_stride + r);
                    }
                }
                Broadcast { start: packed, row_stride: 1, k_stride: R }
            }
            _ => a,
        }
    }
}

/// Adds one k-panel of a product to `R` rows of output: `count` groups of `P` sample panels.
#[inline(always)]
unsafe fn product_tile<S: Simd, const R: usize, const P: usize, const M: Packing>(
    a: Broadcast,
    b: Columns,
    task: Panels,
) {
    let Panels { len, out, out_stride, count, first, mut ahead, .. } = task;
    // SAFETY: the caller vouches for the matrices, and for the room in `out`.
    unsafe {
        let a = pack::<S, R, M>(a, &task);
        let lines = match M {
            BY_ROW => R * len.div_ceil(16),
            BY_TERM => len * R.div_ceil(16),
            _ => 0,
        };
        let looks = lines.div_ceil(count * len.div_ceil(CHUNK));
        for group in 0..count {
            let b = Columns { start: b.start.add(group * P * b.column_stride), ..b };
            let out = out.add(group * P * out_stride);
            if M != PLAIN && !first {
                for p in 0..P {
                    for r in 0..R {
                        S::prefetch(out.add(p * out_stride + 16 * r));
                    }
                }
            }
            let mut acc = [[S::zero(); P]; R];
            let mut k = 0;
            while k < len {
                for _ in 0..looks {
                    ahead.touch::<S>();
                }
                if M == PLAIN && a.k_stride == 1 {
                    // All rows may come to the end of a cache line together.
                    for r in 0..R {
                        S::prefetch(a.start.wrapping_add(r * a.row_stride + k + CHUNK));
                    }
                }
                let step = CHUNK.min(len - k);
                let a = Broadcast { start: a.start.add(k * a.k_stride), ..a };
                let b = Columns { start: b.start.add(k * 16), ..b };
                accumulate::<S, R, P>(&mut acc, a, b, step);
                k += step;
            }
            for r in 0..R {
                for p in 0..P {
                    let at = out.add(p * out_stride + 16 * r);
                    let sum = if first { acc[r][p] } else { S::add(S::load(at), acc[r][p]) };
                    S::store(at, sum);
                }
            }
        }
    }
}

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

/// Runs `$call` with the constant `R` equal to the run-time number of rows.
macro_rules! with_rows {
    ($rows:expr, $max:expr, [$($n:literal)*], $R:ident => $call:expr) => {
        match $rows {
            $($n if $n <= $max => { const $R: usize = $n; $call })*
            _ => unreachable!("a tile of {} rows", $rows),
        }
    };
}

/// [`product_tile`] for a number of rows that is known at run time.
#[inline(always)]
pub(super) unsafe fn product_tile_rows<S: Simd, const P: usize, const M: Packing>(
    rows: usize,
    a: Broadcast,
    b: Columns,
    task: Panels,
) {
    // SAFETY: passed on.
    with_rows!(rows, S::ROWS[P - 1], [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22],
        R => unsafe { product_tile::<S, R, P, M>(a, b, task) })
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
    // SAFETY: passed on.
    with_rows!(rows, S::ROWS[P - 1], [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22],
        R => unsafe { gradient_tile::<S, R, P>(delta, inputs, leaves, stack, out) })
}
