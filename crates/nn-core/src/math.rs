//! Elementary functions with one result everywhere.
//!
//! The platform's `exp`, `tanh` and `ln` differ between systems and versions, so these are our own: straight-line code
//! of additions, multiplications, fused multiply-adds and divisions, each of which IEEE 754 defines to the last bit.
//! Compiled inside a function that enables AVX2 or AVX-512 they become vector code with the same result in each lane.
//! The tests below bound the errors: 2 ulp for [`exp`] and [`ln`], 3 ulp for [`sigmoid`] and [`tanh`]. NaN gives NaN.

const LN2_HI: f32 = 0.693_359_4; // 355/512: its products with small integers are exact
const LN2_LO: f32 = -2.121_944_4e-4;

/// 1.5 × 2²³: adding it leaves the nearest integer in the low bits of the mantissa.
const ROUND: f32 = 12_582_912.0;

/// e^r − 1 for |r| ≤ ln2/2, by the Taylor series up to r⁷ (its remainder is below 6e-9, a tenth of an ulp of 1).
#[inline(always)]
fn expm1_reduced(r: f32) -> f32 {
    let p = (1.0_f32 / 5040.0).mul_add(r, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    (p * r).mul_add(r, r)
}

/// x = n·ln2 + r with |r| ≤ ln2/2; n as an integer.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let shifted = x.mul_add(core::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_HI, x);
    let r = n.mul_add(-LN2_LO, r);
    ((shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), r)
}

/// 2ⁿ for −126 ≤ n ≤ 127.
#[inline(always)]
fn pow2(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// The exponential function. Overflows to infinity above 88.73 and passes through the subnormal numbers to 0 below
/// −104.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    // Written as comparisons, because `f32::min` would swallow NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -105.0 { -105.0 } else { x };
    let (n, r) = reduce(x);
    // 2ⁿ in two factors, so that n = 128 and subnormal results need no special case.
    let half = n >> 1;
    let y = expm1_reduced(r) + 1.0;
    y * pow2(half) * pow2(n.wrapping_sub(half))
}

/// σ(x) = 1 / (1 + e⁻ˣ)
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, as −m / (m + 2) with m = e^(−2|x|) − 1: no cancellation near 0, no overflow far from it.
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let a = -2.0 * x.abs();
    // e⁻²⁰ is below half an ulp of 1.
    let a = if a < -20.0 { -20.0 } else { a };
    let (n, r) = reduce(a);
    let scale = pow2(n);
    let m = scale.mul_add(expm1_reduced(r), scale - 1.0);
    (-m / (m + 2.0)).copysign(x)
}

/// The natural logarithm of a positive normal number. 0 gives about −88, so that losses stay finite; the result for a
/// negative number has no meaning.
#[inline(always)]
#[must_use]
pub fn ln(x: f32) -> f32 {
    // x = 2ᵉ·m with m in [√½, √2): subtracting √½'s bits moves the boundary of the exponent there.
    const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
    let shifted = (x.to_bits() as i32).wrapping_sub(SQRT_HALF_BITS);
    let e = (shifted >> 23) as f32;
    let m = f32::from_bits(((shifted & 0x007f_ffff) + SQRT_HALF_BITS) as u32);
    // ln m = 2 artanh(s) with s = (m − 1)/(m + 1), |s| < 0.172, up to s⁹.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let p = (1.0_f32 / 9.0).mul_add(z, 1.0 / 7.0);
    let p = p.mul_add(z, 1.0 / 5.0);
    let p = p.mul_add(z, 1.0 / 3.0);
    // 2s = f − s·f, and f is exact, so the division's rounding stays out of the large part of the sum.
    let tail = (p * z).mul_add(2.0 * s, e * LN2_LO) - s * f;
    let y = e.mul_add(LN2_HI, tail + f);
    if x.is_nan() { x } else { y }
}

/// Φ(x) and φ(x), the normal distribution's function and density, by Hastings' approximation (Abramowitz and Stegun, 7.1.26):
/// Φ is off by at most 2e-7.
#[inline(always)]
#[must_use]
pub fn normal(x: f32) -> (f32, f32) {
    let e = exp(-0.5 * (x * x));
    let t = 1.0 / (0.231_641_9_f32).mul_add(x.abs(), 1.0); // 0.3275911/√2
    let p = (1.061_405_4_f32).mul_add(t, -1.453_152);
    let p = p.mul_add(t, 1.421_413_7);
    let p = p.mul_add(t, -0.284_496_74);
    let p = p.mul_add(t, 0.254_829_6);
    let tail = 0.5 * (p * t) * e;
    (if x < 0.0 { tail } else { 1.0 - tail }, 0.398_942_3 * e)
}

/// xⁿ by repeated squaring: the platform's `powi` guarantees no particular bits.
pub(crate) fn power(mut x: f64, mut n: u64) -> f64 {
    let mut y = 1.0;
    while n > 0 {
        if n & 1 == 1 {
            y *= x;
        }
        x *= x;
        n >>= 1;
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance of `got` from `want` in units of the last place of `want`.
    fn ulps(got: f32, want: f64) -> f64 {
        let w = want as f32;
        let ulp = f64::from(f32::from_bits(w.abs().max(f32::MIN_POSITIVE).to_bits() + 1))
            - f64::from(w.abs().max(f32::MIN_POSITIVE));
        (f64::from(got) - want).abs() / ulp
    }

    /// Every `stride`-th float between two bounds of one sign.
    fn floats(low: f32, high: f32, stride: usize) -> impl Iterator<Item = f32> {
        (low.to_bits()..=high.to_bits()).step_by(stride).map(f32::from_bits)
    }

    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, xs: impl Iterator<Item = f32>) -> f64 {
        xs.map(|x| ulps(f(x), exact(f64::from(x)))).fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_within_the_stated_ulps() {
        let positive = || floats(1e-30, 87.0, 9_973);
        let both = || positive().chain(positive().map(|x| -x));
        assert!(worst(exp, libm::exp, both()) <= 2.0);
        assert!(worst(sigmoid, |x| 1.0 / (1.0 + libm::exp(-x)), both()) <= 3.0);
        assert!(worst(tanh, libm::tanh, both()) <= 3.0);
        assert!(worst(ln, libm::log, floats(f32::MIN_POSITIVE, f32::MAX, 9_973)) <= 2.0);
    }

    #[test]
    fn the_ends_behave() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-104.5), 0.0);
        assert!(exp(-100.0) > 0.0, "subnormal results are kept");
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(-1e30), 0.0);
        assert_eq!(sigmoid(1e30), 1.0);
        assert_eq!(tanh(0.0).to_bits(), 0);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(tanh(50.0), 1.0);
        assert_eq!(tanh(-50.0), -1.0);
        assert_eq!(ln(1.0), 0.0);
        assert!(ln(0.0) < -80.0 && ln(0.0).is_finite());
        for f in [exp, sigmoid, tanh, ln] {
            assert!(f(f32::NAN).is_nan());
        }
    }

    /// The bits that every platform must give. A change here changes every hash of every run: it is a new version.
    #[test]
    fn the_bits_are_pinned() {
        let xs = [-7.25_f32, -1.0, -0.3, 0.1, 0.75, 3.5, 20.0];
        let bits = |f: fn(f32) -> f32| xs.map(|x| f(x).to_bits());
        let want =
            [0x3a3a_2aff, 0x3ebc_5ab2, 0x3f3d_a643, 0x3f8d_763e, 0x4007_7cee, 0x4204_7639, 0x4de7_5844];
        assert_eq!(bits(exp), want);
        let want =
            [0x3a3a_092d, 0x3e89_b2b1, 0x3ed9_e2ac, 0x3f06_6509, 0x3f2d_dea8, 0x3f78_7efe, 0x3f80_0000];
        assert_eq!(bits(sigmoid), want);
        let want =
            [0xbf7f_fff0, 0xbf42_f7d7, 0xbe95_26ed, 0x3dcc_1ebc, 0x3f22_991f, 0x3f7f_8895, 0x3f80_0000];
        assert_eq!(bits(tanh), want);
        let want =
            [0x3ffd_9175, 0x0000_0000, 0xbf9a_1bc8, 0xc013_5d8e, 0xbe93_4b11, 0x3fa0_5a8a, 0x403f_ba14];
        assert_eq!(bits(|x| ln(x.abs())), want);
    }
}
