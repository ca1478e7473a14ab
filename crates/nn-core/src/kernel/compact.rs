//! Blocks of small integers in fewer bytes, without loss.
//!
//! Half of the integers of a difference are 0: pixels at the border that are hardly ever set, units that a ReLU kept off.
//! Most others use few of their bits, and small ones stand together. So four eight-bit integers, or eight of four bits, are a
//! *group*, and a group is written with as many bits for each integer as its largest needs. That takes half to three quarters
//! of the bytes, as much as Huffman's code, and is coded faster than a network of 10 Gbit/s carries it.
//!
//! A block of [`delta`](super::delta) becomes its exponent byte and, unless that is 0, the widths of its groups in four bits
//! each (two to a byte, the first in the low half), and then the integers, from the lowest bit of each byte on: the `w` low
//! bits of each in two's complement, where `w` is the smallest number with −2^(w−1) ≤ q < 2^(w−1), and 0 if all of the group
//! are 0. The last byte of a block is filled up with zeros.

use super::Isa;
use super::delta::{BLOCK_OF_4, BLOCK_OF_8};

/// The size of the integers of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// Eight bits, in blocks of [`BLOCK_OF_8`] bytes.
    Eight,
    /// Four bits, in blocks of [`BLOCK_OF_4`] bytes.
    Four,
}

/// Bytes of no compact form of so many blocks: it ends early, is too long, or has a width that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotCompact;

/// Appends the compact form of whole blocks.
pub fn compact(isa: Isa, integers: Integers, blocks: &[u8], out: &mut Vec<u8>) {
    match integers {
        Integers::Eight => compact_8(isa, blocks, out),
        Integers::Four => compact_4(isa, blocks, out),
    }
}

/// Reads as many blocks as `out` has room for.
///
/// # Errors
/// If `bytes` are not the compact form of so many blocks; what `out` holds then means nothing.
pub fn expand(isa: Isa, integers: Integers, bytes: &[u8], out: &mut [u8]) -> Result<(), NotCompact> {
    match integers {
        Integers::Eight => expand_8(isa, bytes, out),
        Integers::Four => expand_4(isa, bytes, out),
    }
}

#[inline(always)]
fn compact_8_body(blocks: &[u8], out: &mut Vec<u8>) {
    write::<8, BLOCK_OF_8>(blocks, out);
}
#[inline(always)]
fn compact_4_body(blocks: &[u8], out: &mut Vec<u8>) {
    write::<4, BLOCK_OF_4>(blocks, out);
}
#[inline(always)]
fn expand_8_body(bytes: &[u8], out: &mut [u8]) -> Result<(), NotCompact> {
    read::<8, BLOCK_OF_8>(bytes, out)
}
#[inline(always)]
fn expand_4_body(bytes: &[u8], out: &mut [u8]) -> Result<(), NotCompact> {
    read::<4, BLOCK_OF_4>(bytes, out)
}

multiversion! {
    fn compact_8(blocks: &[u8], out: &mut Vec<u8>) = compact_8_body
}
multiversion! {
    fn compact_4(blocks: &[u8], out: &mut Vec<u8>) = compact_4_body
}
multiversion! {
    fn expand_8(bytes: &[u8], out: &mut [u8]) -> Result<(), NotCompact> = expand_8_body
}
multiversion! {
    fn expand_4(bytes: &[u8], out: &mut [u8]) -> Result<(), NotCompact> = expand_4_body
}

/// The bytes of a group's integers, whatever their size.
const GROUP: usize = 4;
/// The most groups of a block.
const GROUPS: usize = (BLOCK_OF_8 - 1) / GROUP;
/// Integers are written and read eight bytes at a time.
const AHEAD: usize = 8;

/// 1 in each integer of `LANE` bits.
const fn ones<const LANE: u32>() -> u32 {
    if LANE == 8 { 0x0101_0101 } else { 0x1111_1111 }
}

/// The width of a group.
#[inline(always)]
fn width<const LANE: u32>(group: u32) -> u32 {
    let negative = (group >> (LANE - 1)) & ones::<LANE>();
    // The bits of each that differ from its sign, all in the lowest lane.
    let mut bits = group ^ (negative * ((1 << LANE) - 1));
    bits |= bits >> 16;
    bits |= bits >> 8;
    if LANE == 4 {
        bits |= bits >> 4;
    }
    bits &= (1 << LANE) - 1;
    // Compared, not counted: that is done for many groups at once.
    (0..LANE - 1).fold(u32::from(group != 0), |width, bit| width + u32::from(bits >= 1 << bit))
}

/// The integers of a group, `width` bits each, one after the other.
#[inline(always)]
fn narrow<const LANE: u32>(group: u32, width: u32) -> u32 {
    let mask = (1 << width) - 1;
    (0..32 / LANE).fold(0, |bits, i| bits | ((group >> (i * LANE)) & mask) << (i * width))
}

/// The other way round.
#[inline(always)]
fn widen<const LANE: u32>(bits: u32, width: u32) -> u32 {
    let mask = (1 << width) - 1;
    let group = (0..32 / LANE).fold(0, |group, i| group | ((bits >> (i * width)) & mask) << (i * LANE));
    // Bits above the width are those of the sign; without bits there is none.
    let negative = (group >> width.saturating_sub(1)) & ones::<LANE>() & 0_u32.wrapping_sub(mask & 1);
    group | (negative * (((1 << LANE) - 1) & !mask))
}

#[inline(always)]
fn write<const LANE: u32, const BLOCK: usize>(blocks: &[u8], out: &mut Vec<u8>) {
    for block in blocks.as_chunks::<BLOCK>().0 {
        out.push(block[0]);
        if block[0] == 0 {
            continue;
        }
        let groups = block[1..].as_chunks::<GROUP>().0;
        let (mut widths, mut narrowed) = ([0_u32; GROUPS], [0_u32; GROUPS]);
        for ((width_of, bits), &group) in widths.iter_mut().zip(&mut narrowed).zip(groups) {
            let group = u32::from_le_bytes(group);
            *width_of = width::<LANE>(group);
            *bits = narrow::<LANE>(group, *width_of);
        }
        let widths = &widths[..groups.len()];
        out.extend(widths.as_chunks::<2>().0.iter().map(|[low, high]| (low | high << 4) as u8));
        let mut bytes = [0_u8; BLOCK_OF_8 + AHEAD];
        let (mut at, mut waiting, mut count) = (0, 0_u64, 0);
        for (&width, &bits) in widths.iter().zip(&narrowed) {
            waiting |= u64::from(bits) << count;
            bytes[at..at + AHEAD].copy_from_slice(&waiting.to_le_bytes());
            count += width * (32 / LANE);
            at += count as usize / 8;
            waiting >>= count / 8 * 8;
            count %= 8;
        }
        out.extend_from_slice(&bytes[..at + usize::from(count > 0)]);
    }
}

#[inline(always)]
fn read<const LANE: u32, const BLOCK: usize>(mut bytes: &[u8], out: &mut [u8]) -> Result<(), NotCompact> {
    for block in out.as_chunks_mut::<BLOCK>().0 {
        let (&exponent, rest) = bytes.split_first().ok_or(NotCompact)?;
        bytes = rest;
        block[0] = exponent;
        let integers = &mut block[1..];
        if exponent == 0 {
            integers.fill(0);
            continue;
        }
        let groups = integers.as_chunks_mut::<GROUP>().0;
        let (pairs, rest) = bytes.split_at_checked(groups.len() / 2).ok_or(NotCompact)?;
        let (mut widths, mut narrowed) = ([0_u32; GROUPS], [0_u32; GROUPS]);
        for (widths, &pair) in widths.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            *widths = [u32::from(pair & 15), u32::from(pair >> 4)];
        }
        let widths = &widths[..groups.len()];
        if widths.iter().fold(0, |most, &width| most.max(width)) > LANE {
            return Err(NotCompact);
        }
        let bits = widths.iter().sum::<u32>() * (32 / LANE);
        let (packed, rest) = rest.split_at_checked(bits.div_ceil(8) as usize).ok_or(NotCompact)?;
        bytes = rest;
        let mut ahead = [0_u8; BLOCK_OF_8 + AHEAD];
        ahead[..packed.len()].copy_from_slice(packed);
        let mut at = 0;
        for (&width, bits) in widths.iter().zip(&mut narrowed) {
            let mut next = [0; AHEAD];
            next.copy_from_slice(&ahead[at / 8..at / 8 + AHEAD]);
            *bits = (u64::from_le_bytes(next) >> (at % 8)) as u32;
            at += (width * (32 / LANE)) as usize;
        }
        for ((&width, &bits), group) in widths.iter().zip(&narrowed).zip(groups) {
            *group = widen::<LANE>(bits, width).to_le_bytes();
        }
    }
    if bytes.is_empty() { Ok(()) } else { Err(NotCompact) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::delta::DELTA_BLOCK;

    /// The definition, one bit at a time.
    fn plainly(integers: Integers, blocks: &[u8]) -> Vec<u8> {
        let (size, together) = match integers {
            Integers::Eight => (BLOCK_OF_8, 4),
            Integers::Four => (BLOCK_OF_4, 8),
        };
        let mut out = Vec::new();
        for block in blocks.chunks(size) {
            out.push(block[0]);
            if block[0] == 0 {
                continue;
            }
            let numbers: Vec<i32> = match integers {
                Integers::Eight => block[1..].iter().map(|&q| i32::from(q as i8)).collect(),
                Integers::Four => {
                    let signed = |half: u8| (i32::from(half) ^ 8) - 8;
                    block[1..].iter().flat_map(|&pair| [signed(pair & 15), signed(pair >> 4)]).collect()
                }
            };
            let width = |group: &[i32]| {
                let fits = |w: &u32| {
                    group
                        .iter()
                        .all(|&q| if *w == 0 { q == 0 } else { (-(1 << (w - 1))..1 << (w - 1)).contains(&q) })
                };
                (0..=8).find(fits).unwrap()
            };
            let widths: Vec<u32> = numbers.chunks(together).map(width).collect();
            out.extend(widths.chunks(2).map(|pair| (pair[0] | pair[1] << 4) as u8));
            let mut bits = Vec::new();
            for (group, &w) in numbers.chunks(together).zip(&widths) {
                bits.extend(group.iter().flat_map(|&q| (0..w).map(move |bit| (q >> bit & 1) as u8)));
            }
            out.extend(bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)));
        }
        out
    }

    /// Blocks whose integers have all widths, side by side.
    fn blocks(integers: Integers, count: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let mut out = Vec::new();
        for i in 0..count {
            out.push(if i % 5 == 4 { 0 } else { (i % 255 + 1) as u8 });
            let zero = i % 5 == 4;
            match integers {
                Integers::Eight => {
                    for _ in 0..DELTA_BLOCK / 4 {
                        let shift = next() % 9;
                        out.extend(
                            (0..4)
                                .map(|_| if zero || shift == 8 { 0 } else { (next() as i8 >> shift) as u8 }),
                        );
                    }
                }
                Integers::Four => {
                    for _ in 0..DELTA_BLOCK / 8 {
                        let shift = 4 + next() % 5;
                        let mut half =
                            || if zero || shift == 8 { 0 } else { (next() as i8 >> shift) as u8 & 15 };
                        out.extend((0..4).map(|_| half() | half() << 4));
                    }
                }
            }
        }
        out
    }

    #[test]
    fn the_compact_form_is_the_definition_and_expands_to_the_same_bytes() {
        for (integers, size) in [(Integers::Eight, BLOCK_OF_8), (Integers::Four, BLOCK_OF_4)] {
            for count in [0, 1, 2, 40] {
                for seed in 0..20 {
                    let raw = blocks(integers, count, seed);
                    let want = plainly(integers, &raw);
                    for isa in Isa::available() {
                        let mut bytes = vec![77];
                        compact(isa, integers, &raw, &mut bytes);
                        assert_eq!(bytes[1..], want, "{integers:?} {count} {seed} {}", isa.name());
                        let mut again = vec![9; count * size];
                        assert_eq!(expand(isa, integers, &want, &mut again), Ok(()));
                        assert_eq!(again, raw, "{}", isa.name());
                    }
                }
            }
        }
    }

    /// Each pair of neighbours that there can be.
    #[test]
    fn every_integer_survives() {
        for q in i8::MIN..=i8::MAX {
            for place in 0..4 {
                let mut raw = vec![0; BLOCK_OF_8];
                raw[0] = 1;
                raw[1 + place] = q as u8;
                raw[5] = !q as u8;
                let mut bytes = Vec::new();
                compact(Isa::best(), Integers::Eight, &raw, &mut bytes);
                let mut again = vec![0; BLOCK_OF_8];
                assert_eq!(expand(Isa::best(), Integers::Eight, &bytes, &mut again), Ok(()));
                assert_eq!(again, raw);
            }
        }
    }

    #[test]
    fn what_is_not_a_compact_form_is_refused() {
        for (integers, size) in [(Integers::Eight, BLOCK_OF_8), (Integers::Four, BLOCK_OF_4)] {
            let raw = blocks(integers, 6, 3);
            let mut bytes = Vec::new();
            compact(Isa::best(), integers, &raw, &mut bytes);
            let mut room = vec![0; raw.len()];
            for length in 0..bytes.len() {
                assert_eq!(
                    expand(Isa::best(), integers, &bytes[..length], &mut room),
                    Err(NotCompact),
                    "{length}"
                );
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(expand(Isa::best(), integers, &longer, &mut room), Err(NotCompact));
            assert_eq!(expand(Isa::best(), integers, &bytes, &mut room[..size]), Err(NotCompact));
            // Wider than the integers are.
            let wide = if integers == Integers::Eight { 9 } else { 5 };
            for pair in [wide, wide << 4, 15] {
                bytes[1] = pair;
                assert_eq!(expand(Isa::best(), integers, &bytes, &mut room), Err(NotCompact), "{pair}");
            }
            // Any bytes are read or refused; none panics.
            let mut state = 1_u32;
            for _ in 0..20_000 {
                let noise: Vec<u8> = (0..state >> 20)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        // Small widths, so that many get far.
                        if integers == Integers::Eight {
                            (state >> 24) as u8 & 0x77
                        } else {
                            (state >> 24) as u8 & 0x33
                        }
                    })
                    .collect();
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let _ = expand(Isa::best(), integers, &noise, &mut room[..size * 2]);
            }
        }
    }
}
