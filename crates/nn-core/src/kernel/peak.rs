//! The processor's peak, to compare the kernels with.

use super::lanes::{Portable, Simd};
use super::{Isa, Kind};

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};

/// Runs a loop of nothing but multiply-adds in registers, `rounds` times, and returns the number of floating-point
/// operations (two for each multiply-add). The caller holds the clock: operations over time is this thread's peak.
#[must_use]
pub fn multiply_adds(isa: Isa, rounds: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(rounds: u64) -> u64 {
        // SAFETY: the instructions are enabled here.
        unsafe { spin::<Avx512, 24>(rounds) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(rounds: u64) -> u64 {
        // SAFETY: the instructions are enabled here.
        unsafe { spin::<Avx2, 6>(rounds) }
    }
    // SAFETY: an `Isa` exists only if the processor has its instructions.
    unsafe {
        match isa.kind() {
            Kind::Portable => spin::<Portable, 2>(rounds),
            #[cfg(not(target_arch = "x86_64"))]
            Kind::PortableTiles => spin::<Portable, 2>(rounds),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx2Tiles => avx2(rounds),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Amx => avx512(rounds),
        }
    }
}

/// Runs `R` independent chains, enough to keep every unit busy. Unsafe only for the instructions of `S`.
#[inline(always)]
unsafe fn spin<S: Simd, const R: usize>(rounds: u64) -> u64 {
    // x ← x/2 + 1/2 neither vanishes nor overflows.
    let half = std::hint::black_box([0.5_f32; 16]);
    let mut sums = [0.0_f32; 16];
    // SAFETY: all pointers are to arrays of 16 floats.
    unsafe {
        let x = S::load(half.as_ptr());
        let mut acc = [S::zero(); R];
        for _ in 0..rounds {
            for a in &mut acc {
                *a = S::fma(*a, x, x);
            }
        }
        let mut all = S::zero();
        for a in acc {
            all = S::add(all, a);
        }
        S::store(sums.as_mut_ptr(), all);
    }
    std::hint::black_box(sums);
    rounds * (R as u64) * 32
}
