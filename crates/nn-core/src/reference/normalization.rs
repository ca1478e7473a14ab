//! Layer normalisation (Ba, Kiros and Hinton 2016) of one sample, in plain code.

use crate::kernel::normalize::inverse_deviation;
use crate::params::LayerLayout;

/// One sample's numbers in a layer normalisation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Normalized {
    /// x̂ = (z − m)·s
    normalized: Vec<f32>,
    /// s = 1/√(v + ε)
    inverse: f32,
    /// ∂C/∂γ
    pub gains: Vec<f32>,
    /// ∂C/∂β
    pub shifts: Vec<f32>,
}

/// Layer normalisation: y = γ ⊙ x̂ + β with x̂ = (z − m)·s, m = Σz/n, v = Σ(z − m)²/n, s = 1/√(v + ε). Sums are in order.
pub(super) fn normalize(layer: &LayerLayout, params: &[f32], z: &[f32]) -> (Vec<f32>, Normalized) {
    let n = z.len() as f32;
    let mean = z.iter().fold(0.0_f32, |sum, z| sum + z) / n;
    let centred: Vec<f32> = z.iter().map(|z| z - mean).collect();
    let variance = centred.iter().fold(0.0_f32, |sum, c| sum + c * c) / n;
    let inverse = inverse_deviation(variance);
    let normalized: Vec<f32> = centred.iter().map(|c| c * inverse).collect();
    let (gains, shifts) = (&params[layer.gains.clone()], &params[layer.shifts.clone()]);
    let y = normalized.iter().zip(gains).zip(shifts).map(|((x, gain), shift)| x * gain + shift).collect();
    (y, Normalized { normalized, inverse, ..Normalized::default() })
}

/// From d = ∂C/∂y to ∂C/∂z = s·((g − Σg/n) − x̂·(Σ g⊙x̂/n)) with g = γ ⊙ d, and to ∂C/∂γ = d ⊙ x̂ and ∂C/∂β = d.
pub(super) fn normalization_gradients(
    gains: &[f32],
    delta: Vec<f32>,
    of_sample: &mut Normalized,
) -> Vec<f32> {
    let (n, inverse, normalized) = (delta.len() as f32, of_sample.inverse, &of_sample.normalized);
    let g: Vec<f32> = delta.iter().zip(gains).map(|(d, gain)| d * gain).collect();
    let mean = g.iter().fold(0.0_f32, |sum, g| sum + g) / n;
    let dot = g.iter().zip(normalized).fold(0.0_f32, |sum, (g, x)| sum + g * x) / n;
    let of_z = g.iter().zip(normalized).map(|(g, x)| inverse * ((g - mean) - x * dot)).collect();
    of_sample.gains = delta.iter().zip(normalized).map(|(d, x)| d * x).collect();
    of_sample.shifts = delta;
    of_z
}
