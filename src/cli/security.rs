//! Flags that say who may take part, and whom to trust.

use std::path::PathBuf;

use clap::Args;

use crate::config::text;
use crate::failure::Failure;

/// Flags of `nn-coord`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Security")]
pub struct ServerSecurityArgs {
    /// Speak TLS with this certificate (PEM); nn certs init makes one
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The authority whose certificates workers may show (PEM)
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Let only those in who show a certificate of --tls-ca: mutual TLS
    #[arg(long)]
    require_client_cert: bool,
    /// Let only those in who show the token in this file; nn certs token makes one, - is standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Listen to other machines without certificates or a token: whoever can reach the port may join and read the data
    #[arg(long)]
    insecure: bool,
}

/// Flags of `nn-coord`, checked; the files have not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSecurityConfig {
    /// The certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The authority of those who dial.
    pub authority: Option<PathBuf>,
    /// Whether those who dial must have a certificate.
    pub require_client_cert: bool,
    /// Where the token is.
    pub token_file: Option<PathBuf>,
    /// Whether everybody may take part, from wherever.
    pub insecure: bool,
}

impl ServerSecurityArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<ServerSecurityConfig, Failure> {
        let identity = pair(self.tls_cert, self.tls_key)?;
        if self.tls_ca.is_some() && identity.is_none() {
            return Err(Failure::usage("--tls-ca has no effect without --tls-cert and --tls-key").help(INIT));
        }
        if self.require_client_cert && (identity.is_none() || self.tls_ca.is_none()) {
            let text = "--require-client-cert needs --tls-cert, --tls-key and --tls-ca";
            return Err(Failure::usage(text).help(INIT));
        }
        Ok(ServerSecurityConfig {
            identity,
            authority: self.tls_ca,
            require_client_cert: self.require_client_cert,
            token_file: self.token_file,
            insecure: self.insecure,
        })
    }
}

/// What to do without certificates.
const INIT: &str = "nn certs init makes an authority and the coordinator's certificate";

/// Flags of whoever dials a coordinator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Security")]
pub struct ClientSecurityArgs {
    /// The authority that the coordinator's certificate must be of (PEM) [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Certificate to show to a coordinator that asks for one (PEM); nn certs worker NAME makes it
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The name that the coordinator's certificate must be for [default: the host that is dialled]
    #[arg(long, value_name = "NAME", value_parser = text)]
    tls_name: Option<String>,
    /// File with the token to show; - is standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Flags of whoever dials, checked; the files have not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSecurityConfig {
    /// Whether TLS is spoken at all.
    pub tls: bool,
    /// Whom to trust; None: whom the system trusts.
    pub authority: Option<PathBuf>,
    /// The certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name to expect.
    pub name: Option<String>,
    /// Where the token is.
    pub token_file: Option<PathBuf>,
}

impl ClientSecurityArgs {
    /// Checks the flags, and writes `https://` before addresses that say nothing else where flags ask for TLS.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self, coordinators: &mut [String]) -> Result<ClientSecurityConfig, Failure> {
        let given = [
            ("--tls-ca", self.tls_ca.is_some()),
            ("--tls-cert", self.tls_cert.is_some()),
            ("--tls-key", self.tls_key.is_some()),
            ("--tls-name", self.tls_name.is_some()),
        ];
        let given = given.iter().find(|(_, given)| *given).map(|(flag, _)| flag);
        for coordinator in coordinators.iter_mut() {
            if let Some(flag) = given {
                if coordinator.starts_with("http://") {
                    let text = format!("{flag} has no effect with {coordinator}, which is without TLS");
                    return Err(Failure::usage(text).help("write https://, or leave the flag out"));
                }
                if !coordinator.contains("://") {
                    coordinator.insert_str(0, "https://");
                }
            }
        }
        Ok(ClientSecurityConfig {
            tls: coordinators.iter().any(|coordinator| coordinator.starts_with("https://")),
            authority: self.tls_ca,
            identity: pair(self.tls_cert, self.tls_key)?,
            name: self.tls_name,
            token_file: self.token_file,
        })
    }
}

/// A certificate and its key: both or neither.
fn pair(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(Failure::usage("--tls-cert needs --tls-key: a certificate is shown with its private key"))
        }
        (None, Some(_)) => Err(Failure::usage("--tls-key needs --tls-cert: a key alone says nothing")),
    }
}
