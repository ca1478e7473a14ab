//! What the cells of a column are, gathered in one pass over the rows.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::cell::{self, Decimal};

/// The most distinct cells that are counted in a column.
const MOST_DISTINCT: usize = 100_000;

/// A table is too short for conclusions from counting below this many rows.
pub(crate) const FEW_ROWS: usize = 10;

/// The cells of a column, summed up.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Rows, with and without a value.
    pub(crate) rows: usize,
    /// Cells without a value.
    pub(crate) missing: usize,
    /// Cells that are numbers.
    pub(crate) numbers: usize,
    /// The least and the greatest number.
    pub(crate) range: Option<(f64, f64)>,
    /// Whether all numbers are whole.
    pub(crate) whole: bool,
    /// Whether all cells are whole numbers from 0 to 255.
    pub(crate) bytes: bool,
    /// Whether a cell has zeros before its digits, as in `01234`.
    pub(crate) leading_zeros: bool,
    /// The first cell that is text: its line and itself.
    pub(crate) text: Option<(u64, String)>,
    /// The line of the first number that is not finite.
    pub(crate) infinite: Option<u64>,
    /// Whether each number is one more than the number before.
    counting: bool,
    first: Option<f64>,
    last: Option<f64>,
    seen_bytes: [bool; 256],
    distinct: HashSet<u64, BuildHasherDefault<DefaultHasher>>,
    /// Rows with a value when the distinct cells became too many to count.
    full_at: Option<usize>,
    /// The patterns of dates that all text so far fits.
    dates: Option<Vec<String>>,
    /// Cells that are text and fit a pattern.
    dated: usize,
    decimal: Decimal,
}

impl Profile {
    pub(crate) fn new(decimal: Decimal) -> Self {
        Self {
            rows: 0,
            missing: 0,
            numbers: 0,
            range: None,
            whole: true,
            bytes: true,
            leading_zeros: false,
            text: None,
            infinite: None,
            counting: true,
            first: None,
            last: None,
            seen_bytes: [false; 256],
            distinct: HashSet::default(),
            full_at: None,
            dates: None,
            dated: 0,
            decimal,
        }
    }

    /// Counts a cell.
    pub(crate) fn add(&mut self, cell: &[u8], line: u64) {
        self.rows += 1;
        if let Some(byte) = cell::byte(cell) {
            self.seen_bytes[usize::from(byte)] = true;
            self.leading_zeros |= cell.len() > 1 && cell[0] == b'0';
            self.number(f64::from(byte));
            return;
        }
        self.bytes = false;
        if cell::is_missing(cell) {
            self.missing += 1;
            return;
        }
        match cell::number(cell, self.decimal) {
            Some(number) if number.is_finite() => {
                let digits = cell.strip_prefix(b"-").unwrap_or(cell);
                self.leading_zeros |=
                    digits.len() > 1 && digits[0] == b'0' && digits.iter().all(u8::is_ascii_digit);
                self.number(number);
            }
            Some(_) => {
                self.numbers += 1;
                self.infinite.get_or_insert(line);
            }
            None => {
                if self.text.is_none() {
                    self.text = Some((line, String::from_utf8_lossy(cell).into_owned()));
                }
                self.date(cell);
            }
        }
        if self.full_at.is_none() {
            self.distinct.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(cell));
            if self.distinct.len() >= MOST_DISTINCT {
                self.full_at = Some(self.present());
            }
        }
    }

    fn number(&mut self, number: f64) {
        self.numbers += 1;
        let (least, greatest) = self.range.unwrap_or((number, number));
        self.range = Some((least.min(number), greatest.max(number)));
        self.whole &= number.fract() == 0.0;
        self.counting &= self.last.is_none_or(|last| number == last + 1.0);
        self.first.get_or_insert(number);
        self.last = Some(number);
    }

    fn date(&mut self, cell: &[u8]) {
        if !cell::may_be_date(cell) {
            return;
        }
        match &mut self.dates {
            None => {
                let fits: Vec<String> =
                    cell::patterns().filter(|pattern| cell::moment(cell, pattern).is_some()).collect();
                if !fits.is_empty() {
                    self.dates = Some(fits);
                    self.dated = 1;
                }
            }
            Some(patterns) => {
                let fits = |pattern: &String| cell::moment(cell, pattern).is_some();
                if patterns.iter().any(fits) {
                    patterns.retain(fits);
                    self.dated += 1;
                }
            }
        }
    }

    /// Cells with a value.
    pub(crate) fn present(&self) -> usize {
        self.rows - self.missing
    }

    /// Cells that are text.
    pub(crate) fn texts(&self) -> usize {
        self.present() - self.numbers
    }

    /// The number of distinct values; a lower bound if there are very many.
    pub(crate) fn distinct(&self) -> usize {
        self.distinct.len() + self.seen_bytes.iter().filter(|seen| **seen).count()
    }

    /// Whether at least `share` of the values occur once.
    pub(crate) fn is_nearly_distinct(&self, share: f64) -> bool {
        let of = self.full_at.unwrap_or(self.present());
        self.distinct() as f64 >= share * of as f64
    }

    /// The number with which the column begins if it counts the rows from 0 or 1.
    pub(crate) fn counts_rows(&self) -> Option<f64> {
        let counts = self.counting && self.numbers == self.rows && self.rows >= FEW_ROWS;
        self.first.filter(|first| counts && (*first == 0.0 || *first == 1.0))
    }

    /// The patterns of dates that fit nearly every value, the best first.
    pub(crate) fn date_patterns(&self) -> &[String] {
        match &self.dates {
            Some(patterns) if self.numbers == 0 && self.dated * 20 >= self.present() * 19 => patterns,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cells: &[&str]) -> Profile {
        let mut profile = Profile::new(Decimal::Point);
        for (line, cell) in (2..).zip(cells) {
            profile.add(cell.as_bytes(), line);
        }
        profile
    }

    #[test]
    fn cells_are_counted_by_kind() {
        let profile = of(&["1", "2.5", "", "NA", "x", "x", "300"]);
        assert_eq!((profile.rows, profile.missing, profile.numbers, profile.texts()), (7, 2, 3, 2));
        assert_eq!(profile.range, Some((1.0, 300.0)));
        assert_eq!(profile.text, Some((6, "x".into())));
        assert_eq!(profile.distinct(), 4);
        assert!(!profile.whole && !profile.bytes);
        assert_eq!((of(&["1", "inf"]).infinite, of(&["1", "inf"]).texts()), (Some(3), 0));
        assert!(of(&["1", "01"]).leading_zeros && !of(&["1", "10", "0"]).leading_zeros);
    }

    #[test]
    fn counting_rows() {
        let count = |from: usize, to: usize| -> Vec<String> { (from..to).map(|n| n.to_string()).collect() };
        let counts =
            |cells: Vec<String>| of(&cells.iter().map(String::as_str).collect::<Vec<_>>()).counts_rows();
        assert_eq!(counts(count(0, 300)), Some(0.0));
        assert_eq!(counts(count(1, 20)), Some(1.0));
        assert_eq!(counts(count(1, 9)), None, "too few rows to tell");
        assert_eq!(counts(count(5, 40)), None);
    }

    #[test]
    fn dates() {
        assert_eq!(of(&["2024-01-05", "", "2023-12-31"]).date_patterns(), ["%Y-%m-%d"]);
        let patterns = of(&["01/02/2024", "13/02/2024"]).date_patterns().to_vec();
        assert_eq!(patterns, ["%d/%m/%Y"], "only a day can be 13");
        assert_eq!(of(&["2024-01-05", "yesterday"]).date_patterns(), [""; 0]);
        assert_eq!(of(&["5", "6"]).date_patterns(), [""; 0]);
    }
}
