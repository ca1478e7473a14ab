//! The progress of a run in `nn status` and in the coordinator's output.

use std::io::{Read as _, Write as _};

use crate::common::Place;
use crate::process::{Coord, LONG, Process, alone, until};

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

#[test]
fn a_watched_run_is_shown_until_the_watcher_or_the_coordinator_ends() {
    let place = Place::new();
    let mut coord = Coord::start(&place, &format!("--min-workers 1 {LONG}"));
    let watch = |arguments: &str| {
        let arguments = format!("status --coordinator {} --watch {arguments}", coord.url());
        Process::start(&place, env!("CARGO_BIN_EXE_nn"), &[], &arguments)
    };
    let (mut lines, mut json) = (watch("0.1"), watch("0.1 --json"));
    lines.says("waiting for 1 worker");
    json.says("\"state\":\"waiting\"");
    let worker = coord.worker(&place, "--name ada");
    lines.says("samples/s");
    json.says("\"state\":\"training\"");
    coord.epochs(&place, 3);
    lines.signal("TERM");
    assert_eq!(lines.ended().code, Some(0));
    coord.process.child.kill().unwrap();
    let ran = json.ended();
    ran.refused(4, &["no longer answers", "when it last did: epoch ", "summary.json"]);
    let steps: Vec<u64> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap())
        .collect();
    assert!(steps.len() >= 2 && steps.is_sorted(), "{steps:?}");
    for wrong in ["0", "-1", "x", "4000"] {
        place.nn(&format!("status --coordinator {} --watch={wrong}", coord.url())).refused(2, &["--watch"]);
    }
    drop(worker);
}

#[test]
fn prometheus_sees_the_workers_of_a_cluster() {
    let place = Place::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut coord = Coord::start(&place, &format!("--min-workers 2 --metrics-listen {address} {LONG}"));
    coord.process.says(&format!("figures for Prometheus are at http://{address}/metrics"));
    let ask = || {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask().contains("nn_workers{state=\"computing\"} 0\n"), "{}", ask());
    let ada = coord.worker(&place, "--name ada");
    let grace = coord.worker(&place, "--name grace");
    coord.epochs(&place, 3);
    // What is told of the workers is up to a quarter of a second old.
    let parts =
        ["nn_worker_silent_seconds{worker=\"", "name=\"ada\"}", "name=\"grace\"}", "nn_waiting_seconds "];
    let story = || coord.process.story();
    until("figures of both workers", story, || parts.iter().all(|part| ask().contains(part)).then_some(()));
    let text = ask();
    let sent = |text: &str| -> f64 {
        let line =
            text.lines().find_map(|line| line.strip_prefix("nn_network_bytes_total{direction=\"sent\"} "));
        line.unwrap().parse().unwrap()
    };
    // Those of a worker that is gone count on.
    let before = sent(&text);
    assert!(before > 0.0);
    ada.kill();
    let story = || coord.process.story();
    until("one worker less", story, || (!ask().contains("name=\"ada\"")).then_some(()));
    assert!(sent(&ask()) >= before);
    drop(grace);
}
