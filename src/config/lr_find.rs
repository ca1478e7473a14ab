//! `nn lr-find`: what it takes beside the options of the run.

use std::path::PathBuf;

use clap::Args;

use super::environment::Environment;
use super::limits::MAX_LEARNING_RATE;
use super::option::{default, unset};
use super::table::{Options as _, options};
use super::train::{Asked, TrainArgs, TrainConfig};
use super::value::Interval;
use crate::failure::Failure;

/// The most steps: more show no more.
const MAX_SEARCH: u64 = 100_000;

options! {
    /// The options of a search for a learning rate, except those of the run.
    LrFindOptions => LrFind {
        "Search" {
            /// Learning rate of the first step
            lowest_rate: f32 = default(1e-5).within(Interval::Positive(MAX_LEARNING_RATE)).common();
            /// Learning rate of the last step
            highest_rate: f32 = default(100.0).within(Interval::Positive(MAX_LEARNING_RATE)).common();
            /// Steps, each on the next mini-batch and at a higher rate than the one before
            steps: u64 = default(300).within(20..=MAX_SEARCH).common();
            /// File for a picture of the curve (SVG)
            plot: Option<PathBuf> = unset().example("rates.svg".into()).common();
        }
    }
}

/// The flags of `nn lr-find`.
#[derive(Debug, Args)]
pub struct LrFindArgs {
    /// The search's own options.
    #[command(flatten)]
    pub options: LrFindOptions,
    /// The options of the run.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// `nn lr-find`, checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LrFindConfig {
    /// The rate of the first step.
    pub lowest_rate: f32,
    /// The rate of the last step, which is higher.
    pub highest_rate: f32,
    /// The number of steps.
    pub steps: u64,
    /// The file for the picture.
    pub plot: Option<PathBuf>,
    /// Whether to print JSON on standard output.
    pub json: bool,
    /// The run.
    pub train: TrainConfig,
}

impl LrFindArgs {
    /// Completes the options of the run with variables and a file, and checks the outcome. Those of the search are flags only.
    ///
    /// # Errors
    /// Exit code 2, naming the flag, the variable or the line to blame.
    pub fn check(self, environment: &Environment) -> Result<Asked<LrFindConfig>, Failure> {
        let (options, origins) = Environment::default().complete(self.options, None)?;
        let LrFind { lowest_rate, highest_rate, steps, plot } = options.check(&origins)?;
        if highest_rate <= lowest_rate {
            return Err(Failure::usage(format_args!(
                "--highest-rate must be above --lowest-rate, {lowest_rate}, not {highest_rate}"
            ))
            .help("the defaults suit most networks: leave both out"));
        }
        Ok(match self.train.check(environment)? {
            Asked::Print(text) => Asked::Print(text),
            Asked::Run(train) => {
                let json = train.json;
                let config = LrFindConfig { lowest_rate, highest_rate, steps, plot, json, train: *train };
                Asked::Run(Box::new(config))
            }
        })
    }
}
