//! What is said about single samples, against the literal gradient of each sample.

mod common;

use std::sync::Arc;

use common::{cases, dataset};
use nn_core::{
    Init, InputScale, Isa, Model, NoiseScale, Regularization, Samples, Threads, Workspace,
    initial_parameters, reference,
};

/// Σx² in f64.
fn squares(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// The gradient of one sample.
fn literal(
    model: &Model,
    params: &[f32],
    data: &nn_core::Dataset,
    sample: u32,
    of: (&Regularization, u64),
) -> Vec<f32> {
    reference::batch_gradient(model, params, data, Samples { indices: &[sample], epoch: 2 }, 1, of).0
}

#[test]
fn losses_and_norms_are_those_of_each_samples_own_gradient() {
    for (i, (activation, output, cost)) in cases().into_iter().enumerate() {
        let model = Model::new(vec![19, 13, 7, 3], activation, output, cost).unwrap();
        let model = model.with_input_scale((i % 2 == 0).then(|| InputScale::new(0.3, 0.7).unwrap()));
        let data = dataset(&model, 50, i % 3 == 0, i as u64 + 5);
        let params = initial_parameters(&model, Init::Scaled, 3);
        for isa in Isa::available() {
            // With less room than there are samples.
            let mut workspace = Workspace::new(&model, 32, Arc::new(Threads::new(2).unwrap()), isa);
            let mut outputs = Vec::new();
            let stats = workspace.sample_stats(&params, &data, 3..50, &mut outputs).unwrap();
            assert_eq!((stats.len(), outputs.len()), (47, 47 * 3));
            let mut correct = 0;
            for (sample, stats) in (3..50).zip(&stats) {
                let none = Regularization::default();
                let samples = Samples::first(std::slice::from_ref(&sample));
                let (gradient, loss) =
                    reference::batch_gradient(&model, &params, &data, samples, 1, (&none, 0));
                let norm = squares(&gradient).sqrt();
                assert_eq!(stats.loss.to_bits(), loss.to_bits(), "{model:?}");
                assert!((stats.gradient_norm - norm).abs() <= 1e-6 * norm, "{} {norm}", stats.gradient_norm);
                correct += usize::from(stats.correct);
            }
            let all = workspace.evaluate(&params, &data).unwrap();
            assert!(correct <= all.correct && all.correct <= correct + 3);
            let rows = workspace.outputs(&params, &data, 3..50).unwrap();
            assert_eq!(rows, outputs);
        }
    }
}

#[test]
fn the_noise_scale_is_that_of_the_literal_gradients() {
    let (activation, output, cost) = cases()[3];
    let model = Model::new(vec![19, 13, 3], activation, output, cost).unwrap();
    let data = dataset(&model, 40, true, 8);
    let params = initial_parameters(&model, Init::Scaled, 3);
    let ids: Vec<u32> = (0..37).rev().collect();
    for regularization in [
        Regularization::default(),
        Regularization { dropout: 0.3, clip_samples: 0.5, ..Regularization::default() },
    ] {
        let of = (&regularization, 6);
        let each: Vec<Vec<f32>> = ids.iter().map(|&i| literal(&model, &params, &data, i, of)).collect();
        let sum: Vec<f32> =
            (0..params.len()).map(|p| each.iter().map(|g| f64::from(g[p])).sum::<f64>() as f32).collect();
        let want = NoiseScale::new(each.iter().map(|g| squares(g)).sum(), squares(&sum), ids.len());
        for (isa, threads) in Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let threads = Arc::new(Threads::new(threads).unwrap());
            let mut workspace = Workspace::regularized(&model, (regularization, 6), 48, threads, isa);
            let mut gradient = vec![0.0; params.len()];
            let samples = Samples { indices: &ids, epoch: 2 };
            let got = workspace.noise_scale(&params, &data, samples, &mut gradient).unwrap();
            for (got, want) in [(got.noise, want.noise), (got.signal, want.signal)] {
                assert!((got - want).abs() <= 1e-5 * want.abs().max(want), "{got} {want}");
            }
            assert_eq!(got.samples, 37);
        }
    }
}
