//! Where the value of an option comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The beginning of the name of every variable that holds an option.
pub(super) const PREFIX: &str = "NN_";

/// The environment variable of the option with that key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('-', "_").to_ascii_uppercase())
}

/// The source of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Not given.
    Default,
    /// The model that the run begins with.
    Model,
    /// That line of the file that lies with the run that is resumed.
    Run(usize),
    /// That line of the configuration file.
    Line(usize),
    /// The option's environment variable.
    Variable,
    /// The option's flag.
    Flag,
}

impl Origin {
    /// Whether a value from here overrides one from `other`.
    pub fn overrides(self, other: Self) -> bool {
        let rank = |origin| match origin {
            Self::Default => 0,
            Self::Model => 1,
            Self::Run(_) => 2,
            Self::Line(_) => 3,
            Self::Variable => 4,
            Self::Flag => 5,
        };
        rank(self) > rank(other)
    }
}

/// The origin of every option that was given, so that messages can name what the user wrote.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    file: String,
    /// The name of the run's file, if a run is resumed.
    run: String,
    given: BTreeMap<String, Origin>,
    /// The working directory of the run that a file describes.
    directory: Option<PathBuf>,
    /// The SHA-256 of the weights that the run of the configuration file began with, and of those of the run that is resumed.
    from_sha256: [Option<String>; 2],
    /// What the user should hear about how the options came together.
    notes: Vec<(String, String)>,
}

impl Origins {
    /// No origins yet; `file` is the name of the configuration file in messages.
    pub fn of_file(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    /// These origins, and those of a run's file for the options that are not given here.
    #[must_use]
    pub(super) fn or_of_run(mut self, run: Self) -> Self {
        self.run = run.file;
        for (key, origin) in run.given {
            let origin = if let Origin::Line(line) = origin { Origin::Run(line) } else { origin };
            let _ = self.given.entry(key).or_insert(origin);
        }
        self.directory = run.directory;
        let [of_run, _] = run.from_sha256;
        self.from_sha256[1] = of_run;
        self.notes.extend(run.notes);
        self
    }

    /// The working directory of the run that a file describes, if it says it.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Sets the SHA-256 of the weights that the run of the file began with.
    pub(super) fn began_with(&mut self, sha256: String) {
        self.from_sha256[0] = Some(sha256);
    }

    /// The SHA-256 that the weights of `--from` must have, and whether that is because a run is resumed; `None` if they may be any.
    pub(super) fn wanted_weights(&self) -> Option<(&str, bool)> {
        let [of_file, of_run] = &self.from_sha256;
        let of_file = of_file.as_deref().filter(|_| matches!(self.of("from"), Origin::Line(_)));
        of_run.as_deref().map(|hash| (hash, true)).or(of_file.map(|hash| (hash, false)))
    }

    /// Sets the working directory of the run that a file describes.
    pub(super) fn started_in(&mut self, directory: PathBuf) {
        self.directory = Some(directory);
    }

    /// Adds a sentence for the user about an option that comes from a file or from nowhere.
    pub(super) fn say(&mut self, key: &str, note: String) {
        self.notes.push((key.to_owned(), note));
    }

    /// What the user should hear about how the options came together.
    pub fn notes(&self) -> Vec<&str> {
        let overruled = |key: &str| matches!(self.of(key), Origin::Variable | Origin::Flag);
        self.notes.iter().filter(|(key, _)| !overruled(key)).map(|(_, note)| note.as_str()).collect()
    }

    /// Notes where the options with these keys come from, in place of what was noted before.
    pub fn note<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>, origin: Origin) {
        self.given.extend(keys.into_iter().map(|key| (key.to_owned(), origin)));
    }

    /// The origin of the option with that key.
    pub fn of(&self, key: &str) -> Origin {
        self.given.get(key).copied().unwrap_or(Origin::Default)
    }

    /// A line of the file.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.file)
    }

    /// The option's name in a message: `--epochs`, `NN_EPOCHS` or `run.toml:3: epochs`.
    pub fn subject(&self, key: &str) -> String {
        match self.of(key) {
            Origin::Line(line) => format!("{}:{line}: {key}", self.file),
            Origin::Run(line) => format!("{}:{line}: {key}", self.run),
            Origin::Variable => variable(key),
            Origin::Model => format!("{key} of the model of --from"),
            Origin::Default | Origin::Flag => format!("--{key}"),
        }
    }

    /// The origin in words: `default`, `from run.toml:3`, `from NN_EPOCHS` or `from --epochs`; always one line.
    pub fn in_words(&self, key: &str) -> String {
        let from = |file: &str, line| format!("from {}:{line}", file.replace(char::is_control, "?"));
        match self.of(key) {
            Origin::Default => "default".to_owned(),
            Origin::Model => "from the model of --from".to_owned(),
            Origin::Line(line) => from(&self.file, line),
            Origin::Run(line) => from(&self.run, line),
            Origin::Variable | Origin::Flag => format!("from {}", self.subject(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_named_as_the_user_wrote_it() {
        let mut origins = Origins::of_file("a\nb.toml");
        origins.note(["epochs"], Origin::Line(3));
        origins.note(["batch-size"], Origin::Variable);
        origins.note(["l2"], Origin::Line(7));
        origins.note(["l2"], Origin::Flag);
        for (key, subject, words) in [
            ("epochs", "a\nb.toml:3: epochs", "from a?b.toml:3"),
            ("batch-size", "NN_BATCH_SIZE", "from NN_BATCH_SIZE"),
            ("l2", "--l2", "from --l2"),
            ("seed", "--seed", "default"),
        ] {
            assert_eq!((origins.subject(key).as_str(), origins.in_words(key).as_str()), (subject, words));
        }
    }

    #[test]
    fn flags_override_variables_and_these_the_file() {
        let order = [Origin::Default, Origin::Run(8), Origin::Line(9), Origin::Variable, Origin::Flag];
        for (i, a) in order.into_iter().enumerate() {
            for (j, b) in order.into_iter().enumerate() {
                assert_eq!(a.overrides(b), i > j, "{a:?} {b:?}");
            }
        }
        assert!(!Origin::Line(2).overrides(Origin::Line(1)));
    }
}
