//! What is told of a worker's work as it happens, for figures.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Is told of a worker's work as it happens, on the threads that do it: it must not block.
pub trait WorkerMeter: fmt::Debug + Send + Sync {
    /// A part of a mini-batch (or a replica, in a run with rounds) was computed: its step, its samples, and the time that it took.
    fn computed(&self, step: u64, samples: usize, time: Duration);

    /// Bytes arrived from a coordinator, below TLS.
    fn received(&self, bytes: usize);

    /// Bytes went to a coordinator, below TLS.
    fn sent(&self, bytes: usize);
}

/// A connection whose bytes are counted, if somebody wants to know.
pub(super) struct Metered<S> {
    stream: S,
    meter: Option<Arc<dyn WorkerMeter>>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Option<Arc<dyn WorkerMeter>>) -> Self {
        Self { stream, meter }
    }

    /// Tells of the bytes that a write took.
    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        if let (Some(meter), Poll::Ready(Ok(bytes))) = (&self.meter, polled) {
            meter.sent(*bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if let (Some(meter), true) = (&self.meter, bytes > 0) {
            meter.received(bytes);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[derive(Debug, Default)]
    struct Bytes([AtomicUsize; 2]);

    impl WorkerMeter for Bytes {
        fn computed(&self, _: u64, _: usize, _: Duration) {
            unreachable!("a connection computes nothing")
        }

        fn received(&self, bytes: usize) {
            self.0[0].fetch_add(bytes, Ordering::Relaxed);
        }

        fn sent(&self, bytes: usize) {
            self.0[1].fetch_add(bytes, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn bytes_are_counted_by_direction_and_arrive_unchanged() {
        let meter = Arc::new(Bytes::default());
        // So small that writes are taken in pieces.
        let (near, mut far) = tokio::io::duplex(7);
        let mut near = Metered::new(near, Some(meter.clone()));
        let other = tokio::spawn(async move {
            let mut heard = [0; 100];
            far.read_exact(&mut heard).await.unwrap();
            far.write_all(b"hello").await.unwrap();
            heard
        });
        near.write_all(&[3; 100]).await.unwrap();
        let mut answer = Vec::new();
        let _ = near.read_to_end(&mut answer).await.unwrap();
        assert_eq!((other.await.unwrap(), &answer[..]), ([3; 100], &b"hello"[..]));
        assert_eq!(meter.0.each_ref().map(|bytes| bytes.load(Ordering::Relaxed)), [5, 100]);
    }
}
