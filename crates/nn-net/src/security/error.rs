//! Errors in certificates, keys and tokens.

use thiserror::Error;

/// Why an identity, an authority or a token cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum SecurityError {
    #[error("{file} is not valid PEM: {why}")]
    Pem { file: String, why: String },
    #[error("{file} holds {holds} instead of a certificate; nn certs makes certificates")]
    NoCertificate { file: String, holds: &'static str },
    #[error("{file} holds {holds} instead of a private key; nn certs makes keys")]
    NoKey { file: String, holds: &'static str },
    #[error(
        "the key in {file} is encrypted; give a key without a password, in a file that only you can read"
    )]
    EncryptedKey { file: String },
    #[error("the key in {file} cannot be used: {why}")]
    Key { file: String, why: String },
    #[error(
        "the key in {key} is not that of the certificate in {certificate}; give two that belong together"
    )]
    KeyOfAnother { certificate: String, key: String },
    #[error("the certificate in {file} cannot be used: {why}")]
    Certificate { file: String, why: String },
    #[error("the certificate in {file} {why}; make a new one with nn certs, or check this machine's clock")]
    Dates { file: String, why: String },
    #[error(
        "this system trusts no authorities{why}; name the one that signed the coordinator's certificate with --tls-ca"
    )]
    NoSystemRoots { why: String },
    #[error("{name:?} is neither a host name nor an IP address, so no certificate can be for it")]
    Name { name: String },
    #[error("the token has {length} characters, but needs at least {least}; nn certs token makes one")]
    TokenTooShort { length: usize, least: usize },
    #[error("the token has {length} characters, but may have at most {most}; nn certs token makes one")]
    TokenTooLong { length: usize, most: usize },
    #[error("the token has characters other than visible ASCII; nn certs token makes one without")]
    TokenCharacters,
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}
