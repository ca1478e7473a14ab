//! Files of secrets: private, whole or not there at all, and never written over something by accident.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::store::without_path;

/// What a file may be read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// By its owner only.
    Secret,
    /// By whom the umask lets.
    Public,
}

/// Whether there may be a file already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// No: it would be lost.
    Keep,
    /// Yes, the user has said so.
    Replace,
}

/// Files that come into being together: all are written beside their places first, and then moved there one by one.
/// Dropped before the end it leaves nothing.
#[derive(Debug, Default)]
pub(super) struct Staged {
    files: Vec<(NamedTempFile, PathBuf, Existing)>,
}

impl Staged {
    /// Writes a file beside its place.
    pub(super) fn add(
        &mut self,
        path: PathBuf,
        text: &str,
        access: Access,
        existing: Existing,
    ) -> Result<(), Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".nn-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if access == Access::Secret { 0o600 } else { 0o666 };
            builder.permissions(fs::Permissions::from_mode(mode));
        }
        #[cfg(not(unix))]
        let _ = access; // a user's files are the user's there
        let written = builder.tempfile_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        });
        let file = written.map_err(|error| cannot_write(&path, &without_path(&error)))?;
        self.files.push((file, path, existing));
        Ok(())
    }

    /// Moves all files to their places, in the order in which they were added. Where one cannot go there, those before it
    /// are removed again, unless they have replaced something.
    pub(super) fn commit(self) -> Result<(), Failure> {
        let mut moved: Vec<(PathBuf, Existing)> = Vec::new();
        for (file, path, existing) in self.files {
            let persisted = match existing {
                Existing::Keep => file.persist_noclobber(&path),
                Existing::Replace => file.persist(&path),
            };
            if let Err(error) = persisted {
                for (path, _) in moved.iter().filter(|(_, existing)| *existing == Existing::Keep) {
                    let _ = fs::remove_file(path);
                }
                return Err(cannot_write(&path, &error.error));
            }
            moved.push((path, existing));
        }
        for (path, _) in &moved {
            // So that the names last too; not every file system lets a folder be synced.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Ok(folder) = fs::File::open(folder.unwrap_or(Path::new("."))) {
                let _ = folder.sync_all();
            }
        }
        Ok(())
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::failed(format_args!("cannot write {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::AlreadyExists => failure.help("somebody else has just made it: look at it first"),
        io::ErrorKind::StorageFull => {
            failure.help("make room, and run the same command again: nothing was written")
        }
        _ => failure.help("nothing was written; choose a place that can be written to"),
    }
}

/// A folder that only its owner can look into, and whether it was made now.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    made: bool,
}

impl Folder {
    /// Makes the folder if it is not there.
    pub(super) fn make(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Ok(Self { path: path.to_owned(), made: false });
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|error| no_folder(path, &error))?;
        }
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| no_folder(path, &error))?;
        Ok(Self { path: path.to_owned(), made: true })
    }

    /// What went into it stays.
    pub(super) fn keep(mut self) {
        self.made = false;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.made {
            // Only if it is empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn no_folder(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format_args!("cannot make the folder {}: {error}", path.display()))
        .help("name another one with --dir")
}

/// Reads a file that should be small.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, MOST + 1), &mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}
