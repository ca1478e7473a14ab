//! A configuration as a file that `--config` takes.

use std::fmt::Write as _;
use std::path::Path;

use super::option::{Entry, Line};
use super::options::TrainOptions;
use super::origins::{Origin, Origins};
use super::settings::Settings;
use super::table::Options as _;
use crate::failure::Failure;
use crate::show::shell_flag;

/// The configuration as a commented TOML file with every option and its origin. Read back, it gives the same
/// configuration.
///
/// Options that are left to the data or to the machine are commented out, and so are constants without effect.
///
/// # Errors
/// Exit code 2 if the output folder has a name that TOML, which is UTF-8, cannot hold.
pub fn print(settings: &Settings) -> Result<String, Failure> {
    let head = "# A run of `nn train`, for its option --config. Flags and variables override this file.";
    commented(settings, head, |entry, line| match line {
        Line::Value(Some(value)) => {
            Line::Value(Some(format!("{value}  # {}", settings.origins.in_words(entry.key))))
        }
        line => line,
    })
}

/// The configuration of a run for the folder of the run, which began in `directory`: without origins, which mean nothing
/// later, and without what belongs to the command that began it. `from_sha256` is the hash of the weights of `--from`.
///
/// # Errors
/// As for [`print`].
pub(super) fn run_file(
    settings: &Settings,
    head: &str,
    directory: Option<&Path>,
    from_sha256: Option<&str>,
) -> Result<String, Failure> {
    let head = format!(
        "{head}\n\
         # `--resume` takes them up, `nn eval` and `nn replay` read the run's data by them, and `--config` takes\n\
         # them for a new run."
    );
    let mut text = commented(settings, &head, |entry, line| match line {
        Line::Value(value) if entry.of_command => Line::Example(value),
        line => line,
    })?;
    let directory = directory.and_then(Path::to_str);
    if directory.is_some() || from_sha256.is_some() {
        text += "\n# How the run began.\n[started]\n";
    }
    if let Some(directory) = directory {
        text += "# The folder: if a path above is not here, it is looked for there.\n";
        let _ = writeln!(text, "in = {}", toml::Value::String(directory.to_owned()));
    }
    if let Some(sha256) = from_sha256 {
        text += "# The SHA-256 of the weights of the model in `from`, which must not change.\n";
        let _ = writeln!(text, "from-sha256 = {}", toml::Value::String(sha256.to_owned()));
    }
    Ok(text)
}

/// Every option with its description; `shown` decides how its line is shown.
fn commented(
    settings: &Settings,
    head: &str,
    shown: impl Fn(&Entry, Line) -> Line,
) -> Result<String, Failure> {
    let mut text = format!(
        "{head}\n# A line that begins with # has no effect; if it holds an option, the value is an example.\n"
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
        let _ = match shown(&entry, line(&entry, &lines, settings)) {
            Line::Value(Some(value)) => writeln!(text, "{key} = {value}"),
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
        // The recipe chooses once the data is known; a constant that nobody gave must not look as if somebody had.
        _ => settings.origins.of(entry.key) == Origin::Default,
    });
    let of_machine = entry.of_machine && settings.origins.of(entry.key) == Origin::Default;
    match line_of(entry.key) {
        Some(Line::Value(value)) if without_effect || of_machine => Line::Example(value),
        line => line.unwrap_or(Line::Example(None)),
    }
}

/// The options that are given as flags for a shell, in front of which there is a space: those that a command needs when it
/// is repeated.
pub(super) fn as_flags(lines: &[(&'static str, Line)], origins: &Origins) -> Option<String> {
    let mut flags = String::new();
    for (key, line) in lines.iter().filter(|(key, _)| origins.of(key) == Origin::Flag) {
        let Line::Value(value) = line else { continue };
        let value: toml::Table = format!("value = {}", value.as_deref()?).parse().ok()?;
        match value.get("value")? {
            toml::Value::Boolean(true) => flags += &format!(" --{key}"),
            toml::Value::Boolean(false) => flags += &format!(" --{key}=false"),
            toml::Value::String(text) => flags += &format!(" {}", shell_flag(key, text)?),
            toml::Value::Array(list) => {
                let list: Vec<String> =
                    list.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned)).collect();
                flags += &format!(" {}", shell_flag(key, &list.join(","))?);
            }
            number => flags += &format!(" --{key} {number}"),
        }
    }
    Some(flags)
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
