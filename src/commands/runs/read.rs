//! A run by the files in its folder. A process may be writing them: half a line at the end of the log is no damage.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::run_file;
use crate::store::open_to_lock;
use crate::store::run_files::{CHECKPOINTS, METRICS, MODEL, SUMMARY, SWEEP};

/// How many levels of folders are searched.
const DEPTH: usize = 3;

/// The most folders that are looked at: the user may have named the root of a disk by mistake.
const MOST: usize = 20_000;

/// The longest line of a log that is read, and the largest summary or file of options.
const LONGEST: u64 = 1 << 20;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum State {
    /// A process is at work on it.
    Running,
    Complete,
    EarlyStopped,
    /// It was asked to stop, or its process has died.
    Stopped,
    Diverged,
    NoWorkers,
}

impl State {
    /// The word for it.
    pub(in crate::commands) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::EarlyStopped => "early-stopped",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
            Self::NoWorkers => "no-workers",
        }
    }
}

/// A run.
#[derive(Debug)]
pub(in crate::commands) struct Found {
    pub(in crate::commands) folder: PathBuf,
    pub(in crate::commands) state: State,
    /// The summary or, before there is one, the last line of an epoch.
    pub(in crate::commands) figures: Map<String, Value>,
    /// The options by key, as the file has them; empty if it is not there.
    pub(in crate::commands) options: BTreeMap<String, String>,
    /// Lines of the log that are no JSON objects.
    pub(in crate::commands) damaged: usize,
    /// What is wrong with its other files, a sentence each.
    pub(in crate::commands) remarks: Vec<String>,
}

impl Found {
    /// A figure that is a number.
    pub(in crate::commands) fn number(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.as_f64()
    }

    /// Epochs done.
    pub(in crate::commands) fn epochs(&self) -> Option<u64> {
        self.figures.get("epochs").or_else(|| self.figures.get("epoch"))?.as_u64()
    }

    /// Epochs that were asked for.
    pub(in crate::commands) fn planned(&self) -> Option<u64> {
        self.options.get("epochs")?.parse().ok()
    }
}

/// What is in some folders.
#[derive(Debug, Default)]
pub(in crate::commands) struct Search {
    /// The runs, in the order of their names.
    pub(in crate::commands) runs: Vec<Found>,
    /// For each run the lines of its epochs, if they are kept.
    pub(in crate::commands) logs: Vec<Vec<Map<String, Value>>>,
    /// The folders of sweeps.
    pub(in crate::commands) sweeps: Vec<PathBuf>,
}

impl Search {
    /// Takes over what another search has found and this one has not.
    pub(super) fn extend(&mut self, other: Self) {
        for (run, log) in other.runs.into_iter().zip(other.logs) {
            if !self.runs.iter().any(|known| known.folder == run.folder) {
                self.runs.push(run);
                self.logs.push(log);
            }
        }
        for sweep in other.sweeps {
            if !self.sweeps.contains(&sweep) {
                self.sweeps.push(sweep);
            }
        }
    }
}

/// The runs and sweeps in a folder, which may be one itself. The lines of the first `keep` runs are kept.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn find(folder: &Path, keep: usize) -> io::Result<Search> {
    let Folders { runs, sweeps } = Folders::in_folder(folder)?;
    let mut found = Search { sweeps, ..Search::default() };
    for folder in runs {
        if let Some((run, log)) = read(&folder, found.runs.len() < keep) {
            found.runs.push(run);
            found.logs.push(log);
        }
    }
    Ok(found)
}

/// Folders with files of ours, in the order of their names.
#[derive(Default)]
struct Folders {
    runs: Vec<PathBuf>,
    sweeps: Vec<PathBuf>,
}

impl Folders {
    /// Those in a folder, itself among them.
    fn in_folder(folder: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        let mut left = MOST;
        search(folder, DEPTH, &mut left, &mut found)?;
        Ok(found)
    }
}

/// The folders in a folder, itself among them, that have files of a run, in the order of their names.
///
/// # Errors
/// If the folder cannot be read.
pub(in crate::commands) fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(Folders::in_folder(folder)?.runs)
}

fn search(folder: &Path, depth: usize, left: &mut usize, found: &mut Folders) -> io::Result<()> {
    let mut folders = Vec::new();
    let (mut is_run, mut is_sweep) = (false, false);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        is_run |= [METRICS, SUMMARY, MODEL, run_file::NAME].iter().any(|file| name == *file);
        is_sweep |= name == SWEEP;
        if entry.file_type()?.is_dir() && name != CHECKPOINTS {
            folders.push(entry.path());
        }
    }
    if is_run {
        found.runs.push(folder.to_owned());
    }
    if is_sweep {
        found.sweeps.push(folder.to_owned());
    }
    if depth == 0 {
        return Ok(());
    }
    folders.sort_by_cached_key(|folder| natural(&folder.to_string_lossy()));
    for folder in folders {
        if *left == 0 {
            break;
        }
        *left -= 1;
        // What may not be read holds no run of ours.
        let _ = search(&folder, depth - 1, left, found);
    }
    Ok(())
}

/// A key by which `run-2` comes before `run-10`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(end);
        parts.push((text.to_owned(), number.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    parts
}

/// What the files of a run say beside its log.
#[derive(Debug)]
pub(in crate::commands) struct Head {
    pub(in crate::commands) state: State,
    /// The options by key; empty if their file is not there.
    pub(in crate::commands) options: BTreeMap<String, String>,
    pub(in crate::commands) summary: Option<Map<String, Value>>,
    /// What is wrong with these files, a sentence each.
    pub(in crate::commands) remarks: Vec<String>,
    /// Whether one of them is there and cannot be read.
    unreadable: bool,
}

/// Reads what is beside the log of the run in a folder.
pub(in crate::commands) fn head(folder: &Path) -> Head {
    let mut troubles = Vec::new();
    let options = options(folder, &mut troubles);
    let path = folder.join(SUMMARY);
    let summary =
        note(small(&path), &path, &mut troubles).and_then(|text| match serde_json::from_slice(&text) {
            Ok(Value::Object(summary)) if summary.contains_key("params_sha256") => Some(summary),
            // Another program's.
            Ok(_) => None,
            Err(error) => note(Err(Trouble::Damaged(error.to_string())), &path, &mut troubles),
        });
    let outcome = summary.as_ref().and_then(|summary| summary.get("outcome")?.as_str());
    let state = match outcome {
        _ if is_locked(folder) => State::Running,
        Some("complete") => State::Complete,
        Some("early-stopped") => State::EarlyStopped,
        Some("diverged") => State::Diverged,
        Some("no-workers") => State::NoWorkers,
        _ => State::Stopped,
    };
    let unreadable = troubles.iter().any(|(_, trouble)| matches!(trouble, Trouble::Unreadable(_)));
    let remarks = troubles.iter().map(|(path, trouble)| trouble.sentence(path)).collect();
    Head { state, options, summary, remarks, unreadable }
}

/// The run in a folder, and the lines of its epochs if they are kept; `None` if its files are those of something else.
fn read(folder: &Path, keep: bool) -> Option<(Found, Vec<Map<String, Value>>)> {
    let Head { state, options, summary, mut remarks, mut unreadable } = head(folder);
    let mut log = Vec::new();
    let path = folder.join(METRICS);
    let read = each_epoch(&path, |epoch| {
        if !keep {
            log.clear();
        }
        log.push(epoch);
    });
    let damaged = read.unwrap_or_else(|trouble| {
        remarks.push(trouble.sentence(&path));
        unreadable = true;
        0
    });
    let last = log.last().cloned();
    if !keep {
        log.clear();
    }
    // Files that may not be read may be those of a run.
    if options.is_empty() && last.is_none() && summary.is_none() && !unreadable {
        return None;
    }
    // The summary of a run that was resumed is older than its log, until it is over.
    let figures = match (summary, last) {
        (Some(summary), last) if state != State::Running || last.is_none() => summary,
        (summary, last) => last.or(summary).unwrap_or_default(),
    };
    Some((Found { folder: folder.to_owned(), state, figures, options, damaged, remarks }, log))
}

/// Whether a process trains in the folder, or sweeps.
pub(in crate::commands) fn is_locked(folder: &Path) -> bool {
    // Where this would create a file, it is not tried.
    cfg!(unix)
        && open_to_lock(folder)
            .is_ok_and(|folder| matches!(folder.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Why a file of a run says nothing.
#[derive(Debug)]
enum Trouble {
    Unreadable(io::Error),
    Damaged(String),
}

impl Trouble {
    fn sentence(&self, path: &Path) -> String {
        match self {
            Self::Unreadable(error) => format!("{} cannot be read: {error}", path.display()),
            Self::Damaged(problem) => format!("{} is damaged: {problem}", path.display()),
        }
    }
}

/// What was read, where there was anything; a trouble is noted.
fn note<T>(
    read: Result<Option<T>, Trouble>,
    path: &Path,
    troubles: &mut Vec<(PathBuf, Trouble)>,
) -> Option<T> {
    read.unwrap_or_else(|trouble| {
        troubles.push((path.to_owned(), trouble));
        None
    })
}

/// Opens a file of a run; `None` if it is not there. A pipe is none, since opening it would wait for whoever writes to it.
///
/// # Errors
/// If it cannot be read.
pub(in crate::commands) fn open(path: &Path) -> io::Result<Option<File>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(about) if !about.is_file() => Err(io::Error::other("it is no regular file")),
        Ok(_) => File::open(path).map(Some),
    }
}

/// A file that is not large; `None` if it is not there.
fn small(path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    let Some(file) = open(path).map_err(Trouble::Unreadable)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(Trouble::Unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Trouble::Damaged("it has more than 1 MiB".to_owned()));
    }
    Ok(Some(bytes))
}

/// The options of a run, as texts.
fn options(folder: &Path, troubles: &mut Vec<(PathBuf, Trouble)>) -> BTreeMap<String, String> {
    let path = folder.join(run_file::NAME);
    let Some(bytes) = note(small(&path), &path, troubles).filter(|bytes| run_file::is_ours(bytes)) else {
        return BTreeMap::new();
    };
    let damaged = |error: &dyn std::fmt::Display| {
        let problem = error.to_string();
        Trouble::Damaged(problem.lines().next().unwrap_or_default().to_owned())
    };
    let table = String::from_utf8(bytes)
        .map_err(|error| damaged(&error))
        .and_then(|text| text.parse::<toml::Table>().map_err(|error| damaged(&error)));
    let table = note(table.map(Some), &path, troubles).unwrap_or_default();
    // What is made of these options may be given away, and who knows the seed of a private run can take the noise away.
    let is_private = table.contains_key("dp-noise");
    let plain = table.into_iter().filter(|(_, value)| !value.is_table());
    plain
        .map(|(key, value)| {
            let secret = is_private && key == "seed";
            let text = value.to_string().trim_matches('"').to_owned();
            (key, if secret { "secret".to_owned() } else { text })
        })
        .collect()
}

/// The lines of all epochs of the run in a folder.
pub(in crate::commands) fn epochs(folder: &Path) -> Vec<Map<String, Value>> {
    let mut epochs = Vec::new();
    let _ = each_epoch(&folder.join(METRICS), |epoch| epochs.push(epoch));
    epochs
}

/// Calls `take` with each line of an epoch, and gives the number of damaged lines.
fn each_epoch(path: &Path, mut take: impl FnMut(Map<String, Value>)) -> Result<usize, Trouble> {
    let mut damaged = 0;
    let Some(file) = open(path).map_err(Trouble::Unreadable)? else { return Ok(0) };
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut file).take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(damaged),
            Ok(_) => {}
            Err(error) => return Err(Trouble::Unreadable(error)),
        }
        // Lines of steps are by far the most, and not looked at.
        if line.starts_with(br#"{"kind":"step""#) || line.starts_with(br#"{"kind":"round""#) {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(Value::Object(epoch)) if epoch.get("epoch").is_some_and(Value::is_u64) => take(epoch),
            Ok(Value::Object(_)) => {}
            Ok(_) => damaged += 1,
            Err(_) if line.ends_with(b"\n") => damaged += 1,
            // It is being written.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_in_order() {
        let mut names = ["run-10", "run-2", "run", "a9b10", "a9b9", "run-99999999999999999999999"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["a9b9", "a9b10", "run", "run-2", "run-10", "run-99999999999999999999999"]);
    }

    #[test]
    fn a_log_that_is_being_written_is_read_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(METRICS);
        fs::write(
            &log,
            "{\"kind\":\"epoch\",\"epoch\":1}\nrubbish\n{\"kind\":\"step\"\n{\"kind\":\"epoch\",\"ep",
        )
        .unwrap();
        let Search { runs, logs, sweeps } = find(folder.path(), 1).unwrap();
        assert_eq!((runs.len(), runs[0].damaged, runs[0].epochs()), (1, 1, Some(1)));
        assert_eq!((runs[0].state, logs[0].len(), sweeps.len()), (State::Stopped, 1, 0));
        assert!(find(folder.path(), 0).unwrap().logs[0].is_empty());
        // Another program's files are no run.
        fs::write(&log, "not json").unwrap();
        fs::write(folder.path().join(SUMMARY), "{\"score\": 1}").unwrap();
        assert!(find(folder.path(), 1).unwrap().runs.is_empty());
        assert!(find(&folder.path().join("nothing"), 1).is_err());
    }

    #[test]
    fn files_that_say_nothing_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
        let remarks = || find(folder.path(), 0).unwrap().runs.remove(0).remarks;
        write(METRICS, b"{\"kind\":\"epoch\",\"epoch\":1}\n[]\n5\n");
        assert!(remarks().is_empty());
        assert_eq!(find(folder.path(), 0).unwrap().runs[0].damaged, 2);
        write(SUMMARY, b"{\"params_sha");
        assert!(remarks()[0].contains("summary.json is damaged: EOF while parsing"), "{:?}", remarks());
        write(SUMMARY, &vec![b' '; (LONGEST + 1) as usize]);
        assert!(remarks()[0].contains("more than 1 MiB"), "{:?}", remarks());
        fs::remove_file(folder.path().join(SUMMARY)).unwrap();
        fs::create_dir(folder.path().join(SUMMARY)).unwrap();
        assert!(
            remarks()[0].contains("summary.json cannot be read: it is no regular file"),
            "{:?}",
            remarks()
        );
        // What cannot be read may be a run: it is not said that there is none.
        fs::remove_file(folder.path().join(METRICS)).unwrap();
        assert_eq!(remarks().len(), 1);
    }
}
