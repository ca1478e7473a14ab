//! `nn data`: look at data before training.

use clap::{Args, Subcommand};

use super::options::{DataFormat, DataOptions};
use super::origins::Origins;
use super::table::Options as _;
use super::value::text;
use crate::failure::Failure;

/// The commands of `nn data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show what training would make of a data set: columns, kinds, ranges, missing values, classes
    Show(ShowArgs),
}

/// Flags of `nn data show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Data set: digits, mnist, fashion-mnist, or a path
    #[arg(value_name = "DATA", value_parser = text)]
    data: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    format: DataOptions,
}

/// `nn data show`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShowConfig {
    /// `digits`, `mnist`, `fashion-mnist` or a path.
    pub data: String,
    /// How to read it.
    pub format: DataFormat,
    /// Whether to print JSON on standard output.
    pub json: bool,
}

impl ShowArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<ShowConfig, Failure> {
        let format = self.format.check(&Origins::default())?;
        Ok(ShowConfig { data: self.data, format, json: self.json })
    }
}
