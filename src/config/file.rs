//! A TOML file of options: read, and tied to its lines so that errors can name them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

use super::TrainOptions;
use super::value::did_you_mean;
use crate::failure::Failure;

/// The largest file that is read as a configuration.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Which options came from a file, and from which of its lines: so that an error names the line or the flag,
/// whichever the user wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    file: String,
    lines: BTreeMap<String, usize>,
    flags: Vec<String>,
}

impl Origins {
    /// How an error names an option: `run.toml:3: epochs` or `--epochs`.
    pub fn subject(&self, key: &str) -> String {
        match self.lines.get(key) {
            Some(line) => format!("{}:{line}: {key}", self.file),
            None => format!("--{key}"),
        }
    }

    /// Whether the option came from the file.
    pub fn is_from_file(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// Whether the option was given by a flag, though there is a file.
    pub fn is_from_flag(&self, key: &str) -> bool {
        self.flags.iter().any(|flag| flag == key)
    }

    /// Notes the keys that flags give, and forgets the lines of the file that they overrule.
    pub fn overrule(&mut self, flags: Vec<String>) {
        self.lines.retain(|key, _| !flags.contains(key));
        self.flags = flags;
    }
}

/// Reads the options of a file; `-` is standard input.
///
/// # Errors
/// Exit code 2, with the file, the line and the key.
pub fn read(path: &Path) -> Result<(TrainOptions, Origins), Failure> {
    if path == Path::new("-") {
        return parse("standard input", &slurp("standard input", io::stdin().lock())?);
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
    parse(&name, &slurp(&name, file)?)
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
fn line_of(text: &[u8], at: usize) -> usize {
    1 + text[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

/// Reads the options of a file's text; `name` is how errors call the file.
///
/// # Errors
/// Exit code 2, with the line and the key.
pub fn parse(name: &str, text: &str) -> Result<(TrainOptions, Origins), Failure> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text.as_bytes(), span.start));
        let message = error.message().trim().replace('\n', "; ");
        Failure::usage(format_args!("{name}:{line}: this is not TOML: {message}"))
            .help("a line is `key = value`, with texts in quotes, such as data = \"digits\"")
    })?;
    let mut options = TrainOptions::default();
    let mut origins = Origins { file: name.to_owned(), ..Origins::default() };
    // In the order of the lines, so that the first error of the file is the one that is told.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (spanned, value) in entries {
        let key = spanned.get_ref().as_ref();
        let line = line_of(text.as_bytes(), spanned.span().start);
        match options.set(key, value.get_ref()) {
            None => {
                let keys = TrainOptions::keys();
                let failure = Failure::usage(format_args!("{name}:{line}: there is no option {key:?}"));
                return Err(failure.help(did_you_mean(key, keys.iter().map(String::as_str)).unwrap_or_else(
                    || "`nn train --print-config` lists all the keys that there are".to_owned(),
                )));
            }
            Some(Err(wrong)) => {
                let failure = Failure::usage(format_args!("{name}:{line}: {key} {}", wrong.says));
                return Err(wrong.help.into_iter().fold(failure, Failure::help));
            }
            Some(Ok(())) => {
                origins.lines.insert(key.to_owned(), line);
            }
        }
    }
    Ok((options, origins))
}

#[cfg(test)]
mod tests {
    use super::super::Hidden;
    use super::*;

    fn error(text: &str) -> String {
        parse("run.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_typed_sensibly() {
        let text = "# a comment\nhidden = [30, 20]\nlearning-rate = 3\nseed = 18446744073709551615\n\
                    label-column = 4\nepochs = 1_000\nresume = true\ncost = 'cross-entropy'\nl2 = 1e-4";
        let (options, origins) = parse("run.toml", text).unwrap();
        assert_eq!(options.hidden, Some(Hidden(vec![30, 20])));
        assert_eq!(options.learning_rate, Some(3.0));
        assert_eq!(options.seed, Some(u64::MAX));
        assert_eq!(options.format.label_column.as_deref(), Some("4"));
        assert_eq!((options.epochs, options.resume), (Some(1000), Some(true)));
        assert_eq!((options.cost, options.l2), (Some(nn_core::Cost::CrossEntropy), Some(1e-4)));
        assert_eq!(origins.subject("learning-rate"), "run.toml:3: learning-rate");
        assert_eq!(origins.subject("batch-size"), "--batch-size");
        for (text, widths) in
            [("[]", vec![]), ("'none'", vec![]), ("7", vec![7]), ("'5, 6'", vec![5, 6]), ("[9]", vec![9])]
        {
            let (options, _) = parse("x", &format!("hidden = {text}")).unwrap();
            assert_eq!(options.hidden, Some(Hidden(widths)), "{text}");
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
            ("activation = 'sigmiod'", &["\"sigmoid\", \"relu\" or \"tanh\"", "did you mean \"sigmoid\"?"]),
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
