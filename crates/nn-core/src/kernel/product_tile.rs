//! The register tile of the forward and backward products: what it reads next is already on its way.

use super::lanes::Simd;
use super::tile::{Broadcast, Columns, K_PANEL, accumulate, load_columns, multiply_rows, with_rows};

/// Rows that [`accumulate_plain`] reaches from one address, and how many such addresses the largest tile needs.
const NEAR: usize = 6;
const ADDRESSES: usize = 4;

/// The same where the strides are not constants. Left to itself, the compiler walks from row to row by one addition after
/// the other, a chain that takes twice as long as the arithmetic; so there is an address for every few rows, `starts`, all
/// but the first of which must be opaque to it.
#[inline(always)]
unsafe fn accumulate_plain<S: Simd, const R: usize, const P: usize>(
    acc: &mut [[S::V; P]; R],
    starts: [*const f32; ADDRESSES],
    a: Broadcast,
    b: Columns,
    len: usize,
) {
    let [mut p0, mut p1, mut p2, mut p3] = starts;
    let mut pb = b.start;
    for _ in 0..len {
        // SAFETY: the caller vouches for both matrices.
        unsafe {
            let columns = load_columns::<S, P>(pb, b.column_stride);
            multiply_rows::<S, R, P>(acc, (0, R.min(NEAR)), p0, a.row_stride, &columns);
            multiply_rows::<S, R, P>(acc, (NEAR, R.min(2 * NEAR)), p1, a.row_stride, &columns);
            multiply_rows::<S, R, P>(acc, (2 * NEAR, R.min(3 * NEAR)), p2, a.row_stride, &columns);
            multiply_rows::<S, R, P>(acc, (3 * NEAR, R), p3, a.row_stride, &columns);
        }
        p0 = p0.wrapping_add(a.k_stride);
        p1 = p1.wrapping_add(a.k_stride);
        p2 = p2.wrapping_add(a.k_stride);
        p3 = p3.wrapping_add(a.k_stride);
        pb = pb.wrapping_add(16);
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
        let mut starts = [a.start; ADDRESSES];
        if M == PLAIN {
            for i in 1..ADDRESSES {
                starts[i] = std::hint::black_box(a.start.wrapping_add(i * NEAR * a.row_stride));
            }
        }
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
                if M == PLAIN {
                    let mut here = starts;
                    for start in &mut here {
                        *start = start.wrapping_add(k * a.k_stride);
                    }
                    accumulate_plain::<S, R, P>(&mut acc, here, a, b, step);
                } else {
                    accumulate::<S, R, P>(&mut acc, a, b, step);
                }
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

/// [`product_tile`] for a number of rows that is known at run time.
#[inline(always)]
pub(super) unsafe fn product_tile_rows<S: Simd, const P: usize, const M: Packing>(
    rows: usize,
    a: Broadcast,
    b: Columns,
    task: Panels,
) {
    with_rows!(rows, S::ROWS[P - 1], [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22],
    R => {
        // SAFETY: passed on.
        unsafe { product_tile::<S, R, P, M>(a, b, task) }
    })
}
