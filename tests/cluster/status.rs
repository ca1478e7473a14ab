//! What a run is at, as `nn status` and the coordinator tell it.

use crate::common::Place;
use crate::process::{Coord, LONG, alone, until};

#[test]
fn whom_it_waits_for_is_said_and_the_status_shows_it() {
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
fn the_status_of_a_run() {
    let place = Place::new();
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {LONG}"));
    let workers = ["ada", "grace"].map(|name| coord.worker(&place, &format!("--name {name}")));
    coord.epochs(&place, 3);
    let story = || coord.process.story();
    // Three epochs of twelve steps each are over. (While the test samples are looked at, the last answer is given.)
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
