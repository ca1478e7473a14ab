//! Workers and coordinators that come and go, stall and die, and peers that send nonsense.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::common::Place;
use crate::process::{Coord, LONG, Process, alone, free, lines, until, worker};

#[test]
fn a_worker_can_join_in_the_middle_of_a_run() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, LONG);
    let mut first = coord.worker(&place, "");
    coord.epochs(&place, 5);
    let mut second = coord.worker(&place, "--name latecomer");
    second.says("computing");
    coord.process.is_running();
    assert_eq!(coord.hash(&place), want);
    for worker in [&mut first, &mut second] {
        assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
    }
}

#[test]
fn a_run_survives_the_death_of_one_of_two_workers() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {LONG}"));
    let names = ["ada", "grace"];
    let mut workers =
        names.map(|name| coord.worker(&place, &format!("--name {name}"))).into_iter().collect::<Vec<_>>();
    coord.epochs(&place, 5);
    workers.remove(coord.busiest(&place, names)).kill();
    coord.process.is_running();
    let mut other = workers.remove(0);
    // The run needs two workers: a third takes its place.
    let mut third = coord.worker(&place, "");
    assert_eq!(coord.hash(&place), want);
    for worker in [&mut other, &mut third] {
        assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
    }
}

#[test]
fn a_run_survives_the_death_of_its_only_worker() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, LONG);
    let victim = coord.worker(&place, "");
    coord.epochs(&place, 5);
    victim.kill();
    coord.process.says("waiting for ");
    let stood = lines(&place);
    thread::sleep(Duration::from_millis(300));
    assert!(lines(&place) <= stood + 1, "the run must stand still without workers");
    let mut next = coord.worker(&place, "");
    assert_eq!(coord.hash(&place), want);
    let _ = next.ends_well();
}

#[test]
fn a_run_continues_while_a_worker_stalls() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {LONG}"));
    let names = ["ada", "grace"];
    let mut workers = names.map(|name| coord.worker(&place, &format!("--name {name}")));
    coord.epochs(&place, 5);
    let stalled = coord.busiest(&place, names);
    workers[stalled].signal("STOP");
    // The other worker computes its nodes too, so the run continues.
    let from = lines(&place);
    coord.epochs(&place, from + 3);
    workers[stalled].signal("CONT");
    assert_eq!(coord.hash(&place), want);
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
}

#[test]
fn workers_that_stay_join_the_next_run() {
    let place = Place::new();
    let arguments =
        ["--epochs 3 --batch-size 200", "--epochs 2 --batch-size 150 --hidden 20 --optimizer adam"];
    let coord = Coord::start(&place, &format!("--min-workers 2 {}", arguments[0]));
    let address = coord.address.clone();
    let mut workers: Vec<Process> = (0..2).map(|_| coord.worker(&place, "--stay")).collect();
    assert_eq!(coord.hash(&place), alone(&place, arguments[0]));
    workers.iter_mut().for_each(Process::is_running);
    let coord = Coord::at(&place, &address, &format!("--min-workers 2 --overwrite {}", arguments[1]));
    assert_eq!(coord.hash(&place), alone(&place, arguments[1]));
    for worker in &mut workers {
        worker.is_running();
        worker.signal("TERM");
        let ran = worker.ends_well();
        assert!(ran.stderr.contains("at hand"), "the samples must be sent only once: {}", worker.story());
    }
}

#[test]
fn a_worker_can_start_before_its_coordinator() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 200";
    let want = alone(&place, arguments);
    let address = free();
    let mut worker = worker(&place, &[], &format!("http://{address}"), "");
    worker.says("trying again");
    let coord = Coord::at(&place, &address, arguments);
    assert_eq!(coord.hash(&place), want);
    assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
}

#[test]
fn peers_that_send_nonsense_or_nothing_do_not_matter() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, LONG);
    let silent = TcpStream::connect(&coord.address).unwrap();
    let mut noisy = Vec::new();
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let zeros = vec![0; 100_000];
    let frames = [preface, &[255; 5000]].concat();
    for bytes in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), &zeros, preface, &frames] {
        let mut peer = TcpStream::connect(&coord.address).unwrap();
        let _ = peer.write_all(bytes); // the coordinator may disconnect it in the middle
        noisy.push(peer);
    }
    let mut worker = coord.worker(&place, "");
    coord.epochs(&place, 3);
    let mut peer = TcpStream::connect(&coord.address).unwrap();
    let _ = peer.write_all(&frames);
    assert_eq!(coord.hash(&place), want);
    assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
    drop((silent, noisy));
}

#[test]
fn workers_outlive_a_killed_coordinator_and_join_it_when_it_resumes() {
    let place = Place::new();
    let longer = LONG.replace("--epochs 300", "--epochs 800");
    let want = alone(&place, &longer);
    let arguments = format!("--min-workers 2 --checkpoint-steps 500 {longer}");
    let coord = Coord::start(&place, &arguments);
    let address = coord.address.clone();
    let mut workers: Vec<Process> = (0..2).map(|_| coord.worker(&place, "")).collect();
    let story = || coord.process.story();
    let written = || std::fs::read_dir(place.at("net/checkpoints")).ok()?.flatten().next();
    until("a checkpoint", story, || {
        written().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
    });
    coord.process.kill();
    for worker in &mut workers {
        worker.says("the connection is lost");
        // It dials again, and nothing listens now.
        worker.says("nothing listens");
        worker.is_running();
    }
    assert!(lines(&place) < 800, "it was killed too late");
    let coord = Coord::at(&place, &address, &format!("{arguments} --resume"));
    coord.process.says("resuming after step ");
    assert_eq!(coord.hash(&place), want);
    for worker in &mut workers {
        let ran = worker.ends_well();
        assert!(ran.stdout.contains(&want), "{}", worker.story());
        assert!(ran.stderr.contains("at hand"), "the samples must be sent only once: {}", worker.story());
    }
    place.no_halves();
}
