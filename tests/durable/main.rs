//! Nothing is lost: a run whose checkpoints are damaged, whose disk fills up, whose process is killed or which moves to a
//! cluster ends with the weights, the log and the best checkpoint of an undisturbed run.

#![cfg(unix)] // processes are stopped and killed by signals
#![allow(clippy::print_stdout)] // tests print their seed, or why they are skipped
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

#[path = "../common/mod.rs"]
mod common;

mod checkpoints;
mod disks;
mod early;
mod from;
mod plateau;
mod processes;
mod replay;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Place;
use nn::store::ModelFile;
use serde_json::Value;

/// A limit on every wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn checkpoint(out: &str, step: u64) -> String {
    format!("{out}/checkpoints/step-{step:012}.safetensors")
}

/// The steps of the checkpoints in `out`, ascending.
pub(crate) fn checkpoints(place: &Place, out: &str) -> Vec<u64> {
    let entries = fs::read_dir(place.at(out).join("checkpoints")).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let step = |name: String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    let mut steps: Vec<u64> = entries.filter_map(|entry| step(name(entry))).collect();
    steps.sort_unstable();
    steps
}

pub(crate) fn copy(place: &Place, from: &str, to: &str) {
    let _ = fs::remove_dir_all(place.at(to));
    assert!(Command::new("cp").arg("-r").args([place.at(from), place.at(to)]).status().unwrap().success());
}

/// Trains in `run`, killed again and again in its first second, until a resumption comes to the end.
pub(crate) fn train_among_kills(place: &Place, arguments: &str) {
    let mut killed = 0;
    for attempt in 0..40 {
        let mut running = Running::nn(place, &format!("train --out run {arguments} --resume"));
        thread::sleep(Duration::from_millis(60 + 15 * attempt));
        if running.0.try_wait().unwrap().is_some() {
            break;
        }
        running.kill();
        killed += 1;
    }
    assert!(killed > 0);
    let _ = place.nn(&format!("train --quiet --out run {arguments} --resume")).ok();
}

/// Fails unless two runs have the same weights after every step and every epoch.
#[track_caller]
pub(crate) fn same(place: &Place, run: &str, calm: &str) {
    assert_eq!(place.hash(run), place.hash(calm));
    let (mine, theirs) = (place.steps(run), place.steps(calm));
    assert!(mine == theirs, "{} and {} steps are logged", mine.len(), theirs.len());
    let hashes = |out: &str| -> Vec<(Value, Value)> {
        place.metrics(out).iter().map(|line| (line["epoch"].clone(), line["params_sha256"].clone())).collect()
    };
    assert_eq!(hashes(run), hashes(calm));
}

/// Fails unless two runs have the same best checkpoint.
#[track_caller]
pub(crate) fn same_best(place: &Place, run: &str, calm: &str) {
    let [run, calm] = [run, calm].map(|out| {
        let path = place.at(out).join("checkpoints/best.safetensors");
        let file = ModelFile::read_checkpoint(&path).unwrap();
        (file.run.step, file.run.validation, (file.params, file.average), file.moments)
    });
    assert_eq!((run.0, run.1), (calm.0, calm.1));
    assert!((run.2, run.3) == (calm.2, calm.3));
}

/// Waits until `ready` returns true, at most [`PATIENCE`].
#[track_caller]
pub(crate) fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let from = Instant::now();
    while !ready() {
        assert!(from.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A process that is killed if the test fails.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn nn(place: &Place, arguments: &str) -> Self {
        let mut command = place.command(arguments.split_whitespace());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn other(place: &Place, program: &str, arguments: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(place.path()).args(arguments.split_whitespace()).stdin(Stdio::null());
        common::plain(&mut command)
            .env("NN_CACHE_DIR", place.at("cache"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        let _ = self.0.wait().unwrap();
    }

    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("the end", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap()
    }
}

/// A run `long` of 8 epochs with checkpoints after epochs 3 and 8, and its copy `run`.
pub(crate) fn two_checkpoints(arguments: &str) -> Place {
    let place = Place::new();
    for epochs in [3, 8] {
        let arguments = format!("--quiet --out long --epochs {epochs} --resume {arguments}");
        let _ = place.nn(&format!("train {arguments}")).ok();
    }
    assert_eq!(checkpoints(&place, "long"), [432, 1152]);
    copy(&place, "long", "run");
    place
}

pub(crate) fn change(path: &Path, change: impl FnOnce(&mut ModelFile)) {
    let mut file = ModelFile::read(path).unwrap();
    change(&mut file);
    file.write(path).unwrap();
}
