//! Where the value of an option comes from.

use std::collections::BTreeMap;

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
            Self::Line(_) => 1,
            Self::Variable => 2,
            Self::Flag => 3,
        };
        rank(self) > rank(other)
    }
}

/// The origin of every option that was given, so that messages can name what the user wrote.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    file: String,
    given: BTreeMap<String, Origin>,
}

impl Origins {
    /// No origins yet; `file` is the name of the configuration file in messages.
    pub fn of_file(file: &str) -> Self {
        Self { file: file.to_owned(), given: BTreeMap::new() }
    }

    /// Notes where the options with these keys come from, in place of what was noted before.
    pub fn note<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>, origin: Origin) {
        self.given.extend(keys.into_iter().map(|key| (key.to_owned(), origin)));
    }

    /// The origin of the option with that key.
    pub fn of(&self, key: &str) -> Origin {
        self.given.get(key).copied().unwrap_or(Origin::Default)
    }

    /// The option's name in a message: `--epochs`, `NN_EPOCHS` or `run.toml:3: epochs`.
    pub fn subject(&self, key: &str) -> String {
        match self.of(key) {
            Origin::Line(line) => format!("{}:{line}: {key}", self.file),
            Origin::Variable => variable(key),
            Origin::Default | Origin::Flag => format!("--{key}"),
        }
    }

    /// The origin in words: `default`, `from run.toml:3`, `from NN_EPOCHS` or `from --epochs`; always one line.
    pub fn in_words(&self, key: &str) -> String {
        match self.of(key) {
            Origin::Default => "default".to_owned(),
            Origin::Line(line) => format!("from {}:{line}", self.file.replace(char::is_control, "?")),
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
        let order = [Origin::Default, Origin::Line(9), Origin::Variable, Origin::Flag];
        for (i, a) in order.into_iter().enumerate() {
            for (j, b) in order.into_iter().enumerate() {
                assert_eq!(a.overrides(b), i > j, "{a:?} {b:?}");
            }
        }
        assert!(!Origin::Line(2).overrides(Origin::Line(1)));
    }
}
