//! Workers that `nn-coord --spawn` starts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::common::Place;
use crate::process::{Coord, Process, alone, until};

#[test]
fn it_starts_workers_itself() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 200";
    // The programs as they are installed: side by side, under their names.
    let coord = Coord::start(&place, &format!("--spawn 2 --min-workers 2 {arguments}"));
    assert_eq!(coord.hash(&place), alone(&place, arguments));
}

/// The program as it is installed, beside a worker that is not one.
fn beside(place: &Place, worker: &str) -> String {
    let coord = place.at("bin/nn-coord");
    fs::create_dir_all(place.at("bin")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_nn-coord"), &coord).unwrap();
    let worker = place.file("bin/nn-worker", worker);
    fs::set_permissions(worker, fs::Permissions::from_mode(0o755)).unwrap();
    coord.display().to_string()
}

fn runs(pid: &str) -> bool {
    let kill = format!("kill -0 {pid} 2> /dev/null");
    Command::new("sh").args(["-c", &kill]).status().unwrap().success()
}

/// The process that wrote its number.
fn pid(place: &Place) -> String {
    let read = || fs::read_to_string(place.at("pid")).ok().filter(|text| text.ends_with('\n'));
    until("a number", String::new, read).trim().to_owned()
}

/// Writes its number, and stays, whatever it is told.
const STUBBORN: &str = "#!/bin/sh\ntrap '' TERM INT\necho $$ > pid\nwhile :; do sleep 1; done\n";

#[test]
fn workers_of_its_own_that_do_not_end_are_ended() {
    let place = Place::new();
    let program = beside(&place, STUBBORN);
    let mut coord = Coord::of(&place, &program, "127.0.0.1:0", "--spawn 1 --epochs 1 --batch-size 200");
    let mut worker = coord.worker(&place, "");
    let pid = pid(&place);
    assert!(runs(&pid));
    let ran = coord.process.ends_well();
    assert!(ran.stderr.contains("did not end"), "{ran:#?}");
    assert!(!runs(&pid), "it was left behind: {ran:#?}");
    let _ = worker.ends_well();
}

#[test]
fn a_worker_of_its_own_that_cannot_be_started_ends_those_that_were() {
    let place = Place::new();
    // The first one makes it impossible to start another, and is given the time to.
    let program = beside(&place, &STUBBORN.replace("echo", "chmod a-x \"$0\"; mv \"$0\" gone; echo"));
    let arguments = "--listen 127.0.0.1:0 --spawn 300 --epochs 1";
    let mut coord = Process::start(&place, &program, &[], arguments);
    coord.ended().refused(1, &["cannot start", "nn-worker", "help: "]);
    assert!(!runs(&pid(&place)), "it was left behind");
}
