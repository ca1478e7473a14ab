//! Whole matrix products over an arena of sample panels.
//!
//! The arena holds one block of `stride` lanes for each panel of 16 samples: all layers' activations, then all layers'
//! deltas, one lane a neuron (its value for the 16 samples). A forward or backward product reads one run of lanes of a
//! panel and writes another. No panel depends on its neighbours, so threads share an arena by whole panels.

use super::bf16_tile::{most_rows, product_tile};
use super::lanes::{Lane, Portable, Simd};
use super::packed::product_on_tiles;
use super::product_tile::{Ahead, BY_ROW, BY_TERM, PLAIN, Panels, product_tile_rows};
use super::scratch::Scratch;
use super::tile::{Broadcast, Columns, K_PANEL, tiles};
use super::{Isa, Kind};
use crate::spec::Precision;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};

/// `out[row] = Σ_k matrix(row, k) · input[k]` for every sample of an arena, row by row in one panel of 16.
pub(crate) struct Product<'a> {
    /// Lanes from one panel of the arena to the next.
    pub(crate) stride: usize,
    /// The first of the `terms` input lanes in a panel.
    pub(crate) input: usize,
    /// The first of the `rows` output lanes in a panel.
    pub(crate) output: usize,
    /// Element (row, k) is `matrix[row·row_stride + k·term_stride]`.
    pub(crate) matrix: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    pub(crate) terms: usize,
    pub(crate) term_stride: usize,
    /// With bf16 the matrix is rounded here; the input must be already.
    pub(crate) precision: Precision,
    /// The matrix as tiles, on an [`Isa`] that has them, if the precision is bf16. Then up to 15 lanes behind the output are
    /// written, too, which must be padding.
    pub(crate) tiles: Option<&'a [Lane]>,
}

/// Sample panels that a tile works on: `count` groups of `columns`, the first at `panels` and each panel `stride` floats after
/// the one before.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    pub(super) panels: *mut f32,
    pub(super) stride: usize,
    pub(super) columns: usize,
    pub(super) count: usize,
}

/// Computes a [`Product`] for all panels of `arena`.
pub(crate) fn product(isa: Isa, task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
    assert!(task.rows > 0 && task.terms > 0 && task.stride > 0);
    assert!(arena.len().is_multiple_of(task.stride));
    let (input_end, output_end) = (task.input + task.terms, task.output + task.rows);
    assert!(input_end <= task.stride && output_end <= task.stride);
    assert!(input_end <= task.output || output_end <= task.input, "input and output overlap");
    assert!((task.rows - 1) * task.row_stride + (task.terms - 1) * task.term_stride < task.matrix.len());

    if let Some(left) = task.tiles {
        return product_on_tiles(isa, task, left, arena, scratch);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
        // SAFETY: as for `product_panels`.
        unsafe { product_panels::<Avx512>(task, arena, scratch) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
        // SAFETY: as for `product_panels`.
        unsafe { product_panels::<Avx2>(task, arena, scratch) }
    }
    // SAFETY: the bounds are checked above; an `Isa` exists only if the processor has its instructions.
    unsafe {
        match isa.kind() {
            Kind::Portable => product_panels::<Portable>(task, arena, scratch),
            #[cfg(not(target_arch = "x86_64"))]
            Kind::PortableTiles => product_panels::<Portable>(task, arena, scratch),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx2Tiles => avx2(task, arena, scratch),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Amx => avx512(task, arena, scratch),
        }
    }
}

/// [`product`] with the instructions of `S`, which must be enabled. The bounds that [`product`] checks must hold.
#[inline(always)]
unsafe fn product_panels<S: Simd>(task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
    let stride = task.stride * 16;
    let panels = arena.len() / task.stride;
    let base = arena.as_mut_ptr().cast::<f32>();
    let pairs = if S::ROWS[1] == 0 { 0 } else { panels / 2 };
    let packed = scratch.packed.as_mut_ptr().cast::<f32>();
    if task.precision == Precision::Bf16 {
        // SAFETY: passed on.
        return unsafe { bf16_panels::<S>(task, base, panels, scratch) };
    }
    let mut k = 0;
    while k < task.terms {
        let len = K_PANEL.min(task.terms - k);
        let groups = [(S::ROWS[1], 0, pairs), (S::ROWS[0], 2 * pairs, panels - 2 * pairs)];
        for (width, (max, first_panel, count)) in groups.into_iter().enumerate() {
            if count == 0 {
                continue;
            }
            for (row, rows) in tiles(task.rows, max) {
                let corner = row * task.row_stride + k * task.term_stride;
                // SAFETY: row, k and the panels are inside the bounds that the caller checked; addresses ahead are only
                // requested.
                unsafe {
                    let start = task.matrix.as_ptr().add(corner);
                    let panel = base.add(first_panel * stride);
                    let next = start.wrapping_add(rows * task.row_stride);
                    let ahead = if task.term_stride == 1 {
                        Ahead::new(next, len, task.row_stride)
                    } else {
                        Ahead::new(next.wrapping_add(rows - 1), 1, task.term_stride)
                    };
                    let a = Broadcast { start, row_stride: task.row_stride, k_stride: task.term_stride };
                    let b = Columns { start: panel.add((task.input + k) * 16), column_stride: stride };
                    let out = panel.add((task.output + row) * 16);
                    let readable = task.matrix.len() - corner;
                    let panels = Panels {
                        len,
                        out,
                        out_stride: stride,
                        count,
                        first: k == 0,
                        packed,
                        readable,
                        ahead,
                    };
                    if width == 0 {
                        product_tile_packed::<S, 2>(rows, a, b, panels);
                    } else if S::ROWS[1] == 0 {
                        product_tile_packed::<S, 1>(rows, a, b, panels);
                    } else {
                        // The panel that is left over from the pairs.
                        product_tile_rows::<S, 1, PLAIN>(rows, a, b, panels);
                    }
                }
            }
        }
        k += len;
    }
}

/// [`product_panels`] with bf16 operands.
#[inline(always)]
unsafe fn bf16_panels<S: Simd>(task: &Product<'_>, base: *mut f32, panels: usize, scratch: &mut Scratch) {
    let stride = task.stride * 16;
    let memory = (scratch.packed.as_mut_ptr().cast(), scratch.half.as_mut_ptr().cast());
    let max = most_rows(S::ROWS);
    let pairs = if max[1] == 0 { 0 } else { panels / 2 };
    let mut k = 0;
    while k < task.terms {
        let len = K_PANEL.min(task.terms - k);
        let groups = [(2, 0, pairs), (1, 2 * pairs, panels - 2 * pairs)];
        for (columns, first_panel, count) in groups {
            if count == 0 {
                continue;
            }
            for tile in tiles(task.rows, max[columns - 1]) {
                // SAFETY: row, k and the panels are inside the bounds that the caller checked.
                unsafe {
                    let panels = base.add(first_panel * stride);
                    let groups = Groups { panels, stride, columns, count };
                    product_tile::<S>(task, tile, (k, len), groups, memory);
                }
            }
        }
        k += len;
    }
}

/// [`product_tile_rows`] with the packing that suits the task.
#[inline(always)]
unsafe fn product_tile_packed<S: Simd, const P: usize>(
    rows: usize,
    a: Broadcast,
    b: Columns,
    panels: Panels,
) {
    // SAFETY: passed on.
    unsafe {
        if panels.count == 1 {
            product_tile_rows::<S, P, PLAIN>(rows, a, b, panels);
        } else if a.k_stride == 1 {
            product_tile_rows::<S, P, BY_ROW>(rows, a, b, panels);
        } else {
            product_tile_rows::<S, P, BY_TERM>(rows, a, b, panels);
        }
    }
}
