use nn_core::{
    Activation, Cost, Init, Normalization, Optimizer, Output, Precision, Regularization, Schedule,
};

use super::*;
use crate::recipe::EarlyStopping;

pub(crate) fn parts() -> ManifestParts {
    ManifestParts {
        model: Model::new(vec![4, 3, 2], Activation::Sigmoid, Output::Sigmoid, Cost::Mse).unwrap(),
        recipe: recipe(),
        train_samples: 23,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    }
}

fn recipe() -> Recipe {
    Recipe { epochs: 3, ..Recipe::book() }
}

/// The run with another recipe.
fn with(recipe: Recipe) -> ManifestParts {
    ManifestParts { recipe, ..parts() }
}

#[test]
fn an_epoch_visits_every_sample_once_and_keeps_the_short_mini_batch() {
    let manifest = Manifest::new(parts()).unwrap();
    assert_eq!((manifest.mini_batches(), manifest.total_steps()), (3, 9));
    let mut order = SampleOrder::new(&manifest);
    for epoch in 0..3 {
        let mut seen: Vec<u32> = Vec::new();
        for batch in 0..3 {
            let step = epoch * 3 + batch;
            let samples = order.batch(&manifest, step).indices.to_vec();
            assert_eq!(samples.len(), manifest.samples_in(step));
            assert_eq!(manifest.place(step), (epoch, batch));
            seen.extend(samples);
        }
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..23));
    }
    // Any step can be asked for by itself.
    let mut other = SampleOrder::new(&manifest);
    assert_eq!(other.batch(&manifest, 7).indices, order.batch(&manifest, 7).indices);
}

#[test]
fn the_hash_sees_everything_that_matters_and_nothing_else() {
    let base = Manifest::new(parts()).unwrap();
    assert_eq!(base.hash(), Manifest::new(with(Recipe { epochs: 9, ..recipe() })).unwrap().hash());
    let cosine = |epochs| {
        let schedule = Schedule { shape: ScheduleShape::Cosine { floor: 0.0 }, warmup_steps: 0 };
        Manifest::new(with(Recipe { epochs, schedule, ..recipe() })).unwrap()
    };
    assert_ne!(cosine(3).hash(), cosine(4).hash());
    let one_cycle = |epochs, rise, divisor, final_divisor| {
        let shape = ScheduleShape::OneCycle { rise, divisor, final_divisor };
        let schedule = Schedule { shape, warmup_steps: 0 };
        Manifest::new(with(Recipe { epochs, schedule, ..recipe() })).unwrap().hash()
    };
    let hash = one_cycle(3, 0.3, 25.0, 1e4);
    assert_eq!(hash, one_cycle(3, 0.3, 25.0, 1e4));
    for other in [(4, 0.3, 25.0, 1e4), (3, 0.4, 25.0, 1e4), (3, 0.3, 24.0, 1e4), (3, 0.3, 25.0, 1e3)] {
        assert_ne!(hash, one_cycle(other.0, other.1, other.2, other.3), "{other:?}");
    }
    let plateau = |epochs, factor, evaluations, every_epochs| {
        let shape = ScheduleShape::Plateau { factor, evaluations, every_epochs };
        let schedule = Schedule { shape, warmup_steps: 0 };
        Manifest::new(with(Recipe { epochs, schedule, ..recipe() })).unwrap().hash()
    };
    // A longer run has the same rates.
    assert_eq!(plateau(3, 0.1, 5, 2), plateau(9, 0.1, 5, 2));
    for other in [(0.2, 5, 2), (0.1, 4, 2), (0.1, 5, 1)] {
        assert_ne!(plateau(3, 0.1, 5, 2), plateau(3, other.0, other.1, other.2), "{other:?}");
    }
    let stopping = |epochs, evaluations, every_epochs| {
        let early_stopping = Some(EarlyStopping { evaluations, every_epochs });
        Manifest::new(with(Recipe { epochs, early_stopping, ..recipe() })).unwrap().hash()
    };
    // A longer run does the same evaluations, unless the last of the shorter one was due only for being the last.
    assert_eq!(stopping(4, 5, 2), stopping(8, 5, 2));
    assert_ne!(stopping(4, 5, 2), stopping(5, 5, 2));
    assert_ne!(stopping(4, 5, 2), stopping(4, 6, 2));
    assert_ne!(stopping(4, 5, 2), stopping(4, 5, 1));
    assert_ne!(stopping(4, 5, 2), base.hash());
    for changed in [
        with(Recipe { seed: 2, ..recipe() }),
        with(Recipe { learning_rate: 3.000_000_2, ..recipe() }),
        with(Recipe { shard_size: 3, ..recipe() }),
        with(Recipe { batch_size: 11, ..recipe() }),
        with(Recipe { l2: 0.1, ..recipe() }),
        with(Recipe { clip_norm: Some(1e9), ..recipe() }),
        with(Recipe { max_norm: Some(1e9), ..recipe() }),
        with(Recipe { ema: Some(0.999), ..recipe() }),
        with(Recipe { init: Init::Normal, ..recipe() }),
        with(Recipe { initial_sha256: Some("11".repeat(32)), ..recipe() }),
        with(Recipe { optimizer: Optimizer::Momentum { momentum: 0.9 }, ..recipe() }),
        ManifestParts { data_sha256: "11".repeat(32), ..parts() },
        ManifestParts { preprocess_sha256: Some("11".repeat(32)), ..parts() },
        ManifestParts { model: parts().model.with_precision(Precision::Bf16), ..parts() },
        ManifestParts { model: parts().model.with_normalization(Normalization::Layer).unwrap(), ..parts() },
    ] {
        let changed = Manifest::new(changed).unwrap();
        assert_ne!(base.hash(), changed.hash());
        let named = base.differences(&changed);
        // Another optimizer has other constants, too.
        assert!((1..=2).contains(&named.len()), "{named:?}");
    }
}

/// 7.038531e-26 is an `f32` that is misread by way of an `f64`: every part of a manifest comes back from JSON exactly.
#[test]
fn json_keeps_every_number_to_the_last_bit() {
    let odd = f32::from_bits(0x15ae_43fd);
    let optimizers = [
        Optimizer::Sgd,
        Optimizer::Momentum { momentum: odd },
        Optimizer::Nesterov { momentum: odd },
        Optimizer::Adam { beta1: odd, beta2: odd, epsilon: odd },
        Optimizer::AdamW { beta1: odd, beta2: odd, epsilon: odd, weight_decay: odd },
    ];
    let shapes = [
        ScheduleShape::Constant,
        ScheduleShape::Step { every_epochs: 3, factor: odd },
        ScheduleShape::Cosine { floor: odd },
        ScheduleShape::Wsd { decay: odd },
        ScheduleShape::OneCycle { rise: odd, divisor: odd, final_divisor: odd },
        ScheduleShape::Plateau { factor: odd, evaluations: 7, every_epochs: u32::MAX },
    ];
    for (optimizer, shape) in optimizers.into_iter().flat_map(|o| shapes.map(|shape| (o, shape))) {
        // Without `..`: a new part must be tried, too.
        let recipe = Recipe {
            init: Init::Xavier,
            optimizer,
            schedule: Schedule { shape, warmup_steps: u64::MAX },
            learning_rate: odd,
            l2: odd,
            batch_size: 10,
            shard_size: 2,
            epochs: u32::MAX,
            seed: u64::MAX,
            early_stopping: Some(EarlyStopping { evaluations: u32::MAX, every_epochs: 3 }),
            clip_norm: Some(odd),
            max_norm: Some(odd),
            ema: Some(odd),
            dp_noise: None, // which goes without rounds and clip_norm
            initial_sha256: Some("ab".repeat(32)),
            rounds: Some(Rounds {
                replicas: MAX_REPLICAS,
                steps: Some(u32::MAX),
                outer_learning_rate: odd,
                outer_momentum: odd,
                delta_bits: nn_core::DeltaBits::Four,
            }),
            regularization: Regularization {
                input_dropout: odd,
                dropout: odd,
                label_smoothing: odd,
                clip_samples: odd,
                augmentation: nn_core::Augmentation {
                    rotation: odd,
                    scale: odd,
                    shear: odd,
                    shift: odd,
                    elastic: odd,
                    flip: true,
                },
            },
        };
        let parts = with(recipe);
        let json = serde_json::to_string(&parts).unwrap();
        assert_eq!(serde_json::from_str::<ManifestParts>(&json).unwrap(), parts, "{json}");
    }
}

#[test]
fn impossible_runs_are_refused() {
    let none = Regularization::default();
    let regularized = |regularization| with(Recipe { regularization, ..recipe() });
    let shaped = |shape| with(Recipe { schedule: Schedule { shape, warmup_steps: 0 }, ..recipe() });
    let one_cycle = |rise, divisor, final_divisor| ScheduleShape::OneCycle { rise, divisor, final_divisor };
    let stopping = |evaluations, every_epochs| {
        with(Recipe { early_stopping: Some(EarlyStopping { evaluations, every_epochs }), ..recipe() })
    };
    for (bad, says) in [
        (with(Recipe { batch_size: 0, ..recipe() }), "batch size"),
        (with(Recipe { shard_size: 0, ..recipe() }), "shard size"),
        (with(Recipe { shard_size: 11, ..recipe() }), "shard size"),
        (with(Recipe { epochs: 0, ..recipe() }), "epoch"),
        (ManifestParts { train_samples: 0, ..parts() }, "samples"),
        (ManifestParts { train_samples: 1 << 33, ..parts() }, "too many"),
        (with(Recipe { learning_rate: 0.0, ..recipe() }), "learning rate"),
        (with(Recipe { learning_rate: f32::NAN, ..recipe() }), "learning rate"),
        (with(Recipe { l2: -1.0, ..recipe() }), "L2"),
        (with(Recipe { dp_noise: Some(1.0), ..recipe() }), "limit on the norm"),
        (with(Recipe { dp_noise: Some(f32::NAN), ..recipe() }), "multiplier"),
        (
            with(Recipe {
                dp_noise: Some(1.0),
                clip_norm: Some(1.0),
                regularization: Regularization { clip_samples: 1.0, ..none },
                ..recipe()
            }),
            "global norm",
        ),
        (regularized(Regularization { dropout: 1.0, ..none }), "dropout"),
        (regularized(Regularization { input_dropout: f32::NAN, ..none }), "input-dropout"),
        (regularized(Regularization { label_smoothing: -0.1, ..none }), "label-smoothing"),
        (
            regularized(Regularization {
                augmentation: nn_core::Augmentation { elastic: 11.0, ..Default::default() },
                ..none
            }),
            "augment-elastic",
        ),
        (regularized(Regularization { clip_samples: f32::INFINITY, ..none }), "clip-samples"),
        (with(Recipe { clip_norm: Some(0.0), ..recipe() }), "clipped"),
        (with(Recipe { max_norm: Some(0.0), ..recipe() }), "largest norm"),
        (with(Recipe { max_norm: Some(f32::INFINITY), ..recipe() }), "largest norm"),
        (with(Recipe { ema: Some(1.0), ..recipe() }), "average"),
        (with(Recipe { ema: Some(f32::NAN), ..recipe() }), "average"),
        (with(Recipe { clip_norm: Some(f32::NAN), ..recipe() }), "clipped"),
        (stopping(0, 1), "early stopping"),
        (stopping(1, 0), "early stopping"),
        // These come from peers and files; each would end in a panic or in NaN later on.
        (
            ManifestParts {
                train_samples: u32::MAX as usize,
                ..with(Recipe { batch_size: usize::MAX, shard_size: 1, ..recipe() })
            },
            "leaves",
        ),
        (shaped(ScheduleShape::Step { every_epochs: 0, factor: 0.5 }), "step-epochs"),
        (shaped(ScheduleShape::Cosine { floor: f32::NAN }), "cosine-floor"),
        (shaped(ScheduleShape::Plateau { factor: 1.0, evaluations: 5, every_epochs: 1 }), "plateau"),
        (shaped(ScheduleShape::Plateau { factor: f32::NAN, evaluations: 5, every_epochs: 1 }), "plateau"),
        (shaped(ScheduleShape::Plateau { factor: 0.1, evaluations: 0, every_epochs: 1 }), "plateau"),
        (shaped(ScheduleShape::Plateau { factor: 0.1, evaluations: 5, every_epochs: 0 }), "plateau"),
        (
            with(Recipe {
                schedule: Schedule {
                    shape: ScheduleShape::Plateau { factor: 0.1, evaluations: 5, every_epochs: 1 },
                    warmup_steps: 0,
                },
                rounds: Some(crate::rounds::tests::rounds(2, None)),
                ..recipe()
            }),
            "rounds",
        ),
        (shaped(one_cycle(0.0, 25.0, 1e4)), "rises"),
        (shaped(one_cycle(f32::NAN, 25.0, 1e4)), "rises"),
        (shaped(one_cycle(0.3, 0.5, 1e4)), "one-cycle-divisor"),
        (shaped(one_cycle(0.3, 25.0, f32::INFINITY)), "one-cycle-final-divisor"),
        (
            with(Recipe {
                schedule: Schedule { shape: one_cycle(0.3, 25.0, 1e4), warmup_steps: 1 },
                ..recipe()
            }),
            "no warm-up",
        ),
        (with(Recipe { optimizer: Optimizer::Momentum { momentum: f32::INFINITY }, ..recipe() }), "momentum"),
    ] {
        let error = Manifest::new(bad).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_run_begins_with_the_weights_that_its_hash_names_and_no_others() {
    let drawn = Manifest::new(parts()).unwrap();
    let count = drawn.model().parameters();
    let weights: Vec<f32> = (0..count).map(|i| i as f32 / 8.0 - 1.0).collect();
    assert_eq!(drawn.initial_weights().unwrap(), initial_parameters(drawn.model(), Init::Scaled, 1));
    let recipe = Recipe { initial_sha256: Some(params_sha256(&weights)), ..recipe() };
    let named = Manifest::new(with(recipe.clone())).unwrap();
    assert_eq!((named.initial_weights(), named.lacks_initial_weights()), (None, true));
    let brought = named.clone().beginning_with(Arc::new(weights.clone())).unwrap();
    assert_eq!(brought.hash(), named.hash());
    for manifest in [&brought, &brought.with_recipe(Recipe { epochs: 7, ..Recipe::book() }).unwrap()] {
        assert_eq!(manifest.initial_weights().as_ref(), Some(&weights));
        assert!(!manifest.lacks_initial_weights());
        assert_eq!(manifest.recipe().initial_sha256, recipe.initial_sha256);
    }

    let mut other = weights.clone();
    other[3] = 0.5;
    let mut infinite = weights.clone();
    infinite[0] = f32::NAN;
    for (wrong, says) in [
        (other, "begins with weights whose SHA-256 is"),
        (infinite, "must be finite"),
        (weights[1..].to_vec(), "has 23 parameters"),
    ] {
        let error = named.clone().beginning_with(Arc::new(wrong)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = drawn.beginning_with(Arc::new(weights)).unwrap_err();
    assert!(matches!(error, ManifestError::OtherInitial { .. }), "{error}");
    for hash in ["", "12", &"x".repeat(64), &format!("{}\n", "1".repeat(63))] {
        let recipe = Recipe { initial_sha256: Some(hash.to_owned()), ..recipe.clone() };
        assert_eq!(Manifest::new(with(recipe)), Err(ManifestError::NoHash), "{hash:?}");
    }
}
