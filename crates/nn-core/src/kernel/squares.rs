//! Sums of squares, in f64, and the scaling of what is too long.

/// Sums side by side, so that they fit the registers of every processor as they are.
const LANES: usize = 16;

#[inline(always)]
fn squares_body(values: &[f32]) -> f64 {
    // The square of an f32 is exact in f64, so it does not matter whether it is added by a fused multiply-add.
    let add = |sum: &mut f64, x: &f32| *sum += f64::from(*x) * f64::from(*x);
    let mut sums = [0.0_f64; LANES];
    let (lanes, rest) = values.as_chunks::<LANES>();
    for lane in lanes {
        for (sum, x) in sums.iter_mut().zip(lane) {
            add(sum, x);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        add(sum, x);
    }
    sums.iter().fold(0.0, |all, sum| all + sum)
}

multiversion! {
    /// Σx²: number i goes to sum i mod 16, in ascending order, and the sums are added in order.
    pub(crate) fn squares(values: &[f32]) -> f64 = squares_body
}

#[inline(always)]
fn scale_body(factor: f32, values: &mut [f32]) {
    for x in values {
        *x *= factor;
    }
}

multiversion! {
    /// x ← factor · x
    pub(crate) fn scale(factor: f32, values: &mut [f32]) = scale_body
}
