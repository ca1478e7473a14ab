//! The command lines of the cluster: `nn-coord`, `nn-worker` and `nn status`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use nn_net::coordinator_url;

use super::args::check_threads;
use super::security::{ClientSecurityArgs, ClientSecurityConfig, ServerSecurityArgs, ServerSecurityConfig};
use crate::config::file::Origins;
use crate::config::{
    DataFormat, DataOptions, TrainArgs, TrainConfig, check_data, check_range, real, text, whole,
};
use crate::failure::Failure;

/// Train a network with workers on other machines
///
/// Divides every mini-batch among the workers that have joined, and gives the weights that `nn train` gives with the same
/// options, bit for bit. Workers may join, leave and come back at any time.
#[derive(Debug, Parser)]
#[command(name = "nn-coord", version, max_term_width = 110, after_help = super::EXIT_CODES)]
pub struct CoordArgs {
    /// Address and port to listen on, such as 0.0.0.0:7654
    #[arg(long, value_name = "ADDR", value_parser = text, help_heading = "Cluster")]
    pub listen: String,
    /// Workers without whom no step begins
    #[arg(long, value_name = "N", value_parser = whole, default_value = "1", help_heading = "Cluster", allow_negative_numbers = true)]
    pub min_workers: u64,
    /// Start N workers on this machine too, for a first try
    #[arg(long, value_name = "N", value_parser = whole, default_value = "0", help_heading = "Cluster", allow_negative_numbers = true)]
    pub spawn: u64,
    /// How far beyond its usual time a worker may be, in median absolute deviations, before another one does its part too
    #[arg(long, value_name = "X", value_parser = real, default_value = "6", help_heading = "Cluster", allow_hyphen_values = true)]
    pub patience: f32,
    /// Seconds to wait for workers before the run ends with a checkpoint and exit code 4 [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = whole, help_heading = "Cluster", allow_negative_numbers = true)]
    pub wait_timeout: Option<u64>,
    /// The fraction of work that a second worker does too, to compare the bits before they count
    #[arg(long, value_name = "FRACTION", value_parser = real, default_value = "0", help_heading = "Cluster", allow_hyphen_values = true)]
    pub audit: f32,
    /// Who may take part.
    #[command(flatten)]
    pub security: ServerSecurityArgs,
    /// The training options.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// `nn-coord`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CoordConfig {
    /// Where to listen: a host and a port.
    pub listen: String,
    /// At least 1.
    pub min_workers: usize,
    /// Workers to start on this machine.
    pub spawn: usize,
    /// At least 1.
    pub patience: f64,
    /// How long to wait for workers; None: for ever.
    pub wait_timeout: Option<Duration>,
    /// From 0 to 1.
    pub audit: f64,
    /// Who may take part.
    pub security: ServerSecurityConfig,
    /// The run.
    pub train: TrainConfig,
}

impl CoordArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<CoordConfig, Failure> {
        if !(self.patience.is_finite() && (1.0..=1e6).contains(&self.patience)) {
            return Err(Failure::usage(format_args!(
                "--patience must be from 1 to 1000000, not {}",
                self.patience
            ))
            .help("6 is the usual"));
        }
        if !(0.0..=1.0).contains(&self.audit) {
            return Err(Failure::usage(format_args!("--audit must be from 0 to 1, not {}", self.audit))
                .help("0.05 has every twentieth part of a mini-batch computed twice, 1 has all of it"));
        }
        Ok(CoordConfig {
            min_workers: check_range("min-workers", self.min_workers, 1..=MAX_WORKERS)?,
            spawn: check_range("spawn", self.spawn, 0..=MAX_WORKERS)?,
            patience: f64::from(self.patience),
            audit: f64::from(self.audit),
            wait_timeout: self
                .wait_timeout
                .map(|seconds| check_range("wait-timeout", seconds, 1..=MAX_WAIT))
                .transpose()?
                .map(|seconds| Duration::from_secs(seconds as u64)),
            security: self.security.check()?,
            listen: self.listen,
            train: self.train.check()?,
        })
    }
}

/// The most workers that can be asked for.
const MAX_WORKERS: u64 = nn_engine::MAX_WORKERS as u64;

/// The longest wait that can be asked for, in seconds: a year.
const MAX_WAIT: u64 = 365 * 24 * 3600;

/// Compute for a coordinator
///
/// Dials the coordinator and goes on dialling until it answers, whichever is started first. A worker needs no files: the
/// coordinator sends it the training samples once, and it keeps them for later runs.
#[derive(Debug, Parser)]
#[command(name = "nn-worker", version, max_term_width = 110, after_help = super::EXIT_CODES)]
pub struct WorkerArgs {
    /// Where the coordinator is, such as 192.168.1.10, http://192.168.1.10:7654, which is the same, or with TLS
    /// https://192.168.1.10:7654; several, parted by commas, are tried in turn
    #[arg(long, value_name = "URL", value_parser = text, required = true, value_delimiter = ',', help_heading = "Coordinator")]
    coordinator: Vec<String>,
    /// Seconds to go on dialling without success; 0 for one attempt only [default: for ever]
    #[arg(long, value_name = "N", value_parser = whole, help_heading = "Coordinator", allow_negative_numbers = true)]
    retry_seconds: Option<u64>,
    /// Dial from this interface, such as eth0, or from this address of the machine [default: what the system chooses]
    #[arg(long, value_name = "INTERFACE|IP", value_parser = text, help_heading = "Coordinator")]
    bind_to: Option<String>,
    /// What the coordinator's table calls this worker [default: the name of the machine]
    #[arg(long, value_name = "NAME", value_parser = text, help_heading = "Coordinator")]
    name: Option<String>,
    /// Wait for the next run when one is over
    #[arg(long, help_heading = "Coordinator")]
    stay: bool,
    /// Training data of its own, instead of being sent them: digits, mnist, fashion-mnist, or a path
    #[arg(long, value_name = "DATA", value_parser = text, help_heading = "Data")]
    data: Option<String>,
    /// Folder for the samples that it is sent [default: the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    cache_dir: Option<PathBuf>,
    /// Whom to trust, and what to show.
    #[command(flatten)]
    security: ClientSecurityArgs,
    /// How its own data are to be read.
    #[command(flatten)]
    format: DataOptions,
    /// Threads to compute with; they change the time, never the result [default: all that the machine has]
    #[arg(long, value_name = "T", value_parser = whole, help_heading = "Run", allow_negative_numbers = true)]
    threads: Option<u64>,
    /// Print nothing but errors
    #[arg(long, help_heading = "Run")]
    quiet: bool,
}

/// `nn-worker`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// Where the coordinator may be: at least one address in full.
    pub coordinators: Vec<String>,
    /// Whom to trust, and what to show.
    pub security: ClientSecurityConfig,
    /// How long to go on dialling; for ever if it is None.
    pub retry_for: Option<Duration>,
    /// The interface or the address to dial from.
    pub bind_to: Option<String>,
    /// What the coordinator is to call it.
    pub name: Option<String>,
    /// Whether to wait for the next run.
    pub stay: bool,
    /// Data of its own.
    pub data: Option<String>,
    /// How they are to be read.
    pub format: DataFormat,
    /// Where to keep what it is sent.
    pub cache_dir: Option<PathBuf>,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// Whether to be silent.
    pub quiet: bool,
}

impl WorkerArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(mut self) -> Result<WorkerConfig, Failure> {
        let security = self.security.check(&mut self.coordinator)?;
        let coordinators: Result<_, _> = self.coordinator.iter().map(|url| check_url(url)).collect();
        if self.data.is_none()
            && let Some(key) = self.format.given().first()
        {
            return Err(Failure::usage(format_args!("--{key} has no effect without --data"))
                .help("the samples that a worker is sent need no reading"));
        }
        Ok(WorkerConfig {
            coordinators: coordinators?,
            security,
            retry_for: self.retry_seconds.map(Duration::from_secs),
            bind_to: self.bind_to,
            name: self.name,
            stay: self.stay,
            data: self.data,
            format: check_data(&self.format, &Origins::default())?,
            cache_dir: self.cache_dir,
            threads: check_threads(self.threads)?,
            quiet: self.quiet,
        })
    }
}

/// The address of a coordinator in full.
pub(super) fn check_url(url: &str) -> Result<String, Failure> {
    coordinator_url(url).map_err(|error| Failure::usage(format_args!("--coordinator: {error}")))
}

/// Flags of `nn status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// Where the coordinator is, such as 192.168.1.10, http://192.168.1.10:7654, which is the same, or with TLS
    /// https://192.168.1.10:7654
    #[arg(long, value_name = "URL", value_parser = text)]
    coordinator: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Whom to trust, and what to show.
    #[command(flatten)]
    security: ClientSecurityArgs,
}

/// `nn status`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusConfig {
    /// Where the coordinator is: an address in full.
    pub coordinator: String,
    /// Whom to trust, and what to show.
    pub security: ClientSecurityConfig,
    /// JSON on standard output, for programs.
    pub json: bool,
}

impl StatusArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(mut self) -> Result<StatusConfig, Failure> {
        let security = self.security.check(std::slice::from_mut(&mut self.coordinator))?;
        Ok(StatusConfig { coordinator: check_url(&self.coordinator)?, security, json: self.json })
    }
}
