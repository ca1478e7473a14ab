//! The checkpoints of a run: the newest few in a folder, each verified before it is used.

use std::io;
use std::path::{Path, PathBuf};

use super::{ModelFile, ModelFileError};

/// How many checkpoints are kept.
const KEEP: usize = 3;

/// A run's checkpoints: `step-000000001234.safetensors` in a folder of their own.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// What a search for a checkpoint found.
#[derive(Debug)]
pub struct Found {
    /// The newest that verifies, and where it is.
    pub newest: Option<(PathBuf, ModelFile)>,
    /// Newer ones that do not, and why.
    pub passed_over: Vec<ModelFileError>,
}

impl Checkpoints {
    /// Those of the run in `out`.
    pub fn of_run(out: &Path) -> Self {
        Self { folder: out.join("checkpoints") }
    }

    /// Writes a checkpoint and removes all but the newest few.
    ///
    /// # Errors
    /// What the system says; older checkpoints are then untouched.
    pub fn write(&self, file: &ModelFile) -> io::Result<PathBuf> {
        let path = self.folder.join(format!("step-{:012}.safetensors", file.run.step));
        file.write(&path)?;
        for (_, old) in self.list()?.into_iter().rev().skip(KEEP) {
            // One that cannot be removed only takes room.
            let _ = std::fs::remove_file(old);
        }
        Ok(path)
    }

    /// The newest checkpoint that verifies.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
    pub fn newest(&self) -> io::Result<Found> {
        let mut passed_over = Vec::new();
        for (_, path) in self.list()?.into_iter().rev() {
            match ModelFile::read(&path) {
                Ok(file) => return Ok(Found { newest: Some((path, file)), passed_over }),
                Err(error) => passed_over.push(error),
            }
        }
        Ok(Found { newest: None, passed_over })
    }

    /// Removes all checkpoints: a new run begins where an old one was.
    ///
    /// # Errors
    /// If one of them cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        for (_, path) in self.list()? {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Steps and paths, oldest first. Other files are left alone.
    fn list(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let step = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".safetensors"));
            if let Some(step) = step.and_then(|step| step.parse().ok()) {
                found.push((step, path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::model_file::tests::example;
    use super::*;

    #[test]
    fn the_newest_few_are_kept_and_a_damaged_one_is_passed_over() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path());
        assert!(checkpoints.newest().unwrap().newest.is_none());
        for step in [9, 10, 11, 100, 99] {
            checkpoints.write(&example(step)).unwrap();
        }
        let steps: Vec<u64> = checkpoints.list().unwrap().into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [11, 99, 100]);
        let (path, file) = checkpoints.newest().unwrap().newest.unwrap();
        assert_eq!(file, example(100));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let found = checkpoints.newest().unwrap();
        assert_eq!(found.newest.unwrap().1, example(99));
        assert_eq!(found.passed_over.len(), 1);
        checkpoints.clear().unwrap();
        assert!(checkpoints.list().unwrap().is_empty());
    }
}
