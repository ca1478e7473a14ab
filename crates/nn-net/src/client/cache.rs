//! Training sets that were sent, kept by content hash for later runs.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Write};
use std::path::{Path, PathBuf};

use nn_core::Dataset;
use nn_engine::Manifest;
use tempfile::NamedTempFile;

use crate::data::{self, DataError};

/// Where a training set is kept. Its name is its content.
fn path(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(format!("{sha256}.train"))
}

/// Content hashes of what is there. What is no file of ours is passed over.
pub(super) fn held(folder: Option<&Path>) -> Vec<String> {
    let Some(entries) = folder.and_then(|folder| fs::read_dir(folder).ok()) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".train").map(str::to_owned))
        .filter(|name| is_hash(name))
        .take(256)
        .collect()
}

/// 64 lower-case hexadecimal digits: what may become part of a path.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A training set that is kept, verified. One that is damaged is removed.
pub(crate) fn load(folder: &Path, manifest: &Manifest, sha256: &str) -> Option<Dataset> {
    let path = path(folder, sha256);
    let file = File::open(&path).ok()?;
    match data::read(BufReader::with_capacity(1 << 20, file), manifest, sha256) {
        Ok(set) => Some(set),
        Err(_) => {
            let _ = fs::remove_file(path);
            None
        }
    }
}

/// A training set that is arriving. It outlives the connection that it arrives on, so that the next one can go on with it.
#[derive(Debug)]
pub(super) struct Partial {
    sha256: String,
    chunks: u32,
    spool: Spool,
}

impl Partial {
    /// Nothing of a set yet. What comes goes into the folder, if there is one.
    pub(super) fn new(sha256: &str, folder: Option<&Path>) -> io::Result<Self> {
        Ok(Self { sha256: sha256.to_owned(), chunks: 0, spool: Spool::new(folder)? })
    }

    /// Whether it is of this set.
    pub(super) fn is_of(&self, sha256: &str) -> bool {
        self.sha256 == sha256
    }

    /// Chunks that have come.
    pub(super) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Appends a chunk that has been checked.
    pub(super) fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.spool.write(chunk)?;
        self.chunks += 1;
        Ok(())
    }

    /// Reads and verifies what has come, and keeps it.
    pub(super) fn finish(self, manifest: &Manifest, sha256: &str) -> Result<Dataset, DataError> {
        self.spool.finish(manifest, sha256)
    }
}

/// Where a training set goes while it arrives.
#[derive(Debug)]
enum Spool {
    /// A temporary file beside its final place. It is removed when the worker ends.
    File(NamedTempFile, PathBuf),
    /// There is no cache folder.
    Memory(Vec<u8>),
}

impl Spool {
    fn new(folder: Option<&Path>) -> io::Result<Self> {
        let Some(folder) = folder else { return Ok(Self::Memory(Vec::new())) };
        fs::create_dir_all(folder)?;
        let file = tempfile::Builder::new().prefix(".nn-").suffix(".part").tempfile_in(folder)?;
        Ok(Self::File(file, folder.to_owned()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file, _) => file.write_all(bytes),
            Self::Memory(all) => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn finish(self, manifest: &Manifest, sha256: &str) -> Result<Dataset, DataError> {
        match self {
            Self::Memory(all) => data::read(Cursor::new(all), manifest, sha256),
            Self::File(file, folder) => {
                let reader = BufReader::with_capacity(1 << 20, file.reopen()?);
                let set = data::read(reader, manifest, sha256)?;
                file.as_file().sync_all()?;
                // Another worker of this machine may have been faster: its file has the same content.
                file.persist(path(&folder, sha256)).map_err(|error| error.error)?;
                Ok(set)
            }
        }
    }
}
