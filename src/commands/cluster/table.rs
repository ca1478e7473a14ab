//! Drawing a run's status for people.

use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use nn_net::proto as pb;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether the run is stalled. Every step waits for its workers for a moment, which does not count.
pub(super) fn is_stalled(status: &pb::RunStatus) -> bool {
    !status.waiting_for.is_empty()
        && (status.state() == pb::RunState::Waiting || status.waiting_seconds >= STALLED_AFTER)
}

/// The seconds of waiting within one step after which the run counts as stalled.
const STALLED_AFTER: f64 = 3.0;

/// What the run counts.
fn unit(status: &pb::RunStatus) -> &'static str {
    if status.replicas > 0 { "round" } else { "step" }
}

/// The progress of the run, or what it waits for, in one line.
pub(super) fn headline(status: &pb::RunStatus) -> String {
    if status.state() == pb::RunState::Over {
        let outcome = status.outcome().as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
        let outcome = outcome.replace('_', " ");
        let (step, total) = (status.step, status.total_steps);
        return format!("the run is over: {outcome} after {} {step} of {total}", unit(status));
    }
    if is_stalled(status) {
        let time = Duration::from_secs(status.waiting_seconds as u64);
        return format!("waiting for {} (for {})", status.waiting_for, HumanDuration(time));
    }
    let loss = status.loss.map_or_else(String::new, |loss| format!("  loss {loss:.4}"));
    let epoch = (status.epoch + 1).min(u64::from(status.epochs));
    format!(
        "epoch {epoch}/{}  {} {}/{}{loss}  {} samples/s",
        status.epochs,
        unit(status),
        status.step,
        status.total_steps,
        HumanCount(status.samples_per_second as u64)
    )
}

/// A column of the table.
struct Column {
    heading: &'static str,
    /// The least width, if more than that of the heading.
    least: usize,
    /// Words are aligned to the left, numbers to the right.
    words: bool,
    cell: fn(&pb::WorkerStatus) -> String,
}

/// The columns, from left to right. Least widths fit typical values, so that the layout stays stable.
const COLUMNS: [Column; 8] = [
    Column { heading: "worker", least: 10, words: true, cell: |w| clip(&format!("{} {}", w.worker, w.name)) },
    Column { heading: "address", least: 15, words: true, cell: |w| w.address.clone() },
    Column { heading: "threads", least: 0, words: false, cell: |w| w.threads.to_string() },
    Column { heading: "share", least: 0, words: false, cell: |w| format!("{:.0} %", w.share * 100.0) },
    Column { heading: "samples/s", least: 0, words: false, cell: samples_per_second },
    Column {
        heading: "network MB/s",
        least: 0,
        words: false,
        cell: |w| format!("{:.1}", w.bytes_per_second / 1e6),
    },
    Column { heading: "state", least: "computing".len(), words: true, cell: state },
    Column {
        heading: "last heard",
        least: 0,
        words: false,
        cell: |w| format!("{:.1} s ago", w.silent_seconds),
    },
];

/// The columns that are dropped on a narrow terminal, in this order.
const DISPENSABLE: [&str; 5] = ["address", "threads", "network MB/s", "last heard", "share"];

/// The longest worker's name that is shown in full.
const NAME: usize = 24;

/// The space available for a table, in columns and lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Room {
    /// Unlimited space.
    pub(super) const ENDLESS: Self = Self { width: usize::MAX, height: usize::MAX };
}

/// A table of workers that is drawn repeatedly. It keeps the widths of its columns, which only grow.
#[derive(Debug, Default)]
pub(super) struct Workers([usize; COLUMNS.len()]);

impl Workers {
    /// A line of headings, and one line per worker; nothing if there are no workers.
    pub(super) fn lines(&mut self, status: &pb::RunStatus, room: Room) -> Vec<String> {
        if status.workers.is_empty() {
            return Vec::new();
        }
        // One line is for the headings, one for the count of omitted workers.
        let shown = match status.workers.len() {
            all if all < room.height => all,
            _ => room.height.saturating_sub(2).max(1),
        };
        let mut rows = vec![COLUMNS.map(|column| column.heading.to_owned())];
        rows.extend(status.workers.iter().take(shown).map(|w| COLUMNS.map(|column| (column.cell)(w))));
        for (c, width) in self.0.iter_mut().enumerate() {
            let widest = rows.iter().map(|row| row[c].width()).max().unwrap_or(0);
            *width = widest.max(COLUMNS[c].least).max(*width);
        }
        let kept = self.kept(room.width);
        let mut lines: Vec<String> = rows.iter().map(|row| self.line(row, &kept)).collect();
        let rest = status.workers.len() - shown;
        if rest > 0 {
            lines.push(format!("… and {rest} more; `nn status` shows all"));
        }
        lines
    }

    /// The columns that fit.
    fn kept(&self, room: usize) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..COLUMNS.len()).collect();
        for name in DISPENSABLE {
            let width: usize = kept.iter().map(|&c| self.0[c] + GAP.len()).sum();
            if width.saturating_sub(GAP.len()) <= room {
                break;
            }
            kept.retain(|&c| COLUMNS[c].heading != name);
        }
        kept
    }

    fn line(&self, row: &[String; COLUMNS.len()], kept: &[usize]) -> String {
        let cells: Vec<String> = kept
            .iter()
            .map(|&c| {
                let space = " ".repeat(self.0[c].saturating_sub(row[c].width()));
                if COLUMNS[c].words { format!("{}{space}", row[c]) } else { format!("{space}{}", row[c]) }
            })
            .collect();
        cells.join(GAP).trim_end().to_owned()
    }
}

/// The space between two columns.
const GAP: &str = "  ";

fn samples_per_second(worker: &pb::WorkerStatus) -> String {
    // There is no rate before the first measurement.
    worker.samples_per_second.map_or_else(|| "–".to_owned(), |rate| HumanCount(rate as u64).to_string())
}

fn state(worker: &pb::WorkerStatus) -> String {
    worker.state().as_str_name().trim_start_matches("WORKER_STATE_").to_lowercase()
}

/// A name, truncated to [`NAME`] columns.
pub(super) fn clip(name: &str) -> String {
    if name.width() <= NAME {
        return name.to_owned();
    }
    let mut clipped = String::new();
    for c in name.chars() {
        if clipped.width() + c.width().unwrap_or(0) >= NAME {
            break;
        }
        clipped.push(c);
    }
    clipped + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: u64, name: &str) -> pb::WorkerStatus {
        let mut worker = pb::WorkerStatus {
            worker: number,
            name: name.to_owned(),
            address: format!("10.0.0.{number}:40000"),
            threads: 4,
            share: 0.5,
            samples_per_second: Some(12345.6),
            bytes_per_second: 2.5e6,
            silent_seconds: 0.12,
            ..pb::WorkerStatus::default()
        };
        worker.set_state(pb::WorkerState::Computing);
        worker
    }

    fn run(workers: Vec<pb::WorkerStatus>) -> pb::RunStatus {
        pb::RunStatus { workers, ..pb::RunStatus::default() }
    }

    #[test]
    fn the_layout_is_stable() {
        let mut table = Workers::default();
        assert!(table.lines(&run(Vec::new()), Room::ENDLESS).is_empty());
        let status = run(vec![worker(1, "ada"), worker(22, "grace")]);
        let lines = table.lines(&status, Room::ENDLESS);
        let want = [
            "worker      address          threads  share  samples/s  network MB/s  state      last heard",
            "1 ada       10.0.0.1:40000         4   50 %     12,345           2.5  computing   0.1 s ago",
            "22 grace    10.0.0.22:40000        4   50 %     12,345           2.5  computing   0.1 s ago",
        ];
        assert_eq!(lines, want);
        // A column that has been wide stays wide.
        let wide = table.lines(&run(vec![worker(1, "a-long-name-of-a-machine")]), Room::ENDLESS);
        let again = table.lines(&status, Room::ENDLESS);
        assert_eq!(wide[0], again[0]);
        assert!(wide[1].starts_with("1 a-long-name-of-a-mach…  "), "{wide:?}");
    }

    #[test]
    fn a_table_on_a_small_terminal() {
        let status = run((1..=30).map(|number| worker(number, "ada")).collect());
        for (width, missing) in
            [(100, None), (80, Some("address")), (60, Some("threads")), (44, Some("network"))]
        {
            let lines = Workers::default().lines(&status, Room { width, height: 10 });
            assert_eq!(lines.len(), 10);
            assert_eq!(lines[9], "… and 22 more; `nn status` shows all");
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:#?}");
            assert!(missing.is_none_or(|name| !lines[0].contains(name)), "{lines:#?}");
            assert!(lines[0].contains("worker") && lines[0].contains("state"), "{lines:#?}");
        }
        let all = Workers::default().lines(&status, Room { width: 200, height: 31 });
        assert_eq!(all.len(), 31);
    }

    #[test]
    fn headlines() {
        let mut status = run(Vec::new());
        (status.step, status.total_steps, status.epochs) = (30, 300, 3);
        status.set_state(pb::RunState::Training);
        assert_eq!(headline(&status), "epoch 1/3  step 30/300  0 samples/s");
        status.set_state(pb::RunState::Waiting);
        (status.waiting_for, status.waiting_seconds) = ("2 workers; 1 has joined".to_owned(), 300.0);
        assert_eq!(headline(&status), "waiting for 2 workers; 1 has joined (for 5 minutes)");
        status.set_state(pb::RunState::Over);
        status.set_outcome(pb::Outcome::Stopped);
        assert_eq!(headline(&status), "the run is over: stopped after step 30 of 300");
        status.replicas = 4;
        assert_eq!(headline(&status), "the run is over: stopped after round 30 of 300");
    }
}
