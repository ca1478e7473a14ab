//! The folder of a sweep: `sweep.json`, and a folder for each run.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::board::Board;
use super::plan::Plan;
use crate::config::{SweepConfig, run_file};
use crate::failure::Failure;
use crate::store::run_files::SWEEP as NAME;
use crate::store::runs::{Occupant, numbered};
use crate::store::{open_to_lock, remove_leftovers, write_atomically};

/// The largest `sweep.json` that is read.
const MAX_BYTES: u64 = 1 << 28;

/// The folder of a sweep, held until the sweep ends.
#[derive(Debug)]
pub(super) struct SweepFolder {
    path: PathBuf,
    /// The folders that were created for the sweep, innermost first.
    made: Vec<PathBuf>,
    /// The state in which an earlier part of the sweep left it.
    earlier: Option<Value>,
    _lock: Option<File>,
}

impl Drop for SweepFolder {
    fn drop(&mut self) {
        // A sweep that did not begin leaves nothing. This stops at the first folder that is not empty.
        let _ = self.made.iter().try_for_each(fs::remove_dir);
    }
}

impl SweepFolder {
    /// Opens the folder. One that holds a sweep is refused, unless that is resumed or replaced.
    pub(super) fn open(config: &SweepConfig) -> Result<Self, Failure> {
        if !config.numbered {
            return Self::open_at(&config.out, config);
        }
        let mut number = 1;
        let mut newest = None;
        loop {
            let path = numbered(&config.out, number);
            let taken = path.join(NAME).exists();
            let occupied = || fs::read_dir(&path).map_or(path.exists(), |mut files| files.next().is_some());
            if !taken && !occupied() {
                break;
            }
            newest = if taken { Some(path) } else { newest };
            number += 1;
        }
        let free = numbered(&config.out, number);
        let again = config.resume || config.overwrite;
        Self::open_at(newest.as_deref().filter(|_| again).unwrap_or(&free), config)
    }

    fn open_at(path: &Path, config: &SweepConfig) -> Result<Self, Failure> {
        let refused = |error: io::Error| {
            Failure::usage(format_args!("cannot write to --out {}: {error}", path.display()))
                .help("choose a folder that you may write to")
        };
        let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        fs::create_dir_all(path).map_err(refused)?;
        let lock = match open_to_lock(path) {
            Ok(folder) => match folder.try_lock() {
                Ok(()) => Some(folder),
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Failure::usage(format_args!(
                        "another program is writing to --out {}",
                        path.display()
                    ))
                    .help("wait until it ends, or choose another folder"));
                }
                Err(fs::TryLockError::Error(_)) => None,
            },
            Err(_) => None,
        };
        // From here on, what was created is removed again if the sweep does not begin.
        let mut folder = Self { path: path.to_owned(), made, earlier: None, _lock: lock };
        remove_leftovers(path);
        let file = path.join(NAME);
        if file.exists() && !config.resume && !config.overwrite {
            return Err(Failure::usage(format_args!("--out {} holds a sweep", path.display()))
                .help("add --resume to continue it, --overwrite to replace it, or choose another --out"));
        }
        if config.resume && !file.exists() {
            return Err(Failure::usage(format_args!("there is no sweep in {} to resume", path.display()))
                .help("leave out --resume to begin one, or name its folder with --out"));
        }
        folder.earlier = if config.resume { Some(read(&file)?) } else { None };
        Ok(folder)
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The name of a run's folder.
    pub(super) fn name(run: usize) -> String {
        format!("run-{:03}", run + 1)
    }

    /// The folder of a run.
    pub(super) fn of_run(&self, run: usize) -> PathBuf {
        self.path.join(Self::name(run))
    }

    /// Makes the folder ready for the runs. Gives the entries of those that an earlier part of the sweep has.
    pub(super) fn begin(&self, plan: &Plan, config: &SweepConfig) -> Result<Vec<Value>, Failure> {
        if let Some(earlier) = &self.earlier {
            return self.entries(earlier, plan);
        }
        for run in self.runs_there() {
            if !config.overwrite {
                let held = Occupant::of(&run).map_or("files".to_owned(), |occupant| occupant.words);
                return Err(Failure::usage(format_args!("{} holds {held}", run.display()))
                    .help("choose another --out"));
            }
            if run_file::is_foreign(&run) {
                return Err(Failure::usage(format_args!("{} is not a run of nn", run.display()))
                    .help("move it elsewhere, or choose another --out"));
            }
            fs::remove_dir_all(&run)
                .map_err(|error| Failure::failed(format_args!("cannot remove {}: {error}", run.display())))?;
        }
        Ok(Vec::new())
    }

    /// Folders with the names of runs that are not empty.
    fn runs_there(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let named = entries.filter(|entry| {
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("run-"));
            digits.is_some_and(|d| d.len() >= 3 && d.bytes().all(|b| b.is_ascii_digit()))
        });
        let paths = named.map(|entry| entry.path());
        paths.filter(|path| fs::read_dir(path).is_ok_and(|mut files| files.next().is_some())).collect()
    }

    /// The entries of `sweep.json`, which must be of these runs.
    fn entries(&self, earlier: &Value, plan: &Plan) -> Result<Vec<Value>, Failure> {
        let entries = earlier["runs"].as_array().cloned().unwrap_or_default();
        let other = |says: String| {
            Failure::usage(format_args!("the sweep in {} is another one: {says}", self.path.display()))
                .help("resume it with the configuration that it was begun with, or choose another --out")
        };
        if entries.len() != plan.runs.len() {
            return Err(other(format!("it has {} runs, not {}", entries.len(), plan.runs.len())));
        }
        for (at, (entry, run)) in entries.iter().zip(&plan.runs).enumerate() {
            if entry["config_hash"] != run.manifest.hash().as_str()
                || entry["epochs_planned"] != plan.epochs(at)
            {
                let words = entry["words"].as_str().filter(|words| *words != run.run.in_words());
                return Err(other(match words {
                    Some(words) => format!("run {} is {words}, not {}", at + 1, run.run.in_words()),
                    None => format!("run {} ({}) has other options or data", at + 1, run.run.in_words()),
                }));
            }
        }
        Ok(entries)
    }

    /// Writes `sweep.json`.
    pub(super) fn write(&self, board: &Board) -> Result<(), Failure> {
        let text = format!("{:#}\n", board.json());
        write_atomically(&self.path.join(NAME), text.as_bytes()).map_err(|error| {
            Failure::failed(format_args!("cannot write {}: {error}", self.path.join(NAME).display()))
                .help("make room, then go on with --resume")
        })
    }

    /// The summary of a run that is over, although the board may not say so: the sweep was killed just then.
    pub(super) fn finished(&self, run: usize, plan: &Plan) -> Option<Value> {
        let _ = Occupant::of(&self.of_run(run))?;
        let summary = self.summary(run)?;
        let over = matches!(summary["outcome"].as_str(), Some("complete" | "early-stopped" | "diverged"));
        (over && summary["config_hash"] == plan.runs[run].manifest.hash().as_str()).then_some(summary)
    }

    /// The summary of a run, if it has one.
    pub(super) fn summary(&self, run: usize) -> Option<Value> {
        let bytes = fs::read(self.of_run(run).join("summary.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// Reads `sweep.json`.
pub(super) fn read(path: &Path) -> Result<Value, Failure> {
    let unusable = |says: String| {
        Failure::data(format_args!("cannot use {}: {says}", path.display()))
            .help("begin the sweep anew with another --out; its runs can still be resumed by `nn train --resume --out`")
    };
    let bytes = fs::metadata(path).map_err(|error| unusable(error.to_string()))?.len();
    if bytes > MAX_BYTES {
        return Err(unusable(format!("it has {bytes} bytes")));
    }
    let text = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))
}
