//! All parameters in one flat buffer, with typed views.
//!
//! Layer by layer: the weights row-major `[out][in]`, then the biases `[out]`, and in a normalised layer γ `[out]` and β `[out]`. Gradients, optimizer state, the wire and
//! checkpoints use the same order, so each of them is one operation on one slice.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2};

use crate::model::Model;
use crate::spec::Normalization;

/// The place of a layer's numbers in the flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerLayout {
    /// The width of the layer before.
    pub inputs: usize,
    /// The width of this layer.
    pub outputs: usize,
    /// Row-major `[outputs][inputs]`.
    pub weights: Range<usize>,
    /// `[outputs]`
    pub biases: Range<usize>,
    /// γ of layer normalisation, `[outputs]`; empty without.
    pub gains: Range<usize>,
    /// β of layer normalisation, `[outputs]`; empty without.
    pub shifts: Range<usize>,
}

impl LayerLayout {
    /// All parameters of the layer together.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.weights.start..self.shifts.end
    }

    /// All but the weights: what neither weight decay nor the L2 penalty acts on.
    #[must_use]
    pub fn unpenalized(&self) -> Range<usize> {
        self.biases.start..self.shifts.end
    }

    /// The weights as a matrix of shape `[outputs, inputs]`.
    ///
    /// # Panics
    /// If `flat` is shorter than the model's parameters.
    #[must_use]
    pub fn weights_of<'a>(&self, flat: &'a [f32]) -> ArrayView2<'a, f32> {
        let shape = (self.outputs, self.inputs);
        match ArrayView2::from_shape(shape, &flat[self.weights.clone()]) {
            Ok(view) => view,
            Err(_) => unreachable!("the range has outputs × inputs elements"),
        }
    }

    /// The biases as a vector of shape `[outputs]`.
    ///
    /// # Panics
    /// If `flat` is shorter than the model's parameters.
    #[must_use]
    pub fn biases_of<'a>(&self, flat: &'a [f32]) -> ArrayView1<'a, f32> {
        ArrayView1::from(&flat[self.biases.clone()])
    }
}

/// The layout of the flat buffer: one [`LayerLayout`] for each layer with weights.
#[must_use]
pub fn layout(model: &Model) -> Vec<LayerLayout> {
    let mut at = 0;
    let last = model.layers() - 1;
    model
        .widths()
        .windows(2)
        .enumerate()
        .map(|(l, pair)| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let weights = at..at + inputs * outputs;
            let biases = weights.end..weights.end + outputs;
            let normalized = model.normalization() == Normalization::Layer && l < last;
            let of_unit = if normalized { outputs } else { 0 };
            let gains = biases.end..biases.end + of_unit;
            let shifts = gains.end..gains.end + of_unit;
            at = shifts.end;
            LayerLayout { inputs, outputs, weights, biases, gains, shifts }
        })
        .collect()
}
