//! A proxy between worker and coordinator that ends every connection after so many bytes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Place;
use crate::process::{Coord, PATIENCE, Process, alone, free, until, worker};

/// A network whose gradient has 2 MB and goes in parts: that of the last layer is small.
const LARGE: &str = "--data digits --hidden 2000,200 --epochs 1 --batch-size 32";

/// What both sides say.
const SENTENCE: &str = "a proxy's limit? (nginx: client_max_body_size 0)";

/// Forwards connections to `target`, and closes each once its client has sent `limit` bytes. Its URL. It lives as long as
/// the test's process.
fn limited(target: &str, limit: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = target.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&target) else { continue };
            let twin = |stream: &TcpStream| stream.try_clone().unwrap();
            let (mut from, mut to) = (twin(&server), twin(&client));
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
            let (from, mut to) = (client, server);
            thread::spawn(move || {
                let _ = std::io::copy(&mut (&from).take(limit), &mut to).and_then(|_| to.flush());
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    });
    url
}

/// How often a worker was admitted.
fn joins(worker: &Process) -> usize {
    worker.stderr().matches("joined ").count()
}

#[test]
fn behind_a_proxy_with_a_limit_the_wait_ends_and_both_sides_say_why() {
    let place = Place::new();
    let mut coord = Coord::start(&place, &format!("--wait-timeout 20 {LARGE}"));
    let url = limited(&coord.address, 300_000);
    let mut ada = worker(&place, &[], &url, "--name ada --retry-seconds 15");
    let ran = coord.process.ended();
    ran.refused(4, &["waited", "for 1 worker", "after step 0", "help: "]);
    // What a reset connection still held in the coordinator's system is not counted, so the number is at most the limit.
    let said = |line: &str| {
        let kilobytes =
            line.strip_prefix("warning: ada: every connection ends after about ")?.split_once(" kB")?;
        line.ends_with(SENTENCE).then(|| kilobytes.0.parse().ok()).flatten()
    };
    let bytes: Vec<u64> = ran.stderr.lines().filter_map(said).collect();
    assert!(!bytes.is_empty(), "{}", coord.process.story());
    assert!(bytes.iter().all(|kilobytes| (16..=300).contains(kilobytes)), "{}", coord.process.story());
    assert!(ada.stderr().contains(SENTENCE), "{}", ada.story());
    // Pauses grow, by a random part of their length. Without them it would have been admitted more than a hundred times.
    assert!((3..=30).contains(&joins(&ada)), "{}", ada.story());
    ada.ended().refused(4, &[]);
}

#[test]
fn a_worker_gives_up_when_no_contribution_arrives_for_as_long_as_it_may_retry() {
    let place = Place::new();
    let mut coord = Coord::start(&place, LARGE);
    let url = limited(&coord.address, 300_000);
    let mut ada = worker(&place, &[], &url, "--retry-seconds 4");
    ada.ended().refused(4, &["every connection breaks before a contribution arrives", "proxies"]);
    assert!((3..=30).contains(&joins(&ada)), "{}", ada.story());
    // A worker that reaches the coordinator itself ends the run.
    coord.process.is_running();
    let mut direct = coord.worker(&place, "");
    let want = alone(&place, LARGE);
    assert_eq!(coord.hash(&place), want);
    let _ = direct.ends_well();
}

/// nginx with the configuration of `deploy/`, on ports of its own; it is stopped when it is dropped.
struct Nginx {
    child: Child,
    url: String,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master process ends its workers.
        let quit = format!("kill -QUIT {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &quit]).status();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// In front of `target`; `change` edits the configuration. None if there is no nginx here.
    fn before(place: &Place, target: &str, change: impl Fn(String) -> String) -> Option<Self> {
        if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
            println!(
                "SKIPPED: nginx is not installed (apt-get install nginx-light), so deploy/nginx is not tested"
            );
            return None;
        }
        let listen = free();
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/nginx/nn.conf")).unwrap();
        for needed in ["listen 7654 ", "grpc://127.0.0.1:7655;", "http {\n"] {
            assert!(text.contains(needed), "{needed}");
        }
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("  {name}_temp_path {name};\n"))
            .concat();
        let text = text
            .replace("listen 7654 ", &format!("listen {listen} "))
            .replace("127.0.0.1:7655", target)
            .replace("http {\n", &format!("pid nginx.pid;\nhttp {{\n{folders}"));
        fs::write(place.at("nginx.conf"), change(text)).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "nginx.log", "-g", "daemon off;", "-c"])
            .arg(place.at("nginx.conf"))
            .arg("-p")
            .arg(place.path())
            .spawn()
            .unwrap();
        let from = Instant::now();
        while TcpStream::connect(&listen).is_err() {
            let log = fs::read_to_string(place.at("nginx.log")).unwrap_or_default();
            assert!(from.elapsed() < PATIENCE, "nginx does not listen: {log}");
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self { child, url: format!("http://{listen}") })
    }
}

#[test]
fn workers_join_through_nginx_with_the_configuration_of_deploy() {
    let place = Place::new();
    let coord = Coord::start(&place, &format!("--min-workers 2 {LARGE}"));
    let Some(nginx) = Nginx::before(&place, &coord.address, |text| text) else { return };
    let mut workers = [(); 2].map(|()| worker(&place, &[], &nginx.url, ""));
    let want = alone(&place, LARGE);
    assert_eq!(coord.hash(&place), want);
    for worker in &mut workers {
        let _ = worker.ends_well();
        assert_eq!(joins(worker), 1, "{}", worker.story());
    }
}

#[test]
fn nginx_with_its_own_limit_is_found_out() {
    let place = Place::new();
    let mut coord = Coord::start(&place, &format!("--wait-timeout 20 {LARGE}"));
    let own = |text: String| text.replace("client_max_body_size 0;", "");
    let Some(nginx) = Nginx::before(&place, &coord.address, own) else { return };
    let mut ada = worker(&place, &[], &nginx.url, "--name ada --retry-seconds 15");
    coord.process.ended().refused(4, &["waited", "ada: every connection", SENTENCE]);
    until("the sentence", || ada.story(), || ada.stderr().contains(SENTENCE).then_some(()));
    ada.ended().refused(4, &[]);
}
