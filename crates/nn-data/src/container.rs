//! Folders and archives as files by name. Nothing is ever written to disk, so no name in an archive can do harm: names
//! are only compared and shown.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use zip::{CompressionMethod, ZipArchive};

use crate::bytes::{Capped, Opened, ReadSeek, decode_error, is_gzip, read_file};
use crate::error::{DataError, file_name, member_name, shown};

/// Levels of subfolders that are searched.
const DEPTH: usize = 4;

/// A folder or archive with more files than this is not a data set.
const MOST_FILES: usize = 500_000;

/// A folder or an archive.
#[derive(Debug)]
pub(crate) struct Container {
    path: Opened,
    form: Form,
    limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Folder,
    Zip,
    Tar,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Zip => "zip archive",
            Self::Tar => "tar archive",
        }
    }
}

impl Container {
    pub(crate) fn new(path: &Opened, form: Form, limit: u64) -> Self {
        Self { path: path.clone(), form, limit }
    }

    /// The path, as shown in messages.
    pub(crate) fn name(&self) -> String {
        file_name(&self.path)
    }

    /// The name of a file inside, as shown in messages.
    pub(crate) fn display(&self, member: &str) -> String {
        match self.form {
            Form::Folder => file_name(&self.path.join(member)),
            _ => member_name(&self.path, member),
        }
    }

    /// The names of the files inside, sorted, with `/` between folders.
    pub(crate) fn files(&self) -> Result<Vec<String>, DataError> {
        let mut names = Vec::new();
        match self.form {
            Form::Folder => walk(&self.path, "", DEPTH, &mut names)?,
            Form::Zip => {
                let zip = self.zip()?;
                names.extend(zip.file_names_raw().take(MOST_FILES).map(lossy));
                names.retain(|name| !name.ends_with('/'));
            }
            Form::Tar => self.each_in_tar(|name, _| {
                names.push(name);
                Ok(names.len() < MOST_FILES)
            })?,
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The contents of the given files, whose names come from [`Container::files`].
    pub(crate) fn read(&self, wanted: &[&str]) -> Result<Vec<Vec<u8>>, DataError> {
        let mut found: Vec<Option<Vec<u8>>> = vec![None; wanted.len()];
        match self.form {
            Form::Folder => {
                for (name, slot) in wanted.iter().zip(&mut found) {
                    *slot = Some(read_file(&Opened::new(&self.path.join(name), self.limit)?, self.limit)?);
                }
            }
            Form::Zip => {
                let mut zip = self.zip()?;
                for (name, slot) in wanted.iter().zip(&mut found) {
                    let at = zip.file_names_raw().position(|raw| lossy(raw) == *name);
                    let Some(at) = at else { continue };
                    *slot = Some(self.read_zipped(&mut zip, at, name)?);
                }
            }
            Form::Tar => self.each_in_tar(|name, member| {
                if let Some(at) = wanted.iter().position(|w| *w == name)
                    && found[at].is_none()
                {
                    found[at] = Some(self.read_member(member, &self.display(&name))?);
                }
                Ok(found.iter().any(Option::is_none))
            })?,
        }
        let missing = |at: usize| DataError::MissingMembers {
            file: self.name(),
            missing: shown(wanted[at], 120),
            found: String::new(),
        };
        found.into_iter().enumerate().map(|(at, bytes)| bytes.ok_or_else(|| missing(at))).collect()
    }

    /// Calls `take` with the position and the contents of each of the given files, one at a time, in any order.
    pub(crate) fn each(
        &self,
        wanted: &[&str],
        take: &mut dyn FnMut(usize, Vec<u8>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        // The first of two members of the same name counts.
        let mut left: HashMap<&str, usize> = HashMap::with_capacity(wanted.len());
        for (at, name) in wanted.iter().enumerate() {
            left.entry(name).or_insert(at);
        }
        match self.form {
            Form::Folder => {
                for (at, name) in wanted.iter().enumerate() {
                    take(at, read_file(&Opened::new(&self.path.join(name), self.limit)?, self.limit)?)?;
                }
            }
            Form::Zip => {
                let mut zip = self.zip()?;
                let names: Vec<String> = zip.file_names_raw().map(lossy).collect();
                for (index, name) in names.iter().enumerate() {
                    if let Some(at) = left.remove(name.as_str()) {
                        take(at, self.read_zipped(&mut zip, index, name)?)?;
                    }
                }
            }
            Form::Tar => self.each_in_tar(|name, member| {
                if let Some(at) = left.remove(name.as_str()) {
                    take(at, self.read_member(member, &self.display(&name))?)?;
                }
                Ok(!left.is_empty())
            })?,
        }
        Ok(())
    }

    fn read_zipped(
        &self,
        zip: &mut ZipArchive<Box<dyn ReadSeek>>,
        at: usize,
        name: &str,
    ) -> Result<Vec<u8>, DataError> {
        let file = self.display(name);
        if let Some(error) = self.locked(zip, at) {
            return Err(error);
        }
        let member = zip.by_index(at).map_err(|e| DataError::Corrupt {
            file: file.clone(),
            format: self.form.name(),
            detail: shown(&e.to_string(), 300),
        })?;
        self.read_member(member, &file)
    }

    fn read_member(&self, member: impl Read, file: &str) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new(); // grows with the data read, never to a size stated in a header
        Capped::new(member, self.limit)
            .read_to_end(&mut bytes)
            .map_err(|e| decode_error(file, self.form.name(), self.limit, &e))?;
        Ok(bytes)
    }

    /// The reason that the member of a zip at this position cannot be read, although it is not damaged.
    fn locked(&self, zip: &mut ZipArchive<Box<dyn ReadSeek>>, at: usize) -> Option<DataError> {
        let member = zip.by_index_raw(at).ok()?;
        let array = member.name().is_ok_and(|name| name.ends_with(".npy"));
        let (method, remedy) = match member.compression() {
            _ if member.encrypted() => ("a password".to_owned(), "extract it and give the folder"),
            CompressionMethod::Stored | CompressionMethod::Deflated => return None,
            other => {
                // A method that nobody knows is damage.
                let name = other.to_string().to_lowercase();
                let numpy = "save it with numpy.savez or numpy.savez_compressed";
                let remedy =
                    if array { numpy } else { "pack it with deflate, or extract it and give the folder" };
                ((name != "unknown").then_some(name)?, remedy)
            }
        };
        Some(DataError::UnsupportedCompression { file: self.name(), method, remedy })
    }

    fn zip(&self) -> Result<ZipArchive<Box<dyn ReadSeek>>, DataError> {
        ZipArchive::new(self.path.reader()?).map_err(|e| DataError::Corrupt {
            file: self.name(),
            format: self.form.name(),
            detail: shown(&e.to_string(), 300),
        })
    }

    /// Calls `take` for each file until it returns false.
    fn each_in_tar(
        &self,
        mut take: impl FnMut(String, &mut dyn Read) -> Result<bool, DataError>,
    ) -> Result<(), DataError> {
        let mut start = Vec::new();
        let ioerr = |e| DataError::io("read", &self.path, e);
        self.path.reader()?.take(2).read_to_end(&mut start).map_err(ioerr)?;
        let file: Box<dyn Read> = if is_gzip(&start) {
            Box::new(MultiGzDecoder::new(self.path.reader()?))
        } else {
            Box::new(self.path.reader()?)
        };
        each_in_tar(file, &self.name(), self.limit, &mut take)
    }
}

/// Calls `take` for each regular file of an uncompressed tar stream until it returns false. The stream may hold at most
/// `limit` bytes, including skipped files.
pub(crate) fn each_in_tar(
    stream: impl Read,
    file: &str,
    limit: u64,
    take: &mut dyn FnMut(String, &mut dyn Read) -> Result<bool, DataError>,
) -> Result<(), DataError> {
    let damaged = |e: std::io::Error| decode_error(file, Form::Tar.name(), limit, &e);
    let mut archive = tar::Archive::new(Capped::new(stream, limit));
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if entry.header().entry_type().is_file() {
            let name = lossy(&entry.path_bytes());
            let name = name.strip_prefix("./").unwrap_or(&name).to_string();
            if !take(name, &mut entry)? {
                break;
            }
        }
    }
    Ok(())
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) -> Result<(), DataError> {
    let unreadable = |e| DataError::io("list", folder, e);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        // Links to files are followed, links to folders are not: they may form a cycle.
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), &format!("{name}/"), depth - 1, names)?;
        } else if kind.is_file() || kind.is_symlink() && entry.path().is_file() {
            names.push(name);
        }
        if names.len() >= MOST_FILES {
            break;
        }
    }
    Ok(())
}
