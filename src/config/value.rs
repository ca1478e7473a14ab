//! The values of options: how each is read from a flag's text and from a TOML value.

use std::path::PathBuf;
use std::str::FromStr;

use toml::de::DeValue;

use super::Choice;

/// Why a value of a file cannot be taken: the rest of the sentence that begins with the key, and a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) says: String,
    pub(crate) help: Option<String>,
}

/// A value that an option can take from a file.
pub(crate) trait FromToml: Sized {
    /// What the value must be.
    fn expected() -> String;

    /// The value, if it is of the right type and form.
    fn parse(value: &DeValue<'_>) -> Option<Self>;

    /// The value, or what is wrong with it.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Wrong> {
        Self::parse(value).ok_or_else(|| Wrong {
            says: format!("must be {}, not {}", Self::expected(), describe(value)),
            help: Self::help(value),
        })
    }

    /// A remedy, where the value allows a guess.
    fn help(_: &DeValue<'_>) -> Option<String> {
        None
    }
}

/// The widths of the hidden layers: `30`, `128,64` or `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden(pub Vec<u64>);

impl FromStr for Hidden {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == "none" {
            return Ok(Self::default());
        }
        let widths = text.split(',').map(|width| width.trim().parse().ok());
        widths
            .collect::<Option<_>>()
            .map(Self)
            .ok_or("expected widths such as 30 or 128,64, or none for no hidden layer")
    }
}

/// A flag's whole number.
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

/// A flag's number.
pub(crate) fn real(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| "expected a number such as 0.5 or 1e-3".into())
}

/// A flag's number that is as precise as it can be.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "expected a number such as 0.2".into())
}

/// A flag's text, which must say something.
pub(crate) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".into()) } else { Ok(text.to_owned()) }
}

impl FromToml for u64 {
    fn expected() -> String {
        "a whole number that is not negative".into()
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        Self::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix()).ok()
    }
}

/// The text of a float, or of an integer where a float is expected.
fn number(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str().to_owned()),
        _ => None,
    }
}

impl FromToml for f32 {
    fn expected() -> String {
        "a number".into()
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        number(value)?.parse().ok()
    }
}

impl FromToml for f64 {
    fn expected() -> String {
        "a number".into()
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        number(value)?.parse().ok()
    }
}

impl FromToml for bool {
    fn expected() -> String {
        "true or false".into()
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl FromToml for String {
    fn expected() -> String {
        "a text in quotes".into()
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(text) if !text.trim().is_empty() => Some(text.clone().into_owned()),
            // A column of a CSV may be given by its position.
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str().to_owned()),
            _ => None,
        }
    }
}

impl FromToml for PathBuf {
    fn expected() -> String {
        "a path in quotes".into()
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().filter(|path| !path.is_empty()).map(Self::from)
    }
}

impl FromToml for Hidden {
    fn expected() -> String {
        "a list of widths such as [128, 64], or [] for no hidden layer".into()
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Array(widths) => {
                widths.iter().map(|width| u64::parse(width.get_ref())).collect::<Option<_>>().map(Self)
            }
            DeValue::Integer(_) => u64::parse(value).map(|width| Self(vec![width])),
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl<T: Choice> FromToml for T {
    fn expected() -> String {
        let names: Vec<String> = T::NAMES.iter().map(|(name, _)| format!("{name:?}")).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }

    fn parse(value: &DeValue<'_>) -> Option<Self> {
        T::from_name(value.as_str()?)
    }

    fn help(value: &DeValue<'_>) -> Option<String> {
        did_you_mean(value.as_str()?, T::NAMES.iter().map(|(name, _)| *name))
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

/// A value of a file in words.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.trim().is_empty() => "an empty text".into(),
        DeValue::String(text) if text.chars().count() > 40 => "a long text".into(),
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(integer) => format!("the number {}", integer.as_str()),
        DeValue::Float(float) => format!("the number {}", float.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date or time".into(),
        DeValue::Array(_) => "this list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
