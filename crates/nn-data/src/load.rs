//! Loading a source into a training and a test set.

use std::io::Read;
use std::path::Path;

use nn_core::Dataset;

use crate::answers::Decoder;
use crate::bytes::{Opened, gunzip, is_gzip, read_file};
use crate::container::{Container, Form};
use crate::error::{DataError, file_name};
use crate::fetch::{Mirrors, Remote, default_cache_dir, fetch};
use crate::fingerprint::fingerprint;
use crate::members::{self, Found};
use crate::progress::LoadProgress;
use crate::raw::{Samples, pixel_rule};
use crate::source::{LoadOptions, Source};
use crate::split::{TEST_FRACTION, split};
use crate::table::Table;
use crate::{digits, foreign, idx, npy};

/// A data set: samples for training and samples for testing.
#[derive(Debug, Clone, PartialEq)]
pub struct Splits {
    /// The training set.
    pub train: Dataset,
    /// The test set.
    pub test: Dataset,
    /// The name of the data set: `digits`, `mnist`, `fashion-mnist`, or the last part of its path.
    pub name: String,
    /// The names of the classes in order; `None` for regression.
    pub classes: Option<Vec<String>>,
    /// The content hash: see [`fingerprint`].
    pub sha256: String,
    /// Decisions made about the data where no option decided, one sentence each, for people to read.
    pub notes: Vec<String>,
}

/// Loads a data set.
///
/// A path may be a folder, `.zip`, `.tar`, `.tar.gz` or `.tgz` that holds one of
/// - the four IDX files of MNIST and its relatives, plain or `.gz`, possibly in subfolders. Their names contain `train`, or
///   `t10k` or `test`, and `images` or `labels`. Without the two test files, `test_fraction` must be given. `idx_set`
///   chooses among several data sets;
/// - NPY arrays `x_train`, `y_train`, `x_test`, `y_test`, or `x` and `y` (also `X`, `data`, `images`; `target`, `labels`),
///   or two without names, as `numpy.savez(path, x, y)` writes them;
/// - one CSV, or one with `train` and one with `test` in its name.
///
/// It may also be an `.npz` of such arrays, a CSV (plain or `.gz`), one of two `.npy` files whose names differ only by `x`
/// and `y`, or one of the four IDX files in a folder. The format follows from the contents of a file, not from its name.
/// All but folders and files that have siblings may come through a pipe.
///
/// The label of a CSV is the column given by `label_column`; else the one called label, target, class or y; else the only
/// one that is mostly text; else, in a table of pixels, the first, or the last if the first is constant; else the last.
/// Whole numbers from 0 to 255 stay bytes if a sample has at least 64 of them; they are divided by the smallest of 1, 16
/// and 255 that is not below the maximum. Text and whole-number labels are classes; other numbers mean regression.
///
/// Data without a test set is split by class, with `test_fraction` ([`TEST_FRACTION`] by default) held out for testing.
///
/// # Errors
/// [`DataError`], which says what is wrong, where, and how to fix it; [`DataError::kind`] gives its category.
pub fn load(
    source: &Source,
    options: &LoadOptions,
    progress: &dyn LoadProgress,
) -> Result<Splits, DataError> {
    options.validate()?;
    match source {
        Source::Digits => {
            if options.transpose {
                return Err(DataError::BadOption {
                    option: "--transpose",
                    value: "given for the embedded digits".into(),
                    problem: "they are upright",
                });
            }
            progress.report("reading the embedded digits", 0, None);
            let (train, test) = digits::load(options.test_fraction)?;
            let sha256 = fingerprint(&train, &test);
            let classes = Some((0..10).map(|digit| digit.to_string()).collect());
            Ok(Splits { train, test, name: source.to_string(), classes, sha256, notes: Vec::new() })
        }
        Source::Mnist => remote(Remote::Mnist, options, progress),
        Source::FashionMnist => remote(Remote::FashionMnist, options, progress),
        Source::Path(path) => {
            progress.report(&format!("reading {}", path.display()), 0, None);
            load_path(path, options)
        }
    }
}

fn remote(remote: Remote, options: &LoadOptions, progress: &dyn LoadProgress) -> Result<Splits, DataError> {
    let cache = options.cache_dir.clone().or_else(default_cache_dir).ok_or(DataError::NoCacheDir)?;
    let folder = fetch(remote, &cache, &Mirrors::from_env(remote), progress)?;
    progress.report(&format!("reading {}", folder.display()), 0, None);
    let options = LoadOptions { classes: Some(10), class_names: None, ..options.clone() };
    let mut splits = load_path(&folder, &options)?;
    splits.classes = splits.classes.map(|_| remote.classes());
    Ok(splits)
}

/// The format of a file, recognised by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Container(Form),
    Npy,
    Idx,
    Csv,
}

/// The offset of the letters `ustar` in a tar file.
const USTAR: usize = 257;

/// Recognises a file by its first bytes, looking into gzip. If the name promises a format that the bytes do not have, the
/// file counts as a damaged one of that format.
pub(crate) fn format_of(path: &Opened) -> Result<Format, DataError> {
    if path.is_folder() {
        return Ok(Format::Container(Form::Folder));
    }
    let mut start = Vec::new();
    path.reader()?.take(64 << 10).read_to_end(&mut start).map_err(|e| DataError::io("read", path, e))?;
    if start.is_empty() {
        return Err(DataError::Empty { file: file_name(path) });
    }
    let packed = is_gzip(&start);
    if packed {
        let mut inside = Vec::new();
        let decoder = flate2::read::MultiGzDecoder::new(&start[..]);
        // Damage is reported later, by the reader of the whole file.
        let _ = decoder.take(512).read_to_end(&mut inside);
        start = inside;
    }
    if let Some((what, remedy)) = foreign::recognise(&start, path.is_piped()) {
        return Err(DataError::Foreign { file: file_name(path), what, remedy });
    }
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let tar = start.get(USTAR..USTAR + 5) == Some(b"ustar");
    Ok(
        if !packed && (start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06"))
            || ends(&[".zip", ".npz"])
        {
            Format::Container(Form::Zip)
        } else if tar || ends(&[".tar", ".tar.gz", ".tgz"]) {
            Format::Container(Form::Tar)
        } else if start.starts_with(npy::MAGIC) || ends(&[".npy"]) {
            Format::Npy
        } else if idx::is_idx(&start) {
            Format::Idx
        } else if utf16(&start) || !start[..start.len().min(512)].contains(&0) {
            // The reader of tables says what to do about UTF-16.
            Format::Csv
        } else {
            return Err(DataError::UnknownFormat { file: file_name(path) });
        },
    )
}

/// Whether text begins with a byte order mark of UTF-16.
fn utf16(start: &[u8]) -> bool {
    start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff")
}

fn load_path(path: &Path, options: &LoadOptions) -> Result<Splits, DataError> {
    let path = &Opened::new(path, options.max_bytes)?;
    let mut found = match format_of(path)? {
        Format::Container(form) => members::read(&Container::new(path, form, options.max_bytes), options)?,
        Format::Npy => members::read_npy_pair(path, options)?,
        Format::Csv => {
            let file = file_name(path);
            let bytes = gunzip(read_file(path, options.max_bytes)?, &file, options.max_bytes)?;
            let table = Table::open(&bytes, &file, options.header)?;
            let label = table.label_column(options.label_column.as_deref())?;
            members::read_table(&table, label)?
        }
        Format::Idx => members::read_idx_beside(path, options)?,
    };
    if options.transpose {
        let mut sets = std::iter::once(&mut found.train).chain(&mut found.test);
        sets.try_for_each(|samples| samples.inputs.transpose())?;
    }
    let named = path.file_name().or_else(|| path.components().next_back().map(|c| c.as_os_str()));
    let name = named.map_or_else(|| file_name(path), |n| n.to_string_lossy().into_owned());
    assemble(found, name, options)
}

fn assemble(found: Found, name: String, options: &LoadOptions) -> Result<Splits, DataError> {
    let Found { train, test, mut notes } = found;
    check(&train, test.as_ref())?;
    let both: Vec<&Samples> = std::iter::once(&train).chain(&test).collect();
    let inputs: Vec<_> = both.iter().map(|samples| &samples.inputs).collect();
    let labels: Vec<_> = both.iter().map(|samples| &samples.labels).collect();
    let pixel = pixel_rule(&inputs, options.scale);
    let decoder = Decoder::decide(&labels, options)?;
    let file = train.inputs.file.clone();

    let dataset = |samples: Samples| -> Result<Dataset, DataError> {
        let file = samples.inputs.file.clone();
        let targets = decoder.apply(&samples.labels)?;
        let width = samples.inputs.width;
        let (features, image) = samples.inputs.into_features(pixel);
        Dataset::new(features, width, targets, image).map_err(|source| DataError::Unusable { file, source })
    };
    let has_test = test.is_some();
    let train = dataset(train)?;
    let (train, test) = match test {
        Some(test) => (train, dataset(test)?),
        None => {
            let fraction = options.test_fraction.unwrap_or(TEST_FRACTION);
            let samples = train.len();
            split(&train, fraction, options.seed).ok_or(DataError::TooFewSamples { file, samples })?
        }
    };
    if has_test && options.test_fraction.is_some() {
        notes.push("the data has its own test set, so --test-fraction is ignored".into());
    } else if !has_test {
        notes.push(format!(
            "{} of {} samples are held out for testing",
            test.len(),
            train.len() + test.len()
        ));
    }
    let sha256 = fingerprint(&train, &test);
    Ok(Splits { train, test, name, classes: decoder.names(), sha256, notes })
}

/// Checks that samples match labels, and the training set the test set.
fn check(train: &Samples, test: Option<&Samples>) -> Result<(), DataError> {
    for samples in [Some(train), test].into_iter().flatten() {
        let labels = &samples.labels;
        if samples.inputs.samples != labels.answers.len() {
            return Err(DataError::CountMismatch {
                images: samples.inputs.file.clone(),
                image_count: samples.inputs.samples,
                labels: labels.file.clone(),
                label_count: labels.answers.len(),
            });
        }
    }
    let Some(test) = test else { return Ok(()) };
    let differ = |first: &str, first_width, second: &str, second_width| DataError::WidthsDiffer {
        first: first.into(),
        first_width,
        second: second.into(),
        second_width,
    };
    let (a, b) = (&train.inputs, &test.inputs);
    if a.width != b.width || a.image != b.image {
        return Err(differ(&a.file, a.width, &b.file, b.width));
    }
    let (a, b) = (&train.labels, &test.labels);
    if a.answers.width() != b.answers.width() {
        return Err(differ(&a.file, a.answers.width(), &b.file, b.answers.width()));
    }
    Ok(())
}
