//! The measurement of the gradient noise scale after each epoch.

use std::sync::Arc;

use nn_core::{Compute, Dataset, MOST_SAMPLES_AT_ONCE, NoiseScale, Samples, Workspace};
use nn_engine::Manifest;

/// Measures on training samples, as training sees them, and the weights that are trained.
pub(super) struct NoiseMeter {
    data: Arc<Dataset>,
    /// The samples, evenly from the whole set, which may be sorted.
    samples: Vec<u32>,
    workspace: Workspace,
    gradient: Vec<f32>,
    last: Option<NoiseScale>,
}

impl NoiseMeter {
    /// The most samples that it measures on.
    pub(super) const SAMPLES: usize = MOST_SAMPLES_AT_ONCE;

    /// For a run on `data`; `None` if there are too few samples to have a variance.
    pub(super) fn new(manifest: &Manifest, data: Arc<Dataset>, compute: Compute) -> Option<Self> {
        let (all, count) = (data.len(), data.len().min(Self::SAMPLES));
        if count < 2 {
            return None;
        }
        let samples = (0..count).map(|i| (i * all / count) as u32).collect();
        let recipe = manifest.recipe();
        let (regularization, Compute { isa, threads }) = ((recipe.regularization, recipe.seed), compute);
        let workspace = Workspace::regularized(manifest.model(), regularization, count, threads, isa);
        let gradient = nn_core::zeroed(manifest.model().parameters());
        Some(Self { data, samples, workspace, gradient, last: None })
    }

    /// Measures after an epoch, counted from 0.
    pub(super) fn measure(&mut self, epoch: u64, params: &[f32]) {
        let samples = Samples { indices: &self.samples, epoch };
        // The data have fitted the network for an epoch.
        self.last = self.workspace.noise_scale(params, &self.data, samples, &mut self.gradient).ok();
    }

    /// The last measurement; `None` before the first, or if the noise hides the gradient.
    pub(super) fn value(&self) -> Option<f64> {
        self.last?.value()
    }
}
