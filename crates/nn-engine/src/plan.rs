//! Who computes which leaves of a step.

use std::ops::Range;

/// The leaves of participant `index` of `count`: contiguous ranges, as even as they can be. Where there are fewer leaves
/// than participants, some ranges are empty.
#[must_use]
pub fn share(leaves: u32, index: usize, count: usize) -> Range<u32> {
    let at = |i: usize| (u64::from(leaves) * i as u64 / count as u64) as u32;
    at(index)..at(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_is_given_out_once_and_evenly() {
        for leaves in 1..40 {
            for count in 1..12 {
                let shares: Vec<Range<u32>> = (0..count).map(|i| share(leaves, i, count)).collect();
                assert!(
                    shares.iter().cloned().flatten().eq(0..leaves),
                    "{leaves} leaves, {count} participants"
                );
                let (least, most) =
                    (shares.iter().map(Range::len).min(), shares.iter().map(Range::len).max());
                assert!(most.unwrap() - least.unwrap() <= 1);
            }
        }
    }
}
