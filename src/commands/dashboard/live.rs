//! How a run of this process stands: what its thread leaves for the page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nn_core::{Dataset, LayerLayout, layout};
use nn_engine::{Manifest, StepReport};
use nn_net::proto::RunStatus;
use serde_json::{Value, json};

use super::network::Network;
use crate::commands::cluster::status_as_json;

/// The least time between two notes of how the run stands.
const EVERY: Duration = Duration::from_millis(100);

/// Gives the status of a cluster.
type Ask = Box<dyn Fn() -> RunStatus + Send>;

/// What does not change in a run.
pub(in crate::commands) struct Plan {
    epochs: u64,
    /// Sequential steps: all, and those before this process.
    steps: u64,
    begun: u64,
    first: Option<LayerLayout>,
    classes: Option<Vec<String>>,
    /// The set that is evaluated.
    set: &'static str,
    shows_samples: bool,
}

/// The notes of a run.
pub(in crate::commands) struct Live {
    plan: Plan,
    last: Mutex<Last>,
    network: Mutex<Option<Arc<Network>>>,
    cluster: Mutex<Option<Ask>>,
}

/// The last step that was noted.
#[derive(Debug, Clone, Default)]
struct Last {
    seconds: f64,
    due: Duration,
    epoch: u64,
    steps: u64,
    loss: Option<f64>,
    learning_rate: f32,
    samples_per_second: f64,
}

impl Plan {
    /// For a run that `manifest` describes, of which `done` steps, or rounds, are done, with these classes, and evaluated on the `set` of
    /// samples with this name.
    pub(in crate::commands) fn new(
        manifest: &Manifest,
        done: u64,
        classes: Option<Vec<String>>,
        set: &'static str,
    ) -> Self {
        Self {
            epochs: manifest.recipe().epochs.into(),
            steps: manifest.sequential_steps(manifest.total_steps()),
            begun: manifest.sequential_steps(done),
            first: layout(manifest.model()).into_iter().next(),
            classes,
            set,
            shows_samples: manifest.recipe().dp_noise.is_none(),
        }
    }
}

impl Live {
    /// A run with this plan.
    pub(in crate::commands) fn new(plan: Plan) -> Self {
        let last = Last { steps: plan.begun, ..Last::default() };
        Self { plan, last: last.into(), network: Mutex::default(), cluster: Mutex::default() }
    }

    /// Notes a step, after which `steps` sequential ones are done, at time `now`.
    pub(in crate::commands) fn step(
        &self,
        now: Duration,
        report: &StepReport,
        steps: u64,
        samples_per_second: f64,
    ) {
        let mut last = lock(&self.last);
        if now < last.due && steps < self.plan.steps {
            return;
        }
        *last = Last {
            seconds: now.as_secs_f64(),
            due: now + EVERY,
            epoch: report.epoch + 1,
            steps,
            loss: report.loss.is_finite().then_some(report.loss),
            learning_rate: report.learning_rate,
            samples_per_second,
        };
    }

    /// Notes an epoch: its line in the log, the model's parameters, and the samples and outputs of its evaluation, if there was one.
    pub(in crate::commands) fn epoch(
        &self,
        line: &Value,
        params: &[f32],
        evaluated: Option<(&Arc<Dataset>, &[f32])>,
    ) {
        let (Some((data, outputs)), Some(first)) = (evaluated, &self.plan.first) else { return };
        let network = Network {
            epoch: line["epoch"].as_u64().unwrap_or(0),
            params_sha256: line["params_sha256"].as_str().unwrap_or_default().to_owned(),
            set: self.plan.set,
            shows_samples: self.plan.shows_samples,
            data: data.clone(),
            outputs: outputs.to_vec(),
            classes: self.plan.classes.clone(),
            // Of what is no picture, the weights are not drawn.
            first: if data.image().is_some() { params[first.weights.clone()].to_vec() } else { Vec::new() },
        };
        *lock(&self.network) = Some(Arc::new(network));
    }

    /// Adds a cluster, whose status `ask` gives at once.
    pub(in crate::commands) fn follow(&self, ask: impl Fn() -> RunStatus + Send + 'static) {
        *lock(&self.cluster) = Some(Box::new(ask));
    }

    /// How the run stands.
    pub(super) fn now(&self) -> Value {
        let last = lock(&self.last).clone();
        let cluster = lock(&self.cluster).as_ref().map(|ask| status_as_json(&ask()));
        json!({
            "seconds": last.seconds,
            "epoch": last.epoch,
            "epochs": self.plan.epochs,
            "steps": last.steps,
            "total_steps": self.plan.steps,
            "steps_before": self.plan.begun,
            "loss": last.loss,
            "learning_rate": last.learning_rate,
            "samples_per_second": last.samples_per_second,
            "cluster": cluster,
        })
    }

    /// The network of the last evaluation.
    pub(super) fn network(&self) -> Option<Arc<Network>> {
        lock(&self.network).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
