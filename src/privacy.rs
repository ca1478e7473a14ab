//! How much privacy a run with `--dp-noise` spends: (ε, δ)-differential privacy of the subsampled Gaussian mechanism, by the
//! moments accountant in its Rényi form, as Opacus' `RDPAccountant` computes it.
//!
//! A step adds noise of deviation σC to a sum of gradients that are at most C long. Of n samples, b are in a mini-batch, and the
//! formula is that for mini-batches in which each sample is with probability q = b/n (Poisson sampling). Here, as in most
//! frameworks, an epoch is cut into mini-batches instead, so ε is that of the customary analysis and not a proof.
//!
//! - Rényi divergence of a step at order α: Mironov, Talwar and Zhang, *Rényi differential privacy of the sampled Gaussian
//!   mechanism* (2019), section 3.3. Divergences of steps add up.
//! - From there to ε: Balle et al., *Hypothesis testing interpretations and Rényi differential privacy* (2020), theorem 21.
//!   ε is the least over the orders that Opacus tries by default.

use nn_engine::{Manifest, Recipe};

use crate::config::default_delta;

/// The privacy of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Privacy {
    /// σ
    noise: f64,
    /// The part of the samples that is in a mini-batch.
    rate: f64,
    /// δ
    pub(crate) delta: f64,
}

impl Privacy {
    /// That of a run with noise, for δ or its default; `None` for a run without.
    pub(crate) fn of(manifest: &Manifest, delta: Option<f32>) -> Option<Self> {
        let Recipe { dp_noise, .. } = manifest.recipe();
        let samples = manifest.parts().train_samples;
        Some(Self {
            noise: f64::from((*dp_noise)?),
            rate: manifest.largest_batch() as f64 / samples as f64,
            delta: delta.map_or_else(|| default_delta(samples), decimal),
        })
    }

    /// ε after so many steps.
    pub(crate) fn epsilon(&self, steps: u64) -> f64 {
        if steps == 0 {
            return 0.0;
        }
        let of_order = |order: f64| {
            let divergence = steps as f64 * divergence(self.rate, self.noise, order);
            divergence - (self.delta.ln() + order.ln()) / (order - 1.0) + ((order - 1.0) / order).ln()
        };
        // NaN, of an order that overflows, is never the least.
        orders().map(of_order).fold(f64::INFINITY, f64::min).max(0.0)
    }
}

/// The number that was meant by a short decimal such as 1e-5, which f32 cannot hold.
fn decimal(x: f32) -> f64 {
    format!("{x:e}").parse().unwrap_or(f64::from(x))
}

/// Opacus' orders: 1.1, 1.2, … 10.9, and 12 to 63.
fn orders() -> impl Iterator<Item = f64> {
    (1..100).map(|x| 1.0 + f64::from(x) / 10.0).chain((12..64).map(f64::from))
}

/// The Rényi divergence of order α between the outcomes of a step with and without one sample.
fn divergence(rate: f64, noise: f64, order: f64) -> f64 {
    if rate >= 1.0 {
        return order / (2.0 * noise * noise);
    }
    let log =
        if order.fract() == 0.0 { whole_order(rate, noise, order) } else { broken_order(rate, noise, order) };
    log / (order - 1.0)
}

/// ln Σₖ C(α, k) (1 − q)^(α−k) qᵏ exp((k² − k)/(2σ²)), for a whole α.
fn whole_order(rate: f64, noise: f64, order: f64) -> f64 {
    let mut sum = f64::NEG_INFINITY;
    let mut choose = 0.0_f64; // ln C(α, k)
    for k in 0..=order as u32 {
        let k = f64::from(k);
        let term =
            choose + k * rate.ln() + (order - k) * (1.0 - rate).ln() + (k * k - k) / (2.0 * noise * noise);
        sum = log_add(sum, term);
        choose += ((order - k) / (k + 1.0)).ln();
    }
    sum
}

/// The two series for an α that is not whole, until their terms no longer count.
fn broken_order(rate: f64, noise: f64, order: f64) -> f64 {
    let z = noise * noise * (1.0 / rate - 1.0).ln() + 0.5;
    let (mut below, mut above) = (Signed::ZERO, Signed::ZERO);
    let mut choose = Signed { log: 0.0, negative: false }; // C(α, k), which is negative now and then for k > α
    for k in 0_u32.. {
        let k = f64::from(k);
        let j = order - k;
        let half_erfc = |x: f64| log_erfc(x / (std::f64::consts::SQRT_2 * noise)) - std::f64::consts::LN_2;
        let term = |i: f64, rest: f64, erfc: f64| {
            i * rate.ln() + rest * (1.0 - rate).ln() + (i * i - i) / (2.0 * noise * noise) + erfc
        };
        let (first, second) = (term(k, j, half_erfc(k - z)), term(j, k, half_erfc(z - j)));
        below = below.plus(choose.times(first));
        above = above.plus(choose.times(second));
        if first.max(second) + choose.log < -30.0 {
            break;
        }
        choose = Signed {
            log: choose.log + ((order - k) / (k + 1.0)).abs().ln(),
            negative: choose.negative ^ (order < k),
        };
    }
    below.plus(above).log
}

/// A number by its sign and the logarithm of its absolute value.
#[derive(Debug, Clone, Copy)]
struct Signed {
    log: f64,
    negative: bool,
}

impl Signed {
    const ZERO: Self = Self { log: f64::NEG_INFINITY, negative: false };

    fn times(self, log: f64) -> Self {
        Self { log: self.log + log, ..self }
    }

    fn plus(self, other: Self) -> Self {
        let (large, small) = if self.log >= other.log { (self, other) } else { (other, self) };
        if small.log == f64::NEG_INFINITY {
            return large;
        }
        let ratio = (small.log - large.log).exp();
        let ratio = if large.negative == small.negative { ratio } else { -ratio };
        Self { log: large.log + ratio.ln_1p(), ..large }
    }
}

/// ln(eᵃ + eᵇ)
fn log_add(a: f64, b: f64) -> f64 {
    let (large, small) = if a >= b { (a, b) } else { (b, a) };
    if small == f64::NEG_INFINITY { large } else { large + (small - large).exp().ln_1p() }
}

/// ln erfc(x), also where erfc(x) is too small for a number: by its asymptotic series.
fn log_erfc(x: f64) -> f64 {
    if x < 20.0 {
        return libm::erfc(x).ln();
    }
    let t = 1.0 / (2.0 * x * x);
    let series = -t * (1.0 - 3.0 * t * (1.0 - 5.0 * t * (1.0 - 7.0 * t)));
    -x * x - (x * std::f64::consts::PI.sqrt()).ln() + series.ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsilon_is_opacus() {
        for [noise, rate, steps, delta, want] in OPACUS {
            let got = Privacy { noise, rate, delta }.epsilon(steps as u64);
            assert!(
                (got - want).abs() <= 1e-9 * want,
                "{noise} {rate} {steps} {delta}: {got:?}, not {want:?}"
            );
        }
    }

    /// σ, q, steps, δ and ε: the output of tests/golden/make_epsilon.py with Opacus 1.6.0.
    const OPACUS: [[f64; 5]; 9] = [
        [1.0, 0.01, 1.0, 1e-05, 0.9555491477031676],
        [1.0, 0.01, 1000.0, 1e-05, 2.1013652716430564],
        [1.1, 0.004266666666666667, 14100.0, 1e-05, 2.6003429386103023],
        [0.7, 0.02, 500.0, 1e-06, 8.774462492283254],
        [4.0, 0.2, 10000.0, 1e-05, 35.78269538370358],
        [0.3, 0.05, 10.0, 0.001, 21.479444848305786],
        [2.0, 1.0, 50.0, 1e-05, 22.019852327713252],
        [20.0, 0.5, 100.0, 1e-07, 1.2696518828757095],
        [0.5, 0.9, 3.0, 0.01, 14.332682874533399],
    ];

    #[test]
    fn less_noise_and_more_steps_cost_more() {
        let epsilon = |noise, rate, steps| Privacy { noise, rate, delta: 1e-5 }.epsilon(steps);
        assert_eq!(epsilon(1.0, 0.01, 0), 0.0);
        assert!(epsilon(1.0, 0.01, 1000) < epsilon(0.8, 0.01, 1000));
        assert!(epsilon(1.0, 0.01, 1000) < epsilon(1.0, 0.02, 1000));
        assert!(epsilon(1.0, 0.01, 1000) < epsilon(1.0, 0.01, 2000));
        assert!(epsilon(0.05, 0.5, 1_000_000) > 1e6);
    }

    #[test]
    fn the_logarithm_of_erfc_goes_on_where_erfc_ends() {
        for x in [19.0, 19.999_999, 20.0, 20.000_001, 25.0] {
            assert!((log_erfc(x) - libm::erfc(x).ln()).abs() < 1e-9, "{x}");
        }
        assert!(log_erfc(100.0) < -10_000.0);
    }
}
