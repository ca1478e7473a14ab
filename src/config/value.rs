//! The types of options: how each is read from the text of a flag or a variable and from a TOML value, how it is
//! checked, and how it is written.

use std::ffi::OsStr;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches};
use toml::de::DeValue;

use super::choice::{Choice, choice};
use crate::failure::Failure;

/// What is wrong with a value: the rest of a sentence that begins with the option's name, and a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The rest of the sentence.
    pub says: String,
    /// The remedy, if one is known.
    pub help: Option<String>,
}

impl Wrong {
    /// The failure, with the option's name.
    pub fn about(self, subject: &str) -> Failure {
        let failure = Failure::usage(format_args!("{subject} {}", self.says));
        self.help.into_iter().fold(failure, Failure::help)
    }
}

/// The numbers that an option accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interval {
    /// Whole numbers from the first to the last.
    Whole(u64, u64),
    /// `0 < x ≤ high`
    Positive(f64),
    /// `low ≤ x ≤ high`
    Closed(f64, f64),
    /// `0 ≤ x < high`
    FromZeroBelow(f64),
    /// `0 < x < 1`
    Inside,
}

impl From<RangeInclusive<u64>> for Interval {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::Whole(*range.start(), *range.end())
    }
}

impl Interval {
    fn contains(self, x: f64) -> bool {
        match self {
            // Both are compared exactly: see `Value::check`.
            Self::Whole(low, high) => (low as f64..=high as f64).contains(&x),
            Self::Positive(high) => x > 0.0 && x <= high,
            Self::Closed(low, high) => (low..=high).contains(&x),
            Self::FromZeroBelow(high) => (0.0..high).contains(&x),
            Self::Inside => x > 0.0 && x < 1.0,
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(low, high) => write!(f, "at least {low} and at most {high}"),
            Self::Positive(high) => write!(f, "a number above 0 and at most {high}"),
            Self::Closed(low, high) => write!(f, "a number at least {low} and at most {high}"),
            Self::FromZeroBelow(high) => write!(f, "a number at least 0 and below {high}"),
            Self::Inside => write!(f, "a number above 0 and below 1"),
        }
    }
}

/// A type of value that an option can have.
pub trait Value: fmt::Debug + Clone + PartialEq + Send + Sync + 'static {
    /// The value's name in help.
    const NAME: &'static str;

    /// What a value of a file must be, for messages.
    fn expected() -> String;

    /// What a variable's text must be, for messages.
    fn expected_text() -> String {
        Self::expected()
    }

    /// Reads a flag's text; the error is a short sentence.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads a TOML value; `None` if it has another type or form.
    fn from_toml(value: &DeValue<'_>) -> Option<Self>;

    /// The value in TOML; `None` if TOML, which is UTF-8, cannot hold it.
    fn to_toml(&self) -> Option<String>;

    /// The value as a flag takes it, to name a default; `None` if that says nothing to a reader.
    fn in_words(&self) -> Option<String> {
        Some(self.to_toml()?.trim_matches('"').to_owned())
    }

    /// Reads a variable's text; `None` if it has another form.
    fn from_variable(text: &OsStr) -> Option<Self> {
        Self::from_text(text.to_str()?).ok()
    }

    /// The possible values, if there are only a few.
    fn names() -> Vec<&'static str> {
        Vec::new()
    }

    /// A remedy for a value that cannot be read, if it allows a guess.
    fn guess(_: &str) -> Option<String> {
        None
    }

    /// Checks the value against the option's interval.
    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        Ok(())
    }

    /// The parser of the flag.
    fn parser() -> ValueParser {
        ValueParser::new(|text: &str| Self::from_text(text))
    }

    /// Gives the flag the form that the type needs.
    fn shape(arg: Arg) -> Arg {
        arg
    }

    /// The value that the command line gives to the flag.
    fn of_matches(matches: &ArgMatches, key: &str) -> Option<Self> {
        matches.get_one::<Self>(key).cloned()
    }
}

/// Refuses a number outside an interval.
fn within(x: f64, shown: impl fmt::Display, interval: Option<Interval>) -> Result<(), Wrong> {
    match interval {
        Some(interval) if !interval.contains(x) => {
            Err(Wrong { says: format!("must be {interval}, not {shown}"), help: None })
        }
        _ => Ok(()),
    }
}

/// Reads a whole number from a flag.
pub(crate) fn whole(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) => Ok(number),
        Err(_) if text.parse::<i128>().is_ok_and(|number| number < 0) => {
            Err("it must not be negative".into())
        }
        Err(_) if text.parse::<u128>().is_ok() => Err("it is too large".into()),
        Err(_) => Err("expected a whole number".into()),
    }
}

/// Reads a text that is not empty from a flag.
pub(crate) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".into()) } else { Ok(text.to_owned()) }
}

/// A whole number of TOML.
pub(super) fn toml_whole(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix()).ok()
}

/// A text in TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const NAME: &'static str = "N";

            fn expected() -> String {
                "a whole number that is not negative".into()
            }

            fn from_text(text: &str) -> Result<Self, String> {
                whole(text)?.try_into().map_err(|_| "it is too large".into())
            }

            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                toml_whole(value)?.try_into().ok()
            }

            fn to_toml(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn check(&self, interval: Option<Interval>) -> Result<(), Wrong> {
                // No limit is beyond 2⁵³, up to which f64 counts exactly, and rounding does not change the order.
                within(*self as f64, self, interval)
            }

            /// A negative number gets a sentence of its own, not "unexpected argument".
            fn shape(arg: Arg) -> Arg {
                arg.allow_negative_numbers(true)
            }
        }
    )*};
}

whole_numbers!(u32, u64, usize);

macro_rules! real_numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const NAME: &'static str = "X";

            fn expected() -> String {
                "a number".into()
            }

            fn from_text(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| "expected a number such as 0.5 or 1e-3".into())
            }

            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                match value {
                    DeValue::Float(float) => float.as_str().parse().ok(),
                    DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
                    _ => None,
                }
            }

            /// With a point or an exponent, as TOML wants it.
            fn to_toml(&self) -> Option<String> {
                Some(format!("{self:?}"))
            }

            fn in_words(&self) -> Option<String> {
                let exact = format!("{self:?}");
                Some(exact.strip_suffix(".0").map_or(exact.clone(), str::to_owned))
            }

            fn check(&self, interval: Option<Interval>) -> Result<(), Wrong> {
                // The shortest text of an f32 is the number that the user wrote; its exact value is not.
                let written = self.to_string().parse().unwrap_or(f64::NAN);
                within(written, written, interval)
            }

            /// Clap's negative numbers do not include -1e-3, so any hyphen will do.
            fn shape(arg: Arg) -> Arg {
                arg.allow_hyphen_values(true)
            }
        }
    )*};
}

real_numbers!(f32, f64);

impl Value for bool {
    const NAME: &'static str = "BOOL";

    fn expected() -> String {
        "true or false".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("expected true or false".into()),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn in_words(&self) -> Option<String> {
        None // a flag that is not given is off
    }

    fn shape(arg: Arg) -> Arg {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    }
}

impl Value for String {
    const NAME: &'static str = "TEXT";

    fn expected() -> String {
        "a text in quotes".into()
    }

    fn expected_text() -> String {
        "a text that is not empty".into()
    }

    fn from_text(words: &str) -> Result<Self, String> {
        text(words)
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(text) if !text.trim().is_empty() => Some(text.clone().into_owned()),
            // A column of a CSV may be given by its position.
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str().to_owned()),
            _ => None,
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(self))
    }

    fn in_words(&self) -> Option<String> {
        Some(self.clone())
    }

    /// A column's position may be negative.
    fn shape(arg: Arg) -> Arg {
        arg.allow_negative_numbers(true)
    }
}

impl Value for PathBuf {
    const NAME: &'static str = "FILE";

    fn expected() -> String {
        "a path in quotes".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().filter(|path| !path.is_empty()).map(Self::from)
    }

    fn to_toml(&self) -> Option<String> {
        self.to_str().map(quoted)
    }

    fn in_words(&self) -> Option<String> {
        Some(self.display().to_string())
    }

    /// A path need not be UTF-8.
    fn from_variable(text: &OsStr) -> Option<Self> {
        Some(text.into())
    }

    fn parser() -> ValueParser {
        ValueParser::path_buf()
    }
}

impl<T: Choice + fmt::Debug> Value for T {
    const NAME: &'static str = "NAME";

    fn expected() -> String {
        let names: Vec<String> = T::NAMES.iter().map(|(name, _)| format!("{name:?}")).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        T::from_name(text).ok_or_else(|| format!("expected {}", Self::expected()))
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        T::from_name(value.as_str()?)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(self.name()))
    }

    fn names() -> Vec<&'static str> {
        T::NAMES.iter().map(|(name, _)| *name).collect()
    }

    fn guess(text: &str) -> Option<String> {
        did_you_mean(text, Self::names())
    }

    fn parser() -> ValueParser {
        ValueParser::new(choice::<T>())
    }
}

/// A question that offers the candidate nearest to what was written, if one is near.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let near = |candidate: &str| strsim::jaro_winkler(&written.to_lowercase().replace('_', "-"), candidate);
    let best = candidates.into_iter().max_by(|a, b| near(a).total_cmp(&near(b)))?;
    (near(best) > 0.8).then(|| format!("did you mean {best:?}?"))
}
