//! The measurement of the gradient noise scale after each epoch.

use std::sync::Arc;

use nn_core::{Compute, Dataset, MOST_SAMPLES_AT_ONCE, NoiseScale};
use nn_engine::Manifest;

use super::probe::Probe;

/// Measures on training samples, as training sees them, and the weights that are trained.
pub(super) struct NoiseMeter {
    probe: Probe,
    last: Option<NoiseScale>,
}

impl NoiseMeter {
    /// The most samples that it measures on.
    pub(super) const SAMPLES: usize = MOST_SAMPLES_AT_ONCE;

    /// For a run on `data`; `None` if there are too few samples to have a variance.
    pub(super) fn new(manifest: &Manifest, data: Arc<Dataset>, compute: Compute) -> Option<Self> {
        let enough = data.len() >= 2;
        enough.then(|| Self { probe: Probe::new(manifest, data, compute, Self::SAMPLES), last: None })
    }

    /// Measures after an epoch, counted from 0.
    pub(super) fn measure(&mut self, epoch: u64, params: &[f32]) {
        self.last = self.probe.noise_scale(params, epoch);
    }

    /// The last measurement; `None` before the first, or if the noise hides the gradient.
    pub(super) fn value(&self) -> Option<f64> {
        self.last?.value()
    }
}
