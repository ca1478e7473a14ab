//! The way in: connections are accepted, shake hands over TLS, and become requests; or are refused.
//!
//! ```text
//!   listener ──► rate ──► lobby ──► TLS handshake ──► HTTP/2 ──► gate (token) ──► services
//!                 │         │             │              │           │
//!                 └─ refused: too fast, too many, too slow, no certificate, too many bytes before the token
//! ```
//!
//! A connection is a *stranger* until it authenticates, a *guest* until a worker on it is admitted, and a guest again once
//! that worker has left. Strangers get little time and little memory. The number of strangers and guests is limited: when
//! one more arrives, the oldest one of the busiest address is disconnected. Workers at work are never affected.

mod connection;
mod gate;
mod lobby;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use crate::security::{CertificateFacts, ServerSecurity, server_words};
use crate::wire::TCP_KEEPALIVE;
pub(crate) use connection::Connection;
pub(crate) use gate::Gate;
pub use lobby::{DoorLimits, Refusal};
pub(crate) use lobby::{Lobby, Visitor};
pub use rate::Rate;

/// A listening socket, and what it requires of its clients.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    security: ServerSecurity,
}

impl Door {
    /// A door on a socket that the caller has bound.
    #[must_use]
    pub fn new(listener: TcpListener, security: ServerSecurity) -> Self {
        Self { listener, security }
    }

    /// A door that admits every client that can reach the socket.
    #[must_use]
    pub fn open(listener: TcpListener) -> Self {
        Self::new(listener, ServerSecurity::default())
    }
}

/// How long a peer may take to close its side after a failed handshake.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often the lobby looks for strangers that take too long.
const SWEEP: Duration = Duration::from_millis(250);
/// How long to wait when the system has no files or memory for more connections.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Connections from all doors, after their handshake, until the stream is dropped.
pub(crate) fn incoming(
    doors: Vec<Door>,
    lobby: &Arc<Lobby>,
) -> ReceiverStream<Result<Connection, std::io::Error>> {
    let (sender, receiver) = mpsc::channel(1);
    for door in doors {
        tokio::spawn(accept(door, lobby.clone(), sender.clone()));
    }
    tokio::spawn(sweep(lobby.clone(), sender));
    ReceiverStream::new(receiver)
}

type Ready = mpsc::Sender<Result<Connection, std::io::Error>>;

async fn accept(door: Door, lobby: Arc<Lobby>, ready: Ready) {
    let security = Arc::new(door.security);
    loop {
        let accepted = tokio::select! {
            accepted = door.listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok((stream, address)) = accepted else {
            // The listener survives it: a peer left before it was accepted, or the system is out of files.
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        // A refused connection is closed with its stream.
        if let Some((visitor, cut)) = lobby.enter(address, &security) {
            tokio::spawn(greet(stream, visitor, cut, security.clone(), ready.clone()));
        }
    }
}

/// Leads a connection up to HTTP/2.
async fn greet(
    stream: TcpStream,
    visitor: Visitor,
    mut cut: lobby::Cut,
    security: Arc<ServerSecurity>,
    ready: Ready,
) {
    // Both fail only on a broken connection, which is noticed soon enough.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE));
    let Some(config) = security.tls() else {
        let _ = ready.send(Ok(Connection::plain(stream, visitor, cut))).await;
        return;
    };
    let shaken = tokio::select! {
        shaken = TlsAcceptor::from(config.clone()).accept(stream).into_fallible() => shaken,
        // The lobby has counted it: too slow, or one too many.
        _ = &mut cut => return,
    };
    match shaken {
        Ok(stream) => {
            if let Some(shown) = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
                let name = CertificateFacts::from_der(shown).map(|facts| facts.name);
                visitor.is_certified(name.unwrap_or_default());
            }
            let _ = ready.send(Ok(Connection::tls(stream, visitor, cut))).await;
        }
        Err((error, mut stream)) => {
            match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
                Some(error) => visitor.refuse(server_words(error)),
                None => visitor.refuse("broke off the TLS handshake"),
            }
            // The alert with the reason has been written. If the socket were closed with unread bytes, the peer's system
            // would discard the alert.
            let linger = async {
                let _ = stream.shutdown().await;
                let mut rest = [0; 1024];
                while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
            };
            tokio::select! {
                _ = tokio::time::timeout(FAREWELL, linger) => {}
                _ = &mut cut => {}
            }
        }
    }
}

/// Disconnects strangers that take too long.
async fn sweep(lobby: Arc<Lobby>, ready: Ready) {
    let mut interval = tokio::time::interval(SWEEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => lobby.disconnect_slow_strangers(),
            () = ready.closed() => return,
        }
    }
}
