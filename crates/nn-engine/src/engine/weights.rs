//! The weights, and those of the next step as they form.
//!
//! A layer is stepped as soon as its gradient is complete. Workers may still be computing other layers with the old
//! weights, and one of those layers may yet turn out to be NaN. So the stepped layer goes to a second buffer, and once
//! all layers are stepped, the two buffers are swapped. Until then everything visible from outside is the last complete
//! step, be it a checkpoint or the weights for a worker that has to begin the step again. A divergence, or a stop in
//! mid-step, simply abandons the second buffer. This costs one more copy of parameters and moments, and only if layers
//! arrive one by one.

use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{Before, Compute, LayerLayout, OptimizerState, StepInputs, all_finite};

use super::reduce::Sum;

/// Parameters and moments after a step.
#[derive(Debug, Clone)]
struct State {
    params: Vec<f32>,
    optimizer: OptimizerState,
}

/// The weights of two steps. See the module.
#[derive(Debug)]
pub(super) struct DoubleBuffer {
    current: State,
    next: Option<State>,
    /// Whether each layer of `next` is stepped.
    ahead: Vec<bool>,
}

impl DoubleBuffer {
    pub(super) fn new(params: Vec<f32>, optimizer: OptimizerState, layers: usize) -> Self {
        Self { current: State { params, optimizer }, next: None, ahead: vec![false; layers] }
    }

    /// The parameters after the last complete step.
    pub(super) fn params(&self) -> &[f32] {
        &self.current.params
    }

    pub(super) fn params_mut(&mut self) -> &mut Vec<f32> {
        &mut self.current.params
    }

    /// The optimizer after the last complete step.
    pub(super) fn optimizer(&self) -> &OptimizerState {
        &self.current.optimizer
    }

    pub(super) fn optimizer_mut(&mut self) -> &mut OptimizerState {
        &mut self.current.optimizer
    }

    /// A layer of the next step, if it is stepped.
    pub(super) fn next_layer(&self, layer: usize, at: &LayerLayout) -> Option<&[f32]> {
        let next = self.next.as_ref().filter(|_| self.ahead[layer])?;
        Some(&next.params[at.range()])
    }

    /// Whether a layer of the next step is stepped.
    pub(super) fn is_ahead(&self, layer: usize) -> bool {
        self.ahead[layer]
    }

    /// Steps all layers at once, in place.
    pub(super) fn step_all(&mut self, compute: &Compute, gradient_sum: &[f32], inputs: StepInputs) {
        let State { params, optimizer } = &mut self.current;
        optimizer.step(compute, params, gradient_sum, inputs);
    }

    /// Steps one layer. False if its gradient sum is not finite, as even a sum of finite numbers may overflow; then the
    /// layer does not count as stepped.
    pub(super) fn step_layer(
        &mut self,
        compute: &Compute,
        layer: usize,
        gradient_sum: &Sum,
        inputs: StepInputs,
    ) -> bool {
        let State { params, optimizer } = &self.current;
        let next = self.next.get_or_insert_with(|| self.current.clone());
        let finite = AtomicBool::new(true);
        let gradient_sum = |from: usize, out: &mut [f32]| {
            gradient_sum.read(from, out);
            if !all_finite(compute.isa, out) {
                finite.store(false, Ordering::Relaxed);
            }
        };
        let before = Before { params, optimizer };
        next.optimizer.step_layer(compute, layer, before, &mut next.params, &gradient_sum, inputs);
        let finite = finite.into_inner();
        self.ahead[layer] |= finite;
        finite
    }

    /// Makes the stepped layers the current weights, if all layers are stepped. Says whether they are.
    pub(super) fn commit(&mut self) -> bool {
        if !self.ahead.iter().all(|&ahead| ahead) {
            return false;
        }
        if let Some(next) = &mut self.next {
            std::mem::swap(next, &mut self.current);
        }
        self.abandon();
        true
    }

    /// Discards the layers stepped so far.
    pub(super) fn abandon(&mut self) {
        self.ahead.fill(false);
    }
}
