//! Reading a bounded number of bytes from inputs whose stated size cannot be trusted.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::error::{DataError, file_name, shown};

/// The error inside an [`io::Error`] when a [`Capped`] reader exceeds its limit.
#[derive(Debug)]
struct OverLimit;

impl std::fmt::Display for OverLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("more bytes than the limit")
    }
}

impl std::error::Error for OverLimit {}

/// A reader that fails, rather than ends, once it has produced more than `left` bytes.
pub(crate) struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Capped<R> {
    pub(crate) fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(OverLimit)),
        }
        Ok(n)
    }
}

/// Whether an error comes from a [`Capped`] reader, possibly wrapped by a decoder.
fn is_over_limit(error: &io::Error) -> bool {
    let mut inner: Option<&(dyn std::error::Error + 'static)> =
        error.get_ref().map(|e| e as &(dyn std::error::Error + 'static));
    while let Some(e) = inner {
        if e.is::<OverLimit>() {
            return true;
        }
        if let Some(io) = e.downcast_ref::<io::Error>()
            && is_over_limit(io)
        {
            return true;
        }
        inner = e.source();
    }
    false
}

/// The [`DataError`] for a failed read of decoded bytes.
pub(crate) fn decode_error(file: &str, format: &'static str, limit: u64, error: &io::Error) -> DataError {
    let file = file.to_string();
    if is_over_limit(error) {
        return DataError::TooLarge { file, claim: String::new(), limit };
    }
    let detail = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is truncated".to_string(),
        // The tar crate quotes names and numbers from the file unescaped.
        _ => shown(&error.to_string(), 300),
    };
    DataError::Corrupt { file, format, detail }
}

/// A file or folder. Its name is known, and its bytes can be read more than once: those of a pipe are kept, as are bytes that
/// came from elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    path: PathBuf,
    piped: Option<Arc<[u8]>>,
}

/// A file that can be read and searched.
pub(crate) trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

impl Opened {
    /// Finds a file or folder. A pipe, a terminal or a device is read to its end, of at most `limit` bytes.
    pub(crate) fn new(path: &Path, limit: u64) -> Result<Self, DataError> {
        let kind = fs::metadata(path).map_err(|e| DataError::io("inspect", path, e))?.file_type();
        let piped = if kind.is_file() || kind.is_dir() { None } else { Some(whole(path, limit)?.into()) };
        Ok(Self { path: path.to_path_buf(), piped })
    }

    /// Bytes in memory; `name` names them in messages, and nothing is read from there.
    pub(crate) fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { path: PathBuf::from(name), piped: Some(bytes.into()) }
    }

    /// Whether it is a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.piped.is_none() && self.path.is_dir()
    }

    /// Whether the bytes came through a pipe.
    pub(crate) fn is_piped(&self) -> bool {
        self.piped.is_some()
    }

    /// A reader of the file from its start.
    pub(crate) fn reader(&self) -> Result<Box<dyn ReadSeek>, DataError> {
        match &self.piped {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes.clone()))),
            None => {
                let file = File::open(&self.path).map_err(|e| DataError::io("open", &self.path, e))?;
                Ok(Box::new(BufReader::new(file)))
            }
        }
    }
}

impl Deref for Opened {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_file(file: &Opened, limit: u64) -> Result<Vec<u8>, DataError> {
    match &file.piped {
        Some(bytes) => Ok(bytes.to_vec()),
        None => whole(file, limit),
    }
}

fn whole(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(|e| DataError::io("open", path, e))?;
    let size = file.metadata().map_err(|e| DataError::io("inspect", path, e))?.len();
    if size > limit {
        let claim = format!(": it has {size}");
        return Err(DataError::TooLarge { file: file_name(path), claim, limit });
    }
    let mut bytes = Vec::with_capacity(size as usize);
    Capped::new(file, limit).read_to_end(&mut bytes).map_err(|e| {
        if is_over_limit(&e) {
            DataError::TooLarge { file: file_name(path), claim: String::new(), limit }
        } else {
            DataError::io("read", path, e)
        }
    })?;
    Ok(bytes)
}

/// Whether the bytes start with gzip's magic number. File names do not count: servers and browsers add and drop `.gz`.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Decompresses gzip; any other bytes are returned as they are.
pub(crate) fn gunzip(bytes: Vec<u8>, file: &str, limit: u64) -> Result<Vec<u8>, DataError> {
    if !is_gzip(&bytes) {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    Capped::new(MultiGzDecoder::new(&bytes[..]), limit)
        .read_to_end(&mut out)
        .map_err(|e| decode_error(file, "gzip file", limit, &e))?;
    Ok(out)
}
