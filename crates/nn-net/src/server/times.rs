//! How the time of a run's steps is spent, as seen by the coordinator.

use std::collections::BTreeMap;
use std::time::Duration;

use nn_engine::WorkerId;

/// The time and traffic of a run's steps. The times, but for `work`, add up to the time that the steps took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Steps done.
    pub steps: u64,
    /// The slowest worker of each step was computing, according to its own report.
    pub compute: Duration,
    /// All workers together were computing: what one of them would have computed alone. It is not a part of the steps' time.
    pub work: Duration,
    /// The engine checked, reduced and stepped, and weights were encoded as messages.
    pub reduce: Duration,
    /// There were not enough workers for a step.
    pub wait: Duration,
    /// The observer was busy, with evaluation and metrics, after workers had finished computing.
    pub observe: Duration,
    /// The rest: gradients and weights were in transit, or threads were waking up.
    pub wire: Duration,
    /// Bytes sent on the streams of workers, of all kinds.
    pub bytes_sent: u64,
    /// Bytes of gradients received from workers.
    pub bytes_received: u64,
}

/// Adds up [`Times`] step by step. Time that overlaps with computing counts as computing.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    pub(super) total: Times,
    /// When the last step ended, or the run began.
    since: Duration,
    /// Since when no worker has anything to compute.
    idle: Option<Duration>,
    reduce: Duration,
    wait: Duration,
    observe: Duration,
    computed: BTreeMap<WorkerId, Duration>,
}

impl Stopwatch {
    pub(super) fn start(now: Duration) -> Self {
        Self { since: now, idle: Some(now), ..Self::default() }
    }

    /// A worker was given something to compute.
    pub(super) fn assigned(&mut self, now: Duration) {
        if let Some(idle) = self.idle.take() {
            self.wait += now.saturating_sub(idle);
        }
    }

    /// A worker reports the time that it took to compute a node.
    pub(super) fn computed(&mut self, worker: WorkerId, time: Duration) {
        let all = self.computed.entry(worker).or_default();
        *all = all.saturating_add(time);
    }

    /// The driver was busy with the engine and with messages.
    pub(super) fn handled(&mut self, time: Duration) {
        self.reduce += time;
    }

    /// The observer was at work.
    pub(super) fn observed(&mut self, time: Duration) {
        self.observe += time;
    }

    /// A step is done; `assigned` if nodes of the next one already are.
    pub(super) fn step_done(&mut self, now: Duration, assigned: bool) {
        let mut left = now.saturating_sub(self.since);
        // Nobody computes for longer than the step takes, whatever it claims.
        self.total.work += self.computed.values().map(|&time| time.min(left)).sum::<Duration>();
        let mut take = |time: Duration| {
            let taken = time.min(left);
            left -= taken;
            taken
        };
        self.total.wait += take(self.wait);
        self.total.compute += take(self.computed.values().max().copied().unwrap_or_default());
        self.total.observe += take(self.observe);
        self.total.reduce += take(self.reduce);
        self.total.wire += left;
        self.total.steps += 1;
        self.since = now;
        self.idle = (!assigned).then_some(now);
        (self.reduce, self.wait, self.observe) = Default::default();
        self.computed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_step_add_up() {
        let ms = Duration::from_millis;
        let mut watch = Stopwatch::start(ms(100));
        watch.assigned(ms(130));
        watch.computed(WorkerId(1), ms(20));
        watch.computed(WorkerId(2), ms(15));
        watch.computed(WorkerId(2), ms(10));
        watch.handled(ms(7));
        watch.observed(ms(3));
        watch.step_done(ms(180), true);
        let want = Times {
            steps: 1,
            wait: ms(30),
            compute: ms(25),
            work: ms(45),
            reduce: ms(7),
            observe: ms(3),
            wire: ms(15),
            ..Times::default()
        };
        assert_eq!(watch.total, want);
        // Even if a worker claims too much, and times overlap, the sum is the elapsed time.
        watch.computed(WorkerId(1), Duration::MAX);
        watch.handled(ms(18));
        watch.step_done(ms(200), false);
        assert_eq!(watch.total, Times { steps: 2, compute: ms(45), work: ms(65), ..want });
        watch.assigned(ms(250));
        watch.step_done(ms(250), true);
        assert_eq!(watch.total, Times { steps: 3, compute: ms(45), work: ms(65), wait: ms(80), ..want });
    }
}
