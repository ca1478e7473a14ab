//! A compact form of f32 numbers many of which are bf16, as the weights are that products round anyway.
//!
//! Numbers come in groups of [`GROUP`]; the last is shorter. A group is a byte and its numbers: after 0 only the upper half of each,
//! since the lower is 0; after 1 all of them. All is little-endian.

use std::ops::Range;

use nn_core::{NotCompact, round_to_bf16};

/// Numbers that share a byte.
pub(crate) const GROUP: usize = 256;

/// The compact form of numbers, in which those in the `rounded` ranges are rounded to bf16, group by group: a group that is not all in one
/// of them keeps its numbers as they are, and so does one with a number that bf16 does not hold, so that it is not lost.
pub(crate) fn narrow(numbers: &[f32], rounded: &[Range<usize>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * 4 + numbers.len().div_ceil(GROUP));
    for (group, from) in numbers.chunks(GROUP).zip((0..).step_by(GROUP)) {
        let all = from..from + group.len();
        let mut halves = [[0; 2]; GROUP];
        let mut is_held = rounded.iter().any(|range| range.start <= all.start && all.end <= range.end);
        if is_held {
            let mut is_nan = false;
            for (half, &x) in halves.iter_mut().zip(group) {
                let rounded = round_to_bf16(x);
                is_nan |= rounded.is_nan();
                *half = ((rounded.to_bits() >> 16) as u16).to_le_bytes();
            }
            is_held = !is_nan;
        }
        out.push(u8::from(!is_held));
        if is_held {
            out.extend_from_slice(halves[..group.len()].as_flattened());
        } else {
            out.extend(group.iter().flat_map(|x| x.to_le_bytes()));
        }
    }
    out
}

/// The little-endian f32 numbers, `length` bytes, of a compact form.
///
/// # Errors
/// If it is not the compact form of so many bytes.
pub(crate) fn widen(mut compact: &[u8], length: usize) -> Result<Vec<u8>, NotCompact> {
    let mut out = vec![0; length];
    for group in out.as_chunks_mut::<4>().0.chunks_mut(GROUP) {
        let (&kind, rest) = compact.split_first().ok_or(NotCompact)?;
        let (bytes, rest) = match kind {
            0 => rest.split_at_checked(2 * group.len()),
            1 => rest.split_at_checked(4 * group.len()),
            _ => None,
        }
        .ok_or(NotCompact)?;
        if kind == 0 {
            for (x, &[low, high]) in group.iter_mut().zip(bytes.as_chunks().0) {
                *x = [0, 0, low, high];
            }
        } else {
            group.as_flattened_mut().copy_from_slice(bytes);
        }
        compact = rest;
    }
    if compact.is_empty() { Ok(out) } else { Err(NotCompact) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count as u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9) & 0xbfff_ffff)).collect()
    }

    fn read(compact: &[u8], numbers: usize) -> Vec<f32> {
        let bytes = widen(compact, 4 * numbers).unwrap();
        bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect()
    }

    /// A number in a group that is in a range is rounded as the products round it, and any other stays.
    #[test]
    fn what_products_round_is_halved_and_the_rest_is_exact() {
        let numbers = numbers(5 * GROUP + 37);
        let rounded = [0..2 * GROUP + 10, 3 * GROUP..numbers.len()];
        let compact = narrow(&numbers, &rounded);
        assert_eq!(compact.len(), 6 + 2 * numbers.len() + 2 * GROUP);
        let got = read(&compact, numbers.len());
        for (at, (&x, got)) in numbers.iter().zip(got).enumerate() {
            let want = if at / GROUP == 2 { x } else { round_to_bf16(x) };
            assert_eq!(got.to_bits(), want.to_bits(), "number {at}: {x}");
            assert_eq!(round_to_bf16(got).to_bits(), round_to_bf16(x).to_bits());
        }
    }

    /// A run whose weights grow beyond all bounds is to diverge as it does elsewhere.
    #[test]
    fn what_bf16_does_not_hold_is_not_lost() {
        for large in [f32::MAX, 2_f32.powi(63), f32::INFINITY] {
            let mut numbers = numbers(2 * GROUP);
            numbers[GROUP + 3] = large;
            let compact = narrow(&numbers, std::slice::from_ref(&(0..numbers.len())));
            assert_eq!(compact.len(), 2 + 6 * GROUP);
            let got = read(&compact, numbers.len());
            assert!(got[GROUP..] == numbers[GROUP..] && got[1] == round_to_bf16(numbers[1]));
        }
    }

    #[test]
    fn what_is_no_compact_form_is_refused() {
        let numbers = numbers(GROUP + 5);
        let compact = narrow(&numbers, std::slice::from_ref(&(0..GROUP)));
        let length = 4 * numbers.len();
        assert_eq!(widen(&compact, length).map(|bytes| bytes.len()), Ok(length));
        for cut in 0..compact.len() {
            assert_eq!(widen(&compact[..cut], length), Err(NotCompact), "{cut} bytes");
        }
        assert_eq!(widen(&[&compact[..], &[0]].concat(), length), Err(NotCompact));
        let mut other = compact.clone();
        other[0] = 2;
        assert_eq!(widen(&other, length), Err(NotCompact));
        assert_eq!(widen(&[], 0), Ok(Vec::new()));
    }
}
