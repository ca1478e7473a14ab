//! The way in: connections are accepted, shake hands over TLS, and become requests; or are turned away.
//!
//! ```text
//!   listener ──► rate ──► lobby ──► TLS handshake ──► HTTP/2 ──► gate (token) ──► services
//!                 │         │             │              │           │
//!                 └─ turned away: too fast, too many, too slow, no certificate, too much before the token
//! ```
//!
//! A connection is a *stranger* until it has shown that it may be here, a *guest* until a worker on it has been let in,
//! and a guest again when that worker has gone. Strangers have little time and little memory; of strangers and guests
//! there are never more than a few, and where another one comes the one that has been there the longest from the busiest
//! address must go. Workers at work are touched by none of it.

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
pub(super) use connection::Connection;
pub(super) use gate::Gate;
pub use lobby::{DoorLimits, Refusal};
pub(super) use lobby::{Lobby, Visitor};
pub use rate::Rate;

/// A listening socket, and what is asked of those who dial it.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    security: ServerSecurity,
}

impl Door {
    /// A socket that the caller has bound.
    #[must_use]
    pub fn new(listener: TcpListener, security: ServerSecurity) -> Self {
        Self { listener, security }
    }

    /// Lets everybody in who can reach the socket.
    #[must_use]
    pub fn open(listener: TcpListener) -> Self {
        Self::new(listener, ServerSecurity::default())
    }
}

/// How long a peer may take over its side of the end of a failed handshake.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often the lobby looks for strangers who take too long.
const LOOK: Duration = Duration::from_millis(250);
/// How long to wait where the system has no more files or memory for connections.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Connections that have shaken hands, from all of the doors, until the stream is dropped.
pub(super) fn incoming(
    doors: Vec<Door>,
    lobby: &Arc<Lobby>,
) -> ReceiverStream<Result<Connection, std::io::Error>> {
    let (sender, receiver) = mpsc::channel(1);
    for door in doors {
        tokio::spawn(accept(door, lobby.clone(), sender.clone()));
    }
    tokio::spawn(watch(lobby.clone(), sender));
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
            // Nothing of it is the listener's end: a peer was gone before it was accepted, or there are no more files.
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        // Whom the lobby turns away is gone with its stream.
        if let Some((visitor, cut)) = lobby.enter(address, &security) {
            tokio::spawn(greet(stream, visitor, cut, security.clone(), ready.clone()));
        }
    }
}

/// Takes a connection as far as HTTP/2.
async fn greet(
    stream: TcpStream,
    visitor: Visitor,
    mut cut: lobby::Cut,
    security: Arc<ServerSecurity>,
    ready: Ready,
) {
    // Neither can fail but for a connection that is no more, which will be seen soon enough.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE));
    let Some(config) = security.tls() else {
        let _ = ready.send(Ok(Connection::plain(stream, visitor, cut))).await;
        return;
    };
    let shaken = tokio::select! {
        shaken = TlsAcceptor::from(config.clone()).accept(stream).into_fallible() => shaken,
        // Too slow, or in the way of others: the lobby has said so.
        _ = &mut cut => return,
    };
    match shaken {
        Ok(stream) => {
            if let Some(shown) = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
                visitor
                    .is_certified(CertificateFacts::read(shown).map(|facts| facts.name).unwrap_or_default());
            }
            let _ = ready.send(Ok(Connection::tls(stream, visitor, cut))).await;
        }
        Err((error, mut stream)) => {
            match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
                Some(error) => visitor.refuse(server_words(error)),
                None => visitor.refuse("hung up during the TLS handshake"),
            }
            // The alert that says why has been written; were the socket closed with bytes unread, the peer's system
            // would throw it away.
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

/// Sends strangers away who take too long.
async fn watch(lobby: Arc<Lobby>, ready: Ready) {
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => lobby.send_slow_ones_away(),
            () = ready.closed() => return,
        }
    }
}
