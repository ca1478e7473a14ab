//! bf16: the operands of the products in a network of that precision.
//!
//! bfloat16 is the upper half of an `f32`: its sign, all of its exponent, and 7 bits of the fraction. The kernels keep such
//! numbers as `f32` whose lower half is 0.
//!
//! The definition of a product is that of the matrix units of x86 (`TDPBF16PS`), which plain code can follow exactly
//! (`reference::dot` has it in plain code). Terms come in blocks of [`BLOCK`]; within a block the even and the odd terms are
//! summed apart, each from +0 by fused multiply-adds in ascending order; then the sum of the product grows by the sum of
//! the two. A block that is not full is filled up with +0.
//!
//! Why it is exact everywhere. The product of two bf16 numbers has 16 bits and is exact in an `f32`. Operands are 0, or at
//! least 2⁻⁵⁶ and below 2⁶³: multiples of 2⁻⁶³. So products and sums are multiples of 2⁻¹²⁶, and no subnormal number can arise, which
//! matrix units would flush to 0; nor can a product overflow, so a multiplication and an addition are as good as a fused
//! multiply-add where the processor has none. What does not fit becomes NaN, and the run has diverged.

use super::Lane;

/// Terms of a block.
pub(crate) const BLOCK: usize = 32;

/// The least magnitude that is not rounded to something below 2⁻⁵⁶.
pub(super) const LEAST: u32 = ((127 - 56) << 23) - 0x8000;
/// The least magnitude that is rounded to 2⁶³ or more: infinity and NaN are beyond it, too.
pub(super) const LIMIT: u32 = ((127 + 63) << 23) - 0x8000;

/// Rounds to the nearest bf16 number, and to the even one of two that are as near. What is then smaller than 2⁻⁵⁶ becomes
/// +0; what is 2⁶³ or larger, infinite or NaN becomes NaN.
#[inline(always)]
#[must_use]
pub fn round_to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    let kept = if magnitude < LEAST { 0 } else { nearest };
    f32::from_bits(if magnitude >= LIMIT { f32::NAN.to_bits() } else { kept })
}

#[inline(always)]
pub(super) fn round_body(lanes: &mut [Lane]) {
    for lane in lanes {
        for x in &mut lane.0 {
            *x = round_to_bf16(*x);
        }
    }
}

multiversion! {
    /// Rounds all numbers to bf16, in place.
    pub(crate) fn round(lanes: &mut [Lane]) = round_body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Isa;

    fn bits(x: f32) -> u32 {
        round_to_bf16(x).to_bits()
    }

    #[test]
    fn rounds_to_nearest_even_and_flushes_what_is_tiny() {
        for (x, nearest) in [
            (1.0, 1.0),
            (-1.0, -1.0),
            (0.0, 0.0),
            (255.0, 255.0),
            (257.0, 256.0), // a tie: 256 is even, 258 odd
            (259.0, 260.0), // a tie: 260 is even
            (257.000_03, 258.0),
            (0.1, 205.0 / 2048.0),
            (-0.3, -77.0 / 256.0),
        ] {
            assert_eq!(bits(x), f32::to_bits(nearest), "{x}");
        }
        assert_eq!(bits(-0.0), 0, "-0 is below 2^-56");
        let least = 2_f32.powi(-56);
        assert_eq!(bits(least), least.to_bits());
        assert_eq!(bits(-least), (-least).to_bits());
        // The tie between 2^-56 and its neighbour below goes up, and everything below that tie to 0.
        assert_eq!(bits(f32::from_bits(LEAST)), least.to_bits());
        assert_eq!(bits(-f32::from_bits(LEAST - 1)), 0);
        assert_eq!(bits(f32::MIN_POSITIVE / 4.0), 0);
    }

    #[test]
    fn what_is_too_large_becomes_nan() {
        let most = f32::from_bits(((127 + 63) << 23) - 0x1_0000);
        assert_eq!(bits(most), most.to_bits());
        assert_eq!(bits(f32::from_bits(LIMIT - 1)), most.to_bits());
        for x in [
            f32::from_bits(LIMIT),
            2_f32.powi(63),
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
            f32::from_bits(0x7fff_ffff),
        ] {
            assert!(round_to_bf16(x).is_nan() && round_to_bf16(-x).is_nan(), "{x}");
        }
    }

    #[test]
    fn every_instruction_set_rounds_alike() {
        let values: Vec<u32> = (0..1 << 16).map(|i: u32| i.wrapping_mul(0x9e37_79b9) ^ (i << 16)).collect();
        for isa in Isa::available() {
            let mut lanes: Vec<Lane> = values
                .chunks(16)
                .map(|chunk| Lane(std::array::from_fn(|i| f32::from_bits(chunk[i]))))
                .collect();
            round(isa, &mut lanes);
            for (x, &value) in lanes.iter().flat_map(|lane| lane.0).zip(&values) {
                assert_eq!(x.to_bits(), bits(f32::from_bits(value)), "{value:08x} with {}", isa.name());
            }
        }
    }
}
