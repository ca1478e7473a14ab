//! Files in the cache: verified, then placed whole.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::spec::FileSpec;
use crate::bytes::is_gzip;
use crate::error::DataError;
use crate::fingerprint::hex;

/// The prefixes of temporary files and folders in the cache.
const TEMP_PREFIX: &str = ".temp-";
pub(super) const PACKAGE_PREFIX: &str = ".package-";

/// The reason that bytes were not placed.
#[derive(Debug)]
pub(super) enum Refused {
    /// They are truncated.
    Short,
    /// They are not the expected bytes.
    Wrong(String),
    /// The file system failed.
    Io(io::Error),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => f.write_str("the download is truncated"),
            Self::Wrong(what) => f.write_str(what),
            Self::Io(error) => write!(f, "cannot write to the cache: {error}"),
        }
    }
}

/// Whether the cache has a file and its contents are right.
pub(super) fn is_right(path: &Path, spec: &FileSpec) -> Result<bool, DataError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() == spec.size => {}
        Ok(_) => return Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(DataError::io("inspect", path, e)),
    }
    let mut file = File::open(path).map_err(|e| DataError::io("open", path, e))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).map_err(|e| DataError::io("read", path, e))? {
            0 => return Ok(hex(&hash.finalize()) == spec.sha256),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Places the contents of `reader`, plain or gzip, as the file of `spec`: writes them to a temporary file, verifies,
/// syncs and renames it. Nothing beyond the expected size is written.
pub(super) fn place(reader: impl Read, spec: &FileSpec, folder: &Path) -> Result<(), Refused> {
    let mut reader = BufReader::new(reader);
    let packed = is_gzip(io::BufRead::fill_buf(&mut reader).map_err(|_| Refused::Short)?);
    let mut reader: Box<dyn Read + '_> =
        if packed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    let mut temp = tempfile::Builder::new().prefix(TEMP_PREFIX).tempfile_in(folder).map_err(Refused::Io)?;
    let (mut hash, mut written, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(Refused::Short),
            Err(e) => return Err(Refused::Wrong(format!("the bytes cannot be decompressed ({e})"))),
        };
        written += n as u64;
        if written > spec.size {
            return Err(Refused::Wrong(format!("{} has more than {} bytes", spec.name, spec.size)));
        }
        hash.update(&buffer[..n]);
        temp.write_all(&buffer[..n]).map_err(Refused::Io)?;
    }
    if written < spec.size {
        return Err(Refused::Short);
    }
    let digest = hex(&hash.finalize());
    if digest != spec.sha256 {
        return Err(Refused::Wrong(format!(
            "{} has the wrong SHA-256 {digest}, not {}",
            spec.name, spec.sha256
        )));
    }
    temp.as_file().sync_all().map_err(Refused::Io)?;
    temp.persist(folder.join(&spec.name)).map_err(|e| Refused::Io(e.error))?;
    // The rename is durable once the folder is synced. Not every system can sync a folder; it then happens eventually.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Removes leftovers of partial downloads and of killed processes. Only the holder of the lock may call this.
pub(super) fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PACKAGE_PREFIX) {
            let _ = fs::remove_dir_all(entry.path());
        } else if name.starts_with(TEMP_PREFIX) || name.starts_with('.') && name.ends_with(".part") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
