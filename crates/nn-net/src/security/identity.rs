//! Certificates and keys, as they are given in PEM.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, RootCertStore};

use super::certificate::CertificateFacts;
use super::error::SecurityError;
use super::explain::unusable;

/// The text of a PEM file, and its name in messages, usually its path.
#[derive(Clone)]
pub struct Pem {
    /// The name of the file.
    pub name: String,
    /// The text of the file.
    pub bytes: Vec<u8>,
}

/// Does not show the text, which may be a key.
impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pem {
    /// All certificates in the file; there is at least one.
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

/// A certificate, the chain from it to its authority, and its key: one side's proof of who it is.
#[derive(Debug)]
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) certificate_file: String,
    pub(super) key_file: String,
    facts: CertificateFacts,
}

impl Identity {
    /// Reads PEM: the certificate, followed by any intermediate certificates, and its private key (PKCS #8, PKCS #1 or
    /// SEC 1), which must not be encrypted.
    ///
    /// # Errors
    /// If either cannot be read, or the certificate is not valid today.
    pub fn from_pem(certificate: &Pem, key: &Pem) -> Result<Self, SecurityError> {
        let chain = certificate.certificates()?;
        let file = || certificate.name.clone();
        let facts = CertificateFacts::from_der(&chain[0])
            .map_err(|error| SecurityError::Certificate { file: file(), why: error.to_string() })?;
        facts.check_dates().map_err(|why| SecurityError::Dates { file: file(), why })?;
        let key_file = key.name.clone();
        let key = key.private_key()?;
        Ok(Self { chain, key, certificate_file: file(), key_file, facts })
    }

    /// The facts of the certificate.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// From an error of rustls about the pair.
    pub(super) fn wrong(
        certificate_file: String,
        key_file: String,
    ) -> impl FnOnce(rustls::Error) -> SecurityError {
        move |error| match error {
            rustls::Error::InconsistentKeys(_) => {
                SecurityError::KeyOfAnother { certificate: certificate_file, key: key_file }
            }
            rustls::Error::InvalidCertificate(error) => {
                SecurityError::Certificate { file: certificate_file, why: in_full(&error) }
            }
            // What ring says of a key that it cannot read.
            rustls::Error::General(_) => SecurityError::Key { file: key_file, why: KINDS.to_owned() },
            other => SecurityError::Key { file: key_file, why: other.to_string() },
        }
    }
}

/// Why a certificate cannot be used, and the remedy.
fn in_full(error: &CertificateError) -> String {
    let (why, remedy) = unusable(error);
    format!("{why}; {remedy}")
}

/// The keys that can sign a handshake.
const KINDS: &str = "it is damaged, or of a kind that is not accepted; the kinds are ECDSA on P-256 or P-384, Ed25519, and RSA of \
                     2048 to 4096 bits; nn certs makes one, and so does openssl ecparam -name prime256v1 -genkey -noout";

/// The authorities whose certificates are trusted.
#[derive(Debug, Clone)]
pub struct Authorities(pub(super) Arc<RootCertStore>);

impl Authorities {
    /// The authorities of a PEM file.
    ///
    /// # Errors
    /// If there are none, or one cannot be used.
    pub fn from_pem(pem: &Pem) -> Result<Self, SecurityError> {
        let mut roots = RootCertStore::empty();
        for certificate in pem.certificates()? {
            roots.add(certificate).map_err(|error| {
                let why = match &error {
                    rustls::Error::InvalidCertificate(error) => in_full(error),
                    other => other.to_string(),
                };
                SecurityError::Certificate { file: pem.name.clone(), why }
            })?;
        }
        Ok(Self(Arc::new(roots)))
    }

    /// The authorities that the system trusts.
    ///
    /// # Errors
    /// If there are none.
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
