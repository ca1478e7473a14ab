//! The gradient noise scale (McCandlish, Kaplan, Amodei et al. 2018, *An empirical model of large-batch training*): the size up
//! to which a larger mini-batch is worth its samples.
//!
//! With gᵢ the gradient of sample i, G its mean over all samples and Σ its covariance, B = tr Σ/|G|². A mini-batch of B samples has
//! a gradient in which noise and signal are equally strong. Most frameworks can only estimate B from two sizes of mini-batches;
//! here each |gᵢ| is known exactly, without its gradient, and so both terms have unbiased estimates from one set of m samples:
//!
//! ```text
//! s = 1/m Σ|gᵢ|²     h = |1/m Σ gᵢ|²     |G|² ≈ (m h − s)/(m − 1)     tr Σ ≈ m (s − h)/(m − 1)
//! ```

use crate::clip::sum_of_squares;
use crate::dataset::Dataset;
use crate::regularization::Samples;
use crate::workspace::{MismatchError, Workspace};

/// The strengths of signal and noise in the gradients of some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseScale {
    /// tr Σ, estimated.
    pub noise: f64,
    /// |G|², estimated; with few samples it may come out negative.
    pub signal: f64,
    /// Samples that they are estimated from.
    pub samples: usize,
}

impl NoiseScale {
    /// From Σ|gᵢ|² and |Σ gᵢ|² of `samples` samples, at least two.
    #[must_use]
    pub fn new(each: f64, whole: f64, samples: usize) -> Self {
        let m = samples as f64;
        let (s, h) = (each / m, whole / (m * m));
        Self { noise: m * (s - h) / (m - 1.0), signal: (m * h - s) / (m - 1.0), samples }
    }

    /// B in samples; `None` if the signal is lost in the noise of so few samples.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let scale = self.noise / self.signal;
        (self.signal > 0.0 && scale.is_finite()).then_some(scale.max(0.0))
    }
}

impl Workspace {
    /// The noise scale of the gradient at these parameters, from `samples` as training sees them. `gradient` is memory of the size
    /// of the parameters.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    ///
    /// # Panics
    /// If there are fewer than two samples or more than the workspace has room for.
    pub fn noise_scale(
        &mut self,
        params: &[f32],
        data: &Dataset,
        samples: Samples<'_>,
        gradient: &mut [f32],
    ) -> Result<NoiseScale, MismatchError> {
        let count = samples.indices.len();
        assert!(count >= 2 && count <= self.room());
        self.node_gradient(params, data, samples, count.min(32), gradient)?;
        let mut norms = vec![0.0; count];
        self.sample_gradient_norms(&mut norms);
        let numbers = &*gradient;
        let read = |from: usize, out: &mut [f32]| out.copy_from_slice(&numbers[from..from + out.len()]);
        let whole = sum_of_squares(&self.compute(), numbers.len(), &read);
        Ok(NoiseScale::new(norms.iter().map(|norm| norm * norm).sum(), whole, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_of_known_gradients() {
        // Gradients (1, 1) and (1, −1): the mean is (1, 0), and the variance of the second number 2.
        let scale = NoiseScale::new(4.0, 4.0, 2);
        assert_eq!((scale.noise, scale.signal), (2.0, 0.0));
        assert_eq!(scale.value(), None);
        // Four times (1, 0) and four times (1, 2): |G|² = 2, less the noise that is left in the mean, 8/7/8.
        let scale = NoiseScale::new(4.0 + 4.0 * 5.0, 64.0 + 64.0, 8);
        assert!((scale.noise - 8.0 / 7.0).abs() < 1e-12);
        assert!((scale.signal - (2.0 - 1.0 / 7.0)).abs() < 1e-12);
        assert!((scale.value().unwrap() - 8.0 / 13.0).abs() < 1e-12);
        // All alike: no noise.
        assert_eq!(NoiseScale::new(12.0, 36.0, 3).value(), Some(0.0));
    }
}
