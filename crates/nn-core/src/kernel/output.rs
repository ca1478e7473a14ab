//! The output layer: activations, losses and deltas of one panel, as plain loops that the compiler vectorises.
//!
//! Cross-entropy is computed from z, so that a saturated output gives a large loss rather than an infinite one.

use super::Lane;
use crate::math;
use crate::spec::{Cost, Output};

multiversion! {
    /// Computes the output layer of one panel: z (in `lanes`) + bias → activations, in place; the loss of each of the
    /// 16 samples, without the cost's average over n; and δᴸ if `deltas` is given. `targets` has one lane an output.
    pub(crate) fn output_layer(
        output: Output,
        cost: Cost,
        lanes: &mut [Lane],
        biases: &[f32],
        targets: &[Lane],
        losses: &mut [f64; 16],
        deltas: Option<&mut [Lane]>,
    ) = output_body
}

#[inline(always)]
fn output_body(
    output: Output,
    cost: Cost,
    lanes: &mut [Lane],
    biases: &[f32],
    targets: &[Lane],
    losses: &mut [f64; 16],
    deltas: Option<&mut [Lane]>,
) {
    for (lane, &bias) in lanes.iter_mut().zip(biases) {
        for z in &mut lane.0 {
            *z += bias;
        }
    }
    *losses = [0.0; 16];
    match output {
        Output::Linear => {}
        Output::Sigmoid => {
            if cost == Cost::CrossEntropy {
                binary_cross_entropy(lanes, targets, losses);
            }
            sigmoid(lanes);
        }
        Output::Softmax => softmax(cost, lanes, targets, losses),
    }
    if cost == Cost::Mse {
        half_squared_errors(lanes, targets, losses);
    }
    if cost == Cost::Huber {
        huber(lanes, targets, losses);
    }
    if let Some(deltas) = deltas {
        output_delta(output, cost, lanes, targets, deltas);
    }
}

/// a = σ(z), in place.
#[inline(always)]
fn sigmoid(lanes: &mut [Lane]) {
    for lane in lanes {
        for z in &mut lane.0 {
            *z = math::sigmoid(*z);
        }
    }
}

/// Adds to each loss Σ −[y ln a + (1−y) ln(1−a)] = Σ max(z, 0) − z·y + ln(1 + e^−|z|), from z.
#[inline(always)]
fn binary_cross_entropy(lanes: &[Lane], targets: &[Lane], losses: &mut [f64; 16]) {
    for (lane, target) in lanes.iter().zip(targets) {
        let mut terms = [0.0_f32; 16];
        for (term, (&z, &y)) in terms.iter_mut().zip(lane.0.iter().zip(&target.0)) {
            let positive = if z < 0.0 { 0.0 } else { z };
            *term = (positive - z * y) + math::ln(1.0 + math::exp(-z.abs()));
        }
        for (loss, &term) in losses.iter_mut().zip(&terms) {
            *loss += f64::from(term);
        }
    }
}

/// a = eᶻ / Σ eᶻ, in place, with m = max z subtracted first; with cross-entropy also the loss,
/// −ln a_y = ln Σ e^(z−m) − (z_y − m).
#[inline(always)]
fn softmax(cost: Cost, lanes: &mut [Lane], targets: &[Lane], losses: &mut [f64; 16]) {
    let mut max = [f32::NEG_INFINITY; 16];
    for lane in lanes.iter() {
        for (m, &z) in max.iter_mut().zip(&lane.0) {
            // NaN counts as greater, so that it spreads.
            *m = if z <= *m { *m } else { z };
        }
    }
    let mut sum = [0.0_f32; 16];
    let mut chosen = [0.0_f32; 16];
    for (lane, target) in lanes.iter_mut().zip(targets) {
        for i in 0..16 {
            let shifted = lane.0[i] - max[i];
            chosen[i] = target.0[i].mul_add(shifted, chosen[i]);
            lane.0[i] = math::exp(shifted);
            sum[i] += lane.0[i];
        }
    }
    for lane in lanes {
        for (a, &s) in lane.0.iter_mut().zip(&sum) {
            *a /= s;
        }
    }
    if cost == Cost::CrossEntropy {
        for i in 0..16 {
            losses[i] = f64::from(math::ln(sum[i])) - f64::from(chosen[i]);
        }
    }
}

/// ½‖y − a‖² for each sample.
#[inline(always)]
fn half_squared_errors(lanes: &[Lane], targets: &[Lane], losses: &mut [f64; 16]) {
    for (lane, target) in lanes.iter().zip(targets) {
        for i in 0..16 {
            let error = f64::from(lane.0[i] - target.0[i]);
            losses[i] += error * error;
        }
    }
    for loss in losses {
        *loss *= 0.5;
    }
}

/// Σ e²/2 for errors up to 1, and |e| − ½ beyond, for each sample.
#[inline(always)]
fn huber(lanes: &[Lane], targets: &[Lane], losses: &mut [f64; 16]) {
    for (lane, target) in lanes.iter().zip(targets) {
        for i in 0..16 {
            let error = f64::from(lane.0[i] - target.0[i]);
            losses[i] += if error.abs() > 1.0 { error.abs() - 0.5 } else { 0.5 * (error * error) };
        }
    }
}

/// δᴸ = ∇ₐC ⊙ σ'(zᴸ), from the activations.
#[inline(always)]
fn output_delta(output: Output, cost: Cost, lanes: &[Lane], targets: &[Lane], deltas: &mut [Lane]) {
    let neurons = deltas.iter_mut().zip(lanes).zip(targets);
    match (cost, output) {
        // δ = a − y: the cost's gradient cancels the derivative of the output function.
        (Cost::CrossEntropy, _) | (Cost::Mse, Output::Linear) => {
            for ((delta, a), y) in neurons {
                for i in 0..16 {
                    delta.0[i] = a.0[i] - y.0[i];
                }
            }
        }
        // δ = a − y, but no larger than 1. Comparisons, because `min` would swallow NaN.
        (Cost::Huber, _) => {
            for ((delta, a), y) in neurons {
                for i in 0..16 {
                    let error = a.0[i] - y.0[i];
                    let error = if error > 1.0 { 1.0 } else { error };
                    delta.0[i] = if error < -1.0 { -1.0 } else { error };
                }
            }
        }
        // δ = (a − y)·a·(1 − a)
        (Cost::Mse, Output::Sigmoid) => {
            for ((delta, a), y) in neurons {
                for i in 0..16 {
                    delta.0[i] = (a.0[i] - y.0[i]) * (a.0[i] * (1.0 - a.0[i]));
                }
            }
        }
        // δ_j = a_j·((a_j − y_j) − Σ_k (a_k − y_k)·a_k)
        (Cost::Mse, Output::Softmax) => {
            let mut dot = [0.0_f32; 16];
            for (a, y) in lanes.iter().zip(targets) {
                for i in 0..16 {
                    dot[i] = (a.0[i] - y.0[i]).mul_add(a.0[i], dot[i]);
                }
            }
            for ((delta, a), y) in neurons {
                for i in 0..16 {
                    delta.0[i] = a.0[i] * ((a.0[i] - y.0[i]) - dot[i]);
                }
            }
        }
    }
}
