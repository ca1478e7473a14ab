//! `nn runs`: look at runs that are over or still go on.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands of `nn runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the runs in a folder: state, epochs, results
    List(RunsListArgs),
    /// Compare runs: the options in which they differ, and their results side by side
    Compare(RunsCompareArgs),
}

/// Flags of `nn runs list`.
#[derive(Debug, Clone, Args)]
pub struct RunsListArgs {
    /// Folder in which to look for runs, and in its folders, three levels deep
    #[arg(value_name = "DIR", default_value = "runs")]
    pub folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `nn runs compare`.
#[derive(Debug, Clone, Args)]
pub struct RunsCompareArgs {
    /// Folders of runs, or folders with runs in them, such as that of a sweep
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
