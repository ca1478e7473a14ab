//! The law over the network: `nn-coord` and any number of `nn-worker` end with the weights of `nn train`, whoever joins,
//! stalls, dies or talks nonsense meanwhile. Real processes and real sockets, on ports that the system chooses.

#![cfg(unix)] // processes are stopped and killed by signals
#![allow(clippy::print_stdout)] // says what is skipped, and why
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{Place, Ran};
use serde_json::Value;

/// More than anything here takes on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the cluster, and what it has printed. It is killed when it is dropped.
struct Process {
    child: Child,
    what: String,
    printed: [Arc<Mutex<String>>; 2],
    readers: Vec<JoinHandle<()>>,
}

/// Keeps what a pipe gives.
fn keep(pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let kept = Arc::new(Mutex::new(String::new()));
    let into = kept.clone();
    let reader = thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = writeln!(into.lock().unwrap(), "{line}");
        }
    });
    (kept, reader)
}

impl Process {
    fn start(place: &Place, program: &str, environment: &[(&str, &str)], arguments: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(place.path()).args(arguments.split_whitespace());
        for name in ["NN_ISA", "NO_COLOR", "CLICOLOR_FORCE", "COLORTERM"] {
            command.env_remove(name);
        }
        command.env("NN_CACHE_DIR", place.at("cache")).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, a) = keep(child.stdout.take().unwrap());
        let (stderr, b) = keep(child.stderr.take().unwrap());
        let name = Path::new(program).file_name().unwrap().to_string_lossy().into_owned();
        Self { child, what: format!("{name} {arguments}"), printed: [stdout, stderr], readers: vec![a, b] }
    }

    fn stdout(&self) -> String {
        self.printed[0].lock().unwrap().clone()
    }

    fn stderr(&self) -> String {
        self.printed[1].lock().unwrap().clone()
    }

    /// What it is, and has said so far.
    fn story(&self) -> String {
        format!("{}\n--- stdout\n{}--- stderr\n{}", self.what, self.stdout(), self.stderr())
    }

    /// Waits until it has said `words`, on either stream.
    #[track_caller]
    fn says(&self, words: &str) {
        let said = || self.stdout().contains(words) || self.stderr().contains(words);
        until(&format!("{words:?}"), || self.story(), || said().then_some(()));
    }

    #[track_caller]
    fn ended(&mut self) -> Ran {
        let ended = |child: &mut Child| child.try_wait().unwrap();
        let from = Instant::now();
        let status: ExitStatus = loop {
            match ended(&mut self.child) {
                Some(status) => break status,
                None if from.elapsed() > PATIENCE => panic!("it does not end: {}", self.story()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ran { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    fn ends_well(&mut self) -> Ran {
        let ran = self.ended();
        assert_eq!(ran.code, Some(0), "{}", self.story());
        assert!(!ran.stderr.contains("panicked"), "{}", self.story());
        ran
    }

    #[track_caller]
    fn is_running(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {}", self.story());
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something, but not for ever.
#[track_caller]
fn until<T>(what: &str, story: impl Fn() -> String, mut ready: impl FnMut() -> Option<T>) -> T {
    let from = Instant::now();
    loop {
        if let Some(got) = ready() {
            return got;
        }
        assert!(from.elapsed() < PATIENCE, "waited in vain for {what}: {}", story());
        thread::sleep(Duration::from_millis(5));
    }
}

/// A coordinator that listens.
struct Coord {
    process: Process,
    address: String,
}

impl Coord {
    /// One on a port that the system chooses, writing into the folder `net`.
    #[track_caller]
    fn start(place: &Place, arguments: &str) -> Self {
        Self::at(place, "127.0.0.1:0", arguments)
    }

    #[track_caller]
    fn at(place: &Place, listen: &str, arguments: &str) -> Self {
        let arguments = format!("--listen {listen} --threads 1 --out net {arguments}");
        let mut process = Process::start(place, env!("CARGO_BIN_EXE_nn-coord"), &[], &arguments);
        let from = Instant::now();
        let address = loop {
            let stdout = process.stdout();
            let tail = stdout.split_once("listening on ").and_then(|(_, tail)| tail.split_once(';'));
            if let Some((address, _)) = tail {
                break address.to_owned();
            }
            process.is_running();
            assert!(from.elapsed() < PATIENCE, "it does not listen: {}", process.story());
            thread::sleep(Duration::from_millis(2));
        };
        Self { process, address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn worker(&self, place: &Place, arguments: &str) -> Process {
        worker(place, &[], &self.url(), arguments)
    }

    /// The status, as `nn status --json` gives it; None while or after it cannot be asked.
    fn status(&self, place: &Place) -> Option<Value> {
        let ran = place.nn(&format!("status --json --coordinator {}", self.url()));
        (ran.code == Some(0)).then(|| ran.json())
    }

    /// Waits until `n` epochs are over, in the middle of the run.
    #[track_caller]
    fn epochs(&mut self, place: &Place, n: usize) {
        let from = Instant::now();
        while !place.at("net/metrics.jsonl").exists() || lines(place) < n {
            self.process.is_running();
            assert!(from.elapsed() < PATIENCE, "no {n} epochs: {}", self.process.story());
            thread::sleep(Duration::from_millis(2));
        }
        self.process.is_running();
    }

    /// Which of `names` has the most to do.
    #[track_caller]
    fn busiest(&self, place: &Place, names: [&str; 2]) -> usize {
        let share = |w: &Value| w["share"].as_f64().unwrap();
        let story = || self.process.story();
        until("a worker with work", story, || {
            let status = self.status(place)?;
            let workers = status["workers"].as_array()?;
            let most = workers.iter().max_by(|a, b| share(a).total_cmp(&share(b)))?;
            names.iter().position(|&name| most["name"] == name && share(most) > 0.0)
        })
    }

    /// Waits for the end of the run, and for the hash of its weights.
    #[track_caller]
    fn hash(mut self, place: &Place) -> String {
        let _ = self.process.ends_well();
        place.hash("net")
    }
}

/// Epochs written so far.
fn lines(place: &Place) -> usize {
    std::fs::read_to_string(place.at("net/metrics.jsonl")).unwrap_or_default().lines().count()
}

fn worker(place: &Place, environment: &[(&str, &str)], url: &str, arguments: &str) -> Process {
    let threads = if arguments.contains("--threads") { "" } else { "--threads 1" };
    let arguments = format!("--coordinator {url} {threads} {arguments}");
    Process::start(place, env!("CARGO_BIN_EXE_nn-worker"), environment, &arguments)
}

/// The hash that `nn train` ends with.
#[track_caller]
fn alone(place: &Place, arguments: &str) -> String {
    let _ = place.nn(&format!("train --quiet --out alone {arguments}")).ok();
    place.hash("alone")
}

/// Long enough over the network for something to happen in the middle.
const LONG: &str = "--epochs 300 --batch-size 128 --shard-size 16 --eval-every 1 --hidden 48,32";

/// A run on each of some numbers of workers, whose threads and instructions differ, against `nn train`.
#[track_caller]
fn holds(arguments: &str, numbers: &[usize]) {
    let place = Place::new();
    let want = alone(&place, arguments);
    for &number in numbers {
        let coord = Coord::start(&place, &format!("--min-workers {number} {arguments}"));
        let mut workers: Vec<Process> = (0..number)
            .map(|i| {
                // Plain code runs everywhere; the rest take the best that there is.
                let environment: &[_] = if i % 3 == 1 { &[("NN_ISA", "portable")] } else { &[] };
                worker(&place, environment, &coord.url(), &format!("--threads {}", 1 + i % 3))
            })
            .collect();
        assert_eq!(coord.hash(&place), want, "{number} workers: {arguments}");
        for worker in &mut workers {
            let ran = worker.ends_well();
            assert!(ran.stdout.contains(&want), "it is told how the run ended: {}", worker.story());
        }
    }
    place.no_halves();
}

#[test]
fn squared_error_by_gradient_descent() {
    holds("--epochs 3 --batch-size 100", &[1, 2, 3, 5, 8]);
}

#[test]
fn cross_entropy_with_momentum_in_batches_that_do_not_divide() {
    holds("--epochs 2 --batch-size 37 --cost cross-entropy --optimizer momentum", &[1, 3, 8]);
}

#[test]
fn adam_in_shards_that_do_not_divide() {
    holds("--epochs 2 --batch-size 97 --shard-size 7 --optimizer adam --activation relu", &[2, 5]);
}

#[test]
fn mnist() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist");
    if !data.is_dir() {
        println!("skipped: there is no MNIST in {}", data.display());
        return;
    }
    let place = Place::new();
    let arguments = format!("--epochs 1 --hidden 100 --batch-size 1000 --data {}", data.display());
    let want = alone(&place, &arguments);
    let coord = Coord::start(&place, &format!("--min-workers 3 {arguments}"));
    let mut workers: Vec<Process> = (0..3).map(|_| coord.worker(&place, "")).collect();
    assert_eq!(coord.hash(&place), want);
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
}

#[test]
fn a_worker_joins_in_the_middle() {
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
fn one_of_two_workers_is_killed() {
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
    // Two are wanted: a third one takes its place.
    let mut third = coord.worker(&place, "");
    assert_eq!(coord.hash(&place), want);
    for worker in [&mut other, &mut third] {
        assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
    }
}

#[test]
fn the_only_worker_is_killed() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, LONG);
    let victim = coord.worker(&place, "");
    coord.epochs(&place, 5);
    victim.kill();
    coord.process.says("waiting for ");
    let stood = lines(&place);
    thread::sleep(Duration::from_millis(300));
    assert!(lines(&place) <= stood + 1, "nobody computes");
    let mut next = coord.worker(&place, "");
    assert_eq!(coord.hash(&place), want);
    let _ = next.ends_well();
}

#[test]
fn a_worker_stands_still_for_a_while() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {LONG}"));
    let names = ["ada", "grace"];
    let mut workers = names.map(|name| coord.worker(&place, &format!("--name {name}")));
    coord.epochs(&place, 5);
    let stalled = coord.busiest(&place, names);
    workers[stalled].signal("STOP");
    // Another one does its part too, so the run goes on.
    let from = lines(&place);
    coord.epochs(&place, from + 3);
    workers[stalled].signal("CONT");
    assert_eq!(coord.hash(&place), want);
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
}

#[test]
fn workers_that_stay_do_two_runs() {
    let place = Place::new();
    let arguments =
        ["--epochs 3 --batch-size 200", "--epochs 2 --batch-size 150 --hidden 20 --optimizer adam"];
    let coord = Coord::start(&place, &format!("--min-workers 2 {}", arguments[0]));
    let address = coord.address.clone();
    let mut workers: Vec<Process> = (0..2).map(|_| coord.worker(&place, "--stay")).collect();
    assert_eq!(coord.hash(&place), alone(&place, arguments[0]));
    workers.iter_mut().for_each(Process::is_running);
    let coord = Coord::at(&place, &address, &format!("--min-workers 2 {}", arguments[1]));
    assert_eq!(coord.hash(&place), alone(&place, arguments[1]));
    for worker in &mut workers {
        worker.is_running();
        worker.signal("TERM");
        let ran = worker.ends_well();
        assert!(ran.stderr.contains("at hand"), "the samples are sent once: {}", worker.story());
    }
}

#[test]
fn a_worker_may_be_first() {
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

/// An address on which nothing listens, for now.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn addresses_that_lead_nowhere_are_explained() {
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
        (worker(&place, &[], "https://127.0.0.1:7654", ""), vec!["https", "http://"]),
        (worker(&place, &[], "ftp://127.0.0.1:7654", ""), vec!["ftp://", "http://HOST:PORT"]),
    ];
    for (worker, parts) in &mut tries {
        worker.ended().refused(4, parts);
    }
    place.nn(&format!("status --coordinator {nobody}")).refused(4, &["nothing listens", &address]);
}

#[test]
fn a_port_in_use_is_explained() {
    let place = Place::new();
    let coord = Coord::start(&place, "--epochs 1");
    let arguments = format!("--listen {} --out other", coord.address);
    let mut second = Process::start(&place, env!("CARGO_BIN_EXE_nn-coord"), &[], &arguments);
    second.ended().refused(4, &["cannot listen on", &coord.address, "help: "]);
    assert!(!place.at("other").exists(), "nothing is written");
    for (listen, code) in [("127.0.0.1", 2), ("no-such-host.invalid:1", 4), ("192.0.2.1:7654", 4)] {
        let arguments = format!("--listen {listen} --out other");
        let mut wrong = Process::start(&place, env!("CARGO_BIN_EXE_nn-coord"), &[], &arguments);
        wrong.ended().refused(code, &[listen, "help: "]);
    }
}

#[test]
fn a_coordinator_that_is_told_to_stop_can_be_resumed() {
    let place = Place::new();
    let want = alone(&place, LONG);
    let arguments = format!("{LONG} --checkpoint-seconds 0");
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {arguments}"));
    let mut workers: Vec<Process> = (0..2).map(|_| coord.worker(&place, "")).collect();
    coord.epochs(&place, 4);
    coord.process.signal("TERM");
    let ran = coord.process.ends_well();
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("--resume"), "{}", coord.process.story());
    workers.iter_mut().for_each(|worker| drop(worker.ends_well()));
    assert!(lines(&place) < 300, "it was told too late");
    place.no_halves();
    // A copy goes on alone, the folder itself with another worker.
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
fn a_worker_that_is_told_to_stop_leaves() {
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
    assert!(from.elapsed() < Duration::from_secs(10), "{:?}: {}", from.elapsed(), leaver.story());
    assert_eq!(coord.hash(&place), want);
    let _ = other.ends_well();
    // One that has not got in yet leaves as well.
    let mut waiting = worker(&place, &[], &format!("http://{}", free()), "");
    waiting.says("trying again");
    waiting.signal("TERM");
    let _ = waiting.ends_well();
}

#[test]
fn whom_it_waits_for_is_said_and_the_status_shows_it() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 200";
    let coord = Coord::start(&place, &format!("--min-workers 2 {arguments}"));
    let mut first = coord.worker(&place, "--name ada");
    first.says("computing");
    coord.process.says("waiting for 2 workers");
    let story = || coord.process.story();
    let status = until("a worker in the status", story, || {
        coord.status(&place).filter(|status| status["workers"].as_array().is_some_and(|w| w.len() == 1))
    });
    assert_eq!(status["workers"][0]["name"], "ada", "{status}");
    assert_eq!(status["workers"][0]["threads"], 1, "{status}");
    assert_eq!(status["state"], "waiting", "{status}");
    assert_eq!(status["step"], 0, "{status}");
    assert!(status["waiting_for"].as_str().unwrap().contains("2 workers"), "{status}");
    let text = place.nn(&format!("status --coordinator {}", coord.url())).ok().stdout;
    for part in ["waiting for", "worker", "address", "samples/s", "ada", "127.0.0.1:"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut second = coord.worker(&place, "--name grace");
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    for worker in [&mut first, &mut second] {
        let _ = worker.ends_well();
    }
}

#[test]
fn the_status_of_a_run() {
    let place = Place::new();
    let mut coord = Coord::start(&place, &format!("--min-workers 2 {LONG}"));
    let workers = ["ada", "grace"].map(|name| coord.worker(&place, &format!("--name {name}")));
    coord.epochs(&place, 3);
    let story = || coord.process.story();
    // It is made anew now and then, not for each who asks.
    let status = until("a run in the status", story, || {
        coord.status(&place).filter(|status| status["step"].as_u64().unwrap() > 0)
    });
    assert_eq!(status["state"], "training", "{status}");
    let mut names: Vec<&str> =
        status["workers"].as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ada", "grace"], "{status}");
    let text = place.nn(&format!("status --coordinator {}", coord.url())).ok().stdout;
    for part in ["epoch ", "step ", "samples/s", "ada", "grace"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    drop(workers);
}

#[test]
fn it_starts_workers_itself() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 200";
    // The programs as they are installed: side by side, under their names.
    let coord = Coord::start(&place, &format!("--spawn 2 --min-workers 2 {arguments}"));
    assert_eq!(coord.hash(&place), alone(&place, arguments));
}

#[test]
fn peers_that_talk_nonsense_or_say_nothing_do_not_matter() {
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
        let _ = peer.write_all(bytes); // it may hang up in the middle
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
fn sixty_four_workers() {
    let place = Place::new();
    let arguments = "--epochs 2 --batch-size 512 --shard-size 4";
    let want = alone(&place, arguments);
    let coord = Coord::start(&place, &format!("--min-workers 64 {arguments}"));
    let mut workers: Vec<Process> = (0..64).map(|_| coord.worker(&place, "")).collect();
    assert_eq!(coord.hash(&place), want);
    for worker in &mut workers {
        assert!(worker.ends_well().stdout.contains(&want), "{}", worker.story());
    }
    place.no_halves();
}

#[test]
fn a_coordinator_waits_only_as_long_as_it_is_told_to() {
    let place = Place::new();
    let arguments = "--epochs 300 --batch-size 50 --eval-every 300";
    let mut coord = Coord::start(&place, &format!("--wait-timeout 1 {arguments}"));
    // Nobody comes.
    let refused = ["waited 1 s for 1 worker", "after step 0", "--resume", "help: "];
    coord.process.ended().refused(4, &refused);
    // One comes and dies: what it has done is kept, and the run can go on from there.
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
    coord.process.says("going on after step");
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    let _ = worker.ends_well();
}
