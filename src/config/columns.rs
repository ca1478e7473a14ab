//! Options about the columns of a table.

use nn_data::ClassWeights;
use toml::de::DeValue;

use super::value::{Interval, Value, Wrong, quoted};

/// Columns by name or position, with commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    const NAME: &'static str = "COLUMNS";

    fn expected() -> String {
        "a list of columns such as [\"id\", \"date\"]".into()
    }

    fn expected_text() -> String {
        "columns such as id,date".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if names.iter().any(String::is_empty) {
            return Err("expected columns with commas between them, such as id,date".into());
        }
        Ok(Self(names))
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Array(names) => {
                names.iter().map(|name| String::from_toml(name.get_ref())).collect::<Option<_>>().map(Self)
            }
            DeValue::String(text) => Self::from_text(text).ok(),
            other => String::from_toml(other).map(|name| Self(vec![name])),
        }
    }

    fn to_toml(&self) -> Option<String> {
        let names: Vec<String> = self.0.iter().map(|name| quoted(name)).collect();
        Some(format!("[{}]", names.join(", ")))
    }

    fn in_words(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(","))
    }

    /// A column's position may be negative.
    fn shape(arg: clap::Arg) -> clap::Arg {
        arg.allow_hyphen_values(true)
    }
}

/// The character between the cells of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(pub u8);

impl Value for Delimiter {
    const NAME: &'static str = "CHARACTER";

    fn expected() -> String {
        "one character such as \";\", or \"tab\"".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            b"tab" | b"\\t" => Ok(Self(b'\t')),
            b"space" => Ok(Self(b' ')),
            b"comma" => Ok(Self(b',')),
            b"semicolon" => Ok(Self(b';')),
            [character] if character.is_ascii() && !matches!(character, b'"' | b'\n' | b'\r' | 0) => {
                Ok(Self(*character))
            }
            _ => Err("expected one character such as ; or tab".into()),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?).ok()
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.in_words()?))
    }

    fn in_words(&self) -> Option<String> {
        Some(match self.0 {
            b'\t' => "tab".to_owned(),
            b' ' => "space".to_owned(),
            other => char::from(other).to_string(),
        })
    }
}

impl Value for ClassWeights {
    const NAME: &'static str = "WEIGHTS";

    fn expected() -> String {
        "\"none\", \"balanced\", or weights of classes such as \"yes=5,no=1\"".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "none" => return Ok(Self::None),
            "balanced" => return Ok(Self::Balanced),
            _ => {}
        }
        let weight = |entry: &str| {
            // A class may have an equals sign in its name.
            let (name, weight) = entry.rsplit_once('=')?;
            Some((name.trim().to_owned(), weight.trim().parse().ok()?))
        };
        text.split(',')
            .map(weight)
            .collect::<Option<_>>()
            .map(Self::Given)
            .ok_or_else(|| "expected none, balanced, or weights such as yes=5,no=1".into())
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?).ok()
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.in_words()?))
    }

    fn in_words(&self) -> Option<String> {
        Some(match self {
            Self::None => "none".to_owned(),
            Self::Balanced => "balanced".to_owned(),
            Self::Given(given) => {
                given.iter().map(|(name, weight)| format!("{name}={weight}")).collect::<Vec<_>>().join(",")
            }
        })
    }

    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        let Self::Given(given) = self else { return Ok(()) };
        let bad = given.iter().find(|(_, weight)| !(weight.is_finite() && *weight >= 0.0));
        bad.map_or(Ok(()), |(name, weight)| {
            let says = format!(
                "gives the class {name} the weight {weight}; a weight is a number that is not negative"
            );
            Err(Wrong { says, help: Some("0 leaves the samples of a class out".into()) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_delimiters_and_weights() {
        assert_eq!(Names::from_text("id, date").unwrap(), Names(vec!["id".into(), "date".into()]));
        assert!(Names::from_text("id,,date").is_err());
        for (text, byte) in [(";", b';'), ("tab", b'\t'), ("\\t", b'\t'), ("|", b'|')] {
            assert_eq!(Delimiter::from_text(text).unwrap(), Delimiter(byte), "{text}");
        }
        assert!(Delimiter::from_text(";;").is_err() && Delimiter::from_text("\"").is_err());
        let given = ClassWeights::from_text("a=2, b=c=0.5").unwrap();
        assert_eq!(given, ClassWeights::Given(vec![("a".into(), 2.0), ("b=c".into(), 0.5)]));
        assert_eq!(ClassWeights::from_text(&given.in_words().unwrap()).unwrap(), given);
        assert!(ClassWeights::from_text("a").is_err());
        let bad = ClassWeights::from_text("a=-1").unwrap();
        assert!(bad.check(None).unwrap_err().says.contains("the class a"));
    }
}
