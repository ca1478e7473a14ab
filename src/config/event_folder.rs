//! The folder of `--tensorboard`, which need not be named.

use std::path::{Path, PathBuf};

use clap::Arg;
use toml::de::DeValue;

use super::value::{Value, quoted};

/// Where to write event files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventFolder {
    /// In the folder of the run.
    OfRun,
    /// In this folder.
    At(PathBuf),
}

impl EventFolder {
    /// The folder, for a run in `run`. Runs of one sweep, which share their options, have a folder each.
    #[must_use]
    pub fn path(&self, run: &Path, is_of_sweep: bool) -> PathBuf {
        match self {
            Self::OfRun => run.join("tensorboard"),
            Self::At(path) if is_of_sweep => path.join(run.file_name().unwrap_or_default()),
            Self::At(path) => path.clone(),
        }
    }
}

impl Value for EventFolder {
    const NAME: &'static str = "DIR";

    fn expected() -> String {
        "true, or a folder in quotes".into()
    }

    fn expected_text() -> String {
        "true, or a folder".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("it is empty".into()),
            "true" => Ok(Self::OfRun),
            path => Ok(Self::At(path.into())),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Boolean(true) => Some(Self::OfRun),
            DeValue::String(text) => Self::from_text(text).ok(),
            _ => None,
        }
    }

    fn to_toml(&self) -> Option<String> {
        match self {
            Self::OfRun => Some("true".to_owned()),
            Self::At(path) => path.to_str().map(quoted),
        }
    }

    fn shape(arg: Arg) -> Arg {
        arg.num_args(0..=1).default_missing_value("true")
    }
}
