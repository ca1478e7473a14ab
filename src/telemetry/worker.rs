//! A worker's own figures: what it computes, and its connection to a coordinator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nn_net::{WorkerEvent, WorkerMeter};

use super::text::{Exposition, Histogram, Kind};
use super::{DURATIONS, Figures};
use crate::clock::Clock;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// It dials, or waits to dial again.
    #[default]
    Connecting,
    /// A coordinator has admitted it, and it is getting the training samples.
    Loading,
    /// It has all it needs, and computes what it is given.
    Ready,
}

const STATES: [(State, &str); 3] =
    [(State::Connecting, "connecting"), (State::Loading, "loading"), (State::Ready, "ready")];

/// The figures of a worker so far.
#[derive(Debug)]
pub(crate) struct WorkerFigures {
    name: String,
    clock: Clock,
    inner: Mutex<Inner>,
    sent: AtomicU64,
    received: AtomicU64,
    /// When bytes last arrived, in microseconds of the clock; 0 before the first.
    heard: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    parts: Histogram,
    samples: u64,
    steps: u64,
    last_step: Option<u64>,
    joined: u64,
    lost: u64,
    failed: u64,
    refused: u64,
    runs: u64,
    ended: u64,
}

impl WorkerFigures {
    /// Of a worker of that name.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            clock: Clock::start(),
            inner: Mutex::default(),
            sent: AtomicU64::default(),
            received: AtomicU64::default(),
            heard: AtomicU64::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an event.
    pub(crate) fn tell(&self, event: &WorkerEvent<'_>) {
        let mut inner = self.lock();
        match event {
            WorkerEvent::Waiting { .. } => {
                inner.failed += 1;
                inner.state = State::Connecting;
            }
            WorkerEvent::Joined { .. } => {
                inner.joined += 1;
                // Steps of another run may have the same numbers.
                inner.last_step = None;
                inner.state = State::Loading;
            }
            WorkerEvent::JoinedRuns { .. } => {
                inner.joined += 1;
                inner.state = State::Ready;
            }
            WorkerEvent::Ready { .. } => inner.state = State::Ready,
            WorkerEvent::Ordered { .. } => inner.runs += 1,
            WorkerEvent::Refused { .. } => inner.refused += 1,
            WorkerEvent::Lost { .. } => {
                inner.lost += 1;
                inner.state = State::Connecting;
            }
            WorkerEvent::RunOver(_) => {
                inner.ended += 1;
                inner.state = State::Connecting;
            }
            _ => {}
        }
    }
}

impl WorkerMeter for WorkerFigures {
    fn computed(&self, step: u64, samples: usize, time: Duration) {
        let mut inner = self.lock();
        inner.parts.count(&DURATIONS, time.as_secs_f64());
        inner.samples += samples as u64;
        if inner.last_step.replace(step) != Some(step) {
            inner.steps += 1;
        }
    }

    fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.heard.store((self.clock.now().as_micros() as u64).max(1), Ordering::Relaxed);
    }

    fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Figures for WorkerFigures {
    fn write(&self, text: &mut Exposition) {
        text.family("nn_worker_info", Kind::Gauge, "The worker: always 1.");
        text.sample("nn_worker_info", &[("name", &self.name)], 1.0);
        let inner = self.lock();
        text.family("nn_worker_state", Kind::Gauge, "1 for what this worker is doing, 0 for the rest.");
        for (state, name) in STATES {
            text.sample("nn_worker_state", &[("state", name)], f64::from(u8::from(state == inner.state)));
        }
        text.histogram(
            "nn_part_duration_seconds",
            "Time to compute a part of a mini-batch; in a run with rounds, a replica's round.",
            &DURATIONS,
            &inner.parts,
        );
        for (name, help, value) in [
            (
                "nn_computed_samples_total",
                "Samples of the parts that this worker has computed, whether they counted or not.",
                inner.samples,
            ),
            (
                "nn_computed_steps_total",
                "Steps of which this worker has computed parts; one that it returns to counts again.",
                inner.steps,
            ),
            ("nn_whole_runs_total", "Whole runs of a sweep that this worker has begun.", inner.runs),
            ("nn_runs_ended_total", "Coordinators that told this worker that they are done.", inner.ended),
            (
                "nn_coordinator_connections_total",
                "Times that a coordinator admitted this worker; those after the first are reconnections.",
                inner.joined,
            ),
            ("nn_coordinator_connections_lost_total", "Connections that broke after that.", inner.lost),
            (
                "nn_coordinator_attempts_failed_total",
                "Times that no coordinator could be reached or admitted this worker.",
                inner.failed,
            ),
            (
                "nn_contributions_refused_total",
                "Contributions of this worker that did not count.",
                inner.refused,
            ),
        ] {
            text.one(name, Kind::Counter, help, value as f64);
        }
        drop(inner);
        text.family(
            "nn_network_bytes_total",
            Kind::Counter,
            "Bytes between this program and its coordinators, with those of TLS and HTTP/2.",
        );
        for (direction, bytes) in [("sent", &self.sent), ("received", &self.received)] {
            let bytes = bytes.load(Ordering::Relaxed);
            text.sample("nn_network_bytes_total", &[("direction", direction)], bytes as f64);
        }
        let heard = self.heard.load(Ordering::Relaxed);
        if heard > 0 {
            let silent = self.clock.now().saturating_sub(Duration::from_micros(heard));
            text.one(
                "nn_coordinator_silent_seconds",
                Kind::Gauge,
                "Time since bytes last arrived from a coordinator.",
                silent.as_secs_f64(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use nn_net::proto::{Outcome, RefusalReason};
    use nn_net::{ConnectError, RunOver};

    use super::*;
    use crate::telemetry::told;

    #[test]
    fn figures_follow_the_events_of_a_worker() {
        let figures = WorkerFigures::new("ada");
        let has = |line: &str| {
            let text = told(&figures);
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        };
        has("nn_worker_state{state=\"connecting\"} 1");
        assert!(!told(&figures).contains("nn_coordinator_silent_seconds"), "nobody was heard");
        let error = ConnectError::Fruitless { url: "u".into(), why: "w".into() };
        let retry_in = Duration::ZERO;
        figures.tell(&WorkerEvent::Waiting { coordinator: "c", error: &error, retry_in });
        figures.tell(&WorkerEvent::JoinedRuns { coordinator: "c", worker: 1 });
        has("nn_worker_state{state=\"connecting\"} 0");
        has("nn_worker_state{state=\"ready\"} 1");
        figures.tell(&WorkerEvent::Ordered { run: 3 });
        figures.tell(&WorkerEvent::Lost { reason: "cut" });
        has("nn_worker_state{state=\"connecting\"} 1");
        figures.tell(&WorkerEvent::Refused { reason: RefusalReason::StaleStep, message: "late" });
        let over = RunOver { outcome: Outcome::Complete, steps: 1, params_sha256: String::new() };
        figures.tell(&WorkerEvent::RunOver(&over));
        for (step, samples) in [(4, 10), (4, 20), (5, 30)] {
            figures.computed(step, samples, Duration::from_millis(2));
        }
        figures.sent(7);
        figures.received(5);
        figures.received(6);
        for line in [
            "nn_worker_info{name=\"ada\"} 1",
            "nn_part_duration_seconds_bucket{le=\"0.001\"} 0",
            "nn_part_duration_seconds_bucket{le=\"0.003\"} 3",
            "nn_part_duration_seconds_count 3",
            "nn_computed_samples_total 60",
            "nn_computed_steps_total 2",
            "nn_whole_runs_total 1",
            "nn_runs_ended_total 1",
            "nn_coordinator_connections_total 1",
            "nn_coordinator_connections_lost_total 1",
            "nn_coordinator_attempts_failed_total 1",
            "nn_contributions_refused_total 1",
            "nn_network_bytes_total{direction=\"sent\"} 7",
            "nn_network_bytes_total{direction=\"received\"} 11",
        ] {
            has(line);
        }
        assert!(told(&figures).contains("\nnn_coordinator_silent_seconds "));
    }
}
