//! `metrics.jsonl`: a line for every epoch, one with the hash of the weights for every step, and one for each event: a worker came or
//! went, the run was resumed.
//!
//! Lines are collected in memory and written many at a time. If the disk is full they stay in memory until there is
//! room. A resumed run repeats some steps: their lines are cut from the file, and their hashes are compared with those of
//! the repeated steps.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::progress::warn;
use crate::store::WeightsHash;

/// Bytes to collect before they are written.
const GATHER: usize = 64 << 10;

/// The longest that a line waits to be written, as long as the run makes steps.
const WAIT: Duration = Duration::from_secs(1);

/// Bytes to keep in memory while the disk is full. Beyond this, lines of steps are dropped; lines of epochs never are.
const KEEP: usize = 64 << 20;

/// The most lines of epochs that go into a checkpoint.
const UNLOGGED: usize = 10_000;

/// The log of a run.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Option<File>,
    /// Every how many steps a line is written; 0 for never.
    every: u64,
    pending: Vec<u8>,
    /// The lines of epochs in `pending`.
    epochs: Vec<Value>,
    written: Duration,
    /// Why the last write failed, if it did.
    trouble: Option<String>,
    left_out: u64,
    /// The hashes in the lines that were cut.
    told: Told,
}

/// The hashes of the weights in lines that were cut, by the number of steps after which the weights had them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    steps: HashMap<u64, String>,
    epochs: HashMap<u64, String>,
}

impl Log {
    /// A log at `path`, which need not exist.
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

    /// Prepares the log for a run that resumes after `step`: cuts the lines of later steps and everything after a damaged
    /// line, and adds the lines of epochs in `unlogged` that are missing. Returns all lines of epochs that are left.
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
            // A line without a line feed was cut by a crash, even if the rest happens to be valid JSON.
            let parsed = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Value>(line).ok());
            let Some(value) = parsed else {
                if line.ends_with(b"\n") {
                    warn(format_args!("line {} of {} is damaged", number + 1, self.path.display()));
                }
                whole = false;
                continue;
            };
            let hash = |name: &str| value[name].as_str().map(str::to_owned);
            // A run with rounds counts those.
            let counts = ["rounds", "round", "steps", "step"];
            let after = counts.into_iter().find_map(|name| value[name].as_u64()).unwrap_or(u64::MAX);
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
            // Truncating in place works on a full disk too.
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

    /// Logs the hash of `params`, the weights after `steps` steps; `samples` is the number of samples whose gradients
    /// counted in the last of them. If these are rounds, `sequential` is the number of sequential steps in all of them.
    ///
    /// # Errors
    /// If the log had another hash for that step before the run was resumed.
    pub(super) fn weights(
        &mut self,
        steps: u64,
        sequential: Option<u64>,
        samples: usize,
        params: &[f32],
    ) -> Result<(), Failure> {
        let due = self.every != 0 && steps.is_multiple_of(self.every);
        let told = if self.told.steps.is_empty() { None } else { self.told.steps.remove(&steps) };
        if !due && told.is_none() {
            return Ok(());
        }
        let hash = WeightsHash::of(params);
        if self.pending.len() > KEEP {
            self.left_out += 1;
        } else {
            let _ = match sequential {
                None => write!(self.pending, r#"{{"kind":"step","step":{steps},"#),
                Some(step) => write!(self.pending, r#"{{"kind":"round","round":{steps},"step":{step},"#),
            };
            let _ = write!(self.pending, r#""samples":{samples},"weights":""#);
            self.pending.extend_from_slice(&hash.hex());
            self.pending.extend_from_slice(b"\"}\n");
        }
        match told {
            Some(told) if told != hash.to_string() => Err(contradiction(steps, &told, &hash.to_string())),
            _ => Ok(()),
        }
    }

    /// Logs `line` for an epoch that ended after `steps` steps.
    ///
    /// # Errors
    /// If the log had another hash for that epoch before the run was resumed.
    pub(super) fn epoch(&mut self, steps: u64, line: Value) -> Result<(), Failure> {
        self.gather(&line);
        let now = line["params_sha256"].as_str().unwrap_or_default().to_owned();
        self.epochs.push(line);
        match self.told.epochs.remove(&steps) {
            Some(told) if told != now => Err(contradiction(steps, &told, &now)),
            _ => Ok(()),
        }
    }

    /// Logs something that happened beside the steps: `line` has the number of steps, or rounds, before it, so that it is cut with them.
    pub(super) fn event(&mut self, line: &Value) {
        if self.pending.len() <= KEEP {
            self.gather(line);
        }
    }

    fn gather(&mut self, line: &Value) {
        let _ = writeln!(self.pending, "{line}");
    }

    /// Writes the collected lines if there are many of them or the last write was long ago.
    pub(super) fn settle(&mut self, now: Duration) {
        if self.pending.len() >= GATHER || now.saturating_sub(self.written) >= WAIT {
            // While the disk is full, try only now and then.
            if self.trouble.is_none() || now.saturating_sub(self.written) >= WAIT {
                self.flush(now);
            }
        }
    }

    /// Writes the collected lines. Those that cannot be written are kept for the next time.
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
                    warn(format_args!("{trouble}; training continues, and the lines are kept for later"));
                }
                self.trouble = Some(trouble);
            }
        }
    }

    /// Removes from `pending` whatever was written, even if the rest fails, so that nothing is written twice.
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

    /// The lines of epochs that could not be written yet, to be kept in a checkpoint. If there are very many, only the
    /// last of them, because the metadata of a checkpoint must stay small.
    pub(super) fn unlogged(&self) -> &[Value] {
        &self.epochs[self.epochs.len().saturating_sub(UNLOGGED)..]
    }

    /// Writes the rest at the end of the run.
    ///
    /// # Errors
    /// If lines could not be written.
    pub(super) fn finish(&mut self, now: Duration) -> Result<(), Failure> {
        self.flush(now);
        if self.left_out > 0 {
            let lines = self.left_out;
            warn(format_args!(
                "{} lacks the hashes of {lines} steps, for which there was no room",
                self.path.display()
            ));
        }
        self.trouble.take().map_or(Ok(()), |trouble| {
            Err(Failure::failed(trouble)
                .help("make room; --resume then writes the lines of epochs, but those of steps are lost"))
        })
    }
}

/// The failure of a run in which a repeated step gave different weights, which must never happen.
fn contradiction(steps: u64, before: &str, now: &str) -> Failure {
    Failure::failed(format_args!(
        "THE SAME STEP GAVE DIFFERENT WEIGHTS: metrics.jsonl has {before} after step {steps}, but the repeated step gave \
         {now}; the run is stopped, and no checkpoint of it is written"
    ))
    .help(
        "the cause can be a memory fault, an altered checkpoint or log, or another version of nn; `nn replay` with an \
         older checkpoint shows which steps hold, and another --resume accepts the new weights",
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
            log.weights(step, None, 4, &[step as f32]).unwrap();
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
    fn repeated_steps_are_compared_with_the_lines_that_were_cut() {
        let (_folder, path, text) = example();
        for cut in 0..=30 {
            let mut log = Log::new(path.clone(), 1);
            let epochs = log.cut(cut, Vec::new()).unwrap();
            assert_eq!(epochs.len() as u64, cut / 10, "{cut}");
            for step in cut + 1..=30 {
                log.weights(step, None, 4, &[step as f32]).unwrap();
                if step % 10 == 0 {
                    log.epoch(step, epoch(step / 10)).unwrap();
                }
            }
            log.finish(Duration::ZERO).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{cut}");
        }
        let mut log = Log::new(path, 1);
        let _ = log.cut(12, Vec::new()).unwrap();
        log.weights(13, None, 4, &[13.0]).unwrap();
        let broken = log.weights(14, None, 4, &[14.5]).unwrap_err();
        assert!(broken.message().contains("after step 14"), "{broken}");
        let broken = log.epoch(20, epoch(7)).unwrap_err();
        assert!(broken.message().contains("after step 20"), "{broken}");
    }

    #[test]
    fn a_torn_line_is_cut_and_nothing_before_it() {
        let (_folder, path, text) = example();
        for length in 0..text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            let _ = Log::new(path.clone(), 1).cut(30, Vec::new()).unwrap();
            let whole = text[..length].rfind('\n').map_or(0, |end| end + 1);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text[..whole]);
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_kept_and_restored_from_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        // The folder does not exist yet, so writing fails as on a full disk.
        let path = folder.path().join("later/metrics.jsonl");
        let mut log = Log::new(path.clone(), 1);
        log.weights(1, None, 4, &[1.0]).unwrap();
        log.epoch(10, epoch(1)).unwrap();
        log.flush(Duration::ZERO);
        assert_eq!(log.unlogged(), [epoch(1)]);
        let unlogged = log.unlogged().to_vec();
        assert!(log.finish(Duration::ZERO).is_err());
        std::fs::create_dir(folder.path().join("later")).unwrap();
        log.finish(Duration::ZERO).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert!(log.unlogged().is_empty());
        // Another process, which takes the lines from a checkpoint. Lines that the log already has are not added again.
        for times in [1, 2] {
            let mut log = Log::new(folder.path().join("other.jsonl"), 1);
            assert_eq!(log.cut(10, unlogged.clone()).unwrap(), [epoch(1)], "{times}");
            log.finish(Duration::ZERO).unwrap();
            let text = std::fs::read_to_string(folder.path().join("other.jsonl")).unwrap();
            assert_eq!(text, format!("{}\n", epoch(1)));
        }
    }
}
