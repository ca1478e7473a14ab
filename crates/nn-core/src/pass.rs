//! One pass of the network over a thread's samples: forward, and backward to the deltas.

use crate::augment::Distorter;
use crate::dataset::{Dataset, Features, Targets};
use crate::kernel::distort::Canvas;
use crate::kernel::normalize::{Gradients, Kept, normalization_gradients, normalize};
use crate::kernel::{
    GatherSource, Isa, Lane, LayerGeometry, NormalizedLanes, Product, Scratch, WeightTiles, bf16,
    gather_panel, output_layer, product, vector,
};
use crate::model::Model;
use crate::params::LayerLayout;
use crate::random::sample_key;
use crate::regularization::{Regularization, Samples, drop_rule};
use crate::spec::Precision;

/// A thread's working memory for a pass.
#[derive(Debug)]
pub(crate) struct PassMemory {
    /// The targets of one panel, one lane an output.
    pub(crate) targets: Vec<Lane>,
    pub(crate) scratch: Scratch,
    /// For distorted pictures.
    pub(crate) pictures: Option<Pictures>,
}

/// Memory to distort the pictures of one panel in.
#[derive(Debug)]
pub(crate) struct Pictures {
    canvas: Canvas,
    /// One sample's features.
    source: Vec<f32>,
    /// Those of sixteen, distorted.
    distorted: Vec<f32>,
}

impl Pictures {
    pub(crate) fn new(distorter: &Distorter, width: usize) -> Self {
        Self { canvas: distorter.canvas(), source: vec![0.0; width], distorted: vec![0.0; 16 * width] }
    }
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
    pub(crate) samples: Samples<'a>,
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
    /// The first lane of slopes in a panel, if they are kept: σ' of each hidden layer, times the dropout's factor.
    pub(crate) slopes: Option<usize>,
    /// The weights as tiles, if products are computed on them.
    pub(crate) tiles: Option<&'a WeightTiles>,
    /// What is done to samples in all passes but [`Pass::Forward`].
    pub(crate) regularization: &'a Regularization,
    /// The keys of this epoch for dropout and for distortions.
    pub(crate) epoch_keys: [u64; 2],
    /// What distorts pictures, if they are distorted.
    pub(crate) distorter: Option<&'a Distorter>,
}

impl Net<'_> {
    /// Runs the network over one thread's panels.
    pub(crate) fn panels(&self, batch: &Batch<'_>, share: Share<'_>) {
        let Share { arena, losses, correct, memory } = share;
        if let Pass::Below(layer) = batch.pass {
            return self.backward(batch.params, layer, arena, &mut memory.scratch);
        }
        self.gather(batch, arena, memory.pictures.as_mut());
        self.forward(batch, arena, &mut memory.scratch);
        self.output(batch, arena, losses, correct, &mut memory.targets);
        if batch.pass == Pass::ForwardAndBackward {
            for l in (1..self.geometry.len()).rev() {
                self.backward(batch.params, l, arena, &mut memory.scratch);
            }
            if self.regularization.clip_samples > 0.0 {
                self.clip_samples(arena);
            }
        }
    }

    /// Computes the activations of the hidden layers, and z of the output layer without its bias.
    fn forward(&self, batch: &Batch<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
        let last = self.geometry.len() - 1;
        let params = batch.params;
        let (activation, precision) = (self.model.activation(), self.model.precision());
        let slopes = self.slopes.filter(|_| batch.pass != Pass::Forward);
        let dropout = Some(self.regularization.dropout).filter(|&p| p > 0.0 && batch.pass != Pass::Forward);
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
            if l == last {
                break;
            }
            let normalizes = !layer.gains.is_empty();
            // The normalisation adds the biases itself, and the activation what is added after it.
            let biases = &params[if normalizes { &layer.shifts } else { &layer.biases }.clone()];
            for (panel, samples) in arena.chunks_exact_mut(self.stride).zip(batch.samples.indices.chunks(16))
            {
                if normalizes {
                    self.normalize(batch, l, panel);
                }
                let (panel, deltas) = panel.split_at_mut(self.deltas);
                let lanes = &mut panel[place.output_lanes..place.output_lanes + layer.outputs];
                let Some(slopes) = slopes else {
                    vector::activate(self.isa, activation, precision, lanes, biases);
                    continue;
                };
                let at = self.slopes_of(slopes, l) - self.deltas;
                let slopes = &mut deltas[at..at + layer.outputs];
                vector::activate_with_slopes(self.isa, activation, precision, lanes, slopes, biases);
                if let Some(p) = dropout {
                    let first = self.layers[..=l].iter().map(|layer| layer.inputs).sum::<usize>();
                    self.drop_units(p, samples, first, lanes, Some(slopes));
                }
            }
        }
    }

    /// Normalises z of a hidden layer, to which its biases are still to be added, and its γ is multiplied in.
    fn normalize(&self, batch: &Batch<'_>, l: usize, panel: &mut [Lane]) {
        let (layer, place) = (&self.layers[l], &self.geometry[l]);
        let (biases, gains) = (&batch.params[layer.biases.clone()], &batch.params[layer.gains.clone()]);
        let lanes = |from: usize| from..from + layer.outputs;
        let Some(at) = place.normalized.filter(|_| batch.pass != Pass::Forward) else {
            return normalize(self.isa, &mut panel[lanes(place.output_lanes)], biases, gains, None);
        };
        let places = [lanes(place.output_lanes), lanes(at.gains), at.inverse..at.inverse + 1];
        let Ok([lanes, normalized, inverse]) = panel.get_disjoint_mut(places) else {
            unreachable!("the lanes of a panel do not overlap")
        };
        normalize(self.isa, lanes, biases, gains, Some(Kept { normalized, inverse: &mut inverse[0] }));
    }

    /// The first lane of a hidden layer's slopes, of which `slopes` is that of all.
    fn slopes_of(&self, slopes: usize, layer: usize) -> usize {
        slopes + self.geometry[layer].output_lanes - self.geometry[0].output_lanes
    }

    /// Leaves out units of up to 16 samples with probability `p`; `first` is the number of the first unit.
    fn drop_units(
        &self,
        p: f32,
        samples: &[u32],
        first: usize,
        lanes: &mut [Lane],
        slopes: Option<&mut [Lane]>,
    ) {
        let mut keys = [[0; 16]; 2];
        for (i, &sample) in samples.iter().enumerate() {
            let key = sample_key(self.epoch_keys[0], sample);
            (keys[0][i], keys[1][i]) = (key as u32, (key >> 32) as u32);
        }
        let (threshold, factor) = drop_rule(p);
        let drop = vector::Drop { keys: &keys, first: first as u32, threshold, factor };
        vector::drop_units(self.isa, drop, self.model.precision(), lanes, slopes);
    }

    /// Scales down the deltas of samples whose gradients are too large: all of a sample's gradient is linear in them.
    fn clip_samples(&self, arena: &mut [Lane]) {
        for panel in arena.chunks_exact_mut(self.stride) {
            let norms = squared_gradient_norms(self.isa, self.geometry, panel);
            let factors = Lane(norms.map(|norm| self.regularization.clip_factor(norm.sqrt())));
            for layer in self.geometry {
                let mut scale = |precision, from: usize| {
                    let lanes = &mut panel[from..from + layer.outputs];
                    vector::scale_samples(self.isa, precision, lanes, factors);
                };
                scale(self.model.precision(), layer.delta_lanes);
                if let Some(NormalizedLanes { gains, shifts, .. }) = layer.normalized {
                    scale(Precision::F32, gains);
                    scale(Precision::F32, shifts);
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
        let activation = self.model.activation();
        // Only what is multiplied next is rounded: with a normalisation not ∂C/∂y, but ∂C/∂z.
        let precision = match below.normalized {
            Some(_) => Precision::F32,
            None => self.model.precision(),
        };
        for panel in arena.chunks_exact_mut(self.stride) {
            if let Some(slopes) = self.slopes {
                let (deltas, slopes) = panel.split_at_mut(slopes);
                let at = self.slopes_of(0, l - 1);
                let deltas = &mut deltas[below.delta_lanes..below.delta_lanes + below.outputs];
                vector::scale(self.isa, precision, deltas, &slopes[at..at + below.outputs]);
            } else {
                let (activations, deltas) = panel.split_at_mut(self.deltas);
                let at = below.delta_lanes - self.deltas;
                let deltas = &mut deltas[at..at + below.outputs];
                let activations = &activations[below.output_lanes..below.output_lanes + below.outputs];
                vector::hidden_delta(self.isa, activation, precision, deltas, activations);
            }
            if let Some(at) = below.normalized {
                self.normalization_gradients(params, l - 1, at, panel);
            }
        }
    }

    /// Turns the deltas of a hidden layer's normalised z into those of z itself, and keeps each sample's gradients of γ and β.
    fn normalization_gradients(&self, params: &[f32], l: usize, at: NormalizedLanes, panel: &mut [Lane]) {
        let (layer, place) = (&self.layers[l], &self.geometry[l]);
        let inverse = panel[at.inverse];
        let lanes = |from: usize| from..from + layer.outputs;
        let places = [lanes(place.delta_lanes), lanes(at.gains), lanes(at.shifts)];
        let Ok([deltas, gains, shifts]) = panel.get_disjoint_mut(places) else {
            unreachable!("the lanes of a panel do not overlap")
        };
        let lanes = Gradients { deltas, gains, shifts };
        let gains = &params[layer.gains.clone()];
        normalization_gradients(self.isa, self.model.precision(), lanes, inverse, gains);
    }

    /// Copies the samples' features into the input lanes.
    fn gather(&self, batch: &Batch<'_>, arena: &mut [Lane], mut pictures: Option<&mut Pictures>) {
        let width = self.model.input_width();
        let source = gather_source(batch.data);
        let dropout =
            Some(self.regularization.input_dropout).filter(|&p| p > 0.0 && batch.pass != Pass::Forward);
        for (panel, samples) in arena.chunks_exact_mut(self.stride).zip(batch.samples.indices.chunks(16)) {
            let lanes = &mut panel[..width.next_multiple_of(16)];
            match (self.distorter, pictures.as_deref_mut()) {
                (Some(distorter), Some(pictures)) if batch.pass != Pass::Forward => {
                    self.distort(distorter, batch, samples, pictures);
                    let rows: [u32; 16] = core::array::from_fn(|i| i as u32);
                    let source = GatherSource::Floats(&pictures.distorted);
                    gather_panel(self.isa, source, width, &rows[..samples.len()], lanes);
                }
                _ => gather_panel(self.isa, source, width, samples, lanes),
            }
            if let Some(scale) = self.model.input_scale() {
                vector::standardize(self.isa, &mut lanes[..width], scale.mean(), 1.0 / scale.deviation());
            }
            if let Some(p) = dropout {
                self.drop_units(p, samples, 0, &mut lanes[..width], None);
            } else if self.model.precision() == Precision::Bf16 {
                bf16::round(self.isa, lanes);
            }
        }
    }

    /// Distorts the pictures of up to 16 samples.
    fn distort(&self, distorter: &Distorter, batch: &Batch<'_>, samples: &[u32], pictures: &mut Pictures) {
        let Pictures { canvas, source, distorted } = pictures;
        for (&sample, row) in samples.iter().zip(distorted.chunks_exact_mut(source.len())) {
            batch.data.input_into(sample as usize, source);
            distorter.distort(self.isa, sample_key(self.epoch_keys[1], sample), source, canvas, row);
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
        let regularization = match batch.pass {
            Pass::Forward => &Regularization::NONE,
            _ => self.regularization,
        };
        let panels = arena.chunks_exact_mut(self.stride).zip(batch.samples.indices.chunks(16));
        for ((panel, samples), (losses, correct)) in panels.zip(losses.iter_mut().zip(correct)) {
            fill_targets(batch.data.targets(), samples, regularization, targets);
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

/// The square of the norm of each sample's own gradient, without that of the weights: ‖g‖² = Σₗ ‖δˡ‖²·(‖aˡ⁻¹‖² + 1) (Goodfellow
/// 2015), and in normalised layers the squares of those of γ and β.
pub(crate) fn squared_gradient_norms(isa: Isa, geometry: &[LayerGeometry], panel: &[Lane]) -> [f64; 16] {
    let mut total = [0.0; 16];
    for layer in geometry {
        let (mut a, mut d) = ([0.0; 16], [0.0; 16]);
        let inputs = &panel[layer.input_lanes..layer.input_lanes + layer.inputs];
        let deltas = &panel[layer.delta_lanes..layer.delta_lanes + layer.outputs];
        vector::squared_norms(isa, inputs, &mut a);
        vector::squared_norms(isa, deltas, &mut d);
        for i in 0..16 {
            total[i] += d[i] * (a[i] + 1.0);
        }
        if let Some(NormalizedLanes { gains, shifts, .. }) = layer.normalized {
            for from in [gains, shifts] {
                vector::squared_norms(isa, &panel[from..from + layer.outputs], &mut d);
                for i in 0..16 {
                    total[i] += d[i];
                }
            }
        }
    }
    total
}

/// Writes the targets of up to 16 samples to `lanes`, one lane an output: one-hot for classes, unless they are smoothed.
fn fill_targets(targets: &Targets, samples: &[u32], regularization: &Regularization, lanes: &mut [Lane]) {
    match targets {
        Targets::Classes { labels, classes } => {
            let [own, other] = regularization.class_targets(*classes);
            lanes.fill(Lane([other; 16]));
            for (i, &sample) in samples.iter().enumerate() {
                lanes[labels[sample as usize] as usize].0[i] = own;
            }
        }
        Targets::Values { data, width } => {
            lanes.fill(Lane::ZERO);
            for (i, &sample) in samples.iter().enumerate() {
                for (lane, &y) in lanes.iter_mut().zip(&data[sample as usize * width..]) {
                    lane.0[i] = y;
                }
            }
        }
    }
}
