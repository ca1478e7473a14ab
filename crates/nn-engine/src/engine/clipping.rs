//! Clipping by the global norm: the sums of layers wait until all of them are complete.
//!
//! The norm runs over all parameters, so no layer can be stepped before the last one is summed. A run that clips gives up
//! that a layer is stepped and sent while others still arrive; what it can do early is each layer's sum of squares. A run
//! in rounds does not clip here but in each replica's own steps.

use std::ops::Range;

use nn_core::{Compute, clip_factor, clip_factor_of, sum_of_squares};

use super::reduce::Sum;
use crate::manifest::Manifest;

/// The complete sums of the layers of a step.
#[derive(Debug)]
pub(super) struct Clipping {
    clip_norm: f32,
    /// Each layer's gradient sum with the sum of its squares, once it is complete.
    held: Vec<Option<(Sum, f64)>>,
}

impl Clipping {
    /// For a run that clips the gradients of its mini-batches; `None` for others.
    pub(super) fn of(manifest: &Manifest) -> Option<Self> {
        let clip_norm = manifest.recipe().clip_norm.filter(|_| manifest.rounds().is_none())?;
        let held = manifest.pieces().iter().map(|_| None).collect();
        Some(Self { clip_norm, held })
    }

    /// Takes the complete gradient sum of a layer of so many parameters.
    pub(super) fn hold(&mut self, compute: &Compute, layer: usize, parameters: usize, sum: Sum) {
        let squares = sum_of_squares(compute, parameters, &|from, out| sum.read(from, out));
        self.held[layer] = Some((sum, squares));
    }

    /// Once all layers are held, gives them back with the factor that clips the mean over so many samples.
    pub(super) fn release(&mut self, samples: usize) -> Option<(f32, Vec<Sum>)> {
        if self.held.iter().any(Option::is_none) {
            return None;
        }
        let (sums, squares): (Vec<Sum>, Vec<f64>) = self.held.iter_mut().filter_map(Option::take).unzip();
        Some((clip_factor(self.clip_norm, samples, squares), sums))
    }

    /// The factor for a gradient sum that is there as a whole.
    pub(super) fn factor_of(
        &self,
        compute: &Compute,
        layers: &[Range<usize>],
        gradient_sum: &[f32],
        samples: usize,
    ) -> f32 {
        clip_factor_of(compute, layers.iter().cloned(), gradient_sum, self.clip_norm, samples)
    }

    /// Forgets the sums of a step that is abandoned.
    pub(super) fn clear(&mut self) {
        self.held.fill_with(|| None);
    }
}
