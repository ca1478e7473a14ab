//! The arithmetic of a round's outer step on a run of parameters, as plain loops that the compiler vectorises.

multiversion! {
    /// v ← μv + ḡ and x ← x − ν(ḡ + μv), ḡ being the mean of the sums.
    pub(crate) fn nesterov(learning_rate: f32, momentum: f32, mean: f32, sums: &[f32], v: &mut [f32], x: &mut [f32]) = nesterov_body
}

#[inline(always)]
fn nesterov_body(learning_rate: f32, momentum: f32, mean: f32, sums: &[f32], v: &mut [f32], x: &mut [f32]) {
    for ((&sum, v), x) in sums.iter().zip(v).zip(x) {
        let g = sum * mean;
        *v = momentum.mul_add(*v, g);
        *x = (-learning_rate).mul_add(momentum.mul_add(*v, g), *x);
    }
}

multiversion! {
    /// Ŵ ← Ŵ + D, and the residual is what D does not say of x.
    pub(crate) fn settle(x: &[f32], d: &[f32], params: &mut [f32], residual: &mut [f32]) = settle_body
}

#[inline(always)]
fn settle_body(x: &[f32], d: &[f32], params: &mut [f32], residual: &mut [f32]) {
    for (((&x, &d), w), r) in x.iter().zip(d).zip(params).zip(residual) {
        *w += d;
        *r = x - d;
    }
}
