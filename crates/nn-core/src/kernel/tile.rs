//! The register tiles: the innermost loops of every matrix product, generic over [`Simd`].
//!
//! The law of the arithmetic (tests hold it to `reference.rs` bit for bit):
//! - an output element is accumulated over k in ascending order by fused multiply-adds that start from +0, in panels
//!   of [`K_PANEL`]; the panels' sums are then added in order;
//! - SIMD runs across outputs, never across k, so its width does not change a result;
//! - a gradient element is such a sum over the samples of one leaf; leaves are added along the canonical tree.

use super::lanes::Simd;

/// Terms that make a sum of their own, before they are added to the sum of the panels before.
pub(crate) const K_PANEL: usize = 256;

/// A matrix whose elements tiles broadcast one by one: element (row, k) is at `start + row·row_stride + k·k_stride`.
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

/// `acc[r][p] += a(r) · columns[p]` for the rows from `first` to `end`.
#[inline(always)]
pub(super) unsafe fn multiply_rows<S: Simd, const R: usize, const P: usize>(
    acc: &mut [[S::V; P]; R],
    (first, end): (usize, usize),
    a: *const f32,
    row_stride: usize,
    columns: &[S::V; P],
) {
    for r in first..end {
        // SAFETY: the caller vouches for the rows.
        unsafe {
            let x = S::splat(a.add((r - first) * row_stride));
            for p in 0..P {
                acc[r][p] = S::fma(x, columns[p], acc[r][p]);
            }
        }
    }
}

/// Lane k of each of `P` columns, `b` being the address of that of the first.
#[inline(always)]
pub(super) unsafe fn load_columns<S: Simd, const P: usize>(b: *const f32, column_stride: usize) -> [S::V; P] {
    // SAFETY: the caller vouches for the columns.
    unsafe {
        let mut columns = [S::zero(); P];
        for p in 0..P {
            columns[p] = S::load(b.add(p * column_stride));
        }
        columns
    }
}

/// `acc[r][p] += Σ a(r, k) · b(p, k)` for k in `0..len`, in order.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const R: usize, const P: usize>(
    acc: &mut [[S::V; P]; R],
    a: Broadcast,
    b: Columns,
    len: usize,
) {
    let (mut pa, mut pb) = (a.start, b.start);
    for _ in 0..len {
        // SAFETY: the caller vouches for both matrices.
        unsafe {
            let columns = load_columns::<S, P>(pb, b.column_stride);
            multiply_rows::<S, R, P>(acc, (0, R), pa, a.row_stride, &columns);
        }
        pa = pa.wrapping_add(a.k_stride);
        pb = pb.wrapping_add(16);
    }
}

/// Divides `rows` into tiles of at most `max`, as evenly as possible: (first row, rows) of each.
#[inline(always)]
pub(super) fn tiles(rows: usize, max: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(max);
    let (base, longer) = (rows / count, rows % count);
    (0..count).map(move |i| (i * base + i.min(longer), base + usize::from(i < longer)))
}

/// Runs `$call` with the constant `$R` equal to the number of rows, which is known only at run time.
macro_rules! with_rows {
    ($rows:expr, $max:expr, [$($n:literal)*], $R:ident => $call:expr) => {
        match $rows {
            $($n if $n <= $max => { const $R: usize = $n; $call })*
            _ => unreachable!("a tile of {} rows", $rows),
        }
    };
}
pub(super) use with_rows;
