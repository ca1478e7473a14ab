//! `metrics.jsonl`: a line for every epoch, and one with the hash of the weights for every step.
//!
//! Lines are gathered in memory and written many at a time. Where there is no room for them they stay in memory until
//! there is. A run that is taken up again does some steps a second time: their lines are cut from the file, and what
//! they said is compared with what comes out now.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::progress::warn;
use crate::store::WeightsHash;

/// So much is gathered before it is written.
const GATHER: usize = 64 << 10;

/// Nothing waits longer than this, as far as steps come by.
const WAIT: Duration = Duration::from_secs(1);

/// While there is no room, so much is kept in memory; beyond it the lines of steps are left out, not those of epochs.
const KEEP: usize = 64 << 20;

/// So many lines of epochs go into a checkpoint.
const UNLOGGED: usize = 10_000;

/// The log of a run.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Option<File>,
    /// Steps between two lines of steps; 0 for none.
    every: u64,
    pending: Vec<u8>,
    /// The lines of epochs that are in `pending`.
    epochs: Vec<Value>,
    written: Duration,
    /// What went wrong with the last write.
    trouble: Option<String>,
    left_out: u64,
    /// What the lines said that were cut.
    told: Told,
}

/// What the lines of later steps said before they were cut: the hash of the weights after so many steps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    steps: HashMap<u64, String>,
    epochs: HashMap<u64, String>,
}

impl Log {
    /// A log at `path`, which need not be there.
    pub(super) fn new(path: PathBuf, every: u64) -> Self {
        Self {
            path,
            file: None,
            every,
            pending: Vec::new(),
            epochs: Vec::new(),
            written: Duration::ZERO,
            trouble: None,
            left_out: 0,
            told: Told::default(),
        }
    }

    /// Before the run goes on after `step`: cuts the lines of later steps and what follows a damaged line. Gives the lines
    /// of epochs that stay; those in `unlogged` are added should they be missing.
    pub(super) fn cut(&mut self, step: u64, unlogged: Vec<Value>) -> io::Result<Vec<Value>> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(mut file) => file.read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let mut kept = 0;
        let mut whole = true;
        let mut epochs: Vec<Value> = Vec::new();
        for (number, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            // A line without its end was cut by a crash, even if what is there happens to be JSON.
            let parsed = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Value>(line).ok());
            let Some(value) = parsed else {
                if line.ends_with(b"\n") {
                    warn(format_args!("line {} of {} is damaged", number + 1, self.path.display()));
                }
                whole = false;
                continue;
            };
            let hash = |name: &str| value[name].as_str().map(str::to_owned);
            let after = value["steps"].as_u64().or(value["step"].as_u64()).unwrap_or(u64::MAX);
            if after > step {
                whole = false;
                if let Some(hash) = hash("weights") {
                    self.told.steps.insert(after, hash);
                } else if let Some(hash) = hash("params_sha256") {
                    self.told.epochs.insert(after, hash);
                }
            } else if whole {
                kept += line.len();
                if value["epoch"].is_u64() {
                    epochs.push(value);
                }
            }
        }
        if kept < text.len() {
            // In place: that needs no room.
            OpenOptions::new().write(true).open(&self.path)?.set_len(kept as u64)?;
        }
        for line in unlogged {
            if !epochs.iter().any(|known| known["steps"] == line["steps"]) {
                self.gather(&line);
                self.epochs.push(line.clone());
                epochs.push(line);
            }
        }
        Ok(epochs)
    }

    /// The weights after so many steps, and the samples whose gradients the last of them was taken with: each counted
    /// where its gradient was.
    ///
    /// # Errors
    /// If they are not those that the log had after that step before.
    pub(super) fn weights(&mut self, steps: u64, samples: usize, params: &[f32]) -> Result<(), Failure> {
        let due = self.every != 0 && steps.is_multiple_of(self.every);
        let told = if self.told.steps.is_empty() { None } else { self.told.steps.remove(&steps) };
        if !due && told.is_none() {
            return Ok(());
        }
        let hash = WeightsHash::of(params);
        if self.pending.len() > KEEP {
            self.left_out += 1;
        } else {
            let _ = write!(self.pending, r#"{{"kind":"step","step":{steps},"samples":{samples},"weights":""#);
            self.pending.extend_from_slice(&hash.hex());
            self.pending.extend_from_slice(b"\"}\n");
        }
        match told {
            Some(told) if told != hash.to_string() => Err(contradiction(steps, &told, &hash.to_string())),
            _ => Ok(()),
        }
    }

    /// An epoch is over.
    ///
    /// # Errors
    /// If its weights are not those that the log had before.
    pub(super) fn epoch(&mut self, steps: u64, line: Value) -> Result<(), Failure> {
        self.gather(&line);
        let now = line["params_sha256"].as_str().unwrap_or_default().to_owned();
        self.epochs.push(line);
        match self.told.epochs.remove(&steps) {
            Some(told) if told != now => Err(contradiction(steps, &told, &now)),
            _ => Ok(()),
        }
    }

    fn gather(&mut self, line: &Value) {
        let _ = writeln!(self.pending, "{line}");
    }

    /// Writes what has been gathered, if it is much or old.
    pub(super) fn settle(&mut self, now: Duration) {
        if self.pending.len() >= GATHER || now.saturating_sub(self.written) >= WAIT {
            // While there is no room it is only tried now and then.
            if self.trouble.is_none() || now.saturating_sub(self.written) >= WAIT {
                self.flush(now);
            }
        }
    }

    /// Writes what has been gathered. Where that fails it is kept for the next time.
    pub(super) fn flush(&mut self, now: Duration) {
        self.written = now;
        match self.write() {
            Ok(()) => {
                self.epochs.clear();
                if self.trouble.take().is_some() {
                    warn(format_args!("wrote to {} again", self.path.display()));
                }
            }
            Err(error) => {
                let trouble = format!("cannot write to {}: {error}", self.path.display());
                if self.trouble.is_none() {
                    warn(format_args!("{trouble}; the training goes on, and the lines are kept for later"));
                }
                self.trouble = Some(trouble);
            }
        }
    }

    /// What is written is taken out of `pending` even if the rest fails: it must not be written twice.
    fn write(&mut self) -> io::Result<()> {
        let mut done = 0;
        let result = loop {
            if done == self.pending.len() {
                break Ok(());
            }
            let file = match &mut self.file {
                Some(file) => file,
                None => match OpenOptions::new().create(true).append(true).open(&self.path) {
                    Ok(file) => self.file.insert(file),
                    Err(error) => break Err(error),
                },
            };
            match file.write(&self.pending[done..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.pending.drain(..done);
        result
    }

    /// The lines of epochs that there was no room for: to be kept in a checkpoint. Only the last of very many, as what is
    /// beside the numbers in a checkpoint must stay small.
    pub(super) fn unlogged(&self) -> &[Value] {
        &self.epochs[self.epochs.len().saturating_sub(UNLOGGED)..]
    }

    /// Writes the rest at the end of the run.
    ///
    /// # Errors
    /// If lines are lost with that.
    pub(super) fn finish(&mut self, now: Duration) -> Result<(), Failure> {
        self.flush(now);
        if self.left_out > 0 {
            let lines = self.left_out;
            warn(format_args!(
                "there was no room in {} for the hashes of {lines} steps",
                self.path.display()
            ));
        }
        self.trouble.take().map_or(Ok(()), |trouble| {
            Err(Failure::failed(trouble).help(
                "make room; with --resume the lines of epochs are then written, those of steps are lost",
            ))
        })
    }
}

/// The same step has given other weights than before, which must not be.
fn contradiction(steps: u64, before: &str, now: &str) -> Failure {
    Failure::failed(format_args!(
        "THE SAME STEP HAS GIVEN OTHER WEIGHTS: after step {steps} metrics.jsonl had {before}, now it is {now}; the run \
         is stopped, and no checkpoint is written of it"
    ))
    .help(
        "a memory fault, an altered checkpoint or log, or another version of nn can be the cause; `nn replay` with an \
         older checkpoint tells which steps hold, and --resume once more goes on with what comes out now",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn epoch(epoch: u64) -> Value {
        json!({"kind": "epoch", "epoch": epoch, "steps": 10 * epoch, "params_sha256": format!("{epoch}")})
    }

    /// A log of three epochs of ten steps.
    fn example() -> (tempfile::TempDir, PathBuf, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = Log::new(path.clone(), 1);
        for step in 1..=30 {
            log.weights(step, 4, &[step as f32]).unwrap();
            if step % 10 == 0 {
                log.epoch(step, epoch(step / 10)).unwrap();
            }
        }
        log.finish(Duration::ZERO).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 33);
        (folder, path, text)
    }

    #[test]
    fn what_is_cut_is_compared_and_written_again() {
        let (_folder, path, text) = example();
        for cut in 0..=30 {
            let mut log = Log::new(path.clone(), 1);
            let epochs = log.cut(cut, Vec::new()).unwrap();
            assert_eq!(epochs.len() as u64, cut / 10, "{cut}");
            for step in cut + 1..=30 {
                log.weights(step, 4, &[step as f32]).unwrap();
                if step % 10 == 0 {
                    log.epoch(step, epoch(step / 10)).unwrap();
                }
            }
            log.finish(Duration::ZERO).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{cut}");
        }
        let mut log = Log::new(path, 1);
        let _ = log.cut(12, Vec::new()).unwrap();
        log.weights(13, 4, &[13.0]).unwrap();
        let broken = log.weights(14, 4, &[14.5]).unwrap_err();
        assert!(broken.message().contains("after step 14"), "{broken}");
        let broken = log.epoch(20, epoch(7)).unwrap_err();
        assert!(broken.message().contains("after step 20"), "{broken}");
    }

    #[test]
    fn any_torn_end_is_cut_and_nothing_before_it() {
        let (_folder, path, text) = example();
        for length in 0..text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            let _ = Log::new(path.clone(), 1).cut(30, Vec::new()).unwrap();
            let whole = text[..length].rfind('\n').map_or(0, |end| end + 1);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text[..whole]);
        }
    }

    #[test]
    fn lines_without_room_are_kept_and_come_back_with_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        // There is no such folder yet, which fails as a full disk does.
        let path = folder.path().join("later/metrics.jsonl");
        let mut log = Log::new(path.clone(), 1);
        log.weights(1, 4, &[1.0]).unwrap();
        log.epoch(10, epoch(1)).unwrap();
        log.flush(Duration::ZERO);
        assert_eq!(log.unlogged(), [epoch(1)]);
        let unlogged = log.unlogged().to_vec();
        assert!(log.finish(Duration::ZERO).is_err());
        std::fs::create_dir(folder.path().join("later")).unwrap();
        log.finish(Duration::ZERO).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert!(log.unlogged().is_empty());
        // Another process, which has the lines from a checkpoint; those that are there are not doubled.
        for times in [1, 2] {
            let mut log = Log::new(folder.path().join("other.jsonl"), 1);
            assert_eq!(log.cut(10, unlogged.clone()).unwrap(), [epoch(1)], "{times}");
            log.finish(Duration::ZERO).unwrap();
            let text = std::fs::read_to_string(folder.path().join("other.jsonl")).unwrap();
            assert_eq!(text, format!("{}\n", epoch(1)));
        }
    }
}
