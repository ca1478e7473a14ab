//! Data sources and the options for reading them.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use nn_core::Task;

use crate::columns::{Decimal, Preparation};
use crate::error::DataError;
use crate::text::Encoding;
use crate::weights::ClassWeights;

/// The source of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The UCI 8×8 digits, which are built into the program.
    Digits,
    /// The MNIST handwritten digits, fetched on first use.
    Mnist,
    /// Zalando's Fashion-MNIST, fetched on first use.
    FashionMnist,
    /// A file, folder or archive of the user.
    Path(PathBuf),
}

const NAMES: [(&str, Source); 3] =
    [("digits", Source::Digits), ("mnist", Source::Mnist), ("fashion-mnist", Source::FashionMnist)];

impl FromStr for Source {
    type Err = DataError;

    /// Parses `digits`, `mnist`, `fashion-mnist`, or a path. A bare word (no slash, no dot) that is neither a known name
    /// nor an existing file is an error. Any other path is checked only when it is loaded.
    fn from_str(text: &str) -> Result<Self, DataError> {
        if let Some((_, source)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(source.clone());
        }
        let path = PathBuf::from(text);
        if text.contains(['/', '\\', '.']) || path.exists() {
            return Ok(Self::Path(path));
        }
        let folded = text.to_lowercase().replace(['_', ' '], "-");
        let part_of = |name: &str| folded.len() > 3 && name.contains(&folded);
        let suggestion = NAMES
            .iter()
            .map(|(name, _)| (!part_of(name), distance(&folded, name), *name))
            .min()
            .filter(|(no_part, far, name)| !no_part || *far <= name.len() / 3)
            .map(|(.., name)| name.to_string());
        Err(DataError::UnknownSource { name: text.to_string(), suggestion })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            named => {
                let name = NAMES.iter().find(|(_, source)| source == named).map_or("", |(name, _)| name);
                f.write_str(name)
            }
        }
    }
}

/// The edit distance of two words: insertions, deletions, substitutions and swaps of neighbouring letters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

/// Whether the first line of a CSV is a header of column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It is a header if some column has text in it above a number, if it counts the columns (0, 1, 2 …), or if, in a table
    /// of text, its cells do not occur below it. A CSV of one line is a header if none of its cells is a number.
    #[default]
    Auto,
    /// It is a header.
    Yes,
    /// It is a row of data.
    No,
}

/// Whether numbers are standardised: each column to a mean of 0 and a standard deviation of 1 over the training samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standardize {
    /// Tables are, pictures are not.
    #[default]
    Auto,
    /// Tables are, and pictures by the mean and deviation of all their pixels.
    Yes,
    /// Numbers stay as they are.
    No,
}

/// The samples by which a run chooses: when to stop, and which weights are the best.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Validation {
    /// There are none.
    #[default]
    None,
    /// This fraction of the training samples, in (0, 1).
    Fraction(f64),
    /// One of `of` equal parts of the training samples, counted from 1. The parts have the same mix of classes, do not
    /// overlap, and are together all training samples: cross-validation takes each in turn.
    Fold {
        /// The part.
        fold: usize,
        /// The number of parts, at least 2.
        of: usize,
    },
    /// Those of another file.
    File(PathBuf),
}

/// The preparation of a table's columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Prepare {
    /// A new one is fitted to the training samples.
    #[default]
    Fit,
    /// That of a trained model.
    With(Arc<Preparation>),
    /// None: the trained model has none, so all columns but the label must be numbers.
    Raw,
}

/// The default size limit of a file, archive member or decompressed stream: 4 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 4 << 30;

/// Options for reading data. By default the data decides everything.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadOptions {
    /// Fraction of the samples held out for testing, in (0, 1), if the data has no test set of its own. `None` means
    /// [`crate::TEST_FRACTION`].
    pub test_fraction: Option<f64>,
    /// The label column of a CSV: its name, or its position from 0, or from the end if negative. `None` means the column
    /// that [`crate::load`] finds.
    pub label_column: Option<String>,
    /// Whether a CSV has a header.
    pub header: Header,
    /// The character between the cells of a table. `None` lets the table decide.
    pub delimiter: Option<u8>,
    /// The character before the fraction of a number. `None` lets the table decide.
    pub decimal: Option<Decimal>,
    /// The encoding of a table's text.
    pub encoding: Encoding,
    /// Columns that are left out, by name or position.
    pub ignore: Vec<String>,
    /// Columns whose numbers are names.
    pub categorical: Vec<String>,
    /// Columns that are numbers; any text in them counts as missing.
    pub numeric: Vec<String>,
    /// The column that weighs the samples.
    pub weight_column: Option<String>,
    /// The weights of the classes.
    pub class_weights: ClassWeights,
    /// Whether numbers of tables are standardised.
    pub standardize: Standardize,
    /// How columns are prepared.
    pub prepare: Prepare,
    /// The samples by which the run chooses.
    pub validation: Validation,
    /// The kind of prediction. `None` lets the labels decide.
    pub task: Option<Task>,
    /// The number of classes. Numeric labels are then class numbers, and must be in `0..classes`.
    pub classes: Option<usize>,
    /// The names of a trained model's classes, in order. Labels must be among them.
    pub class_names: Option<Vec<String>>,
    /// The divisor of bytes in a trained model's data. `None` lets the values decide. Data with any other numbers than
    /// whole ones from 0 to 255 is not divided.
    pub scale: Option<f32>,
    /// Whether the samples are pictures, whose labels are classes even if each occurs only a few times. Loading sets it.
    pub pictures: bool,
    /// Whether to transpose pictures, for data that stores them column by column.
    pub transpose: bool,
    /// The IDX data set to read from a folder or archive of several: its name, or a part that no other name has.
    pub idx_set: Option<String>,
    /// The seed that selects the samples held out for testing.
    pub seed: u64,
    /// The cache folder for fetched data. `None` means [`crate::default_cache_dir`].
    pub cache_dir: Option<PathBuf>,
    /// The most bytes that a file, archive member or decompressed stream may hold.
    pub max_bytes: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            test_fraction: None,
            label_column: None,
            header: Header::Auto,
            delimiter: None,
            decimal: None,
            encoding: Encoding::Auto,
            ignore: Vec::new(),
            categorical: Vec::new(),
            numeric: Vec::new(),
            weight_column: None,
            class_weights: ClassWeights::None,
            standardize: Standardize::Auto,
            prepare: Prepare::Fit,
            validation: Validation::None,
            task: None,
            classes: None,
            class_names: None,
            scale: None,
            pictures: false,
            transpose: false,
            idx_set: None,
            seed: 0,
            cache_dir: None,
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }
}

impl LoadOptions {
    /// Checks the options on their own, without the data.
    ///
    /// # Errors
    /// [`DataError::BadOption`] names the invalid option.
    pub fn validate(&self) -> Result<(), DataError> {
        if let Some(fraction) = self.test_fraction
            && !(fraction > 0.0 && fraction < 1.0)
        {
            return Err(DataError::BadOption {
                option: "--test-fraction",
                value: fraction.to_string(),
                problem: "it must be above 0 and below 1",
            });
        }
        if let Validation::Fraction(fraction) = self.validation
            && !(fraction > 0.0 && fraction < 1.0)
        {
            return Err(DataError::BadOption {
                option: "--validation-fraction",
                value: fraction.to_string(),
                problem: "it must be above 0 and below 1",
            });
        }
        if let Validation::Fold { fold, of } = self.validation
            && !(of >= 2 && (1..=of).contains(&fold))
        {
            return Err(DataError::BadOption {
                option: "--fold",
                value: format!("{fold}/{of}"),
                problem: "there must be at least 2 folds, and they are counted from 1",
            });
        }
        if self.classes == Some(0) {
            return Err(DataError::BadOption {
                option: "--classes",
                value: "0".into(),
                problem: "there must be at least one class",
            });
        }
        Ok(())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn names_and_paths() {
        assert_eq!("digits".parse::<Source>().unwrap(), Source::Digits);
        assert_eq!("fashion-mnist".parse::<Source>().unwrap(), Source::FashionMnist);
        assert_eq!("./x.csv".parse::<Source>().unwrap(), Source::Path("./x.csv".into()));
        assert_eq!("src".parse::<Source>().unwrap(), Source::Path("src".into()));
        assert_eq!(Source::FashionMnist.to_string(), "fashion-mnist");
    }

    #[test]
    fn misspelt_names_get_a_suggestion() {
        for (typed, meant) in [
            ("minst", "mnist"),
            ("MNIST", "mnist"),
            ("digit", "digits"),
            ("fashion_mnist", "fashion-mnist"),
            ("fashion", "fashion-mnist"),
            ("fashon-mnist", "fashion-mnist"),
        ] {
            let error = typed.parse::<Source>().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(&format!("did you mean {meant}?")), "{error}");
        }
        let error = "zebra".parse::<Source>().unwrap_err().to_string();
        assert!(!error.contains("mean"), "{error}");
    }

    #[test]
    fn options_are_checked() {
        for bad in [0.0, 1.0, -0.5, f64::NAN] {
            let options = LoadOptions { test_fraction: Some(bad), ..Default::default() };
            assert!(options.validate().unwrap_err().to_string().contains("--test-fraction"));
        }
        assert!(LoadOptions { classes: Some(0), ..Default::default() }.validate().is_err());
    }
}
