//! The losses of a range test, and what they say about the learning rate.

/// A step of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) rate: f32,
    /// The mean loss of the mini-batch, before the step.
    pub(super) loss: f64,
}

/// The losses of the steps so far.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    steps: Vec<Step>,
    /// Neighbours on each side that a loss is averaged with.
    reach: usize,
    /// The least mean of the newest losses so far.
    least: f64,
}

/// What the curve says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finding {
    /// The rate to train with: the higher of the two that `reason` is about. The loss still falls at both.
    pub(super) suggested: f32,
    pub(super) reason: Reason,
    /// The rate at which the smoothed loss is lowest.
    pub(super) lowest: f32,
    /// The rate at which it falls fastest, over the logarithm of the rate.
    pub(super) steepest: f32,
}

/// Why a rate is suggested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The loss falls fastest there.
    Steepest,
    /// It is a tenth of the rate with the lowest loss.
    TenthOfLowest,
}

/// A mean loss of so many times the least one has exploded.
const EXPLOSION: f64 = 4.0;

/// A loss that falls by less than this fraction of itself has not fallen.
const FALL: f64 = 0.01;

impl Curve {
    /// Before the first of so many steps.
    pub(super) fn new(steps: u64) -> Self {
        // A window of about a twelfth of all steps: half a power of ten of the default range.
        Self { steps: Vec::new(), reach: (steps as usize / 25).max(2), least: f64::INFINITY }
    }

    /// Takes in a step. False once the loss has exploded.
    pub(super) fn push(&mut self, step: Step) -> bool {
        self.steps.push(step);
        let Some(newest) = self.steps.len().checked_sub(self.reach).map(|from| &self.steps[from..]) else {
            return step.loss.is_finite();
        };
        let mean = newest.iter().map(|step| step.loss).sum::<f64>() / newest.len() as f64;
        self.least = self.least.min(mean);
        mean <= EXPLOSION * self.least
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The losses, each averaged with its neighbours: the nearer, the more it counts. What comes later counts as much as what came
    /// before, so the curve is not late.
    pub(super) fn smoothed(&self) -> Vec<f64> {
        let weight = |distance: usize| (self.reach + 1 - distance) as f64;
        (0..self.steps.len())
            .map(|i| {
                let near = i.saturating_sub(self.reach)..self.steps.len().min(i + self.reach + 1);
                let (sum, weights) = near.fold((0.0, 0.0), |(sum, weights), k| {
                    let w = weight(k.abs_diff(i));
                    (sum + w * self.steps[k].loss, weights + w)
                });
                sum / weights
            })
            .collect()
    }

    /// What the curve says; `None` if the loss does not fall at any rate.
    pub(super) fn finding(&self) -> Option<Finding> {
        let smoothed = self.smoothed();
        let lowest = (0..smoothed.len()).min_by(|&a, &b| smoothed[a].total_cmp(&smoothed[b]))?;
        // From its highest point before, since a very low rate only wanders.
        let highest = smoothed[..=lowest].iter().copied().fold(f64::MIN, f64::max);
        let falls = smoothed[lowest] < highest * (1.0 - FALL);
        if !falls {
            return None;
        }
        let span = self.reach.min(lowest);
        let fall = |i: usize| smoothed[i - span] - smoothed[i];
        let steepest = (span..=lowest).max_by(|&a, &b| fall(a).total_cmp(&fall(b)))?;
        let (lowest, steepest) = (self.steps[lowest].rate, self.steps[steepest - span / 2].rate);
        let (suggested, reason) = if steepest > lowest / 10.0 {
            (steepest, Reason::Steepest)
        } else {
            (lowest / 10.0, Reason::TenthOfLowest)
        };
        let [suggested, lowest, steepest] = [suggested, lowest, steepest].map(rounded);
        Some(Finding { suggested, reason, lowest, steepest })
    }
}

/// A rate to two digits: the next mini-batches would give another third.
pub(super) fn rounded(rate: f32) -> f32 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test from 1e-5 to 100 whose losses are a function of the logarithm of the rate.
    fn curve(loss: impl Fn(f64) -> f64) -> (Curve, usize) {
        let steps = 300;
        let mut curve = Curve::new(steps as u64);
        for i in 0..steps {
            let log = -5.0 + 7.0 * i as f64 / (steps - 1) as f64;
            if !curve.push(Step { rate: 10_f64.powf(log) as f32, loss: loss(log) }) {
                return (curve, i + 1);
            }
        }
        (curve, steps)
    }

    #[test]
    fn the_suggestion_is_where_the_loss_falls_fastest_or_a_tenth_of_where_it_is_lowest() {
        // Falls from 2 to 0.5 around the middle, is lowest after it, and explodes.
        for (middle, lowest, reason) in [(-1.5, -0.3, Reason::TenthOfLowest), (-0.8, 0.04, Reason::Steepest)]
        {
            let loss =
                |log: f64| 2.0 - 1.5 / (1.0 + (-4.0 * (log - middle)).exp()) + (4.0 * (log - 0.8)).exp();
            let noisy = |log: f64| loss(log) + 0.05 * (log * 9e4).sin();
            for (loss, tolerance) in [(&loss as &dyn Fn(f64) -> f64, 1.2), (&noisy, 2.0)] {
                let (curve, steps) = curve(loss);
                assert!((200..290).contains(&steps), "{steps}");
                let found = curve.finding().unwrap();
                let near = |rate: f32, log: f64| {
                    let want = 10_f64.powf(log);
                    let rate = f64::from(rate);
                    (rate / want).max(want / rate) < tolerance
                };
                assert!(near(found.lowest, lowest) && near(found.steepest, middle), "{found:?}");
                let suggested = if reason == Reason::Steepest { middle } else { lowest - 1.0 };
                assert!(near(found.suggested, suggested) && found.reason == reason, "{found:?}");
            }
        }
    }

    #[test]
    fn a_loss_that_does_not_fall_gives_no_suggestion() {
        assert_eq!(curve(|_| 1.0).0.finding(), None);
        assert_eq!(curve(|log| 1.0 + (log + 5.0) * 0.01).0.finding(), None);
        assert_eq!(curve(|log| 1.0 - 1e-3 * log).0.finding(), None);
        assert_eq!(Curve::new(300).finding(), None);
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_test() {
        assert_eq!(curve(|log| if log < -4.0 { 1.0 } else { f64::NAN }).1, 44);
        assert_eq!(curve(|_| f64::INFINITY).1, 1);
    }

    #[test]
    fn smoothing_keeps_a_line_where_it_is() {
        let (curve, _) = curve(|log| 10.0 - log);
        let smoothed = curve.smoothed();
        for (smoothed, step) in smoothed.iter().zip(curve.steps()).skip(12).take(270) {
            assert!((smoothed - step.loss).abs() < 1e-9);
        }
    }

    #[test]
    fn rates_have_two_digits() {
        assert_eq!([0.012_345, 3.0, 9.96, 123.4].map(rounded), [0.012, 3.0, 10.0, 120.0]);
    }
}
