//! Everything that can be wrong with data. Each variant holds the facts; its message says what is wrong, where, and how
//! to fix it.

use std::path::Path;

use nn_core::DatasetError;
use thiserror::Error;

/// The category of a [`DataError`], which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is invalid (exit code 2).
    Usage,
    /// The data is missing or unusable (exit code 3).
    Data,
    /// The network or a server failed (exit code 4).
    Network,
}

/// The reason that data could not be loaded. `file` is a path, or `archive: member` for a file inside an archive.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum DataError {
    #[error("there is no data set or file named `{name}`{}; give digits, mnist, fashion-mnist, or the path to \
             a file or folder", suggest(.suggestion.as_deref()))]
    UnknownSource { name: String, suggestion: Option<String> },
    #[error("{option} cannot be {value}: {problem}")]
    BadOption { option: &'static str, value: String, problem: &'static str },
    #[error(
        "{file} has no column `{column}`; it has {available}. Give {option} a name or a position, counting \
             from 0 (negative positions count from the end)"
    )]
    NoSuchColumn { file: String, column: String, available: String, option: &'static str },
    #[error(
        "{file} has two columns called `{name}`, at the positions {first} and {second}; give {option} a position, counting \
             from 0"
    )]
    AmbiguousColumn { file: String, name: String, first: usize, second: usize, option: &'static str },
    #[error("{file}: column {column} is named twice; name it once")]
    ColumnTwice { file: String, column: String },
    #[error("{file} lacks the column{} {} that the model was trained on; it has {has}. Add {}, or train without",
            plural(.missing.len()), .missing.join(", "), if .missing.len() == 1 { "it" } else { "them" })]
    ColumnsMissing { file: String, missing: Vec<String>, has: String },
    #[error(
        "{file} has {found} columns, but the model was trained on {}: {with} with the answer, {without} without it; give \
             these columns in the same order, or with a header that names them",
        .of
    )]
    ColumnCount { file: String, found: usize, with: usize, without: usize, of: String },
    #[error(
        "{file}: the values of column `{column}` are lists or structures; leave it out, or make plain columns of it"
    )]
    NestedColumn { file: String, column: String },
    #[error(
        "{file} is an array of numbers, but the model was trained on a table with words or dates; give a CSV or Parquet file with \
             its columns"
    )]
    ArrayForWords { file: String },
    #[error(
        "{file} is compressed with {codec}, which is not supported; save it with compression=\"snappy\" or \"gzip\", or as CSV"
    )]
    Codec { file: String, codec: &'static str },
    #[error("{file} is not valid {encoding}; save it as UTF-8, or name its encoding with --encoding")]
    BadEncoding { file: String, encoding: &'static str },
    #[error("{file}: no column is left to learn from; {reason}")]
    NoFeatures { file: String, reason: String },
    #[error(
        "{file}: every label is `{label}`, so there is nothing to learn; check --label-column, or give --task regression if \
             the labels are numbers"
    )]
    OneClass { file: String, label: String },
    #[error("{file}: no row has a label in column {column}; check --label-column")]
    NoLabels { file: String, column: String },
    #[error(
        "{file}, line {line}, column {column}: the answer `{text}` is not a number; several target columns must all be \
             numbers, so name fewer with --label-column, or correct it"
    )]
    TargetNotANumber { file: String, line: u64, column: String, text: String },
    #[error(
        "{file}, line {line}, column {column}: `{text}` is no weight; a weight is a number that is not negative"
    )]
    BadWeight { file: String, line: u64, column: String, text: String },
    #[error(
        "{file}: the weights of the training samples are all 0, or too large; check --weight-column and --class-weights"
    )]
    NoWeight { file: String },
    #[error("{file}: there is no class `{name}` for --class-weights; the classes are {classes}")]
    NoSuchClass { file: String, name: String, classes: String },
    #[error(
        "--class-weights is for classes, but the answers of {file} are numbers; leave it out, or give --task classification"
    )]
    WeightsForNumbers { file: String },
    #[error(
        "{file} is not a table, so it cannot be the file of --validation; give a CSV or Parquet file with the columns of the \
             training data, or use --validation-fraction"
    )]
    ValidationNotATable { file: String },
    #[error("{option} is for tables, but {file} is none; leave it out")]
    NotATable { file: String, option: &'static str },

    #[error("{file} does not exist; check the path")]
    Missing { file: String },
    #[error("cannot {what} {file}: {source}")]
    Io { what: &'static str, file: String, source: std::io::Error },
    #[error("{file} is empty; copy or download it again")]
    Empty { file: String },
    #[error("{file} is neither IDX, CSV, NPY, NPZ, zip nor tar; give one of these, or a folder of them")]
    UnknownFormat { file: String },
    #[error(
        "{file} is a single IDX file, but training needs both images and labels; give the folder or archive that \
             holds train-images…, train-labels…, t10k-images… and t10k-labels…"
    )]
    LoneIdx { file: String },
    #[error("{file} is not {expected}: it starts with {found}. {hint}")]
    BadMagic { file: String, expected: &'static str, found: String, hint: &'static str },
    #[error(
        "{file} is truncated: its header promises {expected} bytes of data, but it has {found}; copy or \
             download it again"
    )]
    Truncated { file: String, expected: u64, found: u64 },
    #[error(
        "{file} continues after the {expected} bytes of data that its header promises; it is damaged, or not the \
             file that its name suggests"
    )]
    TrailingBytes { file: String, expected: u64 },
    #[error(
        "{file} would take more than {limit} bytes{claim}; its header may be damaged, or it may be a \
             decompression bomb. If it really is that large, split it"
    )]
    TooLarge { file: String, claim: String, limit: u64 },
    #[error("{file} is a damaged {format}: {detail}; copy or download it again")]
    Corrupt { file: String, format: &'static str, detail: String },
    #[error(
        "{file} lacks {missing}{found}; a data set consists of images and labels for both training and testing"
    )]
    MissingMembers { file: String, missing: String, found: String },
    #[error(
        "{file} contains no data set: no IDX files (train-images-idx3-ubyte and so on), no .npy arrays, no CSV and no pictures (PNG or JPEG) in folders of their classes"
    )]
    NothingInside { file: String },
    #[error(
        "{file} holds more than one candidate for {what}: {candidates}; give the path of the one you mean, after \
             extracting it if it is in an archive"
    )]
    Ambiguous { file: String, what: String, candidates: String },
    #[error(
        "{images} has {image_count} samples, but {labels} has {label_count} labels; they do not belong together"
    )]
    CountMismatch { images: String, image_count: usize, labels: String, label_count: usize },
    #[error(
        "samples of {first} have {first_width} numbers, but samples of {second} have {second_width}; training and \
             test samples must have the same shape"
    )]
    WidthsDiffer { first: String, first_width: usize, second: String, second_width: usize },
    #[error("the samples of {file} have {found} features, but the network takes {expected}")]
    WrongWidth { file: String, found: usize, expected: usize },
    #[error("{file} has only {}; at least 2 are needed, one for training and one for testing",
            counted(*.samples, "sample"))]
    TooFewSamples { file: String, samples: usize },

    #[error(
        "column {column} is called `{first_name}` in {first}, but `{second_name}` in {second}; training and test \
             samples must have the same columns in the same order"
    )]
    ColumnsDiffer { column: usize, first: String, first_name: String, second: String, second_name: String },
    #[error("{file} has a header (line 1) but no rows")]
    OnlyHeader { file: String },
    #[error("{file}, line {line}: {}, but line {first} has {expected}; every row needs the same number of cells",
            counted(*.found, "cell"))]
    RaggedRow { file: String, line: u64, found: usize, first: u64, expected: usize },
    #[error(
        "{file} has only one column; it needs features and a label, separated by commas, semicolons or tabs"
    )]
    OneColumn { file: String },
    #[error(
        "{file}, line {line}, column {column}: `{text}` is not a number; only the label may be text (--label-column \
             selects its column, --header yes reads line 1 as names)"
    )]
    NotANumber { file: String, line: u64, column: String, text: String },
    #[error("{file}, line {line}, column {column}: the cell is empty; fill it in or remove the row")]
    EmptyCell { file: String, line: u64, column: String },
    #[error("{file}, {place}: the value is not finite (NaN or infinity); replace it or remove the sample")]
    NonFinite { file: String, place: String },
    #[error(
        "{file}, line {line}: the text is not UTF-8; save the file as UTF-8, or give --encoding latin-1 if that is what it is"
    )]
    NotUtf8 { file: String, line: u64 },

    #[error("{file} has elements of type {dtype}, which is not supported; {remedy}")]
    UnsupportedDtype { file: String, dtype: String, remedy: &'static str },
    #[error("{file} has the shape {shape:?}; {wanted}")]
    UnsupportedShape { file: String, shape: Vec<u64>, wanted: &'static str },

    #[error(
        "{file}, {place}: the label {label} is not one of the {classes} classes; check the label column, or \
             --classes"
    )]
    LabelOutOfRange { file: String, place: String, label: String, classes: usize },
    #[error(
        "{file}, {place}: the label `{label}` is not one of the model's classes, which are {classes}; check the label column, \
             or use data with these classes only"
    )]
    UnknownClass { file: String, place: String, label: String, classes: String },
    #[error(
        "{file}, {place}: the label {label} is not a whole number, so it cannot be a class; give --task regression \
             to predict numbers"
    )]
    LabelNotWhole { file: String, place: String, label: String },
    #[error(
        "{file}, {place}: the label `{label}` is not a number, though nearly all labels are; correct it, or give \
             --task classification to treat labels as names"
    )]
    StrayTextLabel { file: String, place: String, label: String },
    #[error(
        "{file}: the labels are text such as `{label}`, but regression needs numbers; give --task classification"
    )]
    TextForRegression { file: String, label: String },
    #[error("{file}: {source}")]
    Unusable { file: String, source: DatasetError },

    #[error("there is no cache folder for fetched data; set NN_CACHE_DIR to one")]
    NoCacheDir,
    #[error("could not fetch {name}:{}\n{remedy}", bullets(.attempts))]
    Fetch { name: &'static str, attempts: Vec<String>, remedy: String },

    #[error("{file}, {place}: the label {problem}")]
    BadLabelText { file: String, place: String, problem: &'static str },
    #[error("{file} is {what}, which is not read here; {remedy}")]
    Foreign { file: String, what: &'static str, remedy: &'static str },
    #[error("{file} is packed with {method}, which is not supported; {remedy}")]
    UnsupportedCompression { file: String, method: String, remedy: &'static str },
    #[error(
        "{file} lacks the array {missing}{found}; name the inputs x and the labels y, or x_train, y_train, x_test and \
             y_test"
    )]
    MissingArray { file: String, missing: &'static str, found: String },
    #[error(
        "{file} lacks its sibling {sibling}; save inputs and labels beside each other, under names that differ only by \
             x and y, such as x.npy and y.npy"
    )]
    MissingSibling { file: String, sibling: String },
    #[error(
        "{file} holds several data sets: {sets}; choose one with --idx-set NAME, or give the path of one of its files"
    )]
    SeveralSets { file: String, sets: String },
    #[error("{file} has no IDX data set called `{set}`{}",
            if .sets.is_empty() { "; leave --idx-set out".into() } else { format!("; it has {sets}") })]
    NoSuchSet { file: String, set: String, sets: String },
    #[error("{file} {problem}; save it as PNG, or take it out of the folder")]
    BadPicture { file: String, problem: String },
    #[error(
        "the pictures must have one size, but {first} has {first_size} pixels and {second} has {second_size}; scale them, for \
             example with ImageMagick: mogrify -resize {resize}! FILES"
    )]
    PictureSizes { first: String, first_size: String, second: String, second_size: String, resize: String },
    #[error(
        "{file} has pictures, such as {picture}, but no folders that name their classes; put the pictures of each class into a \
             folder of its own, such as cat/1.png and dog/1.png"
    )]
    NoClassFolders { file: String, picture: String },
    #[error(
        "{file}: every picture is in a folder `{class}`, so there is only one class; put the pictures of each class into a \
             folder of its own"
    )]
    OneClassFolder { file: String, class: String },
    #[error(
        "{file}: samples of {width} numbers are not pictures that could be transposed; leave --transpose out"
    )]
    NotPictures { file: String, width: usize },
}

fn suggest(name: Option<&str>) -> String {
    name.map(|n| format!(" (did you mean {n}?)")).unwrap_or_default()
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A count with its noun, such as `1 sample` or `3 samples`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn bullets(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  - {line}")).collect()
}

impl DataError {
    /// The category of this error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::UnknownSource { .. } | Self::BadOption { .. } | Self::NoSuchColumn { .. } => Kind::Usage,
            Self::AmbiguousColumn { .. } | Self::ColumnTwice { .. } | Self::NoSuchClass { .. } => Kind::Usage,
            Self::WeightsForNumbers { .. } | Self::NotATable { .. } => Kind::Usage,
            Self::NoCacheDir | Self::NoSuchSet { .. } | Self::NotPictures { .. } => Kind::Usage,
            Self::Fetch { .. } => Kind::Network,
            _ => Kind::Data,
        }
    }

    /// A failed file operation; a file that does not exist gives [`DataError::Missing`].
    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        let file = path.display().to_string();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { file },
            _ => Self::Io { what, file, source },
        }
    }
}

/// The display name of a file inside an archive.
pub(crate) fn member_name(archive: &Path, member: &str) -> String {
    format!("{}: {}", archive.display(), shown(member, 120))
}

/// Text from a file, made safe for a message: at most `most` characters, without control characters, which could steer
/// the terminal.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut out: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// A list of names for a message, cut after the first few.
pub(crate) fn listed(names: &[&str]) -> String {
    const MOST: usize = 12;
    let mut out = names.iter().take(MOST).map(|name| shown(name, 60)).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        out.push_str(&format!(" and {} more", names.len() - MOST));
    }
    out
}

/// The display name of a file.
pub(crate) fn file_name(path: &Path) -> String {
    path.display().to_string()
}
