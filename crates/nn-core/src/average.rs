//! The exponential moving average of the weights, which many a run has for its model (Polyak and Juditsky 1992 for the idea;
//! PyTorch's `AveragedModel` with `get_ema_avg_fn`).
//!
//! It starts as the initial weights. After each step a ← d·a + (1 − d)·w, w being the weights after the step. t counts the steps
//! before it, from 0, and
//!
//! ```text
//! d = min(X, (1 + t)/(10 + t)).
//! ```
//!
//! That is TensorFlow's `ExponentialMovingAverage` with `num_updates`. Without the second term, a run would have Xᵗ of its initial
//! weights in its average: with X = 0.999, 87 % of them after 144 steps. Its first evaluations would be of those, and early
//! stopping would choose by them. With it the average is over about the last tenth of the steps, until 1/(1 − X) is less. There is
//! no other correction of the beginning.
//!
//! A round counts as its sequential steps: after one of h steps, t of them before it, d is min(X, (1 + t)/(10 + t))ʰ. So X means the
//! same with rounds and without.
//!
//! The definition to the bit is in [`reference::train`](crate::reference::train): d in f64, 1 − d rounded to f32 once, and
//! a ← a + (1 − d)(w − a) in f32 with one fused multiply-add. Written so, an average of equal weights is those weights.

use crate::compute::Compute;
use crate::kernel::average::approach;
use crate::math::power;

/// A moving average of the parameters.
#[derive(Debug, Clone)]
pub struct Average {
    /// X
    decay: f32,
    values: Vec<f32>,
}

impl Average {
    /// The average before the first step, with X = `decay`: the initial parameters.
    #[must_use]
    pub fn new(decay: f32, params: &[f32]) -> Self {
        Self { decay, values: params.to_vec() }
    }

    /// The averages, in the order of the parameters.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same, to restore them from a checkpoint.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Takes in the parameters after a step, or after a round of `steps` sequential steps, `before` of which came before it.
    pub fn take_in(&mut self, compute: &Compute, params: &[f32], before: u64, steps: u64) {
        let rate = rate(self.decay, before, steps);
        compute.threads.for_each_block(&mut self.values, |from, average| {
            approach(compute.isa, rate, &params[from..from + average.len()], average);
        });
    }
}

/// 1 − d
fn rate(decay: f32, before: u64, steps: u64) -> f32 {
    let t = before as f64;
    let decay = f64::from(decay).min((1.0 + t) / (10.0 + t));
    (1.0 - power(decay, steps)) as f32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernel::Isa;
    use crate::threads::Threads;

    #[test]
    fn the_average_forgets_the_beginning() {
        assert_eq!(rate(0.999, 0, 1), 0.9);
        assert_eq!(rate(0.999, 90, 1), 0.09);
        assert_eq!(rate(0.5, 1_000_000, 1), 0.5);
        assert!((rate(0.999, 1_000_000, 1) - 0.001).abs() < 1e-7);
        assert!((rate(0.999, 1_000_000, 100) - 0.0952).abs() < 1e-4);
        assert_eq!(rate(0.9, 0, 64), 1.0);
    }

    #[test]
    fn any_instruction_set_and_threads_give_the_same_bits() {
        let number = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5;
        let n = 300_001_u32;
        let start: Vec<f32> = (0..n).map(number).collect();
        let steps: Vec<Vec<f32>> = (1..4).map(|s| (0..n).map(|i| number(i + s * 977)).collect()).collect();
        let mut want = start.clone();
        for (t, params) in (0..).zip(&steps) {
            for (a, w) in want.iter_mut().zip(params) {
                *a = rate(0.2, t, 1).mul_add(w - *a, *a);
            }
        }
        for isa in Isa::available() {
            for count in [1, 2, 3, 8] {
                let compute = Compute { isa, threads: Arc::new(Threads::new(count).unwrap()) };
                let mut average = Average::new(0.2, &start);
                for (t, params) in (0..).zip(&steps) {
                    average.take_in(&compute, params, t, 1);
                }
                assert!(average.values() == want, "{} on {count} threads", isa.name());
            }
        }
        // What does not change is its own average, to the bit.
        let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).unwrap()) };
        let mut average = Average::new(0.9, &start);
        (0..5).for_each(|t| average.take_in(&compute, &start, t, 3));
        assert_eq!(average.values(), start);
    }
}
