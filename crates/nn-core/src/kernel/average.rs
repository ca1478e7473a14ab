//! The arithmetic of the weights' moving average, as a plain loop that the compiler vectorises.

multiversion! {
    /// a ← a + r(w − a)
    pub(crate) fn approach(rate: f32, params: &[f32], average: &mut [f32]) = approach_body
}

#[inline(always)]
fn approach_body(rate: f32, params: &[f32], average: &mut [f32]) {
    for (a, &w) in average.iter_mut().zip(params) {
        *a = rate.mul_add(w - *a, *a);
    }
}
