//! Everything that is told of a run beside its folder and the terminal: to TensorBoard, to a program, to Prometheus. Nothing of it
//! changes the run.

use std::sync::Arc;
use std::time::Duration;

use nn_core::Dataset;
use nn_engine::StepReport;
use serde_json::Value;

use super::events::Events;
use super::feed::Feed;
use crate::telemetry::RunFigures;

/// Who is told, each only if the user asked for it.
#[derive(Default)]
pub(super) struct Outlets {
    pub(super) events: Option<Events>,
    pub(super) feed: Option<Feed>,
    pub(super) figures: Option<Arc<RunFigures>>,
    /// When the last step, or the evaluation after it, was over.
    pub(super) stepped: Duration,
}

impl Outlets {
    /// A step, after which `steps` sequential ones are done, at time `now`.
    pub(super) fn step(&mut self, now: Duration, report: &StepReport, steps: u64, samples_per_second: f64) {
        if let Some(events) = &mut self.events {
            events.step(report, steps);
        }
        if let Some(feed) = &mut self.feed {
            feed.step(now, report, steps, samples_per_second);
        }
        let before = std::mem::replace(&mut self.stepped, now);
        if let Some(figures) = &self.figures {
            let rates = (f64::from(report.learning_rate), samples_per_second);
            let time = now.saturating_sub(before).as_secs_f64();
            figures.step(steps, report.samples, time, report.loss, rates);
        }
    }

    /// An epoch that is over after `steps` sequential steps: its line of the log, the model's parameters, and the samples and outputs
    /// of its evaluation, if there was one.
    pub(super) fn epoch(
        &mut self,
        line: &Value,
        steps: u64,
        params: &[f32],
        evaluated: Option<(&Dataset, &[f32])>,
    ) {
        if let Some(events) = &mut self.events {
            events.epoch(line, steps, params, evaluated);
        }
        if let Some(feed) = &self.feed {
            feed.epoch(line);
        }
        if let Some(figures) = &self.figures {
            figures.epoch(line);
        }
    }

    /// The last step is done.
    pub(super) fn finish(&mut self, success: bool) {
        if let Some(events) = &mut self.events {
            events.finish(success);
        }
    }

    /// The summary is written.
    pub(super) fn end(&self, summary: &Value) {
        if let Some(feed) = &self.feed {
            feed.end(summary);
        }
    }
}
