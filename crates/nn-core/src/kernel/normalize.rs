//! Layer normalisation (Ba, Kiros and Hinton 2016) of one panel: plain loops that the compiler vectorises over the samples.
//!
//! For one sample and a layer of n units with weighted inputs z:
//!
//! ```text
//! forward    m = Σz / n        v = Σ(z − m)² / n        s = 1/√(v + ε)        x̂ = (z − m)·s        y = γ ⊙ x̂ + β
//! backward   from d = ∂C/∂y:   ∂C/∂γ = d ⊙ x̂           ∂C/∂β = d             g = γ ⊙ d
//!            ∂C/∂z = s·((g − Σg / n) − x̂·(Σ g ⊙ x̂ / n))
//! ```
//!
//! Sums run over the units in ascending order, and every operation is rounded by itself: there is no fused one. All of it is f32 in
//! both precisions; only ∂C/∂z, which is multiplied next, is rounded to the precision.

use super::Lane;
use super::bf16::round_body;
use crate::spec::{Normalization, Precision};

/// What the forward pass keeps of a layer for the backward pass.
pub(crate) struct Kept<'a> {
    /// x̂, one lane a unit.
    pub(crate) normalized: &'a mut [Lane],
    /// s
    pub(crate) inverse: &'a mut Lane,
}

multiversion! {
    /// γ ⊙ x̂ from z − b, in place, one lane a unit. The shift β is left to the activation, which adds it as it does a bias.
    pub(crate) fn normalize(
        lanes: &mut [Lane],
        biases: &[f32],
        gains: &[f32],
        kept: Option<Kept<'_>>,
    ) = normalize_body
}

#[inline(always)]
fn normalize_body(lanes: &mut [Lane], biases: &[f32], gains: &[f32], kept: Option<Kept<'_>>) {
    let n = lanes.len() as f32;
    let mut mean = [0.0_f32; 16];
    for (lane, &bias) in lanes.iter_mut().zip(biases) {
        for i in 0..16 {
            lane.0[i] += bias;
            mean[i] += lane.0[i];
        }
    }
    for mean in &mut mean {
        *mean /= n;
    }
    let mut variance = [0.0_f32; 16];
    for lane in lanes.iter_mut() {
        for i in 0..16 {
            lane.0[i] -= mean[i];
            variance[i] += lane.0[i] * lane.0[i];
        }
    }
    let mut inverse = Lane::ZERO;
    for i in 0..16 {
        inverse.0[i] = inverse_deviation(variance[i] / n);
    }
    let Some(kept) = kept else {
        for (lane, &gain) in lanes.iter_mut().zip(gains) {
            for i in 0..16 {
                lane.0[i] = lane.0[i] * inverse.0[i] * gain;
            }
        }
        return;
    };
    for ((lane, normalized), &gain) in lanes.iter_mut().zip(kept.normalized).zip(gains) {
        for i in 0..16 {
            normalized.0[i] = lane.0[i] * inverse.0[i];
            lane.0[i] = normalized.0[i] * gain;
        }
    }
    *kept.inverse = inverse;
}

/// 1/√(v + ε). A variance that is too large for a number gives NaN: 1/∞ = 0 would hide that the run has diverged.
#[inline(always)]
pub(crate) fn inverse_deviation(variance: f32) -> f32 {
    if variance < f32::INFINITY { 1.0 / (variance + Normalization::EPSILON).sqrt() } else { f32::NAN }
}

/// The numbers of a layer that the backward pass turns into gradients, one lane a unit.
pub(crate) struct Gradients<'a> {
    /// ∂C/∂y, which becomes ∂C/∂z.
    pub(crate) deltas: &'a mut [Lane],
    /// x̂, which becomes ∂C/∂γ.
    pub(crate) gains: &'a mut [Lane],
    /// Becomes ∂C/∂β.
    pub(crate) shifts: &'a mut [Lane],
}

multiversion! {
    /// The gradients of z, γ and β for each sample; that of z is rounded to the precision. `inverse` is s, and `gains` γ.
    pub(crate) fn normalization_gradients(
        precision: Precision,
        lanes: Gradients<'_>,
        inverse: Lane,
        gains: &[f32],
    ) = gradients_body
}

#[inline(always)]
fn gradients_body(precision: Precision, lanes: Gradients<'_>, inverse: Lane, gains: &[f32]) {
    let Gradients { deltas, gains: normalized, shifts } = lanes;
    let n = deltas.len() as f32;
    let (mut mean, mut dot) = ([0.0_f32; 16], [0.0_f32; 16]);
    let units = deltas.iter_mut().zip(&*normalized).zip(shifts.iter_mut()).zip(gains);
    for (((delta, x), shift), &gain) in units {
        for i in 0..16 {
            shift.0[i] = delta.0[i];
            delta.0[i] *= gain;
            mean[i] += delta.0[i];
            dot[i] += delta.0[i] * x.0[i];
        }
    }
    for i in 0..16 {
        mean[i] /= n;
        dot[i] /= n;
    }
    for ((delta, x), shift) in deltas.iter_mut().zip(normalized).zip(shifts) {
        for i in 0..16 {
            delta.0[i] = inverse.0[i] * ((delta.0[i] - mean[i]) - x.0[i] * dot[i]);
            x.0[i] *= shift.0[i];
        }
    }
    if precision == Precision::Bf16 {
        round_body(deltas);
    }
}
