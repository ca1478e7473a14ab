//! One option: all that is known about it, and what follows from that.

use clap::Arg;
use clap::builder::ValueParser;

use super::choice::Choice;
use super::origins::Origins;
use super::value::{Interval, Value};
use crate::failure::Failure;

/// The type of a checked option: a value, or `Option` of one if something else decides when it is not given.
pub trait Field: Clone {
    /// The type of a given value.
    type Value: Value;

    /// The checked option for a given value.
    fn of(value: Self::Value) -> Self;

    /// The value, if there is one.
    fn value(&self) -> Option<&Self::Value>;
}

impl<T: Value> Field for T {
    type Value = T;

    fn of(value: T) -> Self {
        value
    }

    fn value(&self) -> Option<&T> {
        Some(self)
    }
}

impl<T: Value> Field for Option<T> {
    type Value = T;

    fn of(value: T) -> Self {
        Some(value)
    }

    fn value(&self) -> Option<&T> {
        self.as_ref()
    }
}

/// An option without its name and its help: see [`default`], [`derived`], [`unset`] and [`required`].
#[derive(Debug, Clone)]
pub(super) struct Opt<F: Field> {
    /// What an option that is not given becomes; `None` if it must be given.
    absent: Option<F>,
    default_words: Option<String>,
    example: Option<F::Value>,
    value_name: &'static str,
    interval: Option<Interval>,
    only_with: Option<OnlyWith>,
    common: bool,
    of_machine: bool,
    of_command: bool,
    of_data: bool,
}

/// The values of another option, the selector, without which an option has no effect.
#[derive(Debug, Clone)]
pub struct OnlyWith {
    /// The selector's key.
    pub selector: &'static str,
    /// The selector's values by name.
    pub names: Vec<&'static str>,
}

/// An option with a default.
pub(super) fn default<T: Value>(value: T) -> Opt<T> {
    Opt { default_words: value.in_words(), ..Opt::new(Some(value)) }
}

/// An option that other options or the data decide if it is not given; `words` say how.
pub(super) fn derived<T: Value>(words: impl Into<String>) -> Opt<Option<T>> {
    Opt { default_words: Some(words.into()), ..unset() }
}

/// An option without a default.
pub(super) fn unset<T: Value>() -> Opt<Option<T>> {
    Opt::new(Some(None))
}

/// An option that must be given.
pub(super) fn required<T: Value>() -> Opt<T> {
    Opt::new(None)
}

impl<F: Field> Opt<F> {
    fn new(absent: Option<F>) -> Self {
        Self {
            absent,
            default_words: None,
            example: None,
            value_name: F::Value::NAME,
            interval: None,
            only_with: None,
            common: false,
            of_machine: false,
            of_command: false,
            of_data: false,
        }
    }

    /// Names the value in help.
    pub(super) fn takes(self, value_name: &'static str) -> Self {
        Self { value_name, ..self }
    }

    /// Restricts the option to an interval.
    pub(super) fn within(self, interval: impl Into<Interval>) -> Self {
        Self { interval: Some(interval.into()), ..self }
    }

    /// Refuses the option unless the option `selector` has one of these values, or has none.
    pub(super) fn only_with<C: Choice>(self, selector: &'static str, values: &[C]) -> Self {
        let names = values.iter().map(|value| value.name()).collect();
        Self { only_with: Some(OnlyWith { selector, names }), ..self }
    }

    /// Shows the option in the short help, `-h`.
    pub(super) fn common(self) -> Self {
        Self { common: true, ..self }
    }

    /// A value that a printed configuration shows, commented out, if nothing is set.
    pub(super) fn example(self, example: F::Value) -> Self {
        Self { example: Some(example), ..self }
    }

    /// The default belongs to the machine: help says it in these words, and a printed configuration does not set it.
    pub(super) fn of_machine(self, words: &str) -> Self {
        Self { default_words: Some(words.to_owned()), of_machine: true, ..self }
    }

    /// The option belongs to one command, not to the run: a resumed run does not take it up.
    pub(super) fn of_command(self) -> Self {
        Self { of_command: true, ..self }
    }

    /// The option names data. If that is a path that only the working directory of an earlier run has, a resumed run
    /// reads it there.
    pub(super) fn of_data(self) -> Self {
        Self { of_data: true, ..self }
    }

    /// The checked option.
    ///
    /// # Errors
    /// Exit code 2 if the value is out of the interval, or if there is none and there must be one.
    pub(super) fn check(&self, key: &str, given: Option<F::Value>, origins: &Origins) -> Result<F, Failure> {
        let Some(value) = given else {
            return self.absent.clone().ok_or_else(|| Failure::usage(format_args!("--{key} is missing")));
        };
        match value.check(self.interval) {
            Ok(()) => Ok(F::of(value)),
            Err(wrong) => {
                let remedy = match &self.default_words {
                    Some(words) => format!("the default is {words}"),
                    None => "leave it out, or give a value within these bounds".to_owned(),
                };
                let failure = wrong.clone().about(&origins.subject(key));
                Err(if wrong.help.is_none() { failure.help(remedy) } else { failure })
            }
        }
    }

    /// The value by name, given or else by default.
    pub(super) fn selected(&self, given: Option<&F::Value>) -> Option<String> {
        given.or_else(|| self.absent.as_ref()?.value()).and_then(Value::in_words)
    }

    /// A checked option as a line of a printed configuration.
    pub(super) fn line(&self, checked: &F) -> Line {
        match checked.value() {
            Some(value) => Line::Value(value.to_toml()),
            None => Line::Example(self.example.as_ref().and_then(Value::to_toml)),
        }
    }

    /// The option with its name and help, for everything that treats all options alike.
    ///
    /// The first paragraph of `help` is the short help, which long help continues with the second.
    pub(super) fn entry(self, key: &'static str, heading: &'static str, help: &[&str]) -> Entry {
        let mut paragraphs = help.split(|line| line.trim().is_empty()).map(|lines| lines.concat());
        let mut paragraph = || paragraphs.next().map(|text| text.trim().to_owned());
        Entry {
            key,
            heading,
            help: paragraph().unwrap_or_default(),
            more: paragraph(),
            names: F::Value::names(),
            default: self.default_words,
            required: self.absent.is_none(),
            value_name: self.value_name,
            only_with: self.only_with,
            common: self.common,
            of_machine: self.of_machine,
            of_command: self.of_command,
            of_data: self.of_data,
            parser: F::Value::parser(),
            shape: F::Value::shape,
        }
    }
}

/// An option in a printed configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The value in effect, in TOML; `None` if TOML cannot hold it.
    Value(Option<String>),
    /// Nothing is set: an example, if there is one.
    Example(Option<String>),
}

/// An option of whatever type.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The long flag without its dashes, which is also the key of a configuration file.
    pub key: &'static str,
    /// The group in help.
    pub heading: &'static str,
    /// The default in words.
    pub default: Option<String>,
    /// The selector without whose values the option has no effect.
    pub only_with: Option<OnlyWith>,
    /// Whether the short help shows it.
    pub common: bool,
    /// Whether it must be given.
    pub required: bool,
    /// Whether the default belongs to the machine.
    pub of_machine: bool,
    /// Whether it belongs to one command, not to the run.
    pub of_command: bool,
    /// Whether it names data.
    pub of_data: bool,
    help: String,
    more: Option<String>,
    names: Vec<&'static str>,
    value_name: &'static str,
    parser: ValueParser,
    shape: fn(Arg) -> Arg,
}

impl Entry {
    /// The option's description: its help, its possible values, what it needs, and its default.
    pub fn description(&self) -> String {
        let mut text = self.brief();
        if let Some(OnlyWith { selector, names }) = &self.only_with {
            text += &format!("; only with --{selector} {}", names.join(" or "));
        }
        if let Some(more) = &self.more {
            text += &format!(". {more}");
        }
        with_default(text, self.default.as_deref())
    }

    /// The short help and the possible values.
    fn brief(&self) -> String {
        let told = self.names.iter().all(|name| self.help.contains(name));
        if told { self.help.clone() } else { format!("{}: {}", self.help, self.names.join(", ")) }
    }

    /// The default if no other option is given.
    fn plain_default(&self) -> Option<&str> {
        self.default.as_deref()?.split([';', ':', ',']).next()
    }

    /// The option on the command line.
    pub(super) fn argument(&self) -> Arg {
        let argument = Arg::new(self.key)
            .long(self.key)
            .value_name(self.value_name)
            .value_parser(self.parser.clone())
            .help(with_default(self.brief(), self.plain_default()))
            .long_help(self.description())
            .help_heading(self.heading)
            .hide_short_help(!self.common)
            .hide_possible_values(true)
            .required(self.required);
        (self.shape)(argument)
    }
}

fn with_default(text: String, words: Option<&str>) -> String {
    words.map_or(text.clone(), |words| format!("{text} [default: {words}]"))
}
