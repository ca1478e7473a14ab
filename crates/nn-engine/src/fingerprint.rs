//! Hashes of parameters, and of this machine's arithmetic.

use std::sync::Arc;

use nn_core::{
    Activation, AfterOuter, Augmentation, BLOCK_OF_4, BLOCK_OF_8, BeforeOuter, Compute, Cost, DELTA_BLOCK,
    Dataset, DeltaBits, Features, Init, InputScale, Isa, Model, Normalization, Optimizer, OptimizerState,
    OuterInputs, OuterState, Output, Precision, Purpose, Regularization, Samples, StepInputs, Targets,
    Threads, Workspace, decode_4, decode_8, encode_4, encode_8, initial_parameters, permutation,
    rounding_keys,
};
use sha2::{Digest, Sha256};

use crate::manifest::hex;

/// The SHA-256 of the little-endian parameters, layer by layer, weights row-major `[out][in]`, then biases and, in normalised layers,
/// γ and β; in hexadecimal.
#[must_use]
pub fn params_sha256(params: &[f32]) -> String {
    let mut hash = Sha256::new();
    update(&mut hash, params);
    hex(&hash.finalize())
}

fn update(hash: &mut Sha256, values: &[f32]) {
    let mut bytes = [0; 4096];
    for chunk in values.chunks(1024) {
        for (to, value) in bytes.chunks_exact_mut(4).zip(chunk) {
            to.copy_from_slice(&value.to_le_bytes());
        }
        hash.update(&bytes[..chunk.len() * 4]);
    }
}

/// The [`arithmetic_fingerprint`] of every machine that computes correctly.
pub const ARITHMETIC: &str = "f7a6f262b9534f2f01f946e22d83ceab030790fe965207fb4e9858380eaa9337";

/// The networks of the fixed run. A test says which choices they cover.
const NETWORKS: [(Activation, Output, Cost, Init, Precision, Regularization); 9] = [
    (Activation::Sigmoid, Output::Sigmoid, Cost::Mse, Init::Normal, Precision::F32, NONE),
    (Activation::Relu, Output::Softmax, Cost::CrossEntropy, Init::He, Precision::F32, NONE),
    (Activation::Tanh, Output::Sigmoid, Cost::CrossEntropy, Init::Xavier, Precision::F32, NONE),
    (Activation::Tanh, Output::Softmax, Cost::Mse, Init::Scaled, Precision::F32, NONE),
    (Activation::Relu, Output::Softmax, Cost::CrossEntropy, Init::He, Precision::Bf16, NONE),
    (Activation::Tanh, Output::Sigmoid, Cost::Mse, Init::Xavier, Precision::Bf16, NONE),
    (Activation::Gelu, Output::Softmax, Cost::CrossEntropy, Init::He, Precision::F32, ALL),
    (Activation::Silu, Output::Softmax, Cost::CrossEntropy, Init::He, Precision::Bf16, ALL),
    (Activation::LeakyRelu, Output::Linear, Cost::Huber, Init::He, Precision::F32, NONE),
];

const NONE: Regularization = Regularization::NONE;

/// The limit clips some of the samples.
const ALL: Regularization = Regularization {
    input_dropout: 0.1,
    dropout: 0.3,
    label_smoothing: 0.1,
    clip_samples: 2.0,
    augmentation: Augmentation { elastic: 1.2, flip: true, ..Augmentation::AFFINE },
};

/// Those of them, by position, that are run again with layer normalisation and standardised inputs: one in each precision, with regularization and without.
const NORMALIZED: [usize; 4] = [2, 4, 6, 7];

/// The optimizers of the fixed run.
const OPTIMIZERS: [Optimizer; 3] = [
    Optimizer::Sgd,
    Optimizer::Nesterov { momentum: 0.9 },
    Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 },
];

/// A hash of this machine's results in a small fixed run: the kernels of every activation, output, cost, precision and optimizer,
/// long sums, short leaves, initial weights and a permutation, the end of a round, and a step that bounds weights. Machines with the same fingerprint compute the same bits; one that differs
/// must not join a run with the others.
#[must_use]
pub fn arithmetic_fingerprint(isa: Isa) -> String {
    let mut hash = Sha256::new();
    hash.update(b"nn arithmetic 5");
    let threads = match Threads::new(1) {
        Ok(threads) => Arc::new(threads),
        Err(_) => unreachable!("one thread is the calling one"),
    };
    let compute = Compute { isa, threads };
    let mut order = vec![0; 24];
    permutation(7, Purpose::Shuffle, 3, &mut order);
    let plain = NETWORKS.map(|network| (network, Normalization::None));
    let normalized = NORMALIZED.map(|at| (NETWORKS[at], Normalization::Layer));
    for ((activation, output, cost, init, precision, regularization), normalization) in
        plain.into_iter().chain(normalized)
    {
        let model = Model::new(vec![300, 20, 5], activation, output, cost)
            .and_then(|model| model.with_precision(precision).with_normalization(normalization));
        let (Ok(model), Ok(scale)) = (model, InputScale::new(0.4, 0.3)) else {
            unreachable!("the model is fixed")
        };
        let model = model.with_input_scale((normalization == Normalization::Layer).then_some(scale));
        let bytes = (0..24 * 300_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let targets = Targets::Classes { labels: (0..24).map(|i| i % 5).collect(), classes: 5 };
        let Ok(data) = Dataset::new(Features::U8 { data: bytes, scale: 255.0 }, 300, targets, Some((15, 20)))
        else {
            unreachable!("the data are fixed")
        };
        let threads = compute.threads.clone();
        let mut workspace = Workspace::regularized(&model, (regularization, 7), 24, threads, isa);
        let samples = Samples { indices: &order, epoch: 3 };
        for optimizer in OPTIMIZERS {
            let mut params = initial_parameters(&model, init, 42);
            let mut state = OptimizerState::new(optimizer, &model);
            let mut gradient = vec![0.0; params.len()];
            for step in 0..2 {
                let Ok(stats) = workspace.node_gradient(&params, &data, samples, 5, &mut gradient) else {
                    unreachable!("data and model fit")
                };
                hash.update(stats.loss.to_bits().to_le_bytes());
                update(&mut hash, &gradient);
                let inputs = StepInputs {
                    samples: stats.samples,
                    step,
                    learning_rate: 0.05,
                    l2: 1e-3,
                    clip: 1.0,
                    noise: None,
                };
                state.step(&compute, &mut params, &gradient, inputs);
            }
            update(&mut hash, &params);
        }
    }
    subnormal_sum(&mut hash);
    round(isa, &mut hash);
    bounded(&compute, &mut hash);
    hex(&hash.finalize())
}

/// A fused multiply-add whose result is subnormal and a tie until it is rounded, which a careless emulation rounds twice.
fn subnormal_sum(hash: &mut Sha256) {
    let [x, y, z] = [0x1a00_0800, 0x19ff_f001, 0x0040_0000].map(f32::from_bits).map(std::hint::black_box);
    update(hash, &[x.mul_add(y, z)]);
}

/// The end of a round: differences in four and eight bits, and outer steps on them.
fn round(isa: Isa, hash: &mut Sha256) {
    let numbers: Vec<f32> = (0..600_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5)
        .enumerate()
        .map(|(i, x)| if i < DELTA_BLOCK { x } else { x * 1e-6 })
        .collect();
    let blocks = numbers.len().div_ceil(DELTA_BLOCK);
    let (mut fours, mut eights) = (vec![0; blocks * BLOCK_OF_4], vec![0; blocks * BLOCK_OF_8]);
    encode_4(isa, rounding_keys(7, 3, 1), 0, &numbers, &mut fours);
    encode_8(isa, &numbers, &mut eights);
    hash.update(&fours);
    hash.update(&eights);
    let mut sum = vec![0.0; numbers.len()];
    decode_4(isa, &fours, &mut sum);
    update(hash, &sum);
    decode_8(isa, &eights, &mut sum);
    let mut params = numbers;
    for bits in [DeltaBits::Eight, DeltaBits::Four] {
        outer_steps(isa, hash, bits, &sum, &mut params);
    }
}

/// A step after which the weights of about half of the hidden units are too long.
fn bounded(compute: &Compute, hash: &mut Sha256) {
    let Ok(model) = Model::new(vec![300, 20, 5], Activation::Tanh, Output::Softmax, Cost::CrossEntropy)
    else {
        unreachable!("the model is fixed")
    };
    let mut params = initial_parameters(&model, Init::Scaled, 42);
    let gradient = params.iter().map(|w| w * w - 0.5 * w).collect::<Vec<f32>>();
    let mut state = OptimizerState::new(Optimizer::Sgd, &model).with_max_norm(Some(1.0));
    let inputs = StepInputs { samples: 3, step: 0, learning_rate: 0.05, l2: 0.0, clip: 1.0, noise: None };
    state.step(compute, &mut params, &gradient, inputs);
    update(hash, &params);
}

/// Two outer steps with the same sum of differences.
fn outer_steps(isa: Isa, hash: &mut Sha256, bits: DeltaBits, sum: &[f32], params: &mut [f32]) {
    let mut state = OuterState::new(sum.len(), bits);
    for _ in 0..2 {
        let (before, old) = (params.to_vec(), state.clone());
        let before = BeforeOuter { params: &before, state: &old };
        let inputs = OuterInputs { mean: 1.0 / 3.0, learning_rate: 0.9, momentum: 0.7 };
        let read = |from: usize, out: &mut [f32]| out.copy_from_slice(&sum[from..from + out.len()]);
        let mut said = Vec::new();
        let after = AfterOuter { params, update: &mut said };
        state.step(isa, 0..sum.len(), before, after, &read, inputs);
        hash.update(&said);
        update(hash, params);
        state.moments().into_iter().for_each(|moment| update(hash, moment));
    }
}

#[cfg(test)]
mod tests {
    use nn_core::{Named, OptimizerName};

    use super::*;

    #[test]
    fn all_instruction_sets_have_the_pinned_fingerprint() {
        // A change here changes the hashes of all runs: it is a new version of the arithmetic.
        for isa in Isa::available() {
            assert_eq!(arithmetic_fingerprint(isa), ARITHMETIC, "{}", isa.name());
        }
    }

    /// The matches have no `_`: a new choice does not compile until somebody decides whether the fixed run covers it.
    #[test]
    fn the_fixed_run_covers_every_kernel() {
        for &(_, activation) in Activation::NAMES {
            let covered = match activation {
                Activation::Sigmoid | Activation::Relu | Activation::Tanh => true,
                Activation::LeakyRelu | Activation::Gelu | Activation::Silu => true,
            };
            assert_eq!(NETWORKS.iter().any(|network| network.0 == activation), covered, "{activation}");
        }
        for &(_, output) in Output::NAMES {
            let covered = match output {
                Output::Sigmoid | Output::Softmax | Output::Linear => true,
            };
            assert_eq!(NETWORKS.iter().any(|network| network.1 == output), covered, "{output}");
        }
        for &(_, cost) in Cost::NAMES {
            let covered = match cost {
                Cost::Mse | Cost::CrossEntropy | Cost::Huber => true,
            };
            assert_eq!(NETWORKS.iter().any(|network| network.2 == cost), covered, "{cost}");
        }
        for &(_, precision) in Precision::NAMES {
            let covered = match precision {
                Precision::F32 | Precision::Bf16 => true,
            };
            assert_eq!(NETWORKS.iter().any(|network| network.4 == precision), covered, "{precision}");
            for &(_, normalization) in Normalization::NAMES {
                let covered = match normalization {
                    Normalization::None => continue, // that is the line above
                    Normalization::Layer => true,
                };
                let runs = NORMALIZED.iter().any(|&at| NETWORKS[at].4 == precision);
                assert_eq!(runs, covered, "{normalization} in {precision}");
            }
        }
        for &(_, init) in Init::NAMES {
            let covered = match init {
                Init::Normal | Init::Scaled | Init::Xavier | Init::He => true,
            };
            assert_eq!(NETWORKS.iter().any(|network| network.3 == init), covered, "{init}");
        }
        for &(_, optimizer) in OptimizerName::NAMES {
            let covered = match optimizer {
                OptimizerName::Sgd | OptimizerName::Nesterov | OptimizerName::AdamW => true,
                // Their updates are those of Nesterov and AdamW less one term.
                OptimizerName::Momentum | OptimizerName::Adam => false,
            };
            assert_eq!(OPTIMIZERS.iter().any(|of_run| of_run.kind() == optimizer), covered, "{optimizer}");
        }
    }

    #[test]
    fn the_hash_of_parameters_is_that_of_their_bytes() {
        let many: Vec<f32> = (0..3000_u16).map(|i| f32::from(i) * 0.5).collect();
        let bytes: Vec<u8> = many.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(params_sha256(&many), hex(&Sha256::digest(bytes)));
    }
}
