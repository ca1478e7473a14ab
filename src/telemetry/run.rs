//! The figures of a run, and of the cluster that it runs on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nn_net::proto::RunStatus;
use serde_json::Value;

use super::cluster::ClusterFigures;
use super::text::{Exposition, Histogram, Kind};
use super::{DURATIONS, Figures};

/// The sets of samples that figures are about.
const SETS: [&str; 3] = ["train", "validation", "test"];

/// The figures of a run so far. The run writes them and the server reads them.
#[derive(Default)]
pub(crate) struct RunFigures {
    inner: Mutex<Inner>,
    /// Whom to ask about the cluster, once there is one, and what is known of it.
    cluster: Mutex<Option<(Ask, ClusterFigures)>>,
}

/// Gives the status of a cluster.
type Ask = Box<dyn Fn() -> RunStatus + Send>;

#[derive(Debug, Default)]
struct Inner {
    steps: u64,
    samples: u64,
    durations: Histogram,
    batch_loss: Option<f64>,
    learning_rate: Option<f64>,
    samples_per_second: Option<f64>,
    epochs: u64,
    /// Steps and epochs of the whole run.
    total: (u64, u64),
    /// Figures of the last epoch that has them, by their names in the log.
    of_epoch: BTreeMap<String, f64>,
}

impl RunFigures {
    /// Of a run of so many steps and epochs, some of which are done.
    pub(crate) fn new(total: (u64, u64), done: u64) -> Self {
        Self {
            inner: Mutex::new(Inner { total, steps: done, ..Inner::default() }),
            cluster: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a step: the steps done with it, its samples, its time in seconds, its loss, and the rates.
    pub(crate) fn step(
        &self,
        steps: u64,
        samples: usize,
        seconds: f64,
        loss: f64,
        (learning_rate, samples_per_second): (f64, f64),
    ) {
        let mut inner = self.lock();
        inner.steps = steps;
        inner.samples += samples as u64;
        inner.durations.count(&DURATIONS, seconds);
        inner.batch_loss = Some(loss);
        inner.learning_rate = Some(learning_rate);
        inner.samples_per_second = Some(samples_per_second);
    }

    /// Takes in an epoch, by its line in the log.
    pub(crate) fn epoch(&self, line: &Value) {
        let mut inner = self.lock();
        inner.epochs = line["epoch"].as_u64().unwrap_or(inner.epochs);
        for (name, value) in line.as_object().into_iter().flatten() {
            if let Some(value) = value.as_f64() {
                inner.of_epoch.insert(name.clone(), value);
            }
        }
    }

    /// Adds the figures of a cluster, whose status `ask` gives at once.
    pub(crate) fn follow(&self, ask: impl Fn() -> RunStatus + Send + 'static) {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        *cluster = Some((Box::new(ask), ClusterFigures::default()));
    }
}

impl Figures for RunFigures {
    fn write(&self, text: &mut Exposition) {
        self.lock().write(text);
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((ask, figures)) = &mut *cluster {
            figures.update(ask());
            figures.write(text);
        }
    }
}

impl Inner {
    fn write(&self, text: &mut Exposition) {
        let counter = Kind::Counter;
        text.one(
            "nn_steps_total",
            counter,
            "Steps done, those before a resumption included.",
            self.steps as f64,
        );
        text.one(
            "nn_samples_total",
            counter,
            "Training samples whose gradients counted, since the program started.",
            self.samples as f64,
        );
        text.one("nn_epochs_total", counter, "Epochs done.", self.epochs as f64);
        text.one("nn_planned_steps", Kind::Gauge, "Steps of the whole run.", self.total.0 as f64);
        text.one("nn_planned_epochs", Kind::Gauge, "Epochs of the whole run.", self.total.1 as f64);
        text.histogram(
            "nn_step_duration_seconds",
            "Time from one step to the next, without evaluation.",
            &DURATIONS,
            &self.durations,
        );
        let gauges = [
            ("nn_batch_loss", "Loss of the last mini-batch.", self.batch_loss),
            ("nn_learning_rate", "Learning rate of the last step.", self.learning_rate),
            ("nn_samples_per_second", "Training samples a second in this epoch.", self.samples_per_second),
            (
                "nn_gradient_noise_scale",
                "Gradient noise scale in samples.",
                self.of_epoch.get("noise_scale").copied(),
            ),
            (
                "nn_privacy_epsilon",
                "Epsilon of differential privacy so far.",
                self.of_epoch.get("epsilon").copied(),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                text.one(name, Kind::Gauge, help, value);
            }
        }
        for (name, figure, help) in [
            ("nn_loss", "loss", "Loss after the last epoch that was evaluated."),
            (
                "nn_accuracy_ratio",
                "accuracy",
                "Fraction of right answers after the last epoch that was evaluated.",
            ),
            ("nn_r2", "r2", "R squared after the last epoch that was evaluated."),
        ] {
            let found = SETS.map(|set| (set, self.of_epoch.get(&format!("{set}_{figure}"))));
            if found.iter().any(|(_, value)| value.is_some()) {
                text.family(name, Kind::Gauge, help);
                for (set, value) in found {
                    if let Some(value) = value {
                        text.sample(name, &[("set", set)], *value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::telemetry::told;

    #[test]
    fn figures_of_a_run_are_told_as_they_come() {
        let figures = RunFigures::new((432, 3), 10);
        let empty = told(&figures);
        assert!(empty.contains("nn_steps_total 10\n") && !empty.contains("nn_loss"), "{empty}");
        figures.step(11, 32, 0.002, 0.5, (0.1, 1000.0));
        figures.epoch(&json!({ "epoch": 1, "train_loss": 0.25, "test_accuracy": 0.75, "test_loss": null }));
        let text = told(&figures);
        for line in [
            "nn_steps_total 11",
            "nn_samples_total 32",
            "nn_epochs_total 1",
            "nn_planned_steps 432",
            "nn_step_duration_seconds_bucket{le=\"0.001\"} 0",
            "nn_step_duration_seconds_bucket{le=\"0.003\"} 1",
            "nn_batch_loss 0.5",
            "nn_loss{set=\"train\"} 0.25",
            "nn_accuracy_ratio{set=\"test\"} 0.75",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
