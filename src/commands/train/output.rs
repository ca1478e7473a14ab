//! The folder of a run: metrics, summary, model and checkpoints.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;
use crate::store::{Checkpoints, ModelFile, without_path, write_atomically};

/// The folder that `--out` names. If it was created for a run that leaves no file in it, it is removed again.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    /// The folders that were created for the run, innermost first.
    made: Vec<PathBuf>,
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
    /// Creates the folder if it does not exist, and checks now rather than at the end that files can be written to it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let refused = |error: io::Error| {
            let says = format!("cannot write to --out {}: {}", path.display(), without_path(&error));
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Failure::failed(says).help("make room, or choose a folder on a disk with room")
                }
                _ => Failure::usage(says).help("choose a folder that you may write to"),
            }
        };
        let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        let mut folder = Self { path: path.to_owned(), made, _lock: None };
        fs::create_dir_all(path).map_err(refused)?;
        folder._lock = lock(path)?;
        // The probe has content, because a full disk still accepts empty files.
        let probe = tempfile::Builder::new().prefix(".nn-").suffix(".part").tempfile_in(path);
        probe.and_then(|mut file| file.write_all(&[0; 4096]).and_then(|()| file.flush())).map_err(refused)?;
        folder.sweep();
        Ok(folder)
    }

    /// Removes temporary files of an earlier run that was killed. Failures are ignored: the files only take up room.
    fn sweep(&self) {
        for folder in [self.path.clone(), self.path.join("checkpoints")] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| name.starts_with(".nn-") && name.ends_with(".part")) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
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

    /// Removes the files of an old run, which would otherwise be mistaken for those of the new one.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        self.checkpoints(1)
            .clear()
            .and_then(|()| gone(fs::remove_file(self.metrics_path())))
            .and_then(|()| gone(fs::remove_file(self.path.join("summary.json"))))
            .and_then(|()| gone(fs::remove_file(self.path.join("model.safetensors"))))
            .map_err(|error| self.failed("clear", &error))
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

/// Locks a folder against a second run. Returns no lock if the system cannot lock folders.
fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let Ok(folder) = File::open(path) else { return Ok(None) };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Failure::usage(format_args!("another run is writing to --out {}", path.display()))
                .help("wait until it ends, or choose another folder"))
        }
        Err(fs::TryLockError::Error(_)) => Ok(None),
    }
}
