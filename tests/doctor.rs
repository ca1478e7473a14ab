//! `nn doctor`, against real coordinators and other servers.

mod common;
#[allow(dead_code, unused_imports, clippy::disallowed_methods)] // the tests of the cluster use the rest
#[path = "cluster/process.rs"]
mod process;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use common::{Place, Ran};
use process::{Coord, free};
use serde_json::Value;

/// The options of a run that waits for a worker that never comes.
const WAITING: &str = "--hidden 8 --epochs 1";

fn doctor(place: &Place, arguments: &str) -> Ran {
    let mut command = place.command(format!("doctor {arguments}").split_whitespace());
    command.env("NN_CACHE_DIR", place.at("cache")).output().unwrap().into()
}

/// The finding of one check.
#[track_caller]
fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let all = report["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {report:#}"))
}

/// Fails unless the doctor finds one problem, on the path: the last finding must be a problem of `check`, contain `words`,
/// and suggest `fix`. The exit code must be 4.
#[track_caller]
fn finds(place: &Place, arguments: &str, check: &str, words: &str, fix: &str) {
    let ran = doctor(place, &format!("--json {arguments}"));
    ran.refused(4, &["found 1 problem"]);
    let report = ran.json();
    assert_eq!(report["verdict"], "problem");
    let last = report["findings"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (last["check"].as_str(), last["verdict"].as_str()),
        (Some(check), Some("problem")),
        "{report:#}"
    );
    assert!(last["found"].as_str().unwrap().contains(words), "{last:#}");
    assert!(last["fix"].as_str().unwrap().contains(fix), "{last:#}");
    // The text for people reports the same.
    let told = doctor(place, arguments);
    told.refused(4, &["found 1 problem"]);
    assert!(told.stdout.lines().any(|line| line.starts_with(&format!("problem  {check}"))), "{told:#?}");
}

#[test]
fn a_healthy_machine_has_no_problems() {
    let place = Place::new();
    let report = doctor(&place, "--json").ok().json();
    for check in ["program", "processor", "arithmetic", "threads", "date", "cache folder", "runs folder"] {
        let found = finding(&report, check);
        assert_eq!(found["section"], "machine", "{found}");
        assert_ne!(found["verdict"], "problem", "{found}");
    }
    assert_eq!(finding(&report, "arithmetic")["figures"]["fingerprint"].as_str().unwrap().len(), 64);
    let text = doctor(&place, "").ok();
    assert!(text.stdout.starts_with("This machine\n"), "{text:#?}");
    assert!(text.stdout.ends_with("All is well.\n") || text.stdout.contains("It works; there "), "{text:#?}");
    let long = text.stdout.lines().find(|line| line.chars().count() > 80 && !line.contains('/'));
    assert_eq!((long, text.stdout.contains('\x1b'), text.stderr.as_str()), (None, false, ""));
    assert_eq!(place.files(), Vec::<String>::new(), "something was left behind");
}

#[test]
fn folders_that_cannot_be_written_to_are_problems() {
    let place = Place::new();
    place.file("file", "");
    let ran = doctor(&place, "--json --out file/runs --cache-dir file");
    ran.refused(1, &["found 2 problems"]);
    let report = ran.json();
    for (check, flag) in [("cache folder", "--cache-dir"), ("runs folder", "--out")] {
        let found = finding(&report, check);
        assert_eq!(found["verdict"], "problem", "{found}");
        assert!(found["fix"].as_str().unwrap().contains(flag), "{found}");
    }
    // A file system that is really read-only: root can write to folders that only lack the permission.
    #[cfg(target_os = "linux")]
    doctor(&place, "--cache-dir /proc/nn").refused(1, &["found 1 problem"]);
}

#[test]
fn a_healthy_coordinator_has_no_problems() {
    let place = Place::new();
    let coord = Coord::start(&place, WAITING);
    let report = doctor(&place, &format!("--json --coordinator {}", coord.url())).ok().json();
    for check in ["port", "coordinator", "version", "fingerprint", "clock"] {
        let found = finding(&report, check);
        assert_eq!(
            (found["section"].as_str(), found["verdict"].as_str()),
            (Some("path"), Some("ok")),
            "{found}"
        );
    }
    let latency = &finding(&report, "latency")["figures"];
    let (median, p99) = (latency["median_micros"].as_u64().unwrap(), latency["p99_micros"].as_u64().unwrap());
    assert!(median > 0 && median <= p99, "{latency}");
    let bandwidth = &finding(&report, "bandwidth")["figures"];
    for way in ["bytes_per_second_there", "bytes_per_second_back"] {
        assert!(bandwidth[way].as_f64().unwrap() > 1e6, "{bandwidth}");
    }
    let ahead = finding(&report, "clock")["figures"]["ahead_seconds"].as_f64().unwrap();
    assert!(ahead.abs() < 1.0, "{ahead}");

    // If it is dialled by name, the doctor also checks the name and each of its addresses.
    let port = coord.address.rsplit(':').next().unwrap();
    let text = doctor(&place, &format!("--coordinator localhost:{port}")).ok().stdout;
    assert!(text.contains(&format!("The path to http://localhost:{port}\n")), "{text}");
    assert!(text.contains("name         localhost is "), "{text}");
    assert!(text.contains(&format!("port         127.0.0.1:{port} accepts connections")), "{text}");

    // Several measurements in a row stay within the coordinator's allowance for them.
    for _ in 0..6 {
        let report = doctor(&place, &format!("--json --coordinator {}", coord.url())).ok().json();
        assert_eq!(finding(&report, "bandwidth")["verdict"], "ok", "{report:#}");
    }
    // The coordinator reports no refusals.
    assert!(!coord.process.stderr().contains("refused"), "{}", coord.process.story());
}

#[test]
fn an_address_where_nothing_listens_is_a_problem() {
    let place = Place::new();
    finds(&place, &format!("--coordinator {}", free()), "port", "nothing listens there", "start nn-coord");
    let unknown = "--coordinator no-such-host.invalid";
    finds(&place, unknown, "name", "no-such-host.invalid is not known", "spelling");
    for (arguments, part) in [
        ("--coordinator ftp://x", "ftp://x"),
        ("--coordinator x:0", "port"),
        ("--tls-ca x", "--coordinator"),
        ("--coordinator http://x --tls-ca x", "--tls-ca"),
        ("--coordinator https://x --tls-ca nowhere.pem", "nowhere.pem"),
    ] {
        doctor(&place, arguments).refused(2, &[part]);
    }
}

/// The address of a server that sends `answer` to every client that sends something first, and closes the connection.
fn listener(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A client that only checks whether the port is open sends nothing.
            if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(answer);
            }
        }
    });
    address
}

#[test]
fn a_server_that_is_not_a_coordinator_is_a_problem() {
    let place = Place::new();
    let web = listener(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    for address in [&web, &listener(b""), &listener(b"\x00\x01garbage\xff")] {
        let arguments = format!("--coordinator {address}");
        finds(&place, &arguments, "coordinator", "the server there", "nn-coord's port");
    }
    // The port of a stopped process: the system accepts connections for it, but nothing answers.
    let stopped = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = format!("--coordinator {}", stopped.local_addr().unwrap());
    finds(&place, &arguments, "coordinator", "sent nothing for 5s", "not stopped");
    place.nn("certs init").ok();
    let arguments = format!("--coordinator https://{web} --tls-ca certs/ca.pem");
    finds(&place, &arguments, "TLS", "does not speak TLS", "http://");
}

const SERVER: &str = "--tls-cert certs/coordinator.pem --tls-key certs/coordinator.key";

#[test]
fn mutual_tls_is_checked_from_both_ends() {
    let place = Place::new();
    place.nn("certs init").ok();
    place.nn("certs worker w1").ok();
    place.nn("certs init --dir other --host other.lan").ok();
    place.nn("certs worker w1 --dir other").ok();
    let coord =
        Coord::start(&place, &format!("{WAITING} {SERVER} --tls-ca certs/ca.pem --require-client-cert"));
    let to = format!("--coordinator https://{}", coord.address);
    let w1 = "--tls-cert certs/w1.pem --tls-key certs/w1.key";

    let report = doctor(&place, &format!("--json {to} --tls-ca certs/ca.pem {w1}")).ok().json();
    for check in ["certificate", "port", "TLS", "coordinator", "fingerprint", "latency", "bandwidth"] {
        assert_ne!(finding(&report, check)["verdict"], "problem", "{report:#}");
    }
    let tls = finding(&report, "TLS");
    let days = tls["figures"]["days_left"].as_u64().unwrap();
    assert!((824..=825).contains(&days), "{tls}");
    assert!(tls["found"].as_str().unwrap().contains("signed by nn private CA "), "{tls}");
    let certificate = finding(&report, "certificate")["found"].as_str().unwrap();
    assert!(certificate.contains("certs/w1.pem is CN=w1's, valid from "), "{certificate}");
    assert!(!coord.process.stderr().contains("refused"), "{}", coord.process.story());

    finds(&place, &format!("{to} --tls-ca other/ca.pem {w1}"), "TLS", "cannot be trusted", "--tls-ca");
    let elsewhere = format!("{to} --tls-ca certs/ca.pem {w1} --tls-name box.lan");
    finds(&place, &elsewhere, "TLS", "not for box.lan", "");
    finds(
        &place,
        &format!("{to} --tls-ca certs/ca.pem"),
        "coordinator",
        "refuses this machine",
        "nn certs worker",
    );
    let foreign = "--tls-cert other/w1.pem --tls-key other/w1.key";
    let foreign = format!("{to} --tls-ca certs/ca.pem {foreign}");
    finds(&place, &foreign, "coordinator", "refuses this machine", "nn certs worker");
    let plain = format!("--coordinator http://{}", coord.address);
    finds(&place, &plain, "coordinator", "speaks TLS", "https://");

    // The doctor finds fault with its own certificate before the coordinator refuses it.
    let own = "--tls-cert certs/coordinator.pem --tls-key certs/coordinator.key";
    let ran = doctor(&place, &format!("--json {to} --tls-ca certs/ca.pem {own}"));
    ran.refused(4, &["found 2 problems"]);
    let report = ran.json();
    assert_eq!(finding(&report, "certificate")["verdict"], "problem", "{report:#}");
    assert!(finding(&report, "certificate")["found"].as_str().unwrap().contains("a server"), "{report:#}");
}

#[test]
fn a_missing_or_wrong_token_is_a_problem() {
    let place = Place::new();
    place.nn("certs token token").ok();
    place.nn("certs token wrong").ok();
    let coord = Coord::start(&place, &format!("{WAITING} --token-file token"));
    let to = format!("--coordinator {}", coord.url());
    let _ = doctor(&place, &format!("{to} --token-file token")).ok();
    finds(&place, &to, "token", "refuses this machine", "--token-file");
    finds(&place, &format!("{to} --token-file wrong"), "token", "refuses this machine", "--token-file");
    let secrets = ["token", "wrong"].map(|name| fs::read_to_string(place.at(name)).unwrap());
    let ran = doctor(&place, &format!("{to} --token-file wrong --json"));
    for secret in secrets {
        assert!(!ran.stdout.contains(secret.trim()) && !ran.stderr.contains(secret.trim()));
    }
}
