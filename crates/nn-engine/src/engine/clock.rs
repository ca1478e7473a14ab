//! The engine's time: the driver's, without its jumps.

use std::time::Duration;

/// A driver sends ticks much more often than this. After a longer time without any event it was the coordinator that was
/// not there: its process stood still, its machine slept, an evaluation kept it busy, or its clock was set forward.
/// Workers must not be judged by such a time, neither as silent or overdue nor as slow, least of all before what they
/// have sent meanwhile is read.
const AWAY: Duration = Duration::from_millis(500);

/// As much of it counts all the same, so that even a driver that rarely ticks gets on.
const COUNTS: Duration = Duration::from_millis(50);

/// Takes absences out of the driver's time, and adds up what its clock has gone back. Were the engine's time to stand
/// still until a clock that was set back has caught up, no deadline would pass meanwhile, and a worker that hangs would
/// hold up everybody for as long as the jump was wide.
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

    /// The same, of a time that the engine need not remember.
    pub(super) fn at(&self, now: Duration) -> Duration {
        now.saturating_add(self.back).saturating_sub(self.away)
    }

    /// What the driver's clock showed, or will show, at a time of the engine's.
    pub(super) fn shown(&self, time: Duration) -> Duration {
        time.saturating_add(self.away).saturating_sub(self.back)
    }

    /// The time when it was last read, absences included.
    pub(super) fn wall(&self) -> Duration {
        self.seen.unwrap_or_default().saturating_add(self.back)
    }
}

#[cfg(test)]
#[test]
fn time_goes_on_whatever_the_clock_does() {
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
