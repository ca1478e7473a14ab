//! The files of a data set, as they must be in the cache.

/// An uncompressed file.
#[derive(Debug, Clone)]
pub(super) struct FileSpec {
    pub(super) name: String,
    /// The size in bytes.
    pub(super) size: u64,
    /// The SHA-256 in lower-case hexadecimal.
    pub(super) sha256: String,
}

/// The files that make up a data set.
#[derive(Debug, Clone)]
pub(super) struct FileSet {
    pub(super) name: &'static str,
    pub(super) files: Vec<FileSpec>,
}
