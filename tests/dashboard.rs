//! The page of runs, as its server tells it; `tests/browser/dashboard.py` looks at it in a browser. Real programs, sockets and files.

#![allow(clippy::disallowed_methods)] // the clock, for limits on waiting

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Place, linear_csv};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program with a page, which is killed when it is dropped.
struct Shown {
    child: Child,
    address: String,
}

impl Shown {
    /// Starts the program, and waits until it says the address of its page.
    fn start(place: &Place, arguments: &str) -> Self {
        let mut command = place.command(arguments.split_whitespace());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find_map(|line| {
            let (_, url) = line.split_once("://127.0.0.1:")?;
            let port: String = url.chars().take_while(char::is_ascii_digit).collect();
            Some(format!("127.0.0.1:{port}"))
        });
        // It must not wait for somebody who reads the rest.
        thread::spawn(move || lines.for_each(drop));
        Self { child, address: said.expect("it says where its page is") }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Status line, head and body of an answer.
    fn get(&self, path: &str, more: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n{more}\r\n", self.address).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_lowercase(), body.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Reads events until `enough`, which gets all so far.
    fn events(&self, mut enough: impl FnMut(&[(String, Value)]) -> bool) -> Vec<(String, Value)> {
        let mut stream = self.connect();
        write!(stream, "GET /events HTTP/1.0\r\nhost: {}\r\n\r\n", self.address).unwrap();
        let mut events = Vec::new();
        let (mut kind, from) = (String::new(), Instant::now());
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut kind);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                events.push((kind.clone(), serde_json::from_str(data).unwrap()));
                if enough(&events) {
                    return events;
                }
            }
            assert!(from.elapsed() < PATIENCE, "{} events are not enough", events.len());
        }
        events
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of the log that events tell about the run number `run`.
fn history(events: &[(String, Value)], run: u64) -> Vec<Value> {
    let mut lines = Vec::new();
    for (_, data) in events.iter().filter(|(kind, data)| kind == "lines" && data["run"] == run) {
        if data["anew"] == true {
            lines.clear();
        }
        lines.extend(data["lines"].as_array().unwrap().iter().cloned());
    }
    lines
}

#[test]
fn a_run_with_a_page_has_the_same_weights_and_its_log_is_what_is_shown() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 3 --out plain").ok();
    let _ = place.nn("train --quiet --epochs 3 --out shown --dashboard 127.0.0.1:0").ok();
    assert_eq!(place.hash("shown"), place.hash("plain"));
    let lines = place.metrics("shown");
    assert!(lines.iter().all(|line| line["gradient_norm"].as_array().is_some_and(|norms| norms.len() == 2)));
    // A page belongs to the command, not to the run.
    let text = std::fs::read_to_string(place.at("shown/run.toml")).unwrap();
    assert!(!text.contains("\ndashboard"), "{text}");

    let shown = Shown::start(&place, "train --epochs 5000 --out live --dashboard 127.0.0.1:0");
    let told = shown.events(|events| history(events, 0).len() >= 5);
    assert_eq!(told[0], ("hello".to_owned(), json!({ "version": env!("CARGO_PKG_VERSION") })));
    let written = place.metrics("live");
    for (told, written) in history(&told, 0).iter().zip(&written) {
        assert_eq!(told, written);
    }
    let now = told.iter().rev().find(|(kind, _)| kind == "now").map(|(_, data)| data["now"].clone()).unwrap();
    assert_eq!((&now["total_steps"], &now["epochs"]), (&json!(720_000), &json!(5000)), "{now}");
    let network = shown.json("/runs/0/network");
    assert_eq!((&network["samples"], &network["image"]), (&json!(359), &json!([8, 8])));
    // A late reader hears everything, too.
    assert!(history(&shown.events(|events| history(events, 0).len() >= 5), 0).len() >= 5);
}

#[test]
fn a_resumption_is_an_event_of_the_log_and_replay_passes_over_it() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 2 --out run").ok();
    let _ = place.nn("train --quiet --epochs 4 --out run --resume").ok();
    let events: Vec<Value> = place.log("run").into_iter().filter(|line| line["kind"] == "event").collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["event"], &events[0]["step"]), (&json!("resumed"), &json!(288)));
    let ran = place.nn("replay --checkpoint run/checkpoints/step-000000000288.safetensors").ok();
    assert!(!(ran.stdout + &ran.stderr).contains("damaged"));
    let _ = place.nn("train --quiet --epochs 4 --out straight").ok();
    assert_eq!(place.hash("run"), place.hash("straight"));
    // What has nothing left to do adds nothing.
    let _ = place.nn("train --quiet --resume --out run").ok();
    assert_eq!(place.log("run").iter().filter(|line| line["kind"] == "event").count(), 1);
}

#[test]
fn runs_that_are_over_are_shown_with_their_networks() {
    let place = Place::new();
    let _ = place.file("table.csv", linear_csv(80));
    let _ = place.nn("train --quiet --epochs 3 --out runs/digits").ok();
    let _ = place.nn("train --quiet --data table.csv --epochs 3 --out runs/table").ok();
    let shown = Shown::start(&place, "dashboard runs --listen 127.0.0.1:0");
    let told = shown.events(|events| history(events, 0).len() + history(events, 1).len() == 6);
    assert_eq!(history(&told, 0), place.metrics("runs/digits"));
    assert_eq!(history(&told, 1), place.metrics("runs/table"));
    let facts: Vec<&Value> =
        told.iter().filter(|(kind, _)| kind == "run").map(|(_, data)| &data["facts"]).collect();
    assert_eq!(facts[0]["summary"], place.summary("runs/digits"));
    assert_eq!((&facts[0]["state"], &facts[1]["options"]["data"]), (&json!("complete"), &json!("table.csv")));

    let network = shown.json("/runs/0/network");
    assert_eq!(network["params_sha256"], place.summary("runs/digits")["params_sha256"]);
    let rows = network["confusion"].as_array().unwrap();
    let sum = |truth: usize, guess: usize| rows[truth][guess].as_u64().unwrap();
    assert_eq!((0..10).map(|class| sum(class, class)).sum::<u64>(), network["correct"].as_u64().unwrap());
    let cell = shown.json("/runs/0/cell/3/3/2");
    assert_eq!(
        (&cell["all"], cell["samples"].as_array().unwrap().len() as u64),
        (&json!(sum(3, 3)), sum(3, 3) - 2)
    );
    assert_eq!(cell["samples"][0]["pixels"].as_array().unwrap().len(), 64);
    let weights = shown.json("/runs/0/weights/29");
    assert_eq!((&weights["units"], weights["tiles"].as_array().unwrap().len()), (&json!(30), 1));
    // A regression has no classes, and a table no pictures.
    let network = shown.json("/runs/1/network");
    assert_eq!((&network["classes"], &network["units"]), (&Value::Null, &json!(0)));

    for (path, status) in [
        ("/runs/2/network", 404),
        ("/runs/x/network", 400),
        ("/runs/0/cell/3/99/0", 200),
        ("/runs/18446744073709551615/network", 404),
        ("/runs/0/weights/99999", 200),
        ("/runs", 404),
        ("/../../etc/passwd", 404),
    ] {
        assert_eq!(shown.get(path, "").0, status, "{path}");
    }
    let (status, head, body) = shown.get("/", "");
    assert_eq!(status, 200);
    assert!(body.contains("<title>nn dashboard</title>") && !body.contains("<script>"));
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    assert!(!head.contains("access-control"), "{head}");
    // The data are gone: the page says so, and the rest stays.
    std::fs::remove_file(place.at("table.csv")).unwrap();
    let other = Shown::start(&place, "dashboard runs/table --listen 127.0.0.1:0");
    let (status, _, body) = other.get("/runs/0/network", "");
    assert!((400..500).contains(&status) && body.contains("table.csv"), "{status} {body}");
}

#[test]
fn strangers_and_wrong_requests_are_refused() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 1 --out run").ok();
    let _ = place.file("token", "0123456789abcdef0123456789abcdef\n");
    let shown = Shown::start(&place, "dashboard run --listen 127.0.0.1:0 --token-file token");
    assert_eq!(shown.get("/", "").0, 200, "the page itself, which asks for the token");
    for path in ["/events", "/runs/0/network", "/runs/0/weights/0", "/nothing"] {
        assert_eq!(shown.get(path, "").0, 401, "{path}");
        assert_eq!(shown.get(path, "authorization: Bearer wrong\r\n").0, 401, "{path}");
    }
    let admitted = "authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    assert_eq!(shown.get("/runs/0/network", admitted).0, 200);
    // A page of another site, whose name leads here.
    let mut stream = shown.connect();
    write!(stream, "GET / HTTP/1.0\r\nhost: evil.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 403") || answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[test]
fn a_page_that_cannot_be_shown_is_refused_before_the_run() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let _ = place.nn("train --quiet --epochs 1 --out run").ok();
    for (arguments, code, parts) in [
        (format!("train --out r --dashboard 127.0.0.1:{port}"), 4, &["another program uses that port"][..]),
        (format!("dashboard run --listen 127.0.0.1:{port}"), 4, &["another program uses that port"]),
        (
            "train --out r --dashboard 0.0.0.0:0".into(),
            2,
            &["--dashboard 0.0.0.0:0 is open", "--dashboard-insecure", "--dashboard-token-file"],
        ),
        ("dashboard run --listen 0.0.0.0:0".into(), 2, &["--listen 0.0.0.0:0 is open", "--token-file"]),
        ("train --out r --dashboard nonsense".into(), 2, &["--dashboard nonsense is not an address"]),
        ("train --out r --dashboard=".into(), 2, &["--dashboard", "empty"]),
        (
            "train --out r --dashboard-insecure".into(),
            2,
            &["--dashboard-insecure has no effect without --dashboard"],
        ),
        (
            "train --out r --dashboard --dashboard-tls-cert c.pem".into(),
            2,
            &["--dashboard-tls-cert needs --dashboard-tls-key"],
        ),
        ("train --out r --dashboard --dashboard-token-file nothing".into(), 2, &["nothing"]),
        ("dashboard nothing --listen 127.0.0.1:0".into(), 1, &["cannot read nothing"]),
        ("dashboard . --listen 127.0.0.1:0 --tls-cert c.pem".into(), 2, &["--tls-key"]),
    ] {
        place.nn(&arguments).refused(code, parts);
        assert!(!place.at("r").exists(), "{arguments}");
    }
}
