//! Connections: accepted up to a limit, served, and let finish at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::stream::Patient;

/// How long to wait when the system has no files or memory for more connections.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// The most bytes of a request's head, which is also what a connection buffers of a body.
const BUFFER: usize = 64 * 1024;

/// The most headers of a request.
const HEADERS: usize = 64;

/// What a connection gets that is one too many. It has not asked anything yet, and may not be speaking HTTP at all.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 47\r\n\
    retry-after: 1\r\nconnection: close\r\n\r\n{\"error\": \"the server has all its connections\"}";

/// How connections are treated.
#[derive(Clone)]
pub(crate) struct Connections {
    /// The most at once.
    pub(crate) most: usize,
    /// The time for a TLS handshake, and for the head of each request, counted from the answer before it.
    pub(crate) head: Duration,
    /// The time that a client may keep an answer waiting.
    pub(crate) stall: Duration,
    /// The time for what is in flight at the end.
    pub(crate) grace: Duration,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves connections until `shutdown` resolves, then lets the requests in flight finish. Returns the number of connections that
/// did not end in time.
pub(crate) async fn run(
    listener: TcpListener,
    connections: Connections,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> usize {
    run_counting(listener, connections, router, shutdown, &AtomicU64::default()).await
}

/// [`run`], which counts the connections that it turns away because there are too many.
pub(crate) async fn run_counting(
    listener: TcpListener,
    connections: Connections,
    router: Router,
    shutdown: impl Future<Output = ()>,
    turned_away: &AtomicU64,
) -> usize {
    let (end, ending) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(connections.most));
    let mut running = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = running.join_next(), if !running.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // The listener survives it: a peer left before it was accepted, or the system is out of files.
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        match slots.clone().try_acquire_owned() {
            Ok(slot) => {
                let (connections, router, ending) = (connections.clone(), router.clone(), ending.clone());
                running.spawn(async move {
                    greet(stream, connections, router, ending).await;
                    drop(slot);
                });
            }
            Err(_) => {
                // If even that cannot be sent at once, the close says it.
                let _ = stream.try_write(FULL);
                turned_away.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    drop(listener);
    let _ = end.send(true);
    let all = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(connections.grace, all).await.is_ok() { 0 } else { running.len() }
}

/// Leads a connection up to HTTP.
async fn greet(stream: TcpStream, connections: Connections, router: Router, ending: watch::Receiver<bool>) {
    // It fails only on a broken connection, which is noticed soon enough.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, connections.stall);
    match &connections.tls {
        None => talk(stream, connections.head, router, ending).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(connections.head, acceptor.accept(stream)).await {
                talk(stream, connections.head, router, ending).await;
            }
        }
    }
}

/// Serves the requests of a connection, and no more of them once `ending` is true.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    head: Duration,
    router: Router,
    mut ending: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        // An error is the client's: what it sent was not HTTP, or it left.
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_one_connection_too_many_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes", body.len());
    }
}
