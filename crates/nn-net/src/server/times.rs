//! Where the time of the steps goes, as the coordinator sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use nn_engine::WorkerId;

/// The time of a run's steps, and what was carried for them. The five times add up to the time that the steps took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Steps done.
    pub steps: u64,
    /// The slowest worker of each step was computing, by what it says itself.
    pub compute: Duration,
    /// The engine checked, reduced and stepped, and weights were made into messages.
    pub reduce: Duration,
    /// There were not enough workers for a step.
    pub wait: Duration,
    /// The observer was at work, evaluation and metrics, and workers were done with computing meanwhile.
    pub observe: Duration,
    /// The rest: gradients and weights were on their way, or threads were being woken.
    pub wire: Duration,
    /// Bytes that were given to the streams of workers, everything included.
    pub bytes_sent: u64,
    /// Bytes of gradients that came from workers.
    pub bytes_received: u64,
}

/// Adds up [`Times`], step by step. Of what overlaps with computing, only what is beyond it counts.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    pub(super) total: Times,
    /// When the step began, or the last one ended.
    since: Duration,
    /// Since when nobody has anything to compute.
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

    /// Somebody is given something to compute.
    pub(super) fn assigned(&mut self, now: Duration) {
        if let Some(idle) = self.idle.take() {
            self.wait += now.saturating_sub(idle);
        }
    }

    /// A worker says how long a node took it.
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

    /// A step is done, and something is assigned of the next one or not.
    pub(super) fn step_done(&mut self, now: Duration, assigned: bool) {
        let mut left = now.saturating_sub(self.since);
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
            reduce: ms(7),
            observe: ms(3),
            wire: ms(15),
            ..Times::default()
        };
        assert_eq!(watch.total, want);
        // A worker that claims more than there was, and an overlap: the sum is still the time.
        watch.computed(WorkerId(1), Duration::MAX);
        watch.handled(ms(18));
        watch.step_done(ms(200), false);
        assert_eq!(watch.total, Times { steps: 2, compute: ms(45), ..want });
        watch.assigned(ms(250));
        watch.step_done(ms(250), true);
        assert_eq!(watch.total, Times { steps: 3, compute: ms(45), wait: ms(80), ..want });
    }
}
