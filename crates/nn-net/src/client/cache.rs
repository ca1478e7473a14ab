//! Received training sets, kept by content hash for later runs.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Write};
use std::path::{Path, PathBuf};

use nn_core::Dataset;
use nn_engine::Manifest;
use tempfile::NamedTempFile;

use crate::data::{self, DataError};
use crate::wire::convert::MAX_HELD;

/// The most training sets that a worker reports. A coordinator accepts these and the worker's own.
const REPORTED: usize = 256;

const _: () = assert!(REPORTED < MAX_HELD);

/// The path of a kept training set, which names its content.
fn path(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(format!("{sha256}.train"))
}

/// The content hashes of the kept training sets. Other files are ignored.
pub(super) fn held(folder: Option<&Path>) -> Vec<String> {
    let Some(entries) = folder.and_then(|folder| fs::read_dir(folder).ok()) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".train").map(str::to_owned))
        .filter(|name| is_hash(name))
        .take(REPORTED)
        .collect()
}

/// Whether text is 64 lower-case hexadecimal digits, and so may become part of a path.
pub(crate) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Loads and verifies a kept training set. A damaged one is removed.
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

/// A training set that is arriving. It outlives its connection, so that the next one can resume the transfer.
#[derive(Debug)]
pub(crate) struct Partial {
    sha256: String,
    chunks: u32,
    spool: Spool,
}

impl Partial {
    /// An empty set. It is written to the folder, if there is one.
    pub(crate) fn new(sha256: &str, folder: Option<&Path>) -> io::Result<Self> {
        Ok(Self { sha256: sha256.to_owned(), chunks: 0, spool: Spool::new(folder)? })
    }

    /// Whether it is the set with this hash.
    pub(super) fn is_of(&self, sha256: &str) -> bool {
        self.sha256 == sha256
    }

    /// The number of chunks that have arrived.
    pub(super) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Appends a checked chunk.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.spool.write(chunk)?;
        self.chunks += 1;
        Ok(())
    }

    /// Reads, verifies and keeps the complete set.
    pub(crate) fn finish(self, manifest: &Manifest, sha256: &str) -> Result<Dataset, DataError> {
        self.spool.finish(manifest, sha256)
    }
}

/// Where a training set is written while it arrives.
#[derive(Debug)]
enum Spool {
    /// A temporary file beside its final path. It is removed when the worker ends.
    File(NamedTempFile, PathBuf),
    /// Memory, if there is no cache folder.
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
                // Another worker on this machine may have been faster; its file has the same content.
                file.persist(path(&folder, sha256)).map_err(|error| error.error)?;
                Ok(set)
            }
        }
    }
}
