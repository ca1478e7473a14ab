//! Element-wise work: plain loops that the compiler vectorises for each instruction set.

use super::Lane;
use super::bf16::round_body;
use crate::math;
use crate::random::mixed;
use crate::spec::{Activation, Precision};

/// a = σ(z + bias) for the lanes of one layer in one panel: one lane and one bias for each neuron.
#[inline(always)]
fn activate_body(activation: Activation, precision: Precision, lanes: &mut [Lane], biases: &[f32]) {
    #[inline(always)]
    fn each(lanes: &mut [Lane], biases: &[f32], f: impl Fn(f32) -> f32) {
        for (lane, &bias) in lanes.iter_mut().zip(biases) {
            for x in &mut lane.0 {
                *x = f(*x + bias);
            }
        }
    }
    match activation {
        Activation::Sigmoid => each(lanes, biases, math::sigmoid),
        // Not `max`, which would turn NaN into 0 and hide it.
        Activation::Relu => each(lanes, biases, |z| if z < 0.0 { 0.0 } else { z }),
        Activation::Tanh => each(lanes, biases, math::tanh),
        Activation::LeakyRelu => each(lanes, biases, leaky),
        Activation::Gelu => each(lanes, biases, |z| gelu(z).0),
        Activation::Silu => each(lanes, biases, |z| silu(z).0),
    }
    if precision == Precision::Bf16 {
        round_body(lanes);
    }
}

/// z, or a hundredth of it below 0.
#[inline(always)]
fn leaky(z: f32) -> f32 {
    if z < 0.0 { Activation::LEAK * z } else { z }
}

/// z·Φ(z), and its derivative Φ(z) + z·φ(z).
#[inline(always)]
fn gelu(z: f32) -> (f32, f32) {
    let (distribution, density) = math::normal(z);
    (z * distribution, z.mul_add(density, distribution))
}

/// z·s, and its derivative s + z·s·(1 − s), with s = 1 / (1 + e⁻ᶻ).
#[inline(always)]
fn silu(z: f32) -> (f32, f32) {
    let s = math::sigmoid(z);
    let a = z * s;
    (a, a.mul_add(1.0 - s, s))
}

multiversion! {
    /// a = σ(z + bias), rounded to the precision, in place: z is lost.
    pub(crate) fn activate(
        activation: Activation,
        precision: Precision,
        lanes: &mut [Lane],
        biases: &[f32],
    ) = activate_body
}

/// [`activate_body`] that keeps σ'(z) too.
#[inline(always)]
fn activate_with_slopes_body(
    activation: Activation,
    precision: Precision,
    lanes: &mut [Lane],
    slopes: &mut [Lane],
    biases: &[f32],
) {
    #[inline(always)]
    fn each(lanes: &mut [Lane], slopes: &mut [Lane], biases: &[f32], f: impl Fn(f32) -> (f32, f32)) {
        for ((lane, slope), &bias) in lanes.iter_mut().zip(slopes).zip(biases) {
            for (x, slope) in lane.0.iter_mut().zip(&mut slope.0) {
                (*x, *slope) = f(*x + bias);
            }
        }
    }
    match activation {
        Activation::Gelu => each(lanes, slopes, biases, gelu),
        Activation::Silu => each(lanes, slopes, biases, silu),
        // A function of the rounded a.
        Activation::Sigmoid | Activation::Relu | Activation::Tanh | Activation::LeakyRelu => {
            activate_body(activation, precision, lanes, biases);
            slopes.iter_mut().for_each(|slope| *slope = Lane([1.0; 16]));
            return slope_body(activation, slopes, lanes);
        }
    }
    if precision == Precision::Bf16 {
        round_body(lanes);
    }
}

multiversion! {
    /// a = σ(z + bias), rounded to the precision, in place, and σ'(z).
    pub(crate) fn activate_with_slopes(
        activation: Activation,
        precision: Precision,
        lanes: &mut [Lane],
        slopes: &mut [Lane],
        biases: &[f32],
    ) = activate_with_slopes_body
}

/// δ ← δ ⊙ σ'(z), with σ' from a = σ(z).
#[inline(always)]
fn slope_body(activation: Activation, deltas: &mut [Lane], activations: &[Lane]) {
    #[inline(always)]
    fn each(deltas: &mut [Lane], activations: &[Lane], f: impl Fn(f32, f32) -> f32) {
        for (delta, a) in deltas.iter_mut().zip(activations) {
            for (d, &a) in delta.0.iter_mut().zip(&a.0) {
                *d = f(*d, a);
            }
        }
    }
    match activation {
        Activation::Sigmoid => each(deltas, activations, |d, a| d * (a * (1.0 - a))),
        Activation::Relu => each(deltas, activations, |d, a| if a > 0.0 { d } else { 0.0 }),
        Activation::Tanh => each(deltas, activations, |d, a| d * (1.0 - a * a)),
        Activation::LeakyRelu => {
            each(deltas, activations, |d, a| if a > 0.0 { d } else { d * Activation::LEAK })
        }
        Activation::Gelu | Activation::Silu => unreachable!("their slopes are kept"),
    }
}

/// δ ← δ ⊙ σ'(z). The activations a = σ(z) have overwritten z, so σ' is computed from a alone: see [`Activation`] for
/// the rule, and for an activation that needs z.
#[inline(always)]
fn hidden_delta_body(
    activation: Activation,
    precision: Precision,
    deltas: &mut [Lane],
    activations: &[Lane],
) {
    slope_body(activation, deltas, activations);
    if precision == Precision::Bf16 {
        round_body(deltas);
    }
}

multiversion! {
    /// δ ← δ ⊙ σ'(z), rounded to the precision, in place, with σ' from a = σ(z).
    pub(crate) fn hidden_delta(
        activation: Activation,
        precision: Precision,
        deltas: &mut [Lane],
        activations: &[Lane],
    ) = hidden_delta_body
}

#[inline(always)]
fn scale_body(precision: Precision, lanes: &mut [Lane], factors: &[Lane]) {
    for (lane, factor) in lanes.iter_mut().zip(factors) {
        for (x, &factor) in lane.0.iter_mut().zip(&factor.0) {
            *x *= factor;
        }
    }
    if precision == Precision::Bf16 {
        round_body(lanes);
    }
}

multiversion! {
    /// x ← x · factor, rounded to the precision, lane by lane: deltas by the slopes that the forward pass kept.
    pub(crate) fn scale(precision: Precision, lanes: &mut [Lane], factors: &[Lane]) = scale_body
}

#[inline(always)]
fn scale_samples_body(precision: Precision, lanes: &mut [Lane], factors: Lane) {
    for lane in lanes.iter_mut() {
        for (x, &factor) in lane.0.iter_mut().zip(&factors.0) {
            *x *= factor;
        }
    }
    if precision == Precision::Bf16 {
        round_body(lanes);
    }
}

multiversion! {
    /// x ← x · factor, rounded to the precision, with one factor for each of the 16 samples.
    pub(crate) fn scale_samples(precision: Precision, lanes: &mut [Lane], factors: Lane) = scale_samples_body
}

#[inline(always)]
fn standardize_body(lanes: &mut [Lane], mean: f32, factor: f32) {
    for lane in lanes.iter_mut() {
        for x in &mut lane.0 {
            *x = (*x - mean) * factor;
        }
    }
}

multiversion! {
    /// x ← (x − mean) · factor, for inputs that are all alike.
    pub(crate) fn standardize(lanes: &mut [Lane], mean: f32, factor: f32) = standardize_body
}

/// The dropout of a run of units: see [`drop_units`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drop<'a> {
    /// The keys of the sixteen samples.
    pub(crate) keys: &'a [[u32; 16]; 2],
    /// The number of the first unit among all units of the network, the inputs first.
    pub(crate) first: u32,
    /// A unit stays if its number of 24 bits is not below this.
    pub(crate) threshold: u32,
    /// 1 / (1 − p)
    pub(crate) factor: f32,
}

#[inline(always)]
fn drop_units_body(drop: Drop<'_>, precision: Precision, lanes: &mut [Lane], slopes: Option<&mut [Lane]>) {
    #[inline(always)]
    fn mask(drop: Drop<'_>, unit: usize) -> Lane {
        let mut mask = Lane::ZERO;
        for i in 0..16 {
            let bits = mixed([drop.keys[0][i], drop.keys[1][i]], drop.first.wrapping_add(unit as u32));
            mask.0[i] = if (bits >> 8) >= drop.threshold { drop.factor } else { 0.0 };
        }
        mask
    }
    match slopes {
        Some(slopes) => {
            for (unit, (lane, slope)) in lanes.iter_mut().zip(slopes).enumerate() {
                let mask = mask(drop, unit);
                for i in 0..16 {
                    lane.0[i] *= mask.0[i];
                    slope.0[i] *= mask.0[i];
                }
            }
        }
        None => {
            for (unit, lane) in lanes.iter_mut().enumerate() {
                let mask = mask(drop, unit);
                for i in 0..16 {
                    lane.0[i] *= mask.0[i];
                }
            }
        }
    }
    if precision == Precision::Bf16 {
        round_body(lanes);
    }
}

multiversion! {
    /// Dropout (Srivastava et al. 2014, in its inverted form): multiplies units by 0 with probability p and by 1/(1 − p) otherwise,
    /// rounded to the precision, and likewise their slopes, in place. `lanes` has one lane for each unit.
    pub(crate) fn drop_units(
        drop: Drop<'_>,
        precision: Precision,
        lanes: &mut [Lane],
        slopes: Option<&mut [Lane]>,
    ) = drop_units_body
}

#[inline(always)]
fn argmax_body(lanes: &[Lane], best: &mut [u32; 16]) {
    let mut max = [f32::NEG_INFINITY; 16];
    *best = [0; 16];
    for (o, lane) in lanes.iter().enumerate() {
        for i in 0..16 {
            let better = lane.0[i] > max[i];
            max[i] = if better { lane.0[i] } else { max[i] };
            best[i] = if better { o as u32 } else { best[i] };
        }
    }
}

multiversion! {
    /// The strongest output of each of the 16 samples; of equal ones, the first.
    pub(crate) fn argmax(lanes: &[Lane], best: &mut [u32; 16]) = argmax_body
}

#[inline(always)]
fn squared_norms_body(lanes: &[Lane], sums: &mut [f64; 16]) {
    *sums = [0.0; 16];
    for lane in lanes {
        for (sum, &x) in sums.iter_mut().zip(&lane.0) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
}

multiversion! {
    /// Σ x² over the lanes, for each of the 16 samples.
    pub(crate) fn squared_norms(lanes: &[Lane], sums: &mut [f64; 16]) = squared_norms_body
}

#[inline(always)]
fn add_assign_body(left: &mut [f32], right: &[f32]) {
    for (l, &r) in left.iter_mut().zip(right) {
        *l += r;
    }
}

multiversion! {
    /// left ← left + right: two nodes of the tree become their parent.
    pub fn add_assign(left: &mut [f32], right: &[f32]) = add_assign_body
}

/// The exponent of an `f32`: all ones in NaN and infinity, and in nothing else.
const EXPONENT: u32 = 0x7f80_0000;

/// True if no value is NaN or infinite; `bits` reads the bits of a value.
#[inline(always)]
fn finite<T>(values: &[T], bits: impl Fn(&T) -> u32) -> bool {
    // Blocks, so that the loop inside has no exit and becomes vector code.
    values.chunks(4096).all(|block| {
        let bad = block.iter().fold(0_u32, |bad, x| bad | u32::from(bits(x) & EXPONENT == EXPONENT));
        bad == 0
    })
}

#[inline(always)]
fn all_finite_body(values: &[f32]) -> bool {
    finite(values, |x| x.to_bits())
}

multiversion! {
    /// True if no value is NaN or infinite.
    pub fn all_finite(values: &[f32]) -> bool = all_finite_body
}

#[inline(always)]
fn all_finite_le_body(values: &[[u8; 4]]) -> bool {
    finite(values, |bytes| u32::from_le_bytes(*bytes))
}

multiversion! {
    /// [`all_finite`] for received values: little-endian bytes, at any address.
    pub fn all_finite_le(values: &[[u8; 4]]) -> bool = all_finite_le_body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Isa;

    #[test]
    fn every_value_that_is_not_finite_is_found_wherever_it_is() {
        let mut values = vec![f32::MAX; 2 * 4096 + 1];
        let last = values.len() - 1;
        for isa in Isa::available() {
            let holds = |values: &[f32], finite| {
                // Unaligned, as in a message.
                let bytes: Vec<u8> =
                    [0].into_iter().chain(values.iter().flat_map(|x| x.to_le_bytes())).collect();
                assert_eq!(all_finite(isa, values), finite, "{}", isa.name());
                assert_eq!(all_finite_le(isa, bytes[1..].as_chunks().0), finite, "{}", isa.name());
            };
            holds(&[], true);
            holds(&values, true);
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for at in [0, 1, 4096, last] {
                    values[at] = bad;
                    holds(&values, false);
                    values[at] = f32::MIN_POSITIVE / 2.0;
                }
            }
        }
    }
}
