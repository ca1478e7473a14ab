//! The definition: one sample at a time, one multiply-add at a time, in plain code.
//!
//! This is what every kernel must equal bit for bit, and the shortest way to read what the network computes. It is the
//! oracle of the tests, never the product: it is a thousand times slower.

use crate::dataset::{Dataset, Targets};
use crate::kernel::K_PANEL;
use crate::math;
use crate::params::layout;
use crate::spec::{Activation, Cost, Model, Output};

/// Σ aₖbₖ: accumulated over k in ascending order by fused multiply-adds that start from +0, in panels of 256 whose sums
/// are then added in order.
pub fn dot(terms: impl Iterator<Item = (f32, f32)>) -> f32 {
    let (mut total, mut panel, mut count) = (None, 0.0_f32, 0);
    for (a, b) in terms {
        if count == K_PANEL {
            total = Some(total.map_or(panel, |t: f32| t + panel));
            (panel, count) = (0.0, 0);
        }
        panel = a.mul_add(b, panel);
        count += 1;
    }
    total.map_or(panel, |t| t + panel)
}

/// One sample's way through the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// a⁰ (the input) to aᴸ (the outputs).
    pub activations: Vec<Vec<f32>>,
    /// δ¹ to δᴸ.
    pub deltas: Vec<Vec<f32>>,
    /// The sample's loss, without the cost's average over n.
    pub loss: f64,
}

/// Runs one sample forward and backward.
#[must_use]
pub fn backpropagate(model: &Model, params: &[f32], input: &[f32], target: &[f32]) -> Trace {
    let layers = layout(model);
    let last = layers.len() - 1;
    let mut activations = vec![input.to_vec()];
    let mut z = Vec::new();
    for (l, layer) in layers.iter().enumerate() {
        let (weights, biases) = (layer.weights_of(params), layer.biases_of(params));
        let a = &activations[l];
        z = (0..layer.outputs)
            .map(|j| dot(weights.row(j).iter().copied().zip(a.iter().copied())) + biases[j])
            .collect();
        activations.push(if l < last {
            z.iter().map(|&z| hidden(model.activation(), z)).collect()
        } else {
            output(model, &z)
        });
    }
    let a = &activations[last + 1];
    let loss = loss(model, &z, a, target);
    let mut deltas = vec![output_delta(model, a, target)];
    for l in (1..=last).rev() {
        let weights = layers[l].weights_of(params);
        let above = &deltas[0];
        let delta = (0..layers[l].inputs)
            .map(|i| {
                let d = dot(weights.column(i).iter().copied().zip(above.iter().copied()));
                d_hidden(model.activation(), d, activations[l][i])
            })
            .collect();
        deltas.insert(0, delta);
    }
    Trace { activations, deltas, loss }
}

/// The gradient of a leaf, one sample after the other: each element is the [`dot`] of δ and a over the samples.
#[must_use]
pub fn leaf_gradient(model: &Model, params: &[f32], data: &Dataset, samples: &[u32]) -> (Vec<f32>, f64) {
    let traces: Vec<Trace> = samples
        .iter()
        .map(|&s| {
            let (input, target) = sample(data, s as usize);
            backpropagate(model, params, &input, &target)
        })
        .collect();
    let mut gradient = vec![0.0; params.len()];
    for (l, layer) in layout(model).iter().enumerate() {
        for j in 0..layer.outputs {
            for i in 0..layer.inputs {
                gradient[layer.weights.start + j * layer.inputs + i] =
                    dot(traces.iter().map(|t| (t.deltas[l][j], t.activations[l][i])));
            }
            gradient[layer.biases.start + j] = dot(traces.iter().map(|t| (1.0, t.deltas[l][j])));
        }
    }
    (gradient, traces.iter().map(|t| t.loss).sum())
}

/// The gradient of a mini-batch: its leaves, summed level by level along the canonical tree.
#[must_use]
pub fn batch_gradient(
    model: &Model,
    params: &[f32],
    data: &Dataset,
    samples: &[u32],
    shard: usize,
) -> (Vec<f32>, f64) {
    let mut level: Vec<_> =
        samples.chunks(shard).map(|leaf| leaf_gradient(model, params, data, leaf)).collect();
    while level.len() > 1 {
        let mut nodes = level.into_iter();
        let mut above = Vec::new();
        while let Some((mut gradient, mut loss)) = nodes.next() {
            if let Some((right, right_loss)) = nodes.next() {
                gradient.iter_mut().zip(right).for_each(|(l, r)| *l += r);
                loss += right_loss;
            }
            above.push((gradient, loss));
        }
        level = above;
    }
    level.remove(0)
}

/// What the network sees of a sample, and what it should answer.
#[must_use]
pub fn sample(data: &Dataset, index: usize) -> (Vec<f32>, Vec<f32>) {
    let mut input = vec![0.0; data.input_width()];
    data.input_into(index, &mut input);
    let target = match data.targets() {
        Targets::Classes { labels, classes } => {
            (0..*classes).map(|c| if labels[index] as usize == c { 1.0 } else { 0.0 }).collect()
        }
        Targets::Values { data, width } => data[index * width..(index + 1) * width].to_vec(),
    };
    (input, target)
}

fn hidden(activation: Activation, z: f32) -> f32 {
    match activation {
        Activation::Sigmoid => math::sigmoid(z),
        Activation::Relu => {
            if z < 0.0 {
                0.0
            } else {
                z
            }
        }
        Activation::Tanh => math::tanh(z),
    }
}

/// δ·σ'(z), from a = σ(z).
fn d_hidden(activation: Activation, d: f32, a: f32) -> f32 {
    match activation {
        Activation::Sigmoid => d * (a * (1.0 - a)),
        Activation::Relu => {
            if a > 0.0 {
                d
            } else {
                0.0
            }
        }
        Activation::Tanh => d * (1.0 - a * a),
    }
}

/// z − max z, e to that, and the sum of those.
fn softmax_parts(z: &[f32]) -> (Vec<f32>, Vec<f32>, f32) {
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f32> = z.iter().map(|z| z - max).collect();
    let e: Vec<f32> = shifted.iter().map(|&x| math::exp(x)).collect();
    let sum = e.iter().fold(0.0, |sum, e| sum + e);
    (shifted, e, sum)
}

fn output(model: &Model, z: &[f32]) -> Vec<f32> {
    match model.output() {
        Output::Linear => z.to_vec(),
        Output::Sigmoid => z.iter().map(|&z| math::sigmoid(z)).collect(),
        Output::Softmax => {
            let (_, e, sum) = softmax_parts(z);
            e.iter().map(|e| e / sum).collect()
        }
    }
}

fn loss(model: &Model, z: &[f32], a: &[f32], y: &[f32]) -> f64 {
    match (model.cost(), model.output()) {
        (Cost::Mse, _) => 0.5 * a.iter().zip(y).map(|(a, y)| f64::from(a - y).powi(2)).sum::<f64>(),
        (Cost::CrossEntropy, Output::Softmax) => {
            let (shifted, _, sum) = softmax_parts(z);
            let chosen = y.iter().zip(shifted).fold(0.0_f32, |c, (y, z)| y.mul_add(z, c));
            f64::from(math::ln(sum)) - f64::from(chosen)
        }
        (Cost::CrossEntropy, _) => z
            .iter()
            .zip(y)
            .map(|(&z, y)| {
                let positive = if z < 0.0 { 0.0 } else { z };
                f64::from((positive - z * y) + math::ln(1.0 + math::exp(-z.abs())))
            })
            .sum(),
    }
}

fn output_delta(model: &Model, a: &[f32], y: &[f32]) -> Vec<f32> {
    let pairs = || a.iter().zip(y);
    match (model.cost(), model.output()) {
        (Cost::CrossEntropy, _) | (Cost::Mse, Output::Linear) => pairs().map(|(a, y)| a - y).collect(),
        (Cost::Mse, Output::Sigmoid) => pairs().map(|(a, y)| (a - y) * (a * (1.0 - a))).collect(),
        (Cost::Mse, Output::Softmax) => {
            let dot = pairs().fold(0.0_f32, |dot, (a, y)| (a - y).mul_add(*a, dot));
            pairs().map(|(a, y)| a * ((a - y) - dot)).collect()
        }
    }
}
