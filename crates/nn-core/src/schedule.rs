//! The learning rate over the steps of a run.

use crate::math::power;
use crate::spec::{Schedule, ScheduleShape};

/// The schedule's multiplier of the learning rate for step `step` (counted from 0) of a run of `epochs` epochs of
/// `steps_per_epoch` steps.
///
/// During the warm-up it is (step + 1)/warmup_steps. The cosine runs over the steps after the warm-up, and the line of
/// [`ScheduleShape::Wsd`] over the last steps of all. [`ScheduleShape::OneCycle`] is PyTorch's `OneCycleLR` with two phases and
/// `anneal_strategy="cos"`; a run of which less than one step rises begins at the full rate.
#[must_use]
pub fn rate_multiplier(schedule: &Schedule, step: u64, steps_per_epoch: u64, epochs: u32) -> f64 {
    if step < schedule.warmup_steps {
        return (step + 1) as f64 / schedule.warmup_steps as f64;
    }
    match schedule.shape {
        // The drops of a plateau come on top of this.
        ScheduleShape::Constant | ScheduleShape::Plateau { .. } => 1.0,
        ScheduleShape::Step { every_epochs, factor } => {
            power(f64::from(factor), step / steps_per_epoch / u64::from(every_epochs))
        }
        ScheduleShape::Cosine { floor } => {
            let floor = f64::from(floor);
            let total = u64::from(epochs).saturating_mul(steps_per_epoch);
            let rest = total.saturating_sub(schedule.warmup_steps).max(1);
            let done = (step - schedule.warmup_steps).min(rest) as f64 / rest as f64;
            between(1.0, floor, done)
        }
        ScheduleShape::Wsd { decay } => {
            let total = u64::from(epochs).saturating_mul(steps_per_epoch).max(1);
            let left = total.saturating_sub(step) as f64 / total as f64;
            (left / f64::from(decay)).min(1.0)
        }
        ScheduleShape::OneCycle { rise, divisor, final_divisor } => {
            let total = u64::from(epochs).saturating_mul(steps_per_epoch).max(1);
            let last = (total - 1) as f64;
            // The step with the full rate, which need not be whole. PyTorch's is below 0 if less than one step rises.
            let peak = (f64::from(rise) * total as f64 - 1.0).max(0.0);
            let first = 1.0 / f64::from(divisor);
            let step = (step as f64).min(last);
            if step <= peak {
                between(first, 1.0, if peak > 0.0 { step / peak } else { 1.0 })
            } else {
                between(1.0, first / f64::from(final_divisor), (step - peak) / (last - peak))
            }
        }
    }
}

/// The learning rates of a range test (Smith 2015): from `low` up to `high` over `steps` steps, each the same multiple of the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangeTest {
    /// The rate of the first step; positive.
    pub low: f32,
    /// The rate of the last step; positive.
    pub high: f32,
    /// The steps, at least 2.
    pub steps: u64,
}

impl RangeTest {
    /// The rate of a step, counted from 0.
    #[must_use]
    pub fn rate(&self, step: u64) -> f32 {
        let way = step as f64 / (self.steps.max(2) - 1) as f64;
        let low = f64::from(self.low);
        (low * libm::exp(way * libm::log(f64::from(self.high) / low))) as f32
    }
}

/// The point at `way` from 0 to 1 along half a cosine.
fn between(from: f64, to: f64, way: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + libm::cos(core::f64::consts::PI * way))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_of_a_range_test_rise_by_the_same_multiple() {
        let test = RangeTest { low: 1e-4, high: 10.0, steps: 6 };
        let rates: Vec<f32> = (0..6).map(|step| test.rate(step)).collect();
        for (rate, want) in rates.iter().zip([1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]) {
            assert!((rate / want - 1.0).abs() < 1e-6, "{rates:?}");
        }
    }
}
