//! The engine against the definition: a whole run gives the bits of `nn_core::reference::train`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use nn_core::reference::{self, Hyperparameters};
use nn_core::{
    Activation, Compute, Cost, Dataset, Features, Init, Isa, Model, Named, Normalization, Output, Precision,
    Regularization, Targets, Threads, check_combination,
};
use nn_engine::{Engine, EpochReport, Manifest, ManifestParts, Outcome, Recipe, Snapshot, StepReport, local};

/// Watches nothing.
struct Unwatched;

impl local::Observer for Unwatched {
    fn now(&mut self) -> Duration {
        Duration::ZERO
    }
    fn step(&mut self, _: &StepReport) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}
    fn snapshot(&mut self, _: Snapshot) {}
}

/// The parameters of a whole run of the engine with its in-process worker.
fn by_engine(model: &Model, data: &Dataset, hyper: &Hyperparameters, isa: Isa) -> Vec<f32> {
    let Hyperparameters {
        init,
        seed,
        epochs,
        batch_size,
        shard_size,
        learning_rate,
        l2,
        regularization,
        clip_norm,
        max_norm,
        ema,
    } = *hyper;
    let manifest = Manifest::new(ManifestParts {
        model: model.clone(),
        recipe: Recipe {
            init,
            learning_rate,
            l2,
            batch_size,
            shard_size,
            epochs,
            seed,
            regularization,
            clip_norm,
            max_norm,
            ema,
            ..Recipe::book()
        },
        train_samples: data.len(),
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    })
    .unwrap();
    let compute = Compute { isa, threads: Arc::new(Threads::new(2).unwrap()) };
    let mut engine = Engine::new(manifest, compute, Duration::ZERO);
    assert_eq!(local::run(&mut engine, data, &mut Unwatched).unwrap(), Outcome::Complete);
    engine.model_params().to_vec()
}

/// Fails unless both trainings give the same bits, on every instruction set.
fn holds(model: &Model, data: &Dataset, hyper: &Hyperparameters) {
    let want = reference::train(model, data, hyper);
    assert!(want.iter().all(|w| w.is_finite()), "{model:?} {hyper:?}");
    for isa in Isa::available() {
        let got = by_engine(model, data, hyper, isa);
        let differ = got.iter().zip(&want).position(|(g, w)| g.to_bits() != w.to_bits());
        let differ = differ.map(|i| (i, got[i], want[i]));
        assert_eq!(differ, None, "{} with {model:?} {hyper:?}", isa.name());
        assert_eq!(got.len(), want.len());
    }
}

/// Made-up samples that fit a model: numbers as targets if the outputs are linear, labels otherwise.
fn samples(model: &Model, count: usize) -> Dataset {
    let (inputs, outputs) = (model.input_width(), model.output_width());
    let byte = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8;
    let features = Features::U8 { data: (0..count * inputs).map(byte).collect(), scale: 255.0 };
    let targets = if model.output() == Output::Linear {
        let data = (0..count * outputs).map(|i| f32::from(byte(7 * i + 3)) / 64.0 - 2.0).collect();
        Targets::Values { data, width: outputs }
    } else {
        Targets::Classes { labels: (0..count as u32).map(|s| s % outputs as u32).collect(), classes: outputs }
    };
    Dataset::new(features, inputs, targets, None).unwrap()
}

const HYPER: Hyperparameters = Hyperparameters {
    init: Init::Scaled,
    seed: 1,
    epochs: 4,
    batch_size: 10,
    shard_size: 2,
    learning_rate: 0.1,
    l2: 0.0,
    regularization: NONE,
    clip_norm: None,
    max_norm: None,
    ema: None,
};

const NONE: Regularization = Regularization::NONE;

#[test]
fn every_activation_output_and_cost() {
    for &(_, activation) in Activation::NAMES {
        for &(_, output) in Output::NAMES {
            for &(_, cost) in Cost::NAMES {
                if check_combination(None, output, cost).is_ok() {
                    let model = Model::new(vec![13, 9, 7, 3], activation, output, cost).unwrap();
                    // 53 samples: the last mini-batch of an epoch has 3, and its last leaf 1.
                    holds(&model, &samples(&model, 53), &HYPER);
                }
            }
        }
    }
}

#[test]
fn every_setting() {
    let model = Model::new(vec![20, 11, 5], Activation::Sigmoid, Output::Sigmoid, Cost::Mse).unwrap();
    let data = samples(&model, 47);
    for &(_, init) in Init::NAMES {
        holds(&model, &data, &Hyperparameters { init, ..HYPER });
    }
    for (batch_size, shard_size) in [(1, 1), (7, 3), (16, 5), (47, 1), (47, 47), (100, 13)] {
        holds(&model, &data, &Hyperparameters { batch_size, shard_size, seed: 9, ..HYPER });
    }
    for (learning_rate, l2) in [(3.0, 0.0), (0.5, 5.0), (0.01, 0.3)] {
        holds(&model, &data, &Hyperparameters { learning_rate, l2, ..HYPER });
    }
}

/// In every epoch other units are left out.
#[test]
fn regularization() {
    let case = |activation, output, cost| {
        let model = Model::new(vec![13, 9, 7, 3], activation, output, cost).unwrap();
        let data = samples(&model, 53);
        (model, data)
    };
    let all =
        Regularization { input_dropout: 0.2, dropout: 0.5, label_smoothing: 0.1, clip_samples: 0.5, ..NONE };
    for regularization in [
        Regularization { input_dropout: 0.1, ..NONE },
        Regularization { dropout: 0.3, ..NONE },
        Regularization { clip_samples: 0.2, ..NONE },
        all,
    ] {
        let hyper = Hyperparameters { regularization, ..HYPER };
        let (model, data) = case(Activation::Gelu, Output::Softmax, Cost::CrossEntropy);
        holds(&model, &data, &hyper);
        let (model, data) = case(Activation::Tanh, Output::Linear, Cost::Huber);
        holds(&model, &data, &hyper);
        assert_ne!(reference::train(&model, &data, &hyper), reference::train(&model, &data, &HYPER));
    }
}

#[test]
fn clipped_gradients() {
    let model = Model::new(vec![20, 11, 5], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = samples(&model, 47);
    let plain = reference::train(&model, &data, &HYPER);
    // Every gradient, some of them, and none.
    for (most, differs) in [(0.01, true), (0.9, true), (1e9, false)] {
        let hyper = Hyperparameters { l2: 0.3, clip_norm: Some(most), ..HYPER };
        holds(&model, &data, &hyper);
        let clipped = reference::train(&model, &data, &Hyperparameters { l2: 0.0, ..hyper });
        assert_eq!(clipped != plain, differs, "{most}");
    }
    // Blocks of squares that end within a layer.
    let wide = Model::new(vec![70, 90, 2], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    holds(&wide, &samples(&wide, 47), &Hyperparameters { clip_norm: Some(0.3), ..HYPER });
}

#[test]
fn bounded_norms() {
    let model = Model::new(vec![20, 11, 5], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = samples(&model, 47);
    let plain = reference::train(&model, &data, &HYPER);
    // Every unit, some of them, and none.
    for (most, differs) in [(0.1, true), (1.0, true), (1e9, false)] {
        let hyper = Hyperparameters { max_norm: Some(most), ..HYPER };
        holds(&model, &data, &hyper);
        assert_eq!(reference::train(&model, &data, &hyper) != plain, differs, "{most}");
        // The average takes in the bounded weights.
        holds(&model, &data, &Hyperparameters { l2: 0.3, clip_norm: Some(0.3), ema: Some(0.5), ..hyper });
    }
    // Without a hidden layer there is nothing to bound.
    let bare = Model::new(vec![20, 5], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let hyper = Hyperparameters { max_norm: Some(0.1), ..HYPER };
    holds(&bare, &data, &hyper);
    assert_eq!(reference::train(&bare, &data, &hyper), reference::train(&bare, &data, &HYPER));
}

#[test]
fn averages_of_the_weights() {
    let model = Model::new(vec![20, 11, 5], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = samples(&model, 47);
    // X itself, the ramp before it, and both; 20 steps.
    for ema in [0.05, 0.999, 0.5] {
        let hyper = Hyperparameters { l2: 0.3, ema: Some(ema), ..HYPER };
        holds(&model, &data, &hyper);
        holds(&model, &data, &Hyperparameters { clip_norm: Some(0.3), ..hyper });
        assert_ne!(
            reference::train(&model, &data, &hyper),
            reference::train(&model, &data, &Hyperparameters { ema: None, ..hyper })
        );
    }
}

/// γ and β are trained, too, and have no penalty.
#[test]
fn normalised_layers() {
    let case = |activation, output, cost| {
        let model = Model::new(vec![13, 9, 7, 3], activation, output, cost).unwrap();
        let data = samples(&model, 53);
        (model.with_normalization(Normalization::Layer).unwrap(), data)
    };
    let (model, data) = case(Activation::Relu, Output::Softmax, Cost::CrossEntropy);
    let plain = reference::train(&model, &data, &HYPER);
    let layers = nn_core::layout(&model);
    for layer in &layers[..2] {
        // Some units are dead, and keep theirs.
        assert!(plain[layer.gains.clone()].iter().filter(|&&gain| gain != 1.0).count() > 3);
        assert!(plain[layer.shifts.clone()].iter().filter(|&&shift| shift != 0.0).count() > 3);
    }
    let regularization = Regularization { dropout: 0.3, clip_samples: 0.5, ..NONE };
    for hyper in [
        Hyperparameters { l2: 5.0, ..HYPER },
        Hyperparameters { regularization, ..HYPER },
        Hyperparameters { clip_norm: Some(0.3), ema: Some(0.9), ..HYPER },
    ] {
        holds(&model, &data, &hyper);
        holds(&model.clone().with_precision(Precision::Bf16), &data, &hyper);
        let (model, data) = case(Activation::Gelu, Output::Linear, Cost::Huber);
        holds(&model, &data, &hyper);
    }
}

#[test]
fn weights_of_samples() {
    for (output, cost) in [(Output::Softmax, Cost::CrossEntropy), (Output::Linear, Cost::Mse)] {
        let model = Model::new(vec![13, 9, 7, 3], Activation::Relu, output, cost).unwrap();
        let weights = (0..53).map(|s| [0.3, 1.0, 2.5, 0.0][s % 4]).collect();
        let data = samples(&model, 53);
        holds(&model, &data.clone().with_weights(weights).unwrap(), &HYPER);
        // A weight of 1 changes nothing.
        let plain = reference::train(&model, &data, &HYPER);
        assert_eq!(reference::train(&model, &data.with_weights(vec![1.0; 53]).unwrap(), &HYPER), plain);
    }
}

#[test]
fn no_hidden_layer_and_long_sums() {
    let bare = Model::new(vec![6, 3], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    holds(&bare, &samples(&bare, 31), &HYPER);
    // More than 256 inputs, hidden neurons and samples in a leaf.
    let wide = Model::new(vec![300, 270, 2], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let hyper = Hyperparameters { epochs: 1, batch_size: 320, shard_size: 300, ..HYPER };
    holds(&wide, &samples(&wide, 330), &hyper);
}
