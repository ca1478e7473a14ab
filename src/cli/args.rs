//! The raw arguments of the commands other than `train`, and what becomes of them once they are checked.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use nn_core::{Activation, Cost, Output};

use crate::config::file::Origins;
use crate::config::{
    DataFormat, DataOptions, Hidden, MAX_BATCH_SIZE, MAX_THREADS, Task, Tri, check_data, check_layers,
    check_range, choice, defaults, text, whole,
};
use crate::failure::Failure;

/// Flags of `nn eval`.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// The trained network: a model.safetensors that `nn train` wrote
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// What to test it on: digits, mnist, fashion-mnist, or a path
    #[arg(long, value_name = "DATA", value_parser = text)]
    data: String,
    /// Threads to compute with; they change the time, never the result [default: all that the machine has]
    #[arg(long, value_name = "T", value_parser = whole, allow_negative_numbers = true)]
    threads: Option<u64>,
    /// How many of the most confidently wrong answers to show
    #[arg(long, value_name = "N", value_parser = whole, default_value = "10", allow_negative_numbers = true)]
    wrong: u64,
    /// Answer in JSON
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
    /// How the data is to be read.
    pub format: DataFormat,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// How many of the worst answers to show.
    pub wrong: usize,
    /// JSON on standard output, for programs.
    pub json: bool,
}

impl EvalArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<EvalConfig, Failure> {
        Ok(EvalConfig {
            format: check_data(&self.format, &Origins::default())?,
            threads: check_threads(self.threads)?,
            wrong: check_range("wrong", self.wrong, 0..=10_000)?,
            model: self.model,
            data: self.data,
            json: self.json,
        })
    }
}

/// Flags of `nn predict`.
#[derive(Debug, Clone, Args)]
pub struct PredictArgs {
    /// The trained network: a model.safetensors that `nn train` wrote
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// What to answer for: PNG or JPEG pictures, or IDX, NPY or CSV files of samples
    #[arg(value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    files: Vec<PathBuf>,
    /// Take test samples of a data set instead of files: digits, mnist, fashion-mnist, or a path
    #[arg(long, value_name = "DATA", value_parser = text)]
    data: Option<String>,
    /// How many test samples to take [default: 10]
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    count: Option<u64>,
    /// Whether a picture is dark on light and has to be inverted; auto looks at its border
    #[arg(long, value_name = "WHETHER", value_parser = choice::<Tri>(), default_value = "auto")]
    invert: Tri,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    format: DataOptions,
}

/// What `nn predict` answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PredictInput {
    /// The user's files; at least one.
    Files(Vec<PathBuf>),
    /// The first test samples of a data set.
    Samples {
        /// `digits`, `mnist`, `fashion-mnist` or a path.
        data: String,
        /// How many, at least 1.
        count: usize,
    },
}

/// `nn predict`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PredictConfig {
    /// The model's file.
    pub model: PathBuf,
    /// What to answer for.
    pub input: PredictInput,
    /// How data is to be read.
    pub format: DataFormat,
    /// Whether to invert pictures; `None` to look.
    pub invert: Option<bool>,
    /// JSON on standard output, for programs.
    pub json: bool,
}

impl PredictArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<PredictConfig, Failure> {
        if self.count.is_some() && self.data.is_none() {
            return Err(Failure::usage("--count says how many test samples to take, but of no data set")
                .help("add --data, or remove --count: all the files are answered for"));
        }
        let count = check_range("count", self.count.unwrap_or(10), 1..=1_000_000)?;
        Ok(PredictConfig {
            format: check_data(&self.format, &Origins::default())?,
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
    /// Where to begin: a checkpoint, or the exported model of a run whose optimizer has no state
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Where to end: after so many steps of the run [default: the last step in the log]
    #[arg(long, value_name = "STEP", value_parser = whole, allow_negative_numbers = true)]
    until: Option<u64>,
    /// What the run has logged [default: metrics.jsonl beside the checkpoint or its folder]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// What the run was trained on: digits, mnist, fashion-mnist, or a path [default: what the checkpoint names, unless a path]
    #[arg(long, value_name = "DATA", value_parser = text)]
    data: Option<String>,
    /// Threads to compute with; they change the time, never the result [default: all that the machine has]
    #[arg(long, value_name = "T", value_parser = whole, allow_negative_numbers = true)]
    threads: Option<u64>,
    /// Answer in JSON
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
    /// The log's file; `None` to look for it.
    pub log: Option<PathBuf>,
    /// `digits`, `mnist`, `fashion-mnist` or a path; `None` for what the checkpoint names.
    pub data: Option<String>,
    /// How the data is to be read.
    pub format: DataFormat,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// JSON on standard output, for programs.
    pub json: bool,
}

impl ReplayArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<ReplayConfig, Failure> {
        Ok(ReplayConfig {
            format: check_data(&self.format, &Origins::default())?,
            threads: check_threads(self.threads)?,
            checkpoint: self.checkpoint,
            until: self.until,
            log: self.log,
            data: self.data,
            json: self.json,
        })
    }
}

/// Flags of `nn fetch`; there is nothing to check that clap has not.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FetchArgs {
    /// Which data set
    #[arg(value_name = "NAME", value_parser = ["mnist", "fashion-mnist"])]
    pub name: String,
    /// Folder to keep it in [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// Flags of `nn bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Widths of all layers, input and output included
    #[arg(long, value_name = "WIDTHS", default_value = "784,30,10", allow_negative_numbers = true)]
    layers: Hidden,
    /// Samples in a mini-batch
    #[arg(long, value_name = "B", value_parser = whole, default_value = "10", allow_negative_numbers = true)]
    batch_size: u64,
    /// Samples that are summed in one piece [default: as `nn train`]
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    shard_size: Option<u64>,
    /// Activation function of the hidden layers
    #[arg(long, value_name = "NAME", value_parser = choice::<Activation>(), default_value = "sigmoid")]
    activation: Activation,
    /// What the training makes small
    #[arg(long, value_name = "NAME", value_parser = choice::<Cost>(), default_value = "mse")]
    cost: Cost,
    /// Function of the output layer [default: as `nn train`]
    #[arg(long, value_name = "NAME", value_parser = choice::<Output>())]
    output: Option<Output>,
    /// Measure only how fast the processor multiplies and adds, on one thread and on all
    #[arg(long)]
    peak: bool,
    /// Steps in one measurement
    #[arg(long, value_name = "N", value_parser = whole, default_value = "200", allow_negative_numbers = true)]
    steps: u64,
    /// Measurements
    #[arg(long, value_name = "N", value_parser = whole, default_value = "7", allow_negative_numbers = true)]
    repeats: u64,
    /// Threads to compute with [default: all that the machine has]
    #[arg(long, value_name = "T", value_parser = whole, allow_negative_numbers = true)]
    threads: Option<u64>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// `nn bench`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BenchConfig {
    /// Widths, input first and output last; at least two.
    pub layers: Vec<usize>,
    /// At least 1.
    pub batch_size: usize,
    /// 1 to `batch_size`.
    pub shard_size: usize,
    /// Of the hidden layers.
    pub activation: Activation,
    /// What is made small.
    pub cost: Cost,
    /// Of the output layer.
    pub output: Output,
    /// Measure only the processor's peak.
    pub peak: bool,
    /// Steps in one measurement, at least 1.
    pub steps: usize,
    /// Measurements, at least 1.
    pub repeats: usize,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// JSON on standard output, for programs.
    pub json: bool,
}

impl BenchArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<BenchConfig, Failure> {
        let layers = check_layers("--layers", &self.layers.0)?;
        if layers.len() < 2 {
            return Err(Failure::usage("--layers needs an input and an output layer")
                .help("give all widths, such as 784,30,10"));
        }
        let batch_size = check_range("batch-size", self.batch_size, 1..=MAX_BATCH_SIZE)?;
        let shard_size = match self.shard_size {
            Some(shard_size) => check_range("shard-size", shard_size, 1..=batch_size as u64)?,
            None => defaults::default_shard_size(batch_size),
        };
        Ok(BenchConfig {
            layers,
            batch_size,
            shard_size,
            activation: self.activation,
            cost: self.cost,
            output: self.output.unwrap_or_else(|| {
                defaults::default_output(Task::Classification, self.activation, self.cost)
            }),
            peak: self.peak,
            steps: check_range("steps", self.steps, 1..=1_000_000_000)?,
            repeats: check_range("repeats", self.repeats, 1..=1_000_000)?,
            threads: check_threads(self.threads)?,
            json: self.json,
        })
    }
}

pub(super) fn check_threads(threads: Option<u64>) -> Result<NonZeroUsize, Failure> {
    let cores = defaults::available_threads();
    let threads = threads.map(|threads| check_range("threads", threads, 1..=MAX_THREADS)).transpose()?;
    Ok(threads.and_then(NonZeroUsize::new).unwrap_or(cores))
}
