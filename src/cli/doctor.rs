//! The command line of `nn doctor`.

use std::path::PathBuf;

use clap::Args;

use super::cluster::check_url;
use super::security::{ClientSecurityArgs, ClientSecurityConfig};
use crate::config::text;
use crate::failure::Failure;

/// Flags of `nn doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// A coordinator, to look at the path to it too: 192.168.1.10, http://192.168.1.10:7654, which is the same, or with
    /// TLS https://192.168.1.10:7654
    #[arg(long, value_name = "URL", value_parser = text)]
    coordinator: Option<String>,
    /// Folder that is to take samples [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Folder that is to take runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Whom to trust, and what to show.
    #[command(flatten)]
    security: ClientSecurityArgs,
}

/// `nn doctor`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoctorConfig {
    /// Where the coordinator is: an address in full.
    pub coordinator: Option<String>,
    /// Whom to trust, and what to show.
    pub security: ClientSecurityConfig,
    /// Where samples are kept.
    pub cache_dir: Option<PathBuf>,
    /// Where runs go.
    pub out: PathBuf,
    /// JSON on standard output, for programs.
    pub json: bool,
}

impl DoctorArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(mut self) -> Result<DoctorConfig, Failure> {
        if self.coordinator.is_none() && self.security != ClientSecurityArgs::default() {
            return Err(Failure::usage("certificates and tokens have no effect without --coordinator")
                .help("say whom to show them to: --coordinator URL"));
        }
        let security = self.security.check(self.coordinator.as_mut_slice())?;
        let coordinator = self.coordinator.as_deref().map(check_url).transpose()?;
        Ok(DoctorConfig { coordinator, security, cache_dir: self.cache_dir, out: self.out, json: self.json })
    }
}
