//! `nn certs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::host::Host;
use super::numbers::check_range;
use super::value::{text, whole};
use crate::failure::Failure;

/// Flags of `nn certs`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CertsArgs {
    /// The command below `nn certs`.
    #[command(subcommand)]
    command: Raw,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Raw {
    /// Make a private CA and the coordinator's certificate
    Init {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        hosts: HostArgs,
        /// Days that the CA stays valid
        #[arg(long, value_name = "N", value_parser = whole, default_value = "3650", allow_negative_numbers = true)]
        ca_days: u64,
        /// Keep what already exists, and succeed: for scripts that run again and again
        #[arg(long)]
        keep: bool,
    },
    /// Make a worker's certificate
    Worker {
        /// Name of the worker, in letters, digits, dots, dashes and underscores
        #[arg(value_name = "NAME", value_parser = text)]
        name: String,
        #[command(flatten)]
        place: PlaceArgs,
        /// Replace the worker's certificate; its key is kept, if it still exists
        #[arg(long)]
        replace: bool,
        /// Keep what already exists, and succeed: for scripts that run again and again
        #[arg(long, conflicts_with = "replace")]
        keep: bool,
    },
    /// Renew the coordinator's certificate, or make one for other names
    Coordinator {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        hosts: HostArgs,
        /// Replace the existing certificate; its key is kept
        #[arg(long)]
        replace: bool,
    },
    /// Make a token, with which workers join without certificates
    Token {
        /// File to write
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Keep what already exists, and succeed: for scripts that run again and again
        #[arg(long)]
        keep: bool,
    },
    /// Show the contents of certificates
    Show {
        /// Certificates, PEM or DER
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// The folder and the lifetime of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
struct PlaceArgs {
    /// Folder of the CA and the certificates that it signs
    #[arg(long, value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
    /// Days that the certificate stays valid, at most as long as its CA
    #[arg(long, value_name = "N", value_parser = whole, default_value = "825", allow_negative_numbers = true)]
    days: u64,
}

/// The coordinator's names.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
struct HostArgs {
    /// Name or IP address that workers will dial, in addition to localhost and this machine's name and addresses; may be
    /// repeated
    #[arg(long = "host", value_name = "NAME|IP", value_parser = text)]
    hosts: Vec<String>,
}

/// `nn certs`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertsConfig {
    /// A CA and the coordinator's certificate.
    Init {
        /// Folder for all files.
        dir: PathBuf,
        /// Further names of the coordinator.
        hosts: Vec<Host>,
        /// Days that the coordinator's certificate stays valid.
        days: u32,
        /// Days that the CA stays valid.
        ca_days: u32,
        /// Whether to keep what already exists.
        keep: bool,
    },
    /// A worker's certificate.
    Worker {
        /// The worker's name, which is safe in a path.
        name: String,
        /// Folder of the CA.
        dir: PathBuf,
        /// Days that the certificate stays valid.
        days: u32,
        /// Whether to replace an existing one.
        replace: bool,
        /// Whether to keep what already exists.
        keep: bool,
    },
    /// The coordinator's certificate.
    Coordinator {
        /// Folder of the CA.
        dir: PathBuf,
        /// Further names.
        hosts: Vec<Host>,
        /// Days that the certificate stays valid.
        days: u32,
        /// Whether to replace an existing one.
        replace: bool,
    },
    /// A token.
    Token {
        /// The file to write.
        file: PathBuf,
        /// Whether to keep what already exists.
        keep: bool,
    },
    /// The contents of certificates.
    Show {
        /// The files, at least one.
        files: Vec<PathBuf>,
    },
}

/// A hundred years.
const MAX_DAYS: u64 = 36_525;

impl CertsArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<CertsConfig, Failure> {
        let days_of = |flag, days| check_range(flag, days, 1..=MAX_DAYS).map(|days| days as u32);
        let hosts_of =
            |hosts: HostArgs| hosts.hosts.iter().map(|host| Host::parse(host)).collect::<Result<Vec<_>, _>>();
        Ok(match self.command {
            Raw::Init { place, hosts, ca_days, keep } => CertsConfig::Init {
                dir: place.dir,
                hosts: hosts_of(hosts)?,
                days: days_of("days", place.days)?,
                ca_days: days_of("ca-days", ca_days)?,
                keep,
            },
            Raw::Worker { name, place, replace, keep } => CertsConfig::Worker {
                name: check_name(name)?,
                dir: place.dir,
                days: days_of("days", place.days)?,
                replace,
                keep,
            },
            Raw::Coordinator { place, hosts, replace } => CertsConfig::Coordinator {
                dir: place.dir,
                hosts: hosts_of(hosts)?,
                days: days_of("days", place.days)?,
                replace,
            },
            Raw::Token { file, keep } => CertsConfig::Token { file, keep },
            Raw::Show { files } => CertsConfig::Show { files },
        })
    }
}

/// A certificate's common name has at most 64 characters.
const LONGEST_NAME: usize = 64;

/// A worker's name is a part of paths, on Windows too, and a certificate's common name.
fn check_name(name: String) -> Result<String, Failure> {
    let wrong = |why: &str| {
        Err(Failure::usage(format_args!("{name:?} cannot be a worker's name: {why}"))
            .help("take one such as box-2; its files will be called box-2.pem and box-2.key"))
    };
    if name.len() > LONGEST_NAME {
        return wrong("it is longer than 64 characters");
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        return wrong(
            "it must begin with a letter or a digit, and have only these, dots, dashes and underscores",
        );
    }
    // Some file systems do not tell capitals apart.
    if ["ca", "coordinator"].contains(&name.to_ascii_lowercase().as_str()) {
        return wrong("the files of that name are the CA's or the coordinator's");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none() {
        for name in ["w", "box-2", "a.b_c", "7", &"x".repeat(64)] {
            assert_eq!(check_name(name.to_owned()).unwrap(), name);
        }
        let long = "x".repeat(65);
        let wrong = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "-x",
            ".x",
            "_x",
            "ca",
            "CA",
            "Coordinator",
            "a b",
            "a\nb",
            "é",
            "a:b",
            "a\0",
            &long,
        ];
        for name in wrong {
            let failure = check_name(name.to_owned()).unwrap_err();
            assert_eq!(failure.kind().exit_code(), 2, "{name:?}");
            assert!(failure.message().contains(&format!("{name:?}")), "{failure}");
        }
    }
}
