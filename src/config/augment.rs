//! The option `--augment`: distortions of pictures by name, with amounts.

use std::str::FromStr;

use nn_core::Augmentation;
use toml::de::DeValue;

use super::value::{Interval, Value, Wrong};

/// `affine,elastic`, `rotation=10,shift=2` or `none`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Augment(pub Augmentation);

/// The distortions that have an amount, by name.
fn amount<'a>(name: &str, of: &'a mut Augmentation) -> Option<&'a mut f32> {
    match name {
        "rotation" => Some(&mut of.rotation),
        "scale" => Some(&mut of.scale),
        "shear" => Some(&mut of.shear),
        "shift" => Some(&mut of.shift),
        "elastic" => Some(&mut of.elastic),
        _ => None,
    }
}

/// Their names, those of the affine map first.
const AMOUNTS: [&str; 5] = ["rotation", "scale", "shear", "shift", "elastic"];

/// The amounts that names stand for when none is given.
fn usual() -> Augmentation {
    Augmentation { elastic: Augmentation::ELASTIC.elastic, ..Augmentation::AFFINE }
}

impl FromStr for Augment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Augmentation::default();
        if text.trim() == "none" {
            return Ok(Self(all));
        }
        for item in text.split(',').map(str::trim) {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (item, None),
            };
            match (name, value) {
                ("flip", None) => all.flip = true,
                ("affine", None) => {
                    let Augmentation { elastic, flip, .. } = all;
                    all = Augmentation { elastic, flip, ..Augmentation::AFFINE };
                }
                _ => {
                    let mut usual = usual();
                    let (Some(amount), Some(usual)) = (amount(name, &mut all), amount(name, &mut usual))
                    else {
                        return Err(format!("expected {}, not {item:?}", Self::expected_text()));
                    };
                    *amount = match value {
                        Some(value) => {
                            value.parse().map_err(|_| format!("{value:?} in {item:?} is not a number"))?
                        }
                        None => *usual,
                    };
                }
            }
        }
        Ok(Self(all))
    }
}

impl Augment {
    /// The shortest list that means the same.
    fn list(mut self) -> String {
        let mut usual = usual();
        let mut items: Vec<String> = Vec::new();
        let affine = Augmentation { elastic: self.0.elastic, flip: self.0.flip, ..usual };
        let mut names = &AMOUNTS[..];
        if self.0 == affine {
            items.push("affine".into());
            names = &AMOUNTS[4..];
        }
        for name in names {
            let (Some(&mut is), Some(&mut usual)) = (amount(name, &mut self.0), amount(name, &mut usual))
            else {
                continue;
            };
            if is == usual {
                items.push((*name).to_owned());
            } else if is != 0.0 {
                items.push(format!("{name}={is}"));
            }
        }
        if self.0.flip {
            items.push("flip".into());
        }
        if items.is_empty() { "none".to_owned() } else { items.join(",") }
    }
}

impl Value for Augment {
    const NAME: &'static str = "DISTORTIONS";

    fn expected() -> String {
        "a list of distortions such as \"affine,elastic\"".into()
    }

    fn expected_text() -> String {
        "affine, rotation, scale, shear, shift, elastic or flip, with an amount such as rotation=10 or without, or none"
            .into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(text) => text.parse().ok(),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| item.get_ref().as_str());
                let items = items.collect::<Option<Vec<_>>>()?;
                if items.is_empty() { Some(Self::default()) } else { items.join(",").parse().ok() }
            }
            _ => None,
        }
    }

    fn to_toml(&self) -> Option<String> {
        self.list().to_toml()
    }

    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        self.0.check().map_err(|error| Wrong {
            says: format!("gives {} an amount of {}; it must be {}", error.field, error.value, error.limits),
            help: Some(format!("the usual amounts are {}", usual_in_words())),
        })
    }
}

/// The usual amounts, for messages.
fn usual_in_words() -> String {
    let Augmentation { rotation, scale, shear, shift, elastic, flip: _ } = usual();
    format!("rotation={rotation},scale={scale},shear={shear},shift={shift},elastic={elastic}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        let none = Augmentation::default();
        let affine = Augmentation::AFFINE;
        for (text, means, shortest) in [
            ("none", none, "none"),
            ("affine", affine, "affine"),
            ("affine, elastic", usual(), "affine,elastic"),
            ("elastic,rotation,scale,shear,shift", usual(), "affine,elastic"),
            ("affine,rotation=0", Augmentation { rotation: 0.0, ..affine }, "scale,shear,shift"),
            ("rotation=10,affine", affine, "affine"),
            ("flip,elastic=0.5", Augmentation { elastic: 0.5, flip: true, ..none }, "elastic=0.5,flip"),
            ("shift=2", Augmentation { shift: 2.0, ..none }, "shift=2"),
        ] {
            assert_eq!(text.parse(), Ok(Augment(means)), "{text}");
            assert_eq!(Augment(means).list(), shortest);
            assert_eq!(shortest.parse(), Ok(Augment(means)), "{shortest}");
        }
        for wrong in ["", "affine,", "wobble", "rotation=", "rotation=x", "affine=3", "flip=1", "none,affine"]
        {
            assert!(wrong.parse::<Augment>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn amounts_have_limits() {
        for (text, says) in [
            ("rotation=181", "gives rotation an amount of 181"),
            ("scale=1", "at least 0 and below 1"),
            ("elastic=nan", "NaN"),
        ] {
            let wrong = text.parse::<Augment>().unwrap().check(None).unwrap_err();
            assert!(wrong.says.contains(says), "{wrong:?}");
        }
        assert_eq!(Augment(usual()).check(None), Ok(()));
    }
}
