//! Training sets and their serialisation.

use std::ops::Range;
use std::sync::Arc;

use nn_core::{Dataset, Features, Targets};
use sha2::{Digest, Sha256};

use crate::proto as pb;
use crate::wire::{CHUNK, hex};

/// The first bytes of a serialisation without weights of samples.
pub(super) const VERSION: &[u8] = b"nn-train/1\0";
/// The first bytes of a serialisation that ends with the weights of the samples.
pub(super) const WEIGHTED: &[u8; VERSION.len()] = b"nn-train/2\0";

/// A training set with its content hash.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    dataset: Arc<Dataset>,
    /// The bytes before the features.
    head: Vec<u8>,
    /// The bytes between features and targets.
    middle: Vec<u8>,
    /// The bytes between targets and weights; empty without weights.
    tail: Vec<u8>,
    sha256: String,
    bytes: u64,
}

impl TrainingSet {
    /// Hashes the samples.
    #[must_use]
    pub fn new(dataset: Arc<Dataset>) -> Self {
        let [head, middle, tail] = frames_of(&dataset);
        let mut set = Self { dataset, head, middle, tail, sha256: String::new(), bytes: 0 };
        set.bytes = set.segments().iter().map(|s| s.len() as u64).sum();
        let mut hash = Sha256::new();
        let mut buffer = Vec::with_capacity(CHUNK);
        for index in 0..set.chunks() {
            buffer.clear();
            set.write(set.chunk_range(index), &mut buffer);
            hash.update(&buffer);
        }
        set.sha256 = hex(&hash.finalize());
        set
    }

    /// The samples.
    #[must_use]
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// SHA-256 over the serialisation, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The length of the serialisation.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The whole serialisation.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn serialised(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(0..self.bytes, &mut bytes);
        bytes
    }

    pub(crate) fn chunks(&self) -> u32 {
        self.bytes.div_ceil(CHUNK as u64) as u32
    }

    /// Appends a chunk to `out`.
    pub(crate) fn write_chunk(&self, index: u32, out: &mut Vec<u8>) {
        self.write(self.chunk_range(index), out);
    }

    pub(crate) fn offer(&self) -> pb::DataOffer {
        pb::DataOffer { sha256: self.sha256.clone(), bytes: self.bytes, chunks: self.chunks() }
    }

    /// The range of a chunk in the serialisation.
    pub(super) fn chunk_range(&self, index: u32) -> Range<u64> {
        let start = u64::from(index) * CHUNK as u64;
        start..self.bytes.min(start + CHUNK as u64)
    }

    fn segments(&self) -> [Segment<'_>; 6] {
        let features = match self.dataset.features() {
            Features::U8 { data, .. } => Segment::Bytes(data),
            Features::F32(data) => Segment::Floats(data),
        };
        let targets = match self.dataset.targets() {
            Targets::Classes { labels, .. } => Segment::Words(labels),
            Targets::Values { data, .. } => Segment::Floats(data),
        };
        let weights = Segment::Floats(self.dataset.weights().unwrap_or_default());
        let [head, middle, tail] = [&self.head, &self.middle, &self.tail].map(|bytes| Segment::Bytes(bytes));
        [head, features, middle, targets, tail, weights]
    }

    /// Appends a range of the serialisation to `out`.
    pub(super) fn write(&self, range: Range<u64>, out: &mut Vec<u8>) {
        let mut start = 0;
        for segment in self.segments() {
            let end = start + segment.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                segment.write((from - start) as usize..(to - start) as usize, out);
            }
            start = end;
        }
    }
}

enum Segment<'a> {
    Bytes(&'a [u8]),
    Floats(&'a [f32]),
    Words(&'a [u32]),
}

impl Segment<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(data) => data.len(),
            Self::Floats(data) => data.len() * 4,
            Self::Words(data) => data.len() * 4,
        }
    }

    fn write(&self, range: Range<usize>, out: &mut Vec<u8>) {
        // Whole words first; the surplus at both ends is then removed.
        let words = range.start / 4..range.end.div_ceil(4);
        let at = out.len();
        match self {
            Self::Bytes(data) => {
                out.extend_from_slice(&data[range]);
                return;
            }
            Self::Floats(data) => data[words].iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
            Self::Words(data) => data[words].iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        }
        out.truncate(at + range.end - range.start / 4 * 4);
        out.drain(at..at + range.start % 4);
    }
}

/// The bytes before the features, those between features and targets, and those between targets and weights.
fn frames_of(set: &Dataset) -> [Vec<u8>; 3] {
    let count = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u64).to_le_bytes());
    let mut head = if set.weights().is_some() { WEIGHTED.to_vec() } else { VERSION.to_vec() };
    count(&mut head, set.len());
    count(&mut head, set.input_width());
    match set.image() {
        None => head.push(0),
        Some((height, width)) => {
            head.push(1);
            count(&mut head, height);
            count(&mut head, width);
        }
    }
    match set.features() {
        Features::U8 { data, scale } => {
            head.push(0);
            head.extend_from_slice(&scale.to_le_bytes());
            count(&mut head, data.len());
        }
        Features::F32(data) => {
            head.push(1);
            count(&mut head, data.len());
        }
    }
    let mut middle = Vec::new();
    match set.targets() {
        Targets::Classes { labels, classes } => {
            middle.push(0);
            count(&mut middle, *classes);
            count(&mut middle, labels.len());
        }
        Targets::Values { data, width } => {
            middle.push(1);
            count(&mut middle, *width);
            count(&mut middle, data.len());
        }
    }
    let mut tail = Vec::new();
    if let Some(weights) = set.weights() {
        count(&mut tail, weights.len());
    }
    [head, middle, tail]
}
