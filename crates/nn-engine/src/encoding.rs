//! How numbers become bytes on the wire: the one place that knows how many bytes a number takes.
//!
//! The network asks an [`Encoding`] for lengths and has it write and read; the engine reduces received bytes with it. Neither
//! knows the layout. A lossy form enters as one more variant: the compiler then lists every function here that must learn it.
//! Outside this file, `Encoding::F32` appears where a run's choice of encoding enters.
//!
//! An encoding writes *blocks*: the fewest numbers that can be read on their own, such as one `f32`, or 256 integers that
//! share a scale. Pieces are cut between blocks, and ranges begin at one. A tensor ends with a whole block, whose surplus
//! numbers mean nothing.

use std::ops::Range;
use std::sync::LazyLock;

use nn_core::{
    BLOCK_OF_4, BLOCK_OF_8, DELTA_BLOCK, DeltaBits, Integers, Isa, NotCompact, add_4, add_8, all_finite_le,
    blocks_are_finite, compact, decode_4, decode_8, encode_8, expand,
};

use crate::halves;

/// How numbers become bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// Little-endian binary32. It is exact.
    F32,
    /// Blocks of 256 eight-bit integers that share a power of two, to nearest: see [`nn_core::encode_8`].
    I8,
    /// Blocks of 256 four-bit integers that share a power of two: see [`nn_core::encode_4`] and
    /// [`nn_core::encode_4_to_nearest`].
    I4,
}

/// The size of an encoding's blocks.
struct Block {
    numbers: usize,
    bytes: usize,
}

/// The instructions to decode with. All give the same numbers.
static ISA: LazyLock<Isa> = LazyLock::new(Isa::best);

impl Encoding {
    /// The encoding of differences with so many bits.
    pub(crate) const fn of_bits(bits: DeltaBits) -> Self {
        match bits {
            DeltaBits::Exact => Self::F32,
            DeltaBits::Eight => Self::I8,
            DeltaBits::Four => Self::I4,
        }
    }

    #[inline]
    const fn block(self) -> Block {
        match self {
            Self::F32 => Block { numbers: 1, bytes: 4 },
            Self::I8 => Block { numbers: DELTA_BLOCK, bytes: BLOCK_OF_8 },
            Self::I4 => Block { numbers: DELTA_BLOCK, bytes: BLOCK_OF_4 },
        }
    }

    /// A count of numbers, rounded up to whole blocks.
    #[inline]
    #[must_use]
    pub const fn whole_blocks(self, numbers: usize) -> usize {
        numbers.next_multiple_of(self.block().numbers)
    }

    /// The bytes that `numbers` numbers take.
    ///
    /// ```
    /// use nn_engine::Encoding;
    /// assert_eq!(Encoding::F32.bytes_for(1000), 4000);
    /// ```
    #[inline]
    #[must_use]
    pub const fn bytes_for(self, numbers: usize) -> usize {
        self.whole_blocks(numbers) / self.block().numbers * self.block().bytes
    }

    /// The numbers in so many bytes: those of whole blocks.
    #[inline]
    #[must_use]
    pub const fn numbers_in(self, bytes: usize) -> usize {
        bytes / self.block().bytes * self.block().numbers
    }

    /// Whether a piece of so many bytes ends within a block.
    #[inline]
    #[must_use]
    pub const fn is_ragged(self, bytes: usize) -> bool {
        !bytes.is_multiple_of(self.block().bytes)
    }

    /// Whether a block begins at number `at`.
    #[inline]
    #[must_use]
    pub const fn begins_block(self, at: usize) -> bool {
        at.is_multiple_of(self.block().numbers)
    }

    /// Writes numbers to `out`, which has [`bytes_for`](Self::bytes_for) them.
    ///
    /// # Panics
    /// For [`Encoding::I4`], which needs a replica's keys: see [`Replica::difference`](crate::Replica::difference).
    pub fn encode(self, numbers: &[f32], out: &mut [u8]) {
        match self {
            Self::F32 => {
                for (to, number) in out.as_chunks_mut().0.iter_mut().zip(numbers) {
                    *to = number.to_le_bytes();
                }
            }
            Self::I8 => {
                encode_8(*ISA, numbers, out);
            }
            Self::I4 => unreachable!("only replicas write four bits"),
        }
    }

    /// Rewrites numbers so that their memory is their encoding, which saves a copy.
    ///
    /// # Panics
    /// For blocks of integers.
    pub fn encode_in_place(self, numbers: &mut [f32]) {
        match self {
            Self::F32 if cfg!(target_endian = "big") => {
                for number in numbers {
                    *number = f32::from_bits(number.to_bits().to_le());
                }
            }
            Self::F32 => {}
            Self::I8 | Self::I4 => unreachable!("blocks are shorter than their numbers"),
        }
    }

    /// Reads the first `out.len()` numbers of bytes that begin with a block and hold as many.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => {
                for (x, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *x = f32::from_le_bytes(*bytes);
                }
            }
            Self::I8 => decode_8(*ISA, bytes, out),
            Self::I4 => decode_4(*ISA, bytes, out),
        }
    }

    /// Adds the first `sum.len()` numbers of bytes that begin with a block and hold as many.
    pub fn add(self, bytes: &[u8], sum: &mut [f32]) {
        match self {
            Self::F32 => {
                for (x, bytes) in sum.iter_mut().zip(bytes.as_chunks().0) {
                    *x += f32::from_le_bytes(*bytes);
                }
            }
            Self::I8 => add_8(*ISA, bytes, sum),
            Self::I4 => add_4(*ISA, bytes, sum),
        }
    }

    /// The integers of blocks that have a compact form without loss; `None` for numbers that have none.
    const fn integers(self) -> Option<Integers> {
        match self {
            Self::F32 => None,
            Self::I8 => Some(Integers::Eight),
            Self::I4 => Some(Integers::Four),
        }
    }

    /// The compact form of whole blocks ([`nn_core::compact`]), if they are of integers and it is shorter.
    #[must_use]
    pub fn compacted(self, blocks: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(blocks.len());
        compact(*ISA, self.integers()?, blocks, &mut out);
        (out.len() < blocks.len()).then_some(out)
    }

    /// The compact form of f32 numbers of which those in the `rounded` ranges are only needed as bf16, if it is shorter. Groups of 256
    /// numbers that are all in such a range take 2 bytes a number.
    #[must_use]
    pub fn compacted_to_bf16(numbers: &[f32], rounded: &[Range<usize>]) -> Option<Vec<u8>> {
        let out = halves::narrow(numbers, rounded);
        (out.len() < Self::F32.bytes_for(numbers.len())).then_some(out)
    }

    /// The blocks of a compact form, which are `length` bytes.
    ///
    /// # Errors
    /// If it is not the compact form of so many bytes.
    pub fn expanded(self, compact: &[u8], length: usize) -> Result<Vec<u8>, NotCompact> {
        if self.is_ragged(length) {
            return Err(NotCompact);
        }
        let Some(integers) = self.integers() else { return halves::widen(compact, length) };
        let mut blocks = vec![0; length];
        expand(*ISA, integers, compact, &mut blocks)?;
        Ok(blocks)
    }

    /// True if no number of whole blocks is NaN or infinite.
    #[must_use]
    pub fn all_finite(self, isa: Isa, bytes: &[u8]) -> bool {
        match self {
            Self::F32 => all_finite_le(isa, bytes.as_chunks().0),
            Self::I8 => blocks_are_finite(bytes, BLOCK_OF_8),
            Self::I4 => blocks_are_finite(bytes, BLOCK_OF_4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(numbers: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; Encoding::F32.bytes_for(numbers.len())];
        Encoding::F32.encode(numbers, &mut bytes);
        bytes
    }

    #[test]
    fn f32_is_little_endian_and_exact() {
        let numbers = [1.0, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX];
        let bytes = encoded(&numbers);
        assert_eq!(bytes[..4], [0, 0, 0x80, 0x3f]);
        let mut decoded = [7.0; 4];
        Encoding::F32.decode(&bytes, &mut decoded);
        assert_eq!(decoded.map(f32::to_bits), numbers.map(f32::to_bits));
        let mut sum = [1.0, 2.0];
        Encoding::F32.add(&bytes[4..], &mut sum);
        assert_eq!(sum, [1.0, 2.0]);
        let mut sent = numbers;
        Encoding::F32.encode_in_place(&mut sent);
        assert_eq!(sent.map(f32::to_ne_bytes).concat(), bytes);
    }

    #[test]
    fn lengths_agree() {
        for numbers in [0, 1, 7, 1 << 20] {
            let bytes = Encoding::F32.bytes_for(numbers);
            assert_eq!(Encoding::F32.numbers_in(bytes), Encoding::F32.whole_blocks(numbers));
            assert!(!Encoding::F32.is_ragged(bytes) && Encoding::F32.is_ragged(bytes + 1));
            assert_eq!(Encoding::F32.numbers_in(bytes + 3), numbers);
        }
    }

    #[test]
    fn a_number_that_is_not_finite_is_found_anywhere() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            for at in [0, 1, 4096, 8192] {
                let mut numbers = vec![f32::MAX; 8193];
                assert!(Encoding::F32.all_finite(Isa::best(), &encoded(&numbers)));
                numbers[at] = bad;
                assert!(!Encoding::F32.all_finite(Isa::best(), &encoded(&numbers)), "{bad} at {at}");
            }
        }
    }
}
