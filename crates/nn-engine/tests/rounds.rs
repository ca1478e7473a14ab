//! Rounds against their definition in plain code: one sample at a time, one replica after the other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use nn_core::reference::{batch_gradient, bound_norms, clip_factor};
use nn_core::{
    Activation, Compute, Cost, Dataset, DeltaBits, Features, Isa, Model, Named, Normalization, Output,
    Precision, Purpose, Samples, Targets, Threads, initial_parameters, layout, permutation, rounding_keys,
};
use nn_engine::{
    Engine, EpochReport, Manifest, ManifestParts, Outcome, Recipe, Rounds, Snapshot, StepReport, local,
};

/// Keeps the snapshot after `at` steps, and stops there.
struct StopAt(u64, Option<Snapshot>);

impl local::Observer for StopAt {
    fn now(&mut self) -> Duration {
        Duration::ZERO
    }
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        if report.step.0 + 1 == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}
    fn snapshot(&mut self, snapshot: Snapshot) {
        self.1 = Some(snapshot);
    }
}

fn manifest(model: &Model, rounds: Rounds, samples: usize) -> Manifest {
    let recipe = Recipe {
        learning_rate: 0.3,
        l2: 0.2,
        batch_size: 6,
        shard_size: 2,
        epochs: 3,
        rounds: Some(rounds),
        ..Recipe::book()
    };
    Manifest::new(ManifestParts {
        model: model.clone(),
        recipe,
        train_samples: samples,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    })
    .unwrap()
}

fn data(samples: usize, width: usize, classes: usize) -> Dataset {
    let bytes = (0..samples * width).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let labels = (0..samples).map(|s| (s % classes) as u32).collect();
    Dataset::new(
        Features::U8 { data: bytes, scale: 255.0 },
        width,
        Targets::Classes { labels, classes },
        None,
    )
    .unwrap()
}

fn compute(isa: Isa, threads: usize) -> Compute {
    Compute { isa, threads: Arc::new(Threads::new(threads).unwrap()) }
}

/// What a number becomes on the wire: a multiple of a power of two that its block of 256 shares. Four bits of a replica, which
/// has keys, are rounded at random.
fn coded(values: &[f32], bits: DeltaBits, keys: Option<[u32; 2]>) -> Vec<f32> {
    let most = match bits {
        DeltaBits::Exact => return values.to_vec(),
        DeltaBits::Eight => 127.0_f32,
        DeltaBits::Four => 7.0,
    };
    let mut out = Vec::new();
    for (b, block) in values.chunks(256).enumerate() {
        let largest = block.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let mut scale = f32::MIN_POSITIVE;
        while largest / most > scale {
            scale *= 2.0;
        }
        for (i, &x) in block.iter().enumerate() {
            let keys = keys.filter(|_| bits == DeltaBits::Four);
            let noise = keys.map_or(0.0, |keys| noise(keys, (b * 256 + i) as u32));
            let integer = (x / scale + noise).round_ties_even().clamp(-most, most);
            out.push(if largest == 0.0 { 0.0 } else { integer * scale });
        }
    }
    out
}

/// The addressed random number of an index.
fn noise(keys: [u32; 2], index: u32) -> f32 {
    let mut x = index.wrapping_add(keys[0]);
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_add(keys[1]).wrapping_mul(0x846c_a68b);
    x ^= x >> 16;
    (x >> 8) as f32 / 16_777_216.0 - (0.5 - 1.0 / 33_554_432.0)
}

/// The whole run with a fixed number of steps a round: the definition. The public weights and, if the run has one, their
/// average.
fn by_definition(manifest: &Manifest, data: &Dataset) -> [Vec<f32>; 2] {
    let (recipe, model) = (manifest.recipe(), manifest.model());
    let rounds = recipe.rounds.unwrap();
    let (replicas, steps) = (rounds.replicas as usize, rounds.steps.unwrap() as usize);
    let mut public = initial_parameters(model, recipe.init, recipe.seed);
    let (mut velocity, mut residual) = (vec![0.0_f32; public.len()], vec![0.0_f32; public.len()]);
    let (mut average, mut done) = (public.clone(), 0);
    let mut order = vec![0; data.len()];
    let mut round = 0;
    for epoch in 0..recipe.epochs {
        permutation(recipe.seed, Purpose::Shuffle, epoch.into(), &mut order);
        let mut left = &order[..];
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(replicas * steps * recipe.batch_size));
            left = later;
            // Of a short round all replicas take as many mini-batches, but for the last ones.
            let each = now.len().div_ceil(recipe.batch_size).div_ceil(replicas) * recipe.batch_size;
            let slices: Vec<&[u32]> = now.chunks(each).collect();
            let mut differences: Vec<Vec<f32>> = Vec::new();
            for (replica, slice) in (0..).zip(&slices) {
                let mut w = public.clone();
                for batch in slice.chunks(recipe.batch_size) {
                    let samples = Samples { indices: batch, epoch: epoch.into() };
                    let (sum, _) = batch_gradient(
                        model,
                        &w,
                        data,
                        samples,
                        recipe.shard_size,
                        (&recipe.regularization, recipe.seed),
                    );
                    let clip =
                        recipe.clip_norm.map_or(1.0, |most| clip_factor(model, &sum, batch.len(), most));
                    let mean = 1.0 / batch.len() as f32 * clip;
                    let l2 = recipe.l2 / data.len() as f32;
                    for layer in layout(model) {
                        for i in layer.weights.clone() {
                            w[i] = (-recipe.learning_rate).mul_add(l2.mul_add(w[i], mean * sum[i]), w[i]);
                        }
                        for i in layer.unpenalized() {
                            w[i] = (-recipe.learning_rate).mul_add(mean * sum[i], w[i]);
                        }
                    }
                    if let Some(most) = recipe.max_norm {
                        bound_norms(model, &mut w, most);
                    }
                }
                let weight = slice.len() as f32 / each as f32;
                let difference: Vec<f32> = public.iter().zip(&w).map(|(p, w)| (p - w) * weight).collect();
                differences.push(coded(
                    &difference,
                    rounds.delta_bits,
                    Some(rounding_keys(recipe.seed, round, replica)),
                ));
            }
            // Neighbours are summed, and then the sums; one without a neighbour passes up.
            while differences.len() > 1 {
                let pairs = differences.chunks(2);
                differences = pairs
                    .map(|pair| match pair {
                        [left, right] => left.iter().zip(right).map(|(l, r)| l + r).collect(),
                        _ => pair[0].clone(),
                    })
                    .collect();
            }
            let mean = each as f32 / now.len() as f32;
            let mut wanted = residual.clone();
            for i in 0..public.len() {
                let g = differences[0][i] * mean;
                velocity[i] = rounds.outer_momentum.mul_add(velocity[i], g);
                let step = rounds.outer_momentum.mul_add(velocity[i], g);
                wanted[i] = (-rounds.outer_learning_rate).mul_add(step, residual[i]);
            }
            let said = coded(&wanted, rounds.delta_bits, None);
            for i in 0..public.len() {
                public[i] += said[i];
                residual[i] = wanted[i] - said[i];
            }
            if let Some(decay) = recipe.ema {
                let t = f64::from(done);
                let taken = each / recipe.batch_size;
                let d = power(f64::from(decay).min((1.0 + t) / (10.0 + t)), taken);
                let rate = (1.0 - d) as f32;
                average.iter_mut().zip(&public).for_each(|(a, w)| *a = rate.mul_add(w - *a, *a));
                done += taken as u32;
            }
            round += 1;
        }
    }
    if recipe.ema.is_none() {
        average.clone_from(&public);
    }
    [public, average]
}

/// xⁿ by repeated squaring, the lowest bit of n first.
fn power(mut x: f64, mut n: usize) -> f64 {
    let mut y = 1.0;
    while n > 0 {
        y *= if n % 2 == 1 { x } else { 1.0 };
        (x, n) = (x * x, n / 2);
    }
    y
}

#[test]
fn rounds_are_their_definition_on_every_instruction_set_and_any_threads() {
    let model = Model::new(vec![19, 17, 4], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    hold(&model, &[(1, 3, 0.0), (2, 2, 0.5), (4, 3, 0.7), (8, 1, 0.3), (4, 64, 0.6)]);
    hold(&model.clone().with_precision(Precision::Bf16), &[(2, 2, 0.5), (4, 64, 0.6)]);
    hold(&model.with_normalization(Normalization::Layer).unwrap(), &[(2, 2, 0.5)]);
}

/// Fails unless such rounds (replicas, steps, outer momentum) are their definition.
#[track_caller]
fn hold(model: &Model, rounds: &[(u32, u32, f32)]) {
    // 101 samples are 17 mini-batches, the last of which has 5.
    let data = data(101, 19, 4);
    for &(_, delta_bits) in DeltaBits::NAMES {
        for &(replicas, steps, outer_momentum) in rounds {
            let rounds =
                Rounds { replicas, steps: Some(steps), outer_learning_rate: 0.9, outer_momentum, delta_bits };
            equals_definition(&manifest(model, rounds, data.len()), &data);
        }
    }
}

/// Fails unless the run is its definition, on every instruction set and any number of threads.
#[track_caller]
fn equals_definition(manifest: &Manifest, data: &Dataset) {
    let [public, want] = by_definition(manifest, data);
    assert!(want.iter().all(|x| x.is_finite()));
    for isa in Isa::available() {
        for threads in [1, 2, 3, 8] {
            let manifest = match threads {
                1 => manifest.clone(),
                _ => manifest.clone().with_smallest_pieces(),
            };
            let recipe = manifest.recipe().clone();
            let mut engine = Engine::new(manifest, compute(isa, threads), Duration::ZERO);
            let outcome = local::run(&mut engine, data, &mut StopAt(0, None)).unwrap();
            assert_eq!(outcome, Outcome::Complete);
            let same = |a: &[f32], b: &[f32]| a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()));
            let same = [same(engine.params(), &public), same(engine.model_params(), &want)];
            assert_eq!(same, [true; 2], "{recipe:?} with {} on {threads} threads", isa.name());
        }
    }
}

/// Four replicas that take three steps in a round.
const FOUR_BY_THREE: Rounds = Rounds {
    replicas: 4,
    steps: Some(3),
    outer_learning_rate: 0.9,
    outer_momentum: 0.7,
    delta_bits: DeltaBits::Eight,
};

#[test]
fn replicas_clip_the_gradients_of_their_own_steps_and_rounds_are_averaged() {
    let model = Model::new(vec![19, 17, 4], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = data(101, 19, 4);
    let parts = manifest(&model, FOUR_BY_THREE, data.len()).parts().clone();
    let mut ends = Vec::new();
    for (clip_norm, ema) in [(None, Some(0.3)), (Some(0.05), None), (Some(0.8), Some(0.999))] {
        let recipe = Recipe { clip_norm, ema, ..parts.recipe.clone() };
        let manifest = Manifest::new(ManifestParts { recipe, ..parts.clone() }).unwrap();
        equals_definition(&manifest, &data);
        ends.push(by_definition(&manifest, &data));
        assert_eq!(ends[ends.len() - 1][0] != ends[ends.len() - 1][1], ema.is_some());
    }
    let [none, all, some] = [0, 1, 2].map(|i| &ends[i][0]);
    assert!(none != all && none != some && all != some, "some gradients are clipped");
}

#[test]
fn replicas_bound_the_norms_of_their_weights_after_each_of_their_steps() {
    let model = Model::new(vec![19, 17, 4], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = data(101, 19, 4);
    let parts = manifest(&model, FOUR_BY_THREE, data.len()).parts().clone();
    let ends = [None, Some(0.3), Some(1.2)].map(|max_norm| {
        let recipe = Recipe { max_norm, ..parts.recipe.clone() };
        let manifest = Manifest::new(ManifestParts { recipe, ..parts.clone() }).unwrap();
        equals_definition(&manifest, &data);
        by_definition(&manifest, &data)
    });
    assert!(ends[0] != ends[1] && ends[0] != ends[2] && ends[1] != ends[2]);
}

#[test]
fn a_run_resumed_after_any_round_ends_with_the_same_weights() {
    let model = Model::new(vec![9, 7, 3], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = data(60, 9, 3);
    for steps in [None, Some(2)] {
        let rounds = Rounds {
            replicas: 2,
            steps,
            outer_learning_rate: 1.0,
            outer_momentum: 0.5,
            delta_bits: DeltaBits::Four,
        };
        let parts = manifest(&model, rounds, data.len()).parts().clone();
        let recipe = Recipe { ema: Some(0.9), ..parts.recipe };
        let manifest = Manifest::new(ManifestParts { recipe, ..parts }).unwrap();
        let whole = {
            let mut engine = Engine::new(manifest.clone(), compute(Isa::best(), 2), Duration::ZERO);
            local::run(&mut engine, &data, &mut StopAt(0, None)).unwrap();
            [engine.params().to_vec(), engine.model_params().to_vec()]
        };
        for at in 1..manifest.total_steps() {
            let mut first = StopAt(at, None);
            let mut engine = Engine::new(manifest.clone(), compute(Isa::best(), 1), Duration::ZERO);
            assert_eq!(local::run(&mut engine, &data, &mut first).unwrap(), Outcome::Stopped);
            let mut engine = Engine::new(manifest.clone(), compute(Isa::best(), 2), Duration::ZERO);
            engine.restore(first.1.unwrap()).unwrap();
            local::run(&mut engine, &data, &mut StopAt(0, None)).unwrap();
            assert_eq!(
                [engine.params(), engine.model_params()],
                whole,
                "resumed after {at} of {}",
                manifest.total_steps()
            );
        }
    }
}

#[test]
fn a_replica_that_diverges_ends_the_run_with_the_weights_before() {
    let model = Model::new(vec![9, 7, 3], Activation::Relu, Output::Linear, Cost::Mse).unwrap();
    let rounds = Rounds {
        replicas: 2,
        steps: Some(5),
        outer_learning_rate: 1.0,
        outer_momentum: 0.5,
        delta_bits: DeltaBits::Eight,
    };
    let parts = manifest(&model, rounds, 60).parts().clone();
    let manifest =
        Manifest::new(ManifestParts { recipe: Recipe { learning_rate: 1e30, ..parts.recipe }, ..parts })
            .unwrap();
    let start = initial_parameters(&model, manifest.recipe().init, manifest.recipe().seed);
    let mut engine = Engine::new(manifest, compute(Isa::best(), 2), Duration::ZERO);
    let outcome = local::run(&mut engine, &data(60, 9, 3), &mut StopAt(0, None)).unwrap();
    assert!(matches!(outcome, Outcome::Diverged { epoch: 0, .. }), "{outcome:?}");
    assert_eq!(engine.params(), start);
}
