//! The optimizer's arithmetic on a run of parameters, as plain loops that the compiler vectorises.

use crate::spec::Optimizer;

/// The constants of one optimizer step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    pub(crate) optimizer: Optimizer,
    pub(crate) learning_rate: f32,
    /// 1/n, which turns the gradient sum into the mean; times the factor of clipping.
    pub(crate) mean: f32,
    /// λ/n of the L2 penalty; 0 for all parameters but weights.
    pub(crate) l2: f32,
    /// 1 − ηλ of AdamW; 1 for all parameters but weights.
    pub(crate) keep: f32,
    /// η / (1 − β₁ᵗ) of Adam.
    pub(crate) step_size: f32,
    /// 1 / √(1 − β₂ᵗ) of Adam.
    pub(crate) root_correction: f32,
}

multiversion! {
    /// One optimizer step on a run of parameters `w` with gradient sums `g`, first moments (or velocities) `m` and
    /// second moments `v`. Moments that the optimizer does not use are empty.
    pub(crate) fn update(u: Update, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) = update_body
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
