//! The values that an option takes in a sweep: listed, or drawn from a range.

use nn_core::{Purpose, uniform};
use toml::de::{DeArray, DeValue};

use super::plan::Text;
use crate::config::value::did_you_mean;
use crate::failure::Failure;

/// Where values come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// These, in TOML.
    Listed(Vec<String>),
    /// Numbers of a range.
    Range {
        min: f64,
        max: f64,
        /// Whether every power of ten is equally likely, and not every number.
        log: bool,
        /// Whether the numbers are whole ones. Then `max` is among them.
        whole: bool,
    },
}

impl Source {
    /// A list of values, none of them twice.
    pub(super) fn list(text: Text<'_>, key: &str, at: usize, list: &DeArray<'_>) -> Result<Self, Failure> {
        let values: Vec<String> = list.iter().map(|value| text.of(value)).collect();
        if values.is_empty() {
            return Err(text
                .wrong(at, format_args!("{key} has no values"))
                .help("list at least one value, or take the option out"));
        }
        if let Some(twice) = values.iter().enumerate().find_map(|(i, v)| values[..i].contains(v).then_some(v))
        {
            return Err(text.wrong(at, format_args!("{key} has the value {twice} twice")));
        }
        Ok(Self::Listed(values))
    }

    /// The number of listed values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Listed(values) => values.len(),
            Self::Range { .. } => 1,
        }
    }

    /// A listed value.
    pub(super) fn value(&self, at: usize) -> String {
        match self {
            Self::Listed(values) => values[at].clone(),
            Self::Range { .. } => self.at(0.5),
        }
    }

    /// The value of draw number `draw`, which depends on nothing but (seed, draw, option).
    pub(super) fn draw(&self, seed: u64, draw: u64, key: &str) -> String {
        self.at(uniform(seed, Purpose::Sweep, draw, address(key)))
    }

    /// The value at a place in [0, 1).
    fn at(&self, place: f64) -> String {
        match *self {
            Self::Listed(ref values) => values[(place * values.len() as f64) as usize].clone(),
            Self::Range { min, max, log, whole } => {
                // A whole number has the numbers from it to the next.
                let end = if whole { max + 1.0 } else { max };
                let x = if log {
                    (min.ln() + place * (end.ln() - min.ln())).exp()
                } else {
                    min + place * (end - min)
                };
                if whole {
                    return format!("{}", x.floor().clamp(min, max));
                }
                // Four digits are enough, can be read, and hide in which last bit machines differ.
                let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
                format!("{:?}", rounded.clamp(min, max))
            }
        }
    }
}

/// The position of an option's random numbers: FNV-1a of its key, so that it does not depend on the other options.
fn address(key: &str) -> u32 {
    key.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The values of an option of `[random]`: a list, `{ choices = [...] }` or `{ min = .., max = .., log = true }`.
pub(super) fn read_random(
    text: Text<'_>,
    key: &str,
    at: usize,
    value: &toml::Spanned<DeValue<'_>>,
) -> Result<Source, Failure> {
    let table = match value.get_ref() {
        DeValue::Array(list) => return Source::list(text, key, at, list),
        DeValue::Table(table) => table,
        _ => {
            return Err(text.wrong(at, format_args!("{key} must be a range or a list of choices")).help(
                format_args!("such as {key} = {{ min = 0.01, max = 1.0, log = true }} or {key} = [..]"),
            ));
        }
    };
    let (mut min, mut max, mut log, mut choices) = (None, None, false, None);
    for (name, value) in table {
        let wrong = |says: &str| text.wrong(at, format_args!("{} of {key} {says}", name.get_ref()));
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("choices", DeValue::Array(list)) => choices = Some(Source::list(text, key, at, list)?),
            ("choices", _) => return Err(wrong("must be a list")),
            ("log", DeValue::Boolean(on)) => log = *on,
            ("log", _) => return Err(wrong("must be true or false")),
            ("min", value) => min = Some(number(value).ok_or_else(|| wrong("must be a number"))?),
            ("max", value) => max = Some(number(value).ok_or_else(|| wrong("must be a number"))?),
            (other, _) => {
                let near = did_you_mean(other, ["min", "max", "log", "choices"]);
                return Err(text
                    .wrong(at, format_args!("{key} has no {other:?}"))
                    .help(near.unwrap_or_else(|| "it may have min, max and log, or choices".to_owned())));
            }
        }
    }
    match (choices, min, max) {
        (Some(choices), None, None) if !log => Ok(choices),
        (None, Some((min, whole)), Some((max, also_whole))) => {
            if min >= max {
                return Err(text.wrong(at, format_args!("min of {key} must be below max")));
            }
            if log && min <= 0.0 {
                return Err(text.wrong(at, format_args!("min of {key} must be above 0, for log = true")));
            }
            Ok(Source::Range { min, max, log, whole: whole && also_whole })
        }
        _ => Err(text.wrong(at, format_args!("{key} needs min and max, or choices, and not both"))),
    }
}

/// A number, and whether it is a whole one.
fn number(value: &DeValue<'_>) -> Option<(f64, bool)> {
    let (number, whole): (f64, bool) = match value {
        DeValue::Integer(integer) if integer.radix() == 10 => (integer.as_str().parse().ok()?, true),
        DeValue::Float(float) => (float.as_str().parse().ok()?, false),
        _ => return None,
    };
    // Whole numbers above 2⁵³ are not exact, and no option has such a range.
    (number.is_finite() && number.abs() <= 9e15).then_some((number, whole))
}
