//! The checkpoints of a run: the newest few and the best, each verified before use.

use std::io;
use std::path::{Path, PathBuf};

use super::model_file::{ModelFile, ModelFileError};

/// The name of the best checkpoint.
const BEST: &str = "best.safetensors";

/// The suffix of an unusable file that was set aside.
const DAMAGED: &str = ".damaged";

/// A run's checkpoints: `step-000000001234.safetensors` and `best.safetensors` in a folder of their own.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

/// The result of a search for the newest checkpoint.
#[derive(Debug)]
pub struct Found {
    /// The newest valid checkpoint, with its path.
    pub newest: Option<(PathBuf, ModelFile)>,
    /// Newer files that are not valid, each with the reason.
    pub passed_over: Vec<(PathBuf, ModelFileError)>,
}

impl Checkpoints {
    /// The checkpoints of the run in `out`, of which the newest `keep` are kept; 0 counts as 1.
    pub fn of_run(out: &Path, keep: usize) -> Self {
        Self { folder: out.join("checkpoints"), keep: keep.max(1) }
    }

    /// Writes a checkpoint and removes all but the newest few.
    ///
    /// # Errors
    /// The system's error; older checkpoints are then unchanged.
    pub fn write(&self, file: &ModelFile) -> io::Result<PathBuf> {
        let path = self.folder.join(format!("step-{:012}.safetensors", file.run.step));
        file.write(&path)?;
        // Files that claim a later step do not count: this run did not write them, and they must not displace its own.
        let mut written = self.list()?;
        written.retain(|(step, _)| *step <= file.run.step);
        for (_, old) in written.into_iter().rev().skip(self.keep) {
            // A file that cannot be removed only takes space.
            let _ = std::fs::remove_file(old);
        }
        Ok(path)
    }

    /// Replaces the best checkpoint.
    ///
    /// # Errors
    /// The system's error; the previous one is then unchanged.
    pub fn write_best(&self, file: &ModelFile) -> io::Result<()> {
        file.write(&self.folder.join(BEST))
    }

    /// The best checkpoint; `None` if there is none.
    ///
    /// # Errors
    /// [`ModelFileError`] if it is not valid.
    pub fn best(&self) -> Result<Option<(PathBuf, ModelFile)>, ModelFileError> {
        let path = self.folder.join(BEST);
        match ModelFile::read_checkpoint(&path) {
            Ok(file) => Ok(Some((path, file))),
            Err(ModelFileError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The newest valid checkpoint, or the best one if no other is valid.
    ///
    /// # Errors
    /// If the folder exists but cannot be read.
    pub fn newest(&self) -> io::Result<Found> {
        let mut passed_over = Vec::new();
        for (_, path) in self.list()?.into_iter().rev() {
            match ModelFile::read_checkpoint(&path) {
                Ok(file) => return Ok(Found { newest: Some((path, file)), passed_over }),
                Err(error) => passed_over.push((path, error)),
            }
        }
        Ok(Found { newest: self.best().ok().flatten(), passed_over })
    }

    /// Renames an unusable file, so that it is kept but no longer read or counted. Returns its new name, or `None` if it
    /// could not be renamed.
    pub fn set_aside(&self, path: &Path) -> Option<PathBuf> {
        let mut name = path.as_os_str().to_owned();
        name.push(DAMAGED);
        std::fs::rename(path, &name).ok().map(|()| name.into())
    }

    /// Removes all checkpoints, for a new run in the folder of an old one.
    ///
    /// # Errors
    /// If one of them cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        for path in self.files()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = name.strip_suffix(DAMAGED).unwrap_or(name);
            // We never create a folder of such a name, so it is not ours to remove.
            if (name == BEST || step_of(name).is_some()) && !path.is_dir() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The step of the newest file that is named like a checkpoint, valid or not; `None` if there is none.
    pub fn last_step(&self) -> Option<u64> {
        self.list().ok()?.last().map(|(step, _)| *step)
    }

    /// Whether there is a best checkpoint, valid or not.
    pub fn has_best(&self) -> bool {
        self.folder.join(BEST).exists()
    }

    /// Steps and paths, oldest first. Other files are left alone.
    fn list(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let named = |path: PathBuf| Some((step_of(path.file_name()?.to_str()?)?, path));
        let mut found: Vec<(u64, PathBuf)> = self.files()?.into_iter().filter_map(named).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Everything in the folder.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// The step in the name of a checkpoint.
fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::model_file::tests::example;
    use super::*;

    fn steps(checkpoints: &Checkpoints) -> Vec<u64> {
        checkpoints.list().unwrap().into_iter().map(|(step, _)| step).collect()
    }

    fn cut(path: &Path) {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }

    #[test]
    fn the_newest_few_are_kept_and_a_damaged_one_is_skipped() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path(), 3);
        assert!(checkpoints.newest().unwrap().newest.is_none());
        for step in [9, 10, 11, 99, 100] {
            checkpoints.write(&example(step)).unwrap();
        }
        assert_eq!(steps(&checkpoints), [11, 99, 100]);
        let (path, file) = checkpoints.newest().unwrap().newest.unwrap();
        assert_eq!(file, example(100));
        cut(&path);
        let found = checkpoints.newest().unwrap();
        assert_eq!(found.newest.unwrap().1, example(99));
        assert_eq!(found.passed_over.len(), 1);
        let aside = checkpoints.set_aside(&found.passed_over[0].0).unwrap();
        assert!(aside.exists() && steps(&checkpoints) == [11, 99]);
        checkpoints.clear().unwrap();
        assert!(checkpoints.list().unwrap().is_empty() && !aside.exists());
    }

    #[test]
    fn damaged_newer_ones_do_not_displace_good_older_ones() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path(), 2);
        for step in [7, 8] {
            cut(&checkpoints.write(&example(step)).unwrap());
        }
        for step in [1, 2, 3] {
            checkpoints.write(&example(step)).unwrap();
        }
        assert_eq!(steps(&checkpoints), [2, 3, 7, 8]);
        assert_eq!(checkpoints.newest().unwrap().newest.unwrap().1, example(3));
    }

    #[test]
    fn the_best_is_never_pruned_and_is_the_last_resort() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path(), 1);
        checkpoints.write_best(&example(4)).unwrap();
        for step in [5, 6] {
            checkpoints.write(&example(step)).unwrap();
        }
        assert_eq!(steps(&checkpoints), [6]);
        let (path, newest) = checkpoints.newest().unwrap().newest.unwrap();
        assert_eq!(newest, example(6));
        cut(&path);
        let found = checkpoints.newest().unwrap();
        assert_eq!((found.newest.unwrap().1, found.passed_over.len()), (example(4), 1));
        checkpoints.clear().unwrap();
        assert!(checkpoints.best().unwrap().is_none());
    }

    #[test]
    fn a_model_without_optimizer_state_is_not_a_checkpoint() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path(), 3);
        let model = ModelFile { moments: Default::default(), ..example(9) };
        checkpoints.write(&model).unwrap();
        std::fs::create_dir(out.path().join("checkpoints/step-10.safetensors")).unwrap();
        let found = checkpoints.newest().unwrap();
        assert!(found.newest.is_none());
        let reasons: Vec<String> = found.passed_over.iter().map(|(_, error)| error.to_string()).collect();
        assert!(
            reasons[0].contains("is a folder") && reasons[1].contains("lacks the state of the optimizer"),
            "{reasons:?}"
        );
    }
}
