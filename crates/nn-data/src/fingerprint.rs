//! The content fingerprint of a data set.
//!
//! SHA-256 over one canonical serialisation of the training and then the test set, all integers little-endian:
//!
//! ```text
//! "nn-data/1\0"                                 version of this serialisation
//! then for the training set, and for the test set:
//!   u64 samples, u64 width
//!   u8 0                                        no image, or
//!   u8 1, u64 height, u64 width                 the shape of an image
//!   u8 0, f32 scale, u64 length, bytes          features as bytes, or
//!   u8 1, u64 length, f32 …                     features as floats
//!   u8 0, u64 classes, u64 length, u32 …        class labels, or
//!   u8 1, u64 width, u64 length, f32 …          regression targets
//! ```
//!
//! Lengths count elements. The fingerprint covers only what the network sees: the container (a folder, `.gz`, `.zip`,
//! `.tar.gz`, CSV or NPZ) and the names of the classes do not affect it.

use nn_core::{Dataset, Features, Targets};
use sha2::{Digest, Sha256};

const VERSION: &[u8] = b"nn-data/1\0";

/// The fingerprint of a training and a test set: 64 hexadecimal digits.
pub fn fingerprint(train: &Dataset, test: &Dataset) -> String {
    let mut hash = Sha256::new();
    hash.update(VERSION);
    for set in [train, test] {
        add(&mut hash, set);
    }
    hex(&hash.finalize())
}

fn add(hash: &mut Sha256, set: &Dataset) {
    let count = |hash: &mut Sha256, n: usize| hash.update((n as u64).to_le_bytes());
    count(hash, set.len());
    count(hash, set.input_width());
    match set.image() {
        None => hash.update([0]),
        Some((height, width)) => {
            hash.update([1]);
            count(hash, height);
            count(hash, width);
        }
    }
    match set.features() {
        Features::U8 { data, scale } => {
            hash.update([0]);
            hash.update(scale.to_le_bytes());
            count(hash, data.len());
            hash.update(data);
        }
        Features::F32(data) => {
            hash.update([1]);
            count(hash, data.len());
            add_words(hash, data, |x| x.to_le_bytes());
        }
    }
    add_targets(hash, set.targets());
}

/// Adds answers to a fingerprint.
pub(crate) fn add_targets(hash: &mut Sha256, targets: &Targets) {
    let count = |hash: &mut Sha256, n: usize| hash.update((n as u64).to_le_bytes());
    match targets {
        Targets::Classes { labels, classes } => {
            hash.update([0]);
            count(hash, *classes);
            count(hash, labels.len());
            add_words(hash, labels, |x| x.to_le_bytes());
        }
        Targets::Values { data, width } => {
            hash.update([1]);
            count(hash, *width);
            count(hash, data.len());
            add_words(hash, data, |x| x.to_le_bytes());
        }
    }
}

/// The fingerprint `sha256` of a data set, extended by its validation set and the weights of its training samples, if it has
/// any: `nn-data more\0`, `sha256`, then the sets as in [`fingerprint`], then the weights as f32.
pub(crate) fn with_more(sha256: String, train: &Dataset, validation: Option<&Dataset>) -> String {
    if train.weights().is_none() && validation.is_none() {
        return sha256;
    }
    let mut hash = Sha256::new();
    hash.update(b"nn-data more\0");
    hash.update(sha256);
    validation.into_iter().for_each(|set| add(&mut hash, set));
    if let Some(weights) = train.weights() {
        hash.update(b"weights\0");
        hash.update((weights.len() as u64).to_le_bytes());
        add_words(&mut hash, weights, |x| x.to_le_bytes());
    }
    hex(&hash.finalize())
}

/// Hashes numbers through a buffer, since one call per number would cost more than the hash itself.
fn add_words<T: Copy>(hash: &mut Sha256, data: &[T], bytes: impl Fn(T) -> [u8; 4]) {
    let mut buffer = Vec::with_capacity(16 * 1024);
    for chunk in data.chunks(4 * 1024) {
        buffer.clear();
        chunk.iter().for_each(|&x| buffer.extend_from_slice(&bytes(x)));
        hash.update(&buffer);
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(data: Vec<u8>, scale: f32, labels: Vec<u32>) -> Dataset {
        let targets = Targets::Classes { labels, classes: 3 };
        Dataset::new(Features::U8 { data, scale }, 2, targets, None).unwrap()
    }

    #[test]
    fn golden() {
        let (train, test) = (set(vec![1, 2, 3, 4], 255.0, vec![0, 2]), set(vec![5, 6], 255.0, vec![1]));
        let mut bytes = b"nn-data/1\0".to_vec();
        for (data, labels) in [(vec![1u8, 2, 3, 4], vec![0u32, 2]), (vec![5, 6], vec![1])] {
            bytes.extend((labels.len() as u64).to_le_bytes());
            bytes.extend(2u64.to_le_bytes());
            bytes.extend([0, 0]);
            bytes.extend(255f32.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            bytes.extend(data);
            bytes.push(0);
            bytes.extend(3u64.to_le_bytes());
            bytes.extend((labels.len() as u64).to_le_bytes());
            labels.iter().for_each(|l| bytes.extend(l.to_le_bytes()));
        }
        assert_eq!(fingerprint(&train, &test), hex(&Sha256::digest(&bytes)));
    }

    #[test]
    fn everything_that_the_network_sees_is_covered() {
        let base = set(vec![1, 2], 255.0, vec![0]);
        let of = |other: &Dataset| fingerprint(&base, other);
        let different = [
            of(&base),
            of(&set(vec![1, 3], 255.0, vec![0])),
            of(&set(vec![1, 2], 16.0, vec![0])),
            of(&set(vec![1, 2], 255.0, vec![1])),
            of(&Dataset::new(
                Features::F32(vec![1.0, 2.0]),
                2,
                Targets::Values { data: vec![0.0], width: 1 },
                Some((1, 2)),
            )
            .unwrap()),
        ];
        for (i, a) in different.iter().enumerate() {
            assert!(different[..i].iter().all(|b| a != b));
        }
    }
}
