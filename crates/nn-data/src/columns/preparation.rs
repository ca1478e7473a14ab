//! From the columns of a table to the inputs of a network.
//!
//! A [`Preparation`] is fitted to the training samples alone, stored in the model, and applied to whatever the model sees:
//!
//! | column | inputs |
//! | --- | --- |
//! | number | (x − mean) / standard deviation, a missing one as the median; "was missing" if one was |
//! | category | one input a value, in the order of the values; "missing" and "other" if there were any |
//! | date, time | its parts that vary, each as a number: year, month, day, weekday, hour; "was missing" if one was |
//!
//! Means and deviations are sums in f64 in the order of the samples, so the same table always gives the same bits. The
//! deviation is that of the population, as in scikit-learn's `StandardScaler`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cell::Part;
use super::frame::{NO_TEXT, Series};
use super::kind::Kind;
use crate::fingerprint::hex;

/// The most values of a category that have an input of their own; the rarer ones share the input "other".
const MOST_VALUES: usize = 64;

/// How the columns of a table become the inputs of a network, and its outputs the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    /// The names of all columns of the table, in order; `None` if it has no header.
    pub names: Option<Vec<String>>,
    /// The number of columns of the table.
    pub width: usize,
    /// The positions of the columns that are not features: the targets, then the weights.
    pub answers: Vec<usize>,
    /// The position of the weights of the samples, if they have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<usize>,
    /// The features, in the order of the network's inputs.
    pub columns: Vec<Column>,
    /// The scale of each target of a regression; empty for classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// A feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its position in the table, from 0.
    pub position: usize,
    /// How it is encoded.
    pub encoding: Encoding,
}

/// How a column is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Encoding {
    /// A number.
    Number {
        /// Stands in for a missing number.
        median: f64,
        /// Subtracted from the number.
        mean: f64,
        /// Divides the difference.
        deviation: f64,
        /// Whether an input says that the number was missing.
        missing: bool,
    },
    /// One of several values.
    Category {
        /// The values that have an input of their own, sorted.
        values: Vec<String>,
        /// Whether an input says that the value was missing.
        missing: bool,
        /// Whether an input stands for all other values.
        other: bool,
    },
    /// A date or a time.
    Date {
        /// The pattern, as `strptime` has it.
        pattern: String,
        /// Stands in for a missing date: seconds from 1970.
        median: f64,
        /// The parts that vary.
        parts: Vec<Scaled>,
        /// Whether an input says that the date was missing.
        missing: bool,
    },
}

/// A part of a date with its scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaled {
    /// The part.
    pub part: Part,
    /// Subtracted from it.
    pub mean: f64,
    /// Divides the difference.
    pub deviation: f64,
}

/// A target of a regression. The network learns (y − mean) / deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The name of its column, if it has one.
    pub name: Option<String>,
    /// The mean of the training samples, or 0.
    pub mean: f64,
    /// Their standard deviation, or 1.
    pub deviation: f64,
}

impl Target {
    /// The number that the network learns for an answer.
    #[must_use]
    pub fn scaled(&self, answer: f64) -> f32 {
        ((answer - self.mean) / self.deviation) as f32
    }

    /// The answer for a number of the network.
    #[must_use]
    pub fn answer(&self, output: f32) -> f64 {
        f64::from(output) * self.deviation + self.mean
    }
}

/// What was met in the columns when a preparation was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Met {
    /// For each feature with any, its position in the table and the number of cells with a value that no training sample has.
    pub(crate) unknown: Vec<(usize, usize)>,
    /// For each feature with any, its position in the table and the number of missing cells, if none was missing in training.
    pub(crate) missing: Vec<(usize, usize)>,
}

/// Mean and standard deviation; the deviation is 1 if the values do not vary.
pub(crate) fn scale_of(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values.clone() {
        sum += value;
        count += 1.0;
    }
    let mean = sum / f64::max(count, 1.0);
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    let deviation = (squares / f64::max(count, 1.0)).sqrt();
    // Numbers that differ by rounding only do not vary.
    let varies = deviation > mean.abs() * 1e-12 && deviation > 0.0;
    match (mean.is_finite(), deviation.is_finite()) {
        (true, true) if varies => (mean, deviation),
        (true, true) => (mean, 1.0),
        // The sums overflow only for numbers near the end of f64's range.
        _ => (0.0, f64::MAX.sqrt()),
    }
}

/// The median; 0 without values. The mean of the middle two if their number is even.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => values[middle - 1] / 2.0 + values[middle] / 2.0,
    }
}

impl Encoding {
    /// Fits a column to the given rows. Without `standardize` numbers stay as they are.
    pub(crate) fn fit(kind: &Kind, series: &Series, rows: &[usize], standardize: bool) -> Self {
        match series {
            Series::Numbers(cells) => {
                let present: Vec<f64> =
                    rows.iter().map(|&row| cells[row]).filter(|cell| !cell.is_nan()).collect();
                let missing = present.len() < rows.len();
                let median = median(present);
                let filled = rows.iter().map(|&row| or(cells[row], median));
                if let Kind::Date { pattern } = kind {
                    let parts = parts_of(pattern, filled, standardize);
                    return Self::Date { pattern: pattern.clone(), median, parts, missing };
                }
                let (mean, deviation) = if standardize { scale_of(filled) } else { (0.0, 1.0) };
                Self::Number { median, mean, deviation, missing }
            }
            Series::Texts { codes, names } => {
                let mut counts = vec![0_usize; names.len()];
                let mut missing = false;
                for &row in rows {
                    match codes[row] {
                        NO_TEXT => missing = true,
                        code => counts[code as usize] += 1,
                    }
                }
                let mut found: Vec<usize> = (0..names.len()).filter(|&code| counts[code] > 0).collect();
                found.sort_unstable_by(|&a, &b| {
                    counts[b].cmp(&counts[a]).then_with(|| names[a].cmp(&names[b]))
                });
                let other = found.len() > MOST_VALUES;
                found.truncate(MOST_VALUES);
                let mut values: Vec<String> = found.into_iter().map(|code| names[code].clone()).collect();
                values.sort_unstable();
                Self::Category { values, missing, other }
            }
        }
    }

    /// The number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match self {
            Self::Number { missing, .. } => 1 + usize::from(*missing),
            Self::Category { values, missing, other } => {
                values.len() + usize::from(*missing) + usize::from(*other)
            }
            Self::Date { parts, missing, .. } => parts.len() + usize::from(*missing),
        }
    }

    /// Writes the inputs of one cell; returns what was odd about it.
    fn apply(&self, series: &Series, row: usize, values_of: &[Option<u32>], out: &mut [f32]) -> Odd {
        match (self, series) {
            (Self::Number { median, mean, deviation, missing }, Series::Numbers(cells)) => {
                let cell = cells[row];
                out[0] = standard(or(cell, *median), *mean, *deviation);
                flag(cell.is_nan(), *missing, out)
            }
            (Self::Date { median, parts, missing, .. }, Series::Numbers(cells)) => {
                let cell = cells[row];
                for (out, Scaled { part, mean, deviation }) in out.iter_mut().zip(parts) {
                    *out = standard(part.of(or(cell, *median)), *mean, *deviation);
                }
                flag(cell.is_nan(), *missing, out)
            }
            (Self::Category { values, missing, other }, Series::Texts { codes, .. }) => {
                let code = codes[row];
                let known = values_of.get(code as usize).copied().flatten();
                match known {
                    Some(at) => out[at as usize] = 1.0,
                    None if code == NO_TEXT && *missing => out[values.len()] = 1.0,
                    None if code == NO_TEXT => return Odd::Missing,
                    None => {
                        if *other {
                            out[values.len() + usize::from(*missing)] = 1.0;
                        }
                        return Odd::Unknown;
                    }
                }
                Odd::Nothing
            }
            // The columns are read by these encodings, so this does not happen; the inputs stay 0.
            _ => Odd::Nothing,
        }
    }

    /// For each text of a series, its position among the values.
    fn values_of(&self, series: &Series) -> Vec<Option<u32>> {
        let (Self::Category { values, .. }, Series::Texts { names, .. }) = (self, series) else {
            return Vec::new();
        };
        names.iter().map(|name| values.binary_search(name).ok().map(|at| at as u32)).collect()
    }
}

enum Odd {
    Nothing,
    /// A missing cell, where none was missing in training.
    Missing,
    Unknown,
}

fn or(cell: f64, median: f64) -> f64 {
    if cell.is_nan() { median } else { cell }
}

fn standard(x: f64, mean: f64, deviation: f64) -> f32 {
    (((x - mean) / deviation) as f32).clamp(f32::MIN, f32::MAX)
}

/// Sets the last input if the cell is missing and there is an input for that.
fn flag(is_missing: bool, has_input: bool, out: &mut [f32]) -> Odd {
    match (is_missing, has_input, out.last_mut()) {
        (true, true, Some(last)) => *last = 1.0,
        (true, false, _) => return Odd::Missing,
        _ => {}
    }
    Odd::Nothing
}

/// The parts of dates that vary, with their scales.
fn parts_of(pattern: &str, moments: impl Iterator<Item = f64> + Clone, standardize: bool) -> Vec<Scaled> {
    let has = |part: &Part| match part {
        Part::Hour => super::cell::has_time(pattern),
        _ => super::cell::has_date(pattern),
    };
    let varies = |part: Part| {
        let mut values = moments.clone().map(|moment| part.of(moment));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    // Of dates that are all the first of a month or a year, the weekday is chance.
    let days = varies(Part::Day);
    let scaled = |part: Part| {
        let values = moments.clone().map(|moment| part.of(moment));
        let varies = varies(part) && (part != Part::Weekday || days);
        let (mean, deviation) = if standardize { scale_of(values) } else { (0.0, 1.0) };
        varies.then_some(Scaled { part, mean, deviation })
    };
    Part::ALL.into_iter().filter(has).filter_map(scaled).collect()
}

impl Preparation {
    /// The number of inputs of the network.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.columns.iter().map(|column| column.encoding.inputs()).sum()
    }

    /// The positions of the targets.
    #[must_use]
    pub fn targets_at(&self) -> &[usize] {
        &self.answers[..self.answers.len() - usize::from(self.weights.is_some()).min(self.answers.len())]
    }

    /// The position of the column that `wanted` names, or whose position it is: from 0, or from the end if negative.
    #[must_use]
    pub fn find(&self, wanted: &str) -> Option<usize> {
        let names = self.names.as_deref().unwrap_or_default();
        let called = |same: &dyn Fn(&str) -> bool| names.iter().position(|name| same(name));
        called(&|name| name == wanted).or_else(|| called(&|name| name.eq_ignore_ascii_case(wanted))).or_else(
            || {
                let position: i64 = wanted.parse().ok()?;
                let at =
                    if position < 0 { position.checked_add_unsigned(self.width as u64)? } else { position };
                usize::try_from(at).ok().filter(|&at| at < self.width)
            },
        )
    }

    /// Whether these columns, by name or position with commas between them, are the targets.
    #[must_use]
    pub fn has_targets(&self, wanted: &str) -> bool {
        let parts = wanted.split(',').map(|name| self.find(name.trim())).collect::<Option<Vec<usize>>>();
        let targets = self.targets_at();
        // A name may itself contain a comma.
        self.find(wanted).is_some_and(|at| targets == [at]) || parts.is_some_and(|parts| parts == targets)
    }

    /// Whether numbers are standardised; `None` if there are none.
    #[must_use]
    pub fn standardizes(&self) -> Option<bool> {
        let scaled = |(mean, deviation): (f64, f64)| (mean, deviation) != (0.0, 1.0);
        let of_columns = self.columns.iter().flat_map(|column| match &column.encoding {
            Encoding::Number { mean, deviation, .. } => vec![(*mean, *deviation)],
            Encoding::Date { parts, .. } => parts.iter().map(|part| (part.mean, part.deviation)).collect(),
            Encoding::Category { .. } => Vec::new(),
        });
        let of_targets = self.targets.iter().map(|target| (target.mean, target.deviation));
        of_columns.chain(of_targets).map(scaled).reduce(|any, one| any | one)
    }

    /// The name of a column, or its position if it has none.
    #[must_use]
    pub fn name(&self, position: usize) -> String {
        let name = self.names.as_ref().and_then(|names| names.get(position));
        match name.filter(|name| !name.trim().is_empty()) {
            Some(name) => format!("`{}`", crate::error::shown(name, 40)),
            None => position.to_string(),
        }
    }

    /// The name of each input of the network, such as `age`, `sex=male`, `age (missing)`.
    #[must_use]
    pub fn input_names(&self) -> Vec<String> {
        let mut all = Vec::with_capacity(self.inputs());
        for Column { position, encoding } in &self.columns {
            let name = self.names.as_ref().and_then(|names| names.get(*position));
            let name =
                name.map_or_else(|| format!("column {position}"), |name| crate::error::shown(name, 60));
            let missing = match encoding {
                Encoding::Number { missing, .. } => {
                    all.push(name.clone());
                    *missing
                }
                Encoding::Category { values, missing, .. } => {
                    all.extend(
                        values.iter().map(|value| format!("{name}={}", crate::error::shown(value, 60))),
                    );
                    *missing
                }
                Encoding::Date { parts, missing, .. } => {
                    all.extend(parts.iter().map(|scaled| format!("{name} ({})", scaled.part.name())));
                    *missing
                }
            };
            if missing {
                all.push(format!("{name} (missing)"));
            }
            if matches!(encoding, Encoding::Category { other: true, .. }) {
                all.push(format!("{name} (other)"));
            }
        }
        all
    }

    /// The inputs of the given rows, row-major; `series` has one entry for each of [`Preparation::columns`].
    pub(crate) fn apply(&self, series: &[Series], rows: &[usize]) -> (Vec<f32>, Met) {
        let width = self.inputs();
        let mut out = vec![0.0; width * rows.len()];
        let mut met = Met::default();
        let mut at = 0;
        for (column, series) in self.columns.iter().zip(series) {
            let (mut unknown, mut missing) = (0, 0);
            let inputs = column.encoding.inputs();
            let values_of = column.encoding.values_of(series);
            for (place, &row) in rows.iter().enumerate() {
                let start = place * width + at;
                match column.encoding.apply(series, row, &values_of, &mut out[start..start + inputs]) {
                    Odd::Nothing => {}
                    Odd::Missing => missing += 1,
                    Odd::Unknown => unknown += 1,
                }
            }
            at += inputs;
            met.unknown.extend((unknown > 0).then_some((column.position, unknown)));
            met.missing.extend((missing > 0).then_some((column.position, missing)));
        }
        (out, met)
    }

    /// The SHA-256 of everything in it, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        // Serialising plain numbers and texts cannot fail.
        let text = serde_json::to_string(self).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(b"nn-preparation/1\0");
        hash.update(text);
        hex(&hash.finalize())
    }

    /// Whether its parts fit each other and a network with that many inputs: a model file may come from anywhere.
    #[must_use]
    pub fn is_consistent(&self, inputs: usize) -> bool {
        let finite = |mean: f64, deviation: f64| mean.is_finite() && deviation.is_finite() && deviation > 0.0;
        let sound = |column: &Column| {
            column.position < self.width
                && match &column.encoding {
                    Encoding::Number { median, mean, deviation, .. } => {
                        median.is_finite() && finite(*mean, *deviation)
                    }
                    Encoding::Category { values, .. } => values.is_sorted(),
                    Encoding::Date { median, parts, .. } => {
                        median.is_finite() && parts.iter().all(|part| finite(part.mean, part.deviation))
                    }
                }
        };
        self.names.as_ref().is_none_or(|names| names.len() == self.width)
            && self.answers.iter().all(|&position| position < self.width)
            && self.targets.iter().all(|target| finite(target.mean, target.deviation))
            && self.columns.iter().all(sound)
            && self.inputs() == inputs
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Words;
    use super::*;

    fn texts(cells: &[&str]) -> Series {
        let mut words = Words::default();
        cells.iter().for_each(|cell| words.push((!cell.is_empty()).then_some(*cell)));
        words.finish()
    }

    fn prepared(kind: &Kind, series: Series, train: &[usize], all: &[usize]) -> (Vec<f32>, Met, Preparation) {
        let encoding = Encoding::fit(kind, &series, train, true);
        let columns = vec![Column { position: 0, encoding }];
        let preparation = Preparation {
            names: None,
            width: 1,
            answers: Vec::new(),
            weights: None,
            columns,
            targets: Vec::new(),
        };
        let (out, met) = preparation.apply(&[series], all);
        assert!(preparation.is_consistent(preparation.inputs()));
        (out, met, preparation)
    }

    /// scikit-learn: `StandardScaler().fit_transform(SimpleImputer(strategy="median").fit_transform([[1], [2], [nan], [6]]))`
    #[test]
    fn numbers_as_scikit_learn_has_them() {
        let series = Series::Numbers(vec![1.0, 2.0, f64::NAN, 6.0, 100.0]);
        let (out, met, preparation) = prepared(&Kind::Number, series, &[0, 1, 2, 3], &[0, 1, 2, 3, 4]);
        let first: Vec<f32> = out.iter().step_by(2).copied().collect();
        for (found, expected) in first.iter().zip([-0.926_162_4, -0.394_059_5, -0.394_059_5, 1.714_281_4]) {
            assert!((found - expected).abs() < 0.1, "{first:?}");
        }
        assert_eq!(out.iter().skip(1).step_by(2).copied().collect::<Vec<_>>(), [0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(met, Met::default());
        let mean: f32 = first[..4].iter().sum();
        let square: f32 = first[..4].iter().map(|x| x * x).sum();
        assert!(mean.abs() < 1e-6 && (square / 4.0 - 1.0).abs() < 1e-6);
        assert_eq!(preparation.input_names(), ["column 0", "column 0 (missing)"]);
    }

    #[test]
    fn categories_have_one_input_each() {
        let series = texts(&["b", "a", "", "b", "c", "z"]);
        let (out, met, _) = prepared(&Kind::Category, series, &[0, 1, 2, 3], &[0, 1, 2, 4, 5]);
        let rows: Vec<&[f32]> = out.chunks_exact(3).collect();
        assert_eq!(rows, [[0., 1., 0.], [1., 0., 0.], [0., 0., 1.], [0.; 3], [0.; 3]]);
        assert_eq!(met.unknown, [(0, 2)]);
        let many: Vec<String> = (0..80).map(|i| format!("{i:02}")).collect();
        let mut cells: Vec<&str> = many.iter().map(String::as_str).collect();
        cells.push("00");
        let all: Vec<usize> = (0..81).collect();
        let (out, _, preparation) = prepared(&Kind::Category, texts(&cells), &all, &all);
        assert_eq!(preparation.inputs(), MOST_VALUES + 1);
        assert!(out.chunks_exact(65).all(|row| row.iter().sum::<f32>() == 1.0));
        assert_eq!(out[79 * 65 + 64], 1.0, "the rare ones are others");
    }

    #[test]
    fn dates_become_their_parts_that_vary() {
        let day = 86_400.0;
        let series = Series::Numbers(vec![0.0, 40.0 * day, 80.0 * day, f64::NAN]);
        let kind = Kind::Date { pattern: "%Y-%m-%d".into() };
        let (_, met, preparation) = prepared(&kind, series, &[0, 1, 2], &[0, 1, 2, 3]);
        let names = ["year", "month", "day", "weekday"].map(|part| format!("column 0 ({part})"));
        assert_eq!(preparation.input_names(), names);
        assert_eq!(met.missing, [(0, 1)]);
        // The first of January in three years.
        let series = Series::Numbers(vec![0.0, 365.0 * day, 730.0 * day]);
        let (.., preparation) = prepared(&kind, series, &[0, 1, 2], &[0]);
        assert_eq!(preparation.input_names(), ["column 0 (year)"]);
    }

    #[test]
    fn numbers_that_do_not_vary_and_numbers_out_of_range() {
        assert_eq!(scale_of([3.0, 3.0].into_iter()), (3.0, 1.0));
        assert_eq!(scale_of([0.1 + 0.2, 0.3].into_iter()).1, 1.0);
        let (mean, deviation) = scale_of([1e308, -1e308, 1e308].into_iter());
        assert!(mean.is_finite() && deviation.is_finite());
        let series = Series::Numbers(vec![0.0, 1e-300, 1e300]);
        let (out, ..) = prepared(&Kind::Number, series, &[0, 1], &[0, 1, 2]);
        assert!(out.iter().all(|x| x.is_finite()), "{out:?}");
    }

    #[test]
    fn the_hash_sees_every_number() {
        let series = Series::Numbers(vec![1.0, 2.0, 4.0]);
        let (.., one) = prepared(&Kind::Number, series.clone(), &[0, 1], &[0]);
        let (.., other) = prepared(&Kind::Number, series, &[0, 2], &[0]);
        assert_ne!(one.sha256(), other.sha256());
        let json = serde_json::to_string(&one).unwrap();
        let again: Preparation = serde_json::from_str(&json).unwrap();
        assert_eq!((again.sha256(), &again), (one.sha256(), &one));
    }

    #[test]
    fn columns_are_found_by_name_and_by_position() {
        let number = |mean, deviation| Encoding::Number { median: 0.0, mean, deviation, missing: false };
        let names = ["Age", "a,b", "3", "y"].map(str::to_owned).to_vec();
        let mut preparation = Preparation {
            names: Some(names),
            width: 4,
            answers: vec![3, 1],
            weights: Some(1),
            columns: vec![Column { position: 0, encoding: number(0.0, 1.0) }],
            targets: Vec::new(),
        };
        for (wanted, found) in [
            ("Age", Some(0)),
            ("age", Some(0)),
            ("a,b", Some(1)),
            ("3", Some(2)),
            ("0", Some(0)),
            ("-1", Some(3)),
            ("-4", Some(0)),
            ("4", None),
            ("-5", None),
            ("-9223372036854775808", None),
            ("sex", None),
        ] {
            assert_eq!(preparation.find(wanted), found, "{wanted}");
        }
        assert!(preparation.has_targets("y") && preparation.has_targets("-1"));
        assert!(!preparation.has_targets("a,b") && !preparation.has_targets("y,Age"));
        preparation.answers = vec![1, 3];
        preparation.weights = None;
        assert!(preparation.has_targets("1, y") && !preparation.has_targets("y,1"));
        assert_eq!(preparation.standardizes(), Some(false));
        preparation.targets = vec![Target { name: None, mean: 2.0, deviation: 1.0 }];
        assert_eq!(preparation.standardizes(), Some(true));
        (preparation.columns, preparation.targets) = Default::default();
        assert_eq!(preparation.standardizes(), None);
    }
}
