//! Event files for TensorBoard: scalars, histograms, pictures and hyper-parameters of a run.
//!
//! An event file is a sequence of records ([`record`]), each a protobuf message `Event` of TensorFlow
//! (`tensorflow/core/util/event.proto`, [`messages`]). Values are written in the older of the two forms that TensorBoard reads,
//! `simple_value`, `histo` and `image`, which needs no tensors; it converts them as it loads a file.

mod histogram;
mod hparams;
mod messages;
mod picture;
mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use prost::Message as _;

use crate::clock::date;

pub(crate) use self::hparams::Hyperparameters;
use self::messages::{Event, SessionLog, Summary, What, summary};
pub(crate) use self::picture::{Picture, Wrong, confusion, mosaic};

/// Bytes to collect before they are written.
const GATHER: usize = 64 << 10;

/// An event file that is being written. After a write has failed, nothing more is written.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
}

impl EventFile {
    /// Creates an event file in `folder`, which need not exist. If `after` is not 0 the run was resumed after that step: TensorBoard
    /// then forgets what an earlier file has of later ones.
    ///
    /// # Errors
    /// If the folder or the file cannot be created or written.
    pub(crate) fn create(folder: &Path, after: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let seconds = now() as u64;
        let process = std::process::id();
        let mut number = 0;
        let (path, file) = loop {
            // TensorBoard finds the files by this beginning, and reads them in the order of their names.
            let path = folder.join(format!("{BEGINNING}{seconds:010}.{}.{process}.{number}", machine()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
                Err(error) => return Err(error),
            }
        };
        let mut events = Self { path, file, pending: Vec::new() };
        events.event(0, What::FileVersion("brain.Event:2".to_owned()));
        if after > 0 {
            events.event(after, What::SessionLog(SessionLog { status: SessionLog::START }));
        }
        events.flush()?;
        Ok(events)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds numbers after `step` steps, by their tags.
    pub(crate) fn scalars<'a>(&mut self, step: u64, scalars: impl IntoIterator<Item = (&'a str, f64)>) {
        let value = scalars.into_iter().map(|(tag, number)| summary::Value {
            tag: tag.to_owned(),
            of: Some(summary::Of::SimpleValue(number as f32)),
            metadata: None,
        });
        let value: Vec<_> = value.collect();
        if !value.is_empty() {
            self.event(step, What::Summary(Summary { value }));
        }
    }

    /// Adds the distribution of numbers after `step` steps.
    pub(crate) fn histogram(&mut self, step: u64, tag: &str, numbers: &[f32]) {
        let of = Some(summary::Of::Histo(histogram::histogram(numbers)));
        let value = vec![summary::Value { tag: tag.to_owned(), of, metadata: None }];
        self.event(step, What::Summary(Summary { value }));
    }

    /// Adds a picture after `step` steps.
    pub(crate) fn picture(&mut self, step: u64, tag: &str, picture: &Picture) {
        let of = picture.encoded().map(summary::Of::Image);
        let value = vec![summary::Value { tag: tag.to_owned(), of, metadata: None }];
        self.event(step, What::Summary(Summary { value }));
    }

    /// Adds the hyper-parameters at the beginning of a run.
    pub(crate) fn hyperparameters(&mut self, hyperparameters: &Hyperparameters) {
        let value = hyperparameters.beginning(now());
        self.event(0, What::Summary(Summary { value }));
    }

    /// Adds that the run is over.
    pub(crate) fn end(&mut self, success: bool) {
        let value = vec![hparams::end(now(), success)];
        self.event(0, What::Summary(Summary { value }));
    }

    fn event(&mut self, step: u64, what: What) {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = Event { wall_time: now(), step, what: Some(what) };
        record::append(&mut self.pending, &event.encode_to_vec());
    }

    /// Whether so much waits to be written that it should be.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= GATHER
    }

    /// Writes what has been added.
    ///
    /// # Errors
    /// If it cannot be written. The file may then end in half a record, which TensorBoard leaves out, and must not be continued.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.pending);
        self.pending.clear();
        result
    }
}

/// What the name of every event file begins with.
const BEGINNING: &str = "events.out.tfevents.";

/// Removes the event files in a folder, and the folder if nothing else is in it.
///
/// # Errors
/// If there is no such folder, or a file cannot be removed.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(BEGINNING) {
            fs::remove_file(entry.path())?;
        }
    }
    // Other files may be there.
    let _ = fs::remove_dir(folder);
    Ok(())
}

/// Seconds since 1970.
fn now() -> f64 {
    date().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The machine's name, which tells apart the files of machines that share a folder.
#[cfg(unix)]
fn machine() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// The machine's name, which tells apart the files of machines that share a folder.
#[cfg(not(unix))]
fn machine() -> String {
    "machine".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_version_the_events_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(&folder.path().join("a/b"), 7).unwrap();
        file.scalars(3, [("loss/train", 0.5), ("accuracy/train", 0.25)]);
        file.histogram(3, "weights/layer1", &[1.0, 2.0]);
        file.flush().unwrap();
        let bytes = fs::read(file.path()).unwrap();
        let events: Vec<Event> =
            record::read(&bytes).unwrap().into_iter().map(|data| Event::decode(data).unwrap()).collect();
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".to_owned())));
        assert!(
            matches!(&events[1], Event { step: 7, what: Some(What::SessionLog(log)), .. } if log.status == 1)
        );
        let Some(What::Summary(scalars)) = &events[2].what else { panic!("{:?}", events[2]) };
        assert_eq!(events[2].step, 3);
        assert_eq!(scalars.value[0].tag, "loss/train");
        assert_eq!(scalars.value[1].of, Some(summary::Of::SimpleValue(0.25)));
        // Another file of the same second and process.
        let second = EventFile::create(&folder.path().join("a/b"), 0).unwrap();
        assert_ne!(second.path(), file.path());
    }

    #[test]
    fn a_folder_that_is_a_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(EventFile::create(file.path(), 0).is_err());
    }
}
