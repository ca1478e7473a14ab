//! A run's status as people read it.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use nn_net::proto as pb;

/// Whether the run stands still. Each step waits for its workers for a moment, which is not worth a word.
pub(super) fn stands(status: &pb::RunStatus) -> bool {
    !status.waiting_for.is_empty()
        && (status.state() == pb::RunState::Waiting || status.waiting_seconds >= STANDS_AFTER)
}

/// Seconds in one step from which on people may want to know what the matter is.
const STANDS_AFTER: f64 = 3.0;

/// One line on where the run is, or whom it waits for.
pub(super) fn headline(status: &pb::RunStatus) -> String {
    if stands(status) {
        let since = Duration::from_secs(status.waiting_seconds as u64);
        return format!("waiting for {} (since {})", status.waiting_for, indicatif::HumanDuration(since));
    }
    let loss = status.loss.map_or_else(String::new, |loss| format!("  loss {loss:.4}"));
    let epoch = (status.epoch + 1).min(u64::from(status.epochs));
    format!(
        "epoch {epoch}/{}  step {}/{}{loss}  {} samples/s",
        status.epochs,
        status.step,
        status.total_steps,
        HumanCount(status.samples_per_second as u64)
    )
}

/// The workers, one line each, under a line of headings; nothing where there are none.
pub(super) fn workers(status: &pb::RunStatus) -> Vec<String> {
    if status.workers.is_empty() {
        return Vec::new();
    }
    let mut rows = vec![
        ["worker", "address", "threads", "share", "samples/s", "network/s", "state", "last heard"]
            .map(str::to_owned),
    ];
    for w in &status.workers {
        let state = w.state().as_str_name().trim_start_matches("WORKER_STATE_").to_lowercase();
        rows.push([
            format!("{} {}", w.worker, w.name),
            w.address.clone(),
            w.threads.to_string(),
            format!("{:.0} %", w.share * 100.0),
            w.samples_per_second.map_or_else(|| "–".to_owned(), |rate| HumanCount(rate as u64).to_string()),
            HumanBytes(w.bytes_per_second as u64).to_string(),
            state,
            format!("{:.1} s", w.silent_seconds),
        ]);
    }
    let widths: [usize; 8] =
        std::array::from_fn(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0));
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .enumerate()
                .map(|(c, (cell, width))| {
                    // Words to the left, numbers to the right.
                    if c < 2 || c == 6 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                })
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}
