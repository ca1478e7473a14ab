//! The register tile of the forward and backward products. It prefetches what it reads next.

use super::lanes::Simd;
use super::tile::{Broadcast, Columns, K_PANEL, accumulate, load_columns, multiply_rows, with_rows};

/// Rows that [`accumulate_plain`] reaches from one address.
const NEAR: usize = 6;
/// Addresses that the largest tile needs, one for every [`NEAR`] rows.
const ADDRESSES: usize = 4;

/// [`accumulate`] for strides that are not constants. Left alone, the compiler walks from row to row by one addition
/// after another, a chain that takes twice as long as the arithmetic. So `starts` has an address for every [`NEAR`]
/// rows; all but the first must be opaque to the compiler.
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

/// Addresses to prefetch: runs of cache lines, one run for each row of a matrix.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    at: *const f32,
    /// Lines left of this run.
    left: usize,
    /// Lines of a whole run.
    lines: usize,
    /// Floats from the last line of a run to the first of the next.
    skip: usize,
}

impl Ahead {
    /// Runs of `length` floats, the first at `start` and each `stride` after the one before.
    pub(super) fn new(start: *const f32, length: usize, stride: usize) -> Self {
        let lines = length.div_ceil(16);
        Self { at: start, left: lines, lines, skip: stride.wrapping_sub((lines - 1) * 16) }
    }

    /// Requests the next line.
    #[inline(always)]
    unsafe fn touch<S: Simd>(&mut self) {
        // SAFETY: any address may be requested.
        unsafe { S::prefetch_far(self.at) }
        self.left -= 1;
        let step = if self.left == 0 { self.skip } else { 16 };
        self.left = if self.left == 0 { self.lines } else { self.left };
        self.at = self.at.wrapping_add(step);
    }
}

/// The work of a product tile, beside its two matrices.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    /// Terms in this k-panel.
    pub(super) len: usize,
    /// Output lane (r, column) is at `out + column·out_stride + 16r`.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
    /// Groups of sample panels.
    pub(super) count: usize,
    /// Whether this is the first k-panel, which is written; the others are added to it.
    pub(super) first: bool,
    /// Room for a copy of a tile of the broadcast matrix.
    pub(super) packed: *mut f32,
    /// Floats that may be read from the start of the broadcast matrix.
    pub(super) readable: usize,
    /// The addresses that the next tile reads.
    pub(super) ahead: Ahead,
}

/// Terms between two prefetches: a cache line of the weights.
const CHUNK: usize = 16;

/// How a tile of the broadcast matrix is read: in place ([`PLAIN`]) or from a copy. A copy pays if the tile is read
/// twice or more: the rows of the weights, or of their transpose, lie on a page each and compete for the same cache
/// sets, and addresses with constant strides cost nothing to form.
pub(super) type Packing = usize;
/// Read in place.
pub(super) const PLAIN: Packing = 0;
/// Copied row by row; k_stride is 1.
pub(super) const BY_ROW: Packing = 1;
/// Copied term by term; row_stride is 1.
pub(super) const BY_TERM: Packing = 2;

/// Copies a tile to `packed` and returns the copy, or the tile itself with [`PLAIN`].
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
                // Whole lanes as far as they are in the matrix; the next lane overwrites the excess of the one before.
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
    // SAFETY: the caller vouches for the matrices, and for the room at `out`.
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
                    // All rows may reach the end of a cache line together.
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

/// [`product_tile`] for a number of rows known at run time.
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
