//! What the programs draw on a terminal, as `tmux` shows it: at usual widths, and while the width changes.

#![cfg(unix)]
#![allow(clippy::print_stdout)] // tests that are skipped say why
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod common;

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Place;

const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a program in it. Both end when it is dropped.
struct Terminal {
    socket: String,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

impl Terminal {
    /// None if `tmux` is not installed.
    fn run(place: &Place, columns: usize, command: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            println!(
                "SKIPPED: tmux is not installed (apt-get install tmux), so nothing is drawn on a terminal"
            );
            return None;
        }
        let terminal = Self { socket: place.at("tmux").display().to_string() };
        let folder = place.path().display().to_string();
        // The shell stays, so that the last lines can be read.
        let command = format!("cd '{folder}'; LC_ALL=C.UTF-8 NN_CACHE_DIR=cache {command}; sleep 600");
        let width = columns.to_string();
        terminal.tmux(&["-u", "-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", "20", &command])?;
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let ran = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .env_remove("TMUX")
            .output()
            .ok()?;
        assert!(ran.status.success() || arguments[0] == "kill-server", "{arguments:?}: {ran:?}");
        Some(String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    fn resize(&self, columns: usize) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", "20"]);
    }

    /// The lines on the screen, once `ready` holds for them.
    #[track_caller]
    fn shows(&self, ready: impl Fn(&[String]) -> bool) -> Vec<String> {
        let from = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]).unwrap();
            let lines: Vec<String> = screen.lines().map(str::to_owned).collect();
            if ready(&lines) {
                return lines;
            }
            assert!(from.elapsed() < PATIENCE, "waited in vain: {lines:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The lines with a bar.
fn bars(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains('─')).collect()
}

fn epochs(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.starts_with("epoch ")).count()
}

const LONG: &str = "--data digits --hidden 300,100 --epochs 3000 --eval-every 1 --out run";

/// So slow that the lines of the epochs do not push remains off the screen at once.
const SLOW: &str = "--data digits --hidden 2000,400 --epochs 3000 --eval-every 1 --out run";

#[test]
fn every_epoch_has_one_line_and_the_bar_has_the_step_and_the_time_left() {
    for columns in [60, 80, 120] {
        let place = Place::new();
        let command = format!("{} train {LONG}", env!("CARGO_BIN_EXE_nn"));
        let Some(terminal) = Terminal::run(&place, columns, &command) else { return };
        let lines = terminal.shows(|lines| epochs(lines) >= 12 && !bars(lines).is_empty());
        // After the first line of an epoch there is nothing else, so no line was wrapped.
        let first = lines.iter().position(|line| line.starts_with("epoch ")).unwrap();
        let rest = lines[first..].iter().filter(|line| !line.is_empty() && !line.contains('─'));
        for line in rest {
            assert!(line.starts_with("epoch ") && line.ends_with(['%', 's']), "{columns}: {lines:#?}");
        }
        let [bar] = bars(&lines)[..] else { panic!("{columns}: {lines:#?}") };
        assert!(bar.contains("step ") && bar.ends_with(" left"), "{columns}: {bar:?}");
    }
}

#[test]
fn a_terminal_that_becomes_narrower_or_wider_shows_no_remains() {
    let place = Place::new();
    let command = format!("{} --listen 127.0.0.1:0 --spawn 2 {SLOW}", env!("CARGO_BIN_EXE_nn-coord"));
    let Some(terminal) = Terminal::run(&place, 120, &command) else { return };
    let headings = |lines: &[String]| lines.iter().filter(|line| line.starts_with("worker  ")).count();
    let has_both = |lines: &[String]| headings(lines) > 0 && !bars(lines).is_empty() && epochs(lines) > 2;
    terminal.shows(has_both);
    for columns in [70, 61, 100, 64, 120] {
        terminal.resize(columns);
        // Long enough for several drawings.
        thread::sleep(Duration::from_millis(700));
        let lines = terminal.shows(has_both);
        assert_eq!((headings(&lines), bars(&lines).len()), (1, 1), "{columns}: {lines:#?}");
        let of_workers = lines.iter().filter(|line| line.contains("spawned-")).count();
        assert_eq!(of_workers, 2, "{columns}: {lines:#?}");
    }
}
