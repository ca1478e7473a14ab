//! A configuration as a file that `--config` takes.

use std::fmt::Write as _;

use super::option::{Entry, Line};
use super::options::TrainOptions;
use super::origins::{Origin, Origins};
use super::settings::Settings;
use super::table::Options as _;
use crate::failure::Failure;

/// The configuration as a commented TOML file with every option and its origin. Read back, it gives the same
/// configuration.
///
/// Options that are left to the data or to the machine are commented out, and so are constants without effect.
///
/// # Errors
/// Exit code 2 if the output folder has a name that TOML, which is UTF-8, cannot hold.
pub fn print(settings: &Settings) -> Result<String, Failure> {
    let mut text = String::from(
        "# A run of `nn train`, for its option --config. Flags and variables override this file.\n\
         # A line that begins with # has no effect; if it holds an option, the value is an example.\n",
    );
    let lines = TrainOptions::lines(&settings.options);
    let mut heading = "";
    for entry in TrainOptions::entries() {
        if entry.heading != heading {
            heading = entry.heading;
            let _ = write!(text, "\n# ---- {heading} ----\n");
        }
        text.push('\n');
        for line in wrapped(&entry.description(), 100) {
            let _ = writeln!(text, "# {line}");
        }
        let key = entry.key;
        let origin = settings.origins.in_words(key);
        let _ = match line(&entry, &lines, settings) {
            Line::Value(Some(value)) => writeln!(text, "{key} = {value}  # {origin}"),
            Line::Value(None) => return Err(not_utf8(&settings.origins.subject(key))),
            Line::Example(value) => writeln!(text, "# {key} = {}", value.unwrap_or_default()),
        };
    }
    Ok(text)
}

/// Options that a file cannot hold, as comments with the origin of each.
pub(super) fn as_comments(lines: &[(&'static str, Line)], origins: &Origins) -> String {
    let set = lines.iter().filter_map(|(key, line)| match line {
        Line::Value(Some(value)) => Some(format!("# {key} = {value}  # {}\n", origins.in_words(key))),
        _ => None,
    });
    set.collect()
}

/// The line of an option: an example if it has no effect, or if its value belongs to the machine.
fn line(entry: &Entry, lines: &[(&'static str, Line)], settings: &Settings) -> Line {
    let line_of = |key: &str| lines.iter().find(|(other, _)| *other == key).map(|(_, line)| line.clone());
    let without_effect = entry.only_with.as_ref().is_some_and(|only| match line_of(only.selector) {
        Some(Line::Value(Some(selected))) => !only.names.contains(&selected.trim_matches('"')),
        _ => false,
    });
    let of_machine = entry.of_machine && settings.origins.of(entry.key) == Origin::Default;
    match line_of(entry.key) {
        Some(Line::Value(value)) if without_effect || of_machine => Line::Example(value),
        line => line.unwrap_or(Line::Example(None)),
    }
}

fn not_utf8(subject: &str) -> Failure {
    Failure::usage(format_args!("{subject} cannot be written in a configuration file, which is UTF-8"))
        .help("give it as a flag, and leave it out of the file")
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
