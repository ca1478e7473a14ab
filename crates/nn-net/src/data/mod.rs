//! The training set as bytes: its content hash covers them, and workers without the set receive them.
//!
//! The layout is in `proto/nn/v1/work.proto`, at `DataChunk`. The bytes are never in memory as a whole: each chunk is made
//! from the [`Dataset`](nn_core::Dataset) when it can be sent.

mod feed;
mod read;
mod set;

pub(crate) use feed::DataFeed;
pub use read::DataError;
pub(crate) use read::{most_bytes, read};
pub use set::TrainingSet;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nn_core::{Activation, Cost, Dataset, Features, Model, Output, Targets};
    use nn_engine::{Manifest, ManifestParts, Recipe};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::wire::hex;

    fn manifest(widths: &[usize], train_samples: usize) -> Manifest {
        let model = Model::new(widths.to_vec(), Activation::Relu, Output::Sigmoid, Cost::Mse).unwrap();
        Manifest::new(ManifestParts {
            model,
            recipe: Recipe { batch_size: 1, shard_size: 1, ..Recipe::book() },
            train_samples,
            data_sha256: String::new(),
            preprocess_sha256: None,
        })
        .unwrap()
    }

    fn small() -> Dataset {
        let features = Features::U8 { data: vec![1, 2, 3, 4, 5, 6], scale: 16.0 };
        Dataset::new(features, 3, Targets::Classes { labels: vec![1, 0], classes: 2 }, Some((1, 3))).unwrap()
    }

    fn bytes_of(set: &TrainingSet) -> Vec<u8> {
        let mut all = Vec::new();
        set.write(0..set.bytes(), &mut all);
        all
    }

    #[test]
    fn golden() {
        let mut bytes = b"nn-train/1\0".to_vec();
        for n in [2_u64, 3] {
            bytes.extend(n.to_le_bytes());
        }
        bytes.push(1);
        for n in [1_u64, 3] {
            bytes.extend(n.to_le_bytes());
        }
        bytes.push(0);
        bytes.extend(16_f32.to_le_bytes());
        bytes.extend(6_u64.to_le_bytes());
        bytes.extend([1, 2, 3, 4, 5, 6, 0]);
        for n in [2_u64, 2] {
            bytes.extend(n.to_le_bytes());
        }
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        let set = TrainingSet::new(Arc::new(small()));
        assert_eq!(bytes_of(&set), bytes);
        assert_eq!((set.bytes(), set.sha256()), (bytes.len() as u64, &*hex(&Sha256::digest(&bytes))));
        assert!(set.bytes() <= most_bytes(&manifest(&[3, 2], 2)));
    }

    #[test]
    fn any_range_is_the_same_bytes() {
        let features = Features::F32((0..30).map(|i| i as f32 * 0.5).collect());
        let targets = Targets::Values { data: (0..20).map(|i| -(i as f32)).collect(), width: 2 };
        let set = TrainingSet::new(Arc::new(Dataset::new(features, 3, targets, None).unwrap()));
        let all = bytes_of(&set);
        for start in 0..all.len() {
            for end in start..=all.len() {
                let mut part = vec![7];
                set.write(start as u64..end as u64, &mut part);
                assert_eq!(part[1..], all[start..end], "{start}..{end}");
            }
        }
        let again = read(&all[..], &manifest(&[3, 2], 10), set.sha256()).unwrap();
        assert_eq!(again, **set.dataset());
    }

    #[test]
    fn weights_follow_the_targets() {
        let plain = bytes_of(&TrainingSet::new(Arc::new(small())));
        let weighted = small().with_weights(vec![0.5, 2.0]).unwrap();
        let set = TrainingSet::new(Arc::new(weighted.clone()));
        let all = bytes_of(&set);
        let mut expected = plain;
        expected[9] = b'2';
        expected.extend(2_u64.to_le_bytes());
        expected.extend([0.5_f32, 2.0].iter().flat_map(|w| w.to_le_bytes()));
        assert_eq!(all, expected);
        assert!(set.bytes() <= most_bytes(&manifest(&[3, 2], 2)));
        assert_eq!(read(&all[..], &manifest(&[3, 2], 2), set.sha256()).unwrap(), weighted);
        for end in 0..all.len() {
            assert!(read(&all[..end], &manifest(&[3, 2], 2), set.sha256()).is_err(), "{end}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused_before_memory_is_allocated() {
        let set = TrainingSet::new(Arc::new(small()));
        let all = bytes_of(&set);
        let fits = manifest(&[3, 2], 2);
        let read = |bytes: &[u8]| read(bytes, &fits, set.sha256());
        assert_eq!(read(&all).unwrap(), small());
        for end in 0..all.len() {
            assert!(matches!(read(&all[..end]), Err(DataError::Read(_))), "{end}");
        }
        for at in 0..all.len() {
            let mut bad = all.clone();
            bad[at] ^= 0x80;
            assert!(read(&bad).is_err(), "byte {at}");
        }
        // A count that would be 2⁶⁰ bytes.
        let mut bad = all.clone();
        bad[18] = 0x10;
        assert!(matches!(read(&bad), Err(DataError::Shape { what: "samples", .. })));
    }
}
