//! Helpers that the tests of the arithmetic share.
#![allow(dead_code)] // each test file is a program of its own and uses its part of this

use std::sync::Arc;

use nn_core::{
    Activation, Compute, Cost, Dataset, Features, Init, Isa, Model, Named, Normalization, Output, Samples,
    Targets, Threads, Workspace, check_combination, initial_parameters, layout,
};

pub(crate) mod training;

pub(crate) fn compute(isa: Isa, threads: usize) -> Compute {
    Compute { isa, threads: Arc::new(Threads::new(threads).unwrap()) }
}

pub(crate) fn workspace(model: &Model, samples: usize, threads: usize, isa: Isa) -> Workspace {
    Workspace::new(model, samples, compute(isa, threads).threads, isa)
}

/// A workspace to evaluate a model in, on one thread.
pub(crate) fn evaluator(model: &Model, isa: Isa) -> Workspace {
    Workspace::for_evaluation(model, compute(isa, 1).threads, isa)
}

/// The gradient sum of a mini-batch, which must be finite.
pub(crate) fn gradient(
    workspace: &mut Workspace,
    params: &[f32],
    data: &Dataset,
    batch: &[u32],
    shard: usize,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; params.len()];
    let batch = Samples::first(batch);
    assert!(workspace.node_gradient(params, data, batch, shard, &mut out).unwrap().finite);
    out
}

/// The model with its hidden layers normalised; `None` if it has none, or one of a single unit.
pub(crate) fn normalized(model: &Model) -> Option<Model> {
    let normalized = model.clone().with_normalization(Normalization::Layer).ok();
    normalized.filter(|model| model.layers() > 1)
}

/// Initial parameters, but with other γ and β in normalised layers than 1 and 0.
pub(crate) fn parameters(model: &Model, init: Init, seed: u64) -> Vec<f32> {
    let mut params = initial_parameters(model, init, seed);
    let mut next = noise(seed);
    for layer in layout(model) {
        params[layer.gains].iter_mut().for_each(|gain| *gain += 0.7 * next());
        params[layer.shifts].iter_mut().for_each(|shift| *shift = next());
    }
    params
}

/// A reproducible stream of small numbers in −1..1. They need not be good random numbers, only not round.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ((x >> 40) as f32 / (1 << 24) as f32) * 2.0 - 1.0
    }
}

/// Random samples that fit a model: numbers as targets if the outputs are linear, labels otherwise.
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
pub(crate) fn outputs_and_costs() -> Vec<(Output, Cost)> {
    let costs = Cost::NAMES.iter().map(|&(_, cost)| cost);
    let all = costs.flat_map(|cost| Output::NAMES.iter().map(move |&(_, output)| (output, cost)));
    all.filter(|&(output, cost)| check_combination(None, output, cost).is_ok()).collect()
}

/// Every activation with every output and every cost that the output allows.
pub(crate) fn cases() -> Vec<(Activation, Output, Cost)> {
    let activations = Activation::NAMES.iter().map(|&(_, activation)| activation);
    activations.flat_map(|a| outputs_and_costs().into_iter().map(move |(o, c)| (a, o, c))).collect()
}

/// Asserts that no number differs from the wanted one by more than `tolerance` × the largest of the wanted ones. An
/// f32 sum is only as exact as its largest terms, so an element that happens to be near 0 has no more correct digits
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

/// The bits of the numbers, to compare them exactly and to distinguish −0 from 0.
pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}
