//! The kind of each column: by rule, with the reason.

use super::cell;
use super::profile::{FEW_ROWS, Profile};

/// The kind of a column that is a feature, or why it is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Words, or numbers that are names.
    Category,
    /// Dates or times of this pattern.
    Date {
        /// The pattern, as `strptime` has it.
        pattern: String,
    },
    /// What the network predicts.
    Target,
    /// The weight of a sample.
    Weight,
    /// Left out: it names the rows.
    Identifier,
    /// Left out: it has one value.
    Constant,
    /// Left out: the user says so.
    Ignored,
}

impl Kind {
    /// The kind in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Category => "category",
            Self::Date { pattern } if !cell::has_date(pattern) => "time",
            Self::Date { .. } => "date",
            Self::Target => "target",
            Self::Weight => "weight",
            Self::Identifier => "identifier",
            Self::Constant => "constant",
            Self::Ignored => "ignored",
        }
    }

    /// Whether the network sees the column.
    #[must_use]
    pub fn is_feature(&self) -> bool {
        matches!(self, Self::Number | Self::Category | Self::Date { .. })
    }
}

/// What the user says about a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Ignore,
    Category,
    Number,
}

/// Of a column of numbers with less text than one in this many cells, the text is a slip and counts as missing.
const SLIPS: usize = 20;

/// The kind of a column, and the reason for people to read.
pub(crate) fn decide(name: Option<&str>, profile: &Profile, wish: Option<Wish>) -> (Kind, String) {
    let distinct = profile.distinct();
    match wish {
        Some(Wish::Ignore) => return (Kind::Ignored, "--ignore".into()),
        Some(Wish::Category) => return (Kind::Category, format!("--categorical; {distinct} values")),
        Some(Wish::Number) => return (Kind::Number, "--numeric".into()),
        None => {}
    }
    if profile.present() == 0 {
        return (Kind::Constant, "every cell is missing".into());
    }
    if distinct == 1 && profile.missing == 0 {
        return (Kind::Constant, "every cell is the same".into());
    }
    if let Some(reason) = identifier(name, profile) {
        return (Kind::Identifier, reason);
    }
    if distinct == 1 {
        return (Kind::Category, "one value, which is there or missing".into());
    }
    if let [pattern, ..] = profile.date_patterns() {
        let other = cell::opposite(pattern).filter(|other| profile.date_patterns().contains(other));
        let doubt = other.map_or(String::new(), |other| {
            format!("; {other} would fit as well: write dates as 2024-12-31 to be sure")
        });
        return (Kind::Date { pattern: pattern.clone() }, format!("every cell fits {pattern}{doubt}"));
    }
    if profile.texts() == 0 {
        if profile.leading_zeros && profile.whole {
            return (Kind::Category, "numbers with leading zeros are names".into());
        }
        if profile.whole && name.is_some_and(is_code) {
            return (Kind::Category, "by its name, the numbers are names".into());
        }
        return (Kind::Number, "every cell is a number".into());
    }
    if profile.texts() * SLIPS < profile.present() {
        let slips = profile.texts();
        let first = profile.text.as_ref().map_or(String::new(), |(line, text)| {
            format!(": `{}` in line {line}", crate::error::shown(text, 20))
        });
        let cells = if slips == 1 { "1 cell that is".to_owned() } else { format!("{slips} cells that are") };
        return (Kind::Number, format!("numbers, but for {cells} none and count as missing{first}"));
    }
    (Kind::Category, format!("text, {distinct} values"))
}

/// The reason why a column names the rows rather than describing them.
fn identifier(name: Option<&str>, profile: &Profile) -> Option<String> {
    if profile.rows < FEW_ROWS {
        return None;
    }
    let unnamed = name.is_none_or(|name| name.trim().is_empty() || name.starts_with("Unnamed: "));
    if let Some(first) = profile.counts_rows() {
        return Some(match name {
            _ if unnamed => format!("it has no name and counts the rows from {first}"),
            _ => format!("it counts the rows from {first}"),
        });
    }
    // Real numbers are nearly all distinct, too.
    let names_rows = profile.texts() > 0 || profile.whole;
    if names_rows && name.is_some_and(is_identifier) && profile.is_nearly_distinct(0.9) {
        return Some("by its name and its values, nearly all distinct".into());
    }
    let texts = profile.texts() * 2 > profile.present() && profile.date_patterns().is_empty();
    (texts && profile.distinct() > 20 && profile.is_nearly_distinct(0.5)).then(|| {
        format!("text, of which {} of {} values are distinct", profile.distinct(), profile.present())
    })
}

/// The words of a name: `userId` and `user_id` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (lower && c.is_uppercase()) {
            words.push(String::new());
        }
        lower = c.is_lowercase();
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_identifier(name: &str) -> bool {
    let known = ["id", "ids", "uuid", "guid", "index", "idx", "key", "rowid", "rownum", "serial", "sku"];
    words(name).iter().any(|word| known.contains(&word.as_str()))
}

/// Whether numbers in a column of that name are names: a post code has no sum.
fn is_code(name: &str) -> bool {
    let known = ["zip", "zipcode", "postcode", "postal", "plz", "code", "phone"];
    words(name).iter().any(|word| known.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::cell::Decimal;
    use super::*;

    fn kind(name: Option<&str>, cells: impl IntoIterator<Item = String>) -> (Kind, String) {
        let mut profile = Profile::new(Decimal::Point);
        (2..).zip(cells).for_each(|(line, cell)| profile.add(cell.as_bytes(), line));
        decide(name, &profile, None)
    }

    fn cells(f: impl Fn(usize) -> String) -> Vec<String> {
        (0..100).map(f).collect()
    }

    #[test]
    fn every_kind_by_rule() {
        let date = Kind::Date { pattern: "%Y-%m-%d".into() };
        for (name, values, expected) in [
            (Some("x"), cells(|i| format!("{}.5", i % 7)), Kind::Number),
            (Some("x"), cells(|i| if i % 9 == 0 { "NA".into() } else { format!("{}", i % 7) }), Kind::Number),
            (Some("x"), cells(|i| if i == 9 { "oops".into() } else { i.to_string() + "0" }), Kind::Number),
            (Some("x"), cells(|i| if i % 3 == 0 { "low".into() } else { i.to_string() }), Kind::Category),
            (Some("colour"), cells(|i| ["red", "blue"][i % 2].into()), Kind::Category),
            (Some("zip"), cells(|i| format!("{}", 10_000 + i % 7)), Kind::Category),
            (Some("n"), cells(|i| format!("{:03}", i % 7)), Kind::Category),
            (Some("day"), cells(|i| format!("2024-01-{:02}", 1 + i % 28)), date),
            (None, cells(|i| i.to_string()), Kind::Identifier),
            (Some(""), cells(|i| i.to_string()), Kind::Identifier),
            (Some("Unnamed: 0"), cells(|i| (i + 1).to_string()), Kind::Identifier),
            (Some("customerId"), cells(|i| (i * 7919 % 1013).to_string()), Kind::Identifier),
            (Some("name"), cells(|i| format!("Mr. {i}")), Kind::Identifier),
            (Some("width"), cells(|i| (i * 7919 % 1013).to_string()), Kind::Number),
            (Some("id"), cells(|i| format!("{}", i % 3)), Kind::Number),
            (Some("c"), cells(|_| "7".into()), Kind::Constant),
            (Some("c"), cells(|_| "".into()), Kind::Constant),
            (Some("c"), cells(|i| if i % 2 == 0 { "yes".into() } else { "".into() }), Kind::Category),
        ] {
            let (found, reason) = kind(name, values);
            assert_eq!(found, expected, "{name:?}: {reason}");
            assert!(!reason.is_empty());
        }
    }

    #[test]
    fn an_ambiguous_date_says_so() {
        let (_, reason) = kind(Some("d"), cells(|i| format!("0{}/02/2024", 1 + i % 9)));
        assert!(reason.contains("%d/%m/%Y would fit as well"), "{reason}");
        let (_, reason) = kind(Some("x"), cells(|i| if i == 9 { "oops".into() } else { format!("{i}.5") }));
        assert!(reason.contains("1 cell") && reason.contains("`oops` in line 11"), "{reason}");
    }
}
