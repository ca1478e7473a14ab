//! Memory that is used again: fresh memory of some megabytes costs as much as filling it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use nn_engine::Encoding;

/// Buffers kept for another use. Those that stay on the wire for long are not waited for.
const KEPT: usize = 16;

/// Numbers whose memory is their encoding, so that they are sent without a copy. Their buffer returns to its pool once it
/// has been sent.
#[derive(Debug)]
pub(crate) struct Sealed {
    values: Vec<f32>,
    encoding: Encoding,
    pool: Pool,
}

impl Sealed {
    /// The encoding that the memory holds.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The number of numbers.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.values)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.pool.put_back(std::mem::take(&mut self.values));
    }
}

/// Buffers of numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<f32>>>>);

impl Pool {
    /// A buffer of `len` numbers, whose values mean nothing.
    pub(crate) fn take(&self, len: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match free.iter().position(|buffer| buffer.len() == len) {
            Some(at) => free.swap_remove(at),
            None => nn_core::zeroed(len),
        }
    }

    /// Takes a buffer for another use.
    pub(crate) fn put_back(&self, buffer: Vec<f32>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(buffer);
        }
    }

    /// Encodes numbers in place. Nobody changes them until they return to the pool.
    pub(crate) fn seal(&self, encoding: Encoding, mut values: Vec<f32>) -> Sealed {
        encoding.encode_in_place(&mut values);
        Sealed { values, encoding, pool: self.clone() }
    }
}

/// Memory of messages that were sent.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Bytes>);

impl Spares {
    /// An empty buffer, with room for so many bytes if a free one is large enough.
    pub(super) fn take(&mut self, bytes: usize) -> BytesMut {
        // The smallest that is large enough, among those that nobody holds.
        let fits = |spare: &&Bytes| spare.is_unique() && spare.len() >= bytes;
        let best = self.0.iter().filter(fits).map(Bytes::len).min();
        let at =
            best.and_then(|best| self.0.iter().position(|spare| spare.is_unique() && spare.len() == best));
        let spare = at.map(|at| self.0.swap_remove(at)).and_then(|spare| spare.try_into_mut().ok());
        let mut buffer = spare.unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Keeps a buffer for use once all other references to it are gone.
    pub(super) fn keep(&mut self, bytes: &Bytes) {
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(bytes.clone());
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn memory_is_used_again_once_nobody_holds_it() {
        let mut spares = Spares::default();
        let mut first = spares.take(1000);
        first.put_slice(&[1; 1000]);
        let first = first.freeze();
        let at = first.as_ptr();
        spares.keep(&first);
        assert_eq!(spares.take(500).capacity(), 0, "somebody still reads it");
        drop(first);
        assert_eq!(spares.take(2000).capacity(), 0, "it is too small");
        let again = spares.take(900);
        assert!(again.is_empty() && again.capacity() >= 1000 && again.as_ptr() == at);
    }
}
