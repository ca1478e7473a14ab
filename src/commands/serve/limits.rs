//! What requests may take: how many at once, how long, and how many bytes, each and together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use axum::http::StatusCode;

use crate::http::Refusal;

/// The bytes that the bodies of all requests and answers take together, unless a single body may be larger than a quarter of
/// it.
const TOGETHER: usize = 64 << 20;

/// The unit of memory that is counted.
const KIB: usize = 1024;

/// The bytes by which a growing body is counted.
const STEP: usize = 64 * KIB;

/// The limits of all requests.
#[derive(Debug)]
pub(super) struct Limits {
    max_body: usize,
    timeout: Duration,
    requests: Arc<Semaphore>,
    /// In KiB.
    memory: Arc<Semaphore>,
}

/// A body, and the memory that it is counted with.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// The bytes, and what counts them: it must live as long as they do.
    pub(super) fn into_parts(self) -> (Vec<u8>, Option<OwnedSemaphorePermit>) {
        (self.bytes, self.memory)
    }
}

impl Limits {
    pub(super) fn new(max_body: usize, max_requests: usize, timeout: Duration) -> Self {
        let together = TOGETHER.max(4 * max_body);
        Self {
            max_body,
            timeout,
            requests: Arc::new(Semaphore::new(max_requests)),
            memory: Arc::new(Semaphore::new(together / KIB)),
        }
    }

    /// The largest body of a request, in bytes.
    pub(super) fn max_body(&self) -> usize {
        self.max_body
    }

    /// Does the work of a request, if there is room for one more, within the time that a request has.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let Ok(_slot) = self.requests.try_acquire() else {
            return Err(Refusal::busy("as many requests as the server takes are running; try again"));
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(Refusal::unavailable(format_args!(
                "there was no answer within {} seconds; try again, or send fewer samples",
                self.timeout.as_secs()
            ))),
        }
    }

    /// Reads a body whose head says that it has `length` bytes, if it says so. Memory is counted as it arrives, so that a
    /// promise costs nothing.
    pub(super) async fn read(&self, mut body: Body, length: Option<u64>) -> Result<Held, Refusal> {
        let too_large = || {
            let most = self.max_body;
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format_args!(
                    "the body has more than {most} bytes; send fewer samples at once, or start nn serve with a larger --max-body"
                ),
            )
        };
        if length.is_some_and(|length| length > self.max_body as u64) {
            return Err(too_large());
        }
        let mut held = Held { bytes: Vec::new(), memory: None };
        let mut counted = 0;
        // Half of a request's time, so that a slow body is told from slow work.
        let reading = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Refusal::bad("the body broke off"))?;
                let Ok(data) = frame.into_data() else { continue };
                let size = held.bytes.len() + data.len();
                if size > self.max_body {
                    return Err(too_large());
                }
                if size > counted {
                    let step = (size - counted).div_ceil(STEP) * STEP;
                    self.count(&mut held, step)?;
                    counted += step;
                }
                held.bytes.extend_from_slice(&data);
            }
            Ok(())
        };
        match tokio::time::timeout(self.timeout / 2, reading).await {
            Ok(read) => read.map(|()| held),
            Err(_) => Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format_args!("the body did not arrive within {} seconds", self.timeout.as_secs_f32() / 2.0),
            )),
        }
    }

    /// Counts more memory for a body, if there is any.
    fn count(&self, held: &mut Held, bytes: usize) -> Result<(), Refusal> {
        let Ok(more) = self.memory.clone().try_acquire_many_owned(in_kib(bytes)) else {
            return Err(Refusal::busy(
                "the requests that are running take all the memory there is; try again",
            )
            .because("memory"));
        };
        match &mut held.memory {
            Some(memory) => memory.merge(more),
            None => held.memory = Some(more),
        }
        Ok(())
    }

    /// An answer, counted until it has been sent.
    pub(super) async fn hold(&self, bytes: Vec<u8>) -> Result<Bytes, Refusal> {
        let all = self.memory.clone().acquire_many_owned(in_kib(bytes.len())).await;
        let memory = all.map_err(|_| Refusal::unavailable("the server is about to end").because("ending"))?;
        Ok(Bytes::from_owner(Held { bytes, memory: Some(memory) }))
    }
}

fn in_kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}
