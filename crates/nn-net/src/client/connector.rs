//! Connects tonic over TCP, and TLS above it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;

use super::meter::{Metered, WorkerMeter};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections for tonic.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tcp: HttpConnector,
    pub(super) tls: Option<Tls>,
    /// The longest that a TLS handshake may take.
    pub(super) timeout: Duration,
    /// Receives the kind of the first bytes of the first connection, if it is without TLS.
    pub(super) first: Arc<Mutex<Option<oneshot::Sender<First>>>>,
    /// Is told of the bytes.
    pub(super) meter: Option<Arc<dyn WorkerMeter>>,
}

/// The TLS to speak, and the name that the server's certificate must have.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// How the bytes of a connection without TLS begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// With an alert: the server speaks TLS and did not understand.
    TlsAlert,
    /// With anything else.
    Other,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.tcp.call(uri);
        let tls = self.tls.clone();
        let timeout = self.timeout;
        let meter = self.meter.clone();
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            let stream = Metered::new(connecting.await?.into_inner(), meter);
            let Some(tls) = tls else {
                return Ok(TokioIo::new(Connection::Plain { stream, first }));
            };
            let shaken = tokio::time::timeout(timeout, shake_hands(tls, stream)).await;
            let connection = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(TokioIo::new(connection))
        })
    }
}

/// Shakes hands and reads the server's first byte. In TLS 1.3 a client finishes its handshake before the server has checked
/// its certificate; an HTTP/2 server speaks as soon as it accepts it, and otherwise sends an alert with the reason.
async fn shake_hands(tls: Tls, stream: Metered<TcpStream>) -> io::Result<Connection> {
    let mut stream = TlsConnector::from(tls.config).connect(tls.name, stream).await?;
    let mut first = [0];
    match stream.read(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(Connection::Tls { stream: Box::new(stream), first: Some(first[0]) }),
    }
}

/// The first bytes of the alert with which a TLS server answers a client that does not speak TLS. In HTTP/2 they would
/// begin a frame of more than a megabyte, as the first frame of all.
const TLS_ALERT: [u8; 2] = [21, 3];

/// A connection to a coordinator.
pub(super) enum Connection {
    Plain {
        stream: Metered<TcpStream>,
        /// Receives the kind of the first bytes.
        first: Option<oneshot::Sender<First>>,
    },
    Tls {
        stream: Box<TlsStream<Metered<TcpStream>>>,
        /// The byte that the handshake read ahead.
        first: Option<u8>,
    },
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { stream, first } => {
                let before = buffer.filled().len();
                let polled = Pin::new(stream).poll_read(context, buffer);
                let read = &buffer.filled()[before..];
                if !read.is_empty()
                    && let Some(first) = first.take()
                {
                    let what = if read.starts_with(&TLS_ALERT) { First::TlsAlert } else { First::Other };
                    let _ = first.send(what);
                }
                polled
            }
            Self::Tls { stream, first } => {
                if buffer.remaining() > 0
                    && let Some(byte) = first.take()
                {
                    buffer.put_slice(&[byte]);
                    return Poll::Ready(Ok(()));
                }
                Pin::new(&mut **stream).poll_read(context, buffer)
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_write(context, bytes),
            Self::Tls { stream, .. } => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls { stream, .. } => Pin::new(&mut **stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain { stream, .. } => stream.is_write_vectored(),
            Self::Tls { stream, .. } => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_flush(context),
            Self::Tls { stream, .. } => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_shutdown(context),
            Self::Tls { stream, .. } => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
