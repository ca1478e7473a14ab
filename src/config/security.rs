//! Options that say who may join, and whom to trust.

use std::path::PathBuf;

use super::option::{default, derived, unset};
use super::origins::Origins;
use super::table::{Options as _, options};
use crate::failure::Failure;

options! {
    /// The security of a coordinator.
    ServerSecurityOptions => ServerSecurity {
        "Security" {
            /// Certificate of the coordinator, in PEM
            ///
            /// It turns TLS on. nn certs init makes one
            tls_cert: Option<PathBuf> = unset().common();
            /// Private key of --tls-cert, in PEM
            tls_key: Option<PathBuf> = unset().common();
            /// Authority that signs the certificates of workers, in PEM
            tls_ca: Option<PathBuf> = unset();
            /// Admit only workers with a certificate of --tls-ca: mutual TLS
            require_client_cert: bool = default(false);
            /// File with the token that workers must present
            ///
            /// nn certs token makes one. - stands for standard input
            token_file: Option<PathBuf> = unset().common();
            /// Listen to other machines without certificates or a token
            ///
            /// Everyone who reaches the port may join and read the data
            insecure: bool = default(false);
        }
    }
}

/// The security of a coordinator, checked; the files have not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSecurityConfig {
    /// The certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The authority that signs the certificates of workers.
    pub authority: Option<PathBuf>,
    /// Whether workers must have a certificate.
    pub require_client_cert: bool,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// Whether everyone may join, from anywhere.
    pub insecure: bool,
}

impl ServerSecurity {
    /// Checks whether the options fit each other.
    ///
    /// # Errors
    /// Exit code 2, naming the option to blame.
    pub(super) fn resolve(self, origins: &Origins) -> Result<ServerSecurityConfig, Failure> {
        let Self { tls_cert, tls_key, tls_ca, require_client_cert, token_file, insecure } = self;
        let identity = pair(tls_cert, tls_key, origins)?;
        if tls_ca.is_some() && identity.is_none() {
            let subject = origins.subject("tls-ca");
            let text = format_args!("{subject} has no effect without --tls-cert and --tls-key");
            return Err(Failure::usage(text).help(INIT));
        }
        if require_client_cert && (identity.is_none() || tls_ca.is_none()) {
            let subject = origins.subject("require-client-cert");
            let text = format_args!("{subject} needs --tls-cert, --tls-key and --tls-ca");
            return Err(Failure::usage(text).help(INIT));
        }
        Ok(ServerSecurityConfig { identity, authority: tls_ca, require_client_cert, token_file, insecure })
    }
}

/// The remedy for missing certificates.
const INIT: &str = "nn certs init makes an authority and the coordinator's certificate";

options! {
    /// The security of a connection to a coordinator.
    ClientSecurityOptions => ClientSecurity {
        "Security" {
            /// Authority of the coordinator's certificate, in PEM
            tls_ca: Option<PathBuf> = derived("the system's").common();
            /// Certificate to present to the coordinator, in PEM
            ///
            /// nn certs worker NAME makes it
            tls_cert: Option<PathBuf> = unset().common();
            /// Private key of --tls-cert, in PEM
            tls_key: Option<PathBuf> = unset().common();
            /// Name that the coordinator's certificate must be for
            tls_name: Option<String> = derived("the host in the address").takes("NAME");
            /// File with the token to present
            ///
            /// - stands for standard input
            token_file: Option<PathBuf> = unset().common();
        }
    }
}

/// The security of a connection, checked; the files have not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSecurityConfig {
    /// Whether to speak TLS.
    pub tls: bool,
    /// The authority to trust; `None` for those that the system trusts.
    pub authority: Option<PathBuf>,
    /// The certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name to expect in the coordinator's certificate.
    pub name: Option<String>,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
}

impl ClientSecurityOptions {
    /// [`ClientSecurity::resolve`], for a program that takes them from flags only.
    pub(super) fn resolve(
        self,
        coordinators: &mut [String],
        origins: &Origins,
    ) -> Result<ClientSecurityConfig, Failure> {
        self.check(origins)?.resolve(coordinators, origins)
    }
}

impl ClientSecurity {
    /// Checks whether the options fit each other and the addresses, and writes `https://` before addresses without a
    /// scheme if options ask for TLS.
    ///
    /// # Errors
    /// Exit code 2, naming the option to blame.
    pub(super) fn resolve(
        self,
        coordinators: &mut [String],
        origins: &Origins,
    ) -> Result<ClientSecurityConfig, Failure> {
        let Self { tls_ca, tls_cert, tls_key, tls_name, token_file } = self;
        let given = [
            ("tls-ca", tls_ca.is_some()),
            ("tls-cert", tls_cert.is_some()),
            ("tls-key", tls_key.is_some()),
            ("tls-name", tls_name.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
            for coordinator in coordinators.iter_mut() {
                if coordinator.starts_with("http://") {
                    let subject = origins.subject(key);
                    let text = format!("{subject} has no effect with {coordinator}, which is without TLS");
                    return Err(Failure::usage(text).help("write https://, or leave the option out"));
                }
                if !coordinator.contains("://") {
                    coordinator.insert_str(0, "https://");
                }
            }
        }
        Ok(ClientSecurityConfig {
            tls: coordinators.iter().any(|coordinator| coordinator.starts_with("https://")),
            authority: tls_ca,
            identity: pair(tls_cert, tls_key, origins)?,
            name: tls_name,
            token_file,
        })
    }
}

/// A certificate and its key: both or neither.
pub(super) fn pair(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    origins: &Origins,
) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            let subject = origins.subject("tls-cert");
            Err(Failure::usage(format_args!(
                "{subject} needs --tls-key: a certificate comes with its private key"
            )))
        }
        (None, Some(_)) => {
            let subject = origins.subject("tls-key");
            Err(Failure::usage(format_args!("{subject} needs --tls-cert: a key alone proves nothing")))
        }
    }
}
