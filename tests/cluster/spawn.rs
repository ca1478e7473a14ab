//! Workers that `nn-coord --spawn` starts.

use std::fs;
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

/// A worker that inherited the coordinator's variables could not dial, or would not end.
#[test]
fn its_workers_do_not_inherit_its_variables() {
    let place = Place::new();
    let environment = [("NN_BIND_TO", "no-such-interface"), ("NN_STAY", "true"), ("NN_EPOCHS", "1")];
    let program = env!("CARGO_BIN_EXE_nn-coord");
    let arguments = "--spawn 2 --min-workers 2 --batch-size 200";
    let coord = Coord::of(&place, program, &environment, "127.0.0.1:0", arguments);
    assert_eq!(coord.hash(&place), alone(&place, "--epochs 1 --batch-size 200"));
}

/// The program as it is installed, beside a worker that is not one. A shell writes the files: were they open for writing
/// in this process, one that another test starts at that moment would hold them open too, and they could not be run.
fn beside(place: &Place, worker: &str) -> String {
    let write =
        r#"mkdir bin && cp "$1" bin/nn-coord && printf %s "$2" > bin/nn-worker && chmod +x bin/nn-worker"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", write, "sh", env!("CARGO_BIN_EXE_nn-coord"), worker]);
    assert!(shell.current_dir(place.path()).status().unwrap().success());
    place.at("bin/nn-coord").display().to_string()
}

fn runs(pid: &str) -> bool {
    let kill = format!("kill -0 {pid} 2> /dev/null");
    Command::new("sh").args(["-c", &kill]).status().unwrap().success()
}

/// The processes that wrote their numbers.
fn pids(place: &Place) -> Vec<String> {
    let read = || fs::read_to_string(place.at("pids")).ok().filter(|text| text.ends_with('\n'));
    until("a number", String::new, read).lines().map(str::to_owned).collect()
}

/// Writes its number, and stays, whatever it is told.
const STUBBORN: &str = "#!/bin/sh\ntrap '' TERM INT\necho $$ >> pids\nwhile :; do sleep 1; done\n";

#[test]
fn workers_of_its_own_that_do_not_end_are_ended() {
    let place = Place::new();
    let program = beside(&place, STUBBORN);
    let mut coord = Coord::of(&place, &program, &[], "127.0.0.1:0", "--spawn 1 --epochs 1 --batch-size 200");
    let mut worker = coord.worker(&place, "");
    let pids = pids(&place);
    assert!(pids.len() == 1 && runs(&pids[0]), "{pids:?}");
    let ran = coord.process.ends_well();
    assert!(ran.stderr.contains("did not end"), "{ran:#?}");
    assert!(!runs(&pids[0]), "it was left behind: {ran:#?}");
    let _ = worker.ends_well();
}

#[test]
fn a_worker_of_its_own_that_cannot_be_started_ends_those_that_were() {
    let place = Place::new();
    // The first one makes it impossible to start another, and is given the time to.
    let program = beside(&place, &STUBBORN.replace("while", "mv \"$0\" gone 2> /dev/null\nwhile"));
    let arguments = "--listen 127.0.0.1:0 --spawn 300 --epochs 1";
    let mut coord = Process::start(&place, &program, &[], arguments);
    let ran = coord.ended();
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    // Shells that find their script gone say so in between.
    assert!(ran.stderr.contains("cannot start") && ran.stderr.contains("help: put nn-worker"), "{ran:#?}");
    let left: Vec<String> = pids(&place).into_iter().filter(|pid| runs(pid)).collect();
    assert!(left.is_empty(), "they were left behind: {left:?}");
}
