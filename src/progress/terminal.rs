//! The terminal on standard error, whose width may change while something is drawn on it.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::BARS;

/// The columns and lines of the terminal on standard error.
pub(super) fn terminal() -> (usize, usize) {
    terminal_of(stderr())
}

/// The columns and lines of a terminal; of a usual one, if there is none.
#[cfg(unix)]
pub(super) fn terminal_of(stream: impl std::os::fd::AsFd) -> (usize, usize) {
    terminal_size::terminal_size_of(stream)
        .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

/// The columns and lines of a terminal; of a usual one, if there is none.
#[cfg(windows)]
pub(super) fn terminal_of(stream: impl std::os::windows::io::AsHandle) -> (usize, usize) {
    terminal_size::terminal_size_of(stream)
        .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

/// What is on the terminal, as far as it is redrawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    /// The terminal's columns when it was drawn.
    columns: usize,
    /// Lines of the bar.
    pub(super) bar: usize,
    /// Lines of the table.
    pub(super) table: usize,
}

static DRAWN: Mutex<Drawn> = Mutex::new(Drawn { columns: 0, bar: 0, table: 0 });

/// Notes what is drawn.
pub(super) fn drawn<T>(change: impl FnOnce(&mut Drawn) -> T) -> T {
    change(&mut DRAWN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Clears what a terminal of another width has made of the bar and the table; it is drawn anew. Every line of theirs is
/// padded to the terminal's width, and ends without a line break: a terminal that becomes narrower wraps all of them, so
/// that they take more lines than are cleared before the next drawing, and one that becomes wider fewer.
pub(super) fn follow_terminal() {
    let columns = terminal().0.max(1);
    let (before, lines) = drawn(|drawn| {
        let before = std::mem::replace(&mut drawn.columns, columns);
        (before, drawn.bar + drawn.table)
    });
    if before == 0 || before == columns || lines == 0 || !wraps_again() || !stderr().is_terminal() {
        return;
    }
    let now = (before * lines).div_ceil(columns);
    if now < lines {
        let _ = write!(stderr(), "{}", "\n".repeat(lines - now));
    }
    BARS.suspend(|| {
        if now > lines {
            let _ = write!(stderr(), "\r\x1b[{}A\x1b[J", now - lines);
        }
    });
}

/// Whether the terminal wraps lines anew when its width changes. Nearly all do, but not xterm itself and GNU screen.
fn wraps_again() -> bool {
    let is = |name| std::env::var_os(name).is_some();
    let screen = std::env::var("TERM").is_ok_and(|term| term.starts_with("screen"));
    !is("XTERM_VERSION") && (!screen || is("TMUX"))
}

/// The beginning of a line that fits.
pub(super) fn clipped(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut width = 0;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width < columns
    };
    line.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_clipped() {
        assert_eq!(clipped("waiting for 2 workers", 21), "waiting for 2 workers");
        assert_eq!(clipped("waiting for 2 workers", 12), "waiting for…");
    }
}
