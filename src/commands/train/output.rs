//! The folder of a run: metrics, summary, model and checkpoints.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::TrainConfig;
use crate::config::run_file;
use crate::failure::Failure;
use crate::progress::warn;
use crate::store::runs::{Occupant, newest_numbered, numbered, within_checkpoints};
use crate::store::{Checkpoints, ModelFile, open_to_lock, remove_leftovers, without_path, write_atomically};
use crate::tensorboard;

/// The folder that `--out` names. If it was created for a run that leaves no file in it, it is removed again.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    /// The folders that were created for the run, innermost first.
    made: Vec<PathBuf>,
    /// The work that the new run destroys, if it was told to.
    doomed: Option<Occupant>,
    /// Held until the run ends, however it ends: a second run would mistake the files of this one for an old run's.
    _lock: Option<File>,
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // This stops at the first folder that is not empty.
        let _ = self.made.iter().try_for_each(fs::remove_dir);
    }
}

impl RunFolder {
    /// Opens the folder for a run. A folder that holds a run is refused, unless the new one resumes or replaces it; a
    /// default folder gets a number instead.
    pub(super) fn for_run(config: &TrainConfig) -> Result<Self, Failure> {
        let out = &config.out;
        if config.numbered {
            return Self::next_free(out);
        }
        let mut folder = Self::open(out)?;
        let Some(occupant) = Occupant::of(out) else {
            folder.refuse_foreign_options(config.resume)?;
            return Ok(folder);
        };
        if config.resume {
            return Ok(folder);
        }
        if config.overwrite {
            folder.refuse_foreign_options(false)?;
            folder.doomed = Some(occupant);
            return Ok(folder);
        }
        let resume = if occupant.resumable { "--resume to continue it, " } else { "" };
        Err(Failure::usage(format_args!("--out {} holds {}", out.display(), occupant.words))
            .help(format_args!("add {resume}--overwrite to replace it, or choose another --out")))
    }

    /// Opens the first folder of `base`, `base-2`, `base-3` … behind which no other holds a run. Of two runs that begin at
    /// the same time, the lock gives it to one.
    fn next_free(base: &Path) -> Result<Self, Failure> {
        let mut number = newest_numbered(base).map_or(1, |newest| newest + 1);
        loop {
            let path = numbered(base, number);
            number += 1;
            // A file of that name is the user's.
            if path.exists() && !path.is_dir() {
                continue;
            }
            if let Some(folder) = Self::try_open(&path)?
                && !run_file::is_foreign(&path)
                && Occupant::of(&path).is_none()
            {
                return Ok(folder);
            }
        }
    }

    /// Fails if the folder has a `run.toml` of the user's own, which a new run would replace.
    fn refuse_foreign_options(&self, resume: bool) -> Result<(), Failure> {
        if resume || !run_file::is_foreign(&self.path) {
            return Ok(());
        }
        let (out, name) = (self.path.display(), run_file::NAME);
        Err(Failure::usage(format_args!("--out {out} has a {name} that no run wrote, and a run writes one"))
            .help("move it elsewhere, or choose another --out"))
    }

    /// Fails if the model at `path`, with which the run begins, is one of the files that the run replaces.
    pub(super) fn refuse_to_destroy(&self, path: &Path) -> Result<(), Failure> {
        let real = |path: &Path| fs::canonicalize(path).ok();
        let around =
            path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let Some(around) = around.and_then(real) else { return Ok(()) };
        let own = [Some(self.path.clone()), Some(self.path.join("checkpoints"))];
        if !own.iter().flatten().filter_map(|folder| real(folder)).any(|folder| folder == around) {
            return Ok(());
        }
        let (path, out) = (path.display(), self.path.display());
        Err(Failure::usage(format_args!(
            "--from {path} is a file of --out {out}, which the run would replace"
        ))
        .help("choose another --out, or begin with a copy of the file"))
    }

    /// Opens the folder, which no other process may use.
    fn open(path: &Path) -> Result<Self, Failure> {
        if let Some(run) = within_checkpoints(path) {
            let (out, run) = (path.display(), run.display());
            return Err(Failure::usage(format_args!(
                "--out {out} is among the checkpoints of the run in {run}"
            ))
            .help("name the run's own folder, or another one"));
        }
        Self::try_open(path)?.ok_or_else(|| {
            Failure::usage(format_args!("another run is writing to --out {}", path.display()))
                .help("wait until it ends, or choose another folder")
        })
    }

    /// Creates the folder if it does not exist, and checks now rather than at the end that files can be written to it.
    /// Gives `None` if another process uses it.
    fn try_open(path: &Path) -> Result<Option<Self>, Failure> {
        let refused = |error: io::Error| {
            let says = format!("cannot write to --out {}: {}", path.display(), without_path(&error));
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Failure::failed(says).help("make room, or choose a folder on a disk with room")
                }
                _ if path.is_file() => Failure::usage(format_args!("{says}: it is a file"))
                    .help("choose a folder: a run writes several files"),
                _ => Failure::usage(says).help("choose a folder that you may write to"),
            }
        };
        let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made: Vec<PathBuf> = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        let mut attempts = 0;
        let lock = loop {
            attempts += 1;
            match fs::create_dir_all(path) {
                // A run that failed may just have removed a folder above. Some file systems say so of every folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 10 => continue,
                created => created.map_err(refused)?,
            }
            match lock(path) {
                Locked::ByOther => return Ok(None),
                // A run that failed has removed the folder before it was locked here.
                Locked::Here(folder) if !is_at(&folder, path) && attempts < 10 => {}
                Locked::Here(folder) => break Some(folder),
                Locked::Never => break None,
            }
        };
        // From here on the folder is this run's, and so it is to be removed again.
        let folder = Self { path: path.to_owned(), made, doomed: None, _lock: lock };
        // The probe has content, because a full disk still accepts empty files.
        let probe = tempfile::Builder::new().prefix(".nn-").suffix(".part").tempfile_in(path);
        probe.and_then(|mut file| file.write_all(&[0; 4096]).and_then(|()| file.flush())).map_err(refused)?;
        // Of an earlier run that was killed.
        for left in [path.to_owned(), path.join("checkpoints")] {
            remove_leftovers(&left);
        }
        Ok(Some(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn checkpoints(&self, keep: usize) -> Checkpoints {
        Checkpoints::of_run(&self.path, keep)
    }

    pub(super) fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The work that the new run destroys once it begins, if it was told to.
    pub(super) fn doomed(&self) -> Option<&Occupant> {
        self.doomed.as_ref()
    }

    /// Whether `run.toml` with the options of the run is there.
    pub(super) fn has_options(&self) -> bool {
        self.path.join(run_file::NAME).exists() && !run_file::is_foreign(&self.path)
    }

    /// Begins a new run: removes the files of an old one, and writes the options of the new one.
    pub(super) fn begin(&self, options: &str) -> Result<(), Failure> {
        self.clear()?;
        write_atomically(&self.path.join(run_file::NAME), options.as_bytes())
            .map_err(|error| self.failed("write the options to", &error))
    }

    /// Replaces the options of a run that is resumed with other ones. A file that is not ours stays as it is, and one that
    /// cannot be replaced too: the old options still describe the run.
    pub(super) fn keep_options(&self, options: &str) {
        let path = self.path.join(run_file::NAME);
        if run_file::is_foreign(&self.path) || fs::read(&path).is_ok_and(|old| old == options.as_bytes()) {
            return;
        }
        if let Err(error) = write_atomically(&path, options.as_bytes()) {
            warn(format_args!("cannot write {}: {error}; --resume needs the options again", path.display()));
        }
    }

    /// Removes the files of an old run, which would otherwise be mistaken for those of the new one.
    fn clear(&self) -> Result<(), Failure> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        self.checkpoints(1)
            .clear()
            .and_then(|()| gone(fs::remove_file(self.metrics_path())))
            .and_then(|()| gone(fs::remove_file(self.path.join("summary.json"))))
            .and_then(|()| gone(fs::remove_file(self.path.join("model.safetensors"))))
            .and_then(|()| gone(fs::remove_file(self.path.join(run_file::NAME))))
            .and_then(|()| gone(tensorboard::clear(&self.path.join("tensorboard"))))
            .map_err(|error| self.failed("clear", &error))
    }

    /// The model that is there, if it can be read, with its path.
    pub(super) fn model(&self) -> Option<(PathBuf, ModelFile)> {
        let path = self.path.join("model.safetensors");
        ModelFile::read(&path).ok().map(|model| (path, model))
    }

    /// Writes `model.safetensors`.
    pub(super) fn write_model(&self, model: &ModelFile) -> Result<(), Failure> {
        model
            .write(&self.path.join("model.safetensors"))
            .map_err(|error| self.failed("write the model to", &error))
    }

    /// Writes `summary.json`.
    pub(super) fn write_summary(&self, summary: &Value) -> Result<(), Failure> {
        let text = format!("{summary:#}\n");
        write_atomically(&self.path.join("summary.json"), text.as_bytes())
            .map_err(|error| self.failed("write the summary to", &error))
    }

    pub(super) fn failed(&self, what: &str, error: &io::Error) -> Failure {
        Failure::failed(format_args!("cannot {what} {}: {error}", self.path.display()))
            .help("make room or choose another --out; checkpoints already written are intact")
    }
}

/// How an attempt to lock a folder ended.
enum Locked {
    /// Until the file is closed.
    Here(File),
    /// Another process has the lock.
    ByOther,
    /// The system cannot lock folders.
    Never,
}

/// Locks a folder against a second run.
fn lock(path: &Path) -> Locked {
    let Ok(folder) = open_to_lock(path) else { return Locked::Never };
    match folder.try_lock() {
        Ok(()) => Locked::Here(folder),
        Err(fs::TryLockError::WouldBlock) => Locked::ByOther,
        Err(fs::TryLockError::Error(_)) => Locked::Never,
    }
}

/// Whether an open folder is still the one at `path`.
#[cfg(unix)]
fn is_at(folder: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|found| (found.dev(), found.ino()));
    id(folder.metadata()) == id(fs::metadata(path))
}

/// Whether an open folder is still the one at `path`. Where open folders cannot be removed, it is.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}
