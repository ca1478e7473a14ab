//! Runs that end early end at the same step with the same weights, whatever happens on the way.

use std::fs;

use nn::store::ModelFile;

use crate::common::Place;
use crate::{Running, checkpoints, same, same_best, train_among_kills, until};

const ARGUMENTS: &str =
    "--early-stopping 4 --hidden 20 --learning-rate 0.3 --batch-size 4 --epochs 400 --checkpoint-steps 200";

fn place() -> Place {
    let place = Place::new();
    let _ = place.nn(&format!("train --quiet --out calm {ARGUMENTS}")).ok();
    place
}

/// Fails unless a run ended as the undisturbed one.
#[track_caller]
fn ended_alike(place: &Place, run: &str) {
    same(place, run, "calm");
    same_best(place, run, "calm");
    let (mine, theirs) = (place.summary(run), place.summary("calm"));
    let names =
        ["outcome", "params_sha256", "steps", "epochs", "stopped_at_step", "best_epoch", "test_accuracy"];
    for name in names {
        assert!(!theirs[name].is_null(), "{name}");
        assert_eq!(mine[name], theirs[name], "{name}");
    }
    let model = |out: &str| fs::read(place.at(out).join("model.safetensors")).unwrap();
    assert!(model(run) == model("calm"), "the models differ");
}

/// The rule, applied to the log by other code, says when the run had to end and with which weights.
#[test]
fn a_run_ends_when_the_log_says_so_with_the_weights_of_the_best_epoch() {
    let place = place();
    let (mut best, mut since) = ((f64::MIN, f64::MIN, 0), 0);
    let metrics = place.metrics("calm");
    for (line, epoch) in metrics.iter().zip(1..) {
        assert!(since < 4, "it did not end in time");
        let [accuracy, loss] =
            ["validation_accuracy", "validation_loss"].map(|name| line[name].as_f64().unwrap());
        if (accuracy, -loss) > (best.0, best.1) {
            (best, since) = ((accuracy, -loss, epoch), 0);
        } else {
            since += 1;
        }
    }
    assert_eq!(since, 4, "it ended too early");
    let summary = place.summary("calm");
    let line = &metrics[best.2 - 1];
    assert_eq!((&summary["outcome"], &summary["best_epoch"]), (&"early-stopped".into(), &best.2.into()));
    assert_eq!(summary["stopped_at_step"], metrics.last().unwrap()["steps"]);
    for name in ["params_sha256", "steps", "train_loss", "test_loss", "test_accuracy", "validation_loss"] {
        assert_eq!(summary[name], line[name], "{name}");
    }
    let model = place.nn("eval --model calm/model.safetensors --json").ok().json();
    assert_eq!(model["classification"]["accuracy"], summary["test_accuracy"]);
    let _ = place.nn("replay --checkpoint calm/checkpoints/best.safetensors").ok();
}

#[test]
fn a_killed_run_ends_early_at_the_same_step() {
    let place = place();
    train_among_kills(&place, ARGUMENTS);
    ended_alike(&place, "run");
    // It is over: it says so, and makes no step more.
    let ran = place.nn("train --out run --resume").ok();
    assert!(ran.stdout.contains("has stopped early already") && !ran.stdout.contains("epoch  "), "{ran:#?}");
    ended_alike(&place, "run");
    // Without the best checkpoint, or with one that is damaged, the run repeats its steps rather than end with others.
    for damage in [None, Some("no checkpoint")] {
        let best = "run/checkpoints/best.safetensors";
        match damage {
            None => fs::remove_file(place.at(best)).unwrap(),
            Some(text) => drop(place.file(best, text)),
        }
        let ran = place.nn("train --out run --resume").ok();
        assert!(ran.stderr.contains("repeats all its steps"), "{ran:#?}");
        ended_alike(&place, "run");
    }
    // Another rule is another run.
    place.nn("train --out run --resume --early-stopping 5").refused(2, &["early-stopping is 5, was 4"]);
    place.nn("train --out run --resume --eval-every 2").refused(2, &["eval-every is 2, was 1"]);
}

#[test]
fn a_cluster_of_two_ends_early_at_the_same_step() {
    let place = place();
    let coord = format!("--out run --listen 127.0.0.1:0 --spawn 2 --min-workers 2 {ARGUMENTS}");
    let mut coord = Running::other(&place, env!("CARGO_BIN_EXE_nn-coord"), &coord);
    until("the first checkpoints", || checkpoints(&place, "run").len() > 1);
    assert!(coord.ended().success());
    ended_alike(&place, "run");
    let mut again =
        Running::other(&place, env!("CARGO_BIN_EXE_nn-coord"), "--out run --resume --listen 127.0.0.1:0");
    assert!(again.ended().success(), "no worker is needed for a run that is over");
    ended_alike(&place, "run");
}

#[test]
fn a_run_whose_epochs_end_first_has_the_best_weights_too_and_can_go_on() {
    let place = place();
    for epochs in [2, 5, 400] {
        let arguments = ARGUMENTS.replace("400", &epochs.to_string());
        let _ = place.nn(&format!("train --quiet --out run --resume {arguments}")).ok();
        let summary = place.summary("run");
        let best = ModelFile::read(&place.at("run/checkpoints/best.safetensors")).unwrap();
        assert_eq!(summary["steps"], best.run.step, "{summary:#}");
        if epochs < 400 {
            assert_eq!(
                (&summary["outcome"], &summary["stopped_at_step"]),
                (&"complete".into(), &(epochs * 324).into())
            );
        }
    }
    ended_alike(&place, "run");
}
