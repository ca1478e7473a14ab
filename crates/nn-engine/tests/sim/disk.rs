//! The coordinator's disk: checkpoints are written, become safe some time later, and are damaged by crashes.

use std::time::Duration;

use nn_engine::{EpochSums, Snapshot};
use sha2::{Digest, Sha256};

use crate::noise::Noise;
use crate::tally::Tally;

/// Checkpoints that are kept, as in the real store.
const KEEP: usize = 3;

#[derive(Debug)]
struct File {
    step: u64,
    bytes: Vec<u8>,
    /// Whether it survives a crash.
    safe: bool,
}

/// Checkpoints, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Disk(Vec<File>);

impl Disk {
    /// Writes a checkpoint, which is not safe yet.
    pub(crate) fn write(&mut self, snapshot: &Snapshot) {
        // A resumed run overwrites a damaged file of an earlier life.
        self.0.retain(|file| file.step != snapshot.step);
        self.0.push(File { step: snapshot.step, bytes: encode(snapshot), safe: false });
        self.0.sort_by_key(|file| file.step);
    }

    /// Makes the checkpoint of this step safe.
    pub(crate) fn synced(&mut self, step: u64) {
        for file in self.0.iter_mut().filter(|file| file.step == step) {
            file.safe = true;
        }
        let surplus = self.0.iter().filter(|file| file.safe).count().saturating_sub(KEEP);
        for _ in 0..surplus {
            if let Some(at) = self.0.iter().position(|file| file.safe) {
                self.0.remove(at);
            }
        }
    }

    /// The machine crashes. An unsafe checkpoint is lost, torn, or survives by luck; even a safe one may be damaged.
    pub(crate) fn crash(&mut self, noise: &mut Noise, tally: &mut Tally) {
        self.0.retain_mut(|file| {
            let length = file.bytes.len() as u64;
            match noise.below(100) {
                0..=39 if !file.safe => {
                    tally.count("snapshot lost");
                    return false;
                }
                40..=64 if !file.safe => {
                    tally.count("snapshot torn");
                    file.bytes.truncate(noise.below(length) as usize);
                }
                65..=79 if !file.safe => {
                    tally.count("snapshot torn");
                    // The length has reached the disk, the contents have not.
                    let from = noise.below(length) as usize;
                    file.bytes[from..].fill(0);
                }
                80..=89 => {
                    tally.count("snapshot damaged");
                    let bit = noise.below(length * 8);
                    file.bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
                }
                _ => {}
            }
            file.safe = true;
            true
        });
    }

    /// The newest checkpoint that verifies.
    pub(crate) fn newest(&self, tally: &mut Tally) -> Option<Snapshot> {
        self.0.iter().rev().find_map(|file| {
            let snapshot = decode(&file.bytes);
            if snapshot.is_none() {
                tally.count("snapshot passed over");
            }
            snapshot
        })
    }
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Snapshot { step, params, moments, average, epoch, plateau: None } = snapshot else {
        unreachable!("no run of the simulation has the schedule plateau")
    };
    for word in [*step, epoch.loss.to_bits(), epoch.correct as u64] {
        bytes.extend(word.to_le_bytes());
    }
    // Without an average, nothing: damage falls on the bytes that there are.
    let average = Some(average).filter(|average| !average.is_empty());
    for numbers in [params, &moments[0], &moments[1]].into_iter().chain(average) {
        bytes.extend((numbers.len() as u64).to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    }
    let hash = Sha256::digest(&bytes);
    bytes.extend(hash);
    bytes
}

/// None if the file has changed since it was written.
fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body)[..] != *hash {
        return None;
    }
    let mut rest = body;
    let mut word = || {
        let (word, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(u64::from_le_bytes(*word))
    };
    let (step, loss, correct) = (word()?, f64::from_bits(word()?), word()? as usize);
    let mut numbers = || {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (numbers, after) = after.split_at_checked(u64::from_le_bytes(*length) as usize * 4)?;
        rest = after;
        Some(numbers.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect::<Vec<f32>>())
    };
    let (params, moments) = (numbers()?, [numbers()?, numbers()?]);
    let average = numbers().unwrap_or_default();
    Some(Snapshot { step, params, moments, average, epoch: EpochSums { loss, correct }, plateau: None })
}

/// Time between checkpoints; zero for a final one only.
pub(crate) fn interval(noise: &mut Noise) -> Duration {
    Duration::from_micros(*noise.pick(&[0, 1, 1, 5_000, 50_000]))
}
