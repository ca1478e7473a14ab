//! Options that take a list.

use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches};
use toml::de::DeValue;

use super::limits::{MAX_FOLDS, MAX_HIDDEN_LAYERS, MAX_WIDTH};
use super::value::{Interval, Value, Wrong, text, toml_whole};

/// Widths of layers: `30`, `128,64` or `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Widths(pub Vec<usize>);

impl FromStr for Widths {
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

impl Value for Widths {
    const NAME: &'static str = "WIDTHS";

    fn expected() -> String {
        "a list of widths such as [128, 64], or [] for no hidden layer".into()
    }

    fn expected_text() -> String {
        "widths such as 30 or 128,64, or none for no hidden layer".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(str::to_owned)
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let width = |value: &DeValue<'_>| usize::try_from(toml_whole(value)?).ok();
        match value {
            DeValue::Array(widths) => {
                widths.iter().map(|value| width(value.get_ref())).collect::<Option<_>>().map(Self)
            }
            DeValue::Integer(_) => width(value).map(|width| Self(vec![width])),
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(format!("{:?}", self.0))
    }

    fn in_words(&self) -> Option<String> {
        let widths: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        Some(if widths.is_empty() { "none".to_owned() } else { widths.join(",") })
    }

    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        if self.0.len() > MAX_HIDDEN_LAYERS {
            let says = format!("has {} layers; at most {MAX_HIDDEN_LAYERS} are allowed", self.0.len());
            return Err(Wrong { says, help: Some("use fewer, wider layers".into()) });
        }
        let wrong = self.0.iter().enumerate().find(|(_, width)| !(1..=MAX_WIDTH).contains(&(**width as u64)));
        wrong.map_or(Ok(()), |(layer, width)| {
            let says = format!(
                "gives layer {} a width of {width}; every layer has at least 1 and at most {MAX_WIDTH} neurons",
                layer + 1
            );
            Err(Wrong { says, help: Some("for no hidden layer say --hidden none".into()) })
        })
    }

    fn shape(arg: Arg) -> Arg {
        arg.allow_negative_numbers(true)
    }
}

/// One of several equal parts, counted from 1: `2/5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// The part.
    pub fold: usize,
    /// The number of parts.
    pub of: usize,
}

impl Value for Fold {
    const NAME: &'static str = "K/N";

    fn expected() -> String {
        "a part and the number of parts, such as \"2/5\"".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(fold, of)| {
            Some(Self { fold: fold.trim().parse().ok()?, of: of.trim().parse().ok()? })
        });
        parts.ok_or_else(|| "expected a part and the number of parts, such as 2/5".to_owned())
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?).ok()
    }

    fn to_toml(&self) -> Option<String> {
        format!("{}/{}", self.fold, self.of).to_toml()
    }

    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        let Self { fold, of } = *self;
        if (2..=MAX_FOLDS).contains(&of) && (1..=of).contains(&fold) {
            return Ok(());
        }
        let says =
            format!("must be one of 2 to {MAX_FOLDS} parts, of which the first is part 1, not {fold}/{of}");
        Err(Wrong { says, help: Some(format!("the parts of five are 1/5 to 5/5, those of {of} likewise")) })
    }
}

/// Addresses of one coordinator, separated by commas; the flag may be repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses(pub Vec<String>);

impl Value for Addresses {
    const NAME: &'static str = "URL";

    fn expected() -> String {
        "a list of addresses".into()
    }

    fn from_text(list: &str) -> Result<Self, String> {
        list.split(',').map(text).collect::<Result<_, _>>().map(Self)
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?).ok()
    }

    fn to_toml(&self) -> Option<String> {
        self.0.join(",").to_toml()
    }

    fn shape(arg: Arg) -> Arg {
        arg.action(ArgAction::Append)
    }

    fn of_matches(matches: &ArgMatches, key: &str) -> Option<Self> {
        let lists = matches.get_many::<Self>(key)?;
        Some(Self(lists.flat_map(|list| list.0.iter().cloned()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_read_from_text() {
        assert_eq!("30".parse(), Ok(Widths(vec![30])));
        assert_eq!("128, 64".parse(), Ok(Widths(vec![128, 64])));
        assert_eq!("none".parse(), Ok(Widths(vec![])));
        for wrong in ["", "30,", "x", "-3", "3.5", "None,3"] {
            assert!(wrong.parse::<Widths>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn folds_are_read_from_text() {
        assert_eq!(Fold::from_text("2/5"), Ok(Fold { fold: 2, of: 5 }));
        for wrong in ["", "2", "2/", "/5", "2/5/7", "-1/5", "a/b"] {
            assert!(Fold::from_text(wrong).is_err(), "{wrong:?}");
        }
        for (fold, of, fits) in
            [(1, 2, true), (5, 5, true), (0, 5, false), (6, 5, false), (1, 1, false), (1, 9999, false)]
        {
            assert_eq!(Fold { fold, of }.check(None).is_ok(), fits, "{fold}/{of}");
        }
    }

    #[test]
    fn addresses_are_separated_by_commas() {
        assert_eq!(Addresses::from_text("a,b:1"), Ok(Addresses(vec!["a".into(), "b:1".into()])));
        assert!(Addresses::from_text("a,,b").is_err() && Addresses::from_text("").is_err());
    }
}
