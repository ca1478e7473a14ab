//! How fast each worker is, and from when on it is slower than usual.
//!
//! Speed, for the plan, is a moving average of the computing time per sample, as measured by the worker. If it included
//! transfers, a worker with few samples would seem slow, and get even fewer. A deadline is the median of the worker's
//! recent seconds per sample plus `patience` times their median absolute deviation: what is usual for this worker today,
//! unmoved by a single hiccup.

use std::time::Duration;

/// Weight of the newest measurement in the average.
const NEWEST: f64 = 0.25;

/// Measurements that median and deviation are taken over.
const RECENT: usize = 15;

/// The least deviation, as a fraction of the median: even the most regular worker may be a little late.
const LEAST_DEVIATION: f64 = 0.125;

/// Added to every deadline: a delay that a busy system causes now and then, however short the work.
const GRACE: Duration = Duration::from_millis(50);

/// This many measurements make a median that a single hiccup does not move.
const FEW: usize = 3;

/// The time that a worker may take per unit of patience, until any worker's speed is known.
const UNMEASURED: Duration = Duration::from_secs(2);

/// A worker's recent times.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    average: Option<f64>,
    recent: [f64; RECENT],
    filled: usize,
    oldest: usize,
}

impl Pace {
    /// Records that the worker took `elapsed` for `samples`, and reports `compute` as its computing time; zero if
    /// unknown.
    pub(super) fn record(&mut self, samples: usize, elapsed: Duration, compute: Duration) {
        // Never 0: the clock may stand still and a worker may report anything, but a speed must be finite.
        let per_sample = |time: Duration| (time.as_secs_f64() / samples as f64).max(1e-9);
        let believed = if compute.is_zero() { elapsed } else { compute.clamp(elapsed / 100, elapsed) };
        let seconds = per_sample(believed);
        self.average = Some(self.average.map_or(seconds, |average| average + NEWEST * (seconds - average)));
        let seconds = per_sample(elapsed);
        self.recent[self.oldest] = seconds;
        self.oldest = (self.oldest + 1) % RECENT;
        self.filled = (self.filled + 1).min(RECENT);
    }

    /// Records that the worker has not finished `samples` in `elapsed`, of which about `carrying` went to transfers. It
    /// counts only if the worker is slower than its average.
    pub(super) fn record_unfinished(&mut self, samples: usize, elapsed: Duration, carrying: Duration) {
        let computing = elapsed.saturating_sub(carrying);
        if self.average.is_none_or(|average| computing.as_secs_f64() / samples as f64 > average) {
            self.record(samples, elapsed, computing);
        }
    }

    /// Raises the speed a little, because the worker got no samples and could not be measured: so a worker that was slow
    /// once gets another try.
    pub(super) fn fade(&mut self) {
        if let Some(average) = &mut self.average {
            *average *= 0.98;
        }
    }

    /// Samples a second, once measured.
    pub(super) fn speed(&self) -> Option<f64> {
        self.average.map(|seconds| 1.0 / seconds)
    }

    /// The seconds per sample that this worker should not exceed, once measured.
    fn limit(&self, patience: f64) -> Option<f64> {
        if self.filled == 0 {
            return None;
        }
        let mut times = self.recent;
        let times = &mut times[..self.filled];
        let middle = median(times);
        for time in times.iter_mut() {
            *time = (*time - middle).abs();
        }
        Some(middle + patience * median(times).max(middle * LEAST_DEVIATION))
    }
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// The time that a worker may take for `samples` before another one gets the same work. `typical` is the speed of a
/// similar worker, if any has been measured: it counts while the worker has few measurements of its own, which a single
/// delay may have spoilt.
pub(super) fn allowance(pace: &Pace, typical: Option<f64>, samples: usize, patience: f64) -> Duration {
    let of_its_kind = typical.map(|speed| (1.0 + patience) / speed);
    let seconds = match (pace.limit(patience), of_its_kind) {
        (Some(limit), Some(other)) if pace.filled < FEW => limit.min(other) * samples as f64,
        (Some(limit), _) => limit * samples as f64,
        (None, Some(other)) => other * samples as f64,
        (None, None) => patience * UNMEASURED.as_secs_f64(),
    };
    // A guess can be absurdly long; a day is long enough.
    GRACE + Duration::from_secs_f64(seconds.min(86_400.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(duration: Duration) -> f64 {
        (duration - GRACE).as_secs_f64()
    }

    #[test]
    fn a_deadline_is_the_median_plus_patience_times_the_deviation() {
        let mut pace = Pace::default();
        for ms in [100, 110, 90, 130, 100] {
            pace.record(10, Duration::from_millis(ms), Duration::ZERO);
        }
        // The median is 10 ms a sample; the deviations are 0, 1, 1, 3, 0, of which the median is 1; an eighth of the
        // median is 1.25.
        assert!((seconds(allowance(&pace, None, 10, 4.0)) - 0.150).abs() < 1e-6);
        for ms in [200, 160, 100, 20, 60, 100, 140, 100, 180, 30] {
            pace.record(10, Duration::from_millis(ms), Duration::ZERO);
        }
        // The median of 100 110 90 130 100 200 160 100 20 60 100 140 100 180 30 is 100, and that of the deviations
        // 0 10 10 30 0 100 60 0 80 40 0 40 0 80 70 is 30.
        assert!((seconds(allowance(&pace, None, 20, 4.0)) - 2.0 * 0.220).abs() < 1e-6);
    }

    #[test]
    fn without_measurements_deadlines_are_long() {
        let pace = Pace::default();
        assert!((seconds(allowance(&pace, None, 10, 6.0)) - 12.0).abs() < 1e-6);
        assert!((seconds(allowance(&pace, Some(5.0), 10, 6.0)) - 14.0).abs() < 1e-6);
        assert!(seconds(allowance(&pace, Some(1e-300), 10, 6.0)) <= 86_400.0);
    }

    #[test]
    fn one_hiccup_at_the_beginning_does_not_count() {
        let mut pace = Pace::default();
        pace.record(1, Duration::from_secs(30), Duration::ZERO);
        assert!((seconds(allowance(&pace, Some(5.0), 10, 6.0)) - 14.0).abs() < 1e-6);
        pace.record(1, Duration::from_secs(30), Duration::ZERO);
        pace.record(1, Duration::from_secs(30), Duration::ZERO);
        assert!(seconds(allowance(&pace, Some(5.0), 10, 6.0)) > 300.0, "it is as slow as that");
        let mut quick = Pace::default();
        quick.record(10, Duration::from_millis(10), Duration::ZERO);
        assert!(seconds(allowance(&quick, Some(5.0), 10, 6.0)) < 0.1);
    }

    #[test]
    fn the_average_follows_and_fades() {
        let mut pace = Pace::default();
        assert_eq!(pace.speed(), None);
        for _ in 0..40 {
            pace.record(100, Duration::from_secs(1), Duration::ZERO);
        }
        assert!((pace.speed().unwrap() - 100.0).abs() < 1.0);
        pace.record_unfinished(100, Duration::from_millis(1), Duration::ZERO);
        assert!((pace.speed().unwrap() - 100.0).abs() < 1.0);
        pace.record_unfinished(100, Duration::from_secs(9), Duration::ZERO);
        assert!(pace.speed().unwrap() < 50.0);
        for _ in 0..100 {
            pace.fade();
        }
        assert!(pace.speed().unwrap() > 100.0);
        // The clock stands still.
        pace.record(1, Duration::ZERO, Duration::ZERO);
        assert!(pace.speed().unwrap().is_finite());
    }
}
