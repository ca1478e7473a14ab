//! The progress of a run in `nn status` and in the coordinator's output.

use crate::common::Place;
use crate::process::{Coord, LONG, alone, until};

#[test]
fn a_waiting_coordinator_says_what_it_waits_for() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 200";
    let coord = Coord::start(&place, &format!("--min-workers 2 {arguments}"));
    let mut first = coord.worker(&place, "--name ada");
    first.says("computing");
    coord.process.says("waiting for 2 workers");
    let story = || coord.process.story();
    let status = until("a worker in the status", story, || {
        coord.status(&place).filter(|status| status["workers"].as_array().is_some_and(|w| w.len() == 1))
    });
    assert_eq!(status["workers"][0]["name"], "ada", "{status}");
    assert_eq!(status["workers"][0]["threads"], 1, "{status}");
    assert_eq!(status["state"], "waiting", "{status}");
    assert_eq!(status["step"], 0, "{status}");
    assert!(status["waiting_for"].as_str().unwrap().contains("2 workers"), "{status}");
    let text = place.nn(&format!("status --coordinator {}", coord.url())).ok().stdout;
    for part in ["waiting for", "worker", "address", "samples/s", "ada", "127.0.0.1:"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut second = coord.worker(&place, "--name grace");
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    for worker in [&mut first, &mut second] {
        let _ = worker.ends_well();
    }
}

#[test]
fn the_status_shows_the_progress_of_a_run_and_its_workers() {
    let place = Place::new();
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {LONG}"));
    let workers = ["ada", "grace"].map(|name| coord.worker(&place, &format!("--name {name}")));
    coord.epochs(&place, 3);
    let story = || coord.process.story();
    // Three epochs of twelve steps each are over. (During an evaluation the status is the one before it.)
    let status = until("a run in the status", story, || {
        coord.status(&place).filter(|status| status["step"].as_u64().unwrap() >= 36)
    });
    assert_eq!(status["state"], "training", "{status}");
    let mut names: Vec<&str> =
        status["workers"].as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ada", "grace"], "{status}");
    let text = place.nn(&format!("status --coordinator {}", coord.url())).ok().stdout;
    for part in ["epoch ", "step ", "samples/s", "ada", "grace"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    drop(workers);
}
