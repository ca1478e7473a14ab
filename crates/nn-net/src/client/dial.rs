//! Connecting to a coordinator.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};

use super::address::coordinator_url;
use super::connector::{Connector, First, Tls};
use super::error::ConnectError;
use super::meter::WorkerMeter;
use crate::security::ClientSecurity;
use crate::wire::{CONNECTION_WINDOW, KEEPALIVE, KEEPALIVE_TIMEOUT, MAX_FRAME, STREAM_WINDOW, TCP_KEEPALIVE};

/// How to dial.
#[derive(Debug, Clone)]
pub struct DialOptions {
    /// The longest that an attempt may take.
    pub timeout: Duration,
    /// The addresses of this machine to dial from: those of an interface.
    pub bind_to: LocalAddresses,
    /// What to show to coordinators, and which of them to trust.
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

/// Addresses of this machine to dial from, at most one of each family. With only one, coordinators are dialled only at
/// their addresses of that family; with none, the system chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LocalAddresses {
    /// The address to dial IPv4 addresses from.
    pub v4: Option<Ipv4Addr>,
    /// The address to dial IPv6 addresses from.
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

/// Connects to a coordinator.
pub(super) async fn dial(url: &str, options: &DialOptions) -> Result<Channel, ConnectError> {
    dial_metered(url, options, None).await
}

/// [`dial`], whose bytes `meter` is told of.
pub(super) async fn dial_metered(
    url: &str,
    options: &DialOptions,
    meter: Option<Arc<dyn WorkerMeter>>,
) -> Result<Channel, ConnectError> {
    let url = coordinator_url(url)?;
    let wrong =
        |error: tonic::transport::Error| ConnectError::Url { url: url.clone(), why: error.to_string() };
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(wrong)?
        // This includes the look-up of the host's name.
        .connect_timeout(options.timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let tls = tls(&url, endpoint.uri().host().unwrap_or_default(), &options.security)?;
    let (sender, first) = oneshot::channel();
    let first = tls.is_none().then_some(first);
    let connector = Connector {
        tcp: tcp(options),
        tls,
        timeout: options.timeout,
        first: Arc::new(Mutex::new(Some(sender))),
        meter,
    };
    let connected = endpoint.connect_with_connector(connector).await;
    // An HTTP/2 server speaks first. If the answer is TLS instead, the connection ends with an error that depends on
    // timing and does not say so.
    if let Some(first) = first {
        match tokio::time::timeout(options.timeout, first).await {
            Ok(Ok(First::TlsAlert)) => return Err(ConnectError::NeedsTls { url }),
            // A server that speaks something else, or closes the connection, is noticed when the connection is used.
            Ok(Ok(First::Other) | Err(_)) => {}
            Err(_) => return Err(ConnectError::TimedOut { url, after: options.timeout }),
        }
    }
    connected.map_err(|error| ConnectError::of_transport(&url, &error, options.timeout))
}

/// Connects over TCP. tonic's own connector takes one local address, which would rule out coordinators of the other family.
fn tcp(options: &DialOptions) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    // The addresses of a host share the time, so that the last one is tried, too.
    tcp.set_connect_timeout(Some(options.timeout));
    tcp.enforce_http(false);
    match (options.bind_to.v4, options.bind_to.v6) {
        (Some(v4), Some(v6)) => tcp.set_local_addresses(v4, v6),
        (v4, v6) => tcp.set_local_address(v4.map(IpAddr::V4).or(v6.map(IpAddr::V6))),
    }
    tcp
}

/// The TLS to speak with `host`; None for an `http://` address.
fn tls(url: &str, host: &str, security: &ClientSecurity) -> Result<Option<Tls>, ConnectError> {
    if !url.starts_with("https://") {
        return Ok(None);
    }
    let config = security.tls().ok_or_else(|| ConnectError::NoTls { url: url.to_owned() })?;
    let name = security
        .name_of(host)
        .map_err(|error| ConnectError::Url { url: url.to_owned(), why: error.to_string() })?;
    Ok(Some(Tls { config: config.clone(), name }))
}

/// Pauses between attempts. They double from 0.1 s to 3 s, and chance shortens each by up to a half, so that workers that
/// lost the same coordinator do not all return at the same moment. They stay short because a resumed run waits for the
/// first worker, and an attempt costs next to nothing.
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

/// An unpredictable number. The run's result does not depend on it.
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
