//! The engine's time: the driver's time without its jumps.

use std::time::Duration;

/// A driver sends ticks much more often than this. After a longer gap between events it was the coordinator that stood
/// still: its process was suspended, its machine slept, an evaluation kept it busy, or its clock was set forward. Such a
/// gap must not make a worker seem silent, overdue or slow, least of all before the coordinator has read what the worker
/// sent meanwhile.
const AWAY: Duration = Duration::from_millis(500);

/// The part of a longer gap that still counts, so that time passes even for a driver that rarely ticks.
const COUNTS: Duration = Duration::from_millis(50);

/// Takes absences out of the driver's time, and adds up how far its clock has been set back. If the engine's time stood
/// still until a clock that was set back has caught up, no deadline would pass meanwhile, and a hanging worker would
/// hold everybody up for the length of the jump.
#[derive(Debug, Default)]
pub(super) struct Clock {
    seen: Option<Duration>,
    back: Duration,
    away: Duration,
}

impl Clock {
    /// The engine's time when the driver's clock shows `now`.
    pub(super) fn read(&mut self, now: Duration) -> Duration {
        if let Some(seen) = self.seen {
            self.back = self.back.saturating_add(seen.saturating_sub(now));
            let gap = now.saturating_sub(seen);
            if gap > AWAY {
                self.away = self.away.saturating_add(gap - COUNTS);
            }
        }
        self.seen = Some(now);
        self.at(now)
    }

    /// As [`Clock::read`], without moving the engine's time.
    pub(super) fn at(&self, now: Duration) -> Duration {
        now.saturating_add(self.back).saturating_sub(self.away)
    }

    /// The driver's time at a time of the engine.
    pub(super) fn shown(&self, time: Duration) -> Duration {
        time.saturating_add(self.away).saturating_sub(self.back)
    }

    /// The time of the latest reading, absences included.
    pub(super) fn wall(&self) -> Duration {
        self.seen.unwrap_or_default().saturating_add(self.back)
    }
}

#[cfg(test)]
#[test]
fn time_advances_whatever_the_clock_does() {
    let millis = Duration::from_millis;
    let mut clock = Clock::default();
    let read: Vec<Duration> =
        [5000, 5400, 5200, 5300, 5300, 0, 500, 100_500, 100_501].map(|ms| clock.read(millis(ms))).into();
    assert_eq!(read, [5000, 5400, 5400, 5500, 5500, 5500, 6000, 6050, 6051].map(millis));
    assert_eq!(clock.shown(millis(6061)), millis(100_511));
    assert_eq!(clock.at(millis(100_511)), millis(6061));
    assert_eq!(clock.wall(), millis(106_001));
    clock.read(Duration::MAX);
    assert_eq!(clock.read(Duration::ZERO), clock.read(Duration::ZERO));
}
