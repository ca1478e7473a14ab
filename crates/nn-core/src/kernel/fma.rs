//! The fused multiply-add of processors that have none.
//!
//! `f32::mul_add` becomes one instruction where a function enables it, and otherwise a call of `fmaf`. That of Rust's own
//! library rounds results that are subnormal twice on a processor without the instruction (rust-lang/compiler-builtins
//! #1262), so it would compute other bits than one that has it. This one takes its place.

/// a·b + c, rounded once, without the instruction.
///
/// The product is exact in `f64`. Its sum with c is rounded to odd: if it is not exact, to the neighbour whose last bit is 1. That bit
/// then stands for all that was lost, and rounding to `f32` is right, because `f64` has more than two bits beyond it
/// (Boldo and Melquiond 2008, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd").
#[cfg_attr(not(all(target_arch = "x86_64", not(target_feature = "fma"))), allow(dead_code))]
#[inline]
pub(super) fn round_to_odd(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // What the sum lacks, exactly (Knuth's TwoSum); NaN if the sum is NaN or infinite.
    let part = sum - product;
    let rest = (product - (sum - part)) + (c - part);
    let bits = sum.to_bits();
    if rest.abs() > 0.0 && bits & 1 == 0 {
        let larger = (rest > 0.0) == (sum > 0.0);
        f64::from_bits(if larger { bits + 1 } else { bits - 1 }) as f32
    } else {
        sum as f32
    }
}

/// What `f32::mul_add` calls.
#[cfg(all(target_arch = "x86_64", not(target_feature = "fma")))]
// SAFETY: it is C's `fmaf`, with its arguments and its meaning.
#[unsafe(no_mangle)]
extern "C" fn fmaf(a: f32, b: f32, c: f32) -> f32 {
    #[target_feature(enable = "fma")]
    fn with_instruction(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    if is_x86_feature_detected!("fma") {
        // SAFETY: the processor has it.
        unsafe { with_instruction(a, b, c) }
    } else {
        round_to_odd(a, b, c)
    }
}

#[cfg(test)]
mod tests {
    use super::round_to_odd;

    /// A result that is subnormal, and a tie until it is rounded: 00400001 and not 00400000.
    #[test]
    fn a_subnormal_result_is_rounded_once() {
        let two = |power: i32| 2_f64.powi(power);
        let x = ((1.0 + two(-12)) * two(-75)) as f32;
        let y = ((1.0 - two(-12) + two(-24)) * two(-75)) as f32;
        let z = two(-127) as f32;
        assert_eq!(round_to_odd(x, y, z).to_bits(), 0x0040_0001);
        assert_eq!(std::hint::black_box(x).mul_add(y, z).to_bits(), 0x0040_0001);
    }

    /// On a processor with the instruction this compares with it.
    #[test]
    fn it_is_the_processors_own() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        let special =
            [0.0, -0.0, 1.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE / 3.0, f32::MAX, f32::INFINITY, f32::NAN];
        for i in 0..2_000_000_u32 {
            let (a, b) = (f32::from_bits(next()), f32::from_bits(next()));
            // Near the product, of about its size or much smaller, or anything.
            let c = match i % 4 {
                0 => -(a * b),
                1 => a * b * 2_f32.powi((next() % 60) as i32 - 30),
                2 => special[(next() % 8) as usize],
                _ => f32::from_bits(next()),
            };
            // Exponents that bring the product near the subnormal numbers.
            let b = if i % 3 == 0 && a.is_normal() {
                f32::MIN_POSITIVE / a * (1.0 + (next() % 97) as f32)
            } else {
                b
            };
            let (found, want) = (round_to_odd(a, b, c), std::hint::black_box(a).mul_add(b, c));
            let same = found.to_bits() == want.to_bits() || found.is_nan() && want.is_nan();
            assert!(same, "{a:e} · {b:e} + {c:e} is {found:e}, not {want:e}");
        }
    }
}
