//! The trivial answer, which knows the training targets and no inputs: always the most frequent class, or the mean.

use nn_core::Targets;

use super::numbers::{NumberFigures, Units, regression};
use super::report::Figures;

/// A trivial answer and how good it is on the test samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Baseline {
    /// Always the most frequent class of the training samples.
    Majority {
        /// That class, the lowest in a tie.
        class: usize,
        /// The fraction of the test samples that belong to it.
        accuracy: f64,
        /// Its balanced accuracy: one in the number of classes that have test samples.
        balanced_accuracy: f64,
        /// The standard errors of the two on so many test samples: differences within them may be luck.
        luck: (f64, f64),
    },
    /// Always the mean of the training targets.
    Mean {
        /// The mean of each target, in its own unit.
        means: Vec<f64>,
        /// Its errors on the test samples. Its R² is at most 0, for it does not know their own mean.
        figures: NumberFigures,
    },
}

impl Baseline {
    /// The trivial answer of training samples with the targets `train`, judged by the targets `test`.
    ///
    /// # Panics
    /// If one data set has classes and the other numbers, or their widths differ.
    pub(crate) fn of(train: &Targets, test: &Targets, units: &Units) -> Self {
        match (train, test) {
            (Targets::Classes { labels: train, classes }, Targets::Classes { labels: test, .. }) => {
                let (train, test) = (counts(train, *classes), counts(test, *classes));
                let most = train.iter().max().copied().unwrap_or(0);
                let class = train.iter().position(|&count| count == most).unwrap_or(0);
                let samples: usize = test.iter().sum();
                let accuracy = test[class] as f64 / samples.max(1) as f64;
                let present = test.iter().filter(|&&count| count > 0);
                let balanced_accuracy = 1.0 / present.clone().count().max(1) as f64;
                // The variance of a fraction p of n samples is p (1 − p) / n, and a mean of fractions has their mean
                // variance, divided by their number. A class with few samples makes it large.
                let variance = |p: f64, n: usize| p * (1.0 - p) / n.max(1) as f64;
                let of_classes: f64 = present.map(|&count| variance(balanced_accuracy, count)).sum();
                let luck = (variance(accuracy, samples).sqrt(), balanced_accuracy * of_classes.sqrt());
                Self::Majority { class, accuracy, balanced_accuracy, luck }
            }
            (Targets::Values { data: train, width }, Targets::Values { data: test, .. }) => {
                let scaled: Vec<f64> = (0..*width).map(|target| mean(train, target, *width)).collect();
                let constant: Vec<f32> = (0..test.len()).map(|at| scaled[at % width] as f32).collect();
                let means = (0..*width).map(|target| {
                    let unit = units.of(target);
                    scaled[target] * unit.std + unit.mean
                });
                Self::Mean {
                    means: means.collect(),
                    figures: regression(test, &constant, *width, units).mean,
                }
            }
            _ => unreachable!("training and test samples have the same kind of targets"),
        }
    }

    /// Whether a network for classes is better where every class counts the same, by more than luck may give.
    pub(crate) fn is_beaten_on_balance(&self, figures: &Figures) -> bool {
        match (self, figures) {
            (Self::Majority { balanced_accuracy, luck, .. }, Figures::Classes(figures)) => {
                exceeds(figures.balanced_accuracy, *balanced_accuracy, luck.1)
            }
            _ => false,
        }
    }

    /// Whether a network with these figures on the test samples is better than the trivial answer.
    ///
    /// A network for classes must have a higher accuracy. If it is higher by no more than chance may give on so few
    /// samples, or by a percentage point, then the balanced accuracy must be higher by more than that; a network that
    /// guesses fails there. A network for numbers must have an R² above 0, or a lower RMSE where there is no R².
    pub(crate) fn is_beaten_by(&self, figures: &Figures) -> bool {
        match (self, figures) {
            (Self::Majority { accuracy, luck, .. }, Figures::Classes(theirs)) => {
                theirs.accuracy.is_some_and(|theirs| theirs > *accuracy)
                    && (exceeds(theirs.accuracy, *accuracy, luck.0) || self.is_beaten_on_balance(figures))
            }
            (Self::Mean { figures: trivial, .. }, Figures::Numbers(figures)) => match figures.r2 {
                Some(r2) => r2 > 0.0,
                None => figures.rmse.is_some_and(|rmse| trivial.rmse.is_none_or(|trivial| rmse < trivial)),
            },
            _ => false,
        }
    }
}

/// Whether a figure is above another by more than luck may give, and by a percentage point at least.
fn exceeds(theirs: Option<f64>, trivial: f64, luck: f64) -> bool {
    theirs.is_some_and(|theirs| theirs > trivial + luck.max(0.01))
}

fn counts(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes.max(1)];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

fn mean(values: &[f32], target: usize, width: usize) -> f64 {
    let column = values.iter().skip(target).step_by(width).map(|&x| f64::from(x));
    column.sum::<f64>() / (values.len() / width).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::classes::ClassFigures;
    use crate::metrics::numbers::Unit;

    fn classes(labels: &[u32], classes: usize) -> Targets {
        Targets::Classes { labels: labels.to_vec(), classes }
    }

    fn class_figures(accuracy: f64, balanced: f64) -> Figures {
        Figures::Classes(ClassFigures {
            accuracy: Some(accuracy),
            balanced_accuracy: Some(balanced),
            ..Default::default()
        })
    }

    #[test]
    fn the_majority_is_that_of_the_training_samples() {
        let baseline =
            Baseline::of(&classes(&[2, 1, 2, 1, 0], 4), &classes(&[1, 2, 2, 0], 4), &Units::default());
        let Baseline::Majority { class, accuracy, balanced_accuracy, luck } = baseline else {
            panic!("{baseline:?}")
        };
        assert_eq!((class, accuracy, balanced_accuracy), (1, 0.25, 1.0 / 3.0));
        // 1, 2 and 1 samples of the three classes, each guessed with probability 1/3.
        let balanced = (2.0 / 9.0 * (1.0 + 0.5 + 1.0) / 9.0_f64).sqrt();
        assert!((luck.0 - (0.25 * 0.75 / 4.0_f64).sqrt()).abs() < 1e-12, "{luck:?}");
        assert!((luck.1 - balanced).abs() < 1e-12, "{luck:?}");
    }

    #[test]
    fn more_than_luck_beats_the_majority() {
        let baseline =
            Baseline::Majority { class: 0, accuracy: 0.9, balanced_accuracy: 0.5, luck: (0.003, 0.008) };
        assert!(baseline.is_beaten_by(&class_figures(0.97, 0.9)));
        assert!(
            baseline.is_beaten_by(&class_figures(0.905, 0.6)),
            "a little more accurate, and not by guessing"
        );
        assert!(!baseline.is_beaten_by(&class_figures(0.905, 0.505)), "as good as guessing");
        assert!(!baseline.is_beaten_by(&class_figures(0.9, 0.5)), "the trivial answer itself");
        assert!(!baseline.is_beaten_by(&class_figures(0.85, 0.8)), "less accurate");
        assert!(baseline.is_beaten_on_balance(&class_figures(0.85, 0.8)));
        assert!(!baseline.is_beaten_on_balance(&class_figures(0.85, 0.505)));
        let few =
            Baseline::Majority { class: 0, accuracy: 0.4, balanced_accuracy: 1.0 / 3.0, luck: (0.08, 0.08) };
        assert!(!few.is_beaten_by(&class_figures(0.44, 0.38)), "36 samples can show that by luck");
        assert!(few.is_beaten_by(&class_figures(0.6, 0.6)));
        assert!(!few.is_beaten_by(&Figures::unknown(true)));
    }

    #[test]
    fn the_mean_is_that_of_the_training_targets_in_their_units() {
        let train = Targets::Values { data: vec![-1.0, 2.0, 1.0, 4.0], width: 2 };
        let test = Targets::Values { data: vec![1.0, 3.0, -1.0, 3.0], width: 2 };
        let units = Units(vec![Unit { mean: 10.0, std: 2.0 }, Unit { mean: 0.0, std: 1.0 }]);
        let baseline = Baseline::of(&train, &test, &units);
        let Baseline::Mean { means, figures } = &baseline else { panic!("{baseline:?}") };
        assert_eq!(means, &[10.0, 3.0]);
        assert_eq!((figures.rmse, figures.r2), (Some(1.0), Some(0.0)));
        let numbers =
            |rmse, r2| Figures::Numbers(NumberFigures { rmse: Some(rmse), r2, ..Default::default() });
        assert!(baseline.is_beaten_by(&numbers(0.9, Some(0.1))));
        assert!(!baseline.is_beaten_by(&numbers(1.0, Some(0.0))));
        assert!(baseline.is_beaten_by(&numbers(0.9, None)) && !baseline.is_beaten_by(&numbers(1.0, None)));
        assert!(!baseline.is_beaten_by(&Figures::unknown(false)), "NaN is not better");
    }
}
