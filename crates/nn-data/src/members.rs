//! Finding the files of a data set in a folder or archive.

use std::collections::BTreeSet;
use std::path::Path;

use crate::bytes::{Opened, gunzip, read_file};
use crate::container::{Container, Form};
use crate::error::{DataError, file_name, listed, shown};
use crate::foreign;
use crate::idx;
use crate::load::known_names;
use crate::npy::Array;
use crate::pictures;
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
    /// Samples that were pictures in files of their own.
    Pictures(Found),
}

/// Reads the samples of a folder or archive.
pub(crate) fn read(container: &Container, options: &LoadOptions) -> Result<Contents, DataError> {
    let files = container.files()?;
    let files: Vec<&str> = files.iter().map(String::as_str).filter(|name| !is_hidden(name)).collect();
    let has_idx = files.iter().any(|name| slot(name).is_some());
    if let (Some(set), false) = (&options.idx_set, has_idx) {
        return Err(DataError::NoSuchSet {
            file: container.name(),
            set: shown(set, 60),
            sets: String::new(),
        });
    }
    if has_idx {
        return read_idx(container, &files, options).map(Contents::Samples);
    }
    let arrays: Vec<&str> = files.iter().copied().filter(|name| name.ends_with(".npy")).collect();
    if !arrays.is_empty() {
        return read_arrays(container, &arrays, options).map(Contents::Samples);
    }
    const TABLES: [&str; 6] = [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq"];
    let is_csv = |name: &&&str| TABLES.iter().any(|end| name.to_lowercase().ends_with(end));
    let tables: Vec<&str> = files.iter().filter(is_csv).copied().collect();
    if tables.is_empty() {
        if let Some((what, remedy)) = foreign::document(&files) {
            return Err(DataError::Foreign { file: container.name(), what, remedy });
        }
        if files.iter().any(|name| pictures::is_picture(name)) {
            return pictures::read(container, &files, options).map(Contents::Pictures);
        }
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

/// The name of the data set that an IDX file belongs to: its path up to the word that says what it is of the set. The
/// file `gzip/emnist-letters-train-images-idx3-ubyte.gz` is of the set `gzip/emnist-letters`.
fn set_of(name: &str) -> String {
    let folder = &name[..name.len() - base(name).len()];
    let file = base(name).to_ascii_lowercase();
    let words = ["train", "t10k", "test"];
    let end = words.iter().find_map(|word| file.rfind(word)).unwrap_or(file.len());
    let set = format!("{folder}{}", &base(name)[..end]);
    set.trim_end_matches(['/', '-', '_', '.', ' ']).to_owned()
}

/// The IDX files of the data set that `--idx-set` names.
fn in_set<'a>(container: &Container, files: &[&'a str], wanted: &str) -> Result<Vec<&'a str>, DataError> {
    let sets = sets_in(files);
    let folded = wanted.trim_end_matches('/').to_lowercase();
    let exact = sets.iter().find(|set| set.to_lowercase() == folded);
    let mut like = sets.iter().filter(|set| set.to_lowercase().contains(&folded));
    let set = match (exact, like.next(), like.next()) {
        (Some(set), ..) | (None, Some(set), None) => set,
        _ => {
            let sets: Vec<&str> = sets.iter().map(String::as_str).filter(|set| !set.is_empty()).collect();
            let sets = listed(&sets);
            return Err(DataError::NoSuchSet { file: container.name(), set: shown(wanted, 60), sets });
        }
    };
    Ok(files.iter().copied().filter(|name| slot(name).is_some() && set_of(name) == *set).collect())
}

/// The names of the IDX data sets among these files.
fn sets_in(files: &[&str]) -> Vec<String> {
    let sets: BTreeSet<String> =
        files.iter().filter(|name| slot(name).is_some()).map(|name| set_of(name)).collect();
    sets.into_iter().collect()
}

/// Reads the data set of an IDX file, whose other files are beside it.
pub(crate) fn read_idx_beside(path: &Opened, options: &LoadOptions) -> Result<Found, DataError> {
    let lone = || DataError::LoneIdx { file: file_name(path) };
    let name = path.file_name().and_then(|name| name.to_str()).filter(|name| slot(name).is_some());
    let name = name.filter(|_| !path.is_piped()).ok_or_else(lone)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let container = Container::new(&Opened::new(folder, options.max_bytes)?, Form::Folder, options.max_bytes);
    let files = container.files()?;
    let of_set =
        |other: &&str| !other.contains('/') && slot(other).is_some() && set_of(other) == set_of(name);
    let files: Vec<&str> = files.iter().map(String::as_str).filter(of_set).collect();
    if files.len() == 1 {
        return Err(lone());
    }
    read_idx(&container, &files, &LoadOptions { idx_set: None, ..options.clone() })
}

fn read_idx(container: &Container, files: &[&str], options: &LoadOptions) -> Result<Found, DataError> {
    let files = match &options.idx_set {
        Some(set) => &in_set(container, files, set)?[..],
        None => files,
    };
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
            let sets = sets_in(&candidates);
            let sets: Vec<&str> =
                sets.iter().map(|set| if set.is_empty() { "one without a name" } else { set }).collect();
            return Err(match sets[..] {
                [_, _, ..] => DataError::SeveralSets { file: container.name(), sets: listed(&sets) },
                _ => DataError::Ambiguous {
                    file: container.name(),
                    what: SLOTS[at].into(),
                    candidates: listed(&candidates),
                },
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
    let mut notes = Vec::new();
    let mut pair = || -> Result<Option<Samples>, DataError> {
        let (Some((images, image_name)), Some((labels, label_name))) = (contents.next(), contents.next())
        else {
            return Ok(None);
        };
        let inputs = idx::images(&images, &container.display(image_name), limit)?;
        let (labels, note) = idx::labels(&labels, &container.display(label_name), limit)?;
        notes.extend(note);
        Ok(Some(Samples { inputs, labels }))
    };
    let train = pair()?.ok_or_else(|| DataError::NothingInside { file: container.name() })?;
    let test = pair()?;
    Ok(Found { train, test, notes })
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

/// The names of the two arrays that `numpy.savez(path, x, y)` writes.
const POSITIONAL: [&str; 2] = ["arr_0", "arr_1"];

fn read_arrays(container: &Container, arrays: &[&str], options: &LoadOptions) -> Result<Found, DataError> {
    let lacks = |missing: &'static str| DataError::MissingArray {
        file: container.name(),
        missing,
        found: format!(" (it has {})", listed(arrays)),
    };
    let pair =
        |x: &[&'static str], y: &[&'static str]| match (array_called(arrays, x), array_called(arrays, y)) {
            (Some(x), Some(y)) => Ok(Some((x, y))),
            (None, None) => Ok(None),
            (None, _) => Err(lacks(x[0])),
            (_, None) => Err(lacks(y[0])),
        };
    let read = |(x, y): (&str, &str)| -> Result<Samples, DataError> {
        let contents = container.read(&[x, y])?;
        let (x_name, y_name) = (container.display(x), container.display(y));
        pair_of_arrays(&contents[0], &x_name, &contents[1], &y_name, options)
    };
    let mut notes = Vec::new();
    let positional = POSITIONAL.map(|name| array_called(arrays, &[name]));
    let (train, test) = if let (2, [Some(x), Some(y)]) = (arrays.len(), positional) {
        notes.push("the arrays have no names: arr_0 is read as the inputs x, arr_1 as the labels y".into());
        ((x, y), None)
    } else {
        match pair(TRAIN_X, TRAIN_Y)? {
            Some(train) => (train, pair(TEST_X, TEST_Y)?),
            None => (pair(ALL_X, ALL_Y)?.ok_or_else(|| lacks("x_train or x"))?, None),
        }
    };
    Ok(Found { train: read(train)?, test: test.map(read).transpose()?, notes })
}

fn pair_of_arrays(
    x: &[u8],
    x_name: &str,
    y: &[u8],
    y_name: &str,
    options: &LoadOptions,
) -> Result<Samples, DataError> {
    let inputs = Array::parse(x, x_name, options.max_bytes)?.inputs()?;
    let labels = Array::parse(y, y_name, options.max_bytes)?.labels(options)?;
    Ok(Samples { inputs, labels })
}

/// Reads the array of inputs of an `.npz`, which need not have labels.
pub(crate) fn read_inputs(container: &Container, limit: u64) -> Result<Inputs, DataError> {
    let files = container.files()?;
    let arrays: Vec<&str> =
        files.iter().map(String::as_str).filter(|name| name.ends_with(".npy") && !is_hidden(name)).collect();
    if arrays.is_empty()
        && let Some((what, remedy)) = foreign::document(&files.iter().map(String::as_str).collect::<Vec<_>>())
    {
        return Err(DataError::Foreign { file: container.name(), what, remedy });
    }
    let lone = (arrays.len() == 1).then(|| arrays[0]);
    let known = [ALL_X, TEST_X, &POSITIONAL[..1]];
    let x = known.iter().find_map(|names| array_called(&arrays, names)).or(lone);
    let x = x.ok_or_else(|| DataError::MissingArray {
        file: container.name(),
        missing: "x",
        found: format!(" (it has {})", if arrays.is_empty() { "none".into() } else { listed(&arrays) }),
    })?;
    Array::parse(&container.read(&[x])?[0], &container.display(x), limit)?.inputs()
}

/// Reads a `.npy` file and its sibling: `x.npy` beside `y.npy`, `x_train.npy` beside `y_train.npy`.
pub(crate) fn read_npy_pair(opened: &Opened, options: &LoadOptions) -> Result<Found, DataError> {
    let limit = options.max_bytes;
    let path: &Path = opened;
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
            return Err(DataError::MissingSibling { file: file_name(path), sibling: file_name(sibling) });
        }
    }
    let contents = |path: &Path| {
        let file = if path == &**opened { opened.clone() } else { Opened::new(path, limit)? };
        gunzip(read_file(&file, limit)?, &file_name(path), limit)
    };
    let train = pair_of_arrays(&contents(&x)?, &file_name(&x), &contents(&y)?, &file_name(&y), options)?;
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
