//! The training set as bytes: what its content hash is over, and what is shipped to workers that have not got it.
//!
//! The layout is in `proto/nn/v1/work.proto`, at `DataChunk`. It is never in memory as a whole: chunks are made from the
//! [`Dataset`] when they can be sent.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use nn_core::{Dataset, DatasetError, Features, Targets};
use nn_engine::Manifest;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::proto as pb;
use crate::wire::convert::Place;
use crate::wire::outbox::Feed;
use crate::wire::stream::frame;
use crate::wire::{CHUNK, hex};

const VERSION: &[u8] = b"nn-train/1\0";

/// A training set with its content hash.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    dataset: Arc<Dataset>,
    /// Everything before the features, and between features and targets.
    head: Vec<u8>,
    middle: Vec<u8>,
    sha256: String,
    bytes: u64,
}

/// Why bytes are not the training set that was offered.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum DataError {
    #[error("the training set ends too early or cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("these bytes are no training set of this version of nn")]
    Version,
    #[error("the training set has {got} {what}, but the run's manifest says {want}")]
    Shape { what: &'static str, got: u64, want: u64 },
    #[error("the training set is damaged: its content hash is {got}, not {want}")]
    Hash { got: String, want: String },
    #[error("the training set is not usable: {0}")]
    Content(#[from] DatasetError),
}

impl TrainingSet {
    /// Hashes the samples.
    #[must_use]
    pub fn new(dataset: Arc<Dataset>) -> Self {
        let (head, middle) = frames_of(&dataset);
        let mut set = Self { dataset, head, middle, sha256: String::new(), bytes: 0 };
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

    /// All of the serialisation.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn serialised(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(0..self.bytes, &mut bytes);
        bytes
    }

    pub(crate) fn chunks(&self) -> u32 {
        self.bytes.div_ceil(CHUNK as u64) as u32
    }

    pub(crate) fn offer(&self) -> pb::DataOffer {
        pb::DataOffer { sha256: self.sha256.clone(), bytes: self.bytes, chunks: self.chunks() }
    }

    fn chunk_range(&self, index: u32) -> Range<u64> {
        let start = u64::from(index) * CHUNK as u64;
        start..self.bytes.min(start + CHUNK as u64)
    }

    fn segments(&self) -> [Segment<'_>; 4] {
        let features = match self.dataset.features() {
            Features::U8 { data, .. } => Segment::Bytes(data),
            Features::F32(data) => Segment::Floats(data),
        };
        let targets = match self.dataset.targets() {
            Targets::Classes { labels, .. } => Segment::Words(labels),
            Targets::Values { data, .. } => Segment::Floats(data),
        };
        [Segment::Bytes(&self.head), features, Segment::Bytes(&self.middle), targets]
    }

    /// Appends a range of the serialisation.
    fn write(&self, range: Range<u64>, out: &mut Vec<u8>) {
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
        // Whole words first, then what is too much at either end goes.
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

/// The serialisation without the samples themselves.
fn frames_of(set: &Dataset) -> (Vec<u8>, Vec<u8>) {
    let count = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u64).to_le_bytes());
    let mut head = VERSION.to_vec();
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
    (head, middle)
}

/// The most bytes that the training set of a run can take.
pub(crate) fn most_bytes(manifest: &Manifest) -> u64 {
    let parts = manifest.parts();
    let samples = parts.train_samples as u64;
    let row = (manifest.model().input_width() as u64 + manifest.model().output_width() as u64) * 4;
    samples.saturating_mul(row).saturating_add(256)
}

/// Reads a serialisation of the training set of a run, whose hash must be `sha256`. Every length is compared with the
/// manifest before memory is taken for it.
///
/// # Errors
/// Says what is wrong with the bytes.
pub(crate) fn read(source: impl Read, manifest: &Manifest, sha256: &str) -> Result<Dataset, DataError> {
    let mut source = Hashing { source, hash: Sha256::new() };
    let model = manifest.model();
    let samples = manifest.parts().train_samples;
    let (width, outputs) = (model.input_width(), model.output_width());
    let mut version = [0; VERSION.len()];
    source.read_exact(&mut version)?;
    if version != VERSION {
        return Err(DataError::Version);
    }
    source.expect("samples", samples)?;
    source.expect("features a sample", width)?;
    let image = match source.byte()? {
        0 => None,
        1 => {
            let side = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            Some((side(source.count()?), side(source.count()?)))
        }
        _ => return Err(DataError::Version),
    };
    let numbers = samples.saturating_mul(width);
    let features = match source.byte()? {
        0 => {
            let scale = f32::from_le_bytes(source.array()?);
            source.expect("bytes of features", numbers)?;
            Features::U8 { data: source.bytes(numbers)?, scale }
        }
        1 => {
            source.expect("features", numbers)?;
            Features::F32(source.words(numbers, f32::from_le_bytes)?)
        }
        _ => return Err(DataError::Version),
    };
    let targets = match source.byte()? {
        0 => {
            source.expect("classes", outputs)?;
            source.expect("labels", samples)?;
            Targets::Classes { labels: source.words(samples, u32::from_le_bytes)?, classes: outputs }
        }
        1 => {
            source.expect("target values a sample", outputs)?;
            source.expect("target values", samples.saturating_mul(outputs))?;
            let data = source.words(samples.saturating_mul(outputs), f32::from_le_bytes)?;
            Targets::Values { data, width: outputs }
        }
        _ => return Err(DataError::Version),
    };
    let got = hex(&source.hash.finalize());
    if got != sha256 {
        return Err(DataError::Hash { got, want: sha256.to_owned() });
    }
    Ok(Dataset::new(features, width, targets, image)?)
}

/// What is read and hashed at a time.
const BLOCK: usize = 64 * 1024;

/// The most memory that is taken before there is something to fill it with.
const AT_ONCE: usize = 16 << 20;

/// Hashes what is read.
struct Hashing<R> {
    source: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    fn read_exact(&mut self, to: &mut [u8]) -> io::Result<()> {
        self.source.read_exact(to)?;
        self.hash.update(to);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn count(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn expect(&mut self, what: &'static str, want: usize) -> Result<(), DataError> {
        let (got, want) = (self.count()?, want as u64);
        if got == want { Ok(()) } else { Err(DataError::Shape { what, got, want }) }
    }

    /// Memory is taken as bytes come: the manifest that says how many there are is a peer's word too.
    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::with_capacity(count.min(AT_ONCE));
        while data.len() < count {
            let start = data.len();
            data.resize(start + BLOCK.min(count - start), 0);
            self.read_exact(&mut data[start..])?;
        }
        Ok(data)
    }

    fn words<T>(&mut self, count: usize, word: impl Fn([u8; 4]) -> T) -> io::Result<Vec<T>> {
        let mut words = Vec::with_capacity(count.min(AT_ONCE / 4));
        let mut buffer = vec![0; BLOCK.min(count.saturating_mul(4))];
        while words.len() < count {
            let bytes = &mut buffer[..BLOCK.min((count - words.len()).saturating_mul(4))];
            self.source.read_exact(bytes)?;
            self.hash.update(&*bytes);
            words.extend(bytes.chunks_exact(4).map(|b| word([b[0], b[1], b[2], b[3]])));
        }
        Ok(words)
    }
}

/// The chunks of a training set as messages, one at a time.
pub(crate) struct DataFeed {
    pub(crate) set: Arc<TrainingSet>,
    pub(crate) place: Place,
    pub(crate) next: u32,
}

impl Feed for DataFeed {
    fn next(&mut self) -> Option<Bytes> {
        let (index, total) = (self.next, self.set.chunks());
        if index >= total {
            return None;
        }
        self.next += 1;
        let mut data = Vec::with_capacity(CHUNK + 4);
        self.set.write(self.set.chunk_range(index), &mut data);
        let crc32 = crc32fast::hash(&data);
        let chunk = pb::DataChunk { index, total, crc32, data: data.into() };
        Some(frame(&self.place.to_worker(pb::coordinator_message::Body::DataChunk(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use nn_core::{Activation, Cost, Init, Model, Optimizer, Output, Schedule, ScheduleShape};
    use nn_engine::ManifestParts;

    use super::*;

    fn manifest(widths: &[usize], train_samples: usize) -> Manifest {
        let model = Model::new(widths.to_vec(), Activation::Relu, Output::Sigmoid, Cost::Mse).unwrap();
        Manifest::new(ManifestParts {
            model,
            init: Init::He,
            optimizer: Optimizer::Sgd,
            schedule: Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 },
            learning_rate: 0.1,
            l2: 0.0,
            batch_size: 1,
            shard_size: 1,
            epochs: 1,
            seed: 1,
            train_samples,
            data_sha256: String::new(),
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
    fn hostile_bytes_are_refused_before_memory_is_taken() {
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
