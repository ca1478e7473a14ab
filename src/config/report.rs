//! `nn report`: runs as a page.

use std::path::PathBuf;

use clap::Args;

/// Flags of `nn report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Folders of runs, or folders with runs in them, such as that of a sweep
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
}
