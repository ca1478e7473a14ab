//! A peer that shares no code with this project: a Python program on grpcio, which learns the protocol from the
//! coordinator's reflection service. It sends garbage, old versions and wrong numbers. Each must be refused for the right
//! reason, and the run must still end with the weights of `nn train`. The scenarios are in `tests/foreign/`. Another Python program
//! computes with exported models in onnxruntime.
//!
//! The tests need Python 3.10 or newer. `NN_TEST_PYTHON` names one that has the packages of
//! `tests/foreign/requirements.txt`. Without it, the first run makes a virtual environment below the target folder.

#![cfg(unix)] // like the other tests of the cluster

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Place, plain};

/// A limit on every process, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

const FOREIGN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign");

/// Runs a command of the setup, or panics with the remedy.
fn must(command: &mut Command, remedy: &str) -> Output {
    let what = format!("{command:?}");
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            panic!("{what} failed: {remedy}\n{}{}", said[0], said[1])
        }
        Err(error) => panic!("cannot run {what}: {error}; {remedy}"),
    }
}

/// A Python that has grpcio, and onnxruntime.
fn python() -> PathBuf {
    let list = Path::new(FOREIGN).join("requirements.txt");
    let (python, remedy) = if let Some(python) = std::env::var_os("NN_TEST_PYTHON") {
        let remedy = format!("install it for NN_TEST_PYTHON: -m pip install -r {}", list.display());
        (PathBuf::from(python), remedy)
    } else {
        (own_python(&list), "remove that folder and run the test again".to_owned())
    };
    must(Command::new(&python).args(["-c", "import grpc, grpc_reflection, onnx, onnxruntime"]), &remedy);
    python
}

/// The Python of a virtual environment below the target folder. It is made if it does not exist or the list has changed.
fn own_python(list: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(target).unwrap();
    // Other tests, in this process and in others, may make it at the same time.
    let lock = File::create(target.join("python.lock")).unwrap();
    lock.lock().unwrap();
    let folder = target.join("python");
    let (python, done) = (folder.join("bin/python"), folder.join("installed.txt"));
    let wanted = fs::read(list).unwrap();
    if fs::read(&done).is_ok_and(|got| got == wanted) {
        return python;
    }
    must(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder),
        "install Python 3.10 or newer with its module venv (on Debian and Ubuntu: apt-get install python3 \
         python3-venv), or name a Python that has grpcio and grpcio-reflection in NN_TEST_PYTHON",
    );
    must(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(list),
        "it needs Python 3.10 or newer, and access to PyPI once; without them, name a Python that has grpcio and \
         grpcio-reflection in NN_TEST_PYTHON",
    );
    fs::write(done, wanted).unwrap();
    python
}

/// TensorBoard's own package reads the event files of a run, and finds in them what `metrics.jsonl` has.
#[test]
fn tensorboard_reads_the_events_of_a_run() {
    let place = Place::new();
    let run = "train --quiet --epochs 3 --tensorboard --out run --hidden 20 --optimizer adam";
    let _ = place.nn(run).ok();
    let script = Path::new(FOREIGN).join("tensorboard_reader.py");
    let output = must(
        Command::new(python()).arg(script).arg(place.at("run")),
        "the script compares the files in that folder",
    );
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["epochs"], 3);
    assert_eq!(found["pictures"]["confusion"], serde_json::json!([269, 269]));
    assert!(found["pictures"]["mistakes"].is_array(), "{found}");
    let options = &found["options"];
    assert_eq!(
        (&options["optimizer.name"], &options["model.widths"]),
        (&serde_json::json!("adam"), &serde_json::json!("64,20,10")),
        "{options}"
    );
    assert_eq!(found["status"], 1);
}

/// A process that is killed when it is dropped. Its standard error goes to a file.
struct Process {
    child: Child,
    /// Once it has ended, its id may belong to another process, which must not be killed.
    ended: Arc<AtomicBool>,
    lines: Lines<BufReader<ChildStdout>>,
    errors: PathBuf,
}

impl Process {
    fn start(place: &Place, name: &str, command: &mut Command) -> Self {
        let errors = place.at(format!("{name}.err"));
        plain(command).current_dir(place.path()).env("NN_CACHE_DIR", place.at("cache"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ended = Arc::<AtomicBool>::default();
        limit(child.id(), ended.clone());
        Self { child, ended, lines, errors }
    }

    fn nn(place: &Place, name: &str, program: &str, arguments: &str) -> Self {
        Self::start(place, name, Command::new(program).args(arguments.split_whitespace()))
    }

    /// Reads lines up to and including one that begins with `last`, or to the end.
    fn read_to(&mut self, last: &str) -> Vec<String> {
        let mut read = Vec::new();
        while let Some(Ok(line)) = self.lines.next() {
            let found = line.starts_with(last);
            read.push(line);
            if found {
                break;
            }
        }
        read
    }

    /// Waits until it ends, and fails unless it ended well. Returns the lines that were not read before.
    #[track_caller]
    fn ends_well(&mut self, said: &[String]) -> Vec<String> {
        let rest: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        let status = self.child.wait().unwrap();
        self.ended.store(true, Ordering::Relaxed);
        let errors = fs::read_to_string(&self.errors).unwrap();
        assert!(status.success(), "{status}: {said:#?} {rest:#?} {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        rest
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Ends a process that takes too long, so that waiting for its output ends too.
fn limit(id: u32, ended: Arc<AtomicBool>) {
    thread::spawn(move || {
        thread::sleep(PATIENCE);
        if !ended.load(Ordering::Relaxed) {
            let _ = Command::new("kill").arg(id.to_string()).stderr(Stdio::null()).status();
        }
    });
}

/// Runs a coordinator with `before` honest workers and the stranger, which plays `suites`. Then `after` more workers join
/// and finish the run. Fails unless exactly `scenarios` scenarios pass and the weights are those of `nn train`.
#[track_caller]
fn stranger(arguments: &str, coord: &str, before: usize, after: usize, suites: &[&str], scenarios: usize) {
    let python = python();
    let place = Place::new();
    let _ = place.nn(&format!("train --quiet --out alone {arguments}")).ok();
    let alone = place.summary("alone");

    let listen = format!("--listen 127.0.0.1:0 --threads 0 --out net {coord} {arguments}");
    let mut coord = Process::nn(&place, "coord", env!("CARGO_BIN_EXE_nn-coord"), &listen);
    let said = coord.read_to("listening on ").pop().unwrap_or_default();
    let address = said.split([' ', ';']).nth(2).unwrap_or_else(|| panic!("it does not listen: {said:?}"));
    let worker = |name: usize| {
        let arguments = format!("--coordinator http://{address} --threads 1 --retry-seconds 0");
        Process::nn(&place, &format!("worker{name}"), env!("CARGO_BIN_EXE_nn-worker"), &arguments)
    };
    let mut workers: Vec<Process> = (0..before).map(worker).collect();

    let mut command = Command::new(python);
    command.arg("-B").arg(Path::new(FOREIGN).join("peer.py")).arg(address).args(suites);
    command.arg("--arithmetic").arg(alone["arithmetic_fingerprint"].as_str().unwrap());
    let id = coord.child.id().to_string();
    if Path::new("/proc").join(&id).join("status").exists() {
        command.args(["--pid", &id]);
    }
    if before == 0 {
        command.arg("--still");
    }
    let mut peer = Process::start(&place, "peer", &mut command);
    let said = peer.read_to("waiting for the end");
    workers.extend((before..before + after).map(worker));
    let told = peer.ends_well(&said);

    let passed = said.iter().filter(|line| line.starts_with("ok   ")).count();
    assert_eq!(passed, scenarios, "the number of scenarios that passed: {said:#?}");
    let _ = coord.ends_well(&[]);
    for worker in &mut workers {
        let _ = worker.ends_well(&[]);
    }
    let want = alone["params_sha256"].as_str().unwrap();
    assert_eq!(place.hash("net"), want, "the stranger must not change the run");
    assert_eq!(told, [format!("params_sha256 {want}")], "the stranger must be sent the same hash");
}

/// No other worker is connected while the stranger plays, so it can check that no step is made and no weight changes. The
/// gradients of this network take two chunks.
#[test]
fn a_stranger_alone_is_refused_and_changes_nothing() {
    let arguments = "--recipe book --epochs 2 --hidden 4200 --activation relu --cost cross-entropy --learning-rate 0.05 \
                     --batch-size 256 --shard-size 32";
    stranger(arguments, "", 0, 1, &["door", "tensors", "contributions"], 100);
}

/// An honest worker trains while strangers join, misbehave and leave. The run needs two workers, so without a stranger it
/// waits and cannot end too early. With so much patience no deadline passes.
#[test]
fn a_stranger_beside_an_honest_worker_does_not_disturb_the_run() {
    let arguments = "--epochs 400 --eval-every 100 --hidden none --batch-size 1438 --shard-size 90";
    stranger(arguments, "--min-workers 2 --patience 1000000", 1, 1, &["progress", "contributions"], 30);
}

/// A run with rounds, in which contributions are replicas' differences. The parameters of this network are five pieces.
#[test]
fn a_stranger_in_a_run_with_rounds_is_refused_and_changes_nothing() {
    let arguments = "--epochs 2 --hidden 1000 --activation relu --cost cross-entropy --batch-size 32 --rounds 4 \
                     --replicas 4";
    stranger(arguments, "", 0, 1, &["rounds"], 17);
}

/// Exported models pass ONNX's own checks, and onnxruntime gives the answers of `nn predict`: for every activation and output, for
/// pictures, numbers, texts, dates, missing values and regression.
#[test]
fn onnxruntime_computes_what_we_compute() {
    let python = python();
    let place = Place::new();
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(Path::new(FOREIGN).join("onnx_out.py"))
        .arg(env!("CARGO_BIN_EXE_nn"))
        .arg(place.path());
    let mut process = Process::start(&place, "onnx", &mut command);
    let said = process.ends_well(&[]);
    assert_eq!(said.iter().filter(|line| line.starts_with("ok   ")).count(), 22, "{said:#?}");
}
