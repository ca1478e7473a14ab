//! What both ends share: messages, tensors, the stream's bytes, and the numbers that they agree on.
//!
//! Types of the protocol end here: what leaves this module has been checked.

pub(crate) mod convert;
pub(crate) mod error;
pub(crate) mod outbox;
pub(crate) mod probe;
pub(crate) mod stream;
pub(crate) mod tensor;

use std::time::Duration;

/// The largest chunk of a tensor or of the training set.
pub(crate) const CHUNK: usize = 1 << 20;

/// The largest message that is read: a chunk and what is around it. It does not depend on tonic's 4 MiB.
pub(crate) const MAX_MESSAGE: usize = CHUNK + 64 * 1024;

/// HTTP/2 windows. With 64 KiB, the default, a connection carries 64 KiB a round trip.
pub(crate) const STREAM_WINDOW: u32 = 16 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 64 << 20;

/// HTTP/2 frames: large ones, so that a chunk is few of them.
pub(crate) const MAX_FRAME: u32 = 1 << 20;

/// How often HTTP/2 asks a silent peer whether it is there, and how long it may take to answer.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(10);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the system asks, below HTTP/2.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// This program, for people.
pub(crate) const BUILD: &str = concat!("nn ", env!("CARGO_PKG_VERSION"));

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
