//! `nn report`: runs as a page.

use std::path::PathBuf;

use clap::Args;

use super::value::text;

/// Flags of `nn report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Folders of runs, or folders with runs in them, such as that of a sweep
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// Data set with the runs' test samples: digits, mnist, fashion-mnist, or a path [default: each run's, where run.toml
    /// says]
    #[arg(long, value_name = "DATA", value_parser = text)]
    pub data: Option<String>,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
}
