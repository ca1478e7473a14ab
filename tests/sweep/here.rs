//! Runs side by side in one process.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{self, Place, Running};
use crate::{runs, sweep, table};

#[test]
fn every_run_of_a_grid_has_the_weights_of_nn_train() {
    let place = Place::new();
    let _ = place.file(
        "s.toml",
        "epochs = 2\nvalidation-fraction = 0.2\n[grid]\nlearning-rate = [0.5, 3.0]\nhidden = [[12], []]\n[sweep]\nseeds = 2",
    );
    let ran = place.nn("sweep --config s.toml --out s --parallel 3").ok();
    assert!(ran.stdout.contains("8 runs of 4 configurations, 2 of each, 3 side by side"), "{ran:#?}");
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    let swept = sweep(&place, "s");
    assert_eq!((&swept["outcome"], &swept["by"]), (&"complete".into(), &"validation_accuracy".into()));
    let mut seen = Vec::new();
    for run in runs(&swept) {
        let (folder, options) = (run["folder"].as_str().unwrap(), &run["options"]);
        let hidden = match options["hidden"].as_array().unwrap().as_slice() {
            [] => "none".to_owned(),
            [width] => width.to_string(),
            _ => unreachable!(),
        };
        let alone = format!(
            "train --quiet --epochs 2 --validation-fraction 0.2 --learning-rate {} --hidden {hidden} --seed {} --out {folder}",
            options["learning-rate"], run["seed"]
        );
        let _ = place.nn(&alone).ok();
        let in_sweep = format!("s/{folder}");
        assert_eq!(place.hash(&in_sweep), place.hash(folder), "{alone}");
        assert_eq!(place.steps(&in_sweep), place.steps(folder), "{alone}");
        let (mine, theirs) = (place.summary(&in_sweep), place.summary(folder));
        for key in ["config_hash", "data_sha256", "validation_accuracy", "test_accuracy", "validation_loss"] {
            assert_eq!(mine[key], theirs[key], "{key}");
            assert_eq!(run[key], theirs[key], "{key}");
        }
        assert_eq!((&run["state"], &run["params_sha256"]), (&"done".into(), &theirs["params_sha256"]));
        seen.push(run["params_sha256"].clone());
    }
    seen.sort_by_key(Value::to_string);
    seen.dedup();
    assert_eq!(seen.len(), 8, "all runs differ");
    // The means and spreads of two runs, computed here again.
    for configuration in swept["configurations"].as_array().unwrap() {
        let figures: Vec<f64> = configuration["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| {
                runs(&swept)[run.as_u64().unwrap() as usize - 1]["validation_accuracy"].as_f64().unwrap()
            })
            .collect();
        let mean = (figures[0] + figures[1]) / 2.0;
        assert!((configuration["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
        let spread = (figures[0] - figures[1]).abs() / 2f64.sqrt();
        assert!((configuration["standard_deviation"].as_f64().unwrap() - spread).abs() < 1e-12);
    }
    let best = swept["best"]["mean"].as_f64().unwrap();
    let all = swept["configurations"].as_array().unwrap();
    assert!(all.iter().all(|configuration| configuration["mean"].as_f64().unwrap() <= best));
    // Each folder is a run's: other commands read it.
    let ran = place.nn("eval --model s/run-003/model.safetensors").ok();
    assert!(ran.stdout.contains("accuracy"), "{ran:#?}");
    let _ = place.nn("replay --model s/run-003/checkpoints --epochs 1");
    place.no_halves();
    // What is done is not done again.
    let before = fs::metadata(place.at("s/run-001/model.safetensors")).unwrap().modified().unwrap();
    let ran = place.nn("sweep --config s.toml --out s --resume").ok();
    assert!(ran.stdout.contains("8 of 8 runs are done already"), "{ran:#?}");
    assert_eq!(fs::metadata(place.at("s/run-001/model.safetensors")).unwrap().modified().unwrap(), before);
    place.nn("sweep --config s.toml --out s").refused(2, &["--out s holds a sweep", "--resume"]);
    place.nn("sweep --config s.toml --out s --resume --epochs 3").refused(2, &["another one", "run 1"]);
}

#[test]
fn folds_are_disjoint_and_their_means_and_spread_are_told() {
    let place = Place::new();
    let _ = place.file("flowers.csv", table(300));
    let ran = place.nn("sweep --data flowers.csv --folds 4 --epochs 3 --out s").ok();
    assert!(ran.stdout.contains("over 4 runs: run-001 run-002 run-003 run-004"), "{ran:#?}");
    let swept = sweep(&place, "s");
    assert_eq!(swept["by"], "validation_accuracy");
    let mut data: Vec<&Value> = runs(&swept).iter().map(|run| &run["data_sha256"]).collect();
    data.sort_by_key(|hash| hash.to_string());
    data.dedup();
    assert_eq!(data.len(), 4, "the hash of the data tells the folds apart");
    for fold in 1..=4 {
        let _ = place
            .nn(&format!("train --quiet --data flowers.csv --fold {fold}/4 --epochs 3 --out f{fold}"))
            .ok();
        assert_eq!(place.hash(&format!("f{fold}")), place.hash(&format!("s/run-00{fold}")));
    }
    assert!(swept["best"]["standard_deviation"].is_f64());
    for wrong in ["0/4", "5/4", "1/1", "x"] {
        assert_eq!(place.nn(&format!("train --data flowers.csv --fold {wrong}")).code, Some(2), "{wrong}");
    }
    place
        .nn("train --data flowers.csv --fold 1/4 --validation-fraction 0.1")
        .refused(2, &["--fold and --validation-fraction both choose"]);
    // A run is resumed with its fold.
    let ran = place.nn("train --resume --out s/run-002").ok();
    assert!(ran.stdout.contains("resuming after step"), "{ran:#?}");
    assert_eq!(place.hash("f2"), place.hash("s/run-002"));
}

#[test]
fn successive_halving_leaves_the_worse_behind_and_finishes_the_best() {
    let place = Place::new();
    let _ = place.file(
        "s.toml",
        "epochs = 6\nvalidation-fraction = 0.2\nhidden = 10\n[random]\nruns = 6\n\
         learning-rate = { min = 1e-4, max = 3.0, log = true }\n[halving]\nmin-epochs = 1\nfactor = 2",
    );
    let ran = place.nn("sweep --config s.toml --out s").ok();
    assert!(ran.stdout.contains("after 1 epochs 3 of 6 configurations go on"), "{ran:#?}");
    let swept = sweep(&place, "s");
    let state = |name: &str| runs(&swept).iter().filter(|run| run["state"] == name).collect::<Vec<_>>();
    // 6 after 1 epoch, 3 after 2, 2 after 4, 1 to the end.
    let mut epochs: Vec<u64> = runs(&swept).iter().map(|run| run["epochs_done"].as_u64().unwrap()).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 1, 1, 2, 4, 6]);
    assert_eq!((state("done").len(), state("left behind").len()), (1, 5));
    // The one that is left is nn train's, although it was paused three times.
    let best = state("done")[0];
    let rate = &best["options"]["learning-rate"];
    let _ = place
        .nn(&format!(
            "train --quiet --epochs 6 --validation-fraction 0.2 --hidden 10 --learning-rate {rate} --out alone"
        ))
        .ok();
    assert_eq!(best["params_sha256"], place.hash("alone"));
    assert_eq!(place.steps("alone"), place.steps(&format!("s/{}", best["folder"].as_str().unwrap())));
    // One that was left behind can go on by itself.
    let left = state("left behind")[0];
    let folder = format!("s/{}", left["folder"].as_str().unwrap());
    let _ = place.nn(&format!("train --quiet --resume --out {folder}")).ok();
    assert_eq!(place.summary(&folder)["outcome"], "complete");
    // The same draws in another folder.
    let _ = place.nn("sweep --quiet --config s.toml --out t --parallel 1").ok();
    let again = sweep(&place, "t");
    for (a, b) in runs(&swept).iter().zip(runs(&again)) {
        assert_eq!((&a["params_sha256"], &a["state"]), (&b["params_sha256"], &b["state"]));
    }
}

/// Waits until the sweep has a run that is done and one that is not.
fn until_in_the_middle(place: &Place, out: &str) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(120), "the sweep does not get on");
        let text = fs::read_to_string(place.at(out).join("sweep.json")).unwrap_or_default();
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        let runs = state["runs"].as_array().cloned().unwrap_or_default();
        if runs.iter().any(|run| run["state"] == "done") && runs.iter().any(|run| run["state"] == "running") {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_killed_or_interrupted_sweep_goes_on_and_gives_the_same() {
    let place = Place::new();
    let _ = place.file(
        "s.toml",
        "epochs = 6\nvalidation-fraction = 0.2\nhidden = 40\ncheckpoint-steps = 50\n[grid]\nlearning-rate = [0.1, 0.5, 1.0]\n\
         batch-size = [5, 6]",
    );
    let _ = place.nn("sweep --quiet --config s.toml --out whole").ok();
    let whole = sweep(&place, "whole");
    for (out, signal) in [("killed", "KILL"), ("stopped", "INT")] {
        let arguments = ["sweep", "--config", "s.toml", "--out", out, "--parallel", "2"];
        let mut child =
            Running(place.command(arguments).stdout(std::process::Stdio::null()).spawn().unwrap());
        until_in_the_middle(&place, out);
        let signalled = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &child.0.id().to_string()])
            .status();
        assert!(signalled.unwrap().success());
        let status = child.0.wait().unwrap();
        if signal == "INT" {
            assert_eq!(status.code(), Some(0), "a stop in order");
            assert_eq!(sweep(&place, out)["outcome"], "stopped");
            place.no_halves();
        }
        let left = runs(&sweep(&place, out)).iter().filter(|run| run["state"] != "done").count();
        assert!(left > 0, "it was over before the signal");
        let _ = place.nn(&format!("sweep --quiet --config s.toml --out {out} --resume")).ok();
        let again = sweep(&place, out);
        assert_eq!(again["outcome"], "complete");
        for (a, b) in runs(&whole).iter().zip(runs(&again)) {
            assert_eq!(a["params_sha256"], b["params_sha256"], "{signal}");
            let folder = a["folder"].as_str().unwrap();
            assert_eq!(place.steps(&format!("whole/{folder}")), place.steps(&format!("{out}/{folder}")));
        }
        assert_eq!(again["best"], whole["best"]);
    }
}

#[test]
fn without_validation_the_test_samples_choose_and_that_is_said() {
    let place = Place::new();
    let ran = place.nn("sweep --seeds 2 --epochs 1 --out s").ok();
    assert!(ran.stderr.contains("the test samples choose") && ran.stderr.contains("--folds"), "{ran:#?}");
    assert_eq!(sweep(&place, "s")["by"], "test_accuracy");
    // The default folder gets a number.
    let ran = place.nn("sweep --seeds 2 --epochs 1").ok();
    assert!(ran.stdout.contains("the folder is runs/sweep\n"), "{ran:#?}");
    let ran = place.nn("sweep --seeds 2 --epochs 1").ok();
    assert!(ran.stdout.contains("the folder is runs/sweep-2\n"), "{ran:#?}");
    let ran = place.nn("sweep --seeds 2 --epochs 1 --resume").ok();
    assert!(ran.stdout.contains("2 of 2 runs are done already"), "{ran:#?}");
    let _ = place.nn("sweep --quiet --seeds 3 --epochs 1 --out s --overwrite").ok();
    assert_eq!(runs(&sweep(&place, "s")).len(), 3);
}

#[test]
fn numbers_are_compared_by_their_errors_and_divergence_is_last() {
    let place = Place::new();
    let _ = place.file("line.csv", common::linear_csv(200));
    let _ = place.file(
        "s.toml",
        "data = 'line.csv'\nepochs = 3\nhidden = 5\nfold = '1/5'\n[grid]\nlearning-rate = [30000.0, 0.01, 0.001]",
    );
    let ran = place.nn("sweep --config s.toml --out s").ok();
    let swept = sweep(&place, "s");
    assert_eq!(swept["by"], "validation_rmse", "{ran:#?}");
    assert_eq!(runs(&swept)[0]["state"], "diverged");
    assert!(ran.stdout.contains("1 of 3 runs diverged"), "{ran:#?}");
    let figure = |run: usize| runs(&swept)[run]["validation_rmse"].as_f64().unwrap();
    let best = if figure(1) < figure(2) { 2 } else { 3 };
    assert_eq!(swept["best"]["configuration"], best);
    assert_eq!(swept["configurations"][2]["configuration"], 1);
}

#[test]
fn what_is_wrong_is_said_before_the_first_run() {
    let place = Place::new();
    for (text, parts) in [
        ("[grid]\nlearnig-rate = [1.0]", &["s.toml:2:", "did you mean \"learning-rate\"?"][..]),
        ("[grid]\nlearning-rate = []", &["s.toml:2: learning-rate has no values"]),
        (
            "[grid]\nlearning-rate = [0.1, -1.0]",
            &["run 2 (learning-rate=-1.0)", "s.toml:2: learning-rate must be"],
        ),
        (
            "[grid]\nactivation = ['relu', 'rulu']",
            &["s.toml:2: activation must be", "did you mean \"relu\"?"],
        ),
        ("epochs = 0\n[grid]\nl2 = [0.1]", &["s.toml:1: epochs must be at least 1"]),
        ("[grid]\nout = ['a']", &["out cannot be swept"]),
        ("[grid]\nl2 = [0.1]\n[grids]\nl2 = [1]", &["s.toml:3:", "\"grids\""]),
        ("epochs = 3\n[grid", &["s.toml:2: this is not TOML"]),
        ("epochs = 3", &["there is nothing to sweep over"]),
        (
            "[grid]\ntest-fraction = [0.1]\ndata = ['nothing.csv']",
            &["run 1 (test-fraction=0.1 data=nothing.csv)"],
        ),
        ("[grid]\nseed = [1, 2]\n[sweep]\nseeds = 2", &["contradict each other"]),
        ("[grid]\nshard-size = [1, 64]\nbatch-size = [8]", &["run 2", "shard-size must be at most"]),
        ("[random]\nruns = 20000\nl2 = [0.1]", &["at most 10000"]),
    ] {
        let _ = place.file("s.toml", text);
        let ran = place.nn("sweep --config s.toml --out s");
        let code = if text.contains("nothing.csv") { 3 } else { 2 };
        ran.refused(code, parts);
        assert!(!place.at("s/run-001").exists(), "{text}");
    }
    let _ = place.file("s.toml", "[grid]\nlearning-rate = [1.0, 2.0]");
    place.nn("sweep --config s.toml --learning-rate 3").refused(2, &["--learning-rate fixes an option"]);
    place.nn("sweep --config none.toml").refused(2, &["cannot read the configuration file none.toml"]);
    place.nn("sweep --config s.toml --resume --out nowhere").refused(2, &["there is no sweep in nowhere"]);
    place.nn("sweep --folds 1").refused(2, &["--folds must be at least 2"]);
}

/// All runs begin with one model, as runs of `nn train` do.
#[test]
fn a_sweep_begins_with_a_model() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 1 --hidden 12 --out base").ok();
    let _ = place.file(
        "s.toml",
        "from = 'base/model.safetensors'\nepochs = 2\nvalidation-fraction = 0.2\n[grid]\nlearning-rate = [0.5, 3.0]",
    );
    let _ = place.nn("sweep --config s.toml --out s").ok();
    for run in runs(&sweep(&place, "s")) {
        let (folder, rate) = (run["folder"].as_str().unwrap(), &run["options"]["learning-rate"]);
        let alone = format!(
            "train --quiet --epochs 2 --validation-fraction 0.2 --learning-rate {rate} --from base/model.safetensors --out {folder}"
        );
        let _ = place.nn(&alone).ok();
        assert_eq!(place.hash(&format!("s/{folder}")), place.hash(folder), "{alone}");
    }
    let _ = place.file("t.toml", "[grid]\nfrom = ['base/model.safetensors', 'other.safetensors']");
    place.nn("sweep --config t.toml --out t").refused(2, &["t.toml:2: from cannot be swept"]);
}
