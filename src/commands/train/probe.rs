//! The gradient of some training samples, computed aside from the steps, as training sees the samples.

use std::sync::Arc;

use nn_core::{Compute, Dataset, NoiseScale, Samples, Workspace};
use nn_engine::Manifest;

/// Samples and what their gradient is computed with.
pub(super) struct Probe {
    data: Arc<Dataset>,
    samples: Vec<u32>,
    workspace: Workspace,
    gradient: Vec<f32>,
}

/// At most `most` of `all` samples, evenly from the whole set, which may be sorted.
pub(super) fn evenly(all: usize, most: usize) -> Vec<u32> {
    let count = all.min(most);
    (0..count).map(|i| (i * all / count) as u32).collect()
}

impl Probe {
    /// For a run on `data`, with at most `most` of its samples.
    pub(super) fn new(manifest: &Manifest, data: Arc<Dataset>, compute: Compute, most: usize) -> Self {
        let samples = evenly(data.len(), most);
        let recipe = manifest.recipe();
        let (regularization, Compute { isa, threads }) = ((recipe.regularization, recipe.seed), compute);
        let workspace = Workspace::regularized(manifest.model(), regularization, samples.len(), threads, isa);
        let gradient = nn_core::zeroed(manifest.model().parameters());
        Self { data, samples, workspace, gradient }
    }

    /// The mean gradient at these parameters, after an epoch counted from 0; `None` if it cannot be computed.
    pub(super) fn gradient(&mut self, params: &[f32], epoch: u64) -> Option<&[f32]> {
        let count = self.samples.len();
        let samples = Samples { indices: &self.samples, epoch };
        // The data have fitted the network for an epoch.
        self.workspace
            .node_gradient(params, &self.data, samples, count.clamp(1, 32), &mut self.gradient)
            .ok()?;
        let mean = 1.0 / count as f32;
        self.gradient.iter_mut().for_each(|g| *g *= mean);
        Some(&self.gradient)
    }

    /// The gradient that was computed last.
    pub(super) fn last(&self) -> &[f32] {
        &self.gradient
    }

    /// The noise scale of the gradient at these parameters, after an epoch counted from 0.
    pub(super) fn noise_scale(&mut self, params: &[f32], epoch: u64) -> Option<NoiseScale> {
        let samples = Samples { indices: &self.samples, epoch };
        self.workspace.noise_scale(params, &self.data, samples, &mut self.gradient).ok()
    }
}
