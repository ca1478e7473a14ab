//! The command line of `nn certs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{Host, check_range, text, whole};
use crate::failure::Failure;

/// Flags of `nn certs`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CertsArgs {
    /// What to make.
    #[command(subcommand)]
    command: Raw,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Raw {
    /// Make a private CA, and the coordinator's certificate
    Init {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        hosts: HostArgs,
        /// Days that the CA is valid
        #[arg(long, value_name = "N", value_parser = whole, default_value = "3650", allow_negative_numbers = true)]
        ca_days: u64,
        /// Where there is one already, leave it as it is, and succeed: for what is started again and again
        #[arg(long)]
        keep: bool,
    },
    /// Make a worker's certificate
    Worker {
        /// What to call the worker: letters, digits, dots, dashes and underscores
        #[arg(value_name = "NAME", value_parser = text)]
        name: String,
        #[command(flatten)]
        place: PlaceArgs,
        /// Replace the certificate that the worker has; its key stays, if it is still there
        #[arg(long)]
        replace: bool,
        /// Where there is one already, leave it as it is, and succeed: for what is started again and again
        #[arg(long, conflicts_with = "replace")]
        keep: bool,
    },
    /// Make the coordinator another certificate: for another name or address, or when the old one expires
    Coordinator {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        hosts: HostArgs,
        /// Replace the certificate that there is; its key stays
        #[arg(long)]
        replace: bool,
    },
    /// Make a token, which lets workers in without certificates
    Token {
        /// Where to write it
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where there is one already, leave it as it is, and succeed: for what is started again and again
        #[arg(long)]
        keep: bool,
    },
    /// Tell what is in certificates
    Show {
        /// Files with certificates, PEM or DER
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// Where, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
struct PlaceArgs {
    /// Folder of the CA and of all that it signs
    #[arg(long, value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
    /// Days that the certificate is valid, but never longer than its CA
    #[arg(long, value_name = "N", value_parser = whole, default_value = "825", allow_negative_numbers = true)]
    days: u64,
}

/// The coordinator's names.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
struct HostArgs {
    /// A name or an IP address that workers will dial, beside localhost, this machine's name and its addresses; may be
    /// given more than once
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
        /// Of the coordinator's certificate.
        days: u32,
        /// Of the CA.
        ca_days: u32,
        /// Whether it is well if all is there already.
        keep: bool,
    },
    /// A worker's certificate.
    Worker {
        /// Of a form that is safe in a path.
        name: String,
        /// Folder of the CA.
        dir: PathBuf,
        /// Of the certificate.
        days: u32,
        /// Whether there may be one already.
        replace: bool,
        /// Whether it is well if there is one already.
        keep: bool,
    },
    /// The coordinator's certificate.
    Coordinator {
        /// Folder of the CA.
        dir: PathBuf,
        /// Further names.
        hosts: Vec<Host>,
        /// Of the certificate.
        days: u32,
        /// Whether there may be one already.
        replace: bool,
    },
    /// A token.
    Token {
        /// Where it goes.
        file: PathBuf,
        /// Whether it is well if there is one already.
        keep: bool,
    },
    /// What is in files.
    Show {
        /// At least one.
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
