//! What both ends of a probe share.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::CHUNK;

/// The most bytes that a probe carries in each direction.
pub(crate) const MOST: usize = CHUNK;

/// Incompressible bytes. All probes share one copy.
pub(crate) fn payload(length: usize) -> Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut state = 1_u64;
        let mut next = || {
            // xorshift64*.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        };
        (0..MOST).map(|_| next()).collect()
    });
    noise.slice(..length.min(MOST))
}

/// This machine's clock, in microseconds since 1970, UTC. A probe compares the clocks of two machines; nothing else in this
/// module reads the date.
#[allow(clippy::disallowed_methods)]
pub(crate) fn unix_micros() -> i64 {
    let micros = |time: std::time::Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}
