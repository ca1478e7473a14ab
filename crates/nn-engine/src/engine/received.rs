//! Received numbers: checked, added and decoded where they lie, in the pieces that they arrived in.

use std::ops::Range;

use bytes::Bytes;
use nn_core::Isa;

use crate::encoding::Encoding;

/// Encoded numbers in the pieces that they arrived in. None of it is copied.
///
/// What a peer sent need not be whole numbers, nor as many as it should be: the engine checks both before it reads them.
#[derive(Debug)]
pub struct Received {
    encoding: Encoding,
    pieces: Vec<Bytes>,
}

impl Received {
    /// Pieces of one encoding, unchecked.
    #[must_use]
    pub fn new(encoding: Encoding, pieces: Vec<Bytes>) -> Self {
        Self { encoding, pieces }
    }

    /// The encoding of the pieces.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The length of the first piece that ends within a block.
    pub(super) fn ragged(&self) -> Option<usize> {
        self.pieces.iter().map(Bytes::len).find(|&len| self.encoding.is_ragged(len))
    }

    /// The numbers in the pieces, a surplus in the last block included.
    pub(super) fn numbers(&self) -> usize {
        self.pieces.iter().map(|piece| self.encoding.numbers_in(piece.len())).sum()
    }

    /// True if no number is NaN or infinite.
    pub(super) fn all_finite(&self, isa: Isa) -> bool {
        self.pieces.iter().all(|piece| self.encoding.all_finite(isa, piece))
    }

    /// The numbers of a range. A block begins at its start.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        debug_assert!(self.encoding.begins_block(range.start));
        let (mut skip, mut want) =
            (self.encoding.bytes_for(range.start), self.encoding.bytes_for(range.len()));
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            let take = want.min(piece.len() - skip);
            if take == 0 {
                break;
            }
            pieces.push(piece.slice(skip..skip + take));
            (skip, want) = (0, want - take);
        }
        Self { encoding: self.encoding, pieces }
    }

    /// Writes the numbers from number `from` on to `out`. A block begins at `from`.
    pub(super) fn read(&self, from: usize, out: &mut [f32]) {
        self.each(from, out, |bytes, out| self.encoding.decode(bytes, out));
    }

    /// Adds the numbers from number `from` on to `sum`. A block begins at `from`.
    pub(super) fn add_to(&self, from: usize, sum: &mut [f32]) {
        self.each(from, sum, |bytes, sum| self.encoding.add(bytes, sum));
    }

    /// Calls `f` with the bytes of each piece and the numbers that they are for.
    fn each(&self, from: usize, mut out: &mut [f32], f: impl Fn(&[u8], &mut [f32])) {
        debug_assert!(self.encoding.begins_block(from));
        let mut skip = self.encoding.bytes_for(from);
        for piece in &self.pieces {
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            let bytes = &piece[skip..];
            let (here, rest) = out.split_at_mut(self.encoding.numbers_in(bytes.len()).min(out.len()));
            f(bytes, here);
            (out, skip) = (rest, 0);
            if out.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(values: &[f32], cuts: &[usize]) -> Received {
        let encoding = Encoding::F32;
        let mut all = vec![0; encoding.bytes_for(values.len())];
        encoding.encode(values, &mut all);
        let all = Bytes::from(all);
        let mut at = 0;
        let mut pieces = Vec::new();
        for &cut in cuts.iter().chain([&values.len()]) {
            pieces.push(all.slice(encoding.bytes_for(at)..encoding.bytes_for(cut)));
            at = cut;
        }
        Received::new(encoding, pieces)
    }

    #[test]
    fn pieces_hold_the_numbers_wherever_they_are_cut() {
        let values: Vec<f32> = (0..23_u8).map(|i| f32::from(i) - 7.5).collect();
        for cuts in [&[][..], &[1], &[5, 5, 20], &[0, 22]] {
            let received = received(&values, cuts);
            assert_eq!((received.numbers(), received.ragged()), (23, None));
            assert!(received.all_finite(Isa::best()));
            for (from, to) in [(0, 23), (3, 3), (4, 9), (5, 20), (22, 23)] {
                let mut out = vec![0.0; to - from];
                received.slice(from..to).read(0, &mut out);
                assert_eq!(out, values[from..to]);
                received.slice(from..to).add_to(0, &mut out);
                assert!(out.iter().zip(&values[from..to]).all(|(&x, &y)| x == y + y));
                received.read(from, &mut out);
                assert_eq!(out, values[from..to]);
                received.slice(2..23).add_to(from.max(2) - 2, &mut out[from.max(2) - from..]);
                assert!(out.iter().zip(&values[from..to]).skip(2).all(|(&x, &y)| x == y + y));
            }
        }
    }

    #[test]
    fn ragged_pieces_and_numbers_that_are_not_finite_are_found() {
        assert!(!received(&[0.0, 1.0, f32::NAN], &[1]).all_finite(Isa::best()));
        assert!(!received(&[f32::INFINITY, 1.0], &[1]).all_finite(Isa::best()));
        let pieces = vec![Bytes::from_static(&[0; 8]), Bytes::from_static(&[0; 7])];
        assert_eq!(Received::new(Encoding::F32, pieces).ragged(), Some(7));
    }
}
