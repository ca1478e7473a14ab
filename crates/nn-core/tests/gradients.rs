//! Gradients against their meaning: finite differences in f64, and gradients taken one sample at a time.

mod common;

use common::{assert_close, cases, dataset, gradient, noise, normalized, parameters, widen, workspace};
use nn_core::{
    Activation, Cost, Dataset, Features, Init, Isa, Model, Normalization, Output, Samples, Targets, Tree,
    layout,
};

/// An independent implementation of the network in f64, from the formulas and `std` alone. Returns the mean loss and
/// the smallest |z| of a hidden neuron, normalised if it is.
fn mean_loss(model: &Model, params: &[f64], inputs: &[f64], targets: &[f64]) -> (f64, f64) {
    let (widths, mut nearest) = (model.widths(), f64::INFINITY);
    let mut total = 0.0;
    let samples = inputs.chunks(widths[0]).zip(targets.chunks(widths[widths.len() - 1]));
    let n = samples.len();
    for (x, y) in samples {
        let mut a = x.to_vec();
        let mut rest = params;
        for l in 1..widths.len() {
            let (weights, after) = rest.split_at(widths[l] * widths[l - 1]);
            let (biases, after) = after.split_at(widths[l]);
            rest = after;
            let mut z = biases.to_vec();
            for j in 0..widths[l] {
                for i in 0..widths[l - 1] {
                    z[j] += weights[j * widths[l - 1] + i] * a[i];
                }
            }
            if l < widths.len() - 1 && model.normalization() == Normalization::Layer {
                let (gains, after) = rest.split_at(widths[l]);
                let (shifts, after) = after.split_at(widths[l]);
                rest = after;
                let n = widths[l] as f64;
                let mean = z.iter().sum::<f64>() / n;
                let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n;
                for (z, (gain, shift)) in z.iter_mut().zip(gains.iter().zip(shifts)) {
                    *z = gain * (*z - mean) / (variance + 1e-5).sqrt() + shift;
                }
            }
            let sigmoid = |z: &f64| 1.0 / (1.0 + (-z).exp());
            a = if l < widths.len() - 1 {
                nearest = z.iter().fold(nearest, |m, z| m.min(z.abs()));
                match model.activation() {
                    Activation::Sigmoid => z.iter().map(sigmoid).collect(),
                    Activation::Relu => z.iter().map(|z| z.max(0.0)).collect(),
                    Activation::Tanh => z.iter().map(|z| z.tanh()).collect(),
                    Activation::LeakyRelu => z.iter().map(|z| z.max(0.01 * z)).collect(),
                    Activation::Gelu => {
                        z.iter().map(|z| 0.5 * z * (1.0 + libm::erf(z / 2_f64.sqrt()))).collect()
                    }
                    Activation::Silu => z.iter().map(|z| z * sigmoid(z)).collect(),
                }
            } else {
                let sum: f64 = z.iter().map(|z| z.exp()).sum();
                match model.output() {
                    Output::Sigmoid => z.iter().map(sigmoid).collect(),
                    Output::Softmax => z.iter().map(|z| z.exp() / sum).collect(),
                    Output::Linear => z,
                }
            };
        }
        assert!(rest.is_empty());
        for (a, y) in a.iter().zip(y) {
            total += match (model.cost(), model.output()) {
                (Cost::Mse, _) => 0.5 * (a - y) * (a - y),
                (Cost::Huber, _) if (a - y).abs() > 1.0 => (a - y).abs() - 0.5,
                (Cost::Huber, _) => 0.5 * (a - y) * (a - y),
                (Cost::CrossEntropy, Output::Softmax) => -y * a.ln(),
                (Cost::CrossEntropy, _) => -(y * a.ln() + (1.0 - y) * (1.0 - a).ln()),
            };
        }
    }
    (total / n as f64, nearest)
}

/// Samples with targets other than 0 and 1: probabilities with cross-entropy, any numbers with MSE. Labels are a
/// special case of them.
fn soft_samples(model: &Model, samples: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut next = noise(seed);
    let inputs = (0..samples * model.input_width()).map(|_| next() * 2.0).collect();
    let mut targets: Vec<f32> = (0..samples * model.output_width()).map(|_| next()).collect();
    if model.cost() == Cost::CrossEntropy {
        for y in targets.chunks_mut(model.output_width()) {
            y.iter_mut().for_each(|y| *y = y.abs());
            if model.output() == Output::Softmax {
                let sum: f32 = y.iter().sum();
                y.iter_mut().for_each(|y| *y /= sum);
            }
        }
    }
    (inputs, targets)
}

#[test]
fn gradients_are_finite_differences() {
    const STEP: f64 = 1e-5;
    // The differences are exact to STEP² and 1e-16/STEP, the f32 gradient to some roundings of 6e-8. Observed: 8e-7.
    const TOLERANCE: f64 = 3e-6;
    // A normalisation takes means away, so that what is left has fewer digits. Observed: 4e-6.
    const NORMALIZED: f64 = 1e-5;
    // Within a lane of 16 neurons, and across its edge.
    for widths in [vec![5, 4, 3, 3], vec![3, 18, 2]] {
        let models = cases().into_iter().flat_map(|(activation, output, cost)| {
            let model = Model::new(widths.clone(), activation, output, cost).unwrap();
            let normalized = normalized(&model).unwrap();
            [model, normalized]
        });
        for model in models {
            let tolerance = if model.normalization().is_default() { TOLERANCE } else { NORMALIZED };
            let (x, y) = soft_samples(&model, 9, 6);
            let targets = Targets::Values { data: y.clone(), width: model.output_width() };
            let data = Dataset::new(Features::F32(x.clone()), widths[0], targets, None).unwrap();
            let params = parameters(&model, Init::Scaled, 4);

            let (x, y, mut moved) = (widen(&x), widen(&y), widen(&params));
            let (loss, nearest) = mean_loss(&model, &moved, &x, &y);
            // A difference across the kink of a ReLU means nothing. Inputs are below about 2, so z moves by less than
            // this.
            assert!(
                ![Activation::Relu, Activation::LeakyRelu].contains(&model.activation())
                    || nearest > 10.0 * STEP,
                "{model:?}: {nearest}"
            );
            let want: Vec<f64> = (0..params.len())
                .map(|p| {
                    let here = moved[p];
                    let mut at = |w: f64| {
                        moved[p] = w;
                        mean_loss(&model, &moved, &x, &y).0
                    };
                    let slope = (at(here + STEP) - at(here - STEP)) / (2.0 * STEP);
                    moved[p] = here;
                    slope
                })
                .collect();

            for isa in Isa::available() {
                let mut workspace = workspace(&model, 9, 1, isa);
                let mut sum = vec![f32::NAN; params.len()];
                let batch = [0, 1, 2, 3, 4, 5, 6, 7, 8];
                let stats =
                    workspace.node_gradient(&params, &data, Samples::first(&batch), 4, &mut sum).unwrap();
                let what = format!("{model:?} on {}", isa.name());
                assert_close(&format!("{what}: loss"), &[stats.loss / 9.0], &[loss], 1e-6);
                let mean: Vec<f64> = sum.iter().map(|&g| f64::from(g) / 9.0).collect();
                for (l, layer) in layout(&model).into_iter().enumerate() {
                    let kinds = [
                        ("weights", layer.weights),
                        ("biases", layer.biases),
                        ("gains", layer.gains),
                        ("shifts", layer.shifts),
                    ];
                    for (kind, range) in kinds.into_iter().filter(|(_, range)| !range.is_empty()) {
                        let (got, want) = (&mean[range.clone()], &want[range]);
                        assert_close(&format!("{what}: layer {l}, {kind}"), got, want, tolerance);
                    }
                }
            }
        }
    }
}

#[test]
fn a_batch_is_the_sum_of_its_samples_and_norms_are_theirs() {
    const UNIT: f64 = 1.0 / (1_u64 << 24) as f64; // half a unit in the last place: the most that one rounding changes
    let models = cases().into_iter().flat_map(|(activation, output, cost)| {
        let model = Model::new(vec![40, 21, 18, 6], activation, output, cost).unwrap();
        let normalized = normalized(&model).unwrap();
        [model, normalized]
    });
    for (i, model) in models.enumerate() {
        let data = dataset(&model, 60, i % 4 > 1, 20 + i as u64);
        let params = parameters(&model, Init::Scaled, 5);
        // One sample occurs twice, and counts twice.
        let batch: Vec<u32> = (0..45).map(|s| s * 7 % 60).chain([7]).collect();
        for isa in Isa::available() {
            let what = format!("{model:?} on {}", isa.name());
            let mut one = workspace(&model, 1, 1, isa);
            let (mut sum, mut magnitudes) = (vec![0.0_f64; params.len()], vec![0.0_f64; params.len()]);
            let mut literal_norms = Vec::new();
            for &sample in &batch {
                let own = widen(&gradient(&mut one, &params, &data, &[sample], 1));
                literal_norms.push(own.iter().map(|g| g * g).sum::<f64>().sqrt());
                for ((sum, magnitude), g) in sum.iter_mut().zip(&mut magnitudes).zip(own) {
                    *sum += g;
                    *magnitude += g.abs();
                }
            }

            let mut many = workspace(&model, batch.len(), 1, isa);
            for shard in [46, 16, 6, 1] {
                let got = gradient(&mut many, &params, &data, &batch, shard);
                // Every term passes through at most the additions of its leaf and of the levels above, and the literal
                // gradient rounded its own product once. This is a bound, not an estimate.
                let levels = Tree::new(batch.len(), shard).root().level as usize;
                let roundings = (shard + levels + 1) as f64;
                for (p, (g, (sum, magnitude))) in got.iter().zip(sum.iter().zip(&magnitudes)).enumerate() {
                    let off = (f64::from(*g) - sum).abs();
                    let bound = roundings * UNIT * magnitude;
                    assert!(off <= bound, "{what}, shard {shard}: parameter {p} is {g}, not {sum}");
                }

                // Each literal element is one product, rounded once; the norm from δ and a is computed in f64.
                let mut norms = vec![f64::NAN; batch.len()];
                many.sample_gradient_norms(&mut norms);
                for (s, (norm, literal)) in norms.iter().zip(&literal_norms).enumerate() {
                    assert!(
                        (norm - literal).abs() <= 2.0 * UNIT * literal,
                        "{what}: sample {s}: {norm}, not {literal}"
                    );
                }
            }
        }
    }
}
