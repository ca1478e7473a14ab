//! The gradient of a node, layer by layer, so that a layer can leave while others are computed.

use super::{NodeStats, Workspace};
use crate::dataset::Dataset;
use crate::kernel::vector::all_finite;
use crate::kernel::{LayerGeometry, NodeGradient, node_gradient};
use crate::pass::{Batch, Pass, gather_source};
use crate::regularization::Samples;

/// The gradient of a node, layer by layer: see [`Workspace::node_gradient_by_layer`].
#[derive(Debug)]
pub struct LayerGradients<'a> {
    pub(super) workspace: &'a mut Workspace,
    pub(super) params: &'a [f32],
    pub(super) data: &'a Dataset,
    pub(super) samples: Samples<'a>,
    pub(super) shard: usize,
    /// Whether the deltas of all layers are computed.
    pub(super) has_deltas: bool,
    /// The number of layers, counted from the first, whose gradients are still to be computed. The deltas of the last
    /// of them are ready.
    pub(super) left: usize,
    pub(super) finite: bool,
    /// The gradient of all layers and the statistics, of a node that is computed in parts.
    pub(super) whole: Option<(Vec<f32>, NodeStats)>,
}

impl LayerGradients<'_> {
    /// The next layer to compute; `None` after all of them.
    #[must_use]
    pub fn next_layer(&self) -> Option<usize> {
        self.left.checked_sub(1)
    }

    /// Computes the gradient of [`LayerGradients::next_layer`], in the order of the parameters. False if any of it is NaN or
    /// infinite.
    ///
    /// # Panics
    /// If all layers have been computed, or `out` is not of the layer's size.
    pub fn gradient(&mut self, out: &mut [f32]) -> bool {
        assert!(self.left > 0, "there is a layer left");
        let layer = self.left - 1;
        let w = &mut *self.workspace;
        if let Some((whole, _)) = &self.whole {
            out.copy_from_slice(&whole[w.layers[layer].range()]);
            let finite = all_finite(w.isa, out);
            self.left = layer;
            self.finite &= finite;
            return finite;
        }
        if self.left < w.geometry.len() && !self.has_deltas {
            let pass = Pass::Below(self.left);
            w.pass(&Batch { params: self.params, data: self.data, samples: self.samples, pass });
        }
        let place = w.geometry[layer];
        let weights = place.inputs * place.outputs;
        assert!(out.len() == w.layers[layer].range().len());
        let task = NodeGradient {
            layers: &[LayerGeometry { weights: 0, biases: weights, ..place }],
            arena: &w.arena,
            stride: w.stride,
            samples: self.samples.indices.len(),
            shard: self.shard,
            precision: w.model.precision(),
            origin: (layer == 0 && w.trains_on_inputs_as_they_are())
                .then(|| (gather_source(self.data), self.samples.indices)),
        };
        let workers = w.worth(2 * out.len() * self.samples.indices.len());
        let memory = (&mut w.scratch[..workers], &mut w.tiles.1);
        let finite = node_gradient(w.isa, &w.threads, &task, memory, out);
        self.left = layer;
        self.finite &= finite;
        finite
    }

    /// The statistics of the node; `finite` covers the layers computed so far.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        if let Some((_, stats)) = &self.whole {
            return NodeStats { finite: self.finite && stats.loss.is_finite(), ..*stats };
        }
        self.workspace.stats(self.samples.indices.len(), self.shard, self.finite)
    }
}
