//! Runs and workers that are asked to stop.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::Place;
use crate::process::{Coord, LONG, Process, alone, free, lines, until, worker};

/// A limit on the time to stop, generous for a busy machine: it should take a worker a second and a coordinator five.
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_coordinator_can_be_stopped_and_resumed() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let arguments = format!("{LONG} --checkpoint-seconds 0");
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {arguments}"));
    let mut workers: Vec<Process> = (0..2).map(|_| coord.worker(&place, "")).collect();
    coord.epochs(&place, 4);
    let from = Instant::now();
    coord.process.signal("TERM");
    let ran = coord.process.ends_well();
    assert!(from.elapsed() < GRACE, "{:?}: {}", from.elapsed(), coord.process.story());
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("--resume"), "{}", coord.process.story());
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
    assert!(lines(&place) < 300, "it was stopped too late");
    place.no_halves();
    // `nn train` resumes a copy, and a coordinator resumes the folder itself.
    let copy = Command::new("cp").arg("-r").arg(place.at("net")).arg(place.at("copy")).status().unwrap();
    assert!(copy.success());
    let _ = place.nn(&format!("train --quiet --out copy {arguments} --resume")).ok();
    assert_eq!(place.hash("copy"), want);
    let coord = Coord::start(&place, &format!("{arguments} --resume"));
    let mut worker = coord.worker(&place, "");
    assert_eq!(coord.hash(&place), want);
    let _ = worker.ends_well();
}

#[test]
fn a_worker_can_be_stopped() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, &format!("--min-workers 1 {LONG}"));
    let (mut leaver, mut other) = (coord.worker(&place, ""), coord.worker(&place, ""));
    other.says("computing");
    leaver.says("computing");
    coord.epochs(&place, 3);
    let from = Instant::now();
    leaver.signal("TERM");
    let _ = leaver.ends_well();
    assert!(from.elapsed() < GRACE, "{:?}: {}", from.elapsed(), leaver.story());
    assert_eq!(coord.hash(&place), want);
    let _ = other.ends_well();
    // A worker that has not joined yet can be stopped too.
    let mut waiting = worker(&place, &[], &format!("http://{}", free()), "");
    waiting.says("trying again");
    let from = Instant::now();
    waiting.signal("TERM");
    let _ = waiting.ends_well();
    assert!(from.elapsed() < GRACE, "{:?}: {}", from.elapsed(), waiting.story());
}

#[test]
fn a_waiting_coordinator_can_be_stopped() {
    let place = Place::new();
    let mut coord = Coord::start(&place, "--min-workers 2");
    let mut worker = coord.worker(&place, "");
    worker.says("computing");
    let from = Instant::now();
    coord.process.signal("INT");
    let _ = coord.process.ends_well();
    let _ = worker.ends_well();
    assert!(from.elapsed() < GRACE, "{:?}: {}", from.elapsed(), coord.process.story());
    assert_eq!(place.summary("net")["steps"], 0);
}

#[test]
fn a_coordinator_waits_no_longer_than_its_timeout() {
    let place = Place::new();
    let arguments = "--epochs 300 --batch-size 50 --eval-every 300";
    let mut coord = Coord::start(&place, &format!("--wait-timeout 1 {arguments}"));
    // No worker joins.
    let refused = ["waited 1 s for 1 worker", "after step 0", "--resume", "help: "];
    coord.process.ended().refused(4, &refused);
    // A worker joins and dies: its steps are kept, and the run can resume from there.
    let mut coord = Coord::start(&place, &format!("--wait-timeout 2 --resume {arguments}"));
    let worker = coord.worker(&place, "--name ada");
    until(
        "a step",
        || coord.process.story(),
        || coord.status(&place)?["step"].as_u64().filter(|&step| step > 5),
    );
    worker.kill();
    coord.process.says("gone: ada");
    coord.process.ended().refused(4, &["waited 2 s for 1 worker", "with a checkpoint", "--resume"]);
    place.no_halves();
    let coord = Coord::start(&place, &format!("--wait-timeout 60 --resume {arguments}"));
    let mut worker = coord.worker(&place, "");
    coord.process.says("resuming after step");
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    let _ = worker.ends_well();
}
