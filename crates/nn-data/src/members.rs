//! Finding the files of a data set in a folder or archive.

use std::path::Path;

use crate::bytes::{gunzip, read_file};
use crate::container::Container;
use crate::error::{DataError, file_name, listed};
use crate::idx;
use crate::load::known_names;
use crate::npy::Array;
use crate::raw::{Inputs, Samples};
use crate::source::LoadOptions;
use crate::table::Table;

/// The samples that were read, before labels and pixels are interpreted.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) train: Samples,
    pub(crate) test: Option<Samples>,
    pub(crate) notes: Vec<String>,
}

/// What a folder or archive holds.
pub(crate) enum Contents {
    /// Samples that are read.
    Samples(Found),
    /// A table, and the table of its test set, if there is one.
    Tables(Table, Option<Table>),
}

/// Reads the samples of a folder or archive.
pub(crate) fn read(container: &Container, options: &LoadOptions) -> Result<Contents, DataError> {
    let files = container.files()?;
    let files: Vec<&str> = files.iter().map(String::as_str).filter(|name| !is_hidden(name)).collect();
    let limit = options.max_bytes;
    if files.iter().any(|name| slot(name).is_some()) {
        return read_idx(container, &files, options).map(Contents::Samples);
    }
    let arrays: Vec<&str> = files.iter().copied().filter(|name| name.ends_with(".npy")).collect();
    if !arrays.is_empty() {
        return read_arrays(container, &arrays, limit).map(Contents::Samples);
    }
    const TABLES: [&str; 6] = [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq"];
    let is_csv = |name: &&&str| TABLES.iter().any(|end| name.to_lowercase().ends_with(end));
    let tables: Vec<&str> = files.iter().filter(is_csv).copied().collect();
    if tables.is_empty() {
        return Err(DataError::NothingInside { file: container.name() });
    }
    read_tables(container, &tables, options)
}

/// Whether an operating system added the file, as with `__MACOSX/._x` and `.DS_Store`.
fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') && part != "." && part != ".." || part == "__MACOSX")
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The four files of an IDX data set, in the order in which they are read.
const SLOTS: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// The index in [`SLOTS`] of the file with this name.
fn slot(name: &str) -> Option<usize> {
    let name = base(name).to_lowercase();
    if !(name.contains("idx") || name.contains("ubyte")) {
        return None;
    }
    let part = match () {
        () if name.contains("train") => 0,
        () if name.contains("t10k") || name.contains("test") => 2,
        () => return None,
    };
    match () {
        () if name.contains("images") => Some(part),
        () if name.contains("labels") => Some(part + 1),
        () => None,
    }
}

fn read_idx(container: &Container, files: &[&str], options: &LoadOptions) -> Result<Found, DataError> {
    let mut chosen = [None; 4];
    for (at, chosen) in chosen.iter_mut().enumerate() {
        let mut candidates: Vec<&str> = files.iter().copied().filter(|name| slot(name) == Some(at)).collect();
        let depth = |name: &str| name.matches('/').count();
        // Prefer the shallowest file, and a plain file to its .gz.
        candidates.sort_by_key(|name| (depth(name), name.len(), *name));
        *chosen = candidates.first().copied();
        if let [first, second, ..] = candidates[..]
            && depth(first) == depth(second)
            && second.strip_suffix(".gz") != Some(first)
        {
            return Err(DataError::Ambiguous {
                file: container.name(),
                what: SLOTS[at].into(),
                candidates: listed(&candidates),
            });
        }
    }
    let train_only = chosen[2].is_none() && chosen[3].is_none() && options.test_fraction.is_some();
    let wanted = if train_only { 2 } else { 4 };
    let missing: Vec<&str> = (0..wanted).filter(|&at| chosen[at].is_none()).map(|at| SLOTS[at]).collect();
    if !missing.is_empty() {
        let found: Vec<&str> = chosen.iter().flatten().copied().collect();
        let mut found = format!(" (it has {})", listed(&found));
        if missing == SLOTS[2..] {
            found.push_str("; --test-fraction would split off a test set");
        }
        return Err(DataError::MissingMembers {
            file: container.name(),
            missing: missing.join(" and "),
            found,
        });
    }
    let names: Vec<&str> = chosen.iter().flatten().copied().collect();
    let limit = options.max_bytes;
    let mut contents = container.read(&names)?.into_iter().zip(&names);
    let mut pair = || -> Result<Option<Samples>, DataError> {
        let (Some((images, image_name)), Some((labels, label_name))) = (contents.next(), contents.next())
        else {
            return Ok(None);
        };
        let inputs = idx::images(&images, &container.display(image_name), limit)?;
        let labels = idx::labels(&labels, &container.display(label_name), limit)?;
        Ok(Some(Samples { inputs, labels }))
    };
    let train = pair()?.ok_or_else(|| DataError::NothingInside { file: container.name() })?;
    Ok(Found { train, test: pair()?, notes: Vec::new() })
}

const TRAIN_X: &[&str] = &["x_train", "train_x", "train_images", "images_train", "train_data", "xtrain"];
const TRAIN_Y: &[&str] = &["y_train", "train_y", "train_labels", "labels_train", "train_targets", "ytrain"];
const TEST_X: &[&str] = &["x_test", "test_x", "test_images", "images_test", "test_data", "xtest"];
const TEST_Y: &[&str] = &["y_test", "test_y", "test_labels", "labels_test", "test_targets", "ytest"];
const ALL_X: &[&str] = &["x", "data", "images", "features", "inputs"];
const ALL_Y: &[&str] = &["y", "target", "targets", "labels", "label", "outputs"];

fn array_called<'a>(arrays: &[&'a str], names: &[&str]) -> Option<&'a str> {
    let key = |name: &str| base(name).trim_end_matches(".npy").to_lowercase().replace('-', "_");
    names.iter().find_map(|wanted| arrays.iter().copied().find(|name| key(name) == *wanted))
}

fn read_arrays(container: &Container, arrays: &[&str], limit: u64) -> Result<Found, DataError> {
    let lacks = |missing: &str| DataError::MissingMembers {
        file: container.name(),
        missing: format!("the array {missing}"),
        found: format!(" (it has {})", listed(arrays)),
    };
    let pair = |x: &[&str], y: &[&str]| match (array_called(arrays, x), array_called(arrays, y)) {
        (Some(x), Some(y)) => Ok(Some((x, y))),
        (None, None) => Ok(None),
        (None, _) => Err(lacks(x[0])),
        (_, None) => Err(lacks(y[0])),
    };
    let read = |(x, y): (&str, &str)| -> Result<Samples, DataError> {
        let contents = container.read(&[x, y])?;
        let (x_name, y_name) = (container.display(x), container.display(y));
        pair_of_arrays(&contents[0], &x_name, &contents[1], &y_name, limit)
    };
    let (train, test) = match pair(TRAIN_X, TRAIN_Y)? {
        Some(train) => (train, pair(TEST_X, TEST_Y)?),
        None => (pair(ALL_X, ALL_Y)?.ok_or_else(|| lacks("x_train or x"))?, None),
    };
    Ok(Found { train: read(train)?, test: test.map(read).transpose()?, notes: Vec::new() })
}

fn pair_of_arrays(x: &[u8], x_name: &str, y: &[u8], y_name: &str, limit: u64) -> Result<Samples, DataError> {
    let inputs = Array::parse(x, x_name, limit)?.inputs()?;
    let labels = Array::parse(y, y_name, limit)?.labels()?;
    Ok(Samples { inputs, labels })
}

/// Reads the array of inputs of an `.npz`, which need not have labels.
pub(crate) fn read_inputs(container: &Container, limit: u64) -> Result<Inputs, DataError> {
    let files = container.files()?;
    let arrays: Vec<&str> =
        files.iter().map(String::as_str).filter(|name| name.ends_with(".npy") && !is_hidden(name)).collect();
    let lone = (arrays.len() == 1).then(|| arrays[0]);
    let x = array_called(&arrays, ALL_X).or_else(|| array_called(&arrays, TEST_X)).or(lone);
    let x = x.ok_or_else(|| DataError::MissingMembers {
        file: container.name(),
        missing: "the array x".into(),
        found: format!(" (it has {})", if arrays.is_empty() { "none".into() } else { listed(&arrays) }),
    })?;
    Array::parse(&container.read(&[x])?[0], &container.display(x), limit)?.inputs()
}

/// Reads a `.npy` file and its sibling: `x.npy` beside `y.npy`, `x_train.npy` beside `y_train.npy`.
pub(crate) fn read_npy_pair(path: &Path, limit: u64) -> Result<Found, DataError> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let (x, y) = match name.chars().next() {
        Some('x') => (name.clone(), name.replacen('x', "y", 1)),
        Some('X') => (name.clone(), name.replacen('X', "y", 1)),
        Some('y') => (name.replacen('y', "x", 1), name.clone()),
        _ => (name.clone(), "y.npy".into()),
    };
    let (x, y) = (path.with_file_name(x), path.with_file_name(y));
    for sibling in [&x, &y] {
        if !sibling.exists() {
            return Err(DataError::MissingMembers {
                file: file_name(path),
                missing: format!("its sibling {}", sibling.display()),
                found: String::new(),
            });
        }
    }
    let contents = |path: &Path| gunzip(read_file(path, limit)?, &file_name(path), limit);
    let train = pair_of_arrays(&contents(&x)?, &file_name(&x), &contents(&y)?, &file_name(&y), limit)?;
    Ok(Found { train, test: None, notes: Vec::new() })
}

/// Opens the table of a folder or archive, and that of its test set.
fn read_tables(container: &Container, tables: &[&str], options: &LoadOptions) -> Result<Contents, DataError> {
    let with = |part: &str| -> Vec<&str> {
        tables.iter().copied().filter(|name| base(name).to_lowercase().contains(part)).collect()
    };
    let (train, test) = match (tables, &with("train")[..], &with("test")[..]) {
        ([only], _, _) => (*only, None),
        (_, [train], [test]) if train != test => (*train, Some(*test)),
        _ => {
            return Err(DataError::Ambiguous {
                file: container.name(),
                what: "the CSV".into(),
                candidates: listed(tables),
            });
        }
    };
    let contents = |name: &str| -> Result<(Vec<u8>, String), DataError> {
        let file = container.display(name);
        let bytes = container.read(&[name])?.pop().unwrap_or_default();
        Ok((gunzip(bytes, &file, options.max_bytes)?, file))
    };
    let known = known_names(options);
    let (bytes, file) = contents(train)?;
    let table = Table::open(bytes, &file, options, known.as_deref())?;
    let known = known.or_else(|| table.names().map(<[String]>::to_vec));
    let test = test.map(|test| {
        let (bytes, file) = contents(test)?;
        Table::open(bytes, &file, options, known.as_deref())
    });
    Ok(Contents::Tables(table, test.transpose()?))
}
