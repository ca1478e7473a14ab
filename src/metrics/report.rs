//! The figures of a network on a data set, whichever the task.

use nn_core::{Dataset, Targets};
use serde::Serialize;

use super::classes::{ClassFigures, ClassReport, OutputKind, class_figures, class_report};
use super::numbers::{NumberFigures, Regression, Units, regression};

/// The figures that cost little beside the evaluation itself: taken after every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Figures {
    /// Of predicted classes.
    Classes(ClassFigures),
    /// Of predicted numbers: the means over the targets.
    Numbers(NumberFigures),
}

impl Figures {
    /// The figures of classes or of numbers before any are known.
    pub(crate) fn unknown(classes: bool) -> Self {
        if classes { Self::Classes(ClassFigures::default()) } else { Self::Numbers(NumberFigures::default()) }
    }

    /// The figures of numbers; `None` for classes.
    pub(crate) fn numbers(self) -> Option<NumberFigures> {
        match self {
            Self::Classes(_) => None,
            Self::Numbers(figures) => Some(figures),
        }
    }

    /// The figures of the network's `outputs` for all samples of `data`, row-major.
    ///
    /// # Panics
    /// If there is not one output for each class or target of each sample.
    pub(crate) fn of(data: &Dataset, outputs: &[f32], kind: OutputKind, units: &Units) -> Self {
        match data.targets() {
            Targets::Classes { labels, classes } => {
                Self::Classes(class_figures(labels, outputs, *classes, kind))
            }
            Targets::Values { data, width } => Self::Numbers(regression(data, outputs, *width, units).mean),
        }
    }
}

/// All figures of a network on a data set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Report {
    /// Of predicted classes.
    Classes(ClassReport),
    /// Of predicted numbers.
    Numbers(Regression),
}

impl Report {
    /// The report on the network's `outputs` for all samples of `data`, row-major.
    ///
    /// # Panics
    /// As for [`Figures::of`].
    pub(crate) fn of(data: &Dataset, outputs: &[f32], kind: OutputKind, units: &Units) -> Self {
        match data.targets() {
            Targets::Classes { labels, classes } => {
                Self::Classes(class_report(labels, outputs, *classes, kind))
            }
            Targets::Values { data, width } => Self::Numbers(regression(data, outputs, *width, units)),
        }
    }

    /// The figures that are taken after every epoch.
    pub(crate) fn figures(&self) -> Figures {
        match self {
            Self::Classes(report) => Figures::Classes(report.figures),
            Self::Numbers(report) => Figures::Numbers(report.mean),
        }
    }
}
