//! Received numbers: checked, added and decoded where they lie, in the pieces that they came in.

use bytes::Bytes;

/// Little-endian `f32` in pieces of whole numbers, together as many as belong to what they are.
#[derive(Debug)]
pub(super) struct Wire(Vec<Bytes>);

/// Numbers that are looked at between two looks at whether to stop.
const BLOCK: usize = 1 << 14;

impl Wire {
    /// No piece may be [`ragged`].
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        Self(pieces)
    }

    /// The numbers of a range, without copying them.
    pub(super) fn slice(&self, from: usize, to: usize) -> Self {
        let (mut skip, mut want) = (from * 4, (to - from) * 4);
        let mut pieces = Vec::new();
        for piece in &self.0 {
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
        Self(pieces)
    }

    /// Writes the numbers from number `from` on to `out`.
    pub(super) fn read(&self, from: usize, out: &mut [f32]) {
        self.each(from, out, |x, y| *x = y);
    }

    /// Adds the numbers from number `from` on to `sum`.
    pub(super) fn add_to(&self, from: usize, sum: &mut [f32]) {
        self.each(from, sum, |x, y| *x += y);
    }

    fn each(&self, from: usize, mut out: &mut [f32], f: impl Fn(&mut f32, f32)) {
        let mut skip = from * 4;
        for piece in &self.0 {
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            let numbers = piece[skip..].as_chunks::<4>().0;
            let (here, rest) = out.split_at_mut(numbers.len().min(out.len()));
            for (x, bytes) in here.iter_mut().zip(numbers) {
                f(x, f32::from_le_bytes(*bytes));
            }
            (out, skip) = (rest, 0);
            if out.is_empty() {
                return;
            }
        }
    }
}

/// The first piece that ends within a number.
pub(super) fn ragged(pieces: &[Bytes]) -> Option<usize> {
    pieces.iter().map(Bytes::len).find(|len| !len.is_multiple_of(4))
}

/// How many numbers the pieces hold.
pub(super) fn numbers(pieces: &[Bytes]) -> usize {
    pieces.iter().map(|piece| piece.len() / 4).sum()
}

/// True if no number is NaN or infinite.
pub(super) fn all_finite(pieces: &[Bytes]) -> bool {
    // Blocks, so that the loop inside has no exit and becomes vector code.
    pieces.iter().flat_map(|piece| piece.as_chunks::<4>().0.chunks(BLOCK)).all(|block| {
        let bad = block.iter().fold(0_u32, |bad, bytes| {
            bad | u32::from(u32::from_le_bytes(*bytes) & 0x7f80_0000 == 0x7f80_0000)
        });
        bad == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(values: &[f32], cuts: &[usize]) -> Vec<Bytes> {
        let all: Bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>().into();
        let mut at = 0;
        let mut out = Vec::new();
        for &cut in cuts.iter().chain([&values.len()]) {
            out.push(all.slice(at * 4..cut * 4));
            at = cut;
        }
        out
    }

    #[test]
    fn pieces_are_the_numbers_wherever_they_are_cut() {
        let values: Vec<f32> = (0..23_u8).map(|i| f32::from(i) - 7.5).collect();
        for cuts in [&[][..], &[1], &[5, 5, 20], &[0, 22]] {
            let pieces = pieces(&values, cuts);
            assert_eq!((numbers(&pieces), ragged(&pieces)), (23, None));
            assert!(all_finite(&pieces));
            let wire = Wire::new(pieces);
            for (from, to) in [(0, 23), (3, 3), (4, 9), (5, 20), (22, 23)] {
                let mut out = vec![0.0; to - from];
                wire.slice(from, to).read(0, &mut out);
                assert_eq!(out, values[from..to]);
                wire.slice(from, to).add_to(0, &mut out);
                assert!(out.iter().zip(&values[from..to]).all(|(&x, &y)| x == y + y));
                wire.read(from, &mut out);
                assert_eq!(out, values[from..to]);
                wire.slice(2, 23).add_to(from.max(2) - 2, &mut out[from.max(2) - from..]);
                assert!(out.iter().zip(&values[from..to]).skip(2).all(|(&x, &y)| x == y + y));
            }
        }
    }

    #[test]
    fn what_is_not_finite_or_not_whole_is_found() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            for at in [0, 1, BLOCK, 2 * BLOCK] {
                let mut values = vec![f32::MAX; 2 * BLOCK + 1];
                assert!(all_finite(&pieces(&values, &[BLOCK + 1])));
                values[at] = bad;
                assert!(!all_finite(&pieces(&values, &[BLOCK + 1])), "{bad} at {at}");
            }
        }
        assert_eq!(ragged(&[Bytes::from_static(&[0; 8]), Bytes::from_static(&[0; 7])]), Some(7));
    }
}
