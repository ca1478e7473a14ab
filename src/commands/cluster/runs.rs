//! Whole runs for a coordinator that has many: each is trained as `nn train` trains it, in a folder of its own that is
//! removed afterwards, and the files of the folder are sent as they come.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use nn_core::Dataset;
use nn_net::{Link, Order, RunFile, Runner};

use crate::commands::train::{Data, Stage, planned};
use crate::config::TrainConfig;
use crate::failure::Failure;
use crate::progress::about;
use crate::signals::StopFlag;
use crate::store::run_files::{BASE, CHECKPOINTS, METRICS, MODEL, SUMMARY, is_of_run};

/// How often new files are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Trains whole runs.
#[derive(Debug)]
pub(super) struct Trainer;

impl Runner for Trainer {
    fn run(&self, order: Order<Arc<Dataset>>, link: &Link) -> Result<(), String> {
        let label = format!("run {}", order.run + 1);
        about(&label, || train(&label, order, link)).map_err(|failure| match failure.remedy() {
            Some(remedy) => format!("{}; {remedy}", failure.message()),
            None => failure.message().to_owned(),
        })
    }
}

fn train(label: &str, order: Order<Arc<Dataset>>, link: &Link) -> Result<(), Failure> {
    let Order { options, about, manifest_hash, sets, until_epochs, files, .. } = order;
    let (base, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.name == BASE);
    let base = base.into_iter().next().map(|file| file.content);
    let place = tempfile::tempdir()
        .map_err(|error| Failure::failed(format_args!("cannot make a temporary folder: {error}")))?;
    let out = place.path().join("run");
    let resume = files.iter().any(|file| file.name.starts_with(CHECKPOINTS));
    write(&out, &files)?;
    let config = TrainConfig::ordered(&options, &out, (resume, base.as_deref()), NonZeroUsize::MIN)?;
    drop(base);
    let data = Data::from_parts(&about, sets).map_err(Failure::data)?;
    if planned(&config, &data)?.0.hash() != manifest_hash {
        return Err(Failure::failed("the options give another run here than at the coordinator")
            .help("use the same version of nn on both sides"));
    }
    let mut sender = Sender::new(link, &out, &files);
    let (over, ready) = (AtomicBool::new(false), OnceLock::new());
    let log = out.join(METRICS);
    let stop = StopFlag::of(link.stop());
    let stage = Stage { config: &config, stop, data, until: until_epochs, label: label.to_owned() };
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                if let Some(kept) = ready.get() {
                    sender.send_news(*kept);
                }
                thread::park_timeout(LOOK);
            }
        });
        let begun = || {
            let _ = ready.set(length(&log));
        };
        let trained = stage.train(begun, |_, _| {});
        over.store(true, Ordering::Release);
        sending.thread().unpark();
        // A panic is that of the connection's thread, which has ended, too.
        let _ = sending.join();
        trained
    })?;
    // A run that was stopped before it began has nothing to send.
    if let Some(kept) = ready.get() {
        sender.send_news(*kept);
        sender.send_results();
    }
    Ok(())
}

/// The length of a file; 0 if it is not there.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// Writes the files with which a run goes on.
fn write(out: &Path, files: &[RunFile]) -> Result<(), Failure> {
    for RunFile { name, content } in files {
        if !is_of_run(name) {
            return Err(Failure::failed(format_args!("the coordinator sends a file of the name {name}")));
        }
        let path = out.join(name);
        let written =
            fs::create_dir_all(path.parent().unwrap_or(out)).and_then(|()| fs::write(&path, content));
        written.map_err(|error| Failure::failed(format_args!("cannot write a run's file: {error}")))?;
    }
    Ok(())
}

/// Sends what a run writes.
struct Sender<'a> {
    link: &'a Link,
    out: PathBuf,
    /// The bytes of the log that the coordinator has; `None` before the first are sent.
    log: Option<u64>,
    /// The checkpoints that it has, by name, with their times and lengths.
    checkpoints: HashMap<String, (Option<SystemTime>, u64)>,
}

impl<'a> Sender<'a> {
    fn new(link: &'a Link, out: &Path, files: &[RunFile]) -> Self {
        let mut sender = Self { link, out: out.to_owned(), log: None, checkpoints: HashMap::new() };
        for RunFile { name, .. } in files.iter().filter(|file| file.name.starts_with(CHECKPOINTS)) {
            if let Some(state) = sender.state(name) {
                let _ = sender.checkpoints.insert(name.clone(), state);
            }
        }
        sender
    }

    fn state(&self, name: &str) -> Option<(Option<SystemTime>, u64)> {
        let found = fs::metadata(self.out.join(name)).ok()?;
        Some((found.modified().ok(), found.len()))
    }

    /// Sends new lines of the log, then new checkpoints, whose steps are all in these lines.
    /// Of the log, `kept` bytes were there when the run began, and the coordinator has these.
    fn send_news(&mut self, kept: u64) {
        let mut new: Vec<(String, (Option<SystemTime>, u64))> = Vec::new();
        for entry in fs::read_dir(self.out.join(CHECKPOINTS)).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{CHECKPOINTS}/{name}");
            if let Some(state) = self.state(&name).filter(|_| is_of_run(&name))
                && self.checkpoints.get(&name) != Some(&state)
            {
                new.push((name, state));
            }
        }
        // The best before the newest: a run that goes on from the newest does not repeat the epoch of the best.
        new.sort();
        self.send_log(kept);
        for (name, state) in new {
            // One that was removed meanwhile has a newer one in its place.
            if let Ok(content) = fs::read(self.out.join(&name))
                && self.link.send(&name, 0, &content)
            {
                let _ = self.checkpoints.insert(name, state);
            }
        }
    }

    fn send_log(&mut self, kept: u64) {
        let read = || -> std::io::Result<(u64, Vec<u8>)> {
            let mut file = fs::File::open(self.out.join(METRICS))?;
            // What was cut off the log before the run went on is cut off at the coordinator, too.
            let from = self.log.unwrap_or(kept);
            let _ = file.seek(SeekFrom::Start(from))?;
            let mut new = Vec::new();
            let _ = file.read_to_end(&mut new)?;
            Ok((from, new))
        };
        let Ok((from, new)) = read() else { return };
        if (self.log.is_none() || !new.is_empty()) && self.link.send(METRICS, from, &new) {
            self.log = Some(from + new.len() as u64);
        }
    }

    /// Sends the model and the summary.
    fn send_results(&self) {
        for name in [MODEL, SUMMARY] {
            if let Ok(content) = fs::read(self.out.join(name)) {
                let _ = self.link.send(name, 0, &content);
            }
        }
    }
}
