//! Evaluation metrics over the outputs for a whole data set.
//!
//! All sums are taken in `f64` and in the order of the samples, so that the same outputs always give the same figures. The
//! tests compare them with scikit-learn's (`golden/`). A figure that is not defined is `None`, `null` in JSON.
//!
//! | File | Contents |
//! | --- | --- |
//! | `confusion.rs` | the predicted class, and counts of samples by true and predicted class |
//! | `classes.rs` | accuracy, balanced accuracy, macro F1 and log loss; the report on classes |
//! | `ranking.rs` | the areas under the ROC and precision-recall curves |
//! | `calibration.rs` | calibration error and Brier score of probabilities |
//! | `misses.rs` | the most confidently wrong predictions |
//! | `numbers.rs` | errors and R² of predicted numbers, in the targets' units |
//! | `report.rs` | the figures of a network on a data set, whichever the task |
//! | `baseline.rs` | the trivial answer, and whether a network is better |

mod baseline;
mod calibration;
mod classes;
mod confusion;
#[cfg(test)]
mod golden;
mod misses;
mod numbers;
mod ranking;
mod report;

pub(crate) use baseline::Baseline;
#[cfg(test)]
pub(crate) use classes::class_report;
pub(crate) use classes::{ClassReport, OutputKind};
pub(crate) use confusion::{Confusion, predicted};
pub(crate) use misses::{Miss, confidently_wrong};
#[cfg(test)]
pub(crate) use numbers::regression;
pub(crate) use numbers::{NumberFigures, Regression, Units};
pub(crate) use report::{Figures, Report};
