//! Atomic writes: a file is written completely or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// An error without the name of the temporary file, which means nothing to the user. `tempfile` appends it to the system's words, and
/// hands out neither the system's error nor its number.
pub fn without_path(error: &io::Error) -> io::Error {
    let text = error.to_string();
    io::Error::new(error.kind(), text.split(" at path ").next().unwrap_or_default().to_owned())
}

/// Writes a file so that a crash at any moment leaves either the old or the new contents: writes a temporary file beside
/// it, syncs it, renames it and syncs the folder. An error removes the temporary file.
///
/// # Errors
/// The system's error; the file is then unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The folder and its ancestors, as far as they are created now.
    let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let created: Vec<&Path> = missing.collect();
    fs::create_dir_all(folder)?;
    let mut temporary = temporary_in(folder)?;
    temporary.as_file_mut().write_all(bytes)?;
    temporary.as_file().sync_all()?;
    replace(temporary, path)?;
    sync(folder);
    created.into_iter().filter_map(Path::parent).for_each(sync);
    Ok(())
}

/// Renames a temporary file to `path`, in the place of any file there. Windows refuses that for as long as a program that does not
/// share the old file has it open, which a virus scanner does for a moment; so it is tried again for a second.
///
/// # Errors
/// The system's error; the temporary file is then removed.
pub fn replace(mut temporary: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    let mut patience = if cfg!(windows) { 20 } else { 0 };
    loop {
        match temporary.persist(path) {
            Err(error) if patience > 0 && error.error.kind() == io::ErrorKind::PermissionDenied => {
                temporary = error.file;
            }
            done => return done.map(drop).map_err(|error| error.error),
        }
        patience -= 1;
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What locks a folder against other processes: the folder itself or, on Windows, which does not open folders, a file in it.
///
/// # Errors
/// The system's error.
pub fn open_to_lock(folder: &Path) -> io::Result<File> {
    if cfg!(windows) {
        fs::OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(".nn-lock"))
    } else {
        File::open(folder)
    }
}

/// A temporary file that is to become one of the folder.
///
/// # Errors
/// The system's error.
pub fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".nn-").suffix(".part");
    #[cfg(unix)]
    {
        // Temporary files are private by default; this one gets the usual permissions under the user's umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|error| without_path(&error))
}

/// Removes the temporary files of a program that was killed from a folder that no other process writes to. Failures are ignored: the
/// files only take up room.
pub fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(".nn-") && name.ends_with(".part")) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes renames in a folder durable. Some file systems, and Windows, cannot sync a folder; the renames have still taken place.
fn sync(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_files_are_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        let (_, left) = temporary_in(folder.path()).unwrap().keep().unwrap();
        fs::write(folder.path().join("mine.part"), "text").unwrap();
        assert!(left.exists());
        remove_leftovers(folder.path());
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["mine.part"]);
        remove_leftovers(&folder.path().join("nowhere"));
    }

    #[test]
    fn an_error_does_not_name_the_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = temporary_in(&folder.path().join("nowhere")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.contains("os error") && !text.contains("nowhere") && !text.contains(".part"), "{text}");
    }

    #[test]
    fn replaces_whole_files_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        // The target is a folder, so the rename fails after the temporary file was written.
        let path = folder.path().join("occupied");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inhabitant"), b"x").unwrap();
        assert!(write_atomically(&path, b"one").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
