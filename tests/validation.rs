//! Validation samples choose, test samples do not; a time becomes epochs; and a run that stands still says so.

#[path = "common/mod.rs"]
mod common;

use common::{Place, Ran, linear_csv};

#[test]
fn without_validation_samples_nothing_is_chosen_and_with_them_the_best_is() {
    let place = Place::new();
    let ran = place.nn("train --epochs 2 --out plain").ok();
    assert!(ran.stdout.contains("  test accuracy ") && !ran.stdout.contains("validation"), "{ran:#?}");
    assert!(!place.at("plain/checkpoints/best.safetensors").exists());
    assert!(place.metrics("plain")[0].get("validation_loss").is_none());
    let ran = place.nn("train --epochs 2 --eval-every 2 --validation-fraction 0.2 --out run").ok();
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("epoch")).collect();
    assert!(lines[1].contains("  validation loss ") && !lines[1].contains("test"), "{ran:#?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{ran:#?}");
    let (metrics, summary) = (place.metrics("run"), place.summary("run"));
    assert!(metrics[0]["validation_loss"].is_null() && metrics[0]["validation_accuracy"].is_null());
    for name in ["loss", "accuracy", "macro_f1", "balanced_accuracy"].map(|name| format!("validation_{name}"))
    {
        assert!(metrics[1][&name].is_f64(), "{name}");
        assert_eq!(metrics[1][&name], summary[&name], "{name}");
    }
    assert_eq!(summary["best_epoch"], 2);
    assert_eq!(summary["best_validation_loss"], summary["validation_loss"]);
    // A regression chooses by its loss.
    let _ = place.file("line.csv", linear_csv(300));
    let _ = place.nn("train --quiet --data line.csv --epochs 6 --validation-fraction 0.2 --out line").ok();
    let losses: Vec<f64> =
        place.metrics("line").iter().map(|line| line["validation_loss"].as_f64().unwrap()).collect();
    let least = losses.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!(place.summary("line")["best_validation_loss"].as_f64(), Some(least), "{losses:?}");
}

#[test]
fn early_stopping_takes_a_tenth_for_validation_by_itself() {
    let place = Place::new();
    let ran = place.nn("train --epochs 3 --early-stopping 9 --out run").ok();
    assert!(ran.stdout.contains("--early-stopping takes a tenth of the training samples"), "{ran:#?}");
    let _ = place.nn("train --quiet --epochs 3 --validation-fraction 0.1 --out same").ok();
    assert_eq!(place.summary("run")["data_sha256"], place.summary("same")["data_sha256"]);
    let _ = place.nn("train --quiet --epochs 3 --early-stopping 9 --validation-fraction 0.3 --out more").ok();
    assert_ne!(place.summary("run")["data_sha256"], place.summary("more")["data_sha256"]);
    place.nn("train --early-stopping 0").refused(2, &["--early-stopping"]);
}

#[test]
fn a_time_becomes_epochs_which_give_the_same_weights_without_it() {
    let place = Place::new();
    let epochs = |ran: &Ran| -> u64 {
        let rest = ran.stdout.split("--epochs ").nth(1).unwrap_or_else(|| panic!("{ran:#?}"));
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    // The schedule knows the epochs.
    let how = "--data digits --recipe auto --hidden 40";
    let ran = place.nn(&format!("train --max-seconds 1 --out run {how}")).ok();
    assert!(ran.stdout.contains("--max-seconds 1: an epoch takes about "), "{ran:#?}");
    let measured = epochs(&ran);
    let summary = place.summary("run");
    assert_eq!(summary["epochs"], measured);
    let seconds = summary["wall_seconds"].as_f64().unwrap();
    assert!((0.2..30.0).contains(&seconds), "{seconds}"); // the machine may be busy, now or then
    let _ = place.nn(&format!("train --quiet --epochs {measured} --out again {how}")).ok();
    assert_eq!(place.hash("again"), place.hash("run"));
    assert_eq!(place.summary("again")["config_hash"], summary["config_hash"]);
    // A run that is resumed is not measured again.
    let ran = place.nn("train --resume --out run").ok();
    assert!(!ran.stdout.contains("max-seconds"), "{ran:#?}");
    let ran = place.nn("train --resume --out run --max-seconds 50").ok();
    assert!(ran.stdout.contains("--max-seconds 50 has no effect"), "{ran:#?}");
    assert_eq!(place.hash("run"), place.hash("again"));
    // --epochs is the most.
    let ran = place.nn("train --max-seconds 100 --epochs 2 --out few").ok();
    assert_eq!((epochs(&ran), &place.summary("few")["epochs"]), (2, &2.into()), "{ran:#?}");
}

/// Each run stands still for another reason. The remedy is one that `nn train` takes.
#[test]
fn a_run_that_stands_still_says_why_while_it_runs() {
    let place = Place::new();
    for (arguments, says, remedy) in [
        (
            "--hidden 30,30,30,30,30 --epochs 5",
            "no better than the 0.44999 of a constant answer",
            "--recipe auto",
        ),
        (
            "--hidden 100 --recipe book --learning-rate 1e-9 --epochs 3",
            "the gradients have vanished",
            "--recipe auto",
        ),
        (
            "--activation relu --output linear --optimizer adam --learning-rate 5 --epochs 2",
            "units of hidden layer 1 are dead",
            "--learning-rate 0.5 --init he",
        ),
    ] {
        let ran = place.nn(&format!("train --quiet --out run --overwrite {arguments}")).ok();
        let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains("NO BETTER")).collect();
        assert_eq!(lines.len(), 1, "{arguments}: {ran:#?}");
        assert!(lines[0].starts_with("warning: ") && lines[0].contains(says), "{arguments}: {ran:#?}");
        assert!(lines[0].ends_with(&format!("; try {remedy}")), "{arguments}: {ran:#?}");
        let ran = place.nn(&format!("train --quiet --out well --overwrite --epochs 9 {remedy}")).ok();
        if remedy == "--recipe auto" {
            assert!(ran.stderr.is_empty(), "{ran:#?}");
        }
    }
    // The loss of a run that learns too fast, on numbers.
    let _ = place.file("line.csv", linear_csv(300));
    let fast =
        "--data line.csv --hidden none --optimizer sgd --schedule constant --learning-rate 0.0001 --epochs 3";
    let ran = place.nn(&format!("train --quiet --out slow {fast}")).ok();
    assert!(!ran.stderr.contains("has risen"), "{ran:#?}");
    for quiet in ["", "--validation-fraction 0.1", "--recipe auto --epochs 12"] {
        let ran = place.nn(&format!("train --quiet --out fine --overwrite {quiet}")).ok();
        assert!(ran.stderr.is_empty(), "{quiet}: {ran:#?}");
    }
}
