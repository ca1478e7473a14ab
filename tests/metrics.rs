//! The figures of whole runs: the same in `summary.json`, in the last line of `metrics.jsonl` and from `nn eval`, and
//! honest beside the trivial answer. The tests run the real program, as a user does.

mod common;

use common::{Place, linear_csv, noise};
use serde_json::{Value, json};

/// Figures that every evaluated epoch has.
const CLASSES: [&str; 4] = ["accuracy", "balanced_accuracy", "macro_f1", "log_loss"];
/// Figures that only the end of a run has.
const CURVES: [&str; 4] = ["roc_auc", "pr_auc", "brier", "calibration_error"];
const NUMBERS: [&str; 4] = ["mae", "rmse", "r2", "median_absolute_error"];

/// A table of three kinds of points around three centres; every second one is of the first kind.
fn three_kinds(rows: usize) -> String {
    let mut text = String::from("a,b,label\n");
    for row in 0..rows {
        let kind = [0, 1, 0, 2][row % 4];
        let [x, y] = [0, 1].map(|column| 1.8 * noise(2 * row + column) - 0.9);
        let (x, y) = (x + [0.0, 0.6, -0.6][kind], y + [-0.5, 0.4, 0.4][kind]);
        text += &format!("{x:.4},{y:.4},{}\n", ["plain", "red", "blue"][kind]);
    }
    text
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {value}"))
}

/// Fails unless summary, last epoch and report have the same figures.
#[track_caller]
fn the_same(summary: &Value, epoch: &Value, report: &Value, names: &[&str]) {
    for name in names {
        let test = format!("test_{name}");
        assert!(summary.get(&test).is_some(), "{test} is not in {summary:#}");
        assert_eq!(summary[&test], epoch[&test], "{test}");
        assert_eq!(summary[&test], report[*name], "{name}");
    }
}

#[test]
fn the_figures_on_classes_are_the_same_everywhere() {
    let place = Place::new();
    let _ = place.file("kinds.csv", three_kinds(400));
    let how = "--activation tanh --cost cross-entropy --epochs 20 --eval-every 3";
    let ran = place.nn(&format!("train --data kinds.csv --out run {how}")).ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    let (summary, epochs) = (place.summary("run"), place.metrics("run"));
    let eval = place.nn("eval --model run/model.safetensors --data kinds.csv --json").ok().json();
    let report = &eval["classification"];
    the_same(&summary, &epochs[19], report, &CLASSES);
    for name in CURVES {
        assert_eq!(summary[format!("test_{name}")], report[name], "{name}");
        assert!((0.0..=1.0).contains(&number(report, name)), "{name} in {report}");
        assert!(epochs[19].get(format!("test_{name}")).is_none(), "{name} is only for the end");
    }
    assert_eq!(eval["loss"], summary["test_loss"]);
    // With softmax and cross-entropy, the loss of training is the log loss.
    assert!((number(&summary, "test_loss") - number(report, "log_loss")).abs() < 1e-6, "{summary:#}");
    // An epoch that is not evaluated has the names, and no values.
    for name in CLASSES {
        assert_eq!(epochs[0].get(format!("test_{name}")), Some(&Value::Null), "{name}");
    }
    assert!(number(&summary, "test_accuracy") > 0.7, "{summary:#}");
    assert!(summary.get("test_rmse").is_none() && summary.get("baseline_rmse").is_none(), "{summary:#}");

    // The trivial answer, from what the test samples are.
    let support: Vec<u64> =
        report["classes"].as_array().unwrap().iter().map(|c| c["support"].as_u64().unwrap()).collect();
    let plain = eval["classes"].as_array().unwrap().iter().position(|name| name == "plain").unwrap();
    assert_eq!(number(&summary, "baseline_accuracy"), support[plain] as f64 / 80.0);
    assert_eq!(summary["better_than_baseline"], true);
    let line = ran.stdout.lines().find(|line| line.contains("always answering `plain` gives ")).unwrap();
    assert!(line.starts_with("test accuracy ") && line.ends_with(" %"), "{line}");

    let text = place.nn("eval --model run/model.safetensors --data kinds.csv").ok().stdout;
    for part in
        ["balanced accuracy", "macro F1", "log loss", "ROC AUC", "PR AUC", "Brier score", "calibration"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(text.contains(&format!("{:.5}", number(&summary, "test_loss"))), "{text}");
}

#[test]
fn the_errors_of_numbers_are_the_same_everywhere() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(300));
    let ran = place
        .nn("train --data line.csv --out run --recipe book --standardize no --activation tanh --epochs 30")
        .ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    let (summary, epochs) = (place.summary("run"), place.metrics("run"));
    let eval = place.nn("eval --model run/model.safetensors --data line.csv --json").ok().json();
    the_same(&summary, &epochs[29], &eval["regression"], &NUMBERS);
    assert_eq!(eval["loss"], summary["test_loss"]);
    // The cost is half the squared error.
    let rmse = number(&summary, "test_rmse");
    assert!((rmse * rmse - 2.0 * number(&summary, "test_loss")).abs() < 1e-6, "{summary:#}");
    assert!(number(&summary, "test_r2") > 0.9, "{summary:#}");
    // With R² known, the spread of the targets is, and the mean is hardly better or worse than that.
    let spread = rmse / (1.0 - number(&summary, "test_r2")).sqrt();
    assert!((number(&summary, "baseline_rmse") / spread - 1.0).abs() < 0.05, "{summary:#}");
    assert_eq!(summary["better_than_baseline"], true);
    let epoch = ran.stdout.lines().find(|line| line.starts_with("epoch 30/30")).unwrap();
    assert!(epoch.contains("test R² 0.9") && epoch.contains("  RMSE 0."), "{epoch}");
    assert!(
        ran.stdout.contains("; always answering the mean, 0.") && ran.stdout.contains(", gives RMSE "),
        "{ran:#?}"
    );
    let text = place.nn("eval --model run/model.safetensors --data line.csv").ok().stdout;
    for part in ["RMSE", "MAE", "median error", "R²"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("MSE ") || text.matches("MSE").count() == text.matches("RMSE").count(), "{text}");
}

#[test]
fn outputs_that_are_no_probabilities_are_not_shown_as_percentages() {
    let place = Place::new();
    let _ = place.file("kinds.csv", three_kinds(200));
    let answers = |output: &str| {
        let _ = place
            .nn(&format!("train --quiet --data kinds.csv --out {output} --recipe book --standardize no --output {output} --epochs 9"))
            .ok();
        let model = format!("--model {output}/model.safetensors --data kinds.csv");
        let eval = place.nn(&format!("eval {model}")).ok().stdout;
        let wrong =
            eval.lines().filter(|line| line.contains(", actually ")).map(str::to_owned).collect::<Vec<_>>();
        assert!(!wrong.is_empty(), "one of 40 samples must be wrong to be looked at: {eval}");
        let predict = place.nn(&format!("predict {model} --count 5")).ok().stdout;
        let one = place.nn(&format!("predict {model} --count 1")).ok().stdout;
        (place.summary(output), [wrong.join("\n"), predict, one])
    };
    for output in ["sigmoid", "linear"] {
        let (summary, shown) = answers(output);
        assert!(shown.iter().all(|text| !text.contains('%') && text.contains('.')), "{shown:#?}");
        for name in ["log_loss", "brier", "calibration_error"] {
            assert_eq!(summary.get(format!("test_{name}")), Some(&Value::Null), "{name} of {output}");
        }
        assert!(number(&summary, "test_roc_auc") > 0.5, "scores can be ranked: {summary:#}");
    }
    let (summary, shown) = answers("softmax");
    assert!(shown.iter().all(|text| text.contains(" %")), "{shown:#?}");
    assert!(number(&summary, "test_log_loss") > 0.0, "{summary:#}");
}

/// The options that a warning says to try.
fn remedy(warning: &str) -> String {
    let list = warning.split("Try ").nth(1).unwrap_or_else(|| panic!("no remedy in {warning}"));
    let options: Vec<&str> = list.split(", more ").next().unwrap().split_whitespace().collect();
    assert!(options[0].starts_with("--") && options.len().is_multiple_of(2), "{options:?}");
    options.join(" ")
}

#[test]
fn a_network_no_better_than_the_trivial_answer_is_said_aloud_with_a_remedy_that_works() {
    let place = Place::new();
    // Features far from 0 to 1 saturate the default network.
    let far: String = three_kinds(300)
        .lines()
        .enumerate()
        .map(|(at, line)| match line.split(',').collect::<Vec<_>>()[..] {
            [x, y, kind] if at > 0 => {
                let [x, y] = [x, y].map(|v| v.parse::<f64>().unwrap() * 30.0 + 700.0);
                format!("{x:.3},{y:.3},{kind}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let _ = place.file("far.csv", far);
    let _ = place.file("line.csv", linear_csv(300));
    for (data, how, trivial) in [
        ("kinds.csv", "--learning-rate 0.0001 --epochs 1", "always answering `plain`"),
        ("far.csv", "--epochs 3", "always answering `plain`"),
        ("line.csv", "--learning-rate 0.000001 --epochs 2", "always answering the mean, 0."),
    ] {
        let _ = place.file("kinds.csv", three_kinds(300));
        let train =
            format!("train --quiet --overwrite --data {data} --out run --recipe book --standardize no {how}");
        let ran = place.nn(&train).ok();
        assert!(ran.stdout.is_empty(), "{ran:#?}");
        // While it ran there may have been another.
        assert!(ran.stderr.lines().all(|line| line.starts_with("warning: ")), "{ran:#?}");
        assert_eq!(ran.stderr.lines().filter(|line| line.contains("NO BETTER")).count(), 1, "{ran:#?}");
        for part in ["warning: ", "NO BETTER", trivial, "more --epochs", "--label-column"] {
            assert!(ran.stderr.contains(part), "{part} is not in {ran:#?}");
        }
        assert_eq!(place.summary("run")["better_than_baseline"], false);
        if data == "far.csv" {
            continue; // scaling the columns is what helps there
        }
        let options = remedy(&ran.stderr);
        let ran = place
            .nn(&format!("train --quiet --overwrite --data {data} --out again {options} --epochs 30"))
            .ok();
        assert!(ran.stderr.is_empty(), "{options} does not help: {ran:#?}");
        assert_eq!(place.summary("again")["better_than_baseline"], true);
    }
}

#[test]
fn accuracy_that_the_balanced_accuracy_contradicts_is_called_by_its_name() {
    let place = Place::new();
    // Nine in ten are `no`, and nothing tells them apart: the best network answers `no`.
    let text: String = (0..400)
        .map(|row| format!("{:.3},{}\n", noise(row), if row % 10 == 0 { "yes" } else { "no" }))
        .collect();
    let _ = place.file("rare.csv", format!("a,label\n{text}"));
    let ran = place.nn("train --data rare.csv --out run --epochs 5").ok();
    assert!(
        ran.stderr.contains("NO BETTER than the trivial answer")
            && ran.stderr.contains("always answering `no`"),
        "{ran:#?}"
    );
    assert!(ran.stdout.contains("the model is in run/model.safetensors"), "{ran:#?}");
    let summary = place.summary("run");
    assert!(number(&summary, "test_accuracy") > 0.85 && number(&summary, "test_balanced_accuracy") < 0.55);
    assert_eq!(summary["better_than_baseline"], json!(false));
}

#[test]
fn a_resumed_run_that_was_complete_has_all_figures() {
    let place = Place::new();
    let _ = place.file("kinds.csv", three_kinds(200));
    let train = "train --quiet --data kinds.csv --out run --output softmax --epochs 6";
    let _ = place.nn(train).ok();
    let before = place.summary("run");
    let _ = place.nn(&format!("{train} --resume")).ok();
    let after = place.summary("run");
    for name in CLASSES.iter().chain(&CURVES) {
        let name = format!("test_{name}");
        assert_eq!(after[&name], before[&name], "{name}");
    }
    assert_eq!(after["test_loss"], before["test_loss"]);
}
