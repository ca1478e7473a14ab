//! `nn doctor`.

use std::path::PathBuf;

use clap::Args;

use super::cluster::check_url;
use super::origins::Origins;
use super::security::{ClientSecurityConfig, ClientSecurityOptions};
use super::value::text;
use crate::failure::Failure;

/// Flags of `nn doctor`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DoctorArgs {
    /// Coordinator, to check the path to it as well: 192.168.1.10, which means http://192.168.1.10:7654, or with TLS
    /// https://192.168.1.10:7654
    #[arg(long, value_name = "URL", value_parser = text)]
    coordinator: Option<String>,
    /// Folder for training samples [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Folder for runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The security of the connection.
    #[command(flatten)]
    security: ClientSecurityOptions,
}

/// `nn doctor`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoctorConfig {
    /// The coordinator's address in full.
    pub coordinator: Option<String>,
    /// The security of the connection.
    pub security: ClientSecurityConfig,
    /// The folder for training samples.
    pub cache_dir: Option<PathBuf>,
    /// The folder for runs.
    pub out: PathBuf,
    /// Whether to print JSON on standard output.
    pub json: bool,
}

impl DoctorArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(mut self) -> Result<DoctorConfig, Failure> {
        if self.coordinator.is_none() && self.security != ClientSecurityOptions::default() {
            return Err(Failure::usage("certificates and tokens have no effect without --coordinator")
                .help("add --coordinator URL"));
        }
        let security = self.security.resolve(self.coordinator.as_mut_slice(), &Origins::default())?;
        let coordinator =
            self.coordinator.as_deref().map(|url| check_url("--coordinator", url)).transpose()?;
        Ok(DoctorConfig { coordinator, security, cache_dir: self.cache_dir, out: self.out, json: self.json })
    }
}
