//! `nn lr-find`, with the real program.

mod common;

use common::Place;
use serde_json::Value;

const NETWORK: &str = "--hidden 64 --batch-size 32 --optimizer sgd --epochs 3";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_curve_is_the_same_for_any_number_of_threads_and_writes_nothing() {
    let place = Place::new();
    for network in [NETWORK, "--hidden 300,200 --batch-size 256 --dropout 0.2 --clip-norm 1", "--recipe book"]
    {
        let find = |threads: usize| {
            place.nn(&format!("lr-find --json --steps 120 --threads {threads} {network}")).ok().stdout
        };
        let want = find(1);
        for threads in [2, 3] {
            assert_eq!(find(threads), want, "{network} on {threads} threads");
        }
    }
    assert_eq!(place.files(), Vec::<String>::new());
}

/// The search begins with the weights of the model.
#[test]
fn a_search_begins_with_the_model() {
    let place = Place::new();
    place.nn("train --quiet --epochs 10 --threads 1 --out base").ok();
    let first = |from: &str| {
        let json = place.nn(&format!("lr-find --json --steps 40 --lowest-rate 1e-3 {from}")).ok().json();
        number(&json["steps"][0]["loss"])
    };
    let (drawn, brought) = (first(""), first("--from base/model.safetensors"));
    assert!(brought < 0.1 * drawn, "{brought} and {drawn}");
    let said = place.nn("lr-find --steps 40 --from base/model.safetensors").ok().stdout;
    assert!(said.contains("weights from base/model.safetensors ("), "{said}");
}

#[test]
fn the_figures_are_those_of_a_range_test() {
    let place = Place::new();
    let json = place.nn(&format!("lr-find --json {NETWORK}")).ok().json();
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(
        (&json["exploded"], &json["optimizer"], &json["batch_size"]),
        (&true.into(), &"sgd".into(), &32.into())
    );
    assert!((100..300).contains(&steps.len()), "{}", steps.len());
    let rates: Vec<f64> = steps.iter().map(|step| number(&step["learning_rate"])).collect();
    assert!((rates[0] / 1e-5 - 1.0).abs() < 1e-6, "{}", rates[0]);
    let ratio = 1e7_f64.powf(1.0 / 299.0);
    assert!(rates.windows(2).all(|pair| (pair[1] / pair[0] / ratio - 1.0).abs() < 1e-5));
    // The first steps hardly change the weights, so their losses are those of the initial ones.
    assert!((number(&steps[0]["loss"]) - 10_f64.ln()).abs() < 1.0, "{}", steps[0]);
    let [suggested, lowest, steepest] =
        ["suggested_learning_rate", "lowest_loss_at", "steepest_fall_at"].map(|name| number(&json[name]));
    assert!(steepest < lowest && steepest > lowest / 1e4, "{steepest} {lowest}");
    let (want, reason) = if steepest > lowest / 10.0 {
        (steepest, "steepest-fall")
    } else {
        (lowest / 10.0, "tenth-of-lowest-loss")
    };
    assert!(
        (suggested / want - 1.0).abs() < 0.06 && json["reason"] == reason,
        "{suggested} {lowest} {steepest}"
    );
    let smoothed = |at: f64| {
        let step = rates.iter().position(|rate| *rate >= at * 0.99).unwrap();
        number(&steps[step]["smoothed_loss"])
    };
    assert!(smoothed(lowest) < 0.7 * smoothed(1e-5));
    // The rates of the test do not depend on the run's own, nor on its schedule.
    let other = format!("lr-find --json {NETWORK} --learning-rate 7 --schedule cosine --warmup-steps 5");
    let other = place.nn(&other).ok().json();
    assert_eq!((&other["steps"], &other["learning_rate"]), (&json["steps"], &7.0.into()));
}

#[test]
fn a_run_at_the_suggested_rate_learns_more_than_at_a_hundredth_or_at_a_hundred_times() {
    for network in ["--hidden 64 --batch-size 32 --optimizer sgd", "--recipe book --epochs 20", "--hidden 64"]
    {
        let place = Place::new();
        let json = place.nn(&format!("lr-find --json {network}")).ok().json();
        let suggested = number(&json["suggested_learning_rate"]);
        let accuracy = |rate: f64| {
            let ran =
                place.nn(&format!("train --quiet --out run --overwrite {network} --learning-rate {rate}"));
            // A rate that is far too high may end in a divergence.
            if ran.code == Some(0) { number(&place.summary("run")["test_accuracy"]) } else { 0.0 }
        };
        let [low, good, high] = [suggested / 100.0, suggested, suggested * 100.0].map(accuracy);
        assert!(
            good > 0.8 && good > low + 0.2 && good > high + 0.2,
            "{network}: {low} {good} {high} at {suggested}"
        );
    }
}

#[test]
fn a_report_fits_80_columns_and_says_what_is_suggested() {
    let place = Place::new();
    let json = place.nn(&format!("lr-find --json {NETWORK}")).ok().json();
    let ran = place.nn(&format!("lr-find --plot pictures/rates.svg {NETWORK}")).ok();
    assert_eq!(ran.stderr, "");
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    let suggested = format!("suggested: --learning-rate {}, ", number(&json["suggested_learning_rate"]));
    for part in [
        &suggested,
        "the loss is lowest",
        "the loss explodes at",
        "this run's own rate is 0.1\n",
        "the picture is in pictures/rates.svg",
        "1e-4",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} is not in\n{}", ran.stdout);
    }
    assert_eq!(place.files(), ["pictures/rates.svg"]);
    let picture = std::fs::read_to_string(place.at("pictures/rates.svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
    for tag in ["g", "title", "text", "clipPath"] {
        let count = |what: &str| picture.matches(what).count();
        assert_eq!(
            count(&format!("<{tag}>")) + count(&format!("<{tag} ")),
            count(&format!("</{tag}>")),
            "{tag}"
        );
    }
    let dots = picture.matches("<circle").count();
    assert!((100..=300).contains(&dots) && !picture.contains("NaN"), "{dots}");
    assert!(picture.contains(&suggested) && picture.contains("the loss is lowest"), "{picture}");
}

#[test]
fn a_loss_that_never_falls_gives_no_suggestion() {
    let place = Place::new();
    let range = "--lowest-rate 1e-9 --highest-rate 1e-7 --steps 60 --batch-size 1000";
    let ran = place.nn(&format!("lr-find {range} --plot none.svg")).ok();
    assert!(ran.stdout.contains("no suggestion: the loss does not fall"), "{}", ran.stdout);
    assert!(std::fs::read_to_string(place.at("none.svg")).unwrap().contains("no suggestion"));
    let json = place.nn(&format!("lr-find {range} --json")).ok().json();
    assert_eq!((&json["suggested_learning_rate"], &json["exploded"]), (&Value::Null, &false.into()));
}

#[test]
fn what_cannot_be_tested_is_refused() {
    let place = Place::new();
    let _ = place.file("taken", "a file");
    for (arguments, code, says) in [
        ("--lowest-rate 0", 2, "--lowest-rate must be a number above 0"),
        ("--lowest-rate 1 --highest-rate 0.5", 2, "--highest-rate must be above --lowest-rate, 1, not 0.5"),
        ("--steps 5", 2, "--steps must be at least 20"),
        ("--steps many", 2, "--steps"),
        ("--rounds auto", 2, "--rounds does not go with it"),
        ("--data nowhere.csv", 3, "nowhere.csv"),
        ("--plot taken/rates.svg", 1, "cannot write taken/rates.svg"),
        ("--schedule plateau", 2, "but there are none"),
    ] {
        place.nn(&format!("lr-find {arguments}")).refused(code, &[says]);
    }
}
