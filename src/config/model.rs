//! The commands that use a trained model, and `nn fetch`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::choice::{HardestBy, Tri, choice};
use super::numbers::{check_range, check_threads};
use super::options::{DataFormat, DataOptions};
use super::origins::Origins;
use super::run_file::{Reading, reading};
use super::table::Options as _;
use super::value::{text, whole};
use crate::failure::Failure;

/// Flags of `nn eval`.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// Trained model: a model.safetensors that `nn train` wrote
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Data set with the test samples: digits, mnist, fashion-mnist, or a path [default: the run's, read as the run read
    /// it, if run.toml lies with the model]
    #[arg(long, value_name = "DATA", value_parser = text)]
    data: Option<String>,
    /// Threads to compute with; they change the time, never the result [default: all of the machine's]
    #[arg(long, value_name = "T", value_parser = whole, allow_negative_numbers = true)]
    threads: Option<u64>,
    /// Most confidently wrong answers to show
    #[arg(long, value_name = "N", value_parser = whole, default_value = "10", allow_negative_numbers = true)]
    wrong: u64,
    /// Hardest training samples to show, with their places in the files; wrong labels are often among them
    #[arg(long, value_name = "N", value_parser = whole, default_value = "0", allow_negative_numbers = true)]
    hardest: u64,
    /// What makes a sample hard: its loss, or the norm of its own gradient
    #[arg(long, value_name = "WHAT", value_parser = choice::<HardestBy>(), default_value = "loss")]
    hardest_by: HardestBy,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    format: DataOptions,
}

/// `nn eval`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EvalConfig {
    /// The model's file.
    pub model: PathBuf,
    /// `digits`, `mnist`, `fashion-mnist` or a path.
    pub data: String,
    /// How to read the data.
    pub format: DataFormat,
    /// What to tell the user about the data, if the run's file says which.
    pub note: Option<String>,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// The number of wrong answers to show.
    pub wrong: usize,
    /// The number of hardest training samples to show, and what makes them hard.
    pub hardest: (HardestBy, usize),
    /// Whether to print JSON on standard output.
    pub json: bool,
}

impl EvalArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<EvalConfig, Failure> {
        let Reading { data, format, note } = reading(&self.model, self.data, self.format)?;
        let data = data.ok_or_else(|| {
            let model = self.model.display();
            Failure::usage(format_args!("--data is missing, and no run.toml of a run lies with {model}"))
                .help("name the data with --data, and the options that reading it takes")
        })?;
        Ok(EvalConfig {
            format,
            note,
            threads: check_threads(self.threads)?,
            wrong: check_range("wrong", self.wrong, 0..=10_000)?,
            hardest: (self.hardest_by, check_range("hardest", self.hardest, 0..=10_000)?),
            model: self.model,
            data,
            json: self.json,
        })
    }
}

/// Flags of `nn predict`.
#[derive(Debug, Clone, Args)]
pub struct PredictArgs {
    /// Trained model: a model.safetensors that `nn train` wrote
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Inputs: PNG or JPEG pictures, or IDX, NPY or CSV files of samples
    #[arg(value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    files: Vec<PathBuf>,
    /// Predict test samples of a data set instead of files: digits, mnist, fashion-mnist, or a path
    #[arg(long, value_name = "DATA", value_parser = text)]
    data: Option<String>,
    /// Test samples to predict [default: 10]
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    count: Option<u64>,
    /// Whether pictures are dark on light and must be inverted; auto decides by the border
    #[arg(long, value_name = "WHETHER", value_parser = choice::<Tri>(), default_value = "auto")]
    invert: Tri,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    format: DataOptions,
}

/// The inputs of `nn predict`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PredictInput {
    /// The user's files; at least one.
    Files(Vec<PathBuf>),
    /// The first test samples of a data set.
    Samples {
        /// `digits`, `mnist`, `fashion-mnist` or a path.
        data: String,
        /// The number of samples, at least 1.
        count: usize,
    },
}

/// `nn predict`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PredictConfig {
    /// The model's file.
    pub model: PathBuf,
    /// The inputs.
    pub input: PredictInput,
    /// How to read the data.
    pub format: DataFormat,
    /// Whether to invert pictures; `None` to decide by each.
    pub invert: Option<bool>,
    /// Whether to print JSON on standard output.
    pub json: bool,
}

impl PredictArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<PredictConfig, Failure> {
        if self.count.is_some() && self.data.is_none() {
            return Err(Failure::usage("--count has no effect without --data")
                .help("add --data, or remove --count: all files are predicted"));
        }
        let count = check_range("count", self.count.unwrap_or(10), 1..=1_000_000)?;
        Ok(PredictConfig {
            format: self.format.check(&Origins::default())?,
            input: match self.data {
                Some(data) => PredictInput::Samples { data, count },
                None => PredictInput::Files(self.files),
            },
            invert: match self.invert {
                Tri::Auto => None,
                Tri::Yes => Some(true),
                Tri::No => Some(false),
            },
            model: self.model,
            json: self.json,
        })
    }
}

/// Flags of `nn replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Checkpoint to start from, or the exported model of a run whose optimizer has no state
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Step of the run to stop after [default: the last step in the log]
    #[arg(long, value_name = "STEP", value_parser = whole, allow_negative_numbers = true)]
    until: Option<u64>,
    /// Log of the run [default: metrics.jsonl beside the checkpoint or its folder]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Training data of the run: digits, mnist, fashion-mnist, or a path [default: the run's, read as the run
    /// read it, if run.toml lies with the checkpoint]
    #[arg(long, value_name = "DATA", value_parser = text)]
    data: Option<String>,
    /// Threads to compute with; they change the time, never the result [default: all of the machine's]
    #[arg(long, value_name = "T", value_parser = whole, allow_negative_numbers = true)]
    threads: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    format: DataOptions,
}

/// `nn replay`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReplayConfig {
    /// The checkpoint's file.
    pub checkpoint: PathBuf,
    /// The last step; `None` for the log's last.
    pub until: Option<u64>,
    /// The log's file; `None` to look for it beside the checkpoint.
    pub log: Option<PathBuf>,
    /// `digits`, `mnist`, `fashion-mnist` or a path; `None` for the checkpoint's.
    pub data: Option<String>,
    /// How to read the data.
    pub format: DataFormat,
    /// What to tell the user about the data, if the run's file says which.
    pub note: Option<String>,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// Whether to print JSON on standard output.
    pub json: bool,
}

impl ReplayArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<ReplayConfig, Failure> {
        let Reading { data, format, note } = reading(&self.checkpoint, self.data, self.format)?;
        Ok(ReplayConfig {
            format,
            note,
            threads: check_threads(self.threads)?,
            checkpoint: self.checkpoint,
            until: self.until,
            log: self.log,
            data,
            json: self.json,
        })
    }
}

/// Flags of `nn fetch`, which clap checks in full.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FetchArgs {
    /// Data set
    #[arg(value_name = "NAME", value_parser = ["mnist", "fashion-mnist"])]
    pub name: String,
    /// Folder to keep the data in [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}
