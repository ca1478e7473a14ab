//! Workers that `nn-coord --spawn` starts.

use std::fs;
use std::process::Command;

use crate::common::Place;
use crate::process::{Coord, Process, alone, until};

#[test]
fn a_coordinator_starts_its_own_workers() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 200";
    // It finds `nn-worker` beside itself, where it is installed.
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

/// The path of a copy of `nn-coord` that is installed beside the script `worker` as its `nn-worker`. A shell writes the
/// files: if this process had them open for writing, a child that another test starts at that moment would inherit them,
/// and they could not be run.
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

/// The ids of the processes that have written them.
fn pids(place: &Place) -> Vec<String> {
    let read = || fs::read_to_string(place.at("pids")).ok().filter(|text| text.ends_with('\n'));
    until("a number", String::new, read).lines().map(str::to_owned).collect()
}

/// A script that writes its process id and ignores requests to stop.
const STUBBORN: &str = "#!/bin/sh\ntrap '' TERM INT\necho $$ >> pids\nwhile :; do sleep 1; done\n";

#[test]
fn spawned_workers_that_do_not_exit_are_killed() {
    let place = Place::new();
    let program = beside(&place, STUBBORN);
    let mut coord = Coord::of(&place, &program, &[], "127.0.0.1:0", "--spawn 1 --epochs 1 --batch-size 200");
    let mut worker = coord.worker(&place, "");
    let pids = pids(&place);
    assert!(pids.len() == 1 && runs(&pids[0]), "{pids:?}");
    let ran = coord.process.ends_well();
    assert!(ran.stderr.contains("did not exit"), "{ran:#?}");
    assert!(!runs(&pids[0]), "it was left behind: {ran:#?}");
    let _ = worker.ends_well();
}

#[test]
fn if_a_worker_cannot_be_started_the_others_are_killed() {
    let place = Place::new();
    // The first worker makes it impossible to start another. With 300 of them it has the time to.
    let program = beside(&place, &STUBBORN.replace("while", "mv \"$0\" gone 2> /dev/null\nwhile"));
    let arguments = "--listen 127.0.0.1:0 --spawn 300 --epochs 1";
    let mut coord = Process::start(&place, &program, &[], arguments);
    let ran = coord.ended();
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    // Shells that find their script gone print that too.
    assert!(ran.stderr.contains("cannot start") && ran.stderr.contains("help: put nn-worker"), "{ran:#?}");
    let left: Vec<String> = pids(&place).into_iter().filter(|pid| runs(pid)).collect();
    assert!(left.is_empty(), "they were left behind: {left:?}");
}
