//! A learning rate that depends on evaluations is the same, whatever happens on the way.

use std::fs;

use crate::common::Place;
use crate::{Running, change, checkpoint, checkpoints, same, same_best, train_among_kills, until};

const ARGUMENTS: &str = "--schedule plateau --plateau-factor 0.3 --plateau-evaluations 2 --validation-fraction 0.1 \
                         --hidden 20 --recipe book --learning-rate 6 --batch-size 4 --epochs 60 --checkpoint-steps 200";

fn place() -> Place {
    let place = Place::new();
    let _ = place.nn(&format!("train --quiet --out calm {ARGUMENTS}")).ok();
    place
}

/// The learning rate at the end of each epoch.
fn rates(place: &Place, run: &str) -> Vec<f64> {
    place.metrics(run).iter().map(|line| line["learning_rate"].as_f64().unwrap()).collect()
}

/// Fails unless a run ended as the undisturbed one.
#[track_caller]
fn ended_alike(place: &Place, run: &str) {
    same(place, run, "calm");
    same_best(place, run, "calm");
    assert_eq!(rates(place, run), rates(place, "calm"));
    let model = |out: &str| fs::read(place.at(out).join("model.safetensors")).unwrap();
    assert!(model(run) == model("calm"), "the models differ");
}

/// The rule, applied to the log by other code.
#[test]
fn the_rates_are_those_that_the_losses_in_the_log_give() {
    let place = place();
    for (run, every) in [("calm", 1), ("seldom", 3)] {
        if every > 1 {
            let _ = place.nn(&format!("train --quiet --out {run} --eval-every {every} {ARGUMENTS}")).ok();
        }
        let (mut best, mut since, mut drops) = (f64::INFINITY, 0, 0);
        for (line, epoch) in place.metrics(run).iter().zip(1..) {
            let want = (6.0 * f64::from(0.3_f32).powi(drops)) as f32;
            let rate = line["learning_rate"].as_f64().unwrap() as f32;
            assert!((rate / want - 1.0).abs() < 1e-6, "epoch {epoch} of {run}: {rate}, not {want}");
            if epoch % every != 0 {
                continue;
            }
            let loss = line["validation_loss"].as_f64().unwrap();
            if loss < best * 0.9999 {
                (best, since) = (loss, 0);
            } else {
                since += 1;
            }
            if since == 2 {
                (since, drops) = (0, drops + 1);
            }
        }
        assert!(drops > 1, "the rate of {run} fell {drops} times");
    }
}

#[test]
fn a_killed_run_has_the_same_rates() {
    let place = place();
    train_among_kills(&place, ARGUMENTS);
    ended_alike(&place, "run");
    // A longer run goes on from there, as if it had been so long from the beginning.
    let longer = ARGUMENTS.replace("--epochs 60", "--epochs 64");
    let _ = place.nn(&format!("train --quiet --out longer {longer}")).ok();
    let _ = place.nn("train --quiet --out run --resume --epochs 64").ok();
    same(&place, "run", "longer");
    // Another rule is another run.
    for (options, says) in [
        ("--plateau-evaluations 3", "plateau-evaluations is 3, was 2"),
        ("--plateau-factor 0.5", "plateau-factor is 0.5, was 0.3"),
        ("--eval-every 2", "plateau-every is 2, was 1"),
        ("--validation-fraction 0.2", "data is"),
    ] {
        place.nn(&format!("train --out run --resume --epochs 64 {options}")).refused(2, &[says]);
    }
}

#[test]
fn a_cluster_of_two_has_the_same_rates() {
    let place = place();
    let coord = format!("--out run --listen 127.0.0.1:0 --spawn 2 --min-workers 2 {ARGUMENTS}");
    let mut coord = Running::other(&place, env!("CARGO_BIN_EXE_nn-coord"), &coord);
    until("the first checkpoints", || checkpoints(&place, "run").len() > 1);
    // The rest is computed by one process.
    coord.0.kill().unwrap();
    let _ = coord.0.wait().unwrap();
    let _ = place.nn(&format!("train --quiet --out run {ARGUMENTS} --resume")).ok();
    ended_alike(&place, "run");
    let coord = format!("--out whole --listen 127.0.0.1:0 --spawn 2 --min-workers 2 {ARGUMENTS}");
    let mut coord = Running::other(&place, env!("CARGO_BIN_EXE_nn-coord"), &coord);
    assert!(coord.ended().success());
    ended_alike(&place, "whole");
}

#[test]
fn a_replay_evaluates_too() {
    let place = place();
    let arguments =
        ARGUMENTS.replace("--checkpoint-steps 200", "--checkpoint-steps 1000 --keep-checkpoints 99");
    let _ = place.nn(&format!("train --quiet --out run {arguments}")).ok();
    // The first checkpoint after the rate has fallen for the first time.
    let rates = rates(&place, "run");
    let fallen = rates.iter().position(|rate| *rate < 6.0).unwrap() as u64 * 324;
    let early = checkpoints(&place, "run").into_iter().find(|&step| step > fallen).unwrap();
    assert!(rates[rates.len() - 1] < rates[early as usize / 324], "the rate falls after step {early}, too");
    let early = checkpoint("run", early);
    let replay = || place.nn(&format!("replay --checkpoint {early}"));
    assert!(replay().ok().stdout.contains("agree"));
    change(&place.at(&early), |file| file.run.plateau.as_mut().unwrap().drops += 1);
    replay().refused(1, &["is the first that differs"]);
    change(&place.at(&early), |file| file.run.plateau = None);
    replay().refused(3, &["lacks the state"]);
    // The options in the run's file say which samples are for validation; without it, they have to be given.
    fs::remove_file(place.at("run/run.toml")).unwrap();
    let best = "replay --checkpoint run/checkpoints/best.safetensors";
    place.nn(best).refused(3, &["fingerprint"]);
    let _ = place.nn(&format!("{best} --validation-fraction 0.1")).ok();
}
