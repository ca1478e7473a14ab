//! Progress of a running command: a bar on a terminal, one plain line per epoch elsewhere, nothing with `--quiet`.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::NumberFigures;
use crate::show::{number, r2};

/// The least time between two updates of the bar.
const REDRAW: Duration = Duration::from_millis(100);
/// The columns that a line of an epoch may take.
const COLUMNS: usize = 80;
/// The width of the bar in columns.
const BAR: usize = 24;

/// The results of an epoch, for people to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochLine {
    /// The epoch, counted from 1.
    pub(crate) epoch: u64,
    pub(crate) epochs: u32,
    pub(crate) train_loss: f64,
    /// The samples of the following figures: `validation` or `test`.
    pub(crate) set: &'static str,
    pub(crate) loss: Option<f64>,
    /// As a fraction, 0 to 1.
    pub(crate) accuracy: Option<f64>,
    /// The errors of predicted numbers; `None` for classes.
    pub(crate) numbers: Option<NumberFigures>,
    pub(crate) samples_per_second: f64,
}

impl EpochLine {
    fn text(&self) -> String {
        let digits = self.epochs.to_string().len();
        let mut text =
            format!("epoch {:>digits$}/{}  train loss {:.5}", self.epoch, self.epochs, self.train_loss);
        // The longer word would not leave the line 80 columns, so it stands there once.
        let (set, again) = (self.set, if self.set == "test" { "test " } else { "" });
        if let Some(loss) = self.loss {
            text += &format!("  {set} loss {loss:.5}");
        }
        if let Some(accuracy) = self.accuracy {
            text += &format!("  {again}accuracy {:.2} %", accuracy * 100.0);
        }
        if let Some(figures) = self.numbers {
            text += &figures.r2.map_or(String::new(), |value| format!("  {again}R² {}", r2(value)));
            let rmse = figures.rmse.map_or(String::new(), |rmse| format!("  RMSE {}", number(rmse)));
            if self.set == "test" || text.chars().count() + rmse.len() <= COLUMNS {
                text += &rmse;
            }
        }
        let speed = format!("  {} samples/s", HumanCount(self.samples_per_second as u64));
        if self.set == "test" || text.chars().count() + speed.len() <= COLUMNS { text + &speed } else { text }
    }
}

/// The progress of a training run.
#[derive(Debug)]
pub(crate) struct Progress {
    quiet: bool,
    bar: Option<ProgressBar>,
    next_redraw: Duration,
    /// Epochs between two that are shown.
    stride: u32,
}

impl Progress {
    /// Starts at `done` of `steps` steps.
    pub(crate) fn new(quiet: bool, steps: u64, done: u64) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(|| {
            let bar = BARS.add(ProgressBar::new(steps));
            let template = format!("{{bar:{BAR}.cyan/dim}} {{msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_position(done);
            bar.reset_eta();
            bar.set_message("starting");
            bar
        });
        Self { quiet, bar, next_redraw: Duration::ZERO, stride: 1 }
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
        bar.set_position(done);
        let parts = [
            format!("epoch {}/{}", place.0, place.1),
            format!("step {}/{}", step.0, step.1),
            format!("loss {loss:.4}"),
            format!("{} samples/s", HumanCount(rate as u64)),
            format!("{} left", HumanDuration(bar.eta())),
        ];
        bar.set_message(fitting(parts, terminal().0.saturating_sub(BAR + 2)));
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
            self.say(&line.text());
        }
    }

    /// Removes the bar at the end of the run.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// The most lines for the epochs of a run, if it has more than twice as many.
const SHOWN_EPOCHS: u32 = 30;

/// The parts of a bar's message that fit into `room` columns. Whole parts are dropped, because a part cut in the middle of
/// a word tells nobody anything.
fn fitting(parts: [String; 5], room: usize) -> String {
    let mut kept: Vec<usize> = (0..parts.len()).collect();
    let join = |kept: &[usize]| kept.iter().map(|&i| parts[i].as_str()).collect::<Vec<_>>().join("  ");
    // The step goes first, since the bar shows it as well; then the time left, the speed and the loss.
    for dispensable in [1, 4, 3, 2] {
        if join(&kept).len() <= room {
            break;
        }
        kept.retain(|&i| i != dispensable);
    }
    join(&kept)
}

/// The columns and lines of the terminal on standard error.
fn terminal() -> (usize, usize) {
    terminal_size::terminal_size_of(stderr())
        .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
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
            Some(_) => "{msg} {bar:24.cyan/dim} {bytes}/{total_bytes}",
            None if done > 0 => "{msg} {bytes}",
            None => "{msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
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
            bar.set_message(format!("\n{}", lines.join("\n")));
            bar.tick();
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
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
    fn the_line_of_an_epoch_with_validation_fits_a_terminal() {
        let figures = NumberFigures { r2: Some(0.98765), rmse: Some(12.345), ..Default::default() };
        for (accuracy, numbers) in [(Some(0.98765), None), (None, Some(figures))] {
            let line = |set, epochs| EpochLine {
                epoch: 7,
                epochs,
                train_loss: 0.123_456,
                set,
                loss: Some(0.234_567),
                accuracy,
                numbers,
                samples_per_second: 123_456.7,
            };
            let text = line("validation", 30).text();
            assert!(text.starts_with("epoch  7/30  train loss 0.12346  validation loss 0.23457"), "{text}");
            for epochs in [9, 30, 200, 1000] {
                let text = line("validation", epochs).text();
                assert!(text.chars().count() <= COLUMNS && !text.contains("test"), "{text}");
            }
            assert!(line("test", 30).text().ends_with("  123,456 samples/s"));
        }
    }

    #[test]
    fn a_message_drops_what_does_not_fit() {
        let parts = || {
            ["epoch 3/30", "step 7/144", "loss 0.1234", "1,234 samples/s", "2 minutes left"].map(String::from)
        };
        for (room, want) in [
            (100, "epoch 3/30  step 7/144  loss 0.1234  1,234 samples/s  2 minutes left"),
            (68, "epoch 3/30  step 7/144  loss 0.1234  1,234 samples/s  2 minutes left"),
            (67, "epoch 3/30  loss 0.1234  1,234 samples/s  2 minutes left"),
            (44, "epoch 3/30  loss 0.1234  1,234 samples/s"),
            (30, "epoch 3/30  loss 0.1234"),
            (5, "epoch 3/30"),
        ] {
            assert_eq!(fitting(parts(), room), want);
        }
    }
}
