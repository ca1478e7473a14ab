//! Placement never changes the result, for any number of workers and threads and on any instruction set.

use std::path::Path;

use nn_core::Isa;

use crate::common::{NAMES, Place, Ran, idx, noise};
use crate::process::{Coord, Process, alone, worker};

/// Fails unless clusters with each of these numbers of workers end with the weights of `nn train`. Their workers and
/// coordinators differ in threads and instruction sets.
#[track_caller]
fn holds(arguments: &str, numbers: &[usize]) {
    holds_in(&Place::new(), arguments, numbers);
}

/// [`holds`], where there are files for the run.
#[track_caller]
fn holds_in(place: &Place, arguments: &str, numbers: &[usize]) {
    let want = alone(place, arguments);
    // The best first; portable code, which runs everywhere, last.
    let isas: Vec<&str> = Isa::available().into_iter().rev().map(Isa::name).collect();
    for &number in numbers {
        let program = env!("CARGO_BIN_EXE_nn-coord");
        let environment = [("NN_ISA", isas[number % isas.len()])];
        let arguments = format!("--overwrite --min-workers {number} {arguments}");
        let coord = Coord::of(place, program, &environment, "127.0.0.1:0", &arguments);
        let mut workers: Vec<Process> = (0..number)
            .map(|i| {
                // The first worker's instruction set changes from run to run, so that each is used there in turn.
                let isa = isas[(i + number / 2) % isas.len()];
                worker(place, &[("NN_ISA", isa)], &coord.url(), &format!("--threads {}", 1 + i % 3))
            })
            .collect();
        assert_eq!(coord.hash(place), want, "{number} workers: {arguments}");
        for worker in &mut workers {
            let ran = worker.ends_well();
            assert!(
                ran.stdout.contains(&want),
                "a worker does not know how the run ended: {}",
                worker.story()
            );
        }
    }
    place.no_halves();
}

#[test]
fn the_law_holds_for_runs_that_begin_with_a_model() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 2 --hidden 20,10 --activation tanh --out base").ok();
    let from = "--from base/model.safetensors --epochs 2";
    holds_in(&place, &format!("{from} --batch-size 61 --optimizer adam"), &[1, 3]);
    holds_in(&place, &format!("{from} --batch-size 37 --rounds 4 --replicas 4 --ema 0.9"), &[2]);
    let coordinator = audited_in(&place, &format!("{from} --batch-size 100 --shard-size 16"));
    // All audits passed: nobody's results were refused, and nobody was excluded.
    assert!(coordinator.stderr.is_empty(), "{coordinator:#?}");
    let _ = audited_in(&place, &format!("{from} --rounds 3 --replicas 4"));
}

#[test]
fn the_law_holds_for_squared_error_and_sgd() {
    holds("--epochs 3 --batch-size 100", &[1, 2, 3, 5, 8]);
}

#[test]
fn the_law_holds_for_cross_entropy_momentum_and_batches_that_do_not_divide() {
    holds("--epochs 2 --batch-size 37 --cost cross-entropy --optimizer momentum", &[1, 3, 8]);
}

#[test]
fn the_law_holds_for_adam_and_shards_that_do_not_divide() {
    holds("--epochs 2 --batch-size 97 --shard-size 7 --optimizer adam --activation relu", &[2, 5]);
}

#[test]
fn the_law_holds_for_nesterov_with_a_penalty_and_a_schedule() {
    let arguments = "--epochs 2 --batch-size 61 --cost cross-entropy --activation tanh --optimizer nesterov --l2 2 \
                     --schedule cosine --warmup-steps 9";
    holds(arguments, &[3, 5]);
    holds(
        "--epochs 2 --rounds 3 --replicas 4 --schedule one-cycle --one-cycle-rise 0.4 --batch-size 37",
        &[2],
    );
}

#[test]
fn the_law_holds_for_adamw_and_softmax() {
    let arguments = "--epochs 2 --batch-size 83 --shard-size 5 --cost cross-entropy --output softmax \
                     --activation relu --optimizer adamw --weight-decay 0.1 --hidden 33,17";
    holds(arguments, &[1, 8]);
}

#[test]
fn the_law_holds_for_one_leaf_a_step_and_for_leaves_of_one_sample() {
    // With one leaf there is work for one worker only; with leaves of one sample there are as many as there can be.
    holds("--epochs 1 --batch-size 45 --shard-size 45 --optimizer momentum --l2 1", &[2]);
    holds("--epochs 1 --batch-size 45 --shard-size 1 --cost cross-entropy --optimizer adam", &[5]);
    holds("--epochs 1 --batch-size 2000 --hidden none --optimizer sgd --cost cross-entropy", &[3]);
}

#[test]
fn the_law_holds_for_rounds_with_fewer_and_more_workers_than_replicas() {
    holds(
        "--epochs 3 --rounds auto --replicas 4 --hidden 300,200 --activation relu --cost cross-entropy",
        &[1, 3, 6],
    );
    holds("--epochs 3 --rounds 5 --replicas 2 --delta-bits 4 --batch-size 37 --hidden 400,100", &[2]);
    holds("--epochs 2 --rounds 2 --replicas 8 --delta-bits 32 --optimizer adam --learning-rate 0.002", &[3]);
}

#[test]
fn the_law_holds_for_regularization() {
    let all = "--augment affine,elastic,flip --dropout 0.3 --input-dropout 0.1 --label-smoothing 0.1 --clip-samples 0.5";
    // The second network's gradients are sent layer by layer.
    holds(&format!("{all} --epochs 2 --batch-size 61 --activation gelu --cost cross-entropy"), &[1, 3]);
    holds(&format!("{all} --epochs 1 --batch-size 200 --activation relu --hidden 400,300"), &[2]);
    holds(&format!("{all} --epochs 2 --rounds 4 --replicas 4 --activation silu --precision bf16"), &[2, 3]);
    audited(&format!("{all} --epochs 2 --batch-size 100 --shard-size 16"));
}

#[test]
fn the_law_holds_for_private_training_and_standardised_pictures() {
    let private = "--dp-noise 1.1 --dp-clip 0.5 --seed 90210 --standardize yes";
    holds(&format!("{private} --epochs 2 --batch-size 61 --optimizer adamw"), &[1, 3]);
    // Layer by layer.
    holds(&format!("{private} --epochs 1 --batch-size 200 --activation relu --hidden 400,300"), &[2]);
    holds("--standardize yes --augment affine --epochs 2 --rounds 4 --replicas 4 --batch-size 16", &[2]);
    audited(&format!("{private} --epochs 2 --batch-size 100 --shard-size 16"));
}

#[test]
fn the_law_holds_for_layer_normalisation() {
    let normalized = "--normalization layer --activation relu --cost cross-entropy";
    holds(&format!("{normalized} --epochs 2 --batch-size 61 --optimizer adam --hidden 40,30"), &[1, 3]);
    // The gradients are sent layer by layer.
    holds(&format!("{normalized} --epochs 1 --batch-size 200 --hidden 400,300 --clip-samples 1"), &[2]);
    holds(&format!("{normalized} --epochs 2 --rounds 4 --replicas 4 --precision bf16"), &[2, 3]);
    audited(&format!("{normalized} --epochs 2 --batch-size 100 --shard-size 16"));
}

#[test]
fn the_law_holds_for_clipped_gradients_and_averages() {
    let both = "--clip-norm 0.2 --ema 0.95";
    holds(&format!("{both} --epochs 2 --batch-size 61 --optimizer momentum --hidden 70,60"), &[1, 3, 5]);
    holds(&format!("{both} --epochs 2 --batch-size 37 --rounds 3 --replicas 4"), &[2]);
}

#[test]
fn the_law_holds_for_a_rate_that_depends_on_validation_samples() {
    // The rate falls after the second and the fifth epoch.
    let plateau = "--schedule plateau --plateau-evaluations 1 --plateau-factor 0.5 --validation-fraction 0.1 --epochs 6 \
                   --batch-size 61 --hidden 70,60 --activation tanh --learning-rate 0.2";
    holds(plateau, &[1, 3]);
    audited(plateau);
}

#[test]
fn the_law_holds_for_bounded_norms() {
    let bounded = "--max-norm 0.8 --optimizer momentum";
    holds(&format!("{bounded} --epochs 2 --batch-size 61 --hidden 70,60 --ema 0.9"), &[1, 3]);
    holds(&format!("{bounded} --epochs 2 --batch-size 37 --rounds 3 --replicas 4"), &[2]);
}

#[test]
fn the_law_holds_for_bf16() {
    let bf16 = "--precision bf16 --activation relu --cost cross-entropy";
    holds(&format!("{bf16} --epochs 2 --batch-size 200"), &[1, 2, 5]);
    holds(&format!("{bf16} --epochs 2 --batch-size 61 --shard-size 7 --optimizer adam"), &[3]);
    holds(&format!("{bf16} --epochs 2 --rounds 4 --replicas 4 --hidden 100,70"), &[2, 3]);
    audited(&format!("{bf16} --epochs 2 --batch-size 100 --shard-size 16"));
}

#[test]
fn the_law_holds_for_audited_rounds() {
    audited("--epochs 2 --rounds 3 --replicas 4");
}

/// Every node or replica is computed twice, and a wrong bit would be seen.
#[track_caller]
fn audited(arguments: &str) {
    let _ = audited_in(&Place::new(), arguments);
}

/// [`audited`], where there are files for the run; gives what the coordinator said.
#[track_caller]
fn audited_in(place: &Place, arguments: &str) -> Ran {
    let want = alone(place, arguments);
    let mut coord = Coord::start(place, &format!("--audit 1 --min-workers 2 --overwrite {arguments}"));
    let mut workers = [coord.worker(place, ""), coord.worker(place, "")];
    let ran = coord.process.ends_well();
    assert_eq!(place.hash("net"), want);
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
    ran
}

/// Twelve million parameters: 48 MB each way in every step, with no option about message sizes.
#[test]
fn the_law_holds_for_a_large_network() {
    let place = Place::new();
    let pixels = |samples: usize| (0..samples * 784).map(|i| (noise(i) * 256.0) as u8).collect::<Vec<u8>>();
    let labels = |samples: usize| (0..samples).map(|i| (i * 7 % 10) as u8).collect::<Vec<u8>>();
    for (name, bytes) in NAMES.into_iter().zip([
        idx(&[24, 28, 28], &pixels(24)),
        idx(&[24], &labels(24)),
        idx(&[10, 28, 28], &pixels(10)),
        idx(&[10], &labels(10)),
    ]) {
        place.file(Path::new("set").join(name), bytes);
    }
    let arguments = "--data set --hidden 2500,2000,1500,1000,500 --batch-size 10 --epochs 1";
    let want = alone(&place, arguments);
    let coord = Coord::start(&place, &format!("--min-workers 2 {arguments}"));
    let mut workers = [coord.worker(&place, ""), coord.worker(&place, "")];
    assert_eq!(coord.hash(&place), want);
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
    let summary = place.summary("net");
    assert_eq!((&summary["parameters"], &summary["steps"]), (&11_972_510.into(), &3.into()));
    // Both workers made the initial weights, and were sent those of the two steps after them, unless one was so late that the
    // run ended without it; at least one gradient was received for each step.
    let (cluster, parameters) = (&summary["cluster"], 11_972_510 * 4);
    assert_eq!(cluster["steps"], 3);
    let sent = cluster["bytes_sent"].as_u64().unwrap();
    assert!((2 * parameters..5 * parameters).contains(&sent), "{cluster:#}");
    assert!(cluster["bytes_received"].as_u64() >= Some(3 * parameters), "{cluster:#}");
    let seconds = |what: &str| cluster[format!("{what}_seconds")].as_f64().unwrap();
    let parts = ["compute", "wire", "reduce", "wait", "observe"].map(seconds);
    assert!(parts[0] > 0.0 && parts.iter().sum::<f64>() <= summary["wall_seconds"].as_f64().unwrap());
}

#[test]
fn the_law_holds_for_mnist() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist");
    if !data.is_dir() {
        println!("skipped: there is no MNIST in {}", data.display());
        return;
    }
    let place = Place::new();
    let arguments = format!("--epochs 1 --hidden 100 --batch-size 1000 --data {}", data.display());
    let want = alone(&place, &arguments);
    let coord = Coord::start(&place, &format!("--min-workers 3 {arguments}"));
    let mut workers: Vec<Process> = (0..3).map(|_| coord.worker(&place, "")).collect();
    assert_eq!(coord.hash(&place), want);
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
}

#[test]
fn the_law_holds_for_sixty_four_workers() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 512 --shard-size 4";
    let want = alone(&place, arguments);
    let coord = Coord::start(&place, &format!("--min-workers 64 {arguments}"));
    let mut workers: Vec<Process> = (0..64).map(|_| coord.worker(&place, "")).collect();
    assert_eq!(coord.hash(&place), want);
    for worker in &mut workers {
        assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
    }
    place.no_halves();
}
