//! The figures of a coordinator's workers, from its status, and those of a sweep's runs.

use std::collections::{BTreeMap, HashMap};

use nn_net::proto as pb;

use super::text::{Exposition, Kind};

/// The states of a worker, by their names in the status.
const STATES: [pb::WorkerState; 6] = [
    pb::WorkerState::Loading,
    pb::WorkerState::Joining,
    pb::WorkerState::Idle,
    pb::WorkerState::Computing,
    pb::WorkerState::Overdue,
    pb::WorkerState::Late,
];

/// The figures of a cluster at one moment, and what those that have left did.
#[derive(Debug, Default)]
pub(crate) struct ClusterFigures {
    status: pb::RunStatus,
    /// Bytes that each worker was sent and has sent, by its number, which no other gets.
    bytes: HashMap<u64, [u64; 2]>,
}

impl ClusterFigures {
    /// Takes in the status of now.
    pub(crate) fn update(&mut self, status: pb::RunStatus) {
        for worker in &status.workers {
            self.bytes.insert(worker.worker, [worker.bytes_sent, worker.bytes_received]);
        }
        self.status = status;
    }

    pub(super) fn write(&self, text: &mut Exposition) {
        let Self { status, bytes } = self;
        if let Some(sweep) = &status.sweep {
            write_runs(sweep, text);
        }
        text.family("nn_workers", Kind::Gauge, "Workers by what they are doing.");
        let mut counts: BTreeMap<String, usize> = STATES.map(|state| (word(state), 0)).into();
        for worker in &status.workers {
            *counts.entry(word(worker.state())).or_default() += 1;
        }
        counts.insert("quarantined".to_owned(), status.quarantined.len());
        for (state, count) in &counts {
            text.sample("nn_workers", &[("state", state)], *count as f64);
        }
        type Figure = fn(&pb::WorkerStatus) -> f64;
        let each: [(&str, &str, Figure); 3] = [
            ("nn_worker_silent_seconds", "Time since a worker was last heard of.", |w| w.silent_seconds),
            ("nn_worker_samples_per_second", "Samples that a worker computes a second.", |w| {
                w.samples_per_second.unwrap_or(0.0)
            }),
            ("nn_worker_share_ratio", "Part of a mini-batch that a worker computes.", |w| w.share),
        ];
        // A worker of a sweep has runs of its own: it has no part of a mini-batch.
        let each = &each[..if status.sweep.is_some() { 1 } else { 3 }];
        for &(name, help, figure) in each {
            if !status.workers.is_empty() {
                text.family(name, Kind::Gauge, help);
            }
            for worker in &status.workers {
                let labels = [("worker", &*worker.worker.to_string()), ("name", &worker.name)];
                text.sample(name, &labels, figure(worker));
            }
        }
        let sums = bytes.values().fold([0, 0], |sum, of| [sum[0] + of[0], sum[1] + of[1]]);
        text.family("nn_network_bytes_total", Kind::Counter, "Bytes between this program and its workers.");
        for (direction, sum) in ["sent", "received"].into_iter().zip(sums) {
            text.sample("nn_network_bytes_total", &[("direction", direction)], sum as f64);
        }
        let connections =
            ("nn_connections_refused_total", "Connections that were refused.", status.connections_refused);
        let of_steps = [
            ("nn_contributions_refused_total", "Contributions that did not count.", status.refused),
            (
                "nn_nodes_reissued_total",
                "Parts of mini-batches that were given to another worker.",
                status.reissued,
            ),
        ];
        let of_steps = of_steps.into_iter().filter(|_| status.sweep.is_none());
        for (name, help, value) in of_steps.chain([connections]) {
            text.one(name, Kind::Counter, help, value as f64);
        }
        let waiting = if status.waiting_for.is_empty() { 0.0 } else { status.waiting_seconds };
        text.one(
            "nn_waiting_seconds",
            Kind::Gauge,
            "How long the work has been waiting for workers or their parts.",
            waiting,
        );
    }
}

/// The runs of a sweep by what has become of them.
pub(super) fn write_runs(sweep: &pb::SweepStatus, text: &mut Exposition) {
    text.family("nn_runs", Kind::Gauge, "Runs of the sweep by what has become of them.");
    let &pb::SweepStatus { waiting, running, done, diverged, failed, stopped, left_behind } = sweep;
    for (state, count) in [
        ("waiting", waiting),
        ("running", running),
        ("done", done),
        ("diverged", diverged),
        ("failed", failed),
        ("stopped", stopped),
        ("left_behind", left_behind),
    ] {
        text.sample("nn_runs", &[("state", state)], count as f64);
    }
}

/// The state in a word.
fn word(state: pb::WorkerState) -> String {
    state.as_str_name().trim_start_matches("WORKER_STATE_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_workers_that_left_still_count() {
        let worker = |number, sent| pb::WorkerStatus {
            worker: number,
            name: "ada".into(),
            state: pb::WorkerState::Idle.into(),
            bytes_sent: sent,
            bytes_received: 1,
            silent_seconds: 2.5,
            ..Default::default()
        };
        let mut figures = ClusterFigures::default();
        let status = |workers| pb::RunStatus { workers, refused: 3, ..Default::default() };
        figures.update(status(vec![worker(1, 100), worker(2, 10)]));
        figures.update(status(vec![worker(2, 20)]));
        let mut text = Exposition::default();
        figures.write(&mut text);
        let text = text.into_text();
        for line in [
            "nn_workers{state=\"idle\"} 1",
            "nn_workers{state=\"computing\"} 0",
            "nn_workers{state=\"quarantined\"} 0",
            "nn_worker_silent_seconds{worker=\"2\",name=\"ada\"} 2.5",
            "nn_network_bytes_total{direction=\"sent\"} 120",
            "nn_network_bytes_total{direction=\"received\"} 2",
            "nn_contributions_refused_total 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
