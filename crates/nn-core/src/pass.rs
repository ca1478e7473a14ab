//! One pass of the network over a thread's samples: forward, and backward to the deltas.

use crate::dataset::{Dataset, Features, Targets};
use crate::kernel::{
    GatherSource, Isa, Lane, LayerGeometry, Product, Scratch, WeightTiles, bf16, gather_panel, output_layer,
    product, vector,
};
use crate::model::Model;
use crate::params::LayerLayout;
use crate::spec::Precision;

/// A thread's working memory for a pass.
#[derive(Debug)]
pub(crate) struct PassMemory {
    /// The targets of one panel, one lane an output.
    pub(crate) targets: Vec<Lane>,
    pub(crate) scratch: Scratch,
}

/// The extent of a pass.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pass {
    /// Up to the outputs and losses.
    Forward,
    /// Up to the deltas of the output layer.
    ForwardToDeltas,
    /// Up to the deltas of all layers.
    ForwardAndBackward,
    /// From the deltas of this layer, computed before, to those of the layer below.
    Below(usize),
}

/// A pass of the network over samples.
pub(crate) struct Batch<'a> {
    pub(crate) params: &'a [f32],
    pub(crate) data: &'a Dataset,
    pub(crate) samples: &'a [u32],
    pub(crate) pass: Pass,
}

/// A thread's share of the panels of a batch, with its memory.
pub(crate) struct Share<'a> {
    pub(crate) arena: &'a mut [Lane],
    pub(crate) losses: &'a mut [[f64; 16]],
    pub(crate) correct: &'a mut [[bool; 16]],
    pub(crate) memory: &'a mut PassMemory,
}

/// The features of a data set, as the kernels gather them.
pub(crate) fn gather_source(data: &Dataset) -> GatherSource<'_> {
    match data.features() {
        Features::U8 { data, scale } => GatherSource::Bytes { data, factor: 1.0 / scale },
        Features::F32(data) => GatherSource::Floats(data),
    }
}

/// The constant half of a [`Workspace`](crate::Workspace), shared by the threads.
pub(crate) struct Net<'a> {
    pub(crate) model: &'a Model,
    pub(crate) layers: &'a [LayerLayout],
    pub(crate) geometry: &'a [LayerGeometry],
    pub(crate) isa: Isa,
    /// Lanes in a panel.
    pub(crate) stride: usize,
    /// The first lane of deltas in a panel.
    pub(crate) deltas: usize,
    /// The weights as tiles, if products are computed on them.
    pub(crate) tiles: Option<&'a WeightTiles>,
}

impl Net<'_> {
    /// Runs the network over one thread's panels.
    pub(crate) fn panels(&self, batch: &Batch<'_>, share: Share<'_>) {
        let Share { arena, losses, correct, memory } = share;
        if let Pass::Below(layer) = batch.pass {
            return self.backward(batch.params, layer, arena, &mut memory.scratch);
        }
        self.gather(batch, arena);
        self.forward(batch.params, arena, &mut memory.scratch);
        self.output(batch, arena, losses, correct, &mut memory.targets);
        if batch.pass == Pass::ForwardAndBackward {
            for l in (1..self.geometry.len()).rev() {
                self.backward(batch.params, l, arena, &mut memory.scratch);
            }
        }
    }

    /// Computes the activations of the hidden layers, and z of the output layer without its bias.
    fn forward(&self, params: &[f32], arena: &mut [Lane], scratch: &mut Scratch) {
        let last = self.geometry.len() - 1;
        for (l, (layer, place)) in self.layers.iter().zip(self.geometry).enumerate() {
            let forward = Product {
                stride: self.stride,
                input: place.input_lanes,
                output: place.output_lanes,
                matrix: &params[layer.weights.clone()],
                rows: layer.outputs,
                row_stride: layer.inputs,
                terms: layer.inputs,
                term_stride: 1,
                precision: self.model.precision(),
                tiles: self.tiles.map(|tiles| tiles.of(l, 0)),
            };
            product(self.isa, &forward, arena, scratch);
            if l < last {
                let biases = &params[layer.biases.clone()];
                for panel in arena.chunks_exact_mut(self.stride) {
                    let lanes = &mut panel[place.output_lanes..place.output_lanes + layer.outputs];
                    vector::activate(
                        self.isa,
                        self.model.activation(),
                        self.model.precision(),
                        lanes,
                        biases,
                    );
                }
            }
        }
    }

    /// Computes the deltas of the layer below layer `l` from those of layer `l`.
    fn backward(&self, params: &[f32], l: usize, arena: &mut [Lane], scratch: &mut Scratch) {
        let (layer, place, below) = (&self.layers[l], &self.geometry[l], &self.geometry[l - 1]);
        let backward = Product {
            stride: self.stride,
            input: place.delta_lanes,
            output: below.delta_lanes,
            matrix: &params[layer.weights.clone()],
            rows: layer.inputs,
            row_stride: 1,
            terms: layer.outputs,
            term_stride: layer.inputs,
            precision: self.model.precision(),
            tiles: self.tiles.map(|tiles| tiles.of(l, 1)),
        };
        product(self.isa, &backward, arena, scratch);
        for panel in arena.chunks_exact_mut(self.stride) {
            let (activations, deltas) = panel.split_at_mut(self.deltas);
            let at = below.delta_lanes - self.deltas;
            let deltas = &mut deltas[at..at + below.outputs];
            let activations = &activations[below.output_lanes..below.output_lanes + below.outputs];
            let (activation, precision) = (self.model.activation(), self.model.precision());
            vector::hidden_delta(self.isa, activation, precision, deltas, activations);
        }
    }

    /// Copies the samples' features into the input lanes.
    fn gather(&self, batch: &Batch<'_>, arena: &mut [Lane]) {
        let width = self.model.input_width();
        let source = gather_source(batch.data);
        for (panel, samples) in arena.chunks_exact_mut(self.stride).zip(batch.samples.chunks(16)) {
            let lanes = &mut panel[..width.next_multiple_of(16)];
            gather_panel(self.isa, source, width, samples, lanes);
            if self.model.precision() == Precision::Bf16 {
                bf16::round(self.isa, lanes);
            }
        }
    }

    /// Computes the output layer: activations, losses, right answers and, in a backward pass, deltas.
    fn output(
        &self,
        batch: &Batch<'_>,
        arena: &mut [Lane],
        losses: &mut [[f64; 16]],
        correct: &mut [[bool; 16]],
        targets: &mut [Lane],
    ) {
        let last = self.geometry.len() - 1;
        let (layer, place) = (&self.layers[last], &self.geometry[last]);
        let panels = arena.chunks_exact_mut(self.stride).zip(batch.samples.chunks(16));
        for ((panel, samples), (losses, correct)) in panels.zip(losses.iter_mut().zip(correct)) {
            fill_targets(batch.data.targets(), samples, targets);
            let (activations, deltas) = panel.split_at_mut(self.deltas);
            let lanes = &mut activations[place.output_lanes..place.output_lanes + layer.outputs];
            let at = place.delta_lanes - self.deltas;
            let mut deltas = (batch.pass != Pass::Forward).then(|| &mut deltas[at..at + layer.outputs]);
            let biases = &batch.params[layer.biases.clone()];
            let (output, cost) = (self.model.output(), self.model.cost());
            output_layer(self.isa, output, cost, lanes, biases, targets, losses, deltas.as_deref_mut());
            if let Some(weights) = batch.data.weights() {
                weigh(weights, samples, losses, deltas.as_deref_mut());
            }
            if let (Precision::Bf16, Some(deltas)) = (self.model.precision(), deltas) {
                bf16::round(self.isa, deltas);
            }
            *correct = [false; 16];
            if let Targets::Classes { labels, .. } = batch.data.targets() {
                let mut best = [0; 16];
                vector::argmax(self.isa, lanes, &mut best);
                for ((c, &sample), best) in correct.iter_mut().zip(samples).zip(best) {
                    *c = labels[sample as usize] == best;
                }
            }
        }
    }
}

/// Multiplies losses and output deltas by the weights of up to 16 samples. All other deltas and the gradient are linear in
/// the output's, so this weighs the whole gradient of a sample. One product each, the same on every instruction set.
fn weigh(weights: &[f32], samples: &[u32], losses: &mut [f64; 16], deltas: Option<&mut [Lane]>) {
    let mut lane = Lane::ZERO;
    for ((lane, loss), &sample) in lane.0.iter_mut().zip(losses).zip(samples) {
        *lane = weights[sample as usize];
        *loss *= f64::from(*lane);
    }
    for delta in deltas.into_iter().flatten() {
        for (delta, weight) in delta.0.iter_mut().zip(lane.0) {
            *delta *= weight;
        }
    }
}

/// Writes the targets of up to 16 samples to `lanes`, one lane an output: one-hot for classes.
fn fill_targets(targets: &Targets, samples: &[u32], lanes: &mut [Lane]) {
    lanes.fill(Lane::ZERO);
    for (i, &sample) in samples.iter().enumerate() {
        match targets {
            Targets::Classes { labels, .. } => lanes[labels[sample as usize] as usize].0[i] = 1.0,
            Targets::Values { data, width } => {
                for (lane, &y) in lanes.iter_mut().zip(&data[sample as usize * width..]) {
                    lane.0[i] = y;
                }
            }
        }
    }
}
