//! Runs on workers: the desk that gives them out and takes in their files.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nn_engine::params_sha256;
use nn_net::proto as pb;
use nn_net::{Desk, Order, Piece, RunFile, Sample, Sent, TrainingSet};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::board::{Board, Ended};
use super::folder::SweepFolder;
use super::plan::Plan;
use super::stages::Task;
use super::table;
use crate::clock::Clock;
use crate::config::Base;
use crate::failure::{Failure, write_stdout};
use crate::progress::{Table, above, warn};
use crate::signals::StopFlag;
use crate::store::run_files::{BASE, CHECKPOINTS, METRICS, MODEL, SUMMARY, is_of_run, step_of};
use crate::store::runs::Occupant;
use crate::store::{Checkpoints, ModelFile, replace, temporary_in, write_atomically};

/// How often a run may fail before it counts as failed. A worker may have no room, or another version of the program.
const TRIES: u32 = 3;
/// How long workers may take to stop.
const GRACE: Duration = Duration::from_secs(20);
/// The largest summary, and the room for what a model's file has besides its numbers.
const ROOM: u64 = 64 << 20;

/// Gives out the runs of a sweep.
pub(super) struct Counter {
    plan: Arc<Plan>,
    board: Arc<Board>,
    folder: Arc<SweepFolder>,
    quiet: bool,
    stop: StopFlag,
    /// The samples of each reading of the data, and all of them by hash.
    readings: Vec<Vec<Sample>>,
    sets: HashMap<String, Sample>,
    /// The model that all runs begin with, as a file.
    base: Option<RunFile>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Task>,
    active: BTreeMap<usize, Active>,
    tries: HashMap<usize, u32>,
    over: Option<u64>,
    /// The first failure of the sweep itself.
    trouble: Option<Failure>,
}

/// A run that a worker has.
struct Active {
    task: Task,
    worker: String,
    /// The file that is arriving.
    file: Option<(String, NamedTempFile, u64)>,
    /// The last line of the log, if it is not complete.
    line: Vec<u8>,
}

impl Counter {
    pub(super) fn new(
        plan: Arc<Plan>,
        board: Arc<Board>,
        folder: Arc<SweepFolder>,
        quiet: bool,
        stop: StopFlag,
    ) -> Result<Self, Failure> {
        let mut sets = HashMap::new();
        let readings = plan
            .readings()
            .map(|data| {
                let all = [Some(&data.train), Some(&data.test), data.validation.as_ref()];
                let all = all.into_iter().flatten().map(|set| Arc::new(TrainingSet::new(set.clone())));
                let all: Vec<Sample> = all.collect();
                sets.extend(all.iter().map(|set| (set.sha256().to_owned(), set.clone())));
                all
            })
            .collect();
        let base = plan.runs.first().and_then(|planned| planned.run.base());
        let content = base.map_or(Ok(None), Base::to_bytes);
        let content =
            content.map_err(|error| Failure::failed(format_args!("cannot send the model: {error}")))?;
        let base = content.map(|content| RunFile { name: BASE.to_owned(), content });
        let inner = Mutex::default();
        Ok(Self { plan, board, folder, quiet, stop, readings, sets, base, inner })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has workers do the tasks.
    pub(super) fn run(&self, tasks: &[Task]) -> Result<(), Failure> {
        self.lock().queue = tasks.iter().copied().collect();
        let table = Table::new(self.quiet);
        let clock = Clock::start();
        let mut stopped_at = None;
        loop {
            let inner = self.lock();
            let left = (inner.queue.len(), inner.active.len());
            if inner.trouble.is_some() || (left.1 == 0 && (left.0 == 0 || self.stop.is_set())) {
                break;
            }
            drop(inner);
            if self.stop.is_set() {
                let since = *stopped_at.get_or_insert_with(|| clock.now());
                if clock.now() - since > GRACE {
                    warn("some workers did not stop in time; their runs go on from older checkpoints");
                    break;
                }
            }
            if table.is_drawn() {
                table.draw(&table::lines(&self.board, table.room()));
            }
            thread::sleep(Duration::from_millis(if table.is_drawn() { 100 } else { 5 }));
        }
        self.lock().trouble.take().map_or(Ok(()), Err)
    }

    /// All runs are over: workers are told.
    pub(super) fn close(&self) {
        let done = self.board.finished() as u64;
        let mut inner = self.lock();
        inner.queue.clear();
        inner.over = Some(done);
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            let _ = above(|| write_stdout(format!("{text}\n")));
        }
    }

    /// A run is over, or its stage is.
    fn end(&self, inner: &mut Inner, run: usize, ended: Ended) {
        let paused = matches!(ended, Ended::Paused(_));
        let entry = self.board.end(run, ended);
        if let Err(trouble) = self.folder.write(&self.board) {
            inner.trouble.get_or_insert(trouble);
        }
        if !paused {
            self.say(&table::ended(run, &entry, &self.board));
        }
    }

    /// The order for a task.
    fn order(&self, task: Task) -> Result<Order<Sample>, Failure> {
        let Task { run, until } = task;
        let planned = &self.plan.runs[run];
        let out = self.folder.of_run(run);
        let unusable =
            |error: io::Error| Failure::failed(format_args!("cannot prepare {}: {error}", out.display()));
        fs::create_dir_all(&out).map_err(unusable)?;
        let options = out.join("run.toml");
        if !options.exists() {
            write_atomically(&options, planned.options.as_bytes()).map_err(unusable)?;
        }
        let mut files: Vec<RunFile> = self.base.iter().cloned().collect();
        if Occupant::of(&out).is_some_and(|occupant| occupant.resumable) {
            let found = Checkpoints::of_run(&out, 1).newest().map_err(unusable)?;
            let newest = found.newest.and_then(|(path, _)| Some(path.file_name()?.to_str()?.to_owned()));
            if let Some(newest) = newest {
                let mut names = vec![METRICS.to_owned(), format!("{CHECKPOINTS}/best.safetensors")];
                names.push(format!("{CHECKPOINTS}/{newest}"));
                names.dedup();
                for name in names {
                    match fs::read(out.join(&name)) {
                        Ok(content) => files.push(RunFile { name, content }),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(unusable(error)),
                    }
                }
            }
        }
        Ok(Order {
            run: run as u64,
            options: planned.options.clone(),
            about: self.plan.data(run).about().map_err(Failure::failed)?,
            manifest_hash: planned.manifest.hash(),
            sets: self.readings[planned.reading()].clone(),
            until_epochs: until,
            files,
        })
    }

    /// The most bytes that a file of a run may have.
    fn most_bytes(&self, run: usize, name: &str) -> u64 {
        let manifest = &self.plan.runs[run].manifest;
        match name {
            METRICS => manifest
                .total_steps()
                .saturating_mul(256)
                .saturating_add(self.plan.epochs(run).saturating_mul(1 << 16))
                .saturating_add(ROOM),
            SUMMARY => ROOM,
            // Weights, two moments and an average.
            _ => (manifest.model().parameters() as u64).saturating_mul(16).saturating_add(ROOM),
        }
    }

    /// A piece of a file from the worker that has the run.
    fn piece(&self, inner: &mut Inner, piece: &Piece) -> Result<(), String> {
        let (run, name) = (piece.run as usize, piece.file.as_str());
        let active = inner.active.get_mut(&run).ok_or_else(|| format!("run {run} is not given out"))?;
        if !is_of_run(name) {
            return Err(format!("a run has no file {name:?}"));
        }
        if piece.offset.saturating_add(piece.data.len() as u64) > self.most_bytes(run, name) {
            return Err(format!("{name} is larger than any of that run can be"));
        }
        let out = self.folder.of_run(run);
        let cannot = |error: io::Error| format!("the coordinator cannot write {name}: {error}");
        if name == METRICS {
            append(&out.join(METRICS), piece).map_err(cannot)?;
            if piece.offset == 0 {
                active.line.clear();
            }
            let lines = active.take_lines(&piece.data);
            for line in lines.iter().filter(|line| line["kind"] == "epoch") {
                self.board.epoch(run, line["epoch"].as_u64().unwrap_or(0), line);
            }
            return Ok(());
        }
        if piece.offset == 0 {
            active.file = Some((name.to_owned(), temporary_in(&out).map_err(cannot)?, 0));
        }
        let Some((of, file, length)) = active.file.as_mut().filter(|(of, ..)| of == name) else {
            return Err(format!("a piece of {name} came without the ones before"));
        };
        if *length != piece.offset {
            return Err(format!("a piece of {of} is out of order"));
        }
        file.write_all(&piece.data).map_err(cannot)?;
        *length += piece.data.len() as u64;
        if piece.complete
            && let Some((_, file, _)) = active.file.take()
        {
            self.keep(run, name, file)?;
        }
        Ok(())
    }

    /// Checks a file that is complete, and keeps it.
    fn keep(&self, run: usize, name: &str, file: NamedTempFile) -> Result<(), String> {
        let (out, planned) = (self.folder.of_run(run), &self.plan.runs[run]);
        let hash = planned.manifest.hash();
        let of_run = if name == SUMMARY {
            let text = fs::read(file.path()).map_err(|error| error.to_string())?;
            let summary: Value = serde_json::from_slice(&text).map_err(|error| format!("{name}: {error}"))?;
            summary["config_hash"] == hash.as_str() && summary["params_sha256"].is_string()
        } else {
            let read =
                ModelFile::read(file.path()).map_err(|error| format!("{name} is unusable: {error}"))?;
            read.run.config_hash == hash && step_of(name).is_none_or(|step| step == read.run.step)
        };
        if !of_run {
            return Err(format!("{name} is not of the run that was ordered"));
        }
        let cannot = |error: io::Error| format!("the coordinator cannot write {name}: {error}");
        let path = out.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&out)).map_err(cannot)?;
        file.as_file().sync_all().map_err(cannot)?;
        replace(file, &path).map_err(cannot)?;
        if let Some(step) = step_of(name) {
            forget(&out, step, planned.keep_checkpoints);
        }
        Ok(())
    }

    /// The result of a run whose files are all here.
    fn result(&self, task: Task) -> Result<Ended, String> {
        let Task { run, until } = task;
        let Some(summary) = self.folder.summary(run) else { return Ok(Ended::Stopped(None)) };
        let planned = &self.plan.runs[run];
        if summary["outcome"] == "diverged" {
            return Ok(Ended::Finished(summary));
        }
        let model =
            ModelFile::read(&self.folder.of_run(run).join(MODEL)).map_err(|error| error.to_string())?;
        if summary["params_sha256"] != params_sha256(&model.params).as_str() {
            return Err(format!("the model and the summary of run {run} disagree"));
        }
        let pause = until.map(|epochs| planned.manifest.steps_until(epochs));
        let steps = summary["steps"].as_u64().unwrap_or(0);
        Ok(match summary["outcome"].as_str() {
            Some("complete" | "early-stopped") => Ended::Finished(summary),
            _ if pause.is_some_and(|pause| steps >= pause) => Ended::Paused(summary),
            _ => Ended::Stopped(Some(summary)),
        })
    }
}

impl Desk for Counter {
    fn take(&self, worker: &str) -> Option<Order<Sample>> {
        let mut inner = self.lock();
        if self.stop.is_set() {
            return None;
        }
        while let Some(task) = inner.queue.pop_front() {
            // A run that ended just before the sweep was killed is not in `sweep.json`.
            if let Some(summary) = self.folder.finished(task.run, &self.plan) {
                self.end(&mut inner, task.run, Ended::Finished(summary));
                continue;
            }
            match self.order(task) {
                Ok(order) => {
                    self.board.begin(task.run, Some(worker.to_owned()));
                    let active = Active { task, worker: worker.to_owned(), file: None, line: Vec::new() };
                    let _ = inner.active.insert(task.run, active);
                    return Some(order);
                }
                Err(trouble) => {
                    inner.trouble.get_or_insert(trouble);
                    return None;
                }
            }
        }
        None
    }

    fn receive(&self, sent: Sent) -> Result<(), String> {
        let mut inner = self.lock();
        match sent {
            Sent::Piece(piece) => self.piece(&mut inner, &piece),
            Sent::Ended { run, failure } => {
                let run = run as usize;
                let Some(Active { task, worker, .. }) = inner.active.remove(&run) else {
                    return Err(format!("run {run} is not given out"));
                };
                let ended = match failure {
                    Some(failure) => Err(failure),
                    None => self.result(task),
                };
                match ended {
                    Ok(Ended::Stopped(_)) if !self.stop.is_set() => inner.queue.push_front(task),
                    Ok(ended) => self.end(&mut inner, run, ended),
                    Err(why) => {
                        let tries = inner.tries.entry(run).or_default();
                        *tries += 1;
                        warn(format_args!("{} failed on {worker}: {why}", SweepFolder::name(run)));
                        if *tries < TRIES {
                            inner.queue.push_back(task);
                        } else {
                            let failure = Failure::failed(why);
                            self.end(&mut inner, run, Ended::Failed(failure));
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn give_back(&self, run: u64) {
        let mut inner = self.lock();
        if let Some(Active { task, worker, .. }) = inner.active.remove(&(run as usize)) {
            self.board.wait(task.run);
            if !self.stop.is_set() {
                inner.queue.push_front(task);
                let name = SweepFolder::name(task.run);
                self.say(&format!(
                    "{name} has lost its worker {worker}, and goes on from its last checkpoint"
                ));
            }
        }
    }

    fn set(&self, sha256: &str) -> Option<Sample> {
        self.sets.get(sha256).cloned()
    }

    fn over(&self) -> Option<u64> {
        self.lock().over
    }

    fn stops(&self) -> bool {
        self.stop.is_set()
    }

    fn status(&self) -> (pb::SweepStatus, Vec<pb::RunProgress>) {
        self.board.status()
    }
}

impl Active {
    /// The lines that are complete with these bytes, if they are of epochs.
    fn take_lines(&mut self, data: &[u8]) -> Vec<Value> {
        self.line.extend_from_slice(data);
        let whole = self.line.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.line.drain(..whole).collect();
        // What is no line of a log must not take memory for ever.
        if self.line.len() > 1 << 20 {
            self.line.clear();
        }
        let of_epoch = |line: &&[u8]| line.windows(14).any(|part| part == b"\"kind\":\"epoch\"");
        let parse = |line: &[u8]| serde_json::from_slice(line).ok();
        lines.split(|&byte| byte == b'\n').filter(of_epoch).filter_map(parse).collect()
    }
}

/// Replaces the rest of a log from the offset of a piece on.
fn append(path: &Path, piece: &Piece) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if piece.offset > file.metadata()?.len() {
        return Err(io::Error::other("there is a gap in the log"));
    }
    file.set_len(piece.offset)?;
    let _ = file.seek(SeekFrom::Start(piece.offset))?;
    file.write_all(&piece.data)
}

/// Removes all but the newest checkpoints up to `step`, as the run itself does.
fn forget(out: &Path, step: u64, keep: usize) {
    let entries = fs::read_dir(out.join(CHECKPOINTS)).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((step_of(&format!("{CHECKPOINTS}/{name}"))?, entry.path()))
    });
    let mut all: Vec<_> = named.filter(|(of, _)| *of <= step).collect();
    all.sort_unstable();
    for (_, old) in all.into_iter().rev().skip(keep.max(1)) {
        // A file that cannot be removed only takes space.
        let _ = fs::remove_file(old);
    }
}
