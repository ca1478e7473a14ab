//! Splitting samples into a training and a test set.
//!
//! Randomness is addressed, not drawn: a sample's rank is a hash of the seed and its index. The split needs no generator
//! and is the same on every machine.

use nn_core::{Dataset, Targets};

use crate::source::Validation;

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
/// classes. Both sets keep the original order, and the last value has the positions of the training samples in it. `None` for fewer
/// than two samples.
pub(crate) fn split(all: &Dataset, test_fraction: f64, seed: u64) -> Option<(Dataset, Dataset, Vec<usize>)> {
    let (train, test) = hold_out(all.targets(), (0..all.len()).collect(), test_fraction, seed)?;
    Some((all.select(&train), all.select(&test), train))
}

/// Holds out the samples for validation that are part of the training samples `rows`; `Ok(None)` if there are none.
///
/// # Errors
/// The reason, if there are too few samples.
pub(crate) fn hold_out_validation(
    targets: &Targets,
    rows: &[usize],
    validation: &Validation,
    seed: u64,
) -> Result<Option<Parts>, TooFew> {
    let parts = match *validation {
        Validation::None | Validation::File(_) => return Ok(None),
        Validation::Fraction(fraction) => hold_out(targets, rows.to_vec(), fraction, seed ^ VALIDATION),
        Validation::Fold { fold, of } => hold_out_fold(targets, rows, (fold, of), seed ^ VALIDATION),
    };
    parts.map(Some).ok_or(TooFew)
}

/// There are too few samples to hold some out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFew;

/// Holds out part `fold` of `of`, counted from 1. The samples of each class are dealt to the parts in turn, in the order
/// of their ranks, and each class goes on where the one before it ended: the parts differ by at most one sample, in all
/// and of each class. `None` for fewer rows than parts.
fn hold_out_fold(targets: &Targets, rows: &[usize], (fold, of): (usize, usize), seed: u64) -> Option<Parts> {
    if rows.len() < of || of < 2 {
        return None;
    }
    let class = |row: usize| match targets {
        Targets::Classes { labels, .. } => labels[row],
        Targets::Values { .. } => 0,
    };
    let mut order = rows.to_vec();
    order.sort_unstable_by_key(|&row| (class(row), rank(seed, row), row));
    let mut held: Vec<usize> = order.into_iter().skip(fold - 1).step_by(of).collect();
    held.sort_unstable();
    let kept = rows.iter().copied().filter(|row| held.binary_search(row).is_err()).collect();
    Some((kept, held))
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
        let rows: Vec<usize> = (0..1000).collect();
        let validation = hold_out_validation(all.targets(), &rows, &Validation::Fraction(0.2), 7).unwrap();
        assert!(validation.is_some() && of(7) != validation);
        assert_eq!(hold_out_validation(all.targets(), &rows, &Validation::None, 7), Ok(None));
        let more = Validation::Fold { fold: 1, of: 1001 };
        assert_eq!(hold_out_validation(all.targets(), &rows, &more, 7), Err(TooFew));
    }

    #[test]
    fn every_class_is_divided_alike() {
        let labels: Vec<u32> = (0..1000).map(|i| u32::from(i % 10 == 0)).collect();
        let (train, test, _) = split(&data(labels, 2), 0.2, 0).unwrap();
        let ones = |set: &Dataset| (0..set.len()).filter(|&i| set.label(i) == Some(1)).count();
        assert_eq!((train.len(), test.len(), ones(&train), ones(&test)), (800, 200, 80, 20));
    }

    /// Forty samples, each of its own class: a fifth is held out all the same.
    #[test]
    fn small_classes_are_divided_together() {
        let all = data((0..40).collect(), 40);
        let (train, test, _) = split(&all, 0.2, 0).unwrap();
        assert_eq!((train.len(), test.len()), (32, 8));
    }

    proptest! {
        /// Every sample is held out exactly once, and all folds have the same mix of classes.
        #[test]
        fn folds_divide_all_samples_and_every_class_alike(
            labels in proptest::collection::vec(0u32..5, 12..90),
            of in 2usize..12,
            seed: u64,
        ) {
            let all = data(labels.clone(), 5);
            let rows: Vec<usize> = (0..labels.len()).filter(|row| row % 7 != 3).collect();
            let folds: Vec<Parts> =
                (1..=of).filter_map(|fold| hold_out_fold(all.targets(), &rows, (fold, of), seed)).collect();
            if rows.len() < of {
                prop_assert!(folds.is_empty());
                return Ok(());
            }
            let mut held: Vec<usize> = folds.iter().flat_map(|(_, held)| held.clone()).collect();
            held.sort_unstable();
            prop_assert_eq!(&held, &rows);
            for (kept, held) in &folds {
                prop_assert!(kept.is_sorted() && held.is_sorted());
                prop_assert_eq!(kept.len() + held.len(), rows.len());
                prop_assert!(held.len().abs_diff(rows.len() / of) <= 1);
                for class in 0..5 {
                    let count = |rows: &[usize]| rows.iter().filter(|&&row| labels[row] == class).count();
                    prop_assert!(count(held).abs_diff(count(&rows) / of) <= 1);
                }
            }
        }

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
