//! The engine's time: the driver's, without its jumps backwards.

use std::time::Duration;

/// Adds up all that the driver's clock has gone back, so that the engine's goes on from where it was. Were its time to
/// stand still until the other has caught up, no deadline would pass meanwhile, and a worker that hangs would hold up
/// everybody for as long as the jump was wide.
#[derive(Debug, Default)]
pub(super) struct Clock {
    seen: Duration,
    lost: Duration,
}

impl Clock {
    /// The engine's time when the driver's clock shows `now`.
    pub(super) fn read(&mut self, now: Duration) -> Duration {
        self.lost = self.lost.saturating_add(self.seen.saturating_sub(now));
        self.seen = now;
        self.at(now)
    }

    /// The same, of a time that the engine need not remember.
    pub(super) fn at(&self, now: Duration) -> Duration {
        now.saturating_add(self.lost)
    }

    /// What the driver's clock showed, or will show, at a time of the engine's.
    pub(super) fn shown(&self, time: Duration) -> Duration {
        time.saturating_sub(self.lost)
    }
}

#[cfg(test)]
#[test]
fn time_goes_on_whatever_the_clock_does() {
    let seconds = Duration::from_secs;
    let mut clock = Clock::default();
    let read: Vec<Duration> = [5, 9, 2, 3, 3, 0, 100].map(|s| clock.read(seconds(s))).into();
    assert_eq!(read, [5, 9, 9, 10, 10, 10, 110].map(seconds));
    assert_eq!(clock.shown(seconds(112)), seconds(102));
    assert_eq!(clock.at(seconds(103)), seconds(113));
    assert_eq!(clock.read(Duration::MAX), Duration::MAX);
}
