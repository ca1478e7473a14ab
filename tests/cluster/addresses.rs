//! The addresses that a coordinator listens on and workers dial.

use std::net::TcpListener;

use crate::common::Place;
use crate::process::{Coord, Process, alone, free, worker};

#[test]
fn an_unreachable_address_is_explained() {
    let place = Place::new();
    let address = free();
    let nobody = format!("http://{address}");
    let mut tries = [
        (worker(&place, &[], &nobody, "--retry-seconds 1"), vec!["nothing listens", &address]),
        (worker(&place, &[], &nobody, "--retry-seconds 0"), vec!["nothing listens", &address]),
        (
            worker(&place, &[], "http://no-such-host.invalid:7654", "--retry-seconds 0"),
            vec!["no-such-host.invalid", "not known"],
        ),
    ];
    for (worker, parts) in &mut tries {
        worker.ended().refused(4, parts);
    }
    place.nn(&format!("status --coordinator {nobody}")).refused(4, &["nothing listens", &address]);
    // There is no route to the broadcast address.
    let mut far = worker(&place, &[], "255.255.255.255", "--retry-seconds 0");
    far.ended().refused(4, &["http://255.255.255.255:7654 cannot be reached from here", "--bind-to"]);
}

#[test]
fn a_port_in_use_is_explained() {
    let place = Place::new();
    let coord = Coord::start(&place, "--epochs 1");
    let arguments = format!("--listen {} --out other", coord.address);
    let mut second = Process::start(&place, env!("CARGO_BIN_EXE_nn-coord"), &[], &arguments);
    second.ended().refused(4, &["cannot listen on", &coord.address, "help: "]);
    assert!(!place.at("other").exists(), "nothing may be written");
    for (listen, code) in [("127.0.0.1", 2), ("no-such-host.invalid:1", 4), ("192.0.2.1:7654", 4)] {
        let arguments = format!("--listen {listen} --out other");
        let mut wrong = Process::start(&place, env!("CARGO_BIN_EXE_nn-coord"), &[], &arguments);
        wrong.ended().refused(code, &[listen, "help: "]);
    }
}

#[test]
fn an_invalid_address_is_wrong_usage() {
    let place = Place::new();
    for (url, parts) in [
        ("ftp://127.0.0.1:7654", ["ftp://", "http://HOST:PORT"]),
        ("127.0.0.1:port", ["127.0.0.1:port", "1 to 65535"]),
        ("http://127.0.0.1:0", ["127.0.0.1:0", "1 to 65535"]),
        ("::1", ["::1", "brackets"]),
        ("http://", ["no host", "HOST:PORT"]),
    ] {
        let parts = [&["--coordinator"], &parts[..]].concat();
        worker(&place, &[], url, "").ended().refused(2, &parts);
        // In a list with a good address.
        worker(&place, &[], &format!("127.0.0.1,{url}"), "").ended().refused(2, &parts);
        place.nn(&format!("status --coordinator {url}")).refused(2, &parts);
    }
}

#[test]
fn the_port_and_http_are_optional() {
    let place = Place::new();
    // Nobody listens there: on most systems all of 127.0.0.0/8 is this machine.
    for url in ["http://127.77.66.55", "127.77.66.55", "http://127.77.66.55/"] {
        let mut worker = worker(&place, &[], url, "--retry-seconds 0");
        worker.ended().refused(4, &["http://127.77.66.55:7654"]);
        place.nn(&format!("status --coordinator {url}")).refused(4, &["http://127.77.66.55:7654"]);
    }
    let arguments = "--epochs 1 --batch-size 200";
    let coord = Coord::start(&place, arguments);
    // Without http://, by name, after an address where nothing listens.
    let port = coord.address.rsplit_once(':').unwrap().1.to_owned();
    let mut worker = worker(&place, &[], &format!("{},localhost:{port}", free()), "");
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    let ran = worker.ends_well();
    assert!(ran.stderr.contains(&format!("joined http://localhost:{port} ")), "{ran:#?}");
}

#[test]
fn a_cluster_runs_over_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let place = Place::new();
    let arguments = "--epochs 1 --batch-size 200";
    let coord = Coord::at(&place, "[::1]:0", &format!("--min-workers 2 {arguments}"));
    assert!(coord.address.starts_with("[::1]:"), "{}", coord.address);
    let status = place.nn(&format!("status --coordinator {}", coord.url())).ok();
    assert!(status.stdout.contains("waiting for "), "{status:#?}");
    // Dial first from an address of the wrong family, then from one of the right family.
    let mut wrong = worker(&place, &[], &coord.url(), "--bind-to 127.0.0.1 --retry-seconds 0");
    wrong.ended().refused(4, &["[::1]", "cannot be reached", "--bind-to"]);
    // An interface has addresses of both families; the right one is used.
    let interface = if cfg!(target_os = "linux") { "lo" } else { "::1" };
    let mut workers = ["::1", interface].map(|bind_to| coord.worker(&place, &format!("--bind-to {bind_to}")));
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
}

#[test]
fn a_worker_dials_from_the_interface_it_is_bound_to() {
    let place = Place::new();
    let arguments = "--epochs 1 --batch-size 200";
    let coord = Coord::start(&place, &format!("--min-workers 2 {arguments}"));
    let url = coord.url();
    for (bind_to, parts) in [
        ("203.0.113.77", ["--bind-to 203.0.113.77 is not an address of this machine", "127.0.0.1"]),
        ("nn-none0", ["--bind-to nn-none0 is neither", "127.0.0.1"]),
    ] {
        let mut wrong = worker(&place, &[], &url, &format!("--bind-to {bind_to}"));
        wrong.ended().refused(2, &[&parts[..], &["help: this machine has "]].concat());
    }
    // The error about a wrong interface lists the right ones, among them the loopback interface.
    let said = worker(&place, &[], &url, "--bind-to nn-none0").ended().stderr;
    let before = said.split_once(" (127.0.0.1").unwrap().0;
    let name = before.rsplit([' ', ',']).next().unwrap();
    let mut workers =
        ["127.0.0.1", name].map(|bind_to| coord.worker(&place, &format!("--bind-to {bind_to}")));
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
}
