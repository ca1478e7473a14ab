//! The Gaussian noise of differentially private training (DP-SGD: Abadi et al. 2016), at an address.
//!
//! Each sample's gradient is clipped to a norm C ([`Regularization::clip_samples`](crate::Regularization)), and each number of
//! the gradient sum of a mini-batch gets noise of deviation σC. The noise of a number is a function of (seed, step, index of
//! the parameter), so it is the same wherever and in however many pieces a step is taken. Who knows the seed can take it away
//! again: it must stay secret, as far as the privacy is to hold.

use crate::random::{Purpose, epoch_key, word};

/// The noise that a step adds to the gradient sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientNoise {
    deviation: f64,
    key: u64,
}

impl GradientNoise {
    /// The noise of a step: `multiplier` σ times the limit `clip` C of a sample's gradient.
    #[must_use]
    pub fn new(multiplier: f32, clip: f32, seed: u64, step: u64) -> Self {
        let key = epoch_key(seed, Purpose::PrivacyNoise, step);
        Self { deviation: f64::from(multiplier) * f64::from(clip), key }
    }

    /// The noise of the parameter with this index.
    #[must_use]
    pub fn of(&self, parameter: usize) -> f32 {
        // The middle of one of 2⁵³ equal parts of (0, 1).
        let word = word(self.key, parameter as u32) >> 11;
        (self.deviation * normal_quantile((word as f64 + 0.5) / (1_u64 << 53) as f64)) as f32
    }

    /// Adds the noise to a part of the gradient sum, which begins with parameter `first`.
    pub(crate) fn add(&self, first: usize, gradient_sum: &mut [f32]) {
        for (i, g) in gradient_sum.iter_mut().enumerate() {
            *g += self.of(first + i);
        }
    }
}

/// The number below which a standard normal deviate is with probability p, for p in (0, 1): algorithm AS 241, PPND16 (Wichura
/// 1988), with a relative error of about 10⁻¹⁶. It needs no table and one logarithm, and that only in the tails.
#[must_use]
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let r = libm::sqrt(-libm::log(if q < 0.0 { p } else { 1.0 - p }));
    let x = if r <= 5.0 { ratio(r - 1.6, &TAIL) } else { ratio(r - 5.0, &FAR_TAIL) };
    if q < 0.0 { -x } else { x }
}

/// A rational function whose numerator and denominator have these coefficients, highest power first.
fn ratio(r: f64, [numerator, denominator]: &[[f64; 8]; 2]) -> f64 {
    let polynomial = |c: &[f64; 8]| c[1..].iter().fold(c[0], |sum, c| sum * r + c);
    polynomial(numerator) / polynomial(denominator)
}

/// For |p − ½| ≤ 0.425, in 0.425² − (p − ½)².
const CENTRE: [[f64; 8]; 2] = [
    [
        2.509_080_928_730_122_7e3,
        3.343_057_558_358_813e4,
        6.726_577_092_700_87e4,
        4.592_195_393_154_987e4,
        1.373_169_376_550_946e4,
        1.971_590_950_306_551_3e3,
        1.331_416_678_917_843_8e2,
        3.387_132_872_796_366_5,
    ],
    [
        5.226_495_278_852_854e3,
        2.872_908_573_572_194_3e4,
        3.930_789_580_009_271e4,
        2.121_379_430_158_659_7e4,
        5.394_196_021_424_751e3,
        6.871_870_074_920_579e2,
        4.231_333_070_160_091e1,
        1.0,
    ],
];

/// For √(−ln p) from there to 5, in √(−ln p) − 1.6.
const TAIL: [[f64; 8]; 2] = [
    [
        7.745_450_142_783_414e-4,
        2.272_384_498_926_918_4e-2,
        2.417_807_251_774_506e-1,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_5,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_5,
    ],
    [
        1.050_750_071_644_416_9e-9,
        5.475_938_084_995_345e-4,
        1.519_866_656_361_645_7e-2,
        1.481_039_764_274_800_8e-1,
        6.897_673_349_851e-1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ],
];

/// For greater √(−ln p), in √(−ln p) − 5.
const FAR_TAIL: [[f64; 8]; 2] = [
    [
        2.010_334_399_292_288_1e-7,
        2.711_555_568_743_487_6e-5,
        1.242_660_947_388_078_4e-3,
        2.653_218_952_657_612_4e-2,
        2.965_605_718_285_048_7e-1,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_103,
    ],
    [
        2.044_263_103_389_939_7e-15,
        1.421_511_758_316_446e-7,
        1.846_318_317_510_054_8e-5,
        7.868_691_311_456_133e-4,
        1.487_536_129_085_061_5e-2,
        1.369_298_809_227_358e-1,
        5.998_322_065_558_88e-1,
        1.0,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `statistics.NormalDist().inv_cdf(p)` of Python 3.11, which has the same algorithm.
    #[test]
    fn quantiles_are_pythons() {
        for (p, want) in [
            (0.5, 0.0),
            (0.075, PYTHON[0]),
            (0.3, PYTHON[1]),
            (0.924, PYTHON[2]),
            (0.93, PYTHON[3]),
            (0.999, PYTHON[4]),
            (1e-5, PYTHON[5]),
            (1e-12, PYTHON[6]),
            (5.551_115_123_125_783e-17, PYTHON[7]),
        ] {
            let got = normal_quantile(p);
            assert!((got - want).abs() <= 4.0 * f64::EPSILON * want.abs(), "{p}: {got:?} {want:?}");
        }
    }

    const PYTHON: [f64; 8] = [
        -1.439_531_470_938_455_7,
        -0.524_400_512_708_040_7,
        1.432_502_720_825_811_9,
        1.475_791_028_179_170_8,
        3.090_232_306_167_813,
        -4.264_890_793_922_825_6,
        -7.034_483_825_301_132,
        -8.292_361_075_813_595,
    ];

    #[test]
    fn noise_is_normal_and_has_an_address() {
        let noise = GradientNoise::new(2.0, 0.5, 7, 3);
        let n = 1 << 18;
        let all: Vec<f64> = (0..n).map(|i| f64::from(noise.of(i))).collect();
        let moment = |k: i32| all.iter().map(|x| x.powi(k)).sum::<f64>() / n as f64;
        // The standard errors of these are 0.002, 0.003, 0.008 and 0.019.
        let near = [(1, 0.0, 0.01), (2, 1.0, 0.015), (3, 0.0, 0.04), (4, 3.0, 0.1)];
        for (k, want, within) in near {
            assert!((moment(k) - want).abs() < within, "moment {k} is {}", moment(k));
        }
        // Beyond three deviations is 0.27 %.
        let far = all.iter().filter(|x| x.abs() > 3.0).count() as f64 / n as f64;
        assert!((far - 0.0027).abs() < 0.0005, "{far}");
        let next = all.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / n as f64;
        assert!(next.abs() < 0.01, "neighbours have nothing in common: {next}");

        for other in [GradientNoise::new(2.0, 0.5, 8, 3), GradientNoise::new(2.0, 0.5, 7, 4)] {
            let both =
                (0..n).map(|i| f64::from(noise.of(i)) * f64::from(other.of(i))).sum::<f64>() / n as f64;
            assert!(both.abs() < 0.01, "{both}");
        }
        let mut part = [1.0, 2.0];
        noise.add(5, &mut part);
        assert_eq!(part, [1.0 + noise.of(5), 2.0 + noise.of(6)]);
    }
}
