//! Why there is no connection, and why a worker gives up.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};

use crate::data::DataError;
use crate::proto as pb;
use crate::security::{ClientTrouble, client_trouble};
use crate::wire::convert::sentence;

/// Why there is no connection, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ConnectError {
    #[error(
        "{url:?} is not the address of a coordinator ({why}); write HOST:PORT, http://HOST:PORT, or https://HOST:PORT for TLS"
    )]
    Url { url: String, why: String },
    #[error("{url} asks for TLS, which is not set up; name the trusted authority with --tls-ca")]
    NoTls { url: String },
    #[error("the certificate of {url} cannot be trusted: {why}; {remedy}")]
    Untrusted { url: String, why: String, remedy: &'static str },
    #[error("{url} does not let this side in: {why}; {remedy}")]
    CertificateRefused { url: String, why: &'static str, remedy: &'static str },
    #[error("{url} does not let this side in: {why}")]
    TokenRefused { url: String, why: String },
    #[error(
        "the server at {url} does not speak TLS; write http:// for a connection without TLS, or start nn-coord with \
         --tls-cert and --tls-key"
    )]
    NotTls { url: String },
    #[error(
        "nothing listens at {url}: the connection was refused; is nn-coord running there, and is the port right?"
    )]
    Refused { url: String },
    #[error("the host of {url} is not known ({why}); check its spelling, or give its IP address")]
    UnknownHost { url: String, why: String },
    #[error("{url} cannot be reached from here ({why}); check the network, the firewall and --bind-to")]
    Unreachable { url: String, why: String },
    #[error("{url} did not answer within {after:.0?}; check the address, the network and the firewall")]
    TimedOut { url: String, after: Duration },
    #[error("the server at {url} does not speak HTTP/2 ({why}); is that nn-coord's port?")]
    NotHttp2 { url: String, why: String },
    #[error("the server at {url} speaks TLS; write https://, and name the trusted authority with --tls-ca")]
    NeedsTls { url: String },
    #[error(
        "the server at {url} closed the connection without an answer; is that nn-coord's port, does it expect TLS \
         (https:// and --tls-ca), or is it shutting down?"
    )]
    HungUp { url: String },
    #[error("the server at {url} is not an nn coordinator ({why}); check the port")]
    NotCoordinator { url: String, why: String },
    #[error("the coordinator at {url} does not admit this worker now: {why}")]
    NotNow { url: String, why: String },
    #[error(
        "{url} admits this worker, but every connection breaks before a contribution arrives ({why}); check the network \
         and the proxies in between"
    )]
    Fruitless { url: String, why: String },
    #[error("cannot connect to {url}: {why}")]
    Other { url: String, why: String },
}

impl ConnectError {
    /// Whether trying again may succeed.
    #[must_use]
    pub fn is_worth_retrying(&self) -> bool {
        !matches!(self, Self::Url { .. } | Self::NoTls { .. })
    }

    /// Whether one side does not trust the other. Usually that is a mistake in how one of them was started; between two
    /// that have worked together before, it is the other side's, and will be corrected.
    #[must_use]
    pub fn is_about_trust(&self) -> bool {
        matches!(
            self,
            Self::Untrusted { .. }
                | Self::CertificateRefused { .. }
                | Self::TokenRefused { .. }
                | Self::NotTls { .. }
                | Self::NeedsTls { .. }
        )
    }

    /// From an error of rustls.
    fn of_tls(url: &str, error: &rustls::Error) -> Self {
        let url = url.to_owned();
        match client_trouble(error) {
            ClientTrouble::Untrusted { why, remedy } => Self::Untrusted { url, why, remedy },
            ClientTrouble::Refused { why, remedy } => Self::CertificateRefused { url, why, remedy },
            ClientTrouble::NotTls => Self::NotTls { url },
            ClientTrouble::Other(why) => Self::Other { url, why },
        }
    }

    /// From a failed handshake.
    pub(super) fn of_handshake(url: &str, error: &io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(error) => Self::of_tls(url, error),
            None if error.kind() == io::ErrorKind::ConnectionRefused => Self::Refused { url: url.to_owned() },
            None => Self::HungUp { url: url.to_owned() },
        }
    }

    /// From an error of the transport.
    pub(super) fn of_transport(url: &str, error: &tonic::transport::Error, after: Duration) -> Self {
        let url = url.to_owned();
        let mut texts = Vec::new();
        let mut io_error = None;
        let mut source = error.source();
        while let Some(error) = source {
            texts.push(error.to_string());
            if let Some(error) = error.downcast_ref::<io::Error>() {
                if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref()) {
                    return Self::of_tls(&url, error);
                }
                io_error = Some(error.kind());
            }
            source = error.source();
        }
        let why = texts.last().cloned().unwrap_or_else(|| error.to_string());
        // hyper-util has no public type for it.
        if texts.iter().any(|text| text.contains("dns error")) {
            return Self::UnknownHost { url, why };
        }
        match io_error {
            Some(io::ErrorKind::ConnectionRefused) => Self::Refused { url },
            Some(io::ErrorKind::TimedOut) => Self::TimedOut { url, after },
            Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                Self::HungUp { url }
            }
            Some(
                io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable
                // hyper-util's error for a host without an address of the family to dial from.
                | io::ErrorKind::NotConnected,
            ) => Self::Unreachable { url, why },
            _ if texts.iter().any(|text| text.contains("deadline") || text.contains("timed out")) => {
                Self::TimedOut { url, after }
            }
            _ => Self::Other { url, why },
        }
    }

    /// From the end of a stream on which nothing was received.
    pub(crate) fn of_status(url: &str, status: &Status) -> Self {
        let (url, mut why) = (url.to_owned(), status.message().to_owned());
        let mut source = status.source();
        while let Some(error) = source {
            why = error.to_string();
            source = error.source();
        }
        // It may be whatever a stranger's server says.
        let why = sentence(&why);
        let says = |texts: &[&str]| texts.iter().any(|text| why.contains(text));
        match status.code() {
            Code::Unauthenticated => Self::TokenRefused { url, why },
            Code::Unimplemented | Code::NotFound | Code::PermissionDenied => {
                Self::NotCoordinator { url, why }
            }
            _ if says(&["http2 error", "frame with invalid", "protocol error", "bytes remaining"]) => {
                Self::NotHttp2 { url, why }
            }
            // Which of these it is depends on timing.
            _ if says(&["closed", "reset", "roken pipe", "canceled", "not ready"]) => Self::HungUp { url },
            _ => Self::Other { url, why },
        }
    }
}

/// Why a worker gives up before the coordinator says that the run is over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// There is no coordinator to dial.
    #[error("no coordinator was given; name one with --coordinator http://HOST:PORT")]
    NoCoordinator,
    /// The time for dialling is over, or dialling on is pointless.
    #[error("{error}")]
    Connect {
        /// The reason of the last failure.
        error: ConnectError,
    },
    /// The coordinator rejects the worker for good.
    #[error("the coordinator at {coordinator} rejects this worker: {message}")]
    Rejected {
        /// The coordinator's address.
        coordinator: String,
        /// The reason.
        reason: pb::RejectReason,
        /// A sentence with the remedy.
        message: String,
    },
    /// The run of the coordinator cannot be this worker's.
    #[error("this worker cannot take the run of the coordinator at {coordinator}: {why}")]
    Manifest {
        /// The coordinator's address.
        coordinator: String,
        /// The reason, with the remedy.
        why: String,
    },
    /// The coordinator violates the protocol.
    #[error(
        "the coordinator at {coordinator} violates the protocol: {message}; use the same version of nn on both sides"
    )]
    Protocol {
        /// The coordinator's address.
        coordinator: String,
        /// The violation.
        message: String,
    },
    /// The training set cannot be used or kept.
    #[error("cannot use the training set: {0}")]
    Data(#[from] DataError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_reaches_the_terminal_as_text() {
        for code in [Code::NotFound, Code::Unauthenticated, Code::Internal] {
            let status = Status::new(code, format!("\x1b[31mno\n{}", "x".repeat(100_000)));
            let said = ConnectError::of_status("http://192.0.2.1:7654", &status).to_string();
            assert!(said.contains("[31mno") && !said.contains(char::is_control), "{said:?}");
            assert!(said.len() < 10_000, "{} bytes", said.len());
        }
    }
}
