//! What can be asked for, and how.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::DataError;

/// Where data come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The UCI 8×8 digits, which are part of the program.
    Digits,
    /// The MNIST handwritten digits, fetched on first use.
    Mnist,
    /// Zalando's Fashion-MNIST, fetched on first use.
    FashionMnist,
    /// A file, folder or archive of the user's.
    Path(PathBuf),
}

const NAMES: [(&str, Source); 3] =
    [("digits", Source::Digits), ("mnist", Source::Mnist), ("fashion-mnist", Source::FashionMnist)];

impl FromStr for Source {
    type Err = DataError;

    /// `digits`, `mnist`, `fashion-mnist`, or a path. A bare word (no slash, no dot) that is neither a name nor
    /// something that exists is an error here; any other path is only looked at when it is loaded.
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

/// How many letters must be put in, taken out, changed or swapped with a neighbour to make `a` into `b`.
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

/// Whether the first line of a CSV holds names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It does if, in some column, its cell is no number while that of the second line is one; or if it is the only
    /// line, and no cell in it is a number.
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// What the network is to learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One of several classes.
    Classification,
    /// Numbers.
    Regression,
}

macro_rules! words {
    ($type:ty, $option:literal, $problem:literal, $($word:literal => $value:expr),+) => {
        impl FromStr for $type {
            type Err = DataError;

            fn from_str(text: &str) -> Result<Self, DataError> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(DataError::BadOption {
                        option: $option,
                        value: format!("`{text}`"),
                        problem: $problem,
                    }),
                }
            }
        }
    };
}
words!(Header, "--header", "give auto, yes or no", "auto" => Self::Auto, "yes" => Self::Yes, "no" => Self::No);
words!(Task, "--task", "give classification or regression",
    "classification" => Self::Classification, "regression" => Self::Regression);

/// How much one file, member of an archive, or decompressed stream may hold unless the caller says otherwise: 4 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 4 << 30;

/// How to read data. The default lets the data decide everything.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadOptions {
    /// The part of the samples that is kept for testing, between 0 and 1, where the data have no test set of their
    /// own; 0.2 if not given.
    pub test_fraction: Option<f64>,
    /// The column of a CSV that holds the label: its name, or else its position from 0, or from the end if negative.
    /// If not given: see [`crate::load`].
    pub label_column: Option<String>,
    /// Whether a CSV has a header.
    pub header: Header,
    /// What is to be learnt, where the data should not decide.
    pub task: Option<Task>,
    /// The number of classes: labels are then taken as they are, and must be in `0..classes`.
    pub classes: Option<usize>,
    /// The names of the classes in order, as a trained model knows them; labels must be among them.
    pub class_names: Option<Vec<String>>,
    /// What bytes are divided by, as a trained model knows it, where the values should not decide. Data that are not
    /// all whole numbers from 0 to 255 stay as they are.
    pub scale: Option<f32>,
    /// Which samples are kept for testing; the same seed chooses the same ones.
    pub seed: u64,
    /// Where fetched data are kept; if not given: see [`crate::default_cache_dir`].
    pub cache_dir: Option<PathBuf>,
    /// How many bytes one file, member of an archive or decompressed stream may hold.
    pub max_bytes: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            test_fraction: None,
            label_column: None,
            header: Header::Auto,
            task: None,
            classes: None,
            class_names: None,
            scale: None,
            seed: 0,
            cache_dir: None,
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }
}

impl LoadOptions {
    /// Whether the options make sense by themselves.
    ///
    /// # Errors
    /// Names the option that does not.
    pub fn validate(&self) -> Result<(), DataError> {
        if let Some(fraction) = self.test_fraction
            && !(fraction > 0.0 && fraction < 1.0)
        {
            return Err(DataError::BadOption {
                option: "--test-fraction",
                value: fraction.to_string(),
                problem: "it must be between 0 and 1, both excluded",
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
        assert!("perhaps".parse::<Header>().unwrap_err().to_string().contains("auto, yes or no"));
        assert!("regression".parse::<Task>().is_ok());
    }
}
