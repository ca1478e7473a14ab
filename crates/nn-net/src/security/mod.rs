//! Who may take part: TLS by rustls, and join tokens.
//!
//! Both ends speak TLS 1.3 only, with ALPN `h2`, and resume no sessions, so that a certificate is looked at each time.
//! Which certificates are good is decided by rustls alone; [`certificate`] reads them for people.

mod certificate;
mod client;
mod error;
mod explain;
mod server;
mod token;

pub use certificate::CertificateFacts;
pub use client::ClientSecurity;
pub use error::SecurityError;
pub(crate) use explain::{ClientTrouble, client_trouble, server_words};
pub use server::ServerSecurity;
pub use token::Token;

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What HTTP/2 is called in a TLS handshake.
const ALPN: &[u8] = b"h2";

/// The only versions that are spoken.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The text of a PEM file, and what to call it in messages: most often its path.
#[derive(Clone)]
pub struct Pem {
    /// What to call it.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Does not show what is in it, which may be a key.
impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pem {
    /// All certificates, at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let all =
            all.map_err(|error| SecurityError::Pem { file: self.name.clone(), why: error.to_string() })?;
        if all.is_empty() {
            let holds = if self.contains("PRIVATE KEY") { "a key" } else { "no PEM certificate" };
            return Err(SecurityError::NoCertificate { file: self.name.clone(), holds });
        }
        Ok(all)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, SecurityError> {
        let file = || self.name.clone();
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            _ if self.contains("ENCRYPTED PRIVATE KEY") || self.contains("Proc-Type: 4,ENCRYPTED") => {
                SecurityError::EncryptedKey { file: file() }
            }
            rustls::pki_types::pem::Error::NoItemsFound => {
                let holds = if self.contains("BEGIN CERTIFICATE") { "a certificate" } else { "no PEM key" };
                SecurityError::NoKey { file: file(), holds }
            }
            other => SecurityError::Pem { file: file(), why: other.to_string() },
        })
    }

    fn contains(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// A certificate, those that lead from it to its authority, and its key: what an end proves with who it is.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    certificate_file: String,
    key_file: String,
    facts: CertificateFacts,
}

impl Identity {
    /// From PEM: the certificate first, then those between it and its authority, if there are any; and its private key
    /// (PKCS #8, PKCS #1 or SEC 1), not encrypted.
    ///
    /// # Errors
    /// If either is not what it should be, or the certificate is not valid today.
    pub fn from_pem(certificate: &Pem, key: &Pem) -> Result<Self, SecurityError> {
        let chain = certificate.certificates()?;
        let file = || certificate.name.clone();
        let facts = CertificateFacts::read(&chain[0])
            .map_err(|why| SecurityError::Certificate { file: file(), why })?;
        facts.check_dates().map_err(|why| SecurityError::Dates { file: file(), why })?;
        let key_file = key.name.clone();
        let key = key.private_key()?;
        Ok(Self { chain, key, certificate_file: file(), key_file, facts })
    }

    /// What the certificate says.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// What rustls finds wrong with the pair.
    fn wrong(certificate_file: String, key_file: String) -> impl FnOnce(rustls::Error) -> SecurityError {
        move |error| match error {
            rustls::Error::InconsistentKeys(_) => {
                SecurityError::KeyOfAnother { certificate: certificate_file, key: key_file }
            }
            other => SecurityError::Key { file: key_file, why: other.to_string() },
        }
    }
}

/// The authorities whose certificates are trusted.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Those of a PEM file.
    ///
    /// # Errors
    /// If there is none in it, or one cannot be used.
    pub fn from_pem(pem: &Pem) -> Result<Self, SecurityError> {
        let mut roots = RootCertStore::empty();
        for certificate in pem.certificates()? {
            roots.add(certificate).map_err(|error| SecurityError::Certificate {
                file: pem.name.clone(),
                why: error.to_string(),
            })?;
        }
        Ok(Self(Arc::new(roots)))
    }

    /// Those that the system trusts.
    ///
    /// # Errors
    /// If it has none.
    pub fn of_the_system() -> Result<Self, SecurityError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let _ = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(SecurityError::NoSystemRoots { why });
        }
        Ok(Self(Arc::new(roots)))
    }
}
