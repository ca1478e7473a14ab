//! What both ends share: messages, tensors, the bytes of a stream, and agreed limits.
//!
//! Wire types stop here: what leaves this module has been checked.

pub(crate) mod convert;
pub(crate) mod ends;
pub(crate) mod error;
pub(crate) mod outbox;
pub(crate) mod probe;
pub(crate) mod stream;
pub(crate) mod tensor;

use std::time::Duration;

use nn_engine::Encoding;

/// The largest chunk of a tensor or of the training set, in bytes.
pub(crate) const CHUNK: usize = 1 << 20;

/// The numbers in a full chunk of a tensor.
pub(crate) const fn numbers_in_chunk(encoding: Encoding) -> usize {
    encoding.numbers_in(CHUNK)
}

/// The largest message that is read: a chunk and its envelope. tonic's limit of 4 MiB does not apply.
pub(crate) const MAX_MESSAGE: usize = CHUNK + 64 * 1024;

/// HTTP/2 windows. The default of 64 KiB would limit a connection to 64 KiB per round trip.
pub(crate) const STREAM_WINDOW: u32 = 16 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 64 << 20;

/// HTTP/2 frames: large enough for a whole chunk.
pub(crate) const MAX_FRAME: u32 = CHUNK as u32;

/// How often HTTP/2 pings a silent peer, and how long the peer may take to answer.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(10);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the system probes an idle connection, below HTTP/2.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The name and version of this program, for people.
pub(crate) const BUILD: &str = concat!("nn ", env!("CARGO_PKG_VERSION"));

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
