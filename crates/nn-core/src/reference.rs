//! The idea on one screen: training in plain code, one sample at a time, without SIMD, threads or cleverness.
//!
//! This is our `network.py` (Nielsen, *Neural Networks and Deep Learning*, chapters 1 to 3), and it is the
//! definition: the kernels, the engine and a whole cluster must equal it bit for bit. It is the oracle of the tests
//! and never the product, because it is a thousand times slower.
//!
//! Layer l has weights Wˡ `[out][in]` and biases bˡ `[out]`. For one sample, zˡ, aˡ and δˡ = ∂C/∂zˡ are vectors
//! `[out]`, and a⁰ is the input. Parameters and gradients are one flat buffer: W¹ b¹ W² b² … (see [`layout`]). With layer
//! normalisation a hidden layer also has γˡ and βˡ `[out]`.

use crate::augment::Distorter;
use crate::dataset::{Dataset, Targets};
use crate::kernel::bf16::{BLOCK, round_to_bf16};
use crate::kernel::{Isa, K_PANEL};
use crate::math;
use crate::model::Model;
use crate::params::layout;
use crate::random::{Purpose, epoch_key, initial_parameters, mixed, permutation, sample_key};
use crate::regularization::{Regularization, Samples};
use crate::spec::{Activation, Cost, Init, Output, Precision};

mod normalization;

pub use normalization::Normalized;
use normalization::{normalization_gradients, normalize};

/// Trains a network by stochastic gradient descent, and returns its parameters, or the moving average of them.
#[must_use]
pub fn train(model: &Model, data: &Dataset, hyper: &Hyperparameters) -> Vec<f32> {
    let mut params = initial_parameters(model, hyper.init, hyper.seed);
    let mut average = params.clone();
    let mut t = 0.0;
    let mut order = vec![0; data.len()];
    for epoch in 0..hyper.epochs {
        permutation(hyper.seed, Purpose::Shuffle, u64::from(epoch), &mut order);
        for mini_batch in order.chunks(hyper.batch_size) {
            let samples = Samples { indices: mini_batch, epoch: u64::from(epoch) };
            let way = (&hyper.regularization, hyper.seed);
            let (sum, _loss) = batch_gradient(model, &params, data, samples, hyper.shard_size, way);
            let clip = hyper.clip_norm.map_or(1.0, |most| clip_factor(model, &sum, mini_batch.len(), most));
            let mean = 1.0 / mini_batch.len() as f32 * clip;
            let l2 = hyper.l2 / data.len() as f32;
            for layer in layout(model) {
                for w in layer.weights.clone() {
                    let gradient = l2.mul_add(params[w], mean * sum[w]);
                    params[w] = (-hyper.learning_rate).mul_add(gradient, params[w]);
                }
                for b in layer.unpenalized() {
                    params[b] = (-hyper.learning_rate).mul_add(mean * sum[b], params[b]);
                }
            }
            if let Some(most) = hyper.max_norm {
                bound_norms(model, &mut params, most);
            }
            if let Some(decay) = hyper.ema {
                let rate = (1.0 - f64::from(decay).min((1.0 + t) / (10.0 + t))) as f32;
                average.iter_mut().zip(&params).for_each(|(a, w)| *a = rate.mul_add(w - *a, *a));
                t += 1.0;
            }
        }
    }
    if hyper.ema.is_some() { average } else { params }
}

/// The settings of [`train`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameters {
    /// Distribution of the initial weights.
    pub init: Init,
    /// The seed of the initial weights and of the shuffles.
    pub seed: u64,
    /// Passes over the training data.
    pub epochs: u32,
    /// Samples in a mini-batch; the last one of an epoch may be short.
    pub batch_size: usize,
    /// Samples in a leaf of the canonical tree, along which a mini-batch's gradients are summed.
    pub shard_size: usize,
    /// η
    pub learning_rate: f32,
    /// λ of the L2 penalty λ/(2n) Σw², n being the number of training samples.
    pub l2: f32,
    /// What training does to single samples.
    pub regularization: Regularization,
    /// The largest norm of a mini-batch's mean gradient; `None` for any.
    pub clip_norm: Option<f32>,
    /// The largest norm of a hidden unit's incoming weights; `None` for any.
    pub max_norm: Option<f32>,
    /// X of the moving average a ← d·a + (1 − d)·w, with d = min(X, (1 + t)/(10 + t)) after step t; `None` for the parameters
    /// themselves.
    pub ema: Option<f32>,
}

/// min(1, X/‖g‖) for X = `most`, which clips the mean g of the gradient `sum` over so many samples by its norm over all
/// parameters. The squares are added in f64: in blocks of 4096 numbers of a layer, number i of a block to sum i mod 16.
/// These sums, the blocks and the layers are added in order.
#[must_use]
pub fn clip_factor(model: &Model, sum: &[f32], samples: usize, most: f32) -> f32 {
    let mut squares = 0.0;
    for layer in layout(model) {
        let mut of_layer = 0.0;
        for block in sum[layer.range()].chunks(4096) {
            let mut sums = [0.0_f64; 16];
            for (i, &x) in block.iter().enumerate() {
                sums[i % 16] += f64::from(x) * f64::from(x);
            }
            of_layer += sums.iter().fold(0.0, |all, sum| all + sum);
        }
        squares += of_layer;
    }
    let norm = squares.sqrt() * f64::from(1.0 / samples as f32);
    if norm > f64::from(most) { (f64::from(most) / norm) as f32 } else { 1.0 }
}

/// Scales the incoming weights of each hidden unit, a row of W, down to the norm X = `most` where they are longer. The squares are
/// added in f64, number i of a row to sum i mod 16, and these sums in order.
pub fn bound_norms(model: &Model, params: &mut [f32], most: f32) {
    let layers = layout(model);
    for layer in &layers[..layers.len() - 1] {
        for row in params[layer.weights.clone()].chunks_mut(layer.inputs) {
            let mut sums = [0.0_f64; 16];
            for (i, &w) in row.iter().enumerate() {
                sums[i % 16] += f64::from(w) * f64::from(w);
            }
            let norm = sums.iter().fold(0.0, |all, sum| all + sum).sqrt();
            if norm > f64::from(most) {
                let factor = (f64::from(most) / norm) as f32;
                row.iter_mut().for_each(|w| *w *= factor);
            }
        }
    }
}

/// The gradient and the loss of a mini-batch: sums over its samples along the canonical tree. `way` is the regularization, and its
/// seed.
///
/// The samples are cut into leaves of `shard`. A node's left child holds as many leaves as the largest power of two
/// below the node's own number of leaves, and its right child the rest.
///
/// # Panics
/// If there are no samples, or `shard` is 0.
#[must_use]
pub fn batch_gradient(
    model: &Model,
    params: &[f32],
    data: &Dataset,
    samples: Samples<'_>,
    shard: usize,
    way: (&Regularization, u64),
) -> (Vec<f32>, f64) {
    let leaves = samples.indices.len().div_ceil(shard);
    if leaves == 1 {
        return leaf_gradient(model, params, data, samples, way);
    }
    let (left, right) = samples.indices.split_at(leaves.next_power_of_two() / 2 * shard);
    let half = |indices| batch_gradient(model, params, data, Samples { indices, ..samples }, shard, way);
    let (left, left_loss) = half(left);
    let (right, right_loss) = half(right);
    (add(left, &right), left_loss + right_loss)
}

/// The gradient and the loss of a leaf: ∂C/∂Wˡ = δˡ (aˡ⁻¹)ᵀ and ∂C/∂bˡ = δˡ (and those of γˡ and βˡ), accumulated sample by sample, in
/// panels as in [`dot`].
#[must_use]
pub fn leaf_gradient(
    model: &Model,
    params: &[f32],
    data: &Dataset,
    samples: Samples<'_>,
    way: (&Regularization, u64),
) -> (Vec<f32>, f64) {
    let layers = layout(model);
    let mut loss = 0.0;
    let (size, sums) = panels(model.precision());
    let panels = samples.indices.chunks(size).map(|panel| {
        let mut gradients = vec![vec![0.0; params.len()]; sums];
        for (k, &s) in panel.iter().enumerate() {
            let gradient = &mut gradients[k % sums];
            let trace = train_on(model, params, data, (s, samples.epoch), way);
            for (layer, (a, delta)) in layers.iter().zip(trace.activations.iter().zip(&trace.deltas)) {
                for j in 0..layer.outputs {
                    for i in 0..layer.inputs {
                        let g = &mut gradient[layer.weights.start + j * layer.inputs + i];
                        *g = delta[j].mul_add(a[i], *g);
                    }
                    gradient[layer.biases.start + j] += delta[j];
                }
            }
            for (layer, of_sample) in layers.iter().zip(&trace.normalizations) {
                for j in 0..layer.gains.len() {
                    gradient[layer.gains.start + j] += of_sample.gains[j];
                    gradient[layer.shifts.start + j] += of_sample.shifts[j];
                }
            }
            loss += trace.loss;
        }
        gradients.into_iter().reduce(|even, odd| add(even, &odd)).unwrap_or_default()
    });
    let gradient = panels.reduce(|sum, panel| add(sum, &panel)).unwrap_or_default();
    (gradient, loss)
}

/// left + right
fn add(mut left: Vec<f32>, right: &[f32]) -> Vec<f32> {
    left.iter_mut().zip(right).for_each(|(l, r)| *l += r);
    left
}

/// One sample's numbers on its way forward and backward.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// a⁰ (the input) to aᴸ (the outputs).
    pub activations: Vec<Vec<f32>>,
    /// δ¹ to δᴸ.
    pub deltas: Vec<Vec<f32>>,
    /// What each hidden layer's normalisation keeps, and its gradients; empty without one.
    pub normalizations: Vec<Normalized>,
    /// The sample's loss, without the cost's average over n.
    pub loss: f64,
}

/// Runs one sample forward and backward (Nielsen's equations BP1 and BP2).
#[must_use]
pub fn backpropagate(model: &Model, params: &[f32], input: &[f32], target: &[f32]) -> Trace {
    weighted(model, params, input, target, 1.0, &vec![None; model.layers()])
}

/// [`backpropagate`] as training does it: for a sample of some weight, in an epoch, with regularization and its seed.
fn train_on(
    model: &Model,
    params: &[f32],
    data: &Dataset,
    (index, epoch): (u32, u64),
    (regularization, seed): (&Regularization, u64),
) -> Trace {
    let (mut input, target) = sample(data, index as usize);
    if let (false, Some(image)) = (regularization.augmentation.is_none(), data.image()) {
        let distorter = Distorter::new(regularization.augmentation, image);
        let key = sample_key(epoch_key(seed, Purpose::Distortion, epoch), index);
        let source = input.clone();
        // The distortion is defined by its plain code.
        distorter.distort(Isa::available()[0], key, &source, &mut distorter.canvas(), &mut input);
    }
    let weight = data.weights().map_or(1.0, |weights| weights[index as usize]);
    let target = match data.targets() {
        Targets::Classes { classes, .. } if regularization.label_smoothing > 0.0 => {
            let [own, other] = regularization.class_targets(*classes);
            target.iter().map(|&y| if y == 1.0 { own } else { other }).collect()
        }
        _ => target,
    };

    // Dropout: the inputs and the hidden units have numbers, each with its own random bits.
    let key = sample_key(epoch_key(seed, Purpose::Dropout, epoch), index);
    let mut unit = 0;
    let mut masks = Vec::new();
    for l in 0..model.layers() {
        let p = if l == 0 { regularization.input_dropout } else { regularization.dropout };
        let keep = |unit| {
            f64::from(mixed([key as u32, (key >> 32) as u32], unit) >> 8) / f64::from(1 << 24) >= f64::from(p)
        };
        let mask = (0..model.widths()[l] as u32).map(|i| if keep(unit + i) { 1.0 / (1.0 - p) } else { 0.0 });
        masks.push((p > 0.0).then(|| mask.collect()));
        unit += model.widths()[l] as u32;
    }

    let mut trace = weighted(model, params, &input, &target, weight, &masks);
    if regularization.clip_samples > 0.0 {
        // ‖g‖² = Σₗ ‖δˡ‖²·(‖aˡ⁻¹‖² + 1) + ‖∂C/∂γˡ‖² + ‖∂C/∂βˡ‖²: the gradient of a weight is δa, that of a bias δ.
        let square = |x: &[f32]| x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let layers = trace.deltas.iter().zip(&trace.activations);
        let nothing = Normalized::default();
        let normalizations = trace.normalizations.iter().chain(std::iter::repeat(&nothing));
        let norm = layers.zip(normalizations).fold(0.0, |sum, ((delta, a), of_sample)| {
            sum + square(delta) * (square(a) + 1.0) + square(&of_sample.gains) + square(&of_sample.shifts)
        });
        let factor = regularization.clip_factor(norm.sqrt());
        let all = trace.deltas.iter_mut().flatten();
        all.for_each(|delta| *delta = round(model.precision(), *delta * factor));
        let all = trace
            .normalizations
            .iter_mut()
            .flat_map(|of_sample| [&mut of_sample.gains, &mut of_sample.shifts]);
        all.flatten().for_each(|gradient| *gradient *= factor);
    }
    trace
}

/// [`backpropagate`] for a sample that weighs more or less than 1: its loss and δᴸ are multiplied by the weight, and with δᴸ
/// its whole gradient. `masks` has the factors of inputs and hidden units, layer by layer, where there is dropout.
fn weighted(
    model: &Model,
    params: &[f32],
    input: &[f32],
    target: &[f32],
    weight: f32,
    masks: &[Option<Vec<f32>>],
) -> Trace {
    let layers = layout(model);
    let last = layers.len() - 1;
    let (precision, activation) = (model.precision(), model.activation());
    let mut weights = params.to_vec();
    for layer in &layers {
        weights[layer.weights.clone()].iter_mut().for_each(|w| *w = round(precision, *w));
    }
    let mask = |l: usize, unit: usize| masks[l].as_ref().map_or(1.0, |mask| mask[unit]);

    // Forward: zˡ = Wˡ aˡ⁻¹ + bˡ, aˡ = σ(zˡ). With a normalisation zˡ is normalised first.
    let scaled = |x: f32| model.input_scale().map_or(x, |scale| scale.apply(x));
    let mut activations: Vec<Vec<f32>> =
        vec![input.iter().enumerate().map(|(i, &x)| round(precision, scaled(x) * mask(0, i))).collect()];
    let mut slopes: Vec<Vec<f32>> = Vec::new();
    let mut normalizations = Vec::new();
    let mut z: Vec<f32> = Vec::new();
    for (l, layer) in layers.iter().enumerate() {
        let (weights, biases) = (layer.weights_of(&weights), layer.biases_of(params));
        z = (0..layer.outputs).map(|j| dot(precision, weights.row(j), &activations[l]) + biases[j]).collect();
        if l == last {
            activations.push(output(model, &z));
            break;
        }
        let mut of_sample = Normalized::default();
        if !layer.gains.is_empty() {
            (z, of_sample) = normalize(layer, params, &z);
        }
        normalizations.push(of_sample);
        let a: Vec<f32> = z.iter().map(|&z| round(precision, activate(activation, z))).collect();
        slopes.push((0..layer.outputs).map(|j| slope(activation, z[j], a[j]) * mask(l + 1, j)).collect());
        activations.push((0..layer.outputs).map(|j| round(precision, a[j] * mask(l + 1, j))).collect());
    }
    let loss = loss(model, &z, &activations[last + 1], target) * f64::from(weight);

    // Backward: δᴸ = ∇ₐC ⊙ σ'(zᴸ), δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ'(zˡ), and back through the normalisation.
    let delta = output_delta(model, &activations[last + 1], target);
    let mut deltas: Vec<Vec<f32>> =
        vec![delta.iter().map(|delta| round(precision, delta * weight)).collect()];
    for (l, layer) in layers.iter().enumerate().skip(1).rev() {
        let (weights, below) = (layer.weights_of(&weights), &layers[l - 1]);
        let mut delta: Vec<f32> = (0..layer.inputs)
            .map(|i| dot(precision, weights.column(i), &deltas[0]) * slopes[l - 1][i])
            .collect();
        if !below.gains.is_empty() {
            delta = normalization_gradients(&params[below.gains.clone()], delta, &mut normalizations[l - 1]);
        }
        deltas.insert(0, delta.into_iter().map(|delta| round(precision, delta)).collect());
    }
    Trace { activations, deltas, normalizations, loss }
}

/// Σ aₖbₖ, accumulated over k in ascending order by fused multiply-adds that start from +0. Every 256 terms make a
/// sum of their own, and these sums are added in order.
///
/// With bf16, 32 terms make a panel. Its even and its odd terms make a sum each, and the panel's is the sum of the two.
///
/// `a` has as many terms as `b`.
pub fn dot<'a>(precision: Precision, a: impl IntoIterator<Item = &'a f32>, b: &[f32]) -> f32 {
    let mut a = a.into_iter();
    let (size, sums) = panels(precision);
    b.chunks(size)
        .map(|panel| {
            let mut parts = vec![0.0_f32; sums];
            for (k, (b, a)) in panel.iter().zip(&mut a).enumerate() {
                parts[k % sums] = a.mul_add(*b, parts[k % sums]);
            }
            parts.into_iter().reduce(|even, odd| even + odd).unwrap_or(0.0)
        })
        .reduce(|total, panel| total + panel)
        .unwrap_or(0.0)
}

/// Terms of a panel, and the sums that they go to in turn.
fn panels(precision: Precision) -> (usize, usize) {
    match precision {
        Precision::F32 => (K_PANEL, 1),
        Precision::Bf16 => (BLOCK, 2),
    }
}

/// An operand of a product.
fn round(precision: Precision, x: f32) -> f32 {
    match precision {
        Precision::F32 => x,
        Precision::Bf16 => round_to_bf16(x),
    }
}

/// The input of a sample, `[inputs]`, and its target, `[outputs]`: one-hot for a class.
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

/// a = σ(z)
fn activate(activation: Activation, z: f32) -> f32 {
    match activation {
        Activation::Sigmoid => math::sigmoid(z),
        Activation::Relu if z < 0.0 => 0.0,
        Activation::Relu => z, // NaN too
        Activation::Tanh => math::tanh(z),
        Activation::LeakyRelu if z < 0.0 => Activation::LEAK * z,
        Activation::LeakyRelu => z,
        Activation::Gelu => z * math::normal(z).0,
        Activation::Silu => z * math::sigmoid(z),
    }
}

/// σ'(z), from z or from the rounded a = σ(z): see [`Activation`] for the rule.
fn slope(activation: Activation, z: f32, a: f32) -> f32 {
    match activation {
        Activation::Sigmoid => a * (1.0 - a),
        Activation::Relu if a > 0.0 => 1.0,
        Activation::Relu => 0.0,
        Activation::Tanh => 1.0 - a * a,
        Activation::LeakyRelu if a > 0.0 => 1.0,
        Activation::LeakyRelu => Activation::LEAK,
        Activation::Gelu => {
            let (distribution, density) = math::normal(z);
            z.mul_add(density, distribution)
        }
        Activation::Silu => {
            let s = math::sigmoid(z);
            (z * s).mul_add(1.0 - s, s)
        }
    }
}

/// aᴸ, from zᴸ.
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

/// δᴸ = ∇ₐC ⊙ σ'(zᴸ). With cross-entropy σ' cancels.
fn output_delta(model: &Model, a: &[f32], y: &[f32]) -> Vec<f32> {
    let pairs = || a.iter().zip(y);
    match (model.cost(), model.output()) {
        (Cost::CrossEntropy, _) | (Cost::Mse, Output::Linear) => pairs().map(|(a, y)| a - y).collect(),
        (Cost::Huber, _) => pairs().map(|(a, y)| (a - y).clamp(-1.0, 1.0)).collect(),
        (Cost::Mse, Output::Sigmoid) => pairs().map(|(a, y)| (a - y) * (a * (1.0 - a))).collect(),
        (Cost::Mse, Output::Softmax) => {
            let dot = pairs().fold(0.0_f32, |dot, (a, y)| (a - y).mul_add(*a, dot));
            pairs().map(|(a, y)| a * ((a - y) - dot)).collect()
        }
    }
}

/// The loss of one sample. Cross-entropy is computed from z, so that a saturated output gives a large loss rather
/// than an infinite one.
fn loss(model: &Model, z: &[f32], a: &[f32], y: &[f32]) -> f64 {
    match (model.cost(), model.output()) {
        (Cost::Mse, _) => 0.5 * a.iter().zip(y).map(|(a, y)| f64::from(a - y).powi(2)).sum::<f64>(),
        (Cost::Huber, _) => a.iter().zip(y).map(|(a, y)| huber(f64::from(a - y))).sum(),
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

/// e²/2, and the line that goes on from there beyond 1 and −1.
fn huber(e: f64) -> f64 {
    if e.abs() > 1.0 { e.abs() - 0.5 } else { 0.5 * (e * e) }
}

/// z − max z, its exponential, and the sum of the exponentials.
fn softmax_parts(z: &[f32]) -> (Vec<f32>, Vec<f32>, f32) {
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f32> = z.iter().map(|z| z - max).collect();
    let e: Vec<f32> = shifted.iter().map(|&x| math::exp(x)).collect();
    let sum = e.iter().fold(0.0, |sum, e| sum + e);
    (shifted, e, sum)
}
