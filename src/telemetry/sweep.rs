//! The figures of a sweep, and of the workers that train its runs.

use std::sync::{Mutex, PoisonError};

use nn_net::proto::{RunStatus, SweepStatus};

use super::Figures;
use super::cluster::{ClusterFigures, write_runs};
use super::text::Exposition;

/// The figures of a sweep.
pub(crate) struct SweepFigures {
    source: Source,
}

/// Gives what has become of the runs at once.
type AskRuns = Box<dyn Fn() -> SweepStatus + Send + Sync>;
/// Gives the same with the workers.
type AskAll = Box<dyn Fn() -> RunStatus + Send + Sync>;

enum Source {
    Here(AskRuns),
    Workers(AskAll, Box<Mutex<ClusterFigures>>),
}

impl SweepFigures {
    /// Of runs that this process trains.
    pub(crate) fn here(ask: impl Fn() -> SweepStatus + Send + Sync + 'static) -> Self {
        Self { source: Source::Here(Box::new(ask)) }
    }

    /// Of runs that workers train.
    pub(crate) fn of_workers(ask: impl Fn() -> RunStatus + Send + Sync + 'static) -> Self {
        Self { source: Source::Workers(Box::new(ask), Box::default()) }
    }
}

impl Figures for SweepFigures {
    fn write(&self, text: &mut Exposition) {
        match &self.source {
            Source::Here(ask) => write_runs(&ask(), text),
            Source::Workers(ask, figures) => {
                let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
                figures.update(ask());
                figures.write(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nn_net::proto::WorkerStatus;

    use super::super::told;
    use super::*;

    #[test]
    fn runs_and_workers_are_counted() {
        let sweep = SweepStatus { waiting: 2, running: 1, done: 4, left_behind: 1, ..Default::default() };
        let here = told(&SweepFigures::here(move || sweep));
        let worker = WorkerStatus { worker: 3, name: "ada".into(), bytes_sent: 7, ..Default::default() };
        let status = RunStatus { sweep: Some(sweep), workers: vec![worker], ..Default::default() };
        let there = told(&SweepFigures::of_workers(move || status.clone()));
        for line in ["nn_runs{state=\"done\"} 4", "nn_runs{state=\"left_behind\"} 1"] {
            assert!(here.lines().chain(there.lines()).filter(|found| *found == line).count() == 2, "{line}");
        }
        assert!(!here.contains("nn_workers"), "{here}");
        for line in [
            "nn_worker_silent_seconds{worker=\"3\",name=\"ada\"} 0",
            "nn_network_bytes_total{direction=\"sent\"} 7",
        ] {
            assert!(there.lines().any(|found| found == line), "{line}: {there}");
        }
        for of_steps in ["nn_nodes_reissued_total", "nn_worker_share_ratio"] {
            assert!(!there.contains(of_steps), "{there}");
        }
    }
}
