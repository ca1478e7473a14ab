//! Only peers with the right credentials are admitted, and secrets appear nowhere.

use std::fs;
use std::path::Path;

use crate::common::Place;
use crate::process::{Coord, LONG, Process, alone, worker};

const SERVER: &str = "--tls-cert certs/coordinator.pem --tls-key certs/coordinator.key";
const MUTUAL: &str = "--tls-ca certs/ca.pem --require-client-cert";
const ALICE: &str = "--tls-ca certs/ca.pem --tls-cert certs/alice.pem --tls-key certs/alice.key";
const TOKEN: &str = "--token-file token";

fn certified() -> Place {
    let place = Place::new();
    place.nn("certs init").ok();
    place.nn("certs worker alice").ok();
    place.nn("certs token token").ok();
    place
}

/// The standard error of a coordinator that must refuse to start.
#[track_caller]
fn refused(place: &Place, arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_nn-coord");
    let ran = Process::start(place, program, &[], &format!("--out net {arguments}")).ended();
    assert_eq!(ran.code, Some(2), "{arguments}: {}", ran.stderr);
    assert!(!place.at("net").exists(), "{arguments}: nothing may be written");
    ran.stderr
}

#[test]
fn listening_to_other_machines_needs_certificates_or_a_token_or_insecure() {
    let place = certified();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let said = refused(&place, &format!("--listen {listen}"));
        for word in [listen, "--require-client-cert", "--token-file", "--insecure", "nn certs"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    // Encryption alone does not authenticate clients.
    let said = refused(&place, &format!("--listen 0.0.0.0:0 {SERVER}"));
    assert!(said.contains("does not authenticate clients"), "{said}");
    for good in ["--insecure", TOKEN, &format!("{SERVER} {MUTUAL}"), &format!("{SERVER} {TOKEN}")] {
        let coord = Coord::at(&place, "0.0.0.0:0", good);
        let warned = coord.process.stderr().contains("--insecure");
        assert_eq!(warned, good == "--insecure", "{}", coord.process.story());
    }
}

#[test]
fn certificates_and_a_token_change_no_bit_and_leave_no_secret() {
    let place = certified();
    let want = alone(&place, LONG);
    let arguments = format!("{LONG} --min-workers 2 --checkpoint-steps 50 {SERVER} {MUTUAL} {TOKEN}");
    let mut coord = Coord::start(&place, &arguments);
    let url = format!("https://{}", coord.address);
    let mut workers: Vec<Process> =
        (0..2).map(|_| worker(&place, &[], &url, &format!("{ALICE} {TOKEN}"))).collect();
    coord.epochs(&place, 1);
    let status = place.nn(&format!("status --json --coordinator {url} {ALICE} {TOKEN}"));
    assert_eq!(status.json()["workers"][0]["certificate"], "alice", "{}", status.stdout);
    // Without a certificate and the token, the status is refused.
    for (flags, words) in [("--tls-ca certs/ca.pem", "a certificate"), (ALICE, "a token")] {
        let ran = place.nn(&format!("status --coordinator {url} {flags}"));
        assert!(ran.code == Some(4) && ran.stderr.contains(words), "{flags}: {}", ran.stderr);
    }
    let mut seen = vec![status.stdout];
    for process in workers.iter().chain([&coord.process]) {
        for of in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{of}", process.child.id());
            seen.extend(fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    for worker in &mut workers {
        let _ = worker.ends_well();
        seen.push(worker.story());
    }
    let _ = coord.process.ends_well();
    seen.push(coord.process.story());
    assert_eq!(place.hash("net"), want);
    let token = fs::read_to_string(place.at("token")).unwrap();
    let secrets = ["coordinator", "alice", "ca"].map(|name| {
        let key = fs::read_to_string(place.at(format!("certs/{name}.key"))).unwrap();
        key.lines().nth(1).unwrap().to_owned()
    });
    gather(&place.at("net"), &mut seen);
    gather(&place.at("cache"), &mut seen);
    assert!(seen.iter().any(|text| text.contains("params_sha256")), "no files were read");
    for secret in secrets.iter().map(String::as_str).chain([token.trim()]) {
        assert!(secret.len() >= 32);
        assert!(!seen.iter().any(|text| text.contains(secret)), "{secret} was written somewhere");
    }
}

/// Appends the contents of all files below a folder to `texts`.
fn gather(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            gather(&entry.path(), texts);
        } else {
            texts.push(String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned());
        }
    }
}

#[test]
fn spawned_workers_need_no_certificates() {
    let place = certified();
    let arguments = "--epochs 2 --batch-size 200";
    let coord =
        Coord::start(&place, &format!("--spawn 2 --min-workers 2 {arguments} {SERVER} {MUTUAL} {TOKEN}"));
    assert_eq!(coord.hash(&place), alone(&place, arguments));
}

#[test]
fn wrong_files_and_flags_are_explained_before_anything_begins() {
    let place = certified();
    fs::write(place.at("short"), "hunter").unwrap();
    fs::write(place.at("binary"), [0xff, 0xfe, 0xfd]).unwrap();
    fs::write(place.at("empty"), "").unwrap();
    for (flags, words) in [
        ("--tls-cert certs/coordinator.pem", "needs --tls-key"),
        ("--tls-key certs/coordinator.key", "needs --tls-cert"),
        ("--tls-ca certs/ca.pem", "--tls-cert"),
        ("--require-client-cert", "needs --tls-cert"),
        (&format!("{SERVER} --require-client-cert"), "--tls-ca"),
        ("--tls-cert certs/coordinator.pem --tls-key certs/alice.key", "not that of the certificate"),
        ("--tls-cert certs/coordinator.key --tls-key certs/coordinator.key", "holds a key"),
        ("--tls-cert certs/nowhere.pem --tls-key certs/coordinator.key", "certs/nowhere.pem"),
        ("--tls-cert /dev/zero --tls-key certs/coordinator.key", "/dev/zero"),
        ("--token-file short", "6 characters"),
        ("--token-file empty", "0 characters"),
        ("--token-file binary", "not text"),
        ("--token-file certs", "certs"),
    ] {
        let said = refused(&place, &format!("--listen 127.0.0.1:0 {flags}"));
        assert!(said.contains(words), "{flags}: {said}");
        assert!(!said.contains("hunter"), "{flags}: {said}");
    }
    for (arguments, words) in [
        ("--coordinator http://127.0.0.1:1 --tls-ca certs/ca.pem", "--tls-ca has no effect"),
        ("--coordinator https://127.0.0.1:1 --tls-cert certs/alice.pem", "needs --tls-key"),
        ("--coordinator 127.0.0.1:1 --tls-ca short", "no PEM certificate"),
        ("--coordinator 127.0.0.1:1 --tls-ca certs/ca.pem --tls-name a/b", "--tls-name"),
    ] {
        let ran = Process::start(&place, env!("CARGO_BIN_EXE_nn-worker"), &[], arguments).ended();
        assert!(ran.code == Some(2) && ran.stderr.contains(words), "{arguments}: {}", ran.stderr);
        let ran = place.nn(&format!("status {arguments}"));
        assert!(ran.code == Some(2) && ran.stderr.contains(words), "{arguments}: {}", ran.stderr);
    }
}

/// A worker that was never admitted ends.
#[test]
fn a_refusal_is_explained_on_both_sides() {
    let place = certified();
    place.nn("certs init --dir other").ok();
    place.nn("certs worker eve --dir other").ok();
    fs::write(place.at("token2"), "not-the-token-not-the-token").unwrap();
    let coord = Coord::start(&place, &format!("{LONG} {SERVER} {MUTUAL} {TOKEN}"));
    let (with, without) = (format!("https://{}", coord.address), format!("http://{}", coord.address));
    let eve = "--tls-ca certs/ca.pem --tls-cert other/eve.pem --tls-key other/eve.key";
    let trusting_others = "--tls-ca other/ca.pem --tls-cert certs/alice.pem --tls-key certs/alice.key";
    let server_as_client = format!("--tls-ca certs/ca.pem {SERVER}");
    for (url, flags, told, seen) in [
        (&without, "", "speaks TLS", "does not speak TLS"),
        (&with, "--tls-ca certs/ca.pem", "none was shown", "showed no certificate"),
        (&with, eve, "the authority that signed", "did not sign"),
        (&with, trusting_others, "none of the authorities", "does not trust the authority"),
        (&with, &server_as_client, "does not accept the certificate", "not a worker's"),
        (&with, &format!("{ALICE} --tls-name x.lan"), "not for x.lan", "another host"),
        (&with, ALICE, "a token is required", "showed no token"),
        (&with, &format!("{ALICE} --token-file token2"), "not the run's", "a token that is not this run's"),
    ] {
        let ran = worker(&place, &[], url, flags).ended();
        assert!(ran.code == Some(4) && ran.stderr.contains(told), "{flags}: {}", ran.stderr);
        coord.process.says(seen);
    }
}
