//! Differences of weights as few bits: blocks of integers that share a power of two.
//!
//! A block holds 256 numbers. Its scale is the smallest power of two with which the largest of them fits: each number is
//! a small integer times the scale. So coding and decoding are exact functions of bits, the same on every processor,
//! and a decoded number is an `f32` without rounding. In bytes a block is the biased exponent of its scale (0 if all
//! numbers are 0, 255 if one is too large, infinite or NaN), and then its integers. The last block of a run of numbers
//! is filled up with zeros.
//!
//! With eight bits numbers are rounded to the nearest integer, ties to even. With four a replica's are rounded at random, up
//! or down, so that their mean is right; the random number is addressed by (seed, round, replica, index). An update of
//! four bits is rounded to nearest as well: what it does not say is said later.

use serde::{Deserialize, Serialize};

use crate::names::names;
use crate::random::mixed;

/// Numbers in a block.
pub const DELTA_BLOCK: usize = 256;

/// How a replica's difference becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeltaBits {
    /// As it is, as `f32`.
    #[serde(rename = "32")]
    Exact,
    /// Integers from −127 to 127, rounded to nearest.
    #[serde(rename = "8")]
    Eight,
    /// Integers from −7 to 7, rounded at random.
    #[serde(rename = "4")]
    Four,
}

names!(DeltaBits { Exact = "32", Eight = "8", Four = "4" });

/// The exponent byte of a block with a number that is too large, infinite or NaN.
const BAD: u8 = 255;

/// The bits of 2¹²⁰. A difference of weights as large as that means that the run has diverged.
const TOO_LARGE: u32 = (127 + 120) << 23;

/// The largest exponent byte of a good block. With it the greatest integer still gives a finite number.
const LARGEST: u8 = 127 + 120;

/// 1.5 · 2²³: a number of up to 2²² plus this one is rounded to an integer, ties to even, which is in the low bits.
const ROUND: f32 = 12_582_912.0;

/// The exponent byte of the smallest power of two s with max |x| / s ≤ `most`.
#[inline(always)]
fn exponent(values: &[f32; DELTA_BLOCK], most: f32) -> u8 {
    // Without its sign an `f32` is in the order of its bits, NaN and infinity last.
    let largest = values.iter().fold(0_u32, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
    if largest >= TOO_LARGE {
        return BAD;
    }
    if largest == 0 {
        return 0;
    }
    let bits = (f32::from_bits(largest) / most).to_bits();
    let above = u32::from(bits & 0x007f_ffff != 0);
    ((bits >> 23) + above).max(1) as u8
}

/// The scale of a good block, and its inverse. Both are exact.
#[inline(always)]
fn scales(exponent: u8) -> [f32; 2] {
    match exponent {
        0 | BAD => [0.0, 0.0],
        _ => [f32::from_bits(u32::from(exponent) << 23), f32::from_bits((254 - u32::from(exponent)) << 23)],
    }
}

/// Calls `f` for every block of numbers and its bytes; the last block is filled up with zeros.
#[inline(always)]
fn blocks<const BYTES: usize>(
    values: &[f32],
    out: &mut [u8],
    mut f: impl FnMut(&[f32; DELTA_BLOCK], &mut [u8; BYTES]),
) {
    let (whole, rest) = values.as_chunks::<DELTA_BLOCK>();
    let (blocks, _) = out.as_chunks_mut::<BYTES>();
    for (values, out) in whole.iter().zip(blocks.iter_mut()) {
        f(values, out);
    }
    if !rest.is_empty()
        && let Some(out) = blocks.get_mut(whole.len())
    {
        let mut padded = [0.0; DELTA_BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        f(&padded, out);
    }
}

/// The bytes of a block of eight-bit integers.
pub const BLOCK_OF_8: usize = 1 + DELTA_BLOCK;
/// The bytes of a block of four-bit integers.
pub const BLOCK_OF_4: usize = 1 + DELTA_BLOCK / 2;

#[inline(always)]
fn encode_8_body(values: &[f32], out: &mut [u8]) -> bool {
    let mut finite = true;
    blocks::<BLOCK_OF_8>(values, out, |values, out| {
        let exponent = exponent(values, 127.0);
        finite &= exponent != BAD;
        let [_, inverse] = scales(exponent);
        let (head, integers) = out.split_at_mut(1);
        head[0] = exponent;
        for (q, &x) in integers.iter_mut().zip(values) {
            // In a bad block 0 · NaN would be NaN, so the integers are set below.
            *q = (x * inverse + ROUND).to_bits() as u8;
        }
        if exponent == BAD {
            integers.fill(0);
        }
    });
    finite
}

multiversion! {
    /// Encodes numbers as eight-bit integers into whole blocks of [`BLOCK_OF_8`] bytes. False if one of them is too
    /// large, infinite or NaN.
    pub fn encode_8(values: &[f32], out: &mut [u8]) -> bool = encode_8_body
}

/// A random number in (−½, ½) for the number at `index`.
#[inline(always)]
fn noise(keys: [u32; 2], index: u32) -> f32 {
    let x = mixed(keys, index);
    // Through i32, for which processors have an instruction; 24 bits fit.
    (x >> 8) as i32 as f32 * (1.0 / 16_777_216.0) - (0.5 - 1.0 / 33_554_432.0)
}

#[inline(always)]
fn encode_4_body(keys: [u32; 2], first: u32, values: &[f32], out: &mut [u8]) -> bool {
    write_4(first, values, out, |index| noise(keys, index))
}

#[inline(always)]
fn encode_4_to_nearest_body(values: &[f32], out: &mut [u8]) -> bool {
    write_4(0, values, out, |_| 0.0)
}

/// Writes blocks of four-bit integers, each rounded after `noise` of its index was added.
#[inline(always)]
fn write_4(first: u32, values: &[f32], out: &mut [u8], noise: impl Fn(u32) -> f32) -> bool {
    let (mut finite, mut index) = (true, first);
    blocks::<BLOCK_OF_4>(values, out, |values, out| {
        let exponent = exponent(values, 7.0);
        finite &= exponent != BAD;
        let [_, inverse] = scales(exponent);
        let mut integers = [0_i8; DELTA_BLOCK];
        for (i, (q, &x)) in integers.iter_mut().zip(values).enumerate() {
            let rounded = x * inverse + noise(index.wrapping_add(i as u32)) + ROUND;
            // 7 and the greatest noise may make 8.
            *q = (rounded.to_bits() as i8).clamp(-7, 7);
        }
        // Zeros stay zeros, so that what fills up the last block means nothing.
        if exponent == BAD || exponent == 0 {
            integers.fill(0);
        }
        out[0] = exponent;
        for (byte, pair) in out[1..].iter_mut().zip(integers.as_chunks::<2>().0) {
            *byte = (pair[0] as u8 & 15) | (pair[1] as u8) << 4;
        }
        index = index.wrapping_add(DELTA_BLOCK as u32);
    });
    finite
}

multiversion! {
    /// Encodes numbers as four-bit integers into whole blocks of [`BLOCK_OF_4`] bytes, rounding at random: `keys` are
    /// those of the replica ([`rounding_keys`](crate::rounding_keys)), and `first` is the index of the first number
    /// among the parameters. False if one of them is too large, infinite or NaN.
    pub fn encode_4(keys: [u32; 2], first: u32, values: &[f32], out: &mut [u8]) -> bool = encode_4_body
}

multiversion! {
    /// Encodes numbers as four-bit integers into whole blocks of [`BLOCK_OF_4`] bytes, rounding to nearest, ties to even.
    /// False if one of them is too large, infinite or NaN.
    pub fn encode_4_to_nearest(values: &[f32], out: &mut [u8]) -> bool = encode_4_to_nearest_body
}

/// Reads the first `out.len()` numbers of blocks; `put` gets the place of each number, and the number.
#[inline(always)]
fn read_8(bytes: &[u8], out: &mut [f32], put: impl Fn(&mut f32, f32)) {
    for (block, out) in bytes.as_chunks::<BLOCK_OF_8>().0.iter().zip(out.chunks_mut(DELTA_BLOCK)) {
        if block[0] == BAD {
            out.fill(f32::NAN);
            continue;
        }
        let [scale, _] = scales(block[0]);
        for (x, &q) in out.iter_mut().zip(&block[1..]) {
            put(x, f32::from(q as i8) * scale);
        }
    }
}

/// [`read_8`] for four-bit integers.
#[inline(always)]
fn read_4(bytes: &[u8], out: &mut [f32], put: impl Fn(&mut f32, f32)) {
    for (block, out) in bytes.as_chunks::<BLOCK_OF_4>().0.iter().zip(out.chunks_mut(DELTA_BLOCK)) {
        if block[0] == BAD {
            out.fill(f32::NAN);
            continue;
        }
        let [scale, _] = scales(block[0]);
        let mut integers = [0_i8; DELTA_BLOCK];
        for (pair, &byte) in integers.as_chunks_mut::<2>().0.iter_mut().zip(&block[1..]) {
            *pair = [(byte << 4) as i8 >> 4, byte as i8 >> 4];
        }
        for (x, &q) in out.iter_mut().zip(&integers) {
            put(x, f32::from(q) * scale);
        }
    }
}

#[inline(always)]
fn decode_8_body(bytes: &[u8], out: &mut [f32]) {
    read_8(bytes, out, |x, y| *x = y);
}
#[inline(always)]
fn add_8_body(bytes: &[u8], out: &mut [f32]) {
    read_8(bytes, out, |x, y| *x += y);
}
#[inline(always)]
fn decode_4_body(bytes: &[u8], out: &mut [f32]) {
    read_4(bytes, out, |x, y| *x = y);
}
#[inline(always)]
fn add_4_body(bytes: &[u8], out: &mut [f32]) {
    read_4(bytes, out, |x, y| *x += y);
}

multiversion! {
    /// Reads the first `out.len()` numbers of blocks of eight-bit integers; those of a bad block are NaN.
    pub fn decode_8(bytes: &[u8], out: &mut [f32]) = decode_8_body
}
multiversion! {
    /// Adds the first `out.len()` numbers of blocks of eight-bit integers.
    pub fn add_8(bytes: &[u8], out: &mut [f32]) = add_8_body
}
multiversion! {
    /// Reads the first `out.len()` numbers of blocks of four-bit integers; those of a bad block are NaN.
    pub fn decode_4(bytes: &[u8], out: &mut [f32]) = decode_4_body
}
multiversion! {
    /// Adds the first `out.len()` numbers of blocks of four-bit integers.
    pub fn add_4(bytes: &[u8], out: &mut [f32]) = add_4_body
}

/// True if no block is bad, and none has a scale with which a number could be infinite; the length of a block is
/// `block` bytes.
#[must_use]
pub fn blocks_are_finite(bytes: &[u8], block: usize) -> bool {
    bytes.chunks_exact(block).all(|block| block[0] <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Isa;
    use crate::random::rounding_keys;

    /// Numbers of many sizes, positive and negative.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        (0..count)
            .map(|i| {
                let size = 2_f32.powi((i / 256 % 40) as i32 - 30);
                (next() as f32 / 2_147_483_648.0 - 0.5) * size
            })
            .collect()
    }

    /// The definition, one number at a time, in f64.
    fn plainly(values: &[f32], most: f64, round: impl Fn(usize, f64) -> f64) -> Vec<f32> {
        let mut out = Vec::new();
        for (b, block) in values.chunks(DELTA_BLOCK).enumerate() {
            let max = block.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
            let mut scale = 2_f64.powi(-126);
            while f64::from((max as f32) / most as f32) > scale {
                scale *= 2.0;
            }
            out.extend(block.iter().enumerate().map(|(i, &x)| {
                let q = if max == 0.0 { 0.0 } else { round(b * DELTA_BLOCK + i, f64::from(x) / scale) };
                (q * scale) as f32
            }));
        }
        out
    }

    #[test]
    fn eight_bits_are_the_nearest_multiples_on_every_instruction_set() {
        for count in [1, 255, 256, 257, 1000, 20_480] {
            let mut values = numbers(count, 7);
            values[0] = -0.0;
            let want = plainly(&values, 127.0, |_, x| x.round_ties_even());
            for isa in Isa::available() {
                let mut bytes = vec![9; count.div_ceil(DELTA_BLOCK) * BLOCK_OF_8];
                assert!(encode_8(isa, &values, &mut bytes));
                let mut got = vec![5.0; count];
                decode_8(isa, &bytes, &mut got);
                assert_eq!(got, want, "{}", isa.name());
                add_8(isa, &bytes, &mut got);
                assert!(got.iter().zip(&want).all(|(&x, &y)| x == y + y));
                assert!(blocks_are_finite(&bytes, BLOCK_OF_8));
                // What fills up the last block is 0, so that equal numbers have equal bytes.
                let last = &bytes[bytes.len() - BLOCK_OF_8..];
                let used = (count - 1) % DELTA_BLOCK + 1;
                assert!(last[1 + used..].iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn four_bits_of_an_update_are_the_nearest_multiples_on_every_instruction_set() {
        for count in [1, 256, 257, 20_480] {
            let values = numbers(count, 11);
            let want = plainly(&values, 7.0, |_, x| x.round_ties_even());
            for isa in Isa::available() {
                let mut bytes = vec![9; count.div_ceil(DELTA_BLOCK) * BLOCK_OF_4];
                assert!(encode_4_to_nearest(isa, &values, &mut bytes));
                let mut got = vec![5.0; count];
                decode_4(isa, &bytes, &mut got);
                assert_eq!(got, want, "{}", isa.name());
            }
        }
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(!encode_4_to_nearest(Isa::best(), &[bad], &mut [0; BLOCK_OF_4]));
        }
    }

    #[test]
    fn four_bits_are_neighbouring_multiples_and_right_in_the_mean() {
        let values = numbers(5000, 3);
        let mut means = vec![0.0_f64; values.len()];
        let tries = 2000;
        for seed in 0..tries {
            let keys = rounding_keys(seed, 5, 1);
            let mut all = Vec::new();
            for isa in Isa::available() {
                let mut bytes = vec![9; values.len().div_ceil(DELTA_BLOCK) * BLOCK_OF_4];
                assert!(encode_4(isa, keys, 77, &values, &mut bytes));
                let mut got = vec![5.0; values.len()];
                decode_4(isa, &bytes, &mut got);
                let once = got.clone();
                add_4(isa, &bytes, &mut got);
                assert!(got.iter().zip(&once).all(|(&x, &y)| x == y + y));
                all.push(once);
            }
            assert!(all.iter().all(|other| *other == all[0]));
            let low = plainly(&values, 7.0, |_, x| x.floor());
            let high = plainly(&values, 7.0, |_, x| x.ceil());
            for (i, &x) in all[0].iter().enumerate() {
                assert!(x == low[i] || x == high[i], "{x} is neither {} nor {}", low[i], high[i]);
                means[i] += f64::from(x) / tries as f64;
            }
        }
        for (block, means) in values.chunks(DELTA_BLOCK).zip(means.chunks(DELTA_BLOCK)) {
            let largest = block.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
            for (&x, &mean) in block.iter().zip(means) {
                // A step of the grid is at most 2/7 of the largest number. Five deviations of the mean.
                let bound = f64::from(largest) * 2.0 / 7.0 * 0.5 * 5.0 / (tries as f64).sqrt();
                assert!((mean - f64::from(x)).abs() < bound, "{mean} for {x}");
            }
        }
    }

    #[test]
    fn every_number_has_its_own_rounding() {
        let same = vec![0.3_f32; 4096];
        let keys =
            [rounding_keys(1, 2, 3), rounding_keys(1, 2, 4), rounding_keys(1, 3, 3), rounding_keys(2, 2, 3)];
        let coded = keys.map(|keys| {
            let mut bytes = vec![0; same.len() / DELTA_BLOCK * BLOCK_OF_4];
            encode_4(Isa::best(), keys, 0, &same, &mut bytes);
            bytes
        });
        assert!((0..4).all(|i| (0..i).all(|j| coded[i] != coded[j])));
        // A run of numbers in pieces is coded as in one.
        let mut pieces = Vec::new();
        for at in (0..same.len()).step_by(1024) {
            let mut bytes = vec![0; 4 * BLOCK_OF_4];
            encode_4(Isa::best(), keys[0], at as u32, &same[at..at + 1024], &mut bytes);
            pieces.extend(bytes);
        }
        assert_eq!(pieces, coded[0]);
    }

    #[test]
    fn numbers_without_a_code_are_reported_and_decoded_as_nan() {
        for isa in Isa::available() {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2_f32.powi(120)] {
                let mut values = vec![1.0; 600];
                values[300] = bad;
                let mut bytes = vec![0; 3 * BLOCK_OF_8];
                assert!(!encode_8(isa, &values, &mut bytes) && !blocks_are_finite(&bytes, BLOCK_OF_8));
                let mut got = vec![0.0; 600];
                decode_8(isa, &bytes, &mut got);
                assert!(got[256..512].iter().all(|x| x.is_nan()) && got[0] == 1.0 && got[599] == 1.0);
                let mut bytes = vec![0; 3 * BLOCK_OF_4];
                assert!(
                    !encode_4(isa, [1, 2], 0, &values, &mut bytes) && !blocks_are_finite(&bytes, BLOCK_OF_4)
                );
            }
            let large = vec![2_f32.powi(119) * 1.99; 256];
            let mut bytes = vec![0; BLOCK_OF_8];
            assert!(encode_8(isa, &large, &mut bytes) && blocks_are_finite(&bytes, BLOCK_OF_8));
            let mut got = [0.0; 256];
            decode_8(isa, &bytes, &mut got);
            assert!(got.iter().all(|x| x.is_finite()));
            // The greatest scale that passes gives finite numbers.
            bytes.fill(127);
            bytes[0] = LARGEST;
            decode_8(isa, &bytes, &mut got);
            assert!(got.iter().all(|x| x.is_finite()) && blocks_are_finite(&bytes, BLOCK_OF_8));
            bytes[0] = LARGEST + 1;
            assert!(!blocks_are_finite(&bytes, BLOCK_OF_8));
            // Numbers below the smallest normal one become 0 or a multiple of it.
            let tiny = vec![f32::MIN_POSITIVE / 3.0; 256];
            assert!(encode_8(isa, &tiny, &mut bytes));
            decode_8(isa, &bytes, &mut got);
            assert!(got.iter().all(|&x| x == 0.0));
        }
    }
}
