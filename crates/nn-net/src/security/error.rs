//! What can be wrong with certificates, keys and tokens as they are given.

use thiserror::Error;

/// Why an identity, an authority or a token cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum SecurityError {
    #[error("{file} is not PEM as it should be: {why}")]
    Pem { file: String, why: String },
    #[error("{file} holds {holds} where a certificate is wanted; nn certs makes them")]
    NoCertificate { file: String, holds: &'static str },
    #[error("{file} holds {holds} where a private key is wanted; nn certs makes them")]
    NoKey { file: String, holds: &'static str },
    #[error("the key in {file} is encrypted; give one without a password, in a file that only you can read")]
    EncryptedKey { file: String },
    #[error("the key in {file} cannot be used: {why}")]
    Key { file: String, why: String },
    #[error(
        "the key in {key} is not that of the certificate in {certificate}; give two that were made together"
    )]
    KeyOfAnother { certificate: String, key: String },
    #[error("the certificate in {file} cannot be used: {why}")]
    Certificate { file: String, why: String },
    #[error("the certificate in {file} {why}; make a new one with nn certs, or check this machine's clock")]
    Dates { file: String, why: String },
    #[error(
        "this system trusts no authorities{why}; say with --tls-ca which one signed the coordinator's certificate"
    )]
    NoSystemRoots { why: String },
    #[error("{name:?} is neither a host's name nor an IP address, so no certificate can be for it")]
    Name { name: String },
    #[error("the token has {length} characters, and must have at least {least}; nn certs token makes one")]
    TokenTooShort { length: usize, least: usize },
    #[error("the token has {length} characters, and may have at most {most}; nn certs token makes one")]
    TokenTooLong { length: usize, most: usize },
    #[error("the token has characters other than visible ASCII; nn certs token makes one without")]
    TokenCharacters,
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}
