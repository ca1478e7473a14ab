//! Interpreting labels: classes or numbers.
//!
//! The labels decide, unless an option does:
//!
//! | labels | become |
//! | --- | --- |
//! | text | classes, sorted by name |
//! | whole numbers: pixels' at most 256 distinct ones; others' at most 10, or at most 256 that repeat | classes |
//! | one-hot rows of width two or more | classes |
//! | anything else | regression targets |
//!
//! Whole numbers that start at 0 and fill at least half of `0..=maximum` are class numbers themselves. Any others are
//! numbered in ascending order, and the class names keep what was written. With the option `classes`, whole numbers are
//! always class numbers.

use std::borrow::Cow;
use std::collections::HashMap;

use nn_core::{Targets, Task};

use crate::error::{DataError, listed, shown};
use crate::raw::{Answers, Labels};
use crate::source::LoadOptions;

/// More distinct whole numbers than this are a quantity, not classes.
const MOST_CLASSES: usize = 256;

/// As few distinct whole numbers as this are classes even if they hardly repeat.
const FEW_CLASSES: usize = 10;

/// How often a number must occur to be the number of a class rather than a quantity.
const REPEATS: usize = 5;

/// How labels are turned into targets: decided once, from the training and the test set together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decoder {
    /// A label is the number of its class.
    Direct { classes: usize },
    /// A label is one of these names.
    Names(Vec<String>),
    /// A label is one of these numbers, in ascending order.
    Numbers(Vec<f64>),
    /// The column that holds the 1 is the class.
    OneHot { classes: usize },
    /// Regression: labels are targets.
    Values,
}

impl Decoder {
    /// Decides from all labels of the data set.
    pub(crate) fn decide(all: &[&Labels], options: &LoadOptions) -> Result<Self, DataError> {
        let regression = options.task == Some(Task::Regression);
        if let Some(names) = &options.class_names
            && !regression
        {
            return Ok(Self::Names(names.clone()));
        }
        if let Some((file, label)) = all.iter().find_map(|labels| Some((&labels.file, first_text(labels)?))) {
            if regression {
                return Err(DataError::TextForRegression { file: file.clone(), label: shown(label, 40) });
            }
            if options.task.is_none() {
                all.iter().try_for_each(|labels| refuse_stray_text(labels))?;
            }
            return Ok(Self::Names(distinct_names(all)));
        }
        if regression {
            return Ok(Self::Values);
        }
        let (numbers, width) = all_numbers(all);
        if width == 1 {
            return Ok(Self::for_numbers(numbers, options));
        }
        let one_hot = numbers
            .chunks_exact(width)
            .all(|row| row.iter().all(|&x| x == 0.0 || x == 1.0) && row.iter().sum::<f64>() == 1.0);
        Ok(if one_hot { Self::OneHot { classes: width } } else { Self::Values })
    }

    /// Decides from single numbers where regression was not requested.
    fn for_numbers(mut numbers: Vec<f64>, options: &LoadOptions) -> Self {
        numbers.sort_unstable_by(f64::total_cmp);
        let repeated = numbers.chunk_by(|a, b| a == b).filter(|equal| equal.len() >= REPEATS).count();
        numbers.dedup();
        let whole = numbers.iter().all(|x| x.fract() == 0.0);
        let requested = options.task == Some(Task::Classification) || options.classes.is_some();
        // Of the numbers of classes, nearly all occur several times; those of a quantity thin out towards its ends.
        let repeat = numbers.len() <= FEW_CLASSES || repeated * 10 >= numbers.len() * 9;
        let looks_like_classes = whole && numbers.len() <= MOST_CLASSES && (repeat || options.pictures);
        if !(requested || looks_like_classes) {
            return Self::Values;
        }
        if let Some(classes) = options.classes {
            return Self::Direct { classes };
        }
        let (first, last) = (numbers.first().copied().unwrap_or(0.0), numbers.last().copied().unwrap_or(0.0));
        if whole && first == 0.0 && last < 2.0 * numbers.len() as f64 {
            return Self::Direct { classes: last as usize + 1 };
        }
        Self::Numbers(numbers)
    }

    /// The names of the classes; `None` for regression.
    pub(crate) fn names(&self) -> Option<Vec<String>> {
        match self {
            Self::Direct { classes } | Self::OneHot { classes } => {
                Some((0..*classes).map(|c| c.to_string()).collect())
            }
            Self::Names(names) => Some(names.clone()),
            Self::Numbers(numbers) => Some(numbers.iter().map(f64::to_string).collect()),
            Self::Values => None,
        }
    }

    /// The targets of these labels.
    pub(crate) fn apply(&self, labels: &Labels) -> Result<Targets, DataError> {
        match (&labels.answers, self) {
            (Answers::Numbers { data, width }, Self::Values) => {
                let data = data.iter().map(|&x| x as f32).collect();
                Ok(Targets::Values { data, width: *width })
            }
            (Answers::Numbers { data, width }, Self::OneHot { classes }) => {
                let of_row = |row: &[f64]| row.iter().position(|&x| x == 1.0).unwrap_or(0) as u32;
                let labels = data.chunks_exact(*width).map(of_row).collect();
                Ok(Targets::Classes { labels, classes: *classes })
            }
            (Answers::Numbers { data, .. }, Self::Direct { classes }) => {
                let in_range = |label: f64| (0.0..*classes as f64).contains(&label).then_some(label as u32);
                numbered(labels, data, *classes, in_range)
            }
            (Answers::Numbers { data, .. }, Self::Numbers(numbers)) => {
                let rank = |label: f64| {
                    let at = numbers.partition_point(|&x| x < label);
                    (numbers.get(at) == Some(&label)).then_some(at as u32)
                };
                numbered(labels, data, numbers.len(), rank)
            }
            (Answers::Numbers { data, .. }, Self::Names(names)) => {
                named(labels, data.iter().map(|x| x.to_string().into()), names)
            }
            (Answers::Text(data), Self::Names(names)) => {
                named(labels, data.iter().map(|text| text.as_str().into()), names)
            }
            (Answers::Text(data), _) => Err(DataError::TextForRegression {
                file: labels.file.clone(),
                label: data.first().map(|label| shown(label, 40)).unwrap_or_default(),
            }),
        }
    }
}

/// The first label that is text.
fn first_text(labels: &Labels) -> Option<&String> {
    match &labels.answers {
        Answers::Text(data) => data.first(),
        Answers::Numbers { .. } => None,
    }
}

/// All labels as names, sorted. A test set may have text labels where the training set has only numbers; the numbers
/// then become names too.
fn distinct_names(all: &[&Labels]) -> Vec<String> {
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    for labels in all {
        match &labels.answers {
            Answers::Text(data) => names.extend(data.iter().map(|text| Cow::from(text.as_str()))),
            Answers::Numbers { data, .. } => names.extend(data.iter().map(|x| Cow::from(x.to_string()))),
        }
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Cow::into_owned).collect()
}

/// All numeric labels, and the width of their rows.
fn all_numbers(all: &[&Labels]) -> (Vec<f64>, usize) {
    let mut numbers = Vec::new();
    let mut row_width = 1;
    for labels in all {
        if let Answers::Numbers { data, width } = &labels.answers {
            numbers.extend(data);
            row_width = *width;
        }
    }
    (numbers, row_width)
}

/// Targets from numeric labels; `class` gives the class of a whole number, if it has one.
fn numbered(
    labels: &Labels,
    data: &[f64],
    classes: usize,
    class: impl Fn(f64) -> Option<u32>,
) -> Result<Targets, DataError> {
    let class_of = |(sample, &label): (usize, &f64)| {
        if label.fract() != 0.0 {
            return Err(DataError::LabelNotWhole {
                file: labels.file.clone(),
                place: labels.places.of(sample),
                label: label.to_string(),
            });
        }
        class(label).ok_or_else(|| out_of_range(labels, sample, label.to_string(), classes))
    };
    let found = data.iter().enumerate().map(class_of).collect::<Result<_, _>>()?;
    Ok(Targets::Classes { labels: found, classes })
}

/// Targets from labels that are names.
fn named<'a>(
    labels: &Labels,
    texts: impl Iterator<Item = Cow<'a, str>>,
    names: &[String],
) -> Result<Targets, DataError> {
    let mut class_of: HashMap<&str, u32> = HashMap::with_capacity(names.len());
    for (class, name) in (0..).zip(names) {
        class_of.entry(name).or_insert(class); // the first of two equal names counts
    }
    let look_up = |(sample, text): (usize, Cow<'a, str>)| {
        let class = class_of.get(&*text).copied();
        // Names that the data has given are all known.
        class.ok_or_else(|| DataError::UnknownClass {
            file: labels.file.clone(),
            place: labels.places.of(sample),
            label: shown(&text, 40),
            classes: listed(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        })
    };
    let found = texts.enumerate().map(look_up).collect::<Result<_, _>>()?;
    Ok(Targets::Classes { labels: found, classes: names.len() })
}

fn out_of_range(labels: &Labels, sample: usize, label: String, classes: usize) -> DataError {
    DataError::LabelOutOfRange { file: labels.file.clone(), place: labels.places.of(sample), label, classes }
}

/// Refuses labels that are nearly all numbers: a typo must not turn a thousand numbers into names.
fn refuse_stray_text(labels: &Labels) -> Result<(), DataError> {
    let Answers::Text(data) = &labels.answers else { return Ok(()) };
    let is_text = |text: &String| text.parse::<f64>().is_err();
    let texts = data.iter().filter(|text| is_text(text)).count();
    match data.iter().position(is_text) {
        Some(sample) if texts * 10 < data.len() => Err(DataError::StrayTextLabel {
            file: labels.file.clone(),
            place: labels.places.of(sample),
            label: shown(&data[sample], 40),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Places;

    fn numbers(data: &[f64]) -> Labels {
        wide(data, 1)
    }

    fn wide(data: &[f64], width: usize) -> Labels {
        Labels {
            file: "y".into(),
            answers: Answers::Numbers { data: data.to_vec(), width },
            places: Places::Samples,
        }
    }

    fn text(data: &[&str]) -> Labels {
        Labels {
            file: "y".into(),
            answers: Answers::Text(data.iter().map(|s| s.to_string()).collect()),
            places: Places::Lines((2..).take(data.len()).collect()),
        }
    }

    fn classes(labels: &Labels, options: &LoadOptions) -> Result<(Vec<u32>, Vec<String>), DataError> {
        let decoder = Decoder::decide(&[labels], options)?;
        match decoder.apply(labels)? {
            Targets::Classes { labels, classes } => {
                let names = decoder.names().unwrap();
                assert_eq!(names.len(), classes);
                Ok((labels, names))
            }
            Targets::Values { .. } => panic!("regression"),
        }
    }

    #[test]
    fn the_labels_decide() {
        let plain = LoadOptions::default();
        assert_eq!(
            classes(&text(&["b", "a", "b"]), &plain).unwrap(),
            (vec![1, 0, 1], vec!["a".into(), "b".into()])
        );
        assert_eq!(classes(&numbers(&[0.0, 2.0]), &plain).unwrap().0, [0, 2]);
        let (labels, names) = classes(&numbers(&[3.0, 1.0, -2.0]), &plain).unwrap();
        assert_eq!((labels, names), (vec![2, 1, 0], vec!["-2".into(), "1".into(), "3".into()]));
        let (labels, names) = classes(&wide(&[0.0, 1.0, 1.0, 0.0], 2), &plain).unwrap();
        assert_eq!((labels, names.len()), (vec![1, 0], 2));
        for regression in [numbers(&[0.5, 1.0]), wide(&[0.0, 0.0], 2), wide(&[2.0, -1.0], 2)] {
            assert_eq!(Decoder::decide(&[&regression], &plain).unwrap(), Decoder::Values);
        }
        // 60 years, once each, are a quantity; 26 letters, ten times each, are classes.
        let years: Vec<f64> = (1990..2050).map(f64::from).collect();
        assert_eq!(Decoder::decide(&[&numbers(&years)], &plain).unwrap(), Decoder::Values);
        let letters: Vec<f64> = (0..260).map(|i| f64::from(1 + i % 26)).collect();
        assert_eq!(classes(&numbers(&letters), &plain).unwrap().1.len(), 26);
        let many: Vec<f64> = (0..300).map(f64::from).collect();
        assert_eq!(Decoder::decide(&[&numbers(&many)], &plain).unwrap(), Decoder::Values);
    }

    #[test]
    fn options_overrule() {
        let regression = LoadOptions { task: Some(Task::Regression), ..Default::default() };
        assert_eq!(Decoder::decide(&[&numbers(&[0.0, 1.0])], &regression).unwrap(), Decoder::Values);
        let error = Decoder::decide(&[&text(&["a"])], &regression).unwrap_err().to_string();
        assert!(error.contains("regression needs numbers"), "{error}");

        let classification = LoadOptions { task: Some(Task::Classification), ..Default::default() };
        let error = classes(&numbers(&[0.0, 1.5]), &classification).unwrap_err().to_string();
        assert!(error.contains("sample 1") && error.contains("1.5"), "{error}");

        let ten = LoadOptions { classes: Some(10), ..Default::default() };
        assert_eq!(classes(&numbers(&[1.0, 3.0]), &ten).unwrap().0, [1, 3]);
        let error = classes(&numbers(&[1.0, 10.0]), &ten).unwrap_err().to_string();
        assert!(error.contains("label 10 is not one of the 10 classes"), "{error}");
        assert!(classes(&numbers(&[-1.0]), &ten).is_err());

        let known =
            LoadOptions { class_names: Some(vec!["x".into(), "b".into(), "3".into()]), ..Default::default() };
        assert_eq!(classes(&text(&["b", "x"]), &known).unwrap().0, [1, 0]);
        assert_eq!(classes(&numbers(&[3.0]), &known).unwrap().0, [2]);
        let twice = LoadOptions { class_names: Some(vec!["x".into(), "x".into()]), ..Default::default() };
        assert_eq!(classes(&text(&["x"]), &twice).unwrap().0, [0], "the first of two equal names counts");
        let error = classes(&text(&["b", "new"]), &known).unwrap_err().to_string();
        assert!(
            error.contains("line 3: the label `new` is not one of the model's classes, which are x, b, 3"),
            "{error}"
        );
    }

    #[test]
    fn stray_text_among_numbers_is_refused() {
        let mut labels = vec!["7"; 30];
        labels[4] = "o";
        let error = classes(&text(&labels), &LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("line 6: the label `o` is not a number"), "{error}");
        let named = LoadOptions { task: Some(Task::Classification), ..Default::default() };
        assert_eq!(classes(&text(&labels), &named).unwrap().1, ["7", "o"]);
    }
}
