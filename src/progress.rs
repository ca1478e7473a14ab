//! Progress of a running command: a bar on a terminal, one plain line per epoch elsewhere, nothing with `--quiet`.

mod epoch_line;
mod terminal;

use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use nn_engine::Manifest;

use self::terminal::{clipped, drawn, follow_terminal, terminal, terminal_of};

pub(crate) use self::epoch_line::EpochLine;
use crate::show::may_color;

/// The least time between two updates of the bar.
const REDRAW: Duration = Duration::from_millis(100);
/// The least and the most columns of the bar.
const BAR: (usize, usize) = (8, 24);

/// The progress of a training run.
#[derive(Debug)]
pub(crate) struct Progress {
    quiet: bool,
    bar: Option<ProgressBar>,
    next_redraw: Duration,
    /// What the bar counts.
    unit: &'static str,
    /// Epochs between two that are shown.
    stride: u32,
    /// The form of the last line of an epoch. Later ones are not longer, so that the columns stay where they are.
    form: Cell<usize>,
}

impl Progress {
    /// Starts at `done` of `steps` steps.
    pub(crate) fn new(quiet: bool, steps: u64, done: u64) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(|| {
            let bar = BARS.add(ProgressBar::new(steps));
            style(&bar, terminal().0);
            bar.set_position(done);
            bar.reset_eta();
            bar.set_message("starting");
            drawn(|drawn| drawn.bar = 1);
            bar
        });
        Self { quiet, bar, next_redraw: Duration::ZERO, unit: "step", stride: 1, form: Cell::new(0) }
    }

    /// Prints a line on standard output, above the bar.
    pub(crate) fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        // Training continues even if the reader has closed standard output.
        let line = || {
            let _ = writeln!(stdout(), "{text}");
        };
        above(line);
    }

    /// Updates the bar after `done` steps at time `now`. `place` is the epoch and the number of epochs, `step` the step in
    /// the epoch and the number of steps per epoch; `rate` is in samples per second.
    pub(crate) fn step(
        &mut self,
        now: Duration,
        done: u64,
        place: (u64, u32),
        step: (u64, u64),
        loss: f64,
        rate: f64,
    ) {
        let Some(bar) = &self.bar else { return };
        if now < self.next_redraw {
            return;
        }
        self.next_redraw = now + REDRAW;
        follow_terminal();
        let width = terminal().0;
        style(bar, width);
        bar.set_position(done);
        let parts = [
            format!("epoch {}/{}", place.0, place.1),
            format!("{} {}/{}", self.unit, step.0, step.1),
            format!("loss {loss:.4}"),
            format!("{} samples/s", HumanCount(rate as u64)),
            format!("{} left", clock(bar.eta())),
        ];
        bar.set_message(fitting(parts, width.saturating_sub(bar_width(width) + 2)));
    }

    /// Counts rounds, if steps are those.
    pub(crate) fn counting(self, manifest: &Manifest) -> Self {
        let unit = if manifest.rounds().is_some() { "round" } else { "step" };
        Self { unit, ..self }
    }

    /// Shows only about thirty of the epochs, the first and the last among them.
    pub(crate) fn showing_few_of(self, epochs: u32) -> Self {
        let stride = if epochs > 2 * SHOWN_EPOCHS { epochs.div_ceil(SHOWN_EPOCHS) } else { 1 };
        Self { stride, ..self }
    }

    /// Prints the results of an epoch.
    pub(crate) fn epoch(&self, line: &EpochLine) {
        let (first, last) = (line.epoch == 1, line.epoch == u64::from(line.epochs));
        if first || last || line.epoch.is_multiple_of(self.stride.into()) {
            // A file has room for everything; the longer word for validation samples fits a terminal that shows it later.
            let columns = match line.set {
                _ if stdout().is_terminal() => terminal_of(stdout()).0,
                "test" => usize::MAX,
                _ => 80,
            };
            self.form.set(line.fitting(self.form.get(), columns));
            self.say(&line.text(self.form.get()));
        }
    }

    /// Removes the bar at the end of the run.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            follow_terminal();
            bar.finish_and_clear();
            drawn(|drawn| drawn.bar = 0);
        }
    }
}

/// The columns of the bar on a terminal of this width.
fn bar_width(columns: usize) -> usize {
    (columns * 3 / 20).clamp(BAR.0, BAR.1)
}

fn style(bar: &ProgressBar, columns: usize) {
    let template = format!("{{bar:{}{}}} {{msg}}", bar_width(columns), tint());
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
}

/// The colours of a bar, in a template.
fn tint() -> &'static str {
    if may_color() { ".cyan/dim" } else { "" }
}

/// A time as on a clock: minutes and seconds, or hours, minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// The most lines for the epochs of a run, if it has more than twice as many.
const SHOWN_EPOCHS: u32 = 30;

/// The parts of a bar's message that fit into `room` columns. Whole parts are dropped, because a part cut in the middle of
/// a word tells nobody anything.
fn fitting(mut parts: [String; 5], room: usize) -> String {
    let mut kept: Vec<usize> = (0..parts.len()).collect();
    let join = |kept: &[usize], parts: &[String; 5]| {
        kept.iter().map(|&i| parts[i].as_str()).collect::<Vec<_>>().join("  ")
    };
    if join(&kept, &parts).len() > room {
        parts[3] = parts[3].replace(" samples/s", "/s");
    }
    // The lines of the epochs have the speed and the loss, too; the step and the time left are nowhere else.
    for dispensable in [3, 2, 1, 4] {
        if join(&kept, &parts).len() <= room {
            break;
        }
        kept.retain(|&i| i != dispensable);
    }
    join(&kept, &parts)
}

/// Prints a warning on standard error, even with `--quiet`. Any thread may call it.
pub(crate) fn warn(text: impl std::fmt::Display) {
    let label = LABEL.with_borrow(Clone::clone);
    above(|| {
        let _ = writeln!(stderr(), "warning: {label}{text}");
    });
}

thread_local! {
    /// What the warnings of this thread are about.
    static LABEL: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Runs `work`, whose warnings on this thread say that they are about `label`.
pub(crate) fn about<T>(label: &str, work: impl FnOnce() -> T) -> T {
    let before = LABEL.replace(format!("{label}: "));
    let result = work();
    LABEL.set(before);
    result
}

/// A bar on standard error for loading and fetching data.
#[derive(Debug)]
pub(crate) struct LoadBar {
    bar: Option<ProgressBar>,
}

impl LoadBar {
    /// Draws only on a terminal, and only if not `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = (!quiet && stderr().is_terminal())
            .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)));
        Self { bar }
    }
}

impl nn_data::LoadProgress for LoadBar {
    fn report(&self, what: &str, done: u64, total: Option<u64>) {
        let Some(bar) = &self.bar else { return };
        let template = match total {
            Some(_) => format!("{{msg}} {{bar:24{}}} {{bytes}}/{{total_bytes}}", tint()),
            None if done > 0 => "{msg} {bytes}".to_owned(),
            None => "{msg}".to_owned(),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
        bar.set_message(what.to_owned());
    }
}

impl Drop for LoadBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Runs `write`, which writes to the terminal, while bars and tables are hidden; they are drawn again below its output.
pub(crate) fn above<T>(write: impl FnOnce() -> T) -> T {
    follow_terminal();
    BARS.suspend(write)
}

/// A block of lines that is redrawn in place on standard error, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Table {
    bar: Option<ProgressBar>,
}

impl Table {
    /// Draws only on a terminal, and only if not `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(|| {
            // At the top: above the progress bar, whichever of the two was created first.
            let bar = BARS.insert(0, ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    /// Whether the table is drawn at all.
    pub(crate) fn is_drawn(&self) -> bool {
        self.bar.is_some()
    }

    /// The columns and lines available for the table, without those for the bar, the empty line above, and a message.
    pub(crate) fn room(&self) -> (usize, usize) {
        let (width, height) = terminal();
        (width.saturating_sub(1), height.saturating_sub(4))
    }

    /// Replaces the lines of the table, below an empty line. (The terminal echoes Control-C as two characters after the
    /// bar and starts a new line, so the first drawn line remains when the rest is cleared.)
    pub(crate) fn draw(&self, lines: &[String]) {
        if let Some(bar) = &self.bar {
            follow_terminal();
            let width = terminal().0.saturating_sub(1);
            let lines: Vec<String> = lines.iter().map(|line| clipped(line, width)).collect();
            bar.set_message(format!("\n{}", lines.join("\n")));
            bar.tick();
            drawn(|drawn| drawn.table = 1 + lines.len());
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            follow_terminal();
            bar.finish_and_clear();
            drawn(|drawn| drawn.table = 0);
        }
    }
}

/// Everything drawn on standard error, so that a table and a bar do not overwrite each other.
static BARS: std::sync::LazyLock<indicatif::MultiProgress> =
    std::sync::LazyLock::new(indicatif::MultiProgress::new);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_drops_what_does_not_fit() {
        let parts =
            || ["epoch 3/30", "step 7/144", "loss 0.1234", "1,234 samples/s", "2:05 left"].map(String::from);
        for (room, want) in [
            (100, "epoch 3/30  step 7/144  loss 0.1234  1,234 samples/s  2:05 left"),
            (63, "epoch 3/30  step 7/144  loss 0.1234  1,234 samples/s  2:05 left"),
            (62, "epoch 3/30  step 7/144  loss 0.1234  1,234/s  2:05 left"),
            (54, "epoch 3/30  step 7/144  loss 0.1234  2:05 left"),
            (45, "epoch 3/30  step 7/144  2:05 left"),
            (32, "epoch 3/30  2:05 left"),
            (5, "epoch 3/30"),
        ] {
            assert_eq!(fitting(parts(), room), want);
        }
        // On 80 columns the step and the time left stay, beside a bar.
        let large = ["epoch 12/30", "step 107/469", "loss 0.0123", "1,234,567 samples/s", "1:12:05 left"];
        let room = 80 - bar_width(80) - 2;
        assert_eq!(
            fitting(large.map(String::from), room),
            "epoch 12/30  step 107/469  loss 0.0123  1,234,567/s  1:12:05 left"
        );
    }

    #[test]
    fn times_are_as_on_a_clock() {
        for (seconds, want) in
            [(0, "0:00"), (65, "1:05"), (3599, "59:59"), (3600, "1:00:00"), (90_061, "25:01:01")]
        {
            assert_eq!(clock(Duration::from_secs(seconds)), want);
        }
    }
}
