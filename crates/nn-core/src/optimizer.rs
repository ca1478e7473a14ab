//! The optimizer step and the learning rate: what turns a mini-batch's gradient sum into the next weights.

use std::ops::Range;

use crate::kernel::{Isa, vector, zeroed};
use crate::params::{LayerLayout, layout};
use crate::spec::{Model, Optimizer, Schedule, ScheduleShape};
use crate::threads::Threads;

/// The schedule's multiplier of the learning rate for step `step` (counted from 0) of a run of `epochs` epochs of
/// `steps_per_epoch` steps.
///
/// During the warm-up it is (step + 1)/warmup_steps. The cosine runs over the steps after the warm-up.
#[must_use]
pub fn rate_multiplier(schedule: &Schedule, step: u64, steps_per_epoch: u64, epochs: u32) -> f64 {
    if step < schedule.warmup_steps {
        return (step + 1) as f64 / schedule.warmup_steps as f64;
    }
    match schedule.shape {
        ScheduleShape::Constant => 1.0,
        ScheduleShape::Step { every_epochs, factor } => {
            power(f64::from(factor), step / steps_per_epoch / u64::from(every_epochs))
        }
        ScheduleShape::Cosine { floor } => {
            let floor = f64::from(floor);
            let total = u64::from(epochs).saturating_mul(steps_per_epoch);
            let rest = total.saturating_sub(schedule.warmup_steps).max(1);
            let done = (step - schedule.warmup_steps).min(rest) as f64 / rest as f64;
            floor + (1.0 - floor) * 0.5 * (1.0 + libm::cos(core::f64::consts::PI * done))
        }
    }
}

/// xⁿ by repeated squaring: the platform's `powi` does not promise its bits.
fn power(mut x: f64, mut n: u64) -> f64 {
    let mut y = 1.0;
    while n > 0 {
        if n & 1 == 1 {
            y *= x;
        }
        x *= x;
        n >>= 1;
    }
    y
}

/// An optimizer with its state: one or two moments of the size of the parameters, or none.
#[derive(Debug, Clone)]
pub struct OptimizerState {
    optimizer: Optimizer,
    layers: Vec<LayerLayout>,
    /// Velocity of momentum and Nesterov, first moment of Adam; empty for plain SGD.
    first: Vec<f32>,
    /// Second moment of Adam; empty otherwise.
    second: Vec<f32>,
}

/// Parameters that one thread steps at a time: what fits its cache together with gradient and moments.
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
        Self { optimizer, layers: layout(model), first: zeroed(first), second: zeroed(second) }
    }

    /// The moments, in the order of the parameters: velocity or first moment, then second moment; empty where the
    /// optimizer has none.
    #[must_use]
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.first, &self.second]
    }

    /// The moments, to restore them from a checkpoint.
    pub fn moments_mut(&mut self) -> [&mut [f32]; 2] {
        [&mut self.first, &mut self.second]
    }

    /// Takes step number `step` (counted from 0): divides the gradient sum by the number of `samples` (as one
    /// multiplication by the rounded 1/n), adds the L2 penalty's `l2 · w` to the weights' gradient (`l2` is λ/n of
    /// Nielsen's equation 93, n being the training samples), and updates `params`.
    ///
    /// # Panics
    /// If the slices are not of the model's size.
    #[allow(clippy::too_many_arguments)] // the formula has that many symbols
    pub fn step(
        &mut self,
        isa: Isa,
        threads: &Threads,
        params: &mut [f32],
        gradient_sum: &[f32],
        samples: usize,
        step: u64,
        learning_rate: f32,
        l2: f32,
    ) {
        let all = 0..self.layers[self.layers.len() - 1].biases.end;
        self.step_range(isa, threads, all, None, params, gradient_sum, samples, step, learning_rate, l2);
    }

    /// [`OptimizerState::step`] for one layer alone, from weights and moments that stay as they are: `from` and `before`
    /// are what they were, `params` and `self` what they become; `from`, `params` and `gradient_sum` are that layer's.
    /// Stepping each layer once, in any order, gives the same bits as stepping all at once.
    ///
    /// # Panics
    /// If there is no such layer, or the slices are not of its size, or `before` is of another model or optimizer.
    #[allow(clippy::too_many_arguments)] // as for `step`
    pub fn step_layer(
        &mut self,
        before: &Self,
        isa: Isa,
        threads: &Threads,
        layer: usize,
        from: &[f32],
        params: &mut [f32],
        gradient_sum: &[f32],
        samples: usize,
        step: u64,
        learning_rate: f32,
        l2: f32,
    ) {
        let range = self.layers[layer].range();
        let before = Before {
            params: from,
            first: behind(&before.first, &range),
            second: behind(&before.second, &range),
        };
        assert!(from.len() == range.len());
        let before = Some(&before);
        self.step_range(isa, threads, range, before, params, gradient_sum, samples, step, learning_rate, l2);
    }

    /// Steps a range of the parameters; the slices are those of the range.
    #[allow(clippy::too_many_arguments)] // as for `step`
    fn step_range(
        &mut self,
        isa: Isa,
        threads: &Threads,
        range: Range<usize>,
        before: Option<&Before<'_>>,
        params: &mut [f32],
        gradient_sum: &[f32],
        samples: usize,
        step: u64,
        learning_rate: f32,
        l2: f32,
    ) {
        let n = range.len();
        assert!(params.len() == n && gradient_sum.len() == n);
        let mut base = vector::Update {
            optimizer: self.optimizer,
            learning_rate,
            mean: 1.0 / samples as f32,
            l2: 0.0,
            keep: 1.0,
            step_size: 0.0,
            root_correction: 0.0,
        };
        let mut decay = 0.0;
        if let Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } = self.optimizer {
            let correction = |beta: f32| 1.0 - power(f64::from(beta), step + 1);
            base.step_size = (f64::from(learning_rate) / correction(beta1)) as f32;
            base.root_correction = (1.0 / correction(beta2).sqrt()) as f32;
        }
        if let Optimizer::AdamW { weight_decay, .. } = self.optimizer {
            decay = learning_rate * weight_decay;
        }
        let for_weights = vector::Update { l2, keep: 1.0 - decay, ..base };

        let layers = &self.layers;
        let block = |at: usize, w: &mut [f32], m: &mut [f32], v: &mut [f32]| {
            if let Some(before) = before {
                before.copy_to(at, w, m, v);
            }
            let start = range.start + at;
            let end = start + w.len();
            for layer in layers {
                for (own, update) in [(&layer.weights, for_weights), (&layer.biases, base)] {
                    let (from, to) = (own.start.max(start), own.end.min(end));
                    if from < to {
                        let here = from - start..to - start;
                        let (m, v) = (cut(m, &here), cut(v, &here));
                        let gradient = &gradient_sum[from - range.start..to - range.start];
                        vector::update(isa, update, &mut w[here], gradient, m, v);
                    }
                }
            }
        };
        let part = |at: usize, w: &mut [f32], m: &mut [f32], v: &mut [f32]| {
            // What is copied is stepped while it is in the cache.
            let size = if before.is_some() { BLOCK } else { w.len() };
            for from in (0..w.len()).step_by(size) {
                let here = from..w.len().min(from + size);
                block(at + from, &mut w[here.clone()], cut(m, &here), cut(v, &here));
            }
        };
        let (first, second) = (cut(&mut self.first, &range), cut(&mut self.second, &range));
        if threads.count() == 1 || n < 16 * CHUNK {
            part(0, params, first, second);
        } else {
            threads.for_each_chunk(CHUNK, params, first, second, part);
        }
    }
}

/// Numbers that are copied and stepped at a time: with their gradient and moments they fit into the first cache.
const BLOCK: usize = 1 << 11;

/// What a range of parameters and moments was before a step.
struct Before<'a> {
    params: &'a [f32],
    first: &'a [f32],
    second: &'a [f32],
}

impl Before<'_> {
    fn copy_to(&self, at: usize, w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        for (from, to) in [(self.params, w), (self.first, m), (self.second, v)] {
            let here = at..at + to.len();
            to.copy_from_slice(behind(from, &here));
        }
    }
}

/// [`cut`], to read.
fn behind<'a>(moment: &'a [f32], range: &Range<usize>) -> &'a [f32] {
    if moment.is_empty() { moment } else { &moment[range.clone()] }
}

/// The part of a moment that belongs to a range of parameters; nothing of a moment that is not there.
fn cut<'a>(moment: &'a mut [f32], range: &Range<usize>) -> &'a mut [f32] {
    if moment.is_empty() { moment } else { &mut moment[range.clone()] }
}
