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

/// Splits samples into a training and a test set, class by class for classification, so that both have the same mix of
/// classes. Both sets keep the original order. A class with a single sample goes to training. `None` for fewer than two
/// samples.
pub(crate) fn split(all: &Dataset, test_fraction: f64, seed: u64) -> Option<(Dataset, Dataset)> {
    let (train, test) = indices(all, test_fraction, seed)?;
    Some((all.select(&train), all.select(&test)))
}

fn indices(all: &Dataset, test_fraction: f64, seed: u64) -> Option<(Vec<usize>, Vec<usize>)> {
    let n = all.len();
    if n < 2 {
        return None;
    }
    let groups = match all.targets() {
        Targets::Classes { labels, classes } => {
            let mut groups = vec![Vec::new(); *classes];
            for (sample, &label) in labels.iter().enumerate() {
                groups[label as usize].push(sample);
            }
            groups
        }
        Targets::Values { .. } => vec![(0..n).collect()],
    };
    let mut tests = vec![false; n];
    let mut chosen = 0;
    for mut group in groups {
        group.sort_unstable_by_key(|&sample| (rank(seed, sample), sample));
        let wanted = (group.len() as f64 * test_fraction).round() as usize;
        let wanted = wanted.min(group.len().saturating_sub(1));
        group.iter().take(wanted).for_each(|&sample| tests[sample] = true);
        chosen += wanted;
    }
    if chosen == 0 {
        // No class has enough samples to split, so a single sample of any class becomes the test set.
        let first = (0..n).min_by_key(|&sample| (rank(seed, sample), sample))?;
        tests[first] = true;
    }
    Some((0..n).partition(|&sample| !tests[sample]))
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
        assert_eq!(indices(&all, 0.2, 7), indices(&all, 0.2, 7));
        assert_ne!(indices(&all, 0.2, 7), indices(&all, 0.2, 8));
    }

    #[test]
    fn every_class_is_divided_alike() {
        let labels: Vec<u32> = (0..1000).map(|i| u32::from(i % 10 == 0)).collect();
        let (train, test) = split(&data(labels, 2), 0.2, 0).unwrap();
        let ones = |set: &Dataset| (0..set.len()).filter(|&i| set.label(i) == Some(1)).count();
        assert_eq!((train.len(), test.len(), ones(&train), ones(&test)), (800, 200, 80, 20));
    }

    proptest! {
        #[test]
        fn both_parts_have_samples_and_none_is_lost(
            labels in proptest::collection::vec(0u32..5, 2..60),
            fraction in 0.001f64..0.999,
            seed: u64,
        ) {
            let (train, test) = indices(&data(labels.clone(), 5), fraction, seed).unwrap();
            prop_assert!(!train.is_empty() && !test.is_empty());
            prop_assert!(train.is_sorted() && test.is_sorted());
            let mut both = [train, test].concat();
            both.sort_unstable();
            prop_assert_eq!(both, (0..labels.len()).collect::<Vec<_>>());
        }
    }
}
