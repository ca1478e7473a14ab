//! Measuring the path to a coordinator.

use std::time::Duration;

use http::Uri;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::address::coordinator_url;
use super::dial::{DialOptions, dial};
use super::error::ConnectError;
use crate::proto as pb;
use crate::security::{CertificateError, CertificateFacts};
use crate::wire::MAX_MESSAGE;
use crate::wire::convert::sentence;
use crate::wire::probe::{MOST, payload, unix_micros};
use pb::status_client::StatusClient;

/// A connection that identifies a coordinator and measures the path to it.
#[derive(Debug)]
pub struct Prober {
    url: String,
    channel: Channel,
    client: StatusClient<Channel>,
    options: DialOptions,
}

/// A coordinator's identity, and its clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Pong {
    /// Its version of the protocol; this crate's is [`pb::PROTOCOL`].
    pub protocol: u32,
    /// The name and version of its program.
    pub build: String,
    /// The hash of its arithmetic's self-test. A worker must have the same.
    pub arithmetic: String,
    /// The time from question to answer.
    pub round_trip: Duration,
    /// Seconds by which its clock is ahead of this machine's; negative if behind. The error is at most half the round trip.
    pub ahead: f64,
}

/// The times of many pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The number of pings.
    pub pings: usize,
    /// The median time.
    pub median: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The coordinator is too old to know probes.
    #[error("the coordinator does not support probes: its version of nn is too old")]
    Unknown,
    /// The byte budget that all callers share is used up for now.
    #[error("{0}")]
    Exhausted(String),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// The sizes of the messages that measure the bandwidth, in order: on a slow path the small ones must suffice.
const SIZES: [usize; 3] = [MOST / 16, MOST / 4, MOST];

/// How many messages of the largest size are sent on a fast path.
const REPEATS: usize = 3;

/// After a message that takes longer, the measurement ends.
const LONG: Duration = Duration::from_millis(500);

/// The certificate that a coordinator shows on this connection, once it has proved trustworthy.
///
/// # Errors
/// If the server does not answer, does not speak TLS, or shows a certificate that is not trusted. Whether it accepts this
/// side's certificate is not known yet.
pub async fn certificate(
    url: &str,
    stream: TcpStream,
    options: &DialOptions,
) -> Result<CertificateFacts, ConnectError> {
    let url = coordinator_url(url)?;
    let wrong = |why: String| ConnectError::Url { url: url.clone(), why };
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    let config = options.security.tls().ok_or_else(|| ConnectError::NoTls { url: url.clone() })?.clone();
    let name = options.security.name_of(uri.host().unwrap_or_default());
    let name = name.map_err(|error| wrong(error.to_string()))?;
    let shake_hands = TlsConnector::from(config).connect(name, stream);
    let mut stream = match tokio::time::timeout(options.timeout, shake_hands).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ConnectError::of_handshake(&url, &error)),
        Err(_) => return Err(ConnectError::TimedOut { url, after: options.timeout }),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let facts = shown.map_or(Err(CertificateError::None), |shown| CertificateFacts::from_der(shown));
    // If the connection just broke, the coordinator would report it.
    let _ = tokio::time::timeout(options.timeout, stream.shutdown()).await;
    facts.map_err(|why| ConnectError::Other { url, why: format!("cannot read its certificate: {why}") })
}

impl Prober {
    /// Connects to a coordinator.
    ///
    /// # Errors
    /// As for [`super::status`].
    pub async fn connect(url: &str, options: &DialOptions) -> Result<Self, ConnectError> {
        let url = coordinator_url(url)?;
        let channel = dial(&url, options).await?;
        let client = StatusClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        Ok(Self { url, channel, client, options: options.clone() })
    }

    /// Whether the coordinator reports that it serves workers: gRPC's health check.
    ///
    /// # Errors
    /// If the server has no health service, or does not answer.
    pub async fn serves(&self) -> Result<bool, ConnectError> {
        let mut client = HealthClient::new(self.channel.clone());
        let request = HealthCheckRequest { service: "nn.v1.Coordinator".to_owned() };
        match tokio::time::timeout(self.options.timeout, client.check(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().status() == ServingStatus::Serving),
            Ok(Err(status)) => Err(ConnectError::of_status(&self.url, &status)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Asks the coordinator to identify itself.
    ///
    /// # Errors
    /// If there is no answer, or the coordinator does not know probes.
    pub async fn ping(&mut self) -> Result<Pong, ProbeError> {
        let (before, begun) = (unix_micros(), Instant::now());
        let reply = self.call(0, 0).await?;
        let round_trip = begun.elapsed();
        // The best guess is that its clock was read in the middle of the round trip.
        let middle = i128::from(before) + round_trip.as_micros() as i128 / 2;
        let ahead = (i128::from(reply.unix_micros) - middle) as f64 / 1e6;
        let pb::ProbeReply { protocol, build, arithmetic, .. } = reply;
        Ok(Pong { protocol, build, arithmetic, round_trip, ahead })
    }

    /// Pings up to `pings` times, but no longer than `most`: the times, and the fastest answer, whose clock is the most
    /// exact.
    ///
    /// # Errors
    /// As for [`Prober::ping`].
    pub async fn latency(&mut self, pings: usize, most: Duration) -> Result<(Latency, Pong), ProbeError> {
        let begun = Instant::now();
        let mut best = self.ping().await?;
        let mut times = vec![best.round_trip];
        while times.len() < pings && begun.elapsed() < most {
            let pong = self.ping().await?;
            times.push(pong.round_trip);
            if pong.round_trip < best.round_trip {
                best = pong;
            }
        }
        times.sort_unstable();
        let at = |hundredth: usize| times[(times.len() * hundredth / 100).min(times.len() - 1)];
        Ok((Latency { pings: times.len(), median: at(50), p99: at(99) }, best))
    }

    /// Bytes per second to the coordinator, and from it. `latency` is the time of a message without bytes.
    ///
    /// # Errors
    /// As for [`Prober::ping`]; [`ProbeError::Exhausted`] if others have just measured.
    pub async fn bandwidth(&mut self, latency: Duration) -> Result<(f64, f64), ProbeError> {
        let there = self.rate(latency, |bytes| (bytes, 0)).await?;
        let back = self.rate(latency, |bytes| (0, bytes)).await?;
        Ok((there, back))
    }

    async fn rate(
        &mut self,
        latency: Duration,
        direction: impl Fn(usize) -> (usize, usize),
    ) -> Result<f64, ProbeError> {
        let mut rate = 0.0;
        for size in SIZES {
            let (mut bytes, mut spent) = (0, Duration::ZERO);
            let repeats = if size == MOST { REPEATS } else { 1 };
            for _ in 0..repeats {
                let (sent, wanted) = direction(size);
                let begun = Instant::now();
                match self.call(sent, wanted).await {
                    Ok(_) => {}
                    // The messages before it must suffice.
                    Err(ProbeError::Exhausted(_)) if bytes > 0 => {
                        return Ok(bytes as f64 / spent.as_secs_f64());
                    }
                    Err(ProbeError::Exhausted(_)) if rate > 0.0 => return Ok(rate),
                    Err(error) => return Err(error),
                }
                let took = begun.elapsed();
                bytes += size;
                spent += took.saturating_sub(latency).max(Duration::from_micros(1));
                if took > LONG {
                    return Ok(bytes as f64 / spent.as_secs_f64());
                }
            }
            rate = bytes as f64 / spent.as_secs_f64();
        }
        Ok(rate)
    }

    async fn call(&mut self, sent: usize, wanted: usize) -> Result<pb::ProbeReply, ProbeError> {
        let request = pb::ProbeRequest { payload: payload(sent), reply_bytes: wanted as u32 };
        let answer = self.client.probe(self.options.request(request));
        let reply = match tokio::time::timeout(self.options.timeout, answer).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(self.explain(&status)),
            Err(_) => return Err(self.silent().into()),
        };
        if reply.payload.len() == wanted {
            return Ok(reply);
        }
        let why = format!("it sent {} bytes instead of {wanted}", reply.payload.len());
        Err(ConnectError::NotCoordinator { url: self.url.clone(), why }.into())
    }

    fn explain(&self, status: &Status) -> ProbeError {
        match status.code() {
            Code::Unimplemented => ProbeError::Unknown,
            Code::ResourceExhausted => ProbeError::Exhausted(sentence(status.message())),
            _ => ConnectError::of_status(&self.url, status).into(),
        }
    }

    fn silent(&self) -> ConnectError {
        ConnectError::TimedOut { url: self.url.clone(), after: self.options.timeout }
    }
}
