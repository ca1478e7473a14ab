//! The speed of a run.

use std::time::Duration;

use crate::clock::Clock;

/// Counts samples and the time spent on training, which is the time since the start less evaluation and log.
pub(super) struct Meter {
    clock: Clock,
    began: Duration,
    /// Time since `began` that was not training.
    aside: Duration,
    samples: u64,
    /// When the epoch began, and the samples before it.
    epoch_began: (Duration, u64),
}

impl Meter {
    /// Starts to measure now.
    pub(super) fn start(clock: Clock) -> Self {
        let began = clock.now();
        Self { clock, began, aside: Duration::ZERO, samples: 0, epoch_began: (began, 0) }
    }

    /// The time since the program started.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Counts the samples of a step.
    pub(super) fn count(&mut self, samples: usize) {
        self.samples += samples as u64;
    }

    /// Samples a second in this epoch, so far.
    pub(super) fn epoch_rate(&self) -> f64 {
        let (began, before) = self.epoch_began;
        per_second(self.samples - before, self.now().saturating_sub(began))
    }

    /// Begins the next epoch. The time since `training_stopped` was spent on evaluation and log.
    pub(super) fn next_epoch(&mut self, training_stopped: Duration) {
        let now = self.now();
        self.aside += now.saturating_sub(training_stopped);
        self.epoch_began = (now, self.samples);
    }

    /// Samples a second of training since the start.
    pub(super) fn rate(&self) -> f64 {
        per_second(self.samples, self.now().saturating_sub(self.began + self.aside))
    }
}

fn per_second(samples: u64, time: Duration) -> f64 {
    samples as f64 / time.as_secs_f64().max(1e-9)
}
