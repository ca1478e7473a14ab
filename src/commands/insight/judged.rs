//! A network's answers to the test samples.

use nn_core::{Dataset, Targets, Workspace};
use serde::Serialize;

use crate::commands::{isa, misfit, pixels, threads};
use crate::config::defaults::available_threads;
use crate::metrics::{ClassReport, OutputKind, Regression, Report, Units, confidently_wrong};
use crate::store::ModelFile;

/// The most mistakes that are kept.
const MISTAKES: usize = 24;

/// The largest picture of a mistake, in pixels.
const LARGEST: usize = 1 << 16;

/// How good the answers are. Of `classes` and `numbers` one is there, as the task is.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct Judged {
    /// The name of the data set.
    pub(in crate::commands) data: String,
    /// The number of test samples.
    pub(in crate::commands) samples: usize,
    /// The mean loss over them.
    pub(in crate::commands) loss: f64,
    /// The confusion matrix, the figures of each class and those of all, as `nn eval --json` has them.
    pub(in crate::commands) classes: Option<ClassReport>,
    /// The errors of a regression.
    pub(in crate::commands) numbers: Option<Regression>,
    /// The most confidently wrong answers, the worst first, as in `nn eval`.
    pub(in crate::commands) mistakes: Vec<Mistake>,
    /// Whether confidences are probabilities; otherwise larger is surer, and no more can be said.
    pub(in crate::commands) probabilities: bool,
    /// Whether samples may be shown; not those of a run with differential privacy.
    pub(in crate::commands) shows_samples: bool,
}

/// A test sample that was given the wrong class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::commands) struct Mistake {
    /// Its number among the test samples, counted from 0.
    pub(in crate::commands) sample: usize,
    /// Its class.
    pub(in crate::commands) truth: usize,
    /// The class that the network took it for.
    pub(in crate::commands) predicted: usize,
    /// The output for that class.
    pub(in crate::commands) confidence: f32,
    /// Its pixels row by row, from 0 (black) to 255 (white), if it is a picture of reasonable size.
    pub(in crate::commands) pixels: Option<Vec<u8>>,
}

/// Evaluates the network on the test samples, as `nn eval` does; without their pixels unless `shows_samples`.
///
/// # Errors
/// Why it cannot be done, in a sentence.
pub(super) fn judge(
    model: &ModelFile,
    data: &str,
    test: &Dataset,
    shows_samples: bool,
) -> Result<Judged, String> {
    let failed = |failure: crate::failure::Failure| failure.message().to_owned();
    let pool = threads(available_threads().get()).map_err(failed)?;
    let mut workspace = Workspace::for_evaluation(&model.model, pool, isa().map_err(failed)?);
    let mut outputs = Vec::new();
    let evaluation = workspace
        .evaluate_into(model.model_params(), test, &mut outputs)
        .map_err(|error| failed(misfit(model, data, &error)))?;
    let kind = OutputKind::of(&model.model);
    let units = Units::from(model.input.preparation.as_ref());
    let mistakes = match test.targets() {
        Targets::Classes { labels, classes } => mistakes(test, labels, &outputs, *classes, shows_samples),
        Targets::Values { .. } => Vec::new(),
    };
    let (classes, numbers) = match Report::of(test, &outputs, kind, &units) {
        Report::Classes(report) => (Some(report), None),
        Report::Numbers(report) => (None, Some(report)),
    };
    Ok(Judged {
        data: data.to_owned(),
        samples: test.len(),
        loss: evaluation.loss,
        classes,
        numbers,
        mistakes,
        probabilities: kind == OutputKind::Probabilities,
        shows_samples,
    })
}

fn mistakes(test: &Dataset, labels: &[u32], outputs: &[f32], classes: usize, shown: bool) -> Vec<Mistake> {
    let drawn = shown && test.image().is_some_and(|(height, width)| height * width <= LARGEST);
    let misses = confidently_wrong(labels, outputs, classes, MISTAKES);
    let inputs: Vec<Vec<f32>> =
        misses.iter().filter(|_| drawn).map(|miss| pixels(test, miss.sample)).collect();
    let greys = greys(&inputs);
    let mut greys = greys.into_iter();
    misses
        .iter()
        .map(|miss| Mistake {
            sample: miss.sample,
            truth: miss.truth,
            predicted: miss.predicted,
            confidence: miss.confidence,
            pixels: greys.next(),
        })
        .collect()
}

/// Pictures from 0 to 255. Numbers from 0 to 1 are greys as they are; others are stretched from the least to the greatest of all.
pub(in crate::commands) fn greys(pictures: &[Vec<f32>]) -> Vec<Vec<u8>> {
    let finite = pictures.iter().flatten().filter(|x| x.is_finite());
    let (low, high) = finite.fold((0.0_f32, 1.0_f32), |(low, high), &x| (low.min(x), high.max(x)));
    let grey = |x: &f32| ((x - low) / (high - low) * 255.0).round() as u8; // NaN is black
    pictures.iter().map(|picture| picture.iter().map(grey).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_are_kept_or_stretched() {
        assert_eq!(greys(&[vec![0.0, 0.5, 1.0]]), [[0, 128, 255]]);
        assert_eq!(greys(&[vec![-1.0, 0.0], vec![3.0, f32::NAN]]), [[0, 64], [255, 0]]);
        assert!(greys(&[]).is_empty());
    }
}
