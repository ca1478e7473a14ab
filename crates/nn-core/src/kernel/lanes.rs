//! Sixteen floats at a time, on any instruction set.
//!
//! Every implementation does the same IEEE operations on each float of a lane, so the choice never changes a result.

use super::bf16::round_to_bf16;
use super::bf16_tile::{Blocks, sum_blocks};

/// Sixteen neighbouring values that fill a cache line: either one neuron of sixteen samples, or sixteen features of one
/// sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [f32; 16]);

impl Lane {
    /// Sixteen zeros.
    pub(crate) const ZERO: Self = Self([0.0; 16]);
}

/// An implementation of lanes. All functions are `unsafe` for two reasons: pointers must be valid for 16 floats (one
/// for `splat`), and the caller must run inside a function that enables the instructions in question.
pub(super) trait Simd {
    /// Sixteen floats in registers.
    type V: Copy;
    /// The most rows of a tile that fits the registers, with one lane of columns and with two; 0 if it should not be
    /// used.
    const ROWS: [usize; 2];

    unsafe fn zero() -> Self::V;
    unsafe fn splat(x: *const f32) -> Self::V;
    unsafe fn load(x: *const f32) -> Self::V;
    unsafe fn store(x: *mut f32, v: Self::V);
    /// Sixteen bytes as floats, times `factor`.
    unsafe fn load_bytes(x: *const u8, factor: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a·b + c where the product is exact, so that it does not matter whether it is rounded.
    #[inline(always)]
    unsafe fn fma_exact(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: passed on.
        unsafe { Self::fma(a, b, c) }
    }
    /// [`round_to_bf16`] of each.
    unsafe fn round_to_bf16(v: Self::V) -> Self::V;
    /// Writes 16 words of 32 bits: the upper halves of `even` as their lower halves, and those of `odd`, whose lower halves must be
    /// 0, as their upper ones.
    unsafe fn interleave(even: *const f32, odd: *const f32, to: *mut f32);
    /// Writes the upper halves of 16 floats one after the other: 8 words.
    unsafe fn upper_halves(from: *const f32, to: *mut f32);
    /// [`sum_blocks`], as a function of its own: it is large, and has two callers.
    unsafe fn sum_blocks(rows: usize, columns: usize, task: &Blocks);
    /// Requests the cache line at `x`, which may be any address.
    unsafe fn prefetch(x: *const f32);
    /// Requests it only into the second-level cache, for later use.
    unsafe fn prefetch_far(x: *const f32);
    /// Reads 16 lanes and writes 16 lanes: `dst[j][i] = src[i][j]`. The two must not overlap.
    unsafe fn transpose(src: *const f32, dst: *mut f32);
    /// Reads 16 bytes of each row and writes 16 lanes: `dst[j][i] = rows[i][j] as f32 · factor`.
    #[inline(always)]
    unsafe fn transpose_bytes(rows: &[*const u8; 16], factor: f32, dst: *mut f32) {
        let mut lanes = [Lane::ZERO; 16];
        for (lane, &row) in lanes.iter_mut().zip(rows) {
            // SAFETY: the caller gives 16 bytes in each row.
            unsafe { Self::store(lane.0.as_mut_ptr(), Self::load_bytes(row, factor)) }
        }
        // SAFETY: the caller gives room for 16 lanes.
        unsafe { Self::transpose(lanes.as_ptr().cast(), dst) }
    }
}

/// Plain code. It is quick if the target has a fused multiply-add; otherwise it calls the C library's, which is exact
/// but slow.
pub(super) struct Portable;

impl Simd for Portable {
    type V = [f32; 16];
    const ROWS: [usize; 2] = [4, 0];

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        [0.0; 16]
    }
    #[inline(always)]
    unsafe fn splat(x: *const f32) -> Self::V {
        // SAFETY: the caller gives a valid pointer.
        [unsafe { *x }; 16]
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> Self::V {
        // SAFETY: the caller gives 16 valid floats; unaligned reads are asked for.
        unsafe { x.cast::<[f32; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(x: *mut f32, v: Self::V) {
        // SAFETY: the caller gives room for 16 floats; unaligned writes are asked for.
        unsafe { x.cast::<[f32; 16]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_bytes(x: *const u8, factor: f32) -> Self::V {
        // SAFETY: the caller gives 16 valid bytes.
        let bytes = unsafe { x.cast::<[u8; 16]>().read_unaligned() };
        let mut floats = [0.0; 16];
        for i in 0..16 {
            floats[i] = f32::from(bytes[i]) * factor;
        }
        floats
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        let mut c = a;
        for i in 0..16 {
            c[i] += b[i];
        }
        c
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut d = c;
        for i in 0..16 {
            d[i] = a[i].mul_add(b[i], c[i]);
        }
        d
    }
    /// Where there is no fused multiply-add, calling the C library's would take fifty times as long.
    #[cfg(not(any(target_feature = "fma", target_arch = "aarch64")))]
    #[inline(always)]
    unsafe fn fma_exact(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut d = c;
        for i in 0..16 {
            d[i] = a[i] * b[i] + c[i];
        }
        d
    }
    #[inline(always)]
    unsafe fn round_to_bf16(v: Self::V) -> Self::V {
        v.map(round_to_bf16)
    }
    #[inline(always)]
    unsafe fn interleave(even: *const f32, odd: *const f32, to: *mut f32) {
        // SAFETY: the caller gives 16 floats each.
        unsafe {
            let (even, odd) =
                (even.cast::<[u32; 16]>().read_unaligned(), odd.cast::<[u32; 16]>().read_unaligned());
            let mut words = [0; 16];
            for i in 0..16 {
                words[i] = even[i] >> 16 | odd[i];
            }
            to.cast::<[u32; 16]>().write_unaligned(words);
        }
    }
    #[inline(always)]
    unsafe fn upper_halves(from: *const f32, to: *mut f32) {
        // SAFETY: the caller gives 16 floats, and room for 8.
        unsafe {
            let bits = from.cast::<[u32; 16]>().read_unaligned();
            let mut upper = [0_u16; 16];
            for i in 0..16 {
                upper[i] = (bits[i] >> 16) as u16;
            }
            to.cast::<[u16; 16]>().write_unaligned(upper);
        }
    }
    #[inline(never)]
    unsafe fn sum_blocks(rows: usize, columns: usize, task: &Blocks) {
        // SAFETY: passed on.
        unsafe { sum_blocks::<Self>(rows, columns, task) }
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_far(_: *const f32) {}
    #[inline(always)]
    unsafe fn transpose(src: *const f32, dst: *mut f32) {
        for i in 0..16 {
            for j in 0..16 {
                // SAFETY: the caller gives 256 floats on either side.
                unsafe { *dst.add(j * 16 + i) = *src.add(i * 16 + j) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use super::x86::{Avx2, Avx512};
