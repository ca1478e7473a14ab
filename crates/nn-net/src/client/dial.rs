//! Connecting, and why it did not work.

use std::error::Error as _;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use thiserror::Error;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::address::coordinator_url;
use super::connector::{Connector, First};
use crate::security::{ClientSecurity, ClientTrouble, client_trouble};
use crate::wire::{CONNECTION_WINDOW, KEEPALIVE, KEEPALIVE_TIMEOUT, MAX_FRAME, STREAM_WINDOW, TCP_KEEPALIVE};

/// How to dial.
#[derive(Debug, Clone)]
pub struct DialOptions {
    /// How long an attempt may take.
    pub timeout: Duration,
    /// The addresses of this machine to dial from: those of an interface.
    pub bind_to: LocalAddresses,
    /// What to show coordinators, and whom of them to trust.
    pub security: ClientSecurity,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            bind_to: LocalAddresses::default(),
            security: ClientSecurity::default(),
        }
    }
}

/// Addresses of this machine to dial from, at most one of either family. Where there is only one, coordinators are dialled
/// at their addresses of that family only; where there is none, the system chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LocalAddresses {
    /// For coordinators at IPv4 addresses.
    pub v4: Option<Ipv4Addr>,
    /// For coordinators at IPv6 addresses.
    pub v6: Option<Ipv6Addr>,
}

impl From<IpAddr> for LocalAddresses {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self { v4: Some(v4), v6: None },
            IpAddr::V6(v6) => Self { v4: None, v6: Some(v6) },
        }
    }
}

/// Why there is no connection, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ConnectError {
    #[error(
        "{url:?} is not the address of a coordinator ({why}); write HOST:PORT, http://HOST:PORT, or https://HOST:PORT for TLS"
    )]
    Url { url: String, why: String },
    #[error("{url} asks for TLS, which was not set up; say with --tls-ca whom to trust")]
    NoTls { url: String },
    #[error("the certificate of {url} cannot be trusted: {why}; {remedy}")]
    Untrusted { url: String, why: String, remedy: &'static str },
    #[error("{url} does not let this side in: {why}; {remedy}")]
    CertificateRefused { url: String, why: &'static str, remedy: &'static str },
    #[error("{url} does not let this side in: {why}")]
    TokenRefused { url: String, why: String },
    #[error(
        "what listens at {url} does not speak TLS; write http:// if that is meant, or start nn-coord with --tls-cert \
         and --tls-key"
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
    #[error("what listens at {url} does not speak HTTP/2 ({why}); is that nn-coord's port?")]
    NotHttp2 { url: String, why: String },
    #[error("what listens at {url} speaks TLS; write https://, and say with --tls-ca whom to trust")]
    NeedsTls { url: String },
    #[error(
        "what listens at {url} closed the connection without an answer; is that nn-coord's port, does it expect TLS \
         (https:// and --tls-ca), or is it just ending?"
    )]
    HungUp { url: String },
    #[error("what listens at {url} is not an nn coordinator ({why}); check the port")]
    NotCoordinator { url: String, why: String },
    #[error("the coordinator at {url} does not take this worker now: {why}")]
    NotNow { url: String, why: String },
    #[error("cannot connect to {url}: {why}")]
    Other { url: String, why: String },
}

impl ConnectError {
    /// Whether it may go away by itself.
    #[must_use]
    pub fn is_worth_retrying(&self) -> bool {
        !matches!(self, Self::Url { .. } | Self::NoTls { .. })
    }

    /// Whether it is about who may talk to whom. That is a mistake in how one side was started, more often than not; but
    /// between two that have worked together before it is the other side, which will be put right.
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

    /// From what rustls says.
    fn of_tls(url: &str, error: &rustls::Error) -> Self {
        let url = url.to_owned();
        match client_trouble(error) {
            ClientTrouble::Untrusted { why, remedy } => Self::Untrusted { url, why, remedy },
            ClientTrouble::Refused { why, remedy } => Self::CertificateRefused { url, why, remedy },
            ClientTrouble::NotTls => Self::NotTls { url },
            ClientTrouble::Other(why) => Self::Other { url, why },
        }
    }

    /// From the end of a handshake.
    pub(super) fn of_handshake(url: &str, error: &io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(error) => Self::of_tls(url, error),
            None if error.kind() == io::ErrorKind::ConnectionRefused => Self::Refused { url: url.to_owned() },
            None => Self::HungUp { url: url.to_owned() },
        }
    }

    /// From what the transport says.
    fn explain(url: &str, error: &tonic::transport::Error, after: Duration) -> Self {
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
        // hyper-util has no type for it that could be asked.
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
                // hyper-util's word for a host without an address of the family to dial from.
                | io::ErrorKind::NotConnected,
            ) => Self::Unreachable { url, why },
            _ if texts.iter().any(|text| text.contains("deadline") || text.contains("timed out")) => {
                Self::TimedOut { url, after }
            }
            _ => Self::Other { url, why },
        }
    }

    /// From the end of a stream that nothing was heard on.
    pub(super) fn from_status(url: &str, status: &Status) -> Self {
        let (url, mut why) = (url.to_owned(), status.message().to_owned());
        let mut source = status.source();
        while let Some(error) = source {
            why = error.to_string();
            source = error.source();
        }
        let says = |texts: &[&str]| texts.iter().any(|text| why.contains(text));
        match status.code() {
            Code::Unauthenticated => Self::TokenRefused { url, why },
            Code::Unimplemented | Code::NotFound | Code::PermissionDenied => {
                Self::NotCoordinator { url, why }
            }
            _ if says(&["http2 error", "frame with invalid", "protocol error", "bytes remaining"]) => {
                Self::NotHttp2 { url, why }
            }
            // Which of them it is depends on who was faster.
            _ if says(&["closed", "reset", "roken pipe", "canceled", "not ready"]) => Self::HungUp { url },
            _ => Self::Other { url, why },
        }
    }
}

/// Connects to a coordinator whose address is in full.
pub(super) async fn dial(url: &str, options: &DialOptions) -> Result<Channel, ConnectError> {
    let url = coordinator_url(url)?;
    let wrong =
        |error: tonic::transport::Error| ConnectError::Url { url: url.clone(), why: error.to_string() };
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(wrong)?
        // This covers the look-up of the host's name too.
        .connect_timeout(options.timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    // tonic's own connector takes one local address, which would rule out coordinators of the other family.
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    // Shared among the addresses of a host, so that the last of them is tried as well.
    tcp.set_connect_timeout(Some(options.timeout));
    tcp.enforce_http(false);
    match (options.bind_to.v4, options.bind_to.v6) {
        (Some(v4), Some(v6)) => tcp.set_local_addresses(v4, v6),
        (v4, v6) => tcp.set_local_address(v4.map(IpAddr::V4).or(v6.map(IpAddr::V6))),
    }
    let tls = match (url.starts_with("https://"), options.security.tls()) {
        (false, _) => None,
        (true, None) => return Err(ConnectError::NoTls { url }),
        (true, Some(config)) => {
            let name = options.security.name_of(endpoint.uri().host().unwrap_or_default());
            let name =
                name.map_err(|error| ConnectError::Url { url: url.clone(), why: error.to_string() })?;
            Some((config.clone(), name))
        }
    };
    let (sender, first) = oneshot::channel();
    let first = if tls.is_none() { Some(first) } else { None };
    let connector =
        Connector { tcp, tls, timeout: options.timeout, first: Arc::new(Mutex::new(Some(sender))) };
    let connected = endpoint.connect_with_connector(connector).await;
    // An HTTP/2 server speaks as soon as it is dialled. If it is TLS that answers, the connection ends with an error that
    // depends on who is faster, and does not say so.
    if let Some(first) = first {
        match tokio::time::timeout(options.timeout, first).await {
            Ok(Ok(First::TlsAlert)) => return Err(ConnectError::NeedsTls { url }),
            // What is not HTTP/2, or ends at once, is seen when it is used.
            Ok(Ok(First::Other) | Err(_)) => {}
            Err(_) => return Err(ConnectError::TimedOut { url, after: options.timeout }),
        }
    }
    connected.map_err(|error| ConnectError::explain(&url, &error, options.timeout))
}

/// Pauses between attempts: they double from a tenth of a second to three seconds, and each is shortened by up to a half by
/// chance, so that workers that lost the same coordinator do not come back at the same moment. They are not longer because
/// a run that was resumed stands still until the first of them is over, and an attempt costs next to nothing.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(3);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    pub(super) fn next(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(Self::LONGEST);
        let fraction = (random() >> 11) as f64 / (1_u64 << 53) as f64;
        full.mul_f64(1.0 - fraction / 2.0)
    }
}

/// A number that nobody can foretell. Nothing of the run's result depends on it.
pub(super) fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_vary() {
        let mut backoff = Backoff::new();
        let mut full = Backoff::FIRST;
        for _ in 0..12 {
            let pause = backoff.next();
            assert!(pause <= full && pause >= full / 2, "{pause:?} of {full:?}");
            full = (full * 2).min(Backoff::LONGEST);
        }
        assert_ne!(Backoff::new().next(), Backoff::new().next());
    }
}
