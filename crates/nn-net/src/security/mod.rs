//! Authentication: TLS by rustls, and join tokens.
//!
//! Both ends speak only TLS 1.3, with ALPN `h2`, and resume no sessions, so that every connection checks certificates.
//! rustls alone decides which certificates are valid; [`CertificateFacts`] describes them for people.

mod algorithms;
mod certificate;
mod client;
mod error;
mod explain;
mod identity;
mod server;
mod tls;
mod token;

pub use certificate::{CertificateError, CertificateFacts, utc_date};
pub use client::ClientSecurity;
pub use error::SecurityError;
pub(crate) use explain::{ClientTrouble, client_trouble, server_words};
pub use identity::{Authorities, Identity, Pem};
pub use server::ServerSecurity;
pub use token::Token;
