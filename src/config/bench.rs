//! `nn bench`.

use std::num::NonZeroUsize;

use clap::Args;
use nn_core::{Activation, Cost, Normalization, Output, Precision};

use super::choice::{Task, choice};
use super::defaults;
use super::limits::MAX_BATCH_SIZE;
use super::lists::Widths;
use super::numbers::{check_range, check_threads};
use super::value::{Value as _, whole};
use crate::failure::Failure;

/// Flags of `nn bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Widths of all layers, input and output included
    #[arg(long, value_name = "WIDTHS", default_value = "784,30,10", allow_negative_numbers = true)]
    layers: Widths,
    /// Samples per mini-batch
    #[arg(long, value_name = "B", value_parser = whole, default_value = "10", allow_negative_numbers = true)]
    batch_size: u64,
    /// Samples summed in one piece [default: as `nn train`]
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    shard_size: Option<u64>,
    /// Activation of the hidden layers
    #[arg(long, value_name = "NAME", value_parser = choice::<Activation>(), default_value = "sigmoid")]
    activation: Activation,
    /// Normalisation of the hidden layers before their activation
    #[arg(long, value_name = "NAME", value_parser = choice::<Normalization>(), default_value = "none")]
    normalization: Normalization,
    /// Loss to minimise
    #[arg(long, value_name = "NAME", value_parser = choice::<Cost>(), default_value = "mse")]
    cost: Cost,
    /// Activation of the output layer [default: as `nn train`]
    #[arg(long, value_name = "NAME", value_parser = choice::<Output>())]
    output: Option<Output>,
    /// Precision of what is multiplied
    #[arg(long, value_name = "NAME", value_parser = choice::<Precision>(), default_value = "f32")]
    precision: Precision,
    /// Measure only the processor's peak rate of multiply-adds, on one thread and on all
    #[arg(long)]
    peak: bool,
    /// Steps per measurement
    #[arg(long, value_name = "N", value_parser = whole, default_value = "200", allow_negative_numbers = true)]
    steps: u64,
    /// Number of measurements
    #[arg(long, value_name = "N", value_parser = whole, default_value = "7", allow_negative_numbers = true)]
    repeats: u64,
    /// Threads to compute with [default: all of the machine's]
    #[arg(long, value_name = "T", value_parser = whole, allow_negative_numbers = true)]
    threads: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `nn bench`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BenchConfig {
    /// Widths, input first and output last; at least two.
    pub layers: Vec<usize>,
    /// Samples per mini-batch, at least 1.
    pub batch_size: usize,
    /// Samples summed in one piece, 1 to `batch_size`.
    pub shard_size: usize,
    /// The activation of the hidden layers.
    pub activation: Activation,
    /// The normalisation of the hidden layers.
    pub normalization: Normalization,
    /// The loss to minimise.
    pub cost: Cost,
    /// The precision of the products' operands.
    pub precision: Precision,
    /// The activation of the output layer.
    pub output: Output,
    /// Whether to measure only the processor's peak.
    pub peak: bool,
    /// Steps per measurement, at least 1.
    pub steps: usize,
    /// The number of measurements, at least 1.
    pub repeats: usize,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// Whether to print JSON on standard output.
    pub json: bool,
}

impl BenchArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<BenchConfig, Failure> {
        self.layers.check(None).map_err(|wrong| wrong.about("--layers"))?;
        let layers = self.layers.0;
        if layers.len() < 2 {
            return Err(Failure::usage("--layers needs an input and an output layer")
                .help("give all widths, such as 784,30,10"));
        }
        let batch_size = check_range("batch-size", self.batch_size, 1..=MAX_BATCH_SIZE)?;
        let shard_size = match self.shard_size {
            Some(shard_size) => check_range("shard-size", shard_size, 1..=batch_size as u64)?,
            None => defaults::default_shard_size(batch_size, self.precision),
        };
        Ok(BenchConfig {
            layers,
            batch_size,
            shard_size,
            activation: self.activation,
            normalization: self.normalization,
            cost: self.cost,
            precision: self.precision,
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
