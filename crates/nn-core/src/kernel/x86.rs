//! Lanes on x86-64: AVX-512, and AVX2 with FMA.

use std::arch::x86_64::*;

use super::bf16::{LEAST, LIMIT};
use super::bf16_tile::{Blocks, sum_blocks};
use super::lanes::Simd;

/// AVX-512F: a lane is one register of 32.
pub(super) struct Avx512;

// SAFETY of every block below: the trait's contract (valid pointers, instructions enabled by the caller).
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx512 {
    type V = __m512;
    // 14 × 2 accumulators, 2 columns and a splat make 31 of 32 registers. One lane of columns would allow 30 rows, but
    // from 23 on the compiler runs out of registers for their addresses and spills accumulators to memory.
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
    unsafe fn load_bytes(x: *const u8, factor: f32) -> Self::V {
        unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(x.cast()));
            _mm512_mul_ps(_mm512_cvtepi32_ps(wide), _mm512_set1_ps(factor))
        }
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
    unsafe fn round_to_bf16(v: Self::V) -> Self::V {
        unsafe {
            let bits = _mm512_castps_si512(v);
            let magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fff_ffff));
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let kept = _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(LEAST.cast_signed()));
            let wide = _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(LIMIT.cast_signed()));
            let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            let nearest = _mm512_maskz_and_epi32(kept, _mm512_add_epi32(bits, up), upper);
            let nan = _mm512_set1_epi32(f32::NAN.to_bits().cast_signed());
            _mm512_castsi512_ps(_mm512_mask_mov_epi32(nearest, wide, nan))
        }
    }
    #[inline(always)]
    unsafe fn interleave(even: *const f32, odd: *const f32, to: *mut f32) {
        unsafe {
            let (even, odd) = (_mm512_loadu_si512(even.cast()), _mm512_loadu_si512(odd.cast()));
            _mm512_storeu_si512(to.cast(), _mm512_or_si512(_mm512_srli_epi32::<16>(even), odd));
        }
    }
    #[inline(always)]
    unsafe fn upper_halves(from: *const f32, to: *mut f32) {
        unsafe {
            let upper = _mm512_srli_epi32::<16>(_mm512_loadu_si512(from.cast()));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(upper));
        }
    }
    #[inline(always)]
    unsafe fn sum_blocks(rows: usize, columns: usize, task: &Blocks) {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn enabled(rows: usize, columns: usize, task: &Blocks) {
            unsafe { sum_blocks::<Avx512>(rows, columns, task) }
        }
        unsafe { enabled(rows, columns, task) }
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
    /// Transposes the bytes before they become floats, because a register holds four times as many.
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
pub(super) struct Avx2;

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
    unsafe fn load_bytes(x: *const u8, factor: f32) -> Self::V {
        unsafe {
            let bytes = _mm_loadu_si128(x.cast());
            let factor = _mm256_set1_ps(factor);
            let low = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
            let high = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes)));
            (_mm256_mul_ps(low, factor), _mm256_mul_ps(high, factor))
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
    unsafe fn round_to_bf16(v: Self::V) -> Self::V {
        unsafe { (round8(v.0), round8(v.1)) }
    }
    #[inline(always)]
    unsafe fn interleave(even: *const f32, odd: *const f32, to: *mut f32) {
        unsafe {
            for half in [0, 8] {
                let even = _mm256_loadu_si256(even.add(half).cast());
                let odd = _mm256_loadu_si256(odd.add(half).cast());
                let words = _mm256_or_si256(_mm256_srli_epi32::<16>(even), odd);
                _mm256_storeu_si256(to.add(half).cast(), words);
            }
        }
    }
    #[inline(always)]
    unsafe fn upper_halves(from: *const f32, to: *mut f32) {
        unsafe {
            let low = _mm256_srli_epi32::<16>(_mm256_loadu_si256(from.cast()));
            let high = _mm256_srli_epi32::<16>(_mm256_loadu_si256(from.add(8).cast()));
            // Packed within blocks of 128 bits, which are then put in order.
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
            _mm256_storeu_si256(to.cast(), packed);
        }
    }
    #[inline(always)]
    unsafe fn sum_blocks(rows: usize, columns: usize, task: &Blocks) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn enabled(rows: usize, columns: usize, task: &Blocks) {
            unsafe { sum_blocks::<Avx2>(rows, columns, task) }
        }
        unsafe { enabled(rows, columns, task) }
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
    unsafe fn transpose(src: *const f32, dst: *mut f32) {
        unsafe {
            for (i, j) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                transpose8(src.add(16 * i + j), dst.add(16 * j + i));
            }
        }
    }
}

/// [`round_to_bf16`](super::bf16::round_to_bf16) of each.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)] // as above
unsafe fn round8(v: __m256) -> __m256 {
    unsafe {
        let bits = _mm256_castps_si256(v);
        let magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff));
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
        // Both constants and magnitudes are positive as signed numbers.
        let kept = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32((LEAST - 1).cast_signed()));
        let wide = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32((LIMIT - 1).cast_signed()));
        let upper = _mm256_and_si256(kept, _mm256_set1_epi32(0xffff_0000_u32.cast_signed()));
        let nearest = _mm256_and_si256(_mm256_add_epi32(bits, up), upper);
        let nan = _mm256_set1_epi32(f32::NAN.to_bits().cast_signed());
        _mm256_castsi256_ps(_mm256_blendv_epi8(nearest, nan, wide))
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
