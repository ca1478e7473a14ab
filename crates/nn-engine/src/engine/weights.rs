//! The weights, and those of the next step as they form.
//!
//! A layer is stepped as soon as its gradient is complete. Workers may still be computing other layers with the old
//! weights, and one of those layers may yet turn out to be NaN. So the stepped layer goes to a second buffer, and once
//! all layers are stepped, the two buffers are swapped. Until then everything visible from outside is the last complete
//! step, be it a checkpoint or the weights for a worker that has to begin the step again. A divergence, or a stop in
//! mid-step, simply abandons the second buffer. This costs one more copy of parameters and moments, and only if layers
//! arrive one by one.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use nn_core::{
    AfterOuter, Before, BeforeOuter, Compute, OptimizerState, OuterInputs, OuterState, StepInputs, all_finite,
};

use super::reduce::Sum;
use crate::manifest::Manifest;

/// The rule from a sum to the next weights, with its state.
#[derive(Debug, Clone)]
pub(super) enum Stepper {
    /// Sums of gradients.
    Gradients(OptimizerState),
    /// Sums of replicas' differences, and the updates that the last step was sent as, piece by piece.
    Differences(OuterState, Vec<Bytes>),
}

impl Stepper {
    /// Before the first step of a run.
    pub(super) fn new(manifest: &Manifest) -> Self {
        let model = manifest.model();
        match manifest.rounds() {
            Some(rounds) => {
                let none = vec![Bytes::new(); manifest.pieces().len()];
                Self::Differences(OuterState::new(model.parameters(), rounds.delta_bits), none)
            }
            None => Self::Gradients(manifest.optimizer_state()),
        }
    }

    fn moments(&self) -> [&[f32]; 2] {
        match self {
            Self::Gradients(state) => state.moments(),
            Self::Differences(state, _) => state.moments(),
        }
    }

    fn moments_mut(&mut self) -> [&mut [f32]; 2] {
        match self {
            Self::Gradients(state) => state.moments_mut(),
            Self::Differences(state, _) => state.moments_mut(),
        }
    }
}

/// The constants of a step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Inputs {
    Gradients(StepInputs),
    Differences(OuterInputs),
}

impl Inputs {
    /// The same for a gradient that is clipped by this factor.
    pub(super) fn clipped(self, clip: f32) -> Self {
        match self {
            Self::Gradients(inputs) => Self::Gradients(StepInputs { clip, ..inputs }),
            Self::Differences(_) => self,
        }
    }
}

/// Parameters and moments after a step.
#[derive(Debug, Clone)]
struct State {
    /// Shared with a worker in this process while it computes: to write them then means to write a copy.
    params: Arc<Vec<f32>>,
    stepper: Stepper,
}

/// The weights of two steps. See the module.
#[derive(Debug)]
pub(super) struct DoubleBuffer {
    pieces: Vec<Range<usize>>,
    current: State,
    next: Option<State>,
    /// Whether each piece of `next` is stepped.
    ahead: Vec<bool>,
}

impl DoubleBuffer {
    pub(super) fn new(params: Vec<f32>, stepper: Stepper, pieces: Vec<Range<usize>>) -> Self {
        let ahead = vec![false; pieces.len()];
        let current = State { params: Arc::new(params), stepper };
        Self { pieces, current, next: None, ahead }
    }

    /// The parameters after the last complete step.
    pub(super) fn params(&self) -> &[f32] {
        &self.current.params
    }

    /// The parameters after the last complete step, which stay as they are for as long as they are held.
    pub(super) fn shared_params(&self) -> Arc<Vec<f32>> {
        self.current.params.clone()
    }

    /// Replaces the parameters by those of a snapshot.
    pub(super) fn restore(&mut self, params: Vec<f32>) {
        self.current.params = Arc::new(params);
    }

    /// The moments after the last complete step.
    pub(super) fn moments(&self) -> [&[f32]; 2] {
        self.current.stepper.moments()
    }

    pub(super) fn moments_mut(&mut self) -> [&mut [f32]; 2] {
        self.current.stepper.moments_mut()
    }

    /// A piece of the next step, if it is stepped.
    pub(super) fn next_layer(&self, piece: usize) -> Option<&[f32]> {
        let next = self.next.as_ref().filter(|_| self.ahead[piece])?;
        Some(&next.params[self.pieces[piece].clone()])
    }

    /// What a piece of the current weights was made of, if it was made since the process started.
    pub(super) fn update(&self, piece: usize) -> Option<Bytes> {
        let Stepper::Differences(_, updates) = &self.current.stepper else { return None };
        updates.get(piece).filter(|update| !update.is_empty()).cloned()
    }

    /// What a piece of the next step is made of, if it is stepped.
    pub(super) fn next_update(&self, piece: usize) -> Option<Bytes> {
        let next = self.next.as_ref().filter(|_| self.ahead.get(piece) == Some(&true))?;
        let Stepper::Differences(_, updates) = &next.stepper else { return None };
        updates.get(piece).cloned()
    }

    /// Whether a piece of the next step is stepped.
    pub(super) fn is_ahead(&self, piece: usize) -> bool {
        self.ahead[piece]
    }

    /// Steps all layers at once, in place. False if this needs one sum for each piece.
    pub(super) fn step_all(&mut self, compute: &Compute, gradient_sum: &[f32], inputs: Inputs) -> bool {
        let State { params, stepper: Stepper::Gradients(optimizer) } = &mut self.current else {
            return false;
        };
        let params: &mut Vec<f32> = Arc::make_mut(params);
        let Inputs::Gradients(inputs) = inputs else { return false };
        optimizer.step(compute, params, gradient_sum, inputs);
        true
    }

    /// Steps one piece. False if its sum is not finite, as even a sum of finite numbers may overflow; then the piece does
    /// not count as stepped.
    pub(super) fn step_layer(&mut self, compute: &Compute, piece: usize, sum: &Sum, inputs: Inputs) -> bool {
        let State { params, stepper } = &self.current;
        let next = self.next.get_or_insert_with(|| self.current.clone());
        // Pieces that are stepped already are kept, even if a worker still holds the weights of the step before.
        let to_params = Arc::make_mut(&mut next.params);
        let finite = match (stepper, &mut next.stepper, inputs) {
            (Stepper::Gradients(optimizer), Stepper::Gradients(to), Inputs::Gradients(inputs)) => {
                let finite = AtomicBool::new(true);
                let sum = |from: usize, out: &mut [f32]| {
                    sum.read(from, out);
                    if !all_finite(compute.isa, out) {
                        finite.store(false, Ordering::Relaxed);
                    }
                };
                let before = Before { params, optimizer };
                to.step_layer(compute, piece, before, to_params, &sum, inputs);
                finite.into_inner()
            }
            (
                Stepper::Differences(state, _),
                Stepper::Differences(to, updates),
                Inputs::Differences(inputs),
            ) => {
                let before = BeforeOuter { params, state };
                let sum = |from: usize, out: &mut [f32]| sum.read(from, out);
                let mut update = Vec::new();
                let range = self.pieces[piece].clone();
                let after = AfterOuter { params: to_params, update: &mut update };
                let finite = to.step(compute.isa, range, before, after, &sum, inputs);
                updates[piece] = update.into();
                finite
            }
            _ => unreachable!("a run steps by gradients or by differences, from beginning to end"),
        };
        self.ahead[piece] |= finite;
        finite
    }

    /// Makes the stepped pieces the current weights, if all are stepped. Says whether they are.
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

    /// Discards the pieces stepped so far.
    pub(super) fn abandon(&mut self) {
        self.ahead.fill(false);
    }
}
