//! Following runs by their files, which this process or another is writing.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::board::Board;
use super::live::Live;
use crate::commands::runs::{Head, State, folders_in, head, open, short_name};
use crate::failure::Failure;
use crate::store::run_files::METRICS;

/// The time between two looks at the files.
const PAUSE: Duration = Duration::from_millis(250);

/// Looks at the logs for each look at everything else: options, results, and new runs.
const SELDOM: u32 = 8;

/// The most runs on a page.
const RUNS: usize = 1000;

/// The bytes that are read at once, and the longest line that is taken.
const PIECE: usize = 1 << 20;

/// The bytes before the end that show whether a log is still the one that was read.
const SIGHT: usize = 128;

/// What is followed.
pub(super) enum Source {
    /// Folders of runs, or with runs in them; new ones may come.
    Folders(Vec<PathBuf>),
    /// A run of this process, in this folder.
    Run(PathBuf, Arc<Live>),
}

/// A thread that follows runs. It looks a last time when it ends.
pub(super) struct Follower {
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts to follow.
    ///
    /// # Errors
    /// Exit code 1 if there is no thread for it.
    pub(super) fn start(board: Arc<Board>, source: Source) -> Result<Self, Failure> {
        let (end, ended) = mpsc::channel();
        let mut eyes = Eyes { board, source, logs: BTreeMap::new(), piece: vec![0; PIECE], looks: 0 };
        eyes.look();
        let follow = move || {
            while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                eyes.look();
            }
            eyes.looks = 0;
            eyes.look();
        };
        let thread = std::thread::Builder::new()
            .name("nn-dashboard".to_owned())
            .spawn(follow)
            .map_err(|error| Failure::failed(format_args!("cannot follow the runs: {error}")))?;
        Ok(Self { end, thread })
    }

    /// Looks a last time.
    pub(super) fn end(self) {
        drop(self.end);
        let _ = self.thread.join();
    }
}

struct Eyes {
    board: Arc<Board>,
    source: Source,
    logs: BTreeMap<PathBuf, Log>,
    /// For what is read.
    piece: Vec<u8>,
    looks: u32,
}

impl Eyes {
    fn look(&mut self) {
        let thoroughly = self.looks.is_multiple_of(SELDOM);
        self.looks = self.looks.wrapping_add(1);
        let found = match &self.source {
            Source::Run(folder, _) => vec![folder.clone()],
            // What cannot be read now may be readable later.
            Source::Folders(folders) if thoroughly => {
                folders.iter().flat_map(|folder| folders_in(folder).unwrap_or_default()).collect()
            }
            Source::Folders(_) => Vec::new(),
        };
        for folder in found {
            if self.logs.len() < RUNS || self.logs.contains_key(&folder) {
                self.logs.entry(folder).or_default();
            }
        }
        for (folder, log) in &mut self.logs {
            if thoroughly {
                let head = head(folder);
                log.is_growing = head.state == State::Running;
                let facts = facts(folder, head, log.damaged);
                self.board.change(folder, |run| run.set_facts(&facts));
            } else if !log.is_growing {
                continue;
            }
            let news = log.read(&folder.join(METRICS), &mut self.piece);
            if news.anew || !news.lines.is_empty() {
                self.board.change(folder, |run| {
                    if news.anew {
                        run.begin_anew();
                    }
                    news.lines.iter().for_each(|line| run.add(line));
                    true
                });
            }
        }
        if let Source::Run(folder, live) = &self.source {
            let now = live.now();
            self.board.change(folder, |run| {
                run.is_of_this_process = true;
                run.network = live.network();
                run.set_now(&now)
            });
        }
    }
}

/// What the page shows of a run beside its history.
fn facts(folder: &Path, head: Head, damaged: usize) -> Value {
    let Head { state, options, summary, .. } = head;
    let options: serde_json::Map<String, Value> =
        options.into_iter().map(|(key, value)| (key, value.into())).collect();
    json!({
        "name": short_name(folder),
        "folder": folder,
        "state": state.name(),
        "options": options,
        "summary": summary,
        "damaged_lines": damaged,
    })
}

/// A log, as far as it has been read.
#[derive(Debug, Default)]
struct Log {
    /// The bytes that were read.
    at: u64,
    /// The last of them.
    seen: Vec<u8>,
    /// The beginning of a line whose rest is still to come.
    rest: Vec<u8>,
    /// The line is too long, and its rest is passed over.
    passes_over: bool,
    damaged: usize,
    /// Whether a process is writing it.
    is_growing: bool,
}

/// What is new in a log.
#[derive(Debug, Default)]
struct News {
    /// Everything that was known before is void.
    anew: bool,
    lines: Vec<Value>,
}

impl Log {
    /// Reads what is new. A log that cannot be read has nothing new.
    fn read(&mut self, path: &Path, piece: &mut [u8]) -> News {
        let mut news = News::default();
        let _ = self.try_read(path, piece, &mut news);
        news
    }

    fn begin_anew(&mut self) {
        *self = Self { is_growing: self.is_growing, ..Self::default() };
    }

    fn try_read(&mut self, path: &Path, piece: &mut [u8], news: &mut News) -> io::Result<()> {
        let Some(mut file) = open(path)? else {
            // A run that begins anew removes it first.
            news.anew = self.at > 0;
            self.begin_anew();
            return Ok(());
        };
        let mut before = vec![0; self.seen.len()];
        let _ = file.seek(SeekFrom::Start(self.at - before.len() as u64))?;
        // A log that was cut and written again differs, if only in its times.
        if file.read_exact(&mut before).is_err() || before != self.seen {
            news.anew = true;
            self.begin_anew();
            let _ = file.seek(SeekFrom::Start(0))?;
        }
        loop {
            let read = file.read(piece)?;
            if read == 0 {
                return Ok(());
            }
            self.take(&piece[..read], news);
        }
    }

    fn take(&mut self, mut piece: &[u8], news: &mut News) {
        self.at += piece.len() as u64;
        self.seen.extend_from_slice(&piece[piece.len().saturating_sub(SIGHT)..]);
        self.seen.drain(..self.seen.len().saturating_sub(SIGHT));
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            let (line, tail) = piece.split_at(end);
            piece = &tail[1..];
            if std::mem::take(&mut self.passes_over) {
                continue;
            }
            if self.rest.is_empty() {
                self.line(line, news);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, news);
            }
        }
        if self.rest.len() + piece.len() > PIECE {
            self.rest.clear();
            self.passes_over = true;
            self.damaged += 1;
        }
        if !self.passes_over {
            self.rest.extend_from_slice(piece);
        }
    }

    fn line(&mut self, line: &[u8], news: &mut News) {
        // Lines of steps are by far the most, and not shown.
        if line.starts_with(br#"{"kind":"step""#) || line.starts_with(br#"{"kind":"round""#) {
            return;
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(line) if line["epoch"].is_u64() || line["kind"] == "event" => news.lines.push(line),
            Ok(_) => {}
            Err(_) => self.damaged += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_followed_through_halves_of_lines_cuts_and_rubbish() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        let (mut log, mut piece) = (Log::default(), vec![0; PIECE]);
        let mut read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let news = log.read(&path, &mut piece);
            let epochs: Vec<u64> = news.lines.iter().filter_map(|line| line["epoch"].as_u64()).collect();
            (news.anew, epochs, log.damaged)
        };
        let one = "{\"kind\":\"step\",\"step\":1}\n{\"kind\":\"epoch\",\"epoch\":1}\n";
        assert_eq!(read(one), (false, vec![1], 0));
        assert_eq!(read(&format!("{one}rubbish\n{{\"epoch\":2")), (false, vec![], 1));
        assert_eq!(read(&format!("{one}rubbish\n{{\"epoch\":2,\"seconds\":1}}\n")), (false, vec![2], 1));
        // Cut and written again, with other times and the same length.
        assert_eq!(read(&format!("{one}rubbish\n{{\"epoch\":2,\"seconds\":3}}\n")), (true, vec![1, 2], 1));
        assert_eq!(read(one), (true, vec![1], 0));
        let endless = format!("{one}{}\n{{\"epoch\":2}}\n", "x".repeat(3 * PIECE));
        assert_eq!(read(&endless), (false, vec![2], 1));
        std::fs::remove_file(&path).unwrap();
        assert!(log.read(&path, &mut piece).anew);
        assert!(!log.read(&path, &mut piece).anew);
    }
}
