//! A TOML file of options: read, and tied to its lines so that errors can name them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::options::TrainOptions;
use super::origins::{Origin, Origins};
use super::run_file::moved;
use super::table::{Given, Options as _};
use super::value::did_you_mean;
use crate::failure::Failure;

/// The largest file that is read as a configuration.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads the options of a file; `-` is standard input.
///
/// # Errors
/// Exit code 2, with the file, the line and the key.
pub fn read(path: &Path) -> Result<(TrainOptions, Origins), Failure> {
    let (name, text) = text_of(path)?;
    parse(&name, &text)
}

/// The text of a file, and how errors call it.
pub(super) fn text_of(path: &Path) -> Result<(String, String), Failure> {
    if path == Path::new("-") {
        let name = "standard input";
        return Ok((name.to_owned(), slurp(name, io::stdin().lock())?));
    }
    let name = path.display().to_string();
    let unreadable = |error: io::Error| {
        let failure = Failure::usage(format_args!("cannot read the configuration file {name}: {error}"));
        match error.kind() {
            io::ErrorKind::NotFound => {
                failure.help("`nn train --print-config > run.toml` writes one to start from")
            }
            _ => failure,
        }
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(Failure::usage(format_args!("the configuration file {name} is a folder"))
            .help("name a TOML file in it"));
    }
    let text = slurp(&name, file)?;
    Ok((name, text))
}

/// The whole text of a configuration, within [`MAX_CONFIG_BYTES`].
fn slurp(name: &str, input: impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long from one that just fits, even for a pipe.
    input.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(|error| {
        Failure::usage(format_args!("cannot read the configuration file {name}: {error}"))
    })?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(Failure::usage(format_args!(
            "the configuration file {name} is larger than 1 MiB, so it cannot be one"
        ))
        .help("is it the data? then name it with --data"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
        Failure::usage(format_args!("{name}:{line}: the configuration file is not UTF-8 text"))
            .help("save it as UTF-8")
    })
}

/// The line, counted from 1, of a byte.
pub(super) fn line_of(text: &[u8], at: usize) -> usize {
    1 + text[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

/// Reads the options of a file's text; `name` is how errors call the file.
///
/// # Errors
/// Exit code 2, with the line and the key.
pub fn parse(name: &str, text: &str) -> Result<(TrainOptions, Origins), Failure> {
    parse_beside(name, text, &[])
}

/// [`parse`], but for the tables `others`, which are no options of a run.
///
/// # Errors
/// As for [`parse`].
pub(super) fn parse_beside(
    name: &str,
    text: &str,
    others: &[&str],
) -> Result<(TrainOptions, Origins), Failure> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text.as_bytes(), span.start));
        let message = error.message().trim().replace('\n', "; ");
        Failure::usage(format_args!("{name}:{line}: this is not TOML: {message}"))
            .help("a line is `key = value`, with texts in quotes, such as data = \"digits\"")
    })?;
    let mut options = TrainOptions::default();
    let mut origins = Origins::of_file(name);
    // In the order of the lines, so that the first error of the file is reported.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut flat = Vec::new();
    let began = entries.iter().find_map(|(key, value)| began(key.get_ref(), value.get_ref()));
    let started = began.as_ref().and_then(|began| began.directory.clone());
    let known = TrainOptions::entries();
    for (spanned, value) in entries {
        match (spanned.get_ref().as_ref(), value.get_ref()) {
            (key, DeValue::Table(_)) if others.contains(&key) => {}
            // The options about columns may stand in a table of their own.
            ("columns", DeValue::Table(columns)) => {
                let mut columns: Vec<_> = columns.iter().collect();
                columns.sort_by_key(|(key, _)| key.span().start);
                flat.extend(columns);
            }
            _ => flat.push((spanned, value)),
        }
    }
    for (spanned, value) in flat {
        let key = spanned.get_ref().as_ref();
        let line = line_of(text.as_bytes(), spanned.span().start);
        if self::began(key, value.get_ref()).is_some() {
            continue;
        }
        let of_data = known.iter().any(|entry| entry.key == key && entry.of_data);
        let there = match (value.get_ref(), &started) {
            (DeValue::String(text), Some(directory)) if of_data => moved(text, directory),
            _ => None,
        };
        if let Some(there) = there {
            origins.say(key, format!("{key} is read from {there}, where the run began"));
            let there = DeValue::String(there.into());
            let _ = options.set(key, Given::Toml(&there));
            origins.note([key], Origin::Line(line));
            continue;
        }
        match options.set(key, Given::Toml(value.get_ref())) {
            None => return Err(unknown(key, name, line)),
            Some(Err(wrong)) => return Err(wrong.about(&format!("{name}:{line}: {key}"))),
            Some(Ok(())) => origins.note([key], Origin::Line(line)),
        }
    }
    if let Some(directory) = started {
        origins.started_in(directory);
    }
    if let Some(sha256) = began.and_then(|began| began.from_sha256) {
        origins.began_with(sha256);
    }
    Ok((options, origins))
}

/// How the run of a file began.
#[derive(Debug, Default)]
struct Began {
    /// The working directory.
    directory: Option<PathBuf>,
    /// The SHA-256 of the weights of `--from`.
    from_sha256: Option<String>,
}

/// How the run of this file began, if the entry says it: the table `started`.
fn began(key: &str, value: &DeValue<'_>) -> Option<Began> {
    let table = value.as_table().filter(|table| key == "started" && !table.is_empty())?;
    let mut began = Began::default();
    for (key, value) in table {
        let text = value.get_ref().as_str()?;
        match key.get_ref().as_ref() {
            "in" => began.directory = Some(text.into()),
            "from-sha256" => began.from_sha256 = Some(text.to_owned()),
            _ => return None,
        }
    }
    Some(began)
}

/// The failure for a key that is no option's.
fn unknown(key: &str, name: &str, line: usize) -> Failure {
    let entries = TrainOptions::entries();
    let near = did_you_mean(key, entries.iter().map(|entry| entry.key));
    let list = || "`nn train --print-config` lists all keys".to_owned();
    Failure::usage(format_args!("{name}:{line}: there is no option {key:?}")).help(near.unwrap_or_else(list))
}

#[cfg(test)]
mod tests {
    use super::super::lists::Widths;
    use super::*;

    fn error(text: &str) -> String {
        parse("run.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_typed_sensibly() {
        let text = "# a comment\nhidden = [30, 20]\nlearning-rate = 3\nseed = 18446744073709551615\n\
                    label-column = 4\nepochs = 1_000\nresume = true\ncost = 'cross-entropy'\nl2 = 1e-4";
        let (options, origins) = parse("run.toml", text).unwrap();
        assert_eq!(options.learn.hidden, Some(Widths(vec![30, 20])));
        assert_eq!(options.learn.learning_rate, Some(3.0));
        assert_eq!(options.learn.seed, Some(u64::MAX));
        assert_eq!(options.format.label_column.as_deref(), Some("4"));
        assert_eq!((options.learn.epochs, options.resume), (Some(1000), Some(true)));
        assert_eq!((options.learn.cost, options.learn.l2), (Some(nn_core::Cost::CrossEntropy), Some(1e-4)));
        assert_eq!(origins.subject("learning-rate"), "run.toml:3: learning-rate");
        assert_eq!(origins.subject("batch-size"), "--batch-size");
        for (text, widths) in
            [("[]", vec![]), ("'none'", vec![]), ("7", vec![7]), ("'5, 6'", vec![5, 6]), ("[9]", vec![9])]
        {
            let (options, _) = parse("x", &format!("hidden = {text}")).unwrap();
            assert_eq!(options.learn.hidden, Some(Widths(widths)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_key() {
        for (text, parts) in [
            (
                "epochs = 3\nlearnig-rate = 1",
                &["run.toml:2:", "learnig-rate", "did you mean \"learning-rate\"?"][..],
            ),
            ("batch_size = 3", &["batch_size", "did you mean \"batch-size\"?"]),
            ("qwertz = 3", &["qwertz", "--print-config"]),
            ("[train]\nepochs = 3", &["run.toml:1:", "\"train\""]),
            ("\nepochs = '3'", &["run.toml:2: epochs must be a whole number", "the text \"3\""]),
            ("epochs = -3", &["epochs must be a whole number that is not negative, not the number -3"]),
            ("epochs = 2.5", &["not the number 2.5"]),
            ("learning-rate = true", &["learning-rate must be a number, not true"]),
            (
                "activation = 'sigmiod'",
                &["\"sigmoid\", \"relu\", \"tanh\"", "or \"silu\"", "did you mean \"sigmoid\"?"],
            ),
            ("hidden = [30, -1]", &["hidden must be a list of widths"]),
            ("hidden = [30, 'x']", &["hidden must be a list of widths"]),
            ("quiet = 1", &["quiet must be true or false"]),
            ("data = ''", &["data must be a text in quotes, not an empty text"]),
            ("out = 3", &["out must be a path in quotes"]),
            ("epochs = 3\nepochs = 4", &["run.toml:2:", "not TOML", "duplicate key"]),
            ("epochs 3", &["run.toml:1:", "not TOML"]),
            ("data = digits", &["not TOML", "in quotes"]),
        ] {
            let message = error(text);
            for part in parts {
                assert!(message.contains(part), "{text:?} gave {message:?}, which lacks {part:?}");
            }
        }
    }
}
