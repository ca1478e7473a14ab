//! Reading a serialised training set.

use std::io::{self, Read};

use nn_core::{Dataset, DatasetError, Features, Targets};
use nn_engine::Manifest;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::set::{VERSION, WEIGHTED};
use crate::wire::hex;

/// Why bytes are not the offered training set.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum DataError {
    #[error("the training set ends too early or cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the data are not a training set of this version of nn")]
    Version,
    #[error("the training set has {got} {what}, but the run's manifest says {want}")]
    Shape { what: &'static str, got: u64, want: u64 },
    #[error("the training set is corrupted: its content hash is {got}, not {want}")]
    Hash { got: String, want: String },
    #[error("the training set cannot be used: {0}")]
    Content(#[from] DatasetError),
}

/// The most bytes that the serialised training set of a run can have.
pub(crate) fn most_bytes(manifest: &Manifest) -> u64 {
    let parts = manifest.parts();
    let samples = parts.train_samples as u64;
    let row = (manifest.model().input_width() as u64 + manifest.model().output_width() as u64 + 1) * 4;
    samples.saturating_mul(row).saturating_add(256)
}

/// Reads a run's serialised training set, whose hash must be `sha256`. Every length is compared with the manifest before
/// memory is allocated for it.
///
/// # Errors
/// Says what is wrong with the data.
pub(crate) fn read(source: impl Read, manifest: &Manifest, sha256: &str) -> Result<Dataset, DataError> {
    let mut source = Hashing { source, hash: Sha256::new() };
    let model = manifest.model();
    let samples = manifest.parts().train_samples;
    let (width, outputs) = (model.input_width(), model.output_width());
    let mut version = [0; VERSION.len()];
    source.read_exact(&mut version)?;
    if version != VERSION && version != *WEIGHTED {
        return Err(DataError::Version);
    }
    source.expect("samples", samples)?;
    source.expect("features per sample", width)?;
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
            source.expect("target values per sample", outputs)?;
            source.expect("target values", samples.saturating_mul(outputs))?;
            let data = source.words(samples.saturating_mul(outputs), f32::from_le_bytes)?;
            Targets::Values { data, width: outputs }
        }
        _ => return Err(DataError::Version),
    };
    let weights = if version == *WEIGHTED {
        source.expect("weights", samples)?;
        Some(source.words(samples, f32::from_le_bytes)?)
    } else {
        None
    };
    let got = hex(&source.hash.finalize());
    if got != sha256 {
        return Err(DataError::Hash { got, want: sha256.to_owned() });
    }
    let set = Dataset::new(features, width, targets, image)?;
    Ok(match weights {
        Some(weights) => set.with_weights(weights)?,
        None => set,
    })
}

/// Bytes read and hashed at a time.
const BLOCK: usize = 64 * 1024;

/// The most memory allocated before there are bytes to fill it.
const AT_ONCE: usize = 16 << 20;

/// Hashes everything that is read.
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

    /// Reads bytes. Memory grows as they arrive, because the manifest, too, comes from a peer.
    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::with_capacity(count.min(AT_ONCE));
        while data.len() < count {
            let start = data.len();
            data.resize(start + BLOCK.min(count - start), 0);
            self.read_exact(&mut data[start..])?;
        }
        Ok(data)
    }

    /// Reads four-byte words.
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
