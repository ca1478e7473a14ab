//! The one place that reads a clock.

use std::time::{Duration, Instant, SystemTime};

/// The date, as this machine believes it to be. It may be wrong, and it may jump: nothing is measured with it.
#[allow(clippy::disallowed_methods)] // this is the one place
pub(crate) fn date() -> SystemTime {
    SystemTime::now()
}

/// Measures time from when it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts at zero.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
