//! The progress of a run in `nn status` and in the coordinator's output.

use std::io::{Read as _, Write as _};

use crate::common::{Place, figure, promtool};
use crate::process::{self, Coord, LONG, Process, alone, free, until};

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

/// The figures for Prometheus at an address.
fn figures(address: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).unwrap();
    let (head, text) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    text.to_owned()
}

#[test]
fn prometheus_sees_the_workers_of_a_cluster() {
    let place = Place::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut coord = Coord::start(&place, &format!("--min-workers 2 --metrics-listen {address} {LONG}"));
    coord.process.says(&format!("figures for Prometheus are at http://{address}/metrics"));
    let ask = || figures(&address);
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
    promtool(&text);
    let sent = |text: &str| figure(text, "nn_network_bytes_total{direction=\"sent\"}").unwrap();
    // Those of a worker that is gone count on.
    let before = sent(&text);
    assert!(before > 0.0);
    ada.kill();
    let story = || coord.process.story();
    until("one worker less", story, || (!ask().contains("name=\"ada\"")).then_some(()));
    assert!(sent(&ask()) >= before);
    drop(grace);
}

#[test]
fn prometheus_sees_what_a_worker_does() {
    let place = Place::new();
    let address = free();
    let arguments = "--epochs 3 --batch-size 200 --shard-size 16";
    let options = "--name ada --stay --metrics-listen 127.0.0.1:0";
    let mut worker = process::worker(&place, &[], &format!("http://{address}"), options);
    let words = "figures for Prometheus are at http://";
    worker.says(words);
    let (_, port) = worker.stderr().split_once(words).map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let port = port.split('/').next().unwrap().to_owned();
    let until_it_says = |what: &str, ready: &dyn Fn(&str) -> bool| {
        until(what, || worker.story(), || Some(figures(&port)).filter(|text| ready(text)))
    };
    let has = |text: &str, name: &str, wanted: f64| figure(text, name) == Some(wanted);
    let text = until_it_says("a failed attempt", &|text| {
        figure(text, "nn_coordinator_attempts_failed_total").is_some_and(|failed| failed > 0.0)
    });
    assert!(has(&text, "nn_worker_state{state=\"connecting\"}", 1.0), "{text}");
    assert!(!text.contains("nn_coordinator_silent_seconds"), "{text}");

    let coord = Coord::at(&place, &address, arguments);
    let text = until_it_says("the end of the run", &|text| has(text, "nn_runs_ended_total", 1.0));
    let wanted = alone(&place, arguments);
    assert_eq!(coord.hash(&place), wanted, "figures change nothing");
    // It was the only one that computed.
    let steps = place.summary("net")["steps"].as_f64().unwrap();
    for (name, wanted) in [
        ("nn_computed_steps_total", steps),
        ("nn_coordinator_connections_total", 1.0),
        ("nn_coordinator_connections_lost_total", 0.0),
        ("nn_contributions_refused_total", 0.0),
        ("nn_worker_info{name=\"ada\"}", 1.0),
    ] {
        assert!(has(&text, name, wanted), "{name} is not {wanted}: {text}");
    }
    let value = |name: &str| figure(&text, name).unwrap_or_else(|| panic!("no {name}: {text}"));
    let counted = place.log("net").into_iter().filter_map(|line| line["samples"].as_f64()).sum::<f64>();
    assert!(counted > 0.0 && value("nn_computed_samples_total") == counted, "{counted}: {text}");
    assert!(value("nn_part_duration_seconds_count") >= steps, "{text}");
    assert!(value("nn_coordinator_silent_seconds") >= 0.0);
    // Each step it receives weights and sends a gradient: 64-30-10 has 2260 parameters of four bytes.
    for direction in ["sent", "received"] {
        let bytes = value(&format!("nn_network_bytes_total{{direction=\"{direction}\"}}"));
        assert!(bytes >= 4.0 * 2260.0 * (steps - 1.0), "{direction} {bytes}: {text}");
    }
    promtool(&text);

    // A coordinator that dies is a connection that is lost.
    let coord = Coord::at(&place, &address, &format!("--overwrite {LONG}"));
    let _ = until_it_says("work again", &|text| {
        has(text, "nn_worker_state{state=\"ready\"}", 1.0)
            && has(text, "nn_coordinator_connections_total", 2.0)
    });
    coord.process.kill();
    let _ = until_it_says("that it is lost", &|text| {
        has(text, "nn_worker_state{state=\"connecting\"}", 1.0)
            && has(text, "nn_coordinator_connections_lost_total", 1.0)
    });
    worker.signal("TERM");
    let _ = worker.ends_well();
    // A port in use, one that is open to others, and what is no address.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for (options, code, part) in [
        (
            format!("--metrics-listen {taken}"),
            4,
            format!("cannot listen on {taken}: another program uses that port"),
        ),
        ("--metrics-listen 0.0.0.0:0".into(), 2, "--metrics-insecure".into()),
        ("--metrics-listen nonsense".into(), 2, "--metrics-listen nonsense is not an address".into()),
        ("--metrics-insecure".into(), 2, "--metrics-insecure has no effect without --metrics-listen".into()),
    ] {
        let mut worker = process::worker(&place, &[], "127.0.0.1:9", &format!("--retry-seconds 0 {options}"));
        worker.ended().refused(code, &[&part]);
    }
}
