//! How good the answers are: numbers over the outputs of a whole data set.
//!
//! Classification: [`classification`] gives accuracy, the scores of each class and the [`Confusion`] matrix;
//! [`confidently_wrong`] finds the samples to look at. Regression: [`regression`]. All sums are taken in `f64` and in
//! the order of the samples, so that the same outputs always give the same report.

use serde::Serialize;

/// The class that a row of outputs answers: the greatest output, the lowest index where several are equally great.
/// A NaN is never the greatest; a row of nothing but NaN answers 0.
pub fn predicted(outputs: &[f32]) -> usize {
    let mut best = 0;
    for (class, &output) in outputs.iter().enumerate() {
        if output > outputs[best] || (outputs[best].is_nan() && !output.is_nan()) {
            best = class;
        }
    }
    best
}

/// How often a sample of one class was answered as another: counts `[true][predicted]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Confusion {
    counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// An empty matrix.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts one answer.
    ///
    /// # Panics
    /// Where either class is out of range.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        self.counts[truth][predicted] += 1;
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// How many samples of class `truth` were answered as `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> usize {
        self.counts[truth][predicted]
    }

    /// All samples of a class.
    pub fn support(&self, truth: usize) -> usize {
        self.counts[truth].iter().sum()
    }

    /// All samples answered as a class.
    pub fn answered(&self, predicted: usize) -> usize {
        self.counts.iter().map(|row| row[predicted]).sum()
    }

    /// The samples answered rightly.
    pub fn correct(&self) -> usize {
        (0..self.classes()).map(|class| self.counts[class][class]).sum()
    }

    /// The wrong answers `(true, predicted, count)`, the most frequent first, ties by class; none that never happened.
    pub fn confusions(&self) -> Vec<(usize, usize, usize)> {
        let mut all = Vec::new();
        for (truth, row) in self.counts.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                if truth != predicted && count > 0 {
                    all.push((truth, predicted, count));
                }
            }
        }
        all.sort_by_key(|&(truth, predicted, count)| (std::cmp::Reverse(count), truth, predicted));
        all
    }
}

/// The scores of one class. A score is `None` where it would divide by zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// The class.
    pub class: usize,
    /// Of the samples answered as this class, the fraction that are; `None` where none was answered so.
    pub precision: Option<f64>,
    /// Of the samples of this class, the fraction found; `None` where there are none.
    pub recall: Option<f64>,
    /// The harmonic mean, 2·TP / (support + answered); `None` where the class neither occurs nor is answered.
    pub f1: Option<f64>,
    /// How many samples are of this class.
    pub support: usize,
    /// How many samples were answered as this class.
    pub answered: usize,
}

/// Unweighted means over the classes that occur or are answered. As in scikit-learn, a score that divides by zero
/// counts as 0 there: a class that the network never answers is a failure, not a class to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)] // the means of the fields of the same names
pub struct MacroAverage {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

/// What [`classification`] finds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// How many samples were answered.
    pub samples: usize,
    /// How many of them rightly.
    pub correct: usize,
    /// The fraction of right answers, 0..1; `None` without samples.
    pub accuracy: Option<f64>,
    /// The means over the classes; `None` without samples.
    pub macro_average: Option<MacroAverage>,
    /// One entry a class.
    pub classes: Vec<ClassScore>,
    /// Counts `[true][predicted]`.
    pub confusion: Confusion,
}

/// Compares the answers with the labels. `outputs` is row-major `[labels.len()][classes]`.
///
/// # Panics
/// Where the lengths disagree or a label is out of range; a checked data set and its own outputs cannot.
pub fn classification(labels: &[u32], outputs: &[f32], classes: usize) -> Classification {
    assert_eq!(outputs.len(), labels.len() * classes, "one row of outputs for each label");
    let mut confusion = Confusion::new(classes);
    for (&label, row) in labels.iter().zip(outputs.chunks_exact(classes.max(1))) {
        confusion.add(label as usize, predicted(row));
    }
    from_confusion(confusion)
}

fn from_confusion(confusion: Confusion) -> Classification {
    let ratio = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let classes: Vec<ClassScore> = (0..confusion.classes())
        .map(|class| {
            let (support, answered) = (confusion.support(class), confusion.answered(class));
            let hits = confusion.count(class, class);
            ClassScore {
                class,
                precision: ratio(hits, answered),
                recall: ratio(hits, support),
                f1: ratio(2 * hits, support + answered),
                support,
                answered,
            }
        })
        .collect();
    let present: Vec<&ClassScore> = classes.iter().filter(|c| c.support + c.answered > 0).collect();
    let mean = |score: fn(&ClassScore) -> Option<f64>| {
        present.iter().map(|c| score(c).unwrap_or(0.0)).sum::<f64>() / present.len() as f64
    };
    let macro_average = (!present.is_empty()).then(|| MacroAverage {
        precision: mean(|c| c.precision),
        recall: mean(|c| c.recall),
        f1: mean(|c| c.f1),
    });
    let (samples, correct) = (classes.iter().map(|c| c.support).sum(), confusion.correct());
    Classification { samples, correct, accuracy: ratio(correct, samples), macro_average, classes, confusion }
}

/// A sample answered wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Miss {
    /// Its index in the data set.
    pub sample: usize,
    /// What it is.
    pub truth: usize,
    /// What the network answered.
    pub predicted: usize,
    /// The output of the answered class.
    pub confidence: f32,
}

/// The wrong answers that were given with the most confidence, at most `most` of them, the worst first; equally
/// confident ones in the order of the data set.
///
/// # Panics
/// Where the lengths disagree.
pub fn confidently_wrong(labels: &[u32], outputs: &[f32], classes: usize, most: usize) -> Vec<Miss> {
    assert_eq!(outputs.len(), labels.len() * classes, "one row of outputs for each label");
    let mut misses: Vec<Miss> = labels
        .iter()
        .zip(outputs.chunks_exact(classes.max(1)))
        .enumerate()
        .filter_map(|(sample, (&label, row))| {
            let (truth, predicted) = (label as usize, predicted(row));
            (truth != predicted).then(|| Miss { sample, truth, predicted, confidence: row[predicted] })
        })
        .collect();
    misses.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.sample.cmp(&b.sample)));
    misses.truncate(most);
    misses
}

/// The errors of one regression output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OutputError {
    /// The mean squared error, in the target's unit squared.
    pub mse: f64,
    /// The mean absolute error, in the target's unit.
    pub mae: f64,
    /// The share of the targets' variance that is explained; `None` where the targets do not vary.
    pub r2: Option<f64>,
}

/// What [`regression`] finds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regression {
    /// How many samples were answered.
    pub samples: usize,
    /// One entry an output; empty without samples.
    pub outputs: Vec<OutputError>,
}

/// Compares predicted numbers with the targets, both row-major `[samples][width]`.
///
/// # Panics
/// Where the lengths disagree.
pub fn regression(targets: &[f32], outputs: &[f32], width: usize) -> Regression {
    assert_eq!(targets.len(), outputs.len(), "one output for each target");
    assert!(width > 0 && targets.len().is_multiple_of(width), "whole rows of targets");
    let samples = targets.len() / width;
    if samples == 0 {
        return Regression { samples, outputs: Vec::new() };
    }
    let n = samples as f64;
    let column = |of: &[f32], at: usize| -> Vec<f64> {
        of.iter().skip(at).step_by(width).map(|&x| f64::from(x)).collect()
    };
    let outputs = (0..width)
        .map(|at| {
            let (target, output) = (column(targets, at), column(outputs, at));
            let mean = target.iter().sum::<f64>() / n;
            let spread: f64 = target.iter().map(|t| (t - mean).powi(2)).sum();
            let squares: f64 = target.iter().zip(&output).map(|(t, o)| (o - t).powi(2)).sum();
            let absolute: f64 = target.iter().zip(&output).map(|(t, o)| (o - t).abs()).sum();
            let r2 = (spread > 0.0).then(|| 1.0 - squares / spread);
            OutputError { mse: squares / n, mae: absolute / n, r2 }
        })
        .collect();
    Regression { samples, outputs }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs that answer the given classes with the given confidence.
    fn answers(classes: usize, given: &[(usize, f32)]) -> Vec<f32> {
        let mut outputs = vec![0.0; classes * given.len()];
        for (row, &(class, confidence)) in outputs.chunks_exact_mut(classes).zip(given) {
            row[class] = confidence;
        }
        outputs
    }

    #[test]
    fn the_lowest_index_wins_a_tie_and_nan_never_wins() {
        assert_eq!(predicted(&[0.2, 0.5, 0.5]), 1);
        assert_eq!(predicted(&[0.0, 0.0]), 0);
        assert_eq!(predicted(&[f32::NAN, -3.0, -2.0]), 2);
        assert_eq!(predicted(&[0.1, f32::NAN, 0.2]), 2);
        assert_eq!(predicted(&[f32::NAN, f32::NAN]), 0);
        assert_eq!(predicted(&[f32::NEG_INFINITY, f32::NAN]), 0);
    }

    #[test]
    fn scores_by_hand() {
        // true      0  0  0  1  1  2
        // predicted 0  0  1  1  0  0
        let outputs = answers(3, &[(0, 0.9), (0, 0.8), (1, 0.7), (1, 0.6), (0, 0.5), (0, 0.4)]);
        let report = classification(&[0, 0, 0, 1, 1, 2], &outputs, 3);
        assert_eq!((report.samples, report.correct, report.accuracy), (6, 3, Some(0.5)));
        let zero = &report.classes[0];
        assert_eq!((zero.support, zero.answered), (3, 4));
        assert_eq!((zero.precision, zero.recall, zero.f1), (Some(0.5), Some(2.0 / 3.0), Some(4.0 / 7.0)));
        let one = &report.classes[1];
        assert_eq!((one.precision, one.recall, one.f1), (Some(0.5), Some(0.5), Some(0.5)));
        let two = &report.classes[2];
        assert_eq!((two.precision, two.recall, two.f1), (None, Some(0.0), Some(0.0)));
        let average = report.macro_average.unwrap();
        assert!((average.precision - 1.0 / 3.0).abs() < 1e-12);
        assert!((average.recall - 7.0 / 18.0).abs() < 1e-12);
        assert!((average.f1 - 5.0 / 14.0).abs() < 1e-12);
        assert_eq!(report.confusion.count(1, 0), 1);
        assert_eq!(report.confusion.confusions(), [(0, 1, 1), (1, 0, 1), (2, 0, 1)]);
    }

    #[test]
    fn a_class_that_never_occurs_is_left_out_of_the_means() {
        let report = classification(&[0, 0], &answers(2, &[(0, 1.0), (0, 1.0)]), 2);
        assert_eq!(report.classes[1].precision, None);
        assert_eq!(report.classes[1].recall, None);
        assert_eq!(report.classes[1].f1, None);
        assert_eq!(report.macro_average, Some(MacroAverage { precision: 1.0, recall: 1.0, f1: 1.0 }));
    }

    #[test]
    fn no_samples_no_numbers() {
        let report = classification(&[], &[], 3);
        assert_eq!((report.samples, report.accuracy, report.macro_average), (0, None, None));
        assert_eq!(regression(&[], &[], 2).outputs, []);
    }

    #[test]
    fn the_most_confident_miss_comes_first_and_ties_keep_their_order() {
        let outputs = answers(3, &[(1, 0.6), (0, 0.99), (2, 0.8), (1, 0.6), (2, 0.7)]);
        let misses = confidently_wrong(&[0, 0, 1, 2, 2], &outputs, 3, 10);
        let found: Vec<_> = misses.iter().map(|m| (m.sample, m.truth, m.predicted)).collect();
        assert_eq!(found, [(2, 1, 2), (0, 0, 1), (3, 2, 1)]);
        assert_eq!(confidently_wrong(&[0, 0, 1, 2, 2], &outputs, 3, 1).len(), 1);
    }

    #[test]
    fn regression_by_hand() {
        // Two outputs; the second one's targets do not vary.
        let report = regression(&[1.0, 5.0, 2.0, 5.0, 3.0, 5.0], &[1.0, 5.0, 2.5, 4.0, 2.0, 5.0], 2);
        assert_eq!(report.samples, 3);
        let [first, second] = report.outputs[..] else { panic!("two outputs") };
        assert!((first.mse - 1.25 / 3.0).abs() < 1e-12);
        assert!((first.mae - 0.5).abs() < 1e-12);
        assert!((first.r2.unwrap() - (1.0 - 1.25 / 2.0)).abs() < 1e-12);
        assert!((second.mse - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(second.r2, None);
    }

    #[test]
    fn json_has_plain_names_and_null_for_undefined() {
        let report = classification(&[0], &[0.3, 0.1], 2);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["accuracy"], 1.0);
        assert_eq!(json["confusion"], serde_json::json!([[1, 0], [0, 0]]));
        assert!(json["classes"][1]["precision"].is_null());
    }
}
