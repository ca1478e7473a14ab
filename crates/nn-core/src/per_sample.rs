//! What a trained network makes of single samples: their losses, and the norms of their own gradients.
//!
//! The norm of a sample's gradient needs no gradient: the gradient of a layer's weights is δˡ(aˡ⁻¹)ᵀ, whose norm is the product
//! of both (Goodfellow 2015). So it costs a forward and a backward pass, and no memory of the parameters' size.

use std::ops::Range;

use crate::dataset::Dataset;
use crate::pass::{Batch, Pass};
use crate::regularization::Samples;
use crate::workspace::{MismatchError, Workspace};

/// One sample as the network sees it, without dropout, distortion and the like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleStats {
    /// Its loss.
    pub loss: f64,
    /// The norm of the gradient of its loss over all weights and biases.
    pub gradient_norm: f64,
    /// Whether its strongest output is its label; false for regression.
    pub correct: bool,
}

impl Workspace {
    /// Loss and gradient norm of each of a range of samples. `outputs` gets their outputs, row-major `[samples][outputs]`. The
    /// workspace must be one for gradients without regularization ([`Workspace::new`]).
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    ///
    /// # Panics
    /// If the range is not in the data.
    pub fn sample_stats(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: Range<usize>,
        outputs: &mut Vec<f32>,
    ) -> Result<Vec<SampleStats>, MismatchError> {
        self.check(params, data)?;
        assert!(samples.end <= data.len());
        self.pack(params, samples.len(), 1);
        let ids: Vec<u32> = samples.map(|sample| sample as u32).collect();
        let width = self.model().output_width();
        let (mut all, mut norms) = (Vec::with_capacity(ids.len()), Vec::new());
        outputs.clear();
        outputs.resize(ids.len() * width, 0.0);
        for (ids, outputs) in ids.chunks(self.room()).zip(outputs.chunks_mut(self.room() * width)) {
            let samples = Samples::first(ids);
            self.pass(&Batch { params, data, samples, pass: Pass::ForwardAndBackward });
            self.copy_outputs(outputs);
            norms.resize(ids.len(), 0.0);
            self.sample_gradient_norms(&mut norms);
            all.extend(norms.iter().enumerate().map(|(i, &gradient_norm)| {
                let (loss, correct) = self.result_of(i);
                SampleStats { loss, gradient_norm, correct }
            }));
        }
        Ok(all)
    }
}
