//! Sixteen floats at a time, on whatever the processor has.
//!
//! Every implementation does the same IEEE operations on each lane, so which one runs can never be seen in a result.

/// Sixteen neighbouring values, on a cache line of their own: either one neuron of sixteen samples, or sixteen
/// features of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[repr(C, align(64))]
pub struct Lane(pub [f32; 16]);

impl Lane {
    /// Sixteen zeros.
    pub const ZERO: Self = Self([0.0; 16]);
    /// How many values a lane holds.
    pub const WIDTH: usize = 16;
}

/// One way to compute on lanes. All functions are `unsafe` for two reasons: pointers must be valid for 16 floats (one
/// for `splat`), and the caller must run inside a function that enables the instructions in question.
pub(super) trait Simd {
    /// Sixteen floats in registers.
    type V: Copy;
    /// The most rows of a tile that fits the registers, with one lane of columns and with two. 0: do not use.
    const ROWS: [usize; 2];

    unsafe fn zero() -> Self::V;
    unsafe fn splat(x: *const f32) -> Self::V;
    unsafe fn load(x: *const f32) -> Self::V;
    unsafe fn store(x: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Asks for the cache line at `x`, which may be any address.
    unsafe fn prefetch(x: *const f32);
    /// The same, but only as near as the second cache: for what is needed later.
    unsafe fn prefetch_far(x: *const f32);
    /// Asks for the cache line at `x` to write to it.
    unsafe fn prefetch_write(x: *mut f32);
    /// Reads 16 lanes and writes 16 lanes: `dst[j][i] = src[i][j]`. The two must not overlap.
    unsafe fn transpose(src: *const f32, dst: *mut f32);
    /// Reads 16 bytes of each row and writes 16 lanes: `dst[j][i] = rows[i][j] as f32 · factor`.
    #[inline(always)]
    unsafe fn transpose_bytes(rows: &[*const u8; 16], factor: f32, dst: *mut f32) {
        let mut lanes = [Lane::ZERO; 16];
        for (lane, &row) in lanes.iter_mut().zip(rows) {
            for i in 0..16 {
                // SAFETY: the caller gives 16 bytes in each row.
                lane.0[i] = f32::from(unsafe { *row.add(i) }) * factor;
            }
        }
        // SAFETY: the caller gives room for 16 lanes.
        unsafe { Self::transpose(lanes.as_ptr().cast(), dst) }
    }
}

/// Plain code. Where the target has a fused multiply-add this is still quick; elsewhere it calls the C library's exact
/// software version, which is slow and right.
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
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_far(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_write(_: *mut f32) {}
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
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Simd;

    /// AVX-512F: a lane is one register of 32.
    pub(in super::super) struct Avx512;

    // SAFETY of every block below: the trait's contract (valid pointers, instructions enabled by the caller).
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx512 {
        type V = __m512;
        // 14 × 2 accumulators, 2 columns and a splat make 31 of 32 registers. One lane of columns would allow 30 rows, but
        // from 23 on the compiler runs out of registers for their addresses and keeps accumulators in memory.
        const ROWS: [usize; 2] = [22, 14];

        #[inline(always)]
        unsafe fn zero() -> Self::V {
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(x: *const f32) -> Self::V {
            unsafe { _mm512_set1_ps(*x) }
        }
        #[inline(always)]
        unsafe fn load(x: *const f32) -> Self::V {
            unsafe { _mm512_loadu_ps(x) }
        }
        #[inline(always)]
        unsafe fn store(x: *mut f32, v: Self::V) {
            unsafe { _mm512_storeu_ps(x, v) }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn prefetch(x: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(x.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_far(x: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(x.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_write(x: *mut f32) {
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(x.cast()) }
        }
        #[inline(always)]
        unsafe fn transpose(src: *const f32, dst: *mut f32) {
            unsafe {
                // Pairs of rows, then quadruples, then 128-bit blocks twice: 4 × 16 shuffles.
                let mut r = [_mm512_setzero_ps(); 16];
                for i in 0..16 {
                    r[i] = _mm512_loadu_ps(src.add(16 * i));
                }
                let mut a = [_mm512_setzero_pd(); 16];
                for i in 0..8 {
                    a[2 * i] = _mm512_castps_pd(_mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]));
                    a[2 * i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]));
                }
                // b[4q + c] holds column c (mod 4) of rows 4q..4q + 4, one 128-bit block for each four columns.
                let mut b = [_mm512_setzero_ps(); 16];
                for q in [0, 4, 8, 12] {
                    for c in [0, 1] {
                        let (x, y) = (a[q + c], a[q + 2 + c]);
                        b[q + 2 * c] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                        b[q + 2 * c + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                    }
                }
                for c in 0..4 {
                    let (p, q, s, t) = (b[c], b[4 + c], b[8 + c], b[12 + c]);
                    let even_low = _mm512_shuffle_f32x4::<0x88>(p, q);
                    let even_high = _mm512_shuffle_f32x4::<0x88>(s, t);
                    let odd_low = _mm512_shuffle_f32x4::<0xdd>(p, q);
                    let odd_high = _mm512_shuffle_f32x4::<0xdd>(s, t);
                    let to = dst.add(16 * c);
                    _mm512_storeu_ps(to, _mm512_shuffle_f32x4::<0x88>(even_low, even_high));
                    _mm512_storeu_ps(to.add(64), _mm512_shuffle_f32x4::<0x88>(odd_low, odd_high));
                    _mm512_storeu_ps(to.add(128), _mm512_shuffle_f32x4::<0xdd>(even_low, even_high));
                    _mm512_storeu_ps(to.add(192), _mm512_shuffle_f32x4::<0xdd>(odd_low, odd_high));
                }
            }
        }
        /// Bytes are transposed before they become floats, four times as many to a register.
        #[inline(always)]
        unsafe fn transpose_bytes(rows: &[*const u8; 16], factor: f32, dst: *mut f32) {
            unsafe {
                // Register q holds rows q, 4 + q, 8 + q and 12 + q in its four blocks.
                let mut r = [_mm512_setzero_si512(); 4];
                for q in 0..4 {
                    let block = |i: usize| _mm_loadu_si128(rows[4 * i + q].cast());
                    let x = _mm512_castsi128_si512(block(0));
                    let x = _mm512_inserti32x4::<1>(x, block(1));
                    let x = _mm512_inserti32x4::<2>(x, block(2));
                    r[q] = _mm512_inserti32x4::<3>(x, block(3));
                }
                // Pairs of bytes, then quadruples: block b of a[i] holds, for each of columns 4i..4i + 4, the bytes of rows
                // 4b..4b + 4; then all four blocks' quadruples of a column come together.
                let (low, high) = (_mm512_unpacklo_epi8(r[0], r[1]), _mm512_unpackhi_epi8(r[0], r[1]));
                let (low2, high2) = (_mm512_unpacklo_epi8(r[2], r[3]), _mm512_unpackhi_epi8(r[2], r[3]));
                let a = [
                    _mm512_unpacklo_epi16(low, low2),
                    _mm512_unpackhi_epi16(low, low2),
                    _mm512_unpacklo_epi16(high, high2),
                    _mm512_unpackhi_epi16(high, high2),
                ];
                let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
                let factor = _mm512_set1_ps(factor);
                for i in 0..4 {
                    let columns = _mm512_permutexvar_epi32(order, a[i]);
                    let columns = [
                        _mm512_castsi512_si128(columns),
                        _mm512_extracti32x4_epi32::<1>(columns),
                        _mm512_extracti32x4_epi32::<2>(columns),
                        _mm512_extracti32x4_epi32::<3>(columns),
                    ];
                    for j in 0..4 {
                        let wide = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(columns[j]));
                        _mm512_storeu_ps(dst.add(16 * (4 * i + j)), _mm512_mul_ps(wide, factor));
                    }
                }
            }
        }
    }

    /// AVX2 and FMA: a lane is two registers of 16.
    pub(in super::super) struct Avx2;

    #[allow(clippy::undocumented_unsafe_blocks)] // as above
    impl Simd for Avx2 {
        type V = (__m256, __m256);
        // 6 × 2 accumulators, 2 for the columns and a splat make 15 of 16 registers.
        const ROWS: [usize; 2] = [6, 0];

        #[inline(always)]
        unsafe fn zero() -> Self::V {
            unsafe { (_mm256_setzero_ps(), _mm256_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn splat(x: *const f32) -> Self::V {
            unsafe {
                let v = _mm256_broadcast_ss(&*x);
                (v, v)
            }
        }
        #[inline(always)]
        unsafe fn load(x: *const f32) -> Self::V {
            unsafe { (_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(x: *mut f32, v: Self::V) {
            unsafe {
                _mm256_storeu_ps(x, v.0);
                _mm256_storeu_ps(x.add(8), v.1);
            }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { (_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { (_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
        }
        #[inline(always)]
        unsafe fn prefetch(x: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(x.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_far(x: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(x.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_write(x: *mut f32) {
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(x.cast()) }
        }
        #[inline(always)]
        unsafe fn transpose(src: *const f32, dst: *mut f32) {
            unsafe {
                for (i, j) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                    transpose8(src.add(16 * i + j), dst.add(16 * j + i));
                }
            }
        }
    }

    /// An 8 × 8 block of a 16-wide matrix.
    #[inline(always)]
    #[allow(clippy::undocumented_unsafe_blocks)] // as above
    unsafe fn transpose8(src: *const f32, dst: *mut f32) {
        unsafe {
            let mut r = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                r[i] = _mm256_loadu_ps(src.add(16 * i));
            }
            let mut a = [_mm256_setzero_ps(); 8];
            for i in 0..4 {
                a[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                a[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            let mut b = [_mm256_setzero_ps(); 8];
            for q in [0, 4] {
                for c in [0, 1] {
                    let (x, y) = (a[q + c], a[q + 2 + c]);
                    b[q + 2 * c] = _mm256_shuffle_ps::<0x44>(x, y);
                    b[q + 2 * c + 1] = _mm256_shuffle_ps::<0xee>(x, y);
                }
            }
            for c in 0..4 {
                _mm256_storeu_ps(dst.add(16 * c), _mm256_permute2f128_ps::<0x20>(b[c], b[4 + c]));
                _mm256_storeu_ps(dst.add(16 * (c + 4)), _mm256_permute2f128_ps::<0x31>(b[c], b[4 + c]));
            }
        }
    }
}
