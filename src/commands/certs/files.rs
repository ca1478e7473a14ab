//! Writing secret files: private, atomic, and never overwriting a file by accident.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::store::{replace, without_path};

/// The users who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Only its owner.
    Secret,
    /// Everyone whom the umask permits.
    Public,
}

/// The treatment of an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// Keep it and fail.
    Keep,
    /// Replace it, as the user requested.
    Replace,
}

/// Files that are created together: each is first written to a temporary file beside its path, and then all are renamed.
/// Dropping this before [`Staged::commit`] leaves nothing behind.
#[derive(Debug, Default)]
pub(super) struct Staged {
    files: Vec<(NamedTempFile, PathBuf, Existing)>,
}

impl Staged {
    /// Writes a file to a temporary file beside its path.
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
        let _ = access; // elsewhere, a user's files are private by default
        let written = builder.tempfile_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        });
        let file = written.map_err(|error| cannot_write(&path, &without_path(&error)))?;
        self.files.push((file, path, existing));
        Ok(())
    }

    /// Renames all files to their paths, in the order in which they were added. If one fails, the previous ones are removed
    /// again, except for those that replaced a file.
    pub(super) fn commit(self) -> Result<(), Failure> {
        let mut moved: Vec<(PathBuf, Existing)> = Vec::new();
        for (file, path, existing) in self.files {
            let persisted = match existing {
                Existing::Keep => file.persist_noclobber(&path).map(drop).map_err(|error| error.error),
                Existing::Replace => replace(file, &path),
            };
            if let Err(error) = persisted {
                for (path, _) in moved.iter().filter(|(_, existing)| *existing == Existing::Keep) {
                    let _ = fs::remove_file(path);
                }
                return Err(cannot_write(&path, &error));
            }
            moved.push((path, existing));
        }
        for (path, _) in &moved {
            // Makes the renames durable. Not every file system can sync a folder.
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
        io::ErrorKind::AlreadyExists => failure.help("another process has just created it; check it first"),
        io::ErrorKind::StorageFull => {
            failure.help("nothing was written; free some space and run the same command again")
        }
        _ => failure.help("nothing was written; choose a writable folder"),
    }
}

/// A folder that only its owner can read. Dropping this removes a newly created folder, unless it is kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    created: bool,
}

impl Folder {
    /// Creates the folder if it does not exist.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Ok(Self { path: path.to_owned(), created: false });
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|error| no_folder(path, &error))?;
        }
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| no_folder(path, &error))?;
        Ok(Self { path: path.to_owned(), created: true })
    }

    /// Keeps the folder.
    pub(super) fn keep(mut self) {
        self.created = false;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.created {
            // This removes only an empty folder.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn no_folder(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format_args!("cannot create the folder {}: {error}", path.display()))
        .help("give another one with --dir")
}

/// Reads a file of at most 1 MiB.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, MOST + 1), &mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}
