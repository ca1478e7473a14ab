//! Evaluation metrics over the outputs for a whole data set.
//!
//! For classification, [`classification`] gives accuracy, the scores of each class and the [`Confusion`] matrix, and
//! [`confidently_wrong`] finds the samples worth looking at. For regression there is [`regression`]. All sums are taken in
//! `f64` and in the order of the samples, so that the same outputs always give the same report.

use serde::Serialize;

/// The class that a row of outputs predicts: the index of the largest output, the lowest index in a tie. NaN is never the
/// largest; a row of only NaN predicts class 0.
pub(crate) fn predicted(outputs: &[f32]) -> usize {
    let mut best = 0;
    for (class, &output) in outputs.iter().enumerate() {
        if output > outputs[best] || (outputs[best].is_nan() && !output.is_nan()) {
            best = class;
        }
    }
    best
}

/// The confusion matrix: counts of samples `[true][predicted]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Confusion {
    counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// An empty matrix.
    pub(crate) fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts one prediction.
    ///
    /// # Panics
    /// If either class is out of range.
    pub(crate) fn add(&mut self, truth: usize, predicted: usize) {
        self.counts[truth][predicted] += 1;
    }

    /// The number of classes.
    pub(crate) fn classes(&self) -> usize {
        self.counts.len()
    }

    /// The number of samples of class `truth` that were predicted as `predicted`.
    pub(crate) fn count(&self, truth: usize, predicted: usize) -> usize {
        self.counts[truth][predicted]
    }

    /// The number of samples of a class.
    pub(crate) fn support(&self, truth: usize) -> usize {
        self.counts[truth].iter().sum()
    }

    /// The number of samples predicted as a class.
    pub(crate) fn answered(&self, predicted: usize) -> usize {
        self.counts.iter().map(|row| row[predicted]).sum()
    }

    /// The number of correct predictions.
    pub(crate) fn correct(&self) -> usize {
        (0..self.classes()).map(|class| self.counts[class][class]).sum()
    }

    /// The wrong predictions that occurred, as `(true, predicted, count)`, most frequent first, ties by class.
    pub(crate) fn confusions(&self) -> Vec<(usize, usize, usize)> {
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

/// The scores of one class. A score that would divide by zero is `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ClassScore {
    /// The number of the class.
    pub(crate) class: usize,
    /// The fraction of the samples predicted as this class that belong to it; `None` if it was never predicted.
    pub(crate) precision: Option<f64>,
    /// The fraction of the samples of this class that were predicted as it; `None` if it has no samples.
    pub(crate) recall: Option<f64>,
    /// The harmonic mean, 2·TP / (support + answered); `None` if the class has no samples and was never predicted.
    pub(crate) f1: Option<f64>,
    /// The number of samples of this class.
    pub(crate) support: usize,
    /// The number of samples predicted as this class.
    pub(crate) answered: usize,
}

/// Unweighted means over the classes that have samples or were predicted. As in scikit-learn, a score that would divide by
/// zero counts as 0: a class that is never predicted is a failure rather than a class to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct MacroAverage {
    /// Mean precision.
    pub(crate) precision: f64,
    /// Mean recall.
    pub(crate) recall: f64,
    /// Mean F1 score.
    pub(crate) f1: f64,
}

/// The result of [`classification`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Classification {
    /// The number of samples.
    pub(crate) samples: usize,
    /// The number of correct predictions.
    pub(crate) correct: usize,
    /// The fraction of correct predictions, from 0 to 1; `None` without samples.
    pub(crate) accuracy: Option<f64>,
    /// The means over the classes; `None` without samples.
    pub(crate) macro_average: Option<MacroAverage>,
    /// One entry per class.
    pub(crate) classes: Vec<ClassScore>,
    /// Counts `[true][predicted]`.
    pub(crate) confusion: Confusion,
}

/// Compares predictions with labels. `outputs` is row-major `[labels.len()][classes]`.
///
/// # Panics
/// If the lengths disagree or a label is out of range, which a checked data set and its outputs rule out.
pub(crate) fn classification(labels: &[u32], outputs: &[f32], classes: usize) -> Classification {
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

/// A wrong prediction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Miss {
    /// The index of the sample in the data set.
    pub(crate) sample: usize,
    /// The true class.
    pub(crate) truth: usize,
    /// The predicted class.
    pub(crate) predicted: usize,
    /// The output of the predicted class.
    pub(crate) confidence: f32,
}

/// The wrong predictions with the highest confidence, at most `most` of them, in descending order of confidence, ties in
/// the order of the data set.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn confidently_wrong(labels: &[u32], outputs: &[f32], classes: usize, most: usize) -> Vec<Miss> {
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
pub(crate) struct OutputError {
    /// The mean squared error, in the target's unit squared.
    pub(crate) mse: f64,
    /// The mean absolute error, in the target's unit.
    pub(crate) mae: f64,
    /// The fraction of the targets' variance that is explained; `None` if the targets do not vary.
    pub(crate) r2: Option<f64>,
}

/// The result of [`regression`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Regression {
    /// The number of samples.
    pub(crate) samples: usize,
    /// One entry per output; empty without samples.
    pub(crate) outputs: Vec<OutputError>,
}

/// Compares predicted numbers with targets, both row-major `[samples][width]`.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn regression(targets: &[f32], outputs: &[f32], width: usize) -> Regression {
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

    /// Outputs that predict the given classes with the given confidence.
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
