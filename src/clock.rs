//! The only code in this crate that reads a clock.

use std::time::{Duration, Instant, SystemTime};

/// The date according to this machine. It may be wrong and may jump, so never measure time with it.
#[allow(clippy::disallowed_methods)] // the exception that this file exists for
pub(crate) fn date() -> SystemTime {
    SystemTime::now()
}

/// A stopwatch, which starts when it is created.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts a stopwatch at zero.
    #[allow(clippy::disallowed_methods)] // the exception that this file exists for
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
