//! What the page shows: the runs as they are known now, and what each reader has not been told yet.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::network::Network;

/// The most lines of a run's history that are kept. Of a longer one every second epoch is left out, again and again.
const MOST: usize = 8192;

/// All runs.
pub(super) struct Board {
    runs: Mutex<Vec<Shown>>,
    /// Counts the changes; readers wait for it.
    changes: watch::Sender<u64>,
    closed: AtomicBool,
}

/// A run on the page.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) folder: PathBuf,
    /// Lines of epochs and events, in the order of the log.
    lines: Vec<Line>,
    /// Counts how often the lines began anew, because the log did, or because there were too many.
    generation: u64,
    /// Every how many epochs one is kept.
    every: u64,
    /// State, options and results, and how often they have changed.
    facts: (String, u64),
    /// How the run stands at this moment, if it is one of this process.
    now: (String, u64),
    /// Whether the run is one of this process.
    pub(super) is_of_this_process: bool,
    /// The network of its last evaluation, if it is.
    pub(super) network: Option<Arc<Network>>,
}

/// A line of the log: the epoch, if it is one, and its text.
struct Line {
    epoch: Option<u64>,
    text: String,
}

/// What a reader knows of the runs.
#[derive(Debug, Default)]
pub(super) struct Reader {
    runs: Vec<Known>,
}

#[derive(Debug, Default)]
struct Known {
    lines: usize,
    /// One more than those that it has the lines of; 0 for none.
    generation: u64,
    facts: u64,
    now: u64,
}

/// A message to a reader: the kind of event, and its data as JSON.
pub(super) type Message = (&'static str, String);

impl Board {
    pub(super) fn new() -> Self {
        Self { runs: Mutex::default(), changes: watch::Sender::new(0), closed: AtomicBool::new(false) }
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Shown>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing new will come.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Tells when something changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes the run in this folder, which is added if it is new.
    pub(super) fn change(&self, folder: &Path, change: impl FnOnce(&mut Shown) -> bool) {
        let mut runs = self.runs();
        let at = runs.iter().position(|run| run.folder == folder).unwrap_or_else(|| {
            runs.push(Shown { folder: folder.to_owned(), every: 1, ..Shown::default() });
            runs.len() - 1
        });
        let changed = change(&mut runs[at]);
        drop(runs);
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Looks at a run by its number; `None` if there is none.
    pub(super) fn look<T>(&self, run: usize, look: impl FnOnce(&Shown) -> T) -> Option<T> {
        self.runs().get(run).map(look)
    }

    /// What a reader does not know yet.
    pub(super) fn news(&self, reader: &mut Reader) -> Vec<Message> {
        let mut news = Vec::new();
        let runs = self.runs();
        for (number, run) in runs.iter().enumerate() {
            if reader.runs.len() == number {
                reader.runs.push(Known::default());
            }
            let known = &mut reader.runs[number];
            if known.facts != run.facts.1 {
                known.facts = run.facts.1;
                news.push(("run", format!("{{\"run\":{number},\"facts\":{}}}", run.facts.0)));
            }
            let anew = known.generation != run.generation + 1;
            if anew {
                (known.generation, known.lines) = (run.generation + 1, 0);
            }
            if anew || known.lines < run.lines.len() {
                let lines: Vec<&str> = run.lines[known.lines..].iter().map(|line| &*line.text).collect();
                let (every, lines) = (run.every, lines.join(","));
                let head = format!("\"run\":{number},\"anew\":{anew},\"every\":{every}");
                news.push(("lines", format!("{{{head},\"lines\":[{lines}]}}")));
                known.lines = run.lines.len();
            }
            if known.now != run.now.1 {
                known.now = run.now.1;
                news.push(("now", format!("{{\"run\":{number},\"now\":{}}}", run.now.0)));
            }
        }
        news
    }
}

impl Shown {
    /// Forgets the history: the log begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.lines.clear();
        self.every = 1;
        self.generation += 1;
    }

    /// Adds a line of the log.
    pub(super) fn add(&mut self, line: &Value) {
        let epoch = line["epoch"].as_u64();
        if epoch.is_some_and(|epoch| !epoch.is_multiple_of(self.every)) {
            return;
        }
        self.lines.push(Line { epoch, text: line.to_string() });
        if self.lines.len() > MOST {
            self.every *= 2;
            self.generation += 1;
            let every = self.every;
            self.lines.retain(|line| line.epoch.is_none_or(|epoch| epoch.is_multiple_of(every)));
            // Events alone are not worth more.
            let over = self.lines.len().saturating_sub(MOST / 2);
            if self.lines.iter().all(|line| line.epoch.is_none()) {
                self.lines.drain(..over);
            }
        }
    }

    /// Sets state, options and results. Gives whether they are new.
    pub(super) fn set_facts(&mut self, facts: &Value) -> bool {
        set(&mut self.facts, facts.to_string())
    }

    /// Sets how the run stands. Gives whether that is new.
    pub(super) fn set_now(&mut self, now: &Value) -> bool {
        set(&mut self.now, now.to_string())
    }
}

fn set(place: &mut (String, u64), value: String) -> bool {
    let new = place.0 != value;
    if new {
        *place = (value, place.1 + 1);
    }
    new
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn epoch(epoch: u64) -> Value {
        json!({ "kind": "epoch", "epoch": epoch })
    }

    fn lines(news: &[Message]) -> Vec<(bool, Vec<u64>)> {
        let epochs = |value: &Value| -> Vec<u64> {
            value["lines"].as_array().unwrap().iter().filter_map(|line| line["epoch"].as_u64()).collect()
        };
        let of = |value: &Value| (value["anew"].as_bool().unwrap(), epochs(value));
        let lines = news.iter().filter(|(kind, _)| *kind == "lines");
        lines.map(|(_, text)| of(&serde_json::from_str(text).unwrap())).collect()
    }

    #[test]
    fn a_reader_is_told_everything_once() {
        let board = Board::new();
        let folder = Path::new("runs/a");
        let add = |numbers: std::ops::RangeInclusive<u64>| {
            board.change(folder, |run| {
                numbers.for_each(|number| run.add(&epoch(number)));
                true
            });
        };
        let (mut early, mut late) = (Reader::default(), Reader::default());
        add(1..=2);
        assert_eq!(lines(&board.news(&mut early)), [(true, vec![1, 2])]);
        add(3..=3);
        assert_eq!(lines(&board.news(&mut early)), [(false, vec![3])]);
        assert!(board.news(&mut early).is_empty());
        assert_eq!(lines(&board.news(&mut late)), [(true, vec![1, 2, 3])]);
        // The log is cut, for instance by a resumption.
        board.change(folder, |run| {
            run.begin_anew();
            run.add(&epoch(1));
            true
        });
        for reader in [&mut early, &mut late] {
            assert_eq!(lines(&board.news(reader)), [(true, vec![1])]);
        }
        board.change(folder, |run| run.set_facts(&json!({ "state": "running" })));
        assert_eq!(board.news(&mut early).len(), 1);
        board.change(folder, |run| run.set_facts(&json!({ "state": "running" })));
        assert!(board.news(&mut early).is_empty());
    }

    #[test]
    fn a_long_history_is_thinned_and_keeps_its_events() {
        let board = Board::new();
        let folder = Path::new("runs/a");
        board.change(folder, |run| {
            run.add(&json!({ "kind": "event", "event": "resumed" }));
            (1..=40_000).for_each(|number| run.add(&epoch(number)));
            true
        });
        let news = board.news(&mut Reader::default());
        let (_, epochs) = &lines(&news)[0];
        assert!((MOST / 2..=MOST).contains(&epochs.len()), "{}", epochs.len());
        assert!(epochs.iter().all(|epoch| epoch.is_multiple_of(8)) && epochs.last() == Some(&40_000));
        let value: Value = serde_json::from_str(&news[0].1).unwrap();
        assert_eq!((&value["lines"][0]["event"], &value["every"]), (&json!("resumed"), &json!(8)));
    }
}
