//! Splitting samples into a training and a test set.
//!
//! Randomness is addressed, not drawn: a sample's rank is a hash of the seed and its index. The split needs no generator
//! and is the same on every machine.

use nn_core::{Dataset, Targets};

/// Fraction of the samples that is held out for testing when the data has no test set of its own.
pub const TEST_FRACTION: f64 = 0.2;

/// The hash that orders samples: SplitMix64's finaliser over the seed and the index (Steele, Lea and Flood, *Fast
/// splittable pseudorandom number generators*).
fn rank(seed: u64, sample: usize) -> u64 {
    let address = (sample as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mix(mix(seed ^ 0x6e6e_2d73_706c_6974).wrapping_add(address)) // "nn-split"
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed for validation samples, so that they are no neighbours of the test samples in rank.
const VALIDATION: u64 = 0x7661_6c69_6461_7465; // "validate"

/// Positions of samples: those that are kept for training and those that are held out. Both are in order.
pub(crate) type Parts = (Vec<usize>, Vec<usize>);

/// Splits samples into a training and a test set, class by class for classification, so that both have the same mix of
/// classes. Both sets keep the original order. `None` for fewer than two samples.
pub(crate) fn split(all: &Dataset, test_fraction: f64, seed: u64) -> Option<(Dataset, Dataset)> {
    let (train, test) = hold_out(all.targets(), (0..all.len()).collect(), test_fraction, seed)?;
    Some((all.select(&train), all.select(&test)))
}

/// Holds out samples for validation.
pub(crate) fn hold_out_validation(
    targets: &Targets,
    rows: Vec<usize>,
    fraction: f64,
    seed: u64,
) -> Option<Parts> {
    hold_out(targets, rows, fraction, seed ^ VALIDATION)
}

/// Holds out a fraction of `rows`, class by class. The samples of classes too small to divide are pooled and divided
/// together. `None` for fewer than two rows.
pub(crate) fn hold_out(targets: &Targets, rows: Vec<usize>, fraction: f64, seed: u64) -> Option<Parts> {
    if rows.len() < 2 {
        return None;
    }
    let groups = match targets {
        Targets::Classes { labels, classes } => {
            let mut groups = vec![Vec::new(); *classes];
            for &row in &rows {
                groups[labels[row] as usize].push(row);
            }
            let is_small = |group: &Vec<usize>| (group.len() as f64) * fraction < 0.5;
            let (small, mut large): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_small);
            large.push(small.concat());
            large
        }
        Targets::Values { .. } => vec![rows.clone()],
    };
    let mut held = Vec::new();
    for mut group in groups {
        group.sort_unstable_by_key(|&sample| (rank(seed, sample), sample));
        let wanted = (group.len() as f64 * fraction).round() as usize;
        let wanted = wanted.min(group.len().saturating_sub(1));
        held.extend(&group[..wanted]);
    }
    if held.is_empty() {
        // No class has enough samples to split, so a single sample of any class is held out.
        held.extend(rows.iter().copied().min_by_key(|&sample| (rank(seed, sample), sample)));
    }
    held.sort_unstable();
    let kept = rows.into_iter().filter(|row| held.binary_search(row).is_err()).collect();
    Some((kept, held))
}

#[cfg(test)]
mod tests {
    use nn_core::Features;
    use proptest::prelude::*;

    use super::*;

    fn data(labels: Vec<u32>, classes: usize) -> Dataset {
        let n = labels.len();
        let features = Features::F32((0..n).map(|i| i as f32).collect());
        Dataset::new(features, 1, Targets::Classes { labels, classes }, None).unwrap()
    }

    #[test]
    fn the_same_seed_chooses_the_same_samples() {
        let all = data((0..1000).map(|i| i % 10).collect(), 10);
        let of = |seed| hold_out(all.targets(), (0..1000).collect(), 0.2, seed);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert_ne!(of(7), hold_out_validation(all.targets(), (0..1000).collect(), 0.2, 7));
    }

    #[test]
    fn every_class_is_divided_alike() {
        let labels: Vec<u32> = (0..1000).map(|i| u32::from(i % 10 == 0)).collect();
        let (train, test) = split(&data(labels, 2), 0.2, 0).unwrap();
        let ones = |set: &Dataset| (0..set.len()).filter(|&i| set.label(i) == Some(1)).count();
        assert_eq!((train.len(), test.len(), ones(&train), ones(&test)), (800, 200, 80, 20));
    }

    /// Forty samples, each of its own class: a fifth is held out all the same.
    #[test]
    fn small_classes_are_divided_together() {
        let all = data((0..40).collect(), 40);
        let (train, test) = split(&all, 0.2, 0).unwrap();
        assert_eq!((train.len(), test.len()), (32, 8));
    }

    proptest! {
        #[test]
        fn both_parts_have_samples_and_none_is_lost(
            labels in proptest::collection::vec(0u32..5, 2..60),
            fraction in 0.001f64..0.999,
            seed: u64,
        ) {
            let all = data(labels.clone(), 5);
            let (train, test) = hold_out(all.targets(), (0..labels.len()).collect(), fraction, seed).unwrap();
            prop_assert!(!train.is_empty() && !test.is_empty());
            prop_assert!(train.is_sorted() && test.is_sorted());
            let mut both = [train, test].concat();
            both.sort_unstable();
            prop_assert_eq!(both, (0..labels.len()).collect::<Vec<_>>());
        }
    }
}
