//! Killed processes, runs that move, and two runs in one folder.

use std::io::{BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use nn::store::ModelFile;
use serde_json::Value;

use crate::common::{Place, noise};
use crate::{Running, checkpoint, checkpoints, same, same_best, until};

#[test]
fn a_run_survives_being_killed_again_and_again() {
    let place = Place::new();
    let seed = std::env::var("NN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    println!("NN_TEST_SEED={seed}");
    let arguments = "--batch-size 1 --epochs 60 --optimizer momentum --learning-rate 0.3 --checkpoint-steps 300 \
         --validation-fraction 0.1";
    let calm = Instant::now();
    let _ = place.nn(&format!("train --quiet --out calm {arguments}")).ok();
    let calm = calm.elapsed().as_secs_f64();
    let mut killed = 0;
    for attempt in 0..30 {
        let delay = Duration::from_secs_f64(calm * noise(seed + attempt) * 0.3);
        let mut running = Running::nn(&place, &format!("train --out run {arguments} --resume"));
        thread::sleep(delay);
        if let Some(status) = running.0.try_wait().unwrap() {
            assert!(status.success(), "attempt {attempt}: {status}");
            break;
        }
        running.kill();
        killed += 1;
    }
    println!("killed {killed} times; at {:?} of {} steps", checkpoints(&place, "run"), 60 * 1293);
    let ran = place.nn(&format!("train --out run {arguments} --resume")).ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    same(&place, "run", "calm");
    same_best(&place, "run", "calm");
    assert_eq!(digits12(&place.summary("run")), digits12(&place.summary("calm")));
    place.no_halves();
}

/// The figures of a summary that must not depend on how often a run was stopped, to twelve digits: a resumed run reads
/// some of them from decimal text.
fn digits12(summary: &Value) -> Vec<String> {
    let names =
        ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "best_validation_loss", "best_epoch"];
    names.map(|name| format!("{:.11e}", summary[name].as_f64().unwrap())).into()
}

#[test]
fn a_run_moves_to_a_cluster_and_back() {
    let place = Place::new();
    let arguments = "--out run --recipe book --epochs 4000 --batch-size 128 --shard-size 16 --hidden 48,32 --eval-every 10 \
                     --optimizer nesterov --learning-rate 0.01 --checkpoint-steps 40";
    let newest = || checkpoints(&place, "run").last().copied().unwrap_or(0);
    let alone = Running::nn(&place, &format!("train {arguments}"));
    until("a checkpoint", || newest() > 0);
    alone.kill();
    assert!(!place.at("run/summary.json").exists(), "it was killed too late");
    let from = newest();
    let coord = format!("--listen 127.0.0.1:0 --min-workers 2 {arguments} --resume");
    let mut coord = Running::other(&place, env!("CARGO_BIN_EXE_nn-coord"), &coord);
    let mut lines = BufReader::new(coord.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("resuming after step")), "it starts from the beginning");
    let line = lines.find(|line| line.contains("nn-worker --coordinator")).unwrap();
    let url = line.rsplit(' ').next().unwrap();
    let worker = format!("--coordinator {url} --threads 1 --quiet");
    let workers = [(); 2].map(|()| Running::other(&place, env!("CARGO_BIN_EXE_nn-worker"), &worker));
    until("a checkpoint of the cluster", || newest() >= from + 120);
    coord.kill();
    workers.into_iter().for_each(Running::kill);
    assert!(!place.at("run/summary.json").exists(), "it was killed too late");
    let middle = newest();
    let ran = place.nn(&format!("train {arguments} --resume")).ok();
    assert!(ran.stdout.contains(&format!("resuming after step {middle}")), "{ran:#?}");
    // It learns slowly at first, and says so.
    assert!(
        ran.stderr.lines().all(|line| line.starts_with("warning: training has stopped moving")),
        "{ran:#?}"
    );
    let _ = place.nn(&format!("train --quiet {}", arguments.replacen("run", "calm", 1))).ok();
    same(&place, "run", "calm");
    let last = ModelFile::read_checkpoint(&place.at(checkpoint("run", 4000 * 12))).unwrap();
    assert_eq!(last.run.generation, Some(2), "it was resumed twice");
    place.no_halves();
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let place = Place::new();
    let mut first = Running::nn(&place, "train --epochs 1000000 --out run");
    until("the log", || place.at("run/metrics.jsonl").exists());
    for resume in ["", "--resume"] {
        place
            .nn(&format!("train --out run {resume}"))
            .refused(2, &["another run is writing to --out run", "help: "]);
    }
    assert!(first.0.try_wait().unwrap().is_none());
    first.kill();
    let _ = place.nn("train --quiet --epochs 1 --out run --overwrite").ok();
}
