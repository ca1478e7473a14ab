//! The report on classes: accuracy, balanced accuracy, macro F1 and log loss, the scores of each class, and the areas and
//! calibration of the other files.

use nn_core::{Model, Output};
use serde::Serialize;

use super::calibration::{brier, calibration_error};
use super::confusion::Confusion;
use super::ranking::areas;

/// The meaning of a network's outputs for classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// Each row sums to 1: softmax.
    Probabilities,
    /// Larger is likelier, and no more can be said: sigmoid and linear outputs.
    Scores,
}

impl OutputKind {
    /// The meaning of the outputs of `model`.
    pub(crate) fn of(model: &Model) -> Self {
        match model.output() {
            Output::Softmax => Self::Probabilities,
            Output::Sigmoid | Output::Linear => Self::Scores,
        }
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

/// The figures on classes that one pass over the samples gives. `None` without samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct ClassFigures {
    /// The fraction of correct predictions, from 0 to 1.
    pub(crate) accuracy: Option<f64>,
    /// The mean recall over the classes that have samples. A guess is right in one of so many cases.
    pub(crate) balanced_accuracy: Option<f64>,
    /// The mean F1 score over the classes that have samples or were predicted.
    pub(crate) macro_f1: Option<f64>,
    /// The mean of −ln p of the true class, with p kept 2⁻⁵² away from 0 and 1; `None` if the outputs are no probabilities.
    pub(crate) log_loss: Option<f64>,
}

/// All that is known about predicted classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ClassReport {
    /// The number of samples.
    pub(crate) samples: usize,
    /// The number of correct predictions.
    pub(crate) correct: usize,
    /// The figures that one pass gives.
    #[serde(flatten)]
    pub(crate) figures: ClassFigures,
    /// The figures on how samples are ranked, and on probabilities.
    #[serde(flatten)]
    pub(crate) curves: Curves,
    /// The means over the classes; `None` without samples.
    pub(crate) macro_average: Option<MacroAverage>,
    /// One entry per class.
    pub(crate) classes: Vec<ClassScore>,
    /// Counts `[true][predicted]`.
    pub(crate) confusion: Confusion,
}

/// The figures that sort the samples, and those on probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Curves {
    /// The area under the ROC curve of class 1; with more than two classes, the mean over the classes against the rest.
    /// `None` if no class has both samples and others.
    pub(crate) roc_auc: Option<f64>,
    /// The average precision, likewise.
    pub(crate) pr_auc: Option<f64>,
    /// The Brier score; `None` if the outputs are no probabilities.
    pub(crate) brier: Option<f64>,
    /// The expected calibration error; `None` if the outputs are no probabilities.
    pub(crate) calibration_error: Option<f64>,
}

/// The figures that one pass over the samples gives. `outputs` is row-major `[labels.len()][classes]`.
///
/// # Panics
/// If the lengths disagree or a label is out of range, which a checked data set and its outputs rule out.
pub(crate) fn class_figures(
    labels: &[u32],
    outputs: &[f32],
    classes: usize,
    kind: OutputKind,
) -> ClassFigures {
    let confusion = Confusion::of(labels, outputs, classes);
    let scores = scores(&confusion);
    figures(&confusion, &scores, log_loss(labels, outputs, classes, kind))
}

/// Compares predictions with labels. `outputs` is row-major `[labels.len()][classes]`.
///
/// # Panics
/// As for [`class_figures`].
pub(crate) fn class_report(labels: &[u32], outputs: &[f32], classes: usize, kind: OutputKind) -> ClassReport {
    let confusion = Confusion::of(labels, outputs, classes);
    let classes_scores = scores(&confusion);
    let areas = areas(labels, outputs, classes);
    let probable = kind == OutputKind::Probabilities;
    ClassReport {
        samples: labels.len(),
        correct: confusion.correct(),
        figures: figures(&confusion, &classes_scores, log_loss(labels, outputs, classes, kind)),
        curves: Curves {
            roc_auc: areas.map(|areas| areas.roc),
            pr_auc: areas.map(|areas| areas.pr),
            brier: probable.then(|| brier(labels, outputs, classes)).flatten(),
            calibration_error: probable.then(|| calibration_error(labels, outputs, classes)).flatten(),
        },
        macro_average: macro_average(&classes_scores),
        classes: classes_scores,
        confusion,
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn scores(confusion: &Confusion) -> Vec<ClassScore> {
    (0..confusion.classes())
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
        .collect()
}

fn macro_average(scores: &[ClassScore]) -> Option<MacroAverage> {
    let present: Vec<&ClassScore> = scores.iter().filter(|c| c.support + c.answered > 0).collect();
    let mean = |score: fn(&ClassScore) -> Option<f64>| {
        present.iter().map(|c| score(c).unwrap_or(0.0)).sum::<f64>() / present.len() as f64
    };
    (!present.is_empty()).then(|| MacroAverage {
        precision: mean(|c| c.precision),
        recall: mean(|c| c.recall),
        f1: mean(|c| c.f1),
    })
}

fn figures(confusion: &Confusion, scores: &[ClassScore], log_loss: Option<f64>) -> ClassFigures {
    let recalls: Vec<f64> = scores.iter().filter_map(|c| c.recall).collect();
    ClassFigures {
        accuracy: ratio(confusion.correct(), scores.iter().map(|c| c.support).sum()),
        balanced_accuracy: (!recalls.is_empty()).then(|| recalls.iter().sum::<f64>() / recalls.len() as f64),
        macro_f1: macro_average(scores).map(|mean| mean.f1),
        log_loss,
    }
}

/// The mean of −ln p of the true class. `None` for scores, without samples, or if it is not finite.
fn log_loss(labels: &[u32], outputs: &[f32], classes: usize, kind: OutputKind) -> Option<f64> {
    if kind != OutputKind::Probabilities {
        return None;
    }
    // A single probability of 0 for the truth would make the mean infinite, so it is kept away, as in scikit-learn.
    let truth = |(&label, row): (&u32, &[f32])| {
        -f64::from(row[label as usize]).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
    };
    let sum: f64 = labels.iter().zip(outputs.chunks_exact(classes.max(1))).map(truth).sum();
    Some(sum / labels.len() as f64).filter(|loss| loss.is_finite())
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

    fn report(labels: &[u32], outputs: &[f32], classes: usize) -> ClassReport {
        class_report(labels, outputs, classes, OutputKind::Scores)
    }

    #[test]
    fn scores_by_hand() {
        // true      0  0  0  1  1  2
        // predicted 0  0  1  1  0  0
        let outputs = answers(3, &[(0, 0.9), (0, 0.8), (1, 0.7), (1, 0.6), (0, 0.5), (0, 0.4)]);
        let report = report(&[0, 0, 0, 1, 1, 2], &outputs, 3);
        assert_eq!((report.samples, report.correct, report.figures.accuracy), (6, 3, Some(0.5)));
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
        assert_eq!(report.figures.macro_f1, Some(average.f1));
        assert_eq!(report.figures.balanced_accuracy, Some(average.recall));
        assert_eq!(report.confusion.count(1, 0), 1);
        assert_eq!(report.confusion.confusions(), [(0, 1, 1), (1, 0, 1), (2, 0, 1)]);
    }

    #[test]
    fn a_class_that_never_occurs_is_left_out_of_the_means() {
        let report = report(&[0, 0], &answers(2, &[(0, 1.0), (0, 1.0)]), 2);
        assert_eq!(report.classes[1].precision, None);
        assert_eq!(report.classes[1].recall, None);
        assert_eq!(report.classes[1].f1, None);
        assert_eq!(report.macro_average, Some(MacroAverage { precision: 1.0, recall: 1.0, f1: 1.0 }));
        // A class that is predicted but has no samples lowers F1, and not the balanced accuracy.
        let report = self::report(&[0, 0], &answers(2, &[(0, 1.0), (1, 1.0)]), 2);
        assert_eq!(report.figures.balanced_accuracy, Some(0.5));
        assert!((report.figures.macro_f1.unwrap() - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn no_samples_no_numbers() {
        let report = class_report(&[], &[], 3, OutputKind::Probabilities);
        assert_eq!((report.samples, report.macro_average), (0, None));
        assert_eq!(report.figures, ClassFigures::default());
        let nothing = Curves { roc_auc: None, pr_auc: None, brier: None, calibration_error: None };
        assert_eq!(report.curves, nothing);
    }

    #[test]
    fn the_log_loss_is_finite_at_zero_and_needs_probabilities() {
        let outputs = [1.0, 0.0, 0.5, 0.5];
        let loss = class_figures(&[1, 0], &outputs, 2, OutputKind::Probabilities).log_loss.unwrap();
        assert!((loss - f64::midpoint(52.0, 1.0) * std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(class_figures(&[1, 0], &outputs, 2, OutputKind::Scores).log_loss, None);
        let nan = [f32::NAN, f32::NAN];
        assert_eq!(class_figures(&[1], &nan, 2, OutputKind::Probabilities).log_loss, None);
    }

    #[test]
    fn json_has_plain_names_and_null_for_undefined() {
        let json = serde_json::to_value(report(&[0], &[0.3, 0.1], 2)).unwrap();
        assert_eq!(json["accuracy"], 1.0);
        assert_eq!(json["confusion"], serde_json::json!([[1, 0], [0, 0]]));
        assert!(json["classes"][1]["precision"].is_null());
        for name in ["balanced_accuracy", "macro_f1", "log_loss", "roc_auc", "pr_auc", "brier"] {
            assert!(json.get(name).is_some(), "{name} is not in {json}");
        }
        assert!(json["calibration_error"].is_null() && json["roc_auc"].is_null());
    }
}
