//! What the answers mean: classes or numbers.
//!
//! The data decide, and options overrule:
//!
//! | the answers are | they become |
//! | --- | --- |
//! | text | classes, sorted by name |
//! | whole numbers, at most 256 different ones | classes |
//! | one-hot rows of two or more | classes |
//! | anything else | regression |
//!
//! Whole numbers that start at 0 and fill at least half of `0..=greatest` are the classes themselves; any others are
//! numbered in ascending order, and the names keep what was written. With `classes` given they are taken as they are.

use nn_core::Targets;

use crate::error::{DataError, shown};
use crate::raw::{Answers, Labels};
use crate::source::{LoadOptions, Task};

/// More different whole numbers than this are a quantity, not classes.
const MOST_CLASSES: usize = 256;

/// How labels are turned into targets; decided once, over the training and the test set together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decoder {
    /// Labels are the classes' numbers.
    Direct { classes: usize },
    /// Labels are looked up among these names.
    Names(Vec<String>),
    /// Labels are looked up among these ascending numbers.
    Numbers(Vec<f64>),
    /// The column that holds the 1 is the class.
    OneHot { classes: usize },
    /// Regression.
    Values,
}

impl Decoder {
    /// Decides over all the labels there are.
    pub(crate) fn decide(all: &[&Labels], options: &LoadOptions) -> Result<Self, DataError> {
        if let Some(names) = &options.class_names
            && options.task != Some(Task::Regression)
        {
            return Ok(Self::Names(names.clone()));
        }
        let mut names: Vec<&str> = Vec::new();
        let mut numbers: Vec<f64> = Vec::new();
        let mut width = 1;
        for labels in all {
            match &labels.answers {
                Answers::Text(data) => names.extend(data.iter().map(String::as_str)),
                Answers::Numbers { data, width: w } => {
                    numbers.extend(data);
                    width = *w;
                }
            }
        }
        if !names.is_empty() {
            if options.task == Some(Task::Regression) {
                let file = all.first().map(|l| l.file.clone()).unwrap_or_default();
                return Err(DataError::TextForRegression { file, label: shown(names[0], 40) });
            }
            if options.task.is_none() {
                all.iter().try_for_each(|labels| refuse_stray_text(labels))?;
            }
            // A test set may have text where the training set has numbers only: then all are names.
            let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
            names.extend(numbers.iter().map(String::as_str));
            names.sort_unstable();
            names.dedup();
            return Ok(Self::Names(names.into_iter().map(str::to_string).collect()));
        }
        if options.task == Some(Task::Regression) {
            return Ok(Self::Values);
        }
        if width > 1 {
            let one_hot = numbers
                .chunks_exact(width)
                .all(|row| row.iter().all(|&x| x == 0.0 || x == 1.0) && row.iter().sum::<f64>() == 1.0);
            return Ok(if one_hot { Self::OneHot { classes: width } } else { Self::Values });
        }
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.dedup();
        let whole = numbers.iter().all(|x| x.fract() == 0.0);
        if !(options.task == Some(Task::Classification)
            || options.classes.is_some()
            || whole && numbers.len() <= MOST_CLASSES)
        {
            return Ok(Self::Values);
        }
        if let Some(classes) = options.classes {
            return Ok(Self::Direct { classes });
        }
        let (first, last) = (numbers.first().copied().unwrap_or(0.0), numbers.last().copied().unwrap_or(0.0));
        if whole && first == 0.0 && last < 2.0 * numbers.len() as f64 {
            return Ok(Self::Direct { classes: last as usize + 1 });
        }
        Ok(Self::Numbers(numbers))
    }

    /// The names of the classes.
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

    /// The targets that the labels mean.
    pub(crate) fn apply(&self, labels: &Labels) -> Result<Targets, DataError> {
        let outside = |sample: usize, label: String, classes: usize| DataError::LabelOutOfRange {
            file: labels.file.clone(),
            place: labels.places.of(sample),
            label,
            classes,
        };
        let whole = |sample: usize, label: f64| {
            if label.fract() == 0.0 {
                return Ok(label);
            }
            Err(DataError::LabelNotWhole {
                file: labels.file.clone(),
                place: labels.places.of(sample),
                label: label.to_string(),
            })
        };
        let look_up = |names: &[String], sample: usize, label: &str| {
            let found = names.iter().position(|name| name == label);
            found.map(|at| at as u32).ok_or_else(|| outside(sample, shown(label, 40), names.len()))
        };
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
                let mut out = Vec::with_capacity(data.len());
                for (sample, &label) in data.iter().enumerate() {
                    let label = whole(sample, label)?;
                    if label < 0.0 || label >= *classes as f64 {
                        return Err(outside(sample, label.to_string(), *classes));
                    }
                    out.push(label as u32);
                }
                Ok(Targets::Classes { labels: out, classes: *classes })
            }
            (Answers::Numbers { data, .. }, Self::Numbers(numbers)) => {
                let mut out = Vec::with_capacity(data.len());
                for (sample, &label) in data.iter().enumerate() {
                    let label = whole(sample, label)?;
                    let at = numbers.partition_point(|&x| x < label);
                    if numbers.get(at) != Some(&label) {
                        return Err(outside(sample, label.to_string(), numbers.len()));
                    }
                    out.push(at as u32);
                }
                Ok(Targets::Classes { labels: out, classes: numbers.len() })
            }
            (Answers::Numbers { data, .. }, Self::Names(names)) => {
                let found: Result<_, _> =
                    data.iter().enumerate().map(|(s, x)| look_up(names, s, &x.to_string())).collect();
                Ok(Targets::Classes { labels: found?, classes: names.len() })
            }
            (Answers::Text(data), Self::Names(names)) => {
                let found: Result<_, _> =
                    data.iter().enumerate().map(|(s, x)| look_up(names, s, x)).collect();
                Ok(Targets::Classes { labels: found?, classes: names.len() })
            }
            (Answers::Text(data), _) => Err(DataError::TextForRegression {
                file: labels.file.clone(),
                label: data.first().map(|label| shown(label, 40)).unwrap_or_default(),
            }),
        }
    }
}

/// A slip of the pen must not turn a thousand numbers into names.
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
    fn the_data_decide() {
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
        let error = classes(&text(&["b", "new"]), &known).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("`new`") || error.contains("new"), "{error}");
    }

    #[test]
    fn a_stray_text_among_numbers_is_refused() {
        let mut labels = vec!["7"; 30];
        labels[4] = "o";
        let error = classes(&text(&labels), &LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("line 6: the label `o` is not a number"), "{error}");
        let named = LoadOptions { task: Some(Task::Classification), ..Default::default() };
        assert_eq!(classes(&text(&labels), &named).unwrap().1, ["7", "o"]);
    }
}
