//! A coordinator that computes too, with threads of its own, beside the workers that join.

use serde_json::Value;

use crate::common::Place;
use crate::process::{Coord, LONG, Process, alone, until};

/// Fails unless a coordinator with `--threads`, with each of these numbers of workers, ends with the weights of `nn train`.
#[track_caller]
fn holds(own: &str, arguments: &str, numbers: &[usize]) {
    let place = Place::new();
    let want = alone(&place, arguments);
    for &number in numbers {
        let coord = Coord::start(&place, &format!("{own} --overwrite --min-workers {number} {arguments}"));
        let mut workers: Vec<Process> = (0..number).map(|_| coord.worker(&place, "")).collect();
        assert_eq!(coord.hash(&place), want, "{number} workers: {own} {arguments}");
        for worker in &mut workers {
            assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
        }
    }
    place.no_halves();
}

#[test]
fn the_law_holds_for_small_steps() {
    holds("--threads 2", "--epochs 3 --batch-size 97 --shard-size 7 --optimizer adam", &[1, 2]);
}

/// Its gradients are large enough to be handed over layer by layer.
#[test]
fn the_law_holds_for_large_steps() {
    let arguments = "--epochs 2 --batch-size 100 --shard-size 10 --hidden 400,300 --activation relu \
                     --cost cross-entropy --optimizer momentum --learning-rate 0.01";
    holds("--threads 2", arguments, &[1, 2]);
}

#[test]
fn the_law_holds_for_bf16() {
    let arguments = "--epochs 2 --batch-size 64 --shard-size 8 --hidden 400,300 --activation relu \
                     --cost cross-entropy --learning-rate 0.05 --precision bf16";
    holds("--threads 2", arguments, &[1]);
}

#[test]
fn the_law_holds_for_rounds() {
    let arguments =
        "--epochs 3 --rounds auto --replicas 4 --hidden 300,200 --activation relu --cost cross-entropy";
    holds("--threads 2", arguments, &[1, 2]);
    holds("--threads 1", "--epochs 2 --rounds 2 --replicas 8 --delta-bits 32 --optimizer adam", &[1]);
}

#[test]
fn the_law_holds_for_audits() {
    holds("--threads 2 --audit 1", "--epochs 2 --batch-size 100 --shard-size 10", &[1, 2]);
    holds("--threads 2 --audit 1", "--epochs 1 --batch-size 200 --shard-size 25 --hidden 400,300", &[1]);
    holds("--threads 1 --audit 1", "--epochs 2 --rounds 3 --replicas 4", &[1, 2]);
}

#[test]
fn the_law_holds_for_a_run_that_ends_early() {
    let place = Place::new();
    let arguments = "--recipe auto --epochs 60 --early-stopping 2 --hidden 64 --batch-size 64";
    let want = alone(&place, arguments);
    let coord = Coord::start(&place, &format!("--threads 1 {arguments}"));
    let mut worker = coord.worker(&place, "");
    assert_eq!(coord.hash(&place), want);
    let _ = worker.ends_well();
}

#[test]
fn a_run_goes_on_without_its_only_worker() {
    for mode in ["", "--audit 1", "--rounds 4 --replicas 4"] {
        let place = Place::new();
        let want = alone(&place, &format!("{LONG} {}", mode.replace("--audit 1", "")));
        // Without anybody else it may not wait at all.
        let mut coord = Coord::start(&place, &format!("--threads 1 --wait-timeout 30 {LONG} {mode}"));
        let victim = coord.worker(&place, "");
        coord.epochs(&place, 5);
        victim.kill();
        assert_eq!(coord.hash(&place), want, "{mode}");
    }
}

#[test]
fn a_worker_joins_a_run_that_goes_on_without_the_first() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, &format!("--threads 1 {LONG}"));
    let victim = coord.worker(&place, "");
    coord.epochs(&place, 5);
    victim.kill();
    let mut next = coord.worker(&place, "");
    next.says("computing");
    assert_eq!(coord.hash(&place), want);
    assert!(next.ends_well().stdout.contains(&want), "{}", next.story());
}

#[test]
fn a_machine_that_computes_waits_for_others_before_it_begins() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 200";
    let coord = Coord::start(&place, &format!("--threads 2 --min-workers 2 {arguments}"));
    let mut first = coord.worker(&place, "--name ada");
    first.says("computing");
    coord.process.says("waiting for 2 workers");
    let story = || coord.process.story();
    let status = until("a worker in the status", story, || {
        coord.status(&place).filter(|status| status["workers"].as_array().is_some_and(|w| w.len() == 2))
    });
    assert_eq!((&status["state"], &status["step"]), (&"waiting".into(), &0.into()), "{status}");
    assert_eq!(status["waiting_for"], "2 workers; 1 has joined", "{status}");
    let own = &status["workers"][0];
    assert_eq!(
        (&own["worker"], &own["name"], &own["threads"]),
        (&0.into(), &"this machine".into(), &2.into())
    );
    assert_eq!(status["workers"][1]["name"], "ada", "{status}");
    let text = place.nn(&format!("status --coordinator {}", coord.url())).ok().stdout;
    assert!(text.contains("0 this machine"), "{text}");
    let mut second = coord.worker(&place, "--name grace");
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    for worker in [&mut first, &mut second] {
        let _ = worker.ends_well();
    }
}

#[test]
fn a_machine_that_computes_waits_for_others_no_longer_than_it_may() {
    let place = Place::new();
    let mut coord = Coord::start(&place, "--threads 1 --wait-timeout 1 --epochs 1");
    coord.process.ended().refused(4, &["after step 0"]);
}

#[test]
fn a_run_that_diverges_says_so() {
    let place = Place::new();
    let arguments = "--activation relu --cost mse --output linear --learning-rate 3000 --epochs 2";
    let alone = place.nn(&format!("train --quiet --out alone {arguments}"));
    assert_eq!(alone.code, Some(1), "{alone:#?}");
    let mut coord = Coord::start(&place, &format!("--threads 1 {arguments}"));
    let _worker = coord.worker(&place, "");
    coord.process.ended().refused(1, &["NaN or infinite in epoch 1"]);
}

#[test]
fn a_stopped_run_resumes_with_or_without_this_machine() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, &format!("--threads 2 {LONG}"));
    let mut worker = coord.worker(&place, "");
    coord.epochs(&place, 4);
    coord.process.signal("TERM");
    let _ = coord.process.ends_well();
    let _ = worker.ends_well();
    let mut coord = Coord::start(&place, "--threads 0 --resume");
    let mut worker = coord.worker(&place, "");
    coord.epochs(&place, 40);
    coord.process.signal("TERM");
    let _ = coord.process.ends_well();
    let _ = worker.ends_well();
    // The folder's run.toml says --threads 0 now, which is no obstacle to a single machine.
    let _ = place.nn("train --quiet --out net --resume").ok();
    assert_eq!(place.hash("net"), want);
}

/// What a run sent and received, and for how many steps and parameters.
struct Traffic {
    sent: f64,
    received: f64,
    /// The bytes of the parameters, times the steps.
    each_way: f64,
}

fn traffic(own: &str, workers: usize) -> Traffic {
    let place = Place::new();
    // A step has two leaves, which are a node each for two that compute. On a busy machine nobody is impatient.
    let arguments = "--epochs 4 --batch-size 128 --shard-size 64 --hidden 200,100 --patience 1000000";
    let coord = Coord::start(&place, &format!("{own} --min-workers {workers} {arguments}"));
    let mut workers: Vec<Process> = (0..workers).map(|_| coord.worker(&place, "")).collect();
    let _ = coord.hash(&place);
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
    let summary = place.summary("net");
    let number = |value: &Value| value.as_f64().unwrap();
    let cluster = &summary["cluster"];
    Traffic {
        sent: number(&cluster["bytes_sent"]),
        received: number(&cluster["bytes_received"]),
        each_way: number(&summary["steps"]) * number(&summary["parameters"]) * 4.0,
    }
}

/// As with a ring of two: the parameters go once each way. What is beyond is the training set and small messages.
#[test]
fn with_one_worker_a_step_moves_the_parameters_once_each_way() {
    let one = traffic("--threads 1", 1);
    assert!((0.9..1.1).contains(&(one.sent / one.each_way)), "{}", one.sent / one.each_way);
    // The planner may leave a worker idle for a step.
    assert!((0.01..1.01).contains(&(one.received / one.each_way)), "{}", one.received / one.each_way);
    let two = traffic("--threads 0", 2);
    assert!((1.9..2.2).contains(&(two.sent / two.each_way)), "{}", two.sent / two.each_way);
    assert!(two.received / two.each_way > 0.99, "{}", two.received / two.each_way);
}
