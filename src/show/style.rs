//! The capabilities of the terminal, and text in colours.

use std::io::{IsTerminal as _, stdout};
use std::sync::OnceLock;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::config::ColorWhen;
use crate::metrics::OutputKind;

/// The most columns of what [`Style::confidence`] gives: `100.0 %`, `>99.9 %`, `-12.345`.
pub(super) const CONFIDENCE: usize = 7;

/// The colours that a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// No escape sequences at all.
    None,
    /// The common palette of 256 colours, 24 of them greys.
    Palette,
    /// 24-bit colours.
    True,
}

/// The style of all drawing: decided once by a command, and passed to every drawing function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// The colours.
    pub(crate) color: Color,
    /// Whether characters beyond ASCII can be shown.
    pub(crate) unicode: bool,
    /// The most columns of a line.
    pub(crate) width: usize,
}

/// The meaning of a piece of text, which [`Style::paint`] turns into a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tint {
    Good,
    Bad,
    Warn,
    Strong,
    Dim,
    Bar,
}

/// What `--color` says, once the command line is known.
static WHEN: OnceLock<ColorWhen> = OnceLock::new();

/// Uses colours from now on as `--color` says; only the first call counts.
pub(crate) fn use_color(when: ColorWhen) {
    let _ = WHEN.set(when);
}

/// What `--color` says.
fn when() -> ColorWhen {
    WHEN.get().copied().unwrap_or(ColorWhen::Auto)
}

/// Whether a terminal may be given colours by somebody who does not ask for its capabilities: the progress bar.
pub(crate) fn may_color() -> bool {
    when() != ColorWhen::Never
}

impl Style {
    /// For standard output, as it is and as `--color` says.
    pub(crate) fn of_stdout() -> Self {
        let terminal = stdout().is_terminal();
        let width =
            terminal_size::terminal_size().filter(|_| terminal).map(|(width, _)| usize::from(width.0));
        Self::detect(terminal, width, |name| std::env::var(name).ok()).colored_when(when())
    }

    /// As detected, or as told.
    fn colored_when(self, when: ColorWhen) -> Self {
        let color = match (when, self.color) {
            (ColorWhen::Never, _) => Color::None,
            // What is written to a file is looked at later, and most likely in a terminal with a palette.
            (ColorWhen::Always, Color::None) => Color::Palette,
            (_, color) => color,
        };
        Self { color, ..self }
    }

    /// ASCII without colours, for tests.
    #[cfg(test)]
    pub(crate) fn plain(width: usize) -> Self {
        Self { color: Color::None, unicode: false, width }
    }

    /// Decides from facts about standard output: whether it is a terminal, its width, and the environment.
    ///
    /// Colours require a terminal, no `NO_COLOR`, and a `TERM` with colours; `COLORTERM` or Windows Terminal indicates
    /// 24-bit colours. Characters beyond ASCII are used unless the locale names an encoding other than UTF-8.
    pub(crate) fn detect(terminal: bool, width: Option<usize>, env: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(get);
        let term = get("TERM").unwrap_or_default();
        let windows_terminal = get("WT_SESSION").is_some();
        let colorless = ["", "dumb", "unknown"].contains(&term.as_str()) || term.starts_with("vt");
        let color = if !terminal || get("NO_COLOR").is_some() || (colorless && !windows_terminal) {
            Color::None
        } else if windows_terminal
            || term.ends_with("-direct")
            || get("COLORTERM").is_some_and(|value| ["truecolor", "24bit"].contains(&value.as_str()))
        {
            Color::True
        } else {
            Color::Palette
        };
        let utf8 = locale.is_none_or(|name| {
            let name = name.to_ascii_lowercase();
            name.contains("utf-8") || name.contains("utf8")
        });
        Self { color, unicode: utf8 && term != "dumb", width: width.unwrap_or(80).max(20) }
    }

    /// Whether escape sequences may be written.
    pub(crate) fn colored(&self) -> bool {
        self.color != Color::None
    }

    pub(super) fn paint(&self, tint: Tint, text: &str) -> String {
        if !self.colored() || text.trim().is_empty() {
            return text.to_owned();
        }
        let code = match tint {
            Tint::Good => "1;32",
            Tint::Bad => "1;31",
            Tint::Warn => "1;33",
            Tint::Strong => "1",
            Tint::Dim => "2",
            Tint::Bar => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The first text if the terminal can show Unicode, else the second.
    pub(crate) fn pick<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }

    /// A fraction as a percentage with one decimal, such as `98.2 %`. A fraction close to 0 or 1 is never rounded to 0 or
    /// 100 %.
    pub(crate) fn percent(&self, fraction: f64) -> String {
        if !fraction.is_finite() {
            return self.pick("–", "-").to_owned();
        }
        let percent = fraction * 100.0;
        if percent > 0.0 && percent < 0.05 {
            "<0.1 %".to_owned()
        } else if (99.95..100.0).contains(&percent) {
            ">99.9 %".to_owned()
        } else {
            format!("{percent:.1} %")
        }
    }

    /// An output of a network, at most [`CONFIDENCE`] columns wide: a percentage only if the outputs are probabilities.
    pub(crate) fn confidence(&self, output: f32, kind: OutputKind) -> String {
        let score = f64::from(output);
        match kind {
            OutputKind::Probabilities => self.percent(score),
            OutputKind::Scores if !score.is_finite() => self.pick("–", "-").to_owned(),
            OutputKind::Scores if score.abs() < 99.9995 => format!("{score:.3}"),
            OutputKind::Scores if score.abs() < 9999.95 => format!("{score:.1}"),
            OutputKind::Scores => format!("{score:.0e}"),
        }
    }

    /// Truncates text that is too wide, and marks the cut.
    pub(super) fn clip(&self, text: &str, width: usize) -> String {
        if columns(text) <= width {
            return text.to_owned();
        }
        let mark = self.pick("…", "~");
        let mut clipped = String::new();
        for c in text.chars() {
            if columns(&clipped) + c.width().unwrap_or(0) + 1 > width {
                break;
            }
            clipped.push(c);
        }
        clipped + mark
    }
}

/// The width in columns of text without escape sequences.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// Pads on the right to `width` columns.
pub(super) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Pads on the left to `width` columns.
pub(super) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Lines of `width` columns each, not counting escape sequences, which can be placed side by side.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) width: usize,
    pub(super) lines: Vec<String>,
}

impl Block {
    pub(super) fn new(width: usize) -> Self {
        Self { width, lines: Vec::new() }
    }

    /// Adds a line with `taken` visible columns.
    pub(super) fn push(&mut self, line: &str, taken: usize) {
        self.lines.push(format!("{line}{}", " ".repeat(self.width.saturating_sub(taken))));
    }

    /// Adds empty lines above and below up to `height` lines. Of an odd number, one more goes below.
    pub(super) fn centred(mut self, height: usize) -> Self {
        let missing = height.saturating_sub(self.lines.len());
        let blank = " ".repeat(self.width);
        for _ in 0..missing / 2 {
            self.lines.insert(0, blank.clone());
        }
        self.lines.resize(self.lines.len() + missing - missing / 2, blank);
        self
    }

    /// Places blocks side by side, aligned at the top.
    pub(super) fn beside(blocks: &[Self], gap: usize) -> Self {
        let height = blocks.iter().map(|b| b.lines.len()).max().unwrap_or(0);
        let width = blocks.iter().map(|b| b.width).sum::<usize>() + gap * blocks.len().saturating_sub(1);
        let lines = (0..height)
            .map(|at| {
                let cells: Vec<String> = blocks
                    .iter()
                    .map(|b| b.lines.get(at).cloned().unwrap_or_else(|| " ".repeat(b.width)))
                    .collect();
                cells.join(&" ".repeat(gap))
            })
            .collect();
        Self { width, lines }
    }

    pub(super) fn into_text(self) -> String {
        join(&self.lines)
    }
}

/// Joins lines, without trailing spaces.
pub(super) fn join(lines: &[String]) -> String {
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim_end_matches(' ')).collect();
    trimmed.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(terminal: bool, env: &[(&str, &str)]) -> Style {
        Style::detect(terminal, None, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn colours_need_a_terminal_that_has_them() {
        let colour = |terminal, env: &[(&str, &str)]| detect(terminal, env).color;
        assert_eq!(colour(true, &[("TERM", "xterm-256color")]), Color::Palette);
        assert_eq!(colour(true, &[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Color::True);
        assert_eq!(colour(true, &[("WT_SESSION", "1")]), Color::True);
        assert_eq!(colour(false, &[("TERM", "xterm-256color"), ("COLORTERM", "24bit")]), Color::None);
        assert_eq!(colour(true, &[("TERM", "xterm-256color"), ("NO_COLOR", "1")]), Color::None);
        assert_eq!(colour(true, &[("TERM", "xterm-256color"), ("NO_COLOR", "")]), Color::Palette);
        assert_eq!(colour(true, &[("TERM", "dumb")]), Color::None);
        assert_eq!(colour(true, &[]), Color::None);
    }

    #[test]
    fn the_flag_overrides_what_is_detected() {
        let plain = detect(false, &[("TERM", "xterm-256color"), ("NO_COLOR", "1")]);
        assert_eq!(plain.colored_when(ColorWhen::Always).color, Color::Palette);
        assert_eq!(plain.colored_when(ColorWhen::Auto).color, Color::None);
        let colored = detect(true, &[("TERM", "xterm-256color"), ("COLORTERM", "24bit")]);
        assert_eq!(colored.colored_when(ColorWhen::Always).color, Color::True);
        assert_eq!(colored.colored_when(ColorWhen::Never).color, Color::None);
    }

    #[test]
    fn encodings_other_than_utf_8_get_ascii() {
        assert!(detect(true, &[("TERM", "xterm")]).unicode);
        assert!(detect(true, &[("TERM", "xterm"), ("LANG", "de_DE.UTF-8")]).unicode);
        assert!(!detect(true, &[("TERM", "xterm"), ("LANG", "de_DE.ISO-8859-1")]).unicode);
        assert!(!detect(true, &[("LANG", "de_DE.utf8"), ("LC_ALL", "C")]).unicode);
        assert!(!detect(true, &[("TERM", "dumb")]).unicode);
    }

    #[test]
    fn percentages_do_not_overstate() {
        let style = Style::plain(80);
        let shown: Vec<String> =
            [0.0, 0.0001, 0.982, 0.9994, 0.99999, 1.0, f64::NAN].map(|x| style.percent(x)).into();
        assert_eq!(shown, ["0.0 %", "<0.1 %", "98.2 %", "99.9 %", ">99.9 %", "100.0 %", "-"]);
    }

    #[test]
    fn wide_characters_are_cut_by_columns() {
        let style = Style { unicode: true, ..Style::plain(80) };
        assert_eq!(style.clip("trouser", 7), "trouser");
        assert_eq!(style.clip("trousers", 7), "trouse…");
        assert_eq!(style.clip("手写数字", 6), "手写…");
    }
}
