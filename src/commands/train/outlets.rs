//! Everything that is told of a run beside its folder and the terminal: to TensorBoard, to a program, to Prometheus, to a browser.
//! Nothing of it changes the run.

use std::sync::Arc;
use std::time::Duration;

use nn_core::{Compute, Dataset, LayerLayout, layout, sum_of_squares};
use nn_engine::{Manifest, StepReport};
use serde_json::Value;

use super::events::Events;
use super::feed::Feed;
use super::probe::Probe;
use crate::clock::Clock;
use crate::commands::dashboard::Live;
use crate::telemetry::RunFigures;

/// Who is told, each only if the user asked for it.
#[derive(Default)]
pub(super) struct Outlets {
    pub(super) events: Option<Events>,
    pub(super) feed: Option<Feed>,
    pub(super) figures: Option<Arc<RunFigures>>,
    pub(super) page: Option<Arc<Live>>,
    /// What computes the gradients that they show.
    pub(super) gradients: Option<Gradients>,
    /// When the last step, or the evaluation after it, was over.
    pub(super) stepped: Duration,
    /// How long the run has waited for all of this.
    pub(super) waited: Duration,
}

/// The gradient of some training samples after each epoch.
pub(super) struct Gradients {
    probe: Probe,
    compute: Compute,
    layers: Vec<LayerLayout>,
    /// Whether the probe has one for the epoch that is just over.
    is_known: bool,
}

impl Gradients {
    /// Training samples whose gradient is shown after an epoch: so few that it costs nothing beside the epoch.
    pub(super) const SAMPLES: usize = 128;

    /// For a run on `data`.
    pub(super) fn new(manifest: &Manifest, data: Arc<Dataset>, compute: Compute) -> Self {
        let probe = Probe::new(manifest, data, compute.clone(), Self::SAMPLES);
        Self { probe, compute, layers: layout(manifest.model()), is_known: false }
    }

    /// The Euclidean norm of each layer's part of the mean gradient at these parameters, after an epoch counted from 0; `None` if it
    /// cannot be computed.
    fn norms(&mut self, params: &[f32], epoch: u64) -> Option<Vec<f64>> {
        self.is_known = false;
        let gradient = self.probe.gradient(params, epoch)?;
        let norm = |layer: &LayerLayout| {
            let numbers = &gradient[layer.range()];
            let read = |from: usize, out: &mut [f32]| out.copy_from_slice(&numbers[from..from + out.len()]);
            sum_of_squares(&self.compute, numbers.len(), &read).sqrt()
        };
        let norms = self.layers.iter().map(norm).collect();
        self.is_known = true;
        Some(norms)
    }
}

impl Outlets {
    /// How long the run has waited for its outlets so far, with the gradients that are computed for them; `None` if there are none.
    pub(super) fn waited(&self) -> Option<Duration> {
        let Self { events, feed, figures, page, .. } = self;
        (events.is_some() || feed.is_some() || figures.is_some() || page.is_some()).then_some(self.waited)
    }

    /// Does what the run has to wait for.
    fn wait<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let clock = Clock::start();
        let done = work(self);
        self.waited += clock.now();
        done
    }

    /// A step, after which `steps` sequential ones are done, at time `now`.
    pub(super) fn step(&mut self, now: Duration, report: &StepReport, steps: u64, samples_per_second: f64) {
        if self.waited().is_some() {
            self.wait(|outlets| outlets.tell_step(now, report, steps, samples_per_second));
        }
    }

    fn tell_step(&mut self, now: Duration, report: &StepReport, steps: u64, samples_per_second: f64) {
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
        if let Some(page) = &self.page {
            page.step(now, report, steps, samples_per_second);
        }
    }

    /// The norms of a gradient at the parameters after an epoch counted from 0, layer by layer, if somebody is to see them.
    pub(super) fn gradient_norms(&mut self, params: &[f32], epoch: u64) -> Option<Vec<f64>> {
        self.gradients.as_ref()?;
        self.wait(|outlets| outlets.gradients.as_mut()?.norms(params, epoch))
    }

    /// An epoch that is over after `steps` sequential steps: its line of the log, the model's parameters, and the samples and outputs
    /// of its evaluation, if there was one.
    pub(super) fn epoch(
        &mut self,
        line: &Value,
        steps: u64,
        params: &[f32],
        evaluated: Option<(&Arc<Dataset>, &[f32])>,
    ) {
        self.wait(|outlets| outlets.tell_epoch(line, steps, params, evaluated));
    }

    fn tell_epoch(
        &mut self,
        line: &Value,
        steps: u64,
        params: &[f32],
        evaluated: Option<(&Arc<Dataset>, &[f32])>,
    ) {
        if let Some(events) = &mut self.events {
            let known = self.gradients.as_ref().filter(|gradients| gradients.is_known);
            let gradient = known.map(|gradients| gradients.probe.last());
            events.epoch(
                line,
                steps,
                (params, gradient),
                evaluated.map(|(data, outputs)| (&**data, outputs)),
            );
        }
        if let Some(feed) = &self.feed {
            feed.epoch(line);
        }
        if let Some(figures) = &self.figures {
            figures.epoch(line);
        }
        if let Some(page) = &self.page {
            page.epoch(line, params, evaluated);
        }
    }

    /// Something beside the steps, by its line in the log.
    pub(super) fn event(&self, line: &Value) {
        if let Some(feed) = &self.feed {
            feed.event(line);
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
