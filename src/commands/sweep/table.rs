//! The live table of a sweep, and what it says at the end.

use unicode_width::UnicodeWidthStr;

use super::board::{Board, Entry, State};
use super::folder::SweepFolder;
use super::rank::Ranked;
use crate::show::counted;

/// The configurations that the closing text lists.
const SHOWN: usize = 12;
/// The space between two columns.
const GAP: &str = "  ";

/// The table: running runs first, then the best of the others.
pub(super) fn lines(board: &Board, (width, height): (usize, usize)) -> Vec<String> {
    let entries = board.entries();
    let mut order: Vec<usize> = (0..entries.len()).collect();
    let rank = |entry: &Entry| match entry.state {
        State::Running => 0,
        State::Waiting if entry.epoch == 0 => 2,
        _ => 1,
    };
    order.sort_by(|&a, &b| {
        let (a, b) = (&entries[a], &entries[b]);
        let scores = if rank(a) == 1 { a.score.order(&b.score) } else { std::cmp::Ordering::Equal };
        rank(a).cmp(&rank(b)).then(scores)
    });
    let shown = order.len().min(height.saturating_sub(3).max(1));
    let mut rows =
        vec![["run", "state", "epoch", "train loss", &board.by.in_words(), "options"].map(String::from)];
    rows.extend(order.iter().take(shown).map(|&at| row(at, &entries[at], board)));
    let mut lines = aligned(&rows, width);
    if order.len() > shown {
        lines.push(format!("… and {}", counted(order.len() - shown, "more run")));
    }
    let count = |state| entries.iter().filter(|entry| entry.state == state).count();
    lines.push(format!(
        "{} of {} done, {} running",
        count(State::Done) + count(State::Diverged) + count(State::Left),
        counted(entries.len(), "run"),
        count(State::Running)
    ));
    lines
}

fn row(at: usize, entry: &Entry, board: &Board) -> [String; 6] {
    let loss = entry.train_loss.map_or_else(|| "–".to_owned(), |loss| format!("{loss:.5}"));
    let state = match &entry.place {
        Some(place) if entry.state == State::Running => format!("on {place}"),
        _ => entry.state.name().to_owned(),
    };
    let epoch = format!("{}/{}", entry.epoch, entry.epochs);
    [(at + 1).to_string(), state, epoch, loss, board.by.shown(entry.score.value), entry.words.clone()]
}

/// Rows in columns; the last is cut off at the width.
pub(in crate::commands) fn aligned<const N: usize>(rows: &[[String; N]], width: usize) -> Vec<String> {
    let widths: Vec<usize> =
        (0..N).map(|c| rows.iter().map(|row| row[c].width()).max().unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(c, cell)| {
                    let space = " ".repeat(widths[c].saturating_sub(cell.width()));
                    // Words are aligned to the left, numbers to the right.
                    let words = cell.starts_with(char::is_alphabetic) && rows[0][c] != *cell || c + 1 == N;
                    if words || c == 1 { format!("{cell}{space}") } else { format!("{space}{cell}") }
                })
                .collect();
            let line = cells.join(GAP);
            line.trim_end().chars().take(width).collect()
        })
        .collect()
}

/// A run that is over, in one line.
pub(super) fn ended(run: usize, entry: &Entry, board: &Board) -> String {
    let how = match entry.state {
        State::Done => format!("{} {}", board.by.in_words(), board.by.shown(entry.score.value)),
        State::Stopped => format!("stopped after {}", epochs(entry.epoch)),
        State::Diverged => "diverged".to_owned(),
        state => state.name().to_owned(),
    };
    let place = entry.place.as_ref().map_or(String::new(), |place| format!(", on {place}"));
    let words = if entry.words.is_empty() { String::new() } else { format!("  {}", entry.words) };
    format!("{}{words}  {how}{place}", SweepFolder::name(run))
}

fn epochs(count: u64) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), "epoch")
}

/// The configurations in order, the best, and where it is.
pub(super) fn closing(board: &Board, folder: &SweepFolder) -> String {
    let entries = board.entries();
    let ranked = board.result();
    let mut text = String::new();
    let spread = ranked.iter().any(|ranked| ranked.spread.is_some());
    if ranked.len() > 1 {
        let mut rows =
            vec![["", &board.by.in_words(), if spread { "± std" } else { "" }, "options"].map(String::from)];
        for (place, ranked) in ranked.iter().take(SHOWN).enumerate() {
            rows.push([
                format!("{}", place + 1),
                board.by.shown(ranked.score.value),
                ranked.spread.map_or(String::new(), |spread| format!("± {}", board.by.shown(Some(spread)))),
                board.words(ranked.configuration).to_owned(),
            ]);
        }
        text += &format!("\n{}\n", aligned(&rows, usize::MAX).join("\n"));
        if ranked.len() > SHOWN {
            text += &format!("… and {} more in sweep.json\n", ranked.len() - SHOWN);
        }
        text.push('\n');
    }
    if let Some(best) = ranked.first() {
        text += &best_in_words(board, folder, best, &entries);
    }
    let unfinished = entries.iter().filter(|e| matches!(e.state, State::Stopped | State::Waiting)).count();
    if unfinished > 0 {
        text += &format!(
            "stopped with {} left; to go on, run the same command with --resume --out {}\n",
            counted(unfinished, "run"),
            folder.path().display()
        );
    }
    for (state, what) in
        [(State::Diverged, "diverged"), (State::Left, "were left behind by successive halving")]
    {
        let count = entries.iter().filter(|entry| entry.state == state).count();
        if count > 0 {
            text += &format!("{} of {} {what}\n", count, counted(entries.len(), "run"));
        }
    }
    text += &format!("all results are in {}/sweep.json\n", folder.path().display());
    text
}

fn best_in_words(board: &Board, folder: &SweepFolder, best: &Ranked, entries: &[Entry]) -> String {
    let of: Vec<usize> =
        (0..entries.len()).filter(|&run| entries[run].configuration == best.configuration).collect();
    let words = match board.words(best.configuration) {
        "" => "all".to_owned(),
        words => format!("best {words}"),
    };
    let figure = format!("{} {}", board.by.in_words(), board.by.shown(best.score.value));
    match (of.as_slice(), best.spread) {
        ([run], _) => {
            format!("{words}: {figure}; the model is in {}\n", folder.of_run(*run).display())
        }
        (runs, spread) => {
            let spread = spread.map_or(String::new(), |s| format!(" ± {}", board.by.shown(Some(s))));
            let names: Vec<String> = runs.iter().take(10).map(|&run| SweepFolder::name(run)).collect();
            let more = if runs.len() > 10 { " …" } else { "" };
            format!(
                "{words}: {figure}{spread} over {}: {}{more}\n",
                counted(runs.len(), "run"),
                names.join(" ")
            )
        }
    }
}
