//! The errors of predicted numbers, in the targets' own units.

use nn_data::Preparation;
use serde::Serialize;

/// The units of one target: its value is what the data set or network says, times `std`, plus `mean`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    /// The value where the data set says 0.
    pub(crate) mean: f64,
    /// The value of a difference of 1.
    pub(crate) std: f64,
}

/// The units of the targets. A data set with standardised targets has one for each; by default the targets are in their
/// own units already.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Units(pub(crate) Vec<Unit>);

impl From<Option<&Preparation>> for Units {
    /// The units of a table's targets.
    fn from(preparation: Option<&Preparation>) -> Self {
        let targets = preparation.map_or(&[][..], |preparation| &preparation.targets);
        Self(targets.iter().map(|target| Unit { mean: target.mean, std: target.deviation }).collect())
    }
}

impl Units {
    /// The unit of a target.
    pub(super) fn of(&self, target: usize) -> Unit {
        self.0.get(target).copied().unwrap_or(Unit { mean: 0.0, std: 1.0 })
    }

    /// The column `target` of `values`, row-major `[samples][width]`, in its own unit.
    pub(crate) fn column(&self, values: &[f32], target: usize, width: usize) -> Vec<f64> {
        let Unit { mean, std } = self.of(target);
        values.iter().skip(target).step_by(width).map(|&x| f64::from(x) * std + mean).collect()
    }
}

/// Errors in the unit of a target, or their means over the targets. `None` without samples, or if it is not finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct NumberFigures {
    /// The mean absolute error.
    pub(crate) mae: Option<f64>,
    /// The root of the mean squared error.
    pub(crate) rmse: Option<f64>,
    /// The fraction of the targets' variance that is explained; `None` if the targets do not vary. The mean leaves such
    /// targets out.
    pub(crate) r2: Option<f64>,
    /// The median of the absolute errors.
    pub(crate) median_absolute_error: Option<f64>,
}

/// All that is known about predicted numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Regression {
    /// The number of samples.
    pub(crate) samples: usize,
    /// The means over the targets.
    #[serde(flatten)]
    pub(crate) mean: NumberFigures,
    /// One entry per target.
    pub(crate) outputs: Vec<NumberFigures>,
}

/// Compares predicted numbers with targets, both row-major `[samples][width]`.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn regression(targets: &[f32], outputs: &[f32], width: usize, units: &Units) -> Regression {
    assert_eq!(targets.len(), outputs.len(), "one output for each target");
    assert!(width > 0 && targets.len().is_multiple_of(width), "whole rows of targets");
    let columns: Vec<NumberFigures> = (0..width)
        .map(|at| errors(&units.column(targets, at, width), &units.column(outputs, at, width)))
        .collect();
    let mean = |figure: fn(&NumberFigures) -> Option<f64>| mean(columns.iter().map(figure));
    let rmse = mean(|c| c.rmse);
    let mean = NumberFigures {
        mae: mean(|c| c.mae),
        rmse,
        // A target that does not vary has no R², which says nothing about the other targets.
        r2: rmse.and_then(|_| self::mean(columns.iter().map(|c| c.r2).filter(Option::is_some))),
        median_absolute_error: mean(|c| c.median_absolute_error),
    };
    Regression { samples: targets.len() / width, mean, outputs: columns }
}

/// The mean; `None` if there are no figures or one of them is not defined.
fn mean(figures: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let all: Vec<f64> = figures.collect::<Option<_>>()?;
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
}

/// The errors of one target.
pub(super) fn errors(targets: &[f64], outputs: &[f64]) -> NumberFigures {
    if targets.is_empty() {
        return NumberFigures::default();
    }
    let n = targets.len() as f64;
    let mean = targets.iter().sum::<f64>() / n;
    let spread: f64 = targets.iter().map(|t| (t - mean).powi(2)).sum();
    let squares: f64 = targets.iter().zip(outputs).map(|(t, o)| (o - t).powi(2)).sum();
    let mut absolute: Vec<f64> = targets.iter().zip(outputs).map(|(t, o)| (o - t).abs()).collect();
    let mae = absolute.iter().sum::<f64>() / n;
    // The spread of equal targets may differ from 0 by rounding, so they are compared instead.
    let varies = targets.iter().any(|t| *t != targets[0]);
    let finite = |x: f64| Some(x).filter(|x| x.is_finite());
    NumberFigures {
        mae: finite(mae),
        rmse: finite((squares / n).sqrt()),
        r2: finite(1.0 - squares / spread).filter(|_| varies),
        median_absolute_error: finite(median(&mut absolute)),
    }
}

/// The median of one number or more, the mean of the middle two if their count is even. Reorders them.
fn median(numbers: &mut [f64]) -> f64 {
    let middle = numbers.len() / 2;
    let even = numbers.len().is_multiple_of(2);
    let (below, &mut upper, _) = numbers.select_nth_unstable_by(middle, f64::total_cmp);
    if even { below.iter().copied().fold(f64::NEG_INFINITY, f64::max).midpoint(upper) } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_by_hand() {
        // Two targets; the second does not vary.
        let (targets, outputs) = ([1.0, 5.0, 2.0, 5.0, 3.0, 5.0], [1.0, 5.0, 2.5, 4.0, 2.0, 5.0]);
        let report = regression(&targets, &outputs, 2, &Units::default());
        assert_eq!(report.samples, 3);
        let [first, second] = report.outputs[..] else { panic!("two outputs") };
        let near = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-12;
        assert!(near(first.mae, 0.5) && near(first.rmse, (1.25_f64 / 3.0).sqrt()), "{first:?}");
        assert!(near(first.r2, 1.0 - 1.25 / 2.0) && near(first.median_absolute_error, 0.5), "{first:?}");
        assert_eq!((second.r2, second.median_absolute_error), (None, Some(0.0)));
        assert_eq!(report.mean.r2, first.r2);
        assert!(near(report.mean.mae, f64::midpoint(0.5, 1.0 / 3.0)), "{report:?}");
    }

    #[test]
    fn units_scale_errors_and_not_r2() {
        let (targets, outputs) = ([0.0, 1.0, -1.0], [0.5, 1.0, -1.0]);
        let units = Units(vec![Unit { mean: 100.0, std: 4.0 }]);
        let plain = regression(&targets, &outputs, 1, &Units::default()).mean;
        let scaled = regression(&targets, &outputs, 1, &units).mean;
        assert_eq!((scaled.mae, scaled.r2), (plain.mae.map(|mae| mae * 4.0), plain.r2));
        assert_eq!(units.column(&targets, 0, 1), [100.0, 104.0, 96.0]);
    }

    #[test]
    fn what_is_not_defined_is_none() {
        assert_eq!(regression(&[], &[], 2, &Units::default()).mean, NumberFigures::default());
        let nan = regression(&[1.0, 2.0], &[f32::NAN, 2.0], 1, &Units::default());
        assert_eq!(nan.mean, NumberFigures::default());
        // The mean of three times 0.1 is not 0.1, but the targets do not vary.
        assert_eq!(regression(&[0.1; 3], &[0.1, 0.2, 0.3], 1, &Units::default()).mean.r2, None);
    }
}
