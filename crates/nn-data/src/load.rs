//! Loading a source into a training and a test set.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use nn_core::Dataset;

use crate::answers::Decoder;
use crate::bytes::{Opened, gunzip, is_gzip, read_file};
use crate::columns::{Kind as ColumnKind, Preparation};
use crate::container::{Container, Form};
use crate::error::{DataError, file_name};
use crate::fetch::{Mirrors, Remote, default_cache_dir, fetch};
use crate::fingerprint::{fingerprint, with_more};
use crate::members::{self, Contents, Found};
use crate::progress::LoadProgress;
use crate::raw::{Origins, Places, Samples, pixel_rule};
use crate::source::{LoadOptions, Prepare, Source, Standardize, Validation};
use crate::split::{TEST_FRACTION, hold_out_validation, split};
use crate::survey::Survey;
use crate::table::{Table, short};
use crate::tabular::{self, Tables};
use crate::weights::weigh;
use crate::{digits, foreign, idx, npy, parquet, text};
use nn_core::Task;

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
    /// The samples by which the run chooses, if [`LoadOptions::validation`] asks for them.
    pub validation: Option<Dataset>,
    /// The content hash: see [`fingerprint`]. That of a prepared table covers its raw columns.
    pub sha256: String,
    /// What was met in the columns that the training samples do not have, one sentence each, for people to read.
    pub oddities: Vec<String>,
    /// How columns became inputs; `None` for pictures and for numbers that stay as they are.
    pub preparation: Option<Arc<Preparation>>,
    /// What the columns are, if the data is a table.
    pub survey: Option<Survey>,
    /// Whether the samples were picture files of their own, whose greys are used as they are.
    pub picture_files: bool,
    /// Where the training samples are in the files.
    pub origins: Origins,
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
/// - pictures (PNG or JPEG) of one size in folders named after their classes, possibly in folders `train` and `test`;
/// - one CSV, or one with `train` and one with `test` in its name.
///
/// It may also be an `.npz` of such arrays, a CSV (plain or `.gz`), one of two `.npy` files whose names differ only by `x`
/// and `y`, or one of the four IDX files in a folder. The format follows from the contents of a file, not from its name.
/// All but folders and files that have siblings may come through a pipe.
///
/// The answer in a table is the column given by `label_column`; else the one with a usual name, such as label, target, class
/// or y; else the only one that is mostly text, if it is the first or last; else, in a table of pixels, the first, or the
/// last if the first is constant; else the last. Whole numbers from 0 to 255 stay bytes if a sample has at least 64 of them
/// and nothing else; they are divided by the smallest of 1, 16 and 255 that is not below the maximum. Any other table is
/// prepared: see [`Preparation`]. Text and few whole numbers as answers are classes; other numbers mean regression.
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
            let (train, test, rows) = digits::load(options.test_fraction)?;
            let origins = Origins::new(digits::FILE.to_owned(), Places::Samples, rows);
            let classes = Some((0..10).map(|digit| digit.to_string()).collect());
            if let Validation::File(path) = &options.validation {
                return Err(DataError::ValidationNotATable { file: path.display().to_string() });
            }
            let sets = Sets { train, test, origins, validation: None, notes: Vec::new() };
            sets.finish(source.to_string(), classes, digits::FILE, options)
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
        } else if !start[..start.len().min(512)].contains(&0)
            || text::is_utf16(&start[..start.len().min(512)])
            || parquet::is_parquet(&start)
        {
            Format::Csv
        } else {
            return Err(DataError::UnknownFormat { file: file_name(path) });
        },
    )
}

fn load_path(path: &Path, options: &LoadOptions) -> Result<Splits, DataError> {
    let named = path.file_name().or_else(|| path.components().next_back().map(|c| c.as_os_str()));
    let name = named.map_or_else(|| file_name(path), |n| n.to_string_lossy().into_owned());
    let known = known_names(options);
    let path = &Opened::new(path, options.max_bytes)?;
    let contents = match format_of(path)? {
        Format::Container(form) => members::read(&Container::new(path, form, options.max_bytes), options)?,
        Format::Npy => Contents::Samples(members::read_npy_pair(path, options)?),
        Format::Csv => {
            let file = file_name(path);
            let bytes = gunzip(read_file(path, options.max_bytes)?, &file, options.max_bytes)?;
            Contents::Tables(Table::open(bytes, &file, options, known.as_deref())?, None)
        }
        Format::Idx => Contents::Samples(members::read_idx_beside(path, options)?),
    };
    match contents {
        Contents::Tables(train, test) => load_tables(train, test, name, options),
        Contents::Samples(found) => assemble(found, name, options),
        Contents::Pictures(found) => {
            // The names of folders are classes, even if most of them are numbers.
            let task = options.task.or(Some(Task::Classification));
            let splits = assemble(found, name, &LoadOptions { task, ..options.clone() })?;
            Ok(Splits { picture_files: true, ..splits })
        }
    }
}

/// The names of the columns of a trained model.
pub(crate) fn known_names(options: &LoadOptions) -> Option<Vec<String>> {
    match &options.prepare {
        Prepare::With(preparation) => preparation.names.clone(),
        _ => None,
    }
}

/// Loads a table, and its test set if it has one. Pixels and, if the user says so, plain numbers need no preparation.
fn load_tables(
    train: Table,
    test: Option<Table>,
    name: String,
    options: &LoadOptions,
) -> Result<Splits, DataError> {
    let known = known_names(options);
    let mut notes = train.notes().to_vec();
    let no_pictures = || match options.transpose {
        true => Err(DataError::NotPictures { file: train.file().to_owned(), width: train.columns() }),
        false => Ok(()),
    };
    let validation = match &options.validation {
        Validation::File(path) => {
            let file = file_name(path);
            let path = &Opened::new(path, options.max_bytes)?;
            if !matches!(format_of(path)?, Format::Csv) {
                return Err(DataError::ValidationNotATable { file });
            }
            let bytes = gunzip(read_file(path, options.max_bytes)?, &file, options.max_bytes)?;
            let names = known.clone().or_else(|| train.names().map(<[String]>::to_vec));
            Some(Table::open(bytes, &file, options, names.as_deref())?)
        }
        _ => None,
    };
    if let Prepare::With(_) = options.prepare {
        no_pictures()?;
        return tabular::load(Tables { train, test, validation, notes }, None, name, options);
    }
    let survey = match options.prepare {
        Prepare::Fit => Some(Survey::of(&train, options)?),
        _ => None,
    };
    let plain = |survey: &Survey| {
        survey.is_pixels()
            || (options.standardize == Standardize::No && survey.is_plain() && validation.is_none())
    };
    if let Some(survey) = survey.as_ref().filter(|survey| !plain(survey)) {
        if let Some((at, line)) = infinite(survey) {
            return Err(train.non_finite(line, at));
        }
        no_pictures()?;
        let survey = Some(survey.clone());
        return tabular::load(Tables { train, test, validation, notes }, survey, name, options);
    }
    if validation.is_some() {
        return Err(DataError::ValidationNotATable { file: train.file().to_owned() });
    }
    let (label, skip) = match &survey {
        Some(survey) => {
            let features = survey.features();
            let skip = (0..train.columns()).map(|at| !features.contains(&at)).collect();
            (survey.targets().first().copied().unwrap_or(0), skip)
        }
        None => {
            let (targets, _) = train.label_columns(options.label_column.as_deref())?;
            let ignored: Vec<usize> =
                options.ignore.iter().map(|name| train.find(name, "--ignore")).collect::<Result<_, _>>()?;
            let skip: Vec<bool> = (0..train.columns()).map(|at| ignored.contains(&at)).collect();
            (targets.first().copied().unwrap_or(0), skip)
        }
    };
    let header = if train.has_header() { "line 1 is a header" } else { "there is no header" };
    notes.push(format!("{header}; the label is column {}", train.column_name(label)));
    let samples = |table: &Table| -> Result<Samples, DataError> {
        let (inputs, labels) = table.read(Some(label), &skip)?;
        let labels = labels.ok_or_else(|| DataError::OneColumn { file: inputs.file.clone() })?;
        Ok(Samples { inputs, labels })
    };
    let mut found = Found { train: samples(&train)?, test: None, notes };
    if let Some(test) = test {
        if test.columns() + 1 == train.columns() {
            found.notes.push(format!("{} has no label column, so it is ignored", test.file()));
        } else if test.columns() != train.columns() {
            return Err(DataError::WidthsDiffer {
                first: train.file().to_owned(),
                first_width: train.columns(),
                second: test.file().to_owned(),
                second_width: test.columns(),
            });
        } else {
            check_names(&train, &test)?;
            found.test = Some(samples(&test)?);
        }
    }
    let mut splits = assemble(found, name, options)?;
    splits.survey = survey;
    Ok(splits)
}

/// The first column with a number that is not finite, and its line.
fn infinite(survey: &Survey) -> Option<(usize, u64)> {
    survey
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.kind == ColumnKind::Number)
        .find_map(|(at, column)| Some((at, column.infinite?)))
}

/// Checks that the columns of two tables have the same names, if both tables have names.
fn check_names(train: &Table, test: &Table) -> Result<(), DataError> {
    let (Some(ours), Some(theirs)) = (train.names(), test.names()) else { return Ok(()) };
    let pairs = ours.iter().zip(theirs);
    match pairs.enumerate().find(|(_, (a, b))| !a.eq_ignore_ascii_case(b)) {
        None => Ok(()),
        Some((column, (first, second))) => Err(DataError::ColumnsDiffer {
            column,
            first: train.file().to_owned(),
            first_name: short(first),
            second: test.file().to_owned(),
            second_name: short(second),
        }),
    }
}

fn assemble(found: Found, name: String, options: &LoadOptions) -> Result<Splits, DataError> {
    let Found { mut train, mut test, mut notes } = found;
    if options.transpose {
        let mut sets = std::iter::once(&mut train).chain(&mut test);
        sets.try_for_each(|samples| samples.inputs.transpose())?;
    }
    check(&train, test.as_ref())?;
    let both: Vec<&Samples> = std::iter::once(&train).chain(&test).collect();
    let inputs: Vec<_> = both.iter().map(|samples| &samples.inputs).collect();
    let labels: Vec<_> = both.iter().map(|samples| &samples.labels).collect();
    if let Validation::File(path) = &options.validation {
        return Err(DataError::ValidationNotATable { file: path.display().to_string() });
    }
    let pixel = pixel_rule(&inputs, options.scale);
    if pixel.is_none() && tabular::wants_preparation(&inputs, options) {
        return tabular::load_arrays(train, test, notes, name, options);
    }
    let decoder = Decoder::decide(&labels, &LoadOptions { pictures: pixel.is_some(), ..options.clone() })?;
    let file = train.inputs.file.clone();

    let dataset = |samples: Samples| -> Result<Dataset, DataError> {
        let file = samples.inputs.file.clone();
        let targets = decoder.apply(&samples.labels)?;
        let width = samples.inputs.width;
        let (features, image) = samples.inputs.into_features(pixel);
        Dataset::new(features, width, targets, image).map_err(|source| DataError::Unusable { file, source })
    };
    let has_test = test.is_some();
    let places = train.labels.places.clone();
    let train = dataset(train)?;
    let (train, test, rows) = match test {
        Some(test) => {
            let rows = (0..train.len()).collect();
            (train, dataset(test)?, rows)
        }
        None => {
            let fraction = options.test_fraction.unwrap_or(TEST_FRACTION);
            let samples = train.len();
            split(&train, fraction, options.seed)
                .ok_or_else(|| DataError::TooFewSamples { file: file.clone(), samples })?
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
    let origins = Origins::new(file.clone(), places, rows);
    Sets { train, test, origins, validation: None, notes }.finish(name, decoder.names(), &file, options)
}

/// The sets of a data set that needs no preparation.
struct Sets {
    train: Dataset,
    test: Dataset,
    /// Where the training samples are.
    origins: Origins,
    validation: Option<Dataset>,
    notes: Vec<String>,
}

impl Sets {
    /// Holds out validation samples, weighs the training samples, and makes the fingerprint.
    fn finish(
        self,
        name: String,
        classes: Option<Vec<String>>,
        file: &str,
        options: &LoadOptions,
    ) -> Result<Splits, DataError> {
        let Self { mut train, test, mut origins, mut validation, mut notes } = self;
        let samples = train.len();
        let all: Vec<usize> = (0..samples).collect();
        let parts = hold_out_validation(train.targets(), &all, &options.validation, options.seed)
            .map_err(|_| DataError::TooFewSamples { file: file.into(), samples })?;
        if let Some((kept, held)) = parts {
            notes.push(format!("{} more are held out for validation", held.len()));
            origins = origins.select(&kept);
            (train, validation) = (train.select(&kept), Some(train.select(&held)));
        }
        tabular::refuse_one_class(train.targets(), classes.as_deref(), options, file)?;
        let train = weigh(train, &options.class_weights, classes.as_deref(), None, file)?;
        let sha256 = with_more(fingerprint(&train, &test), &train, validation.as_ref());
        let (preparation, survey) = (None, None);
        let oddities = Vec::new();
        Ok(Splits {
            train,
            test,
            validation,
            name,
            classes,
            sha256,
            origins,
            notes,
            oddities,
            preparation,
            survey,
            picture_files: false,
        })
    }
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
