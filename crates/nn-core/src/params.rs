//! All weights and biases in one flat buffer, with typed views.
//!
//! Layer by layer: the weights row-major `[out][in]`, then the biases `[out]`. Gradients, optimizer state, the wire and
//! checkpoints use the same order, so each of them is one operation on one slice.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2};

use crate::model::Model;

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
}

impl LayerLayout {
    /// The layer's weights and biases together.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.weights.start..self.biases.end
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
    model
        .widths()
        .windows(2)
        .map(|pair| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let weights = at..at + inputs * outputs;
            let biases = weights.end..weights.end + outputs;
            at = biases.end;
            LayerLayout { inputs, outputs, weights, biases }
        })
        .collect()
}
