//! `nn plan`, and what `nn-coord` says about time, with the real programs.

mod common;
#[allow(dead_code, unused_imports, clippy::disallowed_methods)] // the tests of the cluster use the rest
#[path = "cluster/process.rs"]
mod process;

use common::{Place, Ran};
use process::{Coord, free};
use serde_json::Value;

/// A link so slow that the smallest network does not pay, one that no network notices, and a network that is worth sharing.
const SLOW: &str = "--link 1mbit";
const FAST: &str = "--link 1000gbit --latency 0";
const LARGE: &str = "--recipe book --hidden 700,700 --batch-size 1024 --threads 1";

fn plan(place: &Place, arguments: &str) -> Ran {
    place.nn(&format!("plan {arguments}"))
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_plan_fits_80_columns_and_writes_nothing() {
    let place = Place::new();
    let text = plan(&place, "--workers 16 --link 1gbit").ok();
    assert_eq!(text.stderr, "");
    for line in text.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for part in [
        "one machine, ",
        "synchronous, each step\n",
        "rounds, each round, of ",
        "pays from",
        "Advice: ",
        "Not known: accuracy.",
        "784-128-10 on MNIST",
    ] {
        assert!(text.stdout.contains(part), "{part:?} is not in\n{}", text.stdout);
    }
    // Each table has rows for 2, 4, 8 and 16 workers.
    for workers in ["      2 ", "      4 ", "      8 ", "     16 "] {
        assert_eq!(text.stdout.lines().filter(|line| line.starts_with(workers)).count(), 2, "{workers:?}");
    }
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn json_has_the_bytes_and_the_times() {
    let place = Place::new();
    let json = plan(&place, "--json --workers 4 --epochs 3 --link 12.5MB/s --latency 0.5ms").ok().json();
    assert_eq!(json["layers"], serde_json::json!([64, 30, 10]));
    assert_eq!((number(&json["parameters"]), &json["network"]["measured"]), (2260.0, &Value::Bool(false)));
    assert_eq!(number(&json["network"]["up_bytes_per_second"]), 12.5e6);
    assert_eq!(number(&json["network"]["latency_seconds"]), 0.5e-3);
    let alone = number(&json["one_machine"]["samples_per_second"]);
    assert!((alone * number(&json["one_machine"]["step_seconds"]) / 10.0 - 1.0).abs() < 1e-9, "{json:#}");
    // Nine blocks of a difference, of which the compact form takes a part.
    let compact = &json["costs"]["compact"];
    let of_blocks = |part: &Value| {
        assert!((0.3..1.0).contains(&number(part)), "{compact:#}");
        9.0 * 257.0 * number(part)
    };
    let equal =
        |got: &Value, want: f64| assert!((number(got) / want - 1.0).abs() < 1e-9, "{got}, not {want}");
    let in_rounds = ("rounds", of_blocks(&compact["up"]), of_blocks(&compact["down"]));
    for (mode, up, down) in [("synchronous", 9040.0, 9040.0), in_rounds] {
        let rows = json[mode].as_array().unwrap();
        let workers: Vec<f64> = rows.iter().map(|row| number(&row["workers"])).collect();
        assert_eq!(workers, [2.0, 4.0], "{json:#}");
        for row in rows {
            let workers = number(&row["workers"]);
            equal(&row["worker_down"], down);
            equal(&row["coordinator_down"], down * workers);
            if mode == "rounds" {
                equal(&row["worker_up"], up);
                assert_eq!(row["replicas"], row["workers"]);
                assert_eq!(row["times_sooner"].as_array().unwrap().len(), 2, "{row:#}");
            }
            // Two messages of half a millisecond, and the bytes of one direction at 12.5 MB/s.
            let least = 3e-3 + number(&row["coordinator_down"]) / 12.5e6;
            assert!(number(&row["seconds"]) > least, "{row:#}");
            let times = number(&row["samples_per_second"]) / alone;
            assert!((times / number(&row["times_one_machine"]) - 1.0).abs() < 1e-9, "{row:#}");
            assert!(["computing", "link", "latency", "summing"].contains(&row["bound"].as_str().unwrap()));
        }
    }
    assert!(json["advice"].as_str().unwrap().starts_with("Advice: "), "{json:#}");
}

#[test]
fn advice_follows_the_network() {
    let place = Place::new();
    let stay = plan(&place, &format!("{SLOW} --workers 4")).ok().stdout.replace('\n', " ");
    assert!(stay.contains("one machine is faster than this network can help: stay."), "{stay}");
    // Which of computing and summing takes longer is measured, and a busy machine measures it badly. The network it is not.
    let json = plan(&place, &format!("--json {FAST} --workers 4 {LARGE}")).ok().json();
    let four = json["synchronous"].as_array().unwrap().last().unwrap();
    let bound = four["bound"].as_str().unwrap();
    assert!(["computing", "summing"].contains(&bound), "{four:#}");
    let stays = json["advice"].as_str().unwrap().contains("stay");
    assert_eq!(json["best"].is_null(), stays, "{json:#}");
    // A run with replicas of its own keeps them, whatever the workers.
    let fixed = plan(&place, &format!("--json {SLOW} --workers 4 --rounds 5 --replicas 8")).ok().json();
    for row in fixed["rounds"].as_array().unwrap() {
        assert_eq!(number(&row["replicas"]), 8.0, "{row:#}");
    }
}

#[test]
fn a_plan_takes_the_options_of_a_run() {
    let place = Place::new();
    place.file("run.toml", "hidden = [12]\nbatch-size = 20\n");
    let json = plan(&place, &format!("--json {SLOW} --config run.toml --workers 2")).ok().json();
    assert_eq!(json["layers"], serde_json::json!([64, 12, 10]));
    assert_eq!(json["batch_size"], 20);
    let printed = plan(&place, &format!("{SLOW} --config run.toml --print-config")).ok().stdout;
    assert!(printed.contains("batch-size = 20"), "{printed}");
    let _ = place.nn("train --quiet --epochs 1 --hidden 12 --out base").ok();
    let said = plan(&place, &format!("{SLOW} --workers 2 --from base/model.safetensors")).ok().stdout;
    assert!(said.contains("weights from base/model.safetensors ("), "{said}");
    plan(&place, &format!("{SLOW} --data nowhere.csv")).refused(3, &["nowhere.csv"]);
}

#[test]
fn bad_networks_are_wrong_usage() {
    let place = Place::new();
    for (arguments, part) in [
        ("", "nn plan needs to know the network"),
        ("--link fast", "expected a speed such as 100mbit"),
        ("--link 1gb", "may mean bits or bytes: write gbit, or GB/s"),
        ("--link 0gbit", "--link must be at least 10kbit"),
        ("--link -1gbit", "expected a speed"),
        ("--link 1gbit --latency 5", "a number needs its unit"),
        ("--link 1gbit --latency 1min", "expected a time such as 0.5ms"),
        ("--link 1gbit --workers 1", "--workers must be at least 2"),
        ("--link 1gbit --worker-speed 0", "--worker-speed must be a number above 0"),
        ("--link 1gbit --coordinator localhost", "--link and --coordinator"),
        ("--coordinator localhost --latency 1ms", "--latency has no effect with --coordinator"),
        ("--link 1gbit --token-file x", "no effect without --coordinator"),
        ("--link 1gbit --replicas 4", "no effect without --rounds"),
        ("--link 1gbit --rounds auto --replicas 3", "must be a power of two"),
    ] {
        plan(&place, arguments).refused(2, &[part]);
    }
    plan(&place, &format!("--coordinator {}", free())).refused(4, &["refused"]);
}

#[test]
fn the_way_to_a_coordinator_is_measured() {
    let place = Place::new();
    let coord = Coord::start(&place, "--hidden 8 --epochs 1");
    let ran = plan(&place, &format!("--json --workers 2 --coordinator {}", coord.address)).ok();
    assert!(ran.stderr.contains("is on this machine"), "{ran:#?}");
    let json = ran.json();
    assert_eq!(json["network"]["measured"], true);
    for way in ["up_bytes_per_second", "down_bytes_per_second"] {
        assert!(number(&json["network"][way]) > 1e6, "{json:#}");
    }
    assert!((0.0..1.0).contains(&number(&json["network"]["latency_seconds"])), "{json:#}");
}

#[test]
fn a_coordinator_says_what_a_run_will_take_and_took() {
    let place = Place::new();
    let mut coord = Coord::start(&place, "--hidden 8 --epochs 1 --link 100kbit --min-workers 2");
    let said = coord.process.stderr();
    for part in ["with 2 workers and a link of 100kbit this run will be slower than one machine", "a step"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("assumed"), "{said}");
    let workers = [coord.worker(&place, ""), coord.worker(&place, "")];
    let told = coord.process.ends_well().stdout;
    assert!(
        told.contains("a step took ") && told.contains("one such worker alone would take about"),
        "{told}"
    );
    assert!(number(&place.summary("net")["cluster"]["work_seconds"]) > 0.0);
    drop(workers);

    // On this machine nothing is assumed.
    let place = Place::new();
    let mut coord = Coord::start(&place, "--hidden 8 --epochs 2 --rounds auto --replicas 2 --spawn 2");
    let ran = coord.process.ends_well();
    assert!(ran.stdout.contains("a round of ") && !ran.stdout.contains("worker alone"), "{ran:#?}");
    assert_eq!(ran.stderr, "");
}
