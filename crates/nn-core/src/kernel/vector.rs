//! Element-by-element work: plain loops that the compiler vectorises for each instruction set.

use super::Lane;
use crate::math;
use crate::spec::{Activation, Cost, Optimizer, Output};

/// z + bias → activation, for the lanes of one layer in one panel (one lane and one bias a neuron).
#[inline(always)]
fn activate_body(activation: Activation, lanes: &mut [Lane], biases: &[f32]) {
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
    }
}

multiversion! {
    /// z + bias → activation, in place.
    pub(crate) fn activate(activation: Activation, lanes: &mut [Lane], biases: &[f32]) = activate_body
}

/// δ ← δ ⊙ σ'(z), with σ' from the activations a = σ(z).
#[inline(always)]
fn hidden_delta_body(activation: Activation, deltas: &mut [Lane], activations: &[Lane]) {
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
    }
}

multiversion! {
    /// δ ← δ ⊙ σ'(z), in place.
    pub(crate) fn hidden_delta(activation: Activation, deltas: &mut [Lane], activations: &[Lane]) = hidden_delta_body
}

/// The output layer of one panel: z (in `lanes`) + bias → activations (in place), the loss of each of the 16 samples
/// (without the cost's average over n), and, where asked for, δ^L. `targets` has one lane an output.
///
/// The losses are computed from z, so that a saturated output gives a large loss and not an infinite one.
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
                // −[y ln a + (1−y) ln(1−a)] = max(z, 0) − z·y + ln(1 + e^−|z|)
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
            for lane in lanes.iter_mut() {
                for z in &mut lane.0 {
                    *z = math::sigmoid(*z);
                }
            }
        }
        Output::Softmax => {
            let mut max = [f32::NEG_INFINITY; 16];
            for lane in lanes.iter() {
                for (m, &z) in max.iter_mut().zip(&lane.0) {
                    // NaN is taken too, so that it spreads.
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
            for lane in lanes.iter_mut() {
                for (a, &s) in lane.0.iter_mut().zip(&sum) {
                    *a /= s;
                }
            }
            if cost == Cost::CrossEntropy {
                // −ln a_y = ln Σ e^(z−m) − (z_y − m)
                for i in 0..16 {
                    losses[i] = f64::from(math::ln(sum[i])) - f64::from(chosen[i]);
                }
            }
        }
    }
    if cost == Cost::Mse {
        for (lane, target) in lanes.iter().zip(targets) {
            for i in 0..16 {
                let error = f64::from(lane.0[i] - target.0[i]);
                losses[i] += error * error;
            }
        }
        for loss in losses.iter_mut() {
            *loss *= 0.5;
        }
    }
    let Some(deltas) = deltas else { return };
    match (cost, output) {
        // δ = a − y, where the cost's gradient cancels the derivative of the output function.
        (Cost::CrossEntropy, _) | (Cost::Mse, Output::Linear) => {
            for ((delta, a), y) in deltas.iter_mut().zip(lanes.iter()).zip(targets) {
                for i in 0..16 {
                    delta.0[i] = a.0[i] - y.0[i];
                }
            }
        }
        // δ = (a − y)·a·(1 − a)
        (Cost::Mse, Output::Sigmoid) => {
            for ((delta, a), y) in deltas.iter_mut().zip(lanes.iter()).zip(targets) {
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
            for ((delta, a), y) in deltas.iter_mut().zip(lanes.iter()).zip(targets) {
                for i in 0..16 {
                    delta.0[i] = a.0[i] * ((a.0[i] - y.0[i]) - dot[i]);
                }
            }
        }
    }
}

multiversion! {
    /// The output layer's activations, losses and, where asked for, deltas, for one panel.
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
    /// The strongest output of each of the 16 samples; the first of several equal ones.
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

#[inline(always)]
fn all_finite_body(values: &[f32]) -> bool {
    // Blocks, so that the loop inside has no exit and becomes vector code.
    values.chunks(4096).all(|block| {
        let bad =
            block.iter().fold(0_u32, |bad, x| bad | u32::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000));
        bad == 0
    })
}

multiversion! {
    /// True if no value is NaN or infinite.
    pub fn all_finite(values: &[f32]) -> bool = all_finite_body
}

/// The constants of one optimizer step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    pub(crate) optimizer: Optimizer,
    pub(crate) learning_rate: f32,
    /// 1/n, which makes the mean of the root sum.
    pub(crate) mean: f32,
    /// λ/n of the L2 penalty; 0 for biases.
    pub(crate) l2: f32,
    /// 1 − ηλ of AdamW; 1 for biases.
    pub(crate) keep: f32,
    /// η / (1 − β₁ᵗ) of Adam.
    pub(crate) step_size: f32,
    /// 1 / √(1 − β₂ᵗ) of Adam.
    pub(crate) root_correction: f32,
}

#[inline(always)]
fn update_body(u: Update, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let rate = -u.learning_rate;
    // The mean gradient with its penalty: g/n + (λ/n)w.
    let gradient = |sum: f32, w: f32| u.l2.mul_add(w, sum * u.mean);
    match u.optimizer {
        Optimizer::Sgd => {
            for (w, &g) in w.iter_mut().zip(g) {
                *w = rate.mul_add(gradient(g, *w), *w);
            }
        }
        Optimizer::Momentum { momentum } => {
            for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
                *m = momentum.mul_add(*m, gradient(g, *w));
                *w = rate.mul_add(*m, *w);
            }
        }
        Optimizer::Nesterov { momentum } => {
            for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
                let g = gradient(g, *w);
                *m = momentum.mul_add(*m, g);
                *w = rate.mul_add(momentum.mul_add(*m, g), *w);
            }
        }
        Optimizer::Adam { beta1, beta2, epsilon } | Optimizer::AdamW { beta1, beta2, epsilon, .. } => {
            for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let g = gradient(g, *w);
                *m = beta1.mul_add(*m, (1.0 - beta1) * g);
                *v = beta2.mul_add(*v, (1.0 - beta2) * (g * g));
                let root = v.sqrt().mul_add(u.root_correction, epsilon);
                *w = (-u.step_size).mul_add(*m / root, *w * u.keep);
            }
        }
    }
}

multiversion! {
    /// One optimizer step on a run of parameters `w` with gradient sums `g`, first moments (or velocities) `m` and
    /// second moments `v`, as far as the optimizer has them.
    pub(crate) fn update(u: Update, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) = update_body
}
