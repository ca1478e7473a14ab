//! What a person reads: the curve, and the rate to train with.

use std::path::Path;

use super::Tested;
use super::curve::{Reason, rounded};
use crate::show::{Mark, Style, plot, wrapped};

/// The whole report.
pub(super) fn report(tested: &Tested<'_>, picture: Option<&Path>, style: &Style) -> String {
    let finding = tested.curve.finding();
    let marks = finding.map_or(Vec::new(), |finding| {
        [(finding.suggested, 's'), (finding.lowest, 'm')]
            .into_iter()
            .filter(|(rate, _)| *rate >= tested.test.low)
            .map(|(rate, letter)| Mark { at: f64::from(rate), letter })
            .collect()
    });
    let (points, top) = tested.shown();
    let mut text = format!("{}\n\n{}\n", wrapped(&header(tested), style), plot(&points, top, &marks, style));
    for line in conclusion(tested) {
        text += &wrapped(&line, style);
        text.push('\n');
    }
    if let Some(path) = picture {
        text += &format!("the picture is in {}\n", path.display());
    }
    text
}

/// What was tested.
pub(super) fn header(tested: &Tested<'_>) -> String {
    let (model, recipe) = (tested.manifest.model(), tested.manifest.recipe());
    let widths: Vec<String> = model.widths().iter().map(ToString::to_string).collect();
    format!(
        "{}: loss of {} mini-batches of {}, network {}, {}, at learning rates from {} to {}",
        tested.data,
        tested.test.steps,
        recipe.batch_size,
        widths.join("-"),
        recipe.optimizer.name(),
        in_words(tested.test.low),
        in_words(tested.test.high),
    )
}

/// The suggestion with its reason.
pub(super) fn suggestion(tested: &Tested<'_>) -> String {
    let Some(finding) = tested.curve.finding() else {
        return "no suggestion: the loss does not fall at any of these rates".to_owned();
    };
    let reason = match finding.reason {
        Reason::Steepest => "where the loss falls fastest".to_owned(),
        Reason::TenthOfLowest => {
            format!("a tenth of {}, at which the loss is lowest", in_words(finding.lowest))
        }
    };
    format!("suggested: --learning-rate {}, {reason}", in_words(finding.suggested))
}

/// What follows from the curve, line by line.
fn conclusion(tested: &Tested<'_>) -> Vec<String> {
    let mut lines = vec![suggestion(tested)];
    let Some(finding) = tested.curve.finding() else {
        lines.push(
            "try a wider range (--lowest-rate, --highest-rate), more --steps, or a larger --batch-size"
                .to_owned(),
        );
        return lines;
    };
    let (lowest, steepest) = (in_words(finding.lowest), in_words(finding.steepest));
    lines.push(match finding.reason {
        Reason::Steepest => format!(
            "that is higher than a tenth of {lowest} (m), at which the loss is lowest, and so sooner done"
        ),
        Reason::TenthOfLowest => {
            format!("that is higher than {steepest}, where the loss falls fastest, and so sooner done")
        }
    });
    if tested.exploded() {
        let last = tested.curve.steps().last().map_or(tested.test.high, |step| step.rate);
        lines.push(format!("the loss explodes at {}, where the test ended", in_words(rounded(last))));
    }
    lines.push(format!("this run's own rate is {}", in_words(tested.manifest.recipe().learning_rate)));
    lines
}

/// A rate as a person writes it.
pub(super) fn in_words(rate: f32) -> String {
    if (1e-3..1e4).contains(&rate) { rate.to_string() } else { format!("{rate:e}") }
}
