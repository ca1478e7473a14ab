//! What the tests of the arithmetic share.
#![allow(dead_code)] // each test file is a program of its own and uses its part of this

use nn_core::{Activation, Cost, Dataset, Features, Model, Output, Targets};

/// A reproducible stream of small numbers: quality does not matter, only that nothing is round.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ((x >> 40) as f32 / (1 << 24) as f32) * 2.0 - 1.0
    }
}

/// Random samples that fit a model: labels, or values where the outputs are linear.
pub(crate) fn dataset(model: &Model, samples: usize, bytes: bool, seed: u64) -> Dataset {
    let mut next = noise(seed);
    let (inputs, outputs) = (model.input_width(), model.output_width());
    let features = if bytes {
        let data = (0..samples * inputs).map(|_| (next().abs() * 255.0) as u8).collect();
        Features::U8 { data, scale: 255.0 }
    } else {
        Features::F32((0..samples * inputs).map(|_| next() * 3.0).collect())
    };
    let targets = if model.output() == Output::Linear {
        Targets::Values { data: (0..samples * outputs).map(|_| next()).collect(), width: outputs }
    } else {
        let labels = (0..samples).map(|_| (next().abs() * outputs as f32) as u32 % outputs as u32).collect();
        Targets::Classes { labels, classes: outputs }
    };
    Dataset::new(features, inputs, targets, None).unwrap()
}

/// Every output with every cost that it allows.
pub(crate) const OUTPUTS_AND_COSTS: [(Output, Cost); 5] = [
    (Output::Sigmoid, Cost::Mse),
    (Output::Softmax, Cost::Mse),
    (Output::Linear, Cost::Mse),
    (Output::Sigmoid, Cost::CrossEntropy),
    (Output::Softmax, Cost::CrossEntropy),
];

/// Every activation with every output and cost.
pub(crate) fn cases() -> Vec<(Activation, Output, Cost)> {
    let activations = [Activation::Sigmoid, Activation::Relu, Activation::Tanh];
    activations.iter().flat_map(|&a| OUTPUTS_AND_COSTS.map(|(o, c)| (a, o, c))).collect()
}

/// Asserts that no number differs from the wanted one by more than `tolerance` × the largest of the wanted ones. An f32
/// sum is no more exact than its largest terms, so an element that happens to be near 0 cannot be asked for more digits
/// than its neighbours.
pub(crate) fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: the number of elements");
    let largest = want.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    assert!(largest > 0.0, "{what}: there is something to compare");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let off = (g - w).abs() / largest;
        assert!(off <= tolerance, "{what}: element {i} is {g}, not {w}: off by {off:e} of the largest");
    }
}

/// The same numbers in f64.
pub(crate) fn widen(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().copied().map(f64::from).collect()
}

/// The bits of the numbers, to compare and to tell −0 from 0.
pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}
