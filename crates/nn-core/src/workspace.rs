//! Forward and backward: the gradient of a mini-batch, computed leaf by leaf, and the network's outputs.
//!
//! For a sample with input a⁰ and target y:
//!
//! ```text
//! forward    zˡ = Wˡ aˡ⁻¹ + bˡ          aˡ = σ(zˡ)
//! output     δᴸ = ∇ₐC ⊙ σ'(zᴸ)          (fused with the cost, see `kernel::output`)
//! backward   δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ'(zˡ)
//! gradient   ∂C/∂bˡ = δˡ                ∂C/∂Wˡ = δˡ (aˡ⁻¹)ᵀ
//! ```
//!
//! In a network of [`Precision::Bf16`](crate::Precision) every a and δ is rounded as it comes into being, a⁰ included, and
//! W wherever it is multiplied.
//!
//! In a network with [`Normalization::Layer`](crate::Normalization) the hidden layers' z are normalised first (see `kernel::normalize`).
//!
//! (Nielsen, *Neural Networks and Deep Learning*, equations BP1 to BP4.) Sixteen samples travel together, one in each
//! place of a lane. Threads share the forward and backward pass by samples, and the gradient by weights; neither
//! changes the result. `reference.rs` has the same in plain code, one sample at a time.

mod layer_gradients;

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

pub use self::layer_gradients::LayerGradients;
use crate::augment::Distorter;
use crate::compute::Compute;
use crate::dataset::Dataset;
use crate::kernel::{
    DeltaTiles, Isa, Lane, LayerGeometry, NodeGradient, NormalizedLanes, Scratch, WeightTiles, node_gradient,
    zeroed, zeroed_lanes,
};

use crate::model::Model;
use crate::params::{LayerLayout, layout};
use crate::parts::Partial;
use crate::pass::{Batch, Net, Pass, PassMemory, Pictures, Share, gather_source, squared_gradient_norms};
use crate::random::{Purpose, epoch_key};
use crate::regularization::{Regularization, Samples};
use crate::spec::{Normalization, Precision};
use crate::threads::Threads;
use crate::tree::tree_sum;

/// The statistics of a node of the tree, beside its gradient: sums, not means, so a parent's are the sums of its
/// children's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeStats {
    /// Samples in the node.
    pub samples: usize,
    /// The sum of the samples' losses, along the tree.
    pub loss: f64,
    /// Samples whose strongest output is their label; 0 for regression.
    pub correct: usize,
    /// False if the loss or any element of the gradient is NaN or infinite.
    pub finite: bool,
}

/// The performance of a network on a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Samples evaluated.
    pub samples: usize,
    /// The mean loss.
    pub loss: f64,
    /// Samples whose strongest output is their label; 0 for regression.
    pub correct: usize,
}

/// The reason why a model cannot use some data or parameters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum MismatchError {
    #[error("the model takes {model} inputs, but the samples have {data} features")]
    Inputs { model: usize, data: usize },
    #[error("the model has {model} outputs, but the data has {data} classes or target values")]
    Outputs { model: usize, data: usize },
    #[error("the model has {model} parameters, but {given} were given")]
    Parameters { model: usize, given: usize },
    #[error("pictures are to be distorted, but the samples are no pictures")]
    NoPictures,
}

/// Samples evaluated at a time.
const EVALUATION_BLOCK: usize = 1024;

/// The memory to compute gradients in, with room for the activations of a given number of samples. Nodes of no more samples
/// allocate nothing when they are computed; larger ones are computed in parts, see `parts.rs`.
#[derive(Debug)]
pub struct Workspace {
    model: Model,
    layers: Vec<LayerLayout>,
    geometry: Vec<LayerGeometry>,
    isa: Isa,
    threads: Arc<Threads>,
    /// Lanes of one panel: the input, each layer's activations, each layer's deltas, perhaps each hidden layer's slopes, and what
    /// normalised layers have more.
    stride: usize,
    /// The first lane of deltas in a panel.
    deltas: usize,
    /// The first lane of slopes in a panel, if they are kept.
    slopes: Option<usize>,
    /// What is done to samples in training, and its seed.
    regularization: (Regularization, u64),
    /// What distorts pictures of a height and width, once such pictures have come.
    distorter: Option<((usize, usize), Distorter)>,
    /// The panels, of sixteen samples each.
    arena: Vec<Lane>,
    losses: Vec<[f64; 16]>,
    correct: Vec<[bool; 16]>,
    /// Each thread's memory for a pass.
    pass_memory: Vec<PassMemory>,
    /// Each thread's memory for gradients; empty if the workspace only evaluates.
    scratch: Vec<Scratch>,
    /// The weights of the last pass and the deltas of the last gradient as tiles, with a matrix unit.
    tiles: (WeightTiles, DeltaTiles),
    /// Gradients of parts of a node that is larger than the room.
    pub(crate) partial: Partial,
}

impl Workspace {
    /// Memory for `samples` samples at a time.
    #[must_use]
    pub fn new(model: &Model, samples: usize, threads: Arc<Threads>, isa: Isa) -> Self {
        Self::regularized(model, (Regularization::NONE, 0), samples, threads, isa)
    }

    /// Memory for `samples` samples at a time, which are trained on with some regularization and the seed of what is random
    /// about it.
    #[must_use]
    pub fn regularized(
        model: &Model,
        regularization: (Regularization, u64),
        samples: usize,
        threads: Arc<Threads>,
        isa: Isa,
    ) -> Self {
        let keeps_slopes = !model.activation().has_slope_of_value() || regularization.0.dropout > 0.0;
        let panels = samples.div_ceil(16).max(1);
        let mut workspace = Self::with_panels(model, panels, threads, isa, Some(keeps_slopes));
        workspace.regularization = regularization;
        let panels = workspace.losses.len();
        workspace.scratch = (0..workspace.threads.count()).map(|_| Scratch::new(panels)).collect();
        workspace
    }

    /// Memory only for [`Workspace::evaluate`] and [`Workspace::outputs`].
    #[must_use]
    pub fn for_evaluation(model: &Model, threads: Arc<Threads>, isa: Isa) -> Self {
        Self::with_panels(model, EVALUATION_BLOCK / 16, threads, isa, None)
    }

    /// `keeps_slopes` is `None` if there are only forward passes.
    fn with_panels(
        model: &Model,
        panels: usize,
        threads: Arc<Threads>,
        isa: Isa,
        keeps_slopes: Option<bool>,
    ) -> Self {
        let layers = layout(model);
        let padded: Vec<usize> = model.widths().iter().map(|w| w.next_multiple_of(16)).collect();
        let activations: Vec<usize> = offsets(&padded, 0).collect();
        let deltas = padded.iter().sum();
        let after_deltas = deltas + padded[1..].iter().sum::<usize>();
        let hidden = &padded[1..padded.len() - 1];
        let hidden_lanes: usize = hidden.iter().sum();
        let slopes = (keeps_slopes == Some(true)).then_some(after_deltas);
        let after_slopes = after_deltas + if slopes.is_some() { hidden_lanes } else { 0 };
        let normalizes = keeps_slopes.is_some() && model.normalization() == Normalization::Layer;
        let normalized: Vec<NormalizedLanes> = offsets(hidden, after_slopes)
            .enumerate()
            .filter(|_| normalizes)
            .map(|(l, gains)| NormalizedLanes {
                gains,
                shifts: gains + hidden_lanes,
                inverse: after_slopes + 2 * hidden_lanes + l,
            })
            .collect();
        let geometry: Vec<LayerGeometry> = layers
            .iter()
            .enumerate()
            .zip(offsets(&padded[1..], deltas))
            .map(|((l, layer), delta_lanes)| LayerGeometry {
                inputs: layer.inputs,
                outputs: layer.outputs,
                input_lanes: activations[l],
                output_lanes: activations[l + 1],
                delta_lanes,
                weights: layer.weights.start,
                biases: layer.biases.start,
                normalized: normalized.get(l).copied(),
            })
            .collect();
        let lanes = normalized.last().map_or(after_slopes, |last| last.inverse + 1);
        // An odd number of lanes: with a multiple of 64, all panels would compete for the same cache sets.
        let stride = lanes | 1;
        let pass_memory = (0..threads.count())
            .map(|_| PassMemory {
                targets: vec![Lane::ZERO; model.output_width()],
                scratch: Scratch::new(0),
                pictures: None,
            })
            .collect();
        Self {
            model: model.clone(),
            layers,
            geometry,
            isa,
            threads,
            stride,
            deltas,
            slopes,
            regularization: (Regularization::NONE, 0),
            distorter: None,
            arena: zeroed_lanes(stride * panels),
            losses: vec![[0.0; 16]; panels],
            correct: vec![[false; 16]; panels],
            pass_memory,
            scratch: Vec::new(),
            tiles: Default::default(),
            partial: Partial::default(),
        }
    }

    /// The model that this memory is for.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Computes the gradient of one node of the tree: the sum over `samples` (cut into leaves of `shard`), along the canonical tree, written to `out` in the order of the
    /// parameters. It is a sum; the optimizer step turns the root's sum into the mean.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    ///
    /// # Panics
    /// If there are no samples, one of them is not in `data`, `shard` is 0 or more than the workspace has room for, or
    /// `out` is not of the size of the parameters.
    pub fn node_gradient(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: Samples<'_>,
        shard: usize,
        out: &mut [f32],
    ) -> Result<NodeStats, MismatchError> {
        self.check(params, data)?;
        self.prepare_distortion(data)?;
        assert!(out.len() == params.len() && !self.scratch.is_empty());
        self.pack(params, samples.indices.len(), 1);
        Ok(if samples.indices.len() <= self.room() {
            self.part_gradient(params, data, samples, shard, out)
        } else {
            self.gradient_of_parts(params, data, samples, shard, out)
        })
    }

    /// The samples whose activations there is room for.
    pub(crate) fn room(&self) -> usize {
        self.losses.len() * 16
    }

    /// The threads and instruction set.
    pub(crate) fn compute(&self) -> Compute {
        Compute { isa: self.isa, threads: self.threads.clone() }
    }

    /// [`Workspace::node_gradient`] of a node for which there is room, once all has been checked and packed.
    pub(crate) fn part_gradient(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: Samples<'_>,
        shard: usize,
        out: &mut [f32],
    ) -> NodeStats {
        let count = samples.indices.len();
        self.pass(&Batch { params, data, samples, pass: Pass::ForwardAndBackward });
        let task = NodeGradient {
            layers: &self.geometry,
            arena: &self.arena,
            stride: self.stride,
            samples: count,
            shard,
            precision: self.model.precision(),
            origin: self.trains_on_inputs_as_they_are().then(|| (gather_source(data), samples.indices)),
        };
        let workers = self.worth(2 * self.model.parameters() * count);
        let memory = (&mut self.scratch[..workers], &mut self.tiles.1);
        let finite = node_gradient(self.isa, &self.threads, &task, memory, out);
        self.stats(count, shard, finite)
    }

    /// [`Workspace::node_gradient`] in pieces: the forward pass now, and then one layer after another, from the last
    /// to the first, so that a layer's gradient can be sent while those of earlier layers are computed. The bits are
    /// the same.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    ///
    /// # Panics
    /// As [`Workspace::node_gradient`].
    pub fn node_gradient_by_layer<'a>(
        &'a mut self,
        params: &'a [f32],
        data: &'a Dataset,
        samples: Samples<'a>,
        shard: usize,
    ) -> Result<LayerGradients<'a>, MismatchError> {
        self.check(params, data)?;
        self.prepare_distortion(data)?;
        assert!(shard > 0 && !self.scratch.is_empty());
        let left = self.geometry.len();
        if samples.indices.len() > self.room() {
            // The deltas of one part make way for those of the next, so all layers come at once.
            let mut whole = zeroed(params.len());
            let stats = self.node_gradient(params, data, samples, shard, &mut whole)?;
            let whole = Some((whole, stats));
            let finite = true;
            return Ok(LayerGradients {
                workspace: self,
                params,
                data,
                samples,
                shard,
                left,
                has_deltas: true,
                finite,
                whole,
            });
        }
        self.pack(params, samples.indices.len(), 1);
        // The norm of a sample's gradient is known only with the deltas of all layers.
        let has_deltas = self.regularization.0.clip_samples > 0.0;
        let pass = if has_deltas { Pass::ForwardAndBackward } else { Pass::ForwardToDeltas };
        self.pass(&Batch { params, data, samples, pass });
        let whole = None;
        Ok(LayerGradients {
            workspace: self,
            params,
            data,
            samples,
            shard,
            left,
            has_deltas,
            finite: true,
            whole,
        })
    }

    /// Whether the first layer's inputs in training are those of the data.
    fn trains_on_inputs_as_they_are(&self) -> bool {
        self.model.input_scale().is_none()
            && self.regularization.0.input_dropout == 0.0
            && self.regularization.0.augmentation.is_none()
    }

    /// Makes room for the distortion of these pictures, if they are to be distorted.
    fn prepare_distortion(&mut self, data: &Dataset) -> Result<(), MismatchError> {
        let augmentation = self.regularization.0.augmentation;
        if augmentation.is_none() {
            return Ok(());
        }
        let image = data.image().ok_or(MismatchError::NoPictures)?;
        if self.distorter.as_ref().is_none_or(|(of, _)| *of != image) {
            let distorter = Distorter::new(augmentation, image);
            for memory in &mut self.pass_memory {
                memory.pictures = Some(Pictures::new(&distorter, data.input_width()));
            }
            self.distorter = Some((image, distorter));
        }
        Ok(())
    }

    /// The statistics of a node of so many samples, once they have been through the network.
    fn stats(&self, samples: usize, shard: usize, finite: bool) -> NodeStats {
        let losses = self.losses.as_flattened();
        let leaves = losses[..samples].chunks(shard).map(|leaf| leaf.iter().sum::<f64>());
        let loss = tree_sum(leaves);
        NodeStats { samples, loss, correct: self.count_correct(samples), finite: finite && loss.is_finite() }
    }

    /// The norm of each sample's own gradient in the last [`Workspace::node_gradient`], computed without that of the weights:
    /// ‖g‖² = Σₗ ‖δˡ‖²·(‖aˡ⁻¹‖² + 1) (Goodfellow 2015), and in normalised layers the squares of those of γ and β.
    ///
    /// # Panics
    /// If `norms` has more numbers than the node had samples.
    pub fn sample_gradient_norms(&self, norms: &mut [f64]) {
        assert!(norms.len() <= self.losses.len() * 16);
        for (norms, panel) in norms.chunks_mut(16).zip(self.arena.chunks_exact(self.stride)) {
            let total = squared_gradient_norms(self.isa, &self.geometry, panel);
            for (norm, total) in norms.iter_mut().zip(total) {
                *norm = total.sqrt();
            }
        }
    }

    /// Computes the mean loss and counts the right answers over all of `data`.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    pub fn evaluate(&mut self, params: &[f32], data: &Dataset) -> Result<Evaluation, MismatchError> {
        self.evaluate_blocks(params, data, |_, _| {})
    }

    /// [`Workspace::evaluate`], which also replaces `outputs` by what [`Workspace::outputs`] gives for all of `data`.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    pub fn evaluate_into(
        &mut self,
        params: &[f32],
        data: &Dataset,
        outputs: &mut Vec<f32>,
    ) -> Result<Evaluation, MismatchError> {
        let width = self.model.output_width();
        outputs.clear();
        outputs.resize(data.len() * width, 0.0);
        self.evaluate_blocks(params, data, |workspace, range| {
            workspace.copy_outputs(&mut outputs[range.start * width..range.end * width]);
        })
    }

    fn evaluate_blocks(
        &mut self,
        params: &[f32],
        data: &Dataset,
        mut also: impl FnMut(&Self, Range<usize>),
    ) -> Result<Evaluation, MismatchError> {
        let (mut loss, mut correct) = (0.0, 0);
        self.blocks(params, data, 0..data.len(), |workspace, range| {
            loss += workspace.losses.as_flattened()[..range.len()].iter().sum::<f64>();
            correct += workspace.count_correct(range.len());
            also(workspace, range);
        })?;
        Ok(Evaluation { samples: data.len(), loss: loss / data.len() as f64, correct })
    }

    /// The outputs of the network for a range of samples, row-major `[samples][outputs]`.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    ///
    /// # Panics
    /// If the range is not in the data.
    pub fn outputs(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: Range<usize>,
    ) -> Result<Vec<f32>, MismatchError> {
        let width = self.model.output_width();
        let mut outputs = vec![0.0; samples.len() * width];
        let first = samples.start;
        self.blocks(params, data, samples, |workspace, range| {
            workspace.copy_outputs(&mut outputs[(range.start - first) * width..(range.end - first) * width]);
        })?;
        Ok(outputs)
    }

    /// The number of units of each hidden layer that are 0 for every one of `samples` (indices into `data`): with ReLU,
    /// units that have died, which no gradient reaches as long as the inputs stay such.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    ///
    /// # Panics
    /// If one of the samples is not in the data.
    pub fn dead_units(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: &[u32],
    ) -> Result<Vec<usize>, MismatchError> {
        self.check(params, data)?;
        self.pack(params, samples.len(), usize::MAX);
        let hidden = self.geometry.len() - 1;
        let mut alive: Vec<Vec<bool>> =
            self.geometry[..hidden].iter().map(|layer| vec![false; layer.outputs]).collect();
        for samples in samples.chunks(self.losses.len() * 16) {
            self.pass(&Batch { params, data, samples: Samples::first(samples), pass: Pass::Forward });
            for (samples, panel) in samples.chunks(16).zip(self.arena.chunks_exact(self.stride)) {
                for (layer, alive) in self.geometry[..hidden].iter().zip(&mut alive) {
                    for (unit, alive) in panel[layer.output_lanes..].iter().zip(alive) {
                        *alive |= unit.0[..samples.len()].iter().any(|&activation| activation != 0.0);
                    }
                }
            }
        }
        Ok(alive.iter().map(|layer| layer.iter().filter(|&&alive| !alive).count()).collect())
    }

    /// The activations of the hidden layers for one sample, layer by layer.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    ///
    /// # Panics
    /// If the sample is not in the data.
    pub fn hidden_activations(
        &mut self,
        params: &[f32],
        data: &Dataset,
        sample: usize,
    ) -> Result<Vec<Vec<f32>>, MismatchError> {
        let mut layers = Vec::new();
        self.blocks(params, data, sample..sample + 1, |workspace, _| {
            let hidden = &workspace.geometry[..workspace.geometry.len() - 1];
            layers = hidden
                .iter()
                .map(|layer| {
                    let lanes = &workspace.arena[layer.output_lanes..][..layer.outputs];
                    lanes.iter().map(|lane| lane.0[0]).collect()
                })
                .collect();
        })?;
        Ok(layers)
    }

    /// Copies the outputs of the last pass to `rows`, row-major, a row for each of its first samples.
    pub(crate) fn copy_outputs(&self, rows: &mut [f32]) {
        let width = self.model.output_width();
        let lanes = self.geometry[self.geometry.len() - 1].output_lanes;
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            let panel = &self.arena[i / 16 * self.stride + lanes..];
            for (output, lane) in row.iter_mut().zip(&panel[..width]) {
                *output = lane.0[i % 16];
            }
        }
    }

    /// Checks that data, model and parameters match.
    pub(crate) fn check(&self, params: &[f32], data: &Dataset) -> Result<(), MismatchError> {
        let model = &self.model;
        if data.input_width() != model.input_width() {
            return Err(MismatchError::Inputs { model: model.input_width(), data: data.input_width() });
        }
        if data.output_width() != model.output_width() {
            return Err(MismatchError::Outputs { model: model.output_width(), data: data.output_width() });
        }
        if params.len() != model.parameters() {
            return Err(MismatchError::Parameters { model: model.parameters(), given: params.len() });
        }
        Ok(())
    }

    /// Runs the forward pass over a range of samples, block by block; `done` reads the results of each block.
    fn blocks(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: Range<usize>,
        mut done: impl FnMut(&Self, Range<usize>),
    ) -> Result<(), MismatchError> {
        self.check(params, data)?;
        assert!(samples.end <= data.len());
        self.pack(params, samples.len(), usize::MAX);
        let mut ids = Vec::with_capacity(EVALUATION_BLOCK);
        let mut start = samples.start;
        while start < samples.end {
            let end = samples.end.min(start + self.losses.len() * 16);
            ids.clear();
            ids.extend(start as u32..end as u32);
            self.pass(&Batch { params, data, samples: Samples::first(&ids), pass: Pass::Forward });
            done(self, start..end);
            start = end;
        }
        Ok(())
    }

    /// The number of right answers among the first `samples` of the last pass.
    fn count_correct(&self, samples: usize) -> usize {
        self.correct.as_flattened()[..samples].iter().filter(|&&c| c).count()
    }

    /// The loss of sample `i` of the last pass, and whether its answer is right.
    pub(crate) fn result_of(&self, i: usize) -> (f64, bool) {
        (self.losses.as_flattened()[i], self.correct.as_flattened()[i])
    }

    /// The number of threads that pays for so many operations.
    fn worth(&self, operations: usize) -> usize {
        (operations / self.threads.operations_per_thread()).clamp(1, self.threads.count())
    }

    fn on_tiles(&self) -> bool {
        self.model.precision() == Precision::Bf16 && self.isa.has_tiles()
    }

    /// Writes the weights as tiles for the passes that follow, if there is a matrix unit for them; those of backward products from
    /// layer `backward` on. A pass over `samples` samples decides how many threads pay.
    pub(crate) fn pack(&mut self, params: &[f32], samples: usize, backward: usize) {
        if self.on_tiles() {
            let workers = self.worth(2 * self.model.parameters() * samples);
            self.tiles.0.pack(self.isa, (&self.threads, workers), &self.geometry, params, backward);
        }
    }

    /// Runs the network over a batch, with the panels shared among the threads.
    pub(crate) fn pass(&mut self, batch: &Batch<'_>) {
        let samples = batch.samples.indices.len();
        let panels = samples.div_ceil(16);
        assert!(panels > 0 && panels <= self.losses.len(), "the workspace has room for the samples");
        let workers = self.worth(2 * self.model.parameters() * samples).min(panels);
        // Whole pairs of panels, if there are enough: the kernels are fastest with two at a time.
        let mut group = panels.div_ceil(workers);
        if panels >= 2 * workers {
            group = group.next_multiple_of(2);
        }
        let (regularization, seed) = &self.regularization;
        let net = Net {
            model: &self.model,
            layers: &self.layers,
            geometry: &self.geometry,
            isa: self.isa,
            stride: self.stride,
            deltas: self.deltas,
            slopes: self.slopes,
            regularization,
            epoch_keys: [Purpose::Dropout, Purpose::Distortion].map(|purpose| match batch.pass {
                Pass::Forward | Pass::Below(_) => 0, // nothing is drawn
                _ if regularization.is_none() => 0,
                _ => epoch_key(*seed, purpose, batch.samples.epoch),
            }),
            distorter: self.distorter.as_ref().map(|(_, distorter)| distorter),
            tiles: self.on_tiles().then_some(&self.tiles.0),
        };
        self.threads.shares(
            group,
            (&mut self.arena[..panels * self.stride], self.stride),
            &mut self.losses[..panels],
            &mut self.correct[..panels],
            &mut self.pass_memory,
            |g, arena, losses, correct, memory| {
                let first = g * group * 16;
                let samples = batch.samples.part(first..samples.min(first + group * 16));
                net.panels(&Batch { samples, ..*batch }, Share { arena, losses, correct, memory });
            },
        );
    }
}

/// The starts of consecutive runs of the given lengths.
fn offsets(lengths: &[usize], start: usize) -> impl Iterator<Item = usize> {
    lengths.iter().scan(start, |at, len| {
        let here = *at;
        *at += len;
        Some(here)
    })
}
