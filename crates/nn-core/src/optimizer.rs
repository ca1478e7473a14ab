//! The optimizer step: from the gradient sum of a mini-batch to the next weights.

use std::ops::Range;

use crate::compute::Compute;
use crate::kernel::update::{Update, update};
use crate::kernel::{Isa, zeroed};
use crate::math::power;
use crate::max_norm::bound_rows;
use crate::model::Model;
use crate::noise::GradientNoise;
use crate::params::{LayerLayout, layout};
use crate::spec::Optimizer;

/// The numbers that an optimizer step depends on besides weights, moments and gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepInputs {
    /// Samples in the mini-batch. The step multiplies the gradient sum by the rounded 1/samples.
    pub samples: usize,
    /// The number of the step, counted from 0; Adam corrects its moments by it.
    pub step: u64,
    /// η of this step, after the schedule.
    pub learning_rate: f32,
    /// λ/n of Nielsen's equation 93, n being the number of training samples: the step adds `l2 · w` to the gradient of
    /// each weight, but not of biases, nor of γ and β of normalised layers.
    pub l2: f32,
    /// What the mean gradient is multiplied by before all else: 1, or the factor that clips it
    /// ([`clip_factor`](crate::clip_factor)). It multiplies 1/samples, once, so it costs nothing.
    pub clip: f32,
    /// Noise that is added to the gradient sum before all else.
    pub noise: Option<GradientNoise>,
}

/// The parameters and moments that [`OptimizerState::step_layer`] starts from and leaves unchanged.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// All parameters of the model.
    pub params: &'a [f32],
    /// The moments.
    pub optimizer: &'a OptimizerState,
}

/// An optimizer with its state: no moments, one or two, each of the size of the parameters.
#[derive(Debug, Clone)]
pub struct OptimizerState {
    optimizer: Optimizer,
    layers: Vec<LayerLayout>,
    /// The largest norm of a hidden unit's incoming weights; `None` for any.
    max_norm: Option<f32>,
    /// Velocity of momentum and Nesterov, first moment of Adam; empty for plain SGD.
    first: Vec<f32>,
    /// Second moment of Adam; empty otherwise.
    second: Vec<f32>,
}

/// Parameters that a thread steps at a time: with their gradient and moments they fit into its cache.
const CHUNK: usize = 1 << 15;

impl OptimizerState {
    /// The state before the first step: zeros.
    #[must_use]
    pub fn new(optimizer: Optimizer, model: &Model) -> Self {
        let n = model.parameters();
        let (first, second) = match optimizer {
            Optimizer::Sgd => (0, 0),
            Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => (n, 0),
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => (n, n),
        };
        Self {
            optimizer,
            layers: layout(model),
            max_norm: None,
            first: zeroed(first),
            second: zeroed(second),
        }
    }

    /// The same with the incoming weights of each hidden unit scaled down to this norm after each step where they are longer;
    /// `None` for weights of any length.
    #[must_use]
    pub fn with_max_norm(mut self, most: Option<f32>) -> Self {
        self.max_norm = most;
        self
    }

    /// The moments, in the order of the parameters: velocity or first moment, then second moment. Those that the
    /// optimizer does not use are empty.
    #[must_use]
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.first, &self.second]
    }

    /// The moments, to restore them from a checkpoint.
    pub fn moments_mut(&mut self) -> [&mut [f32]; 2] {
        [&mut self.first, &mut self.second]
    }

    /// Takes one step in place: turns the gradient sum into the mean, adds the L2 penalty, updates `params` and the
    /// moments, and scales weights down that are longer than the largest norm.
    ///
    /// # Panics
    /// If the slices are not of the model's size.
    pub fn step(&mut self, compute: &Compute, params: &mut [f32], gradient_sum: &[f32], inputs: StepInputs) {
        assert!(gradient_sum.len() == self.parameters());
        let source = Source::InPlace { gradient_sum };
        self.step_range(compute, 0..self.parameters(), source, params, inputs);
        (0..self.layers.len()).for_each(|layer| self.bound(compute, layer, params));
    }

    /// [`OptimizerState::step`] for a single layer, from `before` to `params` and `self`; the other layers of both
    /// keep their values. `gradient_sum(i, out)` writes the layer's gradient from its `i`-th number on to `out`, a
    /// block that fits into the first-level cache; it is called once for each number. Stepping each layer once, in
    /// any order, gives the same bits as stepping all at once.
    ///
    /// # Panics
    /// If the model has no such layer, the slices are not of its size, or `before` is of another model or optimizer.
    pub fn step_layer(
        &mut self,
        compute: &Compute,
        layer: usize,
        before: Before<'_>,
        params: &mut [f32],
        gradient_sum: &(dyn Fn(usize, &mut [f32]) + Sync),
        inputs: StepInputs,
    ) {
        assert!(before.params.len() == self.parameters() && params.len() == self.parameters());
        let range = self.layers[layer].range();
        let source = Source::Blocks {
            params: &before.params[range.clone()],
            first: part_of(&before.optimizer.first, &range),
            second: part_of(&before.optimizer.second, &range),
            gradient_sum,
        };
        self.step_range(compute, range.clone(), source, &mut params[range], inputs);
        self.bound(compute, layer, params);
    }

    /// Scales down the rows of a layer that are too long, if it is a hidden one.
    fn bound(&self, compute: &Compute, layer: usize, params: &mut [f32]) {
        if let (Some(most), true) = (self.max_norm, layer + 1 < self.layers.len()) {
            let LayerLayout { inputs, weights, .. } = &self.layers[layer];
            bound_rows(compute, *inputs, &mut params[weights.clone()], most);
        }
    }

    /// The number of parameters.
    fn parameters(&self) -> usize {
        self.layers[self.layers.len() - 1].range().end
    }

    /// Steps a range of the parameters, shared among the threads if it is long; `source` and `params` are that range.
    fn step_range(
        &mut self,
        compute: &Compute,
        range: Range<usize>,
        source: Source<'_>,
        params: &mut [f32],
        inputs: StepInputs,
    ) {
        assert!(params.len() == range.len());
        let [weights, others] = updates(self.optimizer, inputs);
        let step = RangeStep {
            isa: compute.isa,
            layers: &self.layers,
            start: range.start,
            weights,
            others,
            noise: inputs.noise,
        };
        let (first, second) = (part_of_mut(&mut self.first, &range), part_of_mut(&mut self.second, &range));
        if compute.threads.count() == 1 || range.len() < 16 * CHUNK {
            step.run(&source, 0, params, first, second);
        } else {
            let run = |at: usize, w: &mut [f32], m: &mut [f32], v: &mut [f32]| step.run(&source, at, w, m, v);
            compute.threads.for_each_chunk(CHUNK, params, first, second, run);
        }
    }
}

/// The constants of a step, for weights and for all other parameters, which have no penalty.
fn updates(optimizer: Optimizer, inputs: StepInputs) -> [Update; 2] {
    let StepInputs { samples, step, learning_rate, l2, clip, noise: _ } = inputs;
    let mut others = Update {
        optimizer,
        learning_rate,
        mean: 1.0 / samples as f32 * clip,
        l2: 0.0,
        keep: 1.0,
        step_size: 0.0,
        root_correction: 0.0,
    };
    let mut decay = 0.0;
    if let Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } = optimizer {
        let correction = |beta: f32| 1.0 - power(f64::from(beta), step + 1);
        others.step_size = (f64::from(learning_rate) / correction(beta1)) as f32;
        others.root_correction = (1.0 / correction(beta2).sqrt()) as f32;
    }
    if let Optimizer::AdamW { weight_decay, .. } = optimizer {
        decay = learning_rate * weight_decay;
    }
    [Update { l2, keep: 1.0 - decay, ..others }, others]
}

/// A step of a range of the parameters.
struct RangeStep<'a> {
    isa: Isa,
    layers: &'a [LayerLayout],
    /// The first parameter of the range.
    start: usize,
    weights: Update,
    /// All but the weights.
    others: Update,
    noise: Option<GradientNoise>,
}

/// The origin of weights, moments and gradient of a range.
enum Source<'a> {
    /// Weights and moments are stepped in place.
    InPlace { gradient_sum: &'a [f32] },
    /// Weights and moments are copied from these, and the gradient is read block by block.
    Blocks {
        params: &'a [f32],
        first: &'a [f32],
        second: &'a [f32],
        gradient_sum: &'a (dyn Fn(usize, &mut [f32]) + Sync),
    },
}

/// Parameters that are copied and stepped at a time: with gradient and moments, before and after, they fit into the
/// first-level cache.
const BLOCK: usize = 1 << 10;

impl RangeStep<'_> {
    /// Steps the parameters `w` with moments `m` and `v`, the first of which is number `at` of the range.
    fn run(&self, source: &Source<'_>, at: usize, w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        match *source {
            Source::InPlace { gradient_sum } => self.update(at, w, m, v, &gradient_sum[at..at + w.len()]),
            Source::Blocks { params, first, second, gradient_sum } => {
                let mut gradient = [0.0; BLOCK];
                for from in (0..w.len()).step_by(BLOCK) {
                    let here = from..w.len().min(from + BLOCK);
                    let there = at + here.start..at + here.end;
                    let gradient = &mut gradient[..here.len()];
                    gradient_sum(there.start, gradient);
                    let (w, m, v) = (&mut w[here.clone()], part_of_mut(m, &here), part_of_mut(v, &here));
                    w.copy_from_slice(&params[there.clone()]);
                    m.copy_from_slice(part_of(first, &there));
                    v.copy_from_slice(part_of(second, &there));
                    self.update(there.start, w, m, v, gradient);
                }
            }
        }
    }

    /// Updates the parameters in place, with noise if there is any; the first of them is number `at` of the range.
    fn update(&self, at: usize, w: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32]) {
        let Some(noise) = self.noise else { return self.update_by(at, w, m, v, gradient) };
        let mut noisy = [0.0; BLOCK];
        for from in (0..w.len()).step_by(BLOCK) {
            let here = from..w.len().min(from + BLOCK);
            let noisy = &mut noisy[..here.len()];
            noisy.copy_from_slice(&gradient[here.clone()]);
            noise.add(self.start + at + from, noisy);
            let (m, v) = (part_of_mut(m, &here), part_of_mut(v, &here));
            self.update_by(at + from, &mut w[here], m, v, noisy);
        }
    }

    /// Updates weights and biases by this gradient.
    fn update_by(&self, at: usize, w: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32]) {
        let start = self.start + at;
        let end = start + w.len();
        for layer in self.layers {
            let others = layer.unpenalized();
            for (kind, constants) in [(&layer.weights, self.weights), (&others, self.others)] {
                let (from, to) = (kind.start.max(start), kind.end.min(end));
                if from < to {
                    let here = from - start..to - start;
                    let (m, v) = (part_of_mut(m, &here), part_of_mut(v, &here));
                    update(self.isa, constants, &mut w[here.clone()], &gradient[here], m, v);
                }
            }
        }
    }
}

/// The part of a moment that belongs to a range of parameters; empty if the optimizer does not use that moment.
fn part_of<'a>(moment: &'a [f32], range: &Range<usize>) -> &'a [f32] {
    if moment.is_empty() { moment } else { &moment[range.clone()] }
}

/// [`part_of`], to write.
fn part_of_mut<'a>(moment: &'a mut [f32], range: &Range<usize>) -> &'a mut [f32] {
    if moment.is_empty() { moment } else { &mut moment[range.clone()] }
}
