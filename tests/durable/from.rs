//! Runs that begin with a model: what happens to them, and to the model's file, on the way.

use std::fs;

use crate::common::Place;
use crate::{Running, checkpoint, checkpoints, copy, same, until};

const ARGUMENTS: &str =
    "--epochs 120 --batch-size 8 --learning-rate 0.3 --optimizer momentum --from base/model.safetensors";

/// A model, another one of the same network, and an undisturbed run that begins with the first.
fn place() -> Place {
    let place = Place::new();
    for seed in [1, 2] {
        let _ =
            place.nn(&format!("train --quiet --epochs 1 --hidden 20 --seed {seed} --out base-{seed}")).ok();
    }
    copy(&place, "base-1", "base");
    let _ = place.nn(&format!("train --quiet --out calm {ARGUMENTS}")).ok();
    place
}

/// Kills a run `run` once `ready`.
fn killed(place: &Place, arguments: &str, ready: impl FnMut() -> bool) {
    let running = Running::nn(place, &format!("train --out run {ARGUMENTS} {arguments}"));
    until("a run to kill", ready);
    running.kill();
    assert!(!place.at("run/summary.json").exists(), "it was killed too late");
}

const RESUME: &str = "train --quiet --resume --out run";

#[test]
fn a_run_with_a_checkpoint_resumes_without_the_model_but_not_with_another() {
    let place = place();
    killed(&place, "--checkpoint-steps 300", || !checkpoints(&place, "run").is_empty());
    copy(&place, "base-2", "base");
    place.nn(RESUME).refused(2, &["base/model.safetensors has other weights now", "put the old file back"]);
    place
        .nn(&format!("{RESUME} --from base-2/model.safetensors"))
        .refused(2, &["base-2/model.safetensors has other weights now"]);
    fs::remove_dir_all(place.at("base")).unwrap();
    let ran = place.nn("train --resume --out run").ok();
    assert!(
        ran.stdout.contains("base/model.safetensors cannot be read, but the run has a checkpoint"),
        "{ran:#?}"
    );
    assert!(ran.stdout.contains("resuming after step"), "{ran:#?}");
    same(&place, "run", "calm");
    assert_eq!(place.summary("run")["config_hash"], place.summary("calm")["config_hash"]);
    // A path that the user gives must be there.
    place
        .nn(&format!("{RESUME} --from nowhere.safetensors"))
        .refused(3, &["--from: cannot read the model nowhere"]);
    // The steps after a checkpoint are the same again, and need no model either.
    let newest = checkpoints(&place, "run")[0];
    let replayed = place.nn(&format!("replay --checkpoint {}", checkpoint("run", newest))).ok();
    assert!(replayed.stdout.contains("the weights match"), "{replayed:#?}");
}

#[test]
fn a_run_without_a_checkpoint_begins_again_with_the_same_model_and_no_other() {
    let place = place();
    let log = place.at("run/metrics.jsonl");
    killed(&place, "--checkpoint-seconds 0", || fs::metadata(&log).is_ok_and(|log| log.len() > 5000));
    assert_eq!(checkpoints(&place, "run"), Vec::<u64>::new());
    copy(&place, "base-2", "base");
    place.nn(RESUME).refused(2, &["base/model.safetensors has other weights now"]);
    fs::remove_dir_all(place.at("base")).unwrap();
    place
        .nn(RESUME)
        .refused(3, &["cannot read the model base/model.safetensors", "the run has no checkpoint"]);
    copy(&place, "base-1", "base");
    let _ = place.nn(RESUME).ok();
    same(&place, "run", "calm");
}

/// The file of options makes the same run again, as long as the model is the same.
#[test]
fn the_options_of_a_run_make_the_same_weights_again() {
    let place = place();
    let _ = place.nn("train --quiet --config calm/run.toml --out again").ok();
    same(&place, "again", "calm");
    copy(&place, "base-2", "base");
    place
        .nn("train --quiet --config calm/run.toml --out other")
        .refused(2, &["has other weights now", "add --from base/model.safetensors"]);
    let _ = place.nn("train --quiet --config calm/run.toml --from base/model.safetensors --out other").ok();
    assert_ne!(place.hash("other"), place.hash("calm"));
    // A path is looked for where the run began, too.
    copy(&place, "base-1", "base");
    fs::create_dir(place.at("inner")).unwrap();
    let script = "cd inner && $NN train --quiet --config ../calm/run.toml --out there";
    assert!(place.shell(script).status().unwrap().success());
    assert_eq!(place.hash("inner/there"), place.hash("calm"));
}
