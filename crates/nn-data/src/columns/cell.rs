//! One cell of a table: missing, a number, or a date.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::fmt::strtime;

/// What stands for a missing value in any column.
const MISSING: [&str; 14] =
    ["", "na", "n/a", "nan", "<na>", "?", "null", "none", "-", "--", "#n/a", "nil", "nat", "missing"];

/// What stands for a missing label. `-` and `none` are classes in real tables.
const MISSING_LABEL: [&str; 7] = ["", "na", "n/a", "nan", "<na>", "?", "null"];

fn is_one_of(cell: &[u8], words: &[&str]) -> bool {
    cell.len() <= 7 && words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(cell))
}

/// Whether a cell of a feature is missing.
pub(crate) fn is_missing(cell: &[u8]) -> bool {
    is_one_of(cell, &MISSING)
}

/// All that stands for a missing value of a feature, in every spelling: for readers that know texts only.
#[must_use]
pub fn missing_spellings() -> Vec<String> {
    let mut all = Vec::new();
    for word in MISSING {
        let mut spellings = vec![String::new()];
        for c in word.chars() {
            let cases = [c, c.to_ascii_uppercase()];
            let cases = if c.is_ascii_lowercase() { &cases[..] } else { &cases[..1] };
            spellings =
                spellings.iter().flat_map(|start| cases.iter().map(move |c| format!("{start}{c}"))).collect();
        }
        all.extend(spellings);
    }
    all
}

/// Whether a label is missing.
pub(crate) fn is_missing_label(cell: &[u8]) -> bool {
    is_one_of(cell, &MISSING_LABEL)
}

/// The character between the whole part of a number and its fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decimal {
    /// `1.5`
    #[default]
    Point,
    /// `1,5`
    Comma,
}

/// A number. With a comma for the fraction, a point groups thousands.
pub(crate) fn number(cell: &[u8], decimal: Decimal) -> Option<f64> {
    if let Some(byte) = byte(cell) {
        return Some(f64::from(byte));
    }
    let text = std::str::from_utf8(cell).ok()?;
    match decimal {
        Decimal::Point => text.parse().ok(),
        Decimal::Comma if text.contains(['.', ',']) => comma_number(text),
        Decimal::Comma => text.parse().ok(),
    }
}

/// A number with a comma for the fraction: `1.234.567,89`, `-0,5`, `1,5e3`.
fn comma_number(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once(',').unwrap_or((text, ""));
    let mut groups = whole.split('.');
    let first = groups.next()?;
    let grouped = whole.contains('.');
    let digits = first.trim_start_matches(['-', '+']);
    if grouped && (digits.is_empty() || digits.len() > 3) {
        return None;
    }
    if !groups.all(|group| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    format!("{}.{fraction}", whole.replace('.', "")).parse().ok()
}

/// A whole number from 0 to 255 in digits. This is the fast path for images, which consist of such numbers.
pub(crate) fn byte(cell: &[u8]) -> Option<u8> {
    if cell.is_empty() || cell.len() > 3 {
        return None;
    }
    let number =
        cell.iter().try_fold(0u16, |n, &c| c.is_ascii_digit().then(|| n * 10 + u16::from(c - b'0')))?;
    u8::try_from(number).ok()
}

/// The patterns of dates, the unambiguous ones first; where a column fits two, the first is taken.
const DATES: [&str; 14] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%b %d, %Y",
    "%d %b %Y",
    "%d-%b-%Y",
];
/// The patterns of the time after a date.
const TIMES: [&str; 8] = [
    "",
    " %H:%M:%S%.f",
    "T%H:%M:%S%.f",
    "T%H:%M:%S%.fZ",
    " %H:%M:%S%.f%:z",
    "T%H:%M:%S%.f%:z",
    " %H:%M",
    "T%H:%M",
];
/// The patterns of a time alone.
const ALONE: [&str; 2] = ["%H:%M:%S%.f", "%H:%M"];

/// All patterns of dates and times.
pub(crate) fn patterns() -> impl Iterator<Item = String> {
    let alone = ALONE.iter().map(|pattern| (*pattern).to_owned());
    let dates = DATES.iter().flat_map(|date| TIMES.iter().map(move |time| format!("{date}{time}")));
    dates.chain(alone)
}

/// Whether a pattern has a date, not only a time.
pub(crate) fn has_date(pattern: &str) -> bool {
    pattern.contains("%d")
}

/// Whether a pattern has a time.
pub(crate) fn has_time(pattern: &str) -> bool {
    pattern.contains("%H")
}

/// The other pattern with day and month in the opposite order, if there is one.
pub(crate) fn opposite(pattern: &str) -> Option<String> {
    let separators = ["/", "-"];
    separators.iter().find_map(|s| {
        let (american, european) = (format!("%m{s}%d"), format!("%d{s}%m"));
        if pattern.starts_with(&american) {
            Some(pattern.replacen(&american, &european, 1))
        } else if pattern.starts_with(&european) {
            Some(pattern.replacen(&european, &american, 1))
        } else {
            None
        }
    })
}

/// Whether a cell could be a date or a time at all: cheap, and false for most text.
pub(crate) fn may_be_date(cell: &[u8]) -> bool {
    (4..=40).contains(&cell.len())
        && cell.iter().any(u8::is_ascii_digit)
        && cell.iter().any(|b| matches!(b, b'-' | b'/' | b'.' | b':' | b' '))
}

/// Seconds from 1970 to the moment in a cell, by its own clock; a time alone counts from midnight.
pub(crate) fn moment(cell: &[u8], pattern: &str) -> Option<f64> {
    let parsed = strtime::parse(pattern, cell).ok()?;
    let time = if has_time(pattern) { parsed.to_time().ok()? } else { Time::midnight() };
    let date = if has_date(pattern) { parsed.to_date().ok()? } else { Date::new(1970, 1, 1).ok()? };
    let epoch = DateTime::new(1970, 1, 1, 0, 0, 0, 0).ok()?;
    let span = DateTime::from_parts(date, time).duration_since(epoch);
    Some(span.as_secs() as f64)
}

/// A part of a date or time that can be an input of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The year with its day as a fraction: 2024.5 is in July.
    Year,
    /// 1 to 12.
    Month,
    /// 1 to 31.
    Day,
    /// 1 (Monday) to 7 (Sunday).
    Weekday,
    /// 0 to 23, with minutes and seconds as a fraction.
    Hour,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 5] = [Self::Year, Self::Month, Self::Day, Self::Weekday, Self::Hour];

    /// The name of the part.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Weekday => "weekday",
            Self::Hour => "hour",
        }
    }

    /// The part of a moment in seconds from 1970.
    pub(crate) fn of(self, seconds: f64) -> f64 {
        const DAY: i64 = 86_400;
        let seconds = seconds as i64;
        let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let Some(date) = Date::new(1970, 1, 1).ok().and_then(|epoch| {
            epoch.checked_add(jiff::SignedDuration::from_hours(days.checked_mul(24)?)).ok()
        }) else {
            return 0.0;
        };
        match self {
            Self::Year => f64::from(date.year()) + f64::from(date.day_of_year() - 1) / 366.0,
            Self::Month => f64::from(date.month()),
            Self::Day => f64::from(date.day()),
            Self::Weekday => f64::from(weekday(date.weekday())),
            Self::Hour => rest as f64 / 3600.0,
        }
    }
}

fn weekday(day: Weekday) -> i8 {
    day.to_monday_one_offset()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (cell, decimal, value) in [
            ("1.5", Decimal::Point, Some(1.5)),
            ("7", Decimal::Point, Some(7.0)),
            ("1,5", Decimal::Point, None),
            ("1,5", Decimal::Comma, Some(1.5)),
            ("-0,25", Decimal::Comma, Some(-0.25)),
            ("1.234.567,5", Decimal::Comma, Some(1_234_567.5)),
            ("1.234", Decimal::Comma, Some(1234.0)),
            ("1.23", Decimal::Comma, None),
            ("1234.567", Decimal::Comma, None),
            ("1,5e3", Decimal::Comma, Some(1500.0)),
            ("12", Decimal::Comma, Some(12.0)),
            ("a,b", Decimal::Comma, None),
        ] {
            assert_eq!(number(cell.as_bytes(), decimal), value, "{cell}");
        }
    }

    #[test]
    fn dates_of_many_kinds() {
        let found =
            |cell: &str| patterns().find_map(|p| moment(cell.as_bytes(), &p).map(|seconds| (p, seconds)));
        for (cell, pattern, seconds) in [
            ("1970-01-02", "%Y-%m-%d", 86_400.0),
            ("1969-12-31", "%Y-%m-%d", -86_400.0),
            ("1970-01-01 01:00:00", "%Y-%m-%d %H:%M:%S%.f", 3600.0),
            ("1970-01-01T01:00:00.25Z", "%Y-%m-%dT%H:%M:%S%.fZ", 3600.0),
            ("01/02/1970", "%m/%d/%Y", 86_400.0),
            ("13/01/1970", "%d/%m/%Y", 12.0 * 86_400.0),
            ("2.1.1970", "%d.%m.%Y", 86_400.0),
            ("Jan 2, 1970", "%b %d, %Y", 86_400.0),
            ("12:30", "%H:%M", 45_000.0),
        ] {
            assert_eq!(found(cell), Some((pattern.to_owned(), seconds)), "{cell}");
            assert!(may_be_date(cell.as_bytes()), "{cell}");
        }
        for cell in ["1970-13-01", "hello there 7", "2007", "3.5", "1-2"] {
            assert_eq!(found(cell), None, "{cell}");
        }
        assert_eq!(opposite("%m/%d/%Y").as_deref(), Some("%d/%m/%Y"));
        assert_eq!(opposite("%Y-%m-%d"), None);
    }

    #[test]
    fn parts_of_a_moment() {
        let seconds = moment(b"2024-02-29 18:30:00", "%Y-%m-%d %H:%M:%S%.f").unwrap();
        let parts = Part::ALL.map(|part| part.of(seconds));
        assert_eq!(parts, [2024.0 + 59.0 / 366.0, 2.0, 29.0, 4.0, 18.5]);
        assert_eq!(Part::Year.of(f64::MAX), 0.0);
    }

    #[test]
    fn missing_values() {
        for cell in ["", "NA", "NaN", "?", "null", "-", "None"] {
            assert!(is_missing(cell.as_bytes()), "{cell}");
        }
        for cell in ["0", "nothing", "x"] {
            assert!(!is_missing(cell.as_bytes()), "{cell}");
        }
        assert!(is_missing_label(b"nan") && !is_missing_label(b"-"));
        let spellings = missing_spellings();
        assert!(spellings.iter().all(|cell| is_missing(cell.as_bytes())));
        for cell in ["", "na", "Na", "N/A", "<NA>", "mIsSiNg", "?"] {
            assert_eq!(spellings.iter().filter(|spelling| *spelling == cell).count(), 1, "{cell}");
        }
    }
}
