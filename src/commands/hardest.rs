//! The samples that a network finds hardest, with their places in the files: where labels are wrong, they are among these.

use nn_core::{Compute, Dataset, MismatchError, SampleStats, Targets, Workspace};
use nn_data::Origins;
use serde::Serialize;

use super::pixels;
use crate::config::HardestBy;
use crate::metrics::{OutputKind, Units, predicted};
use crate::show::{self, Names, Style};
use crate::store::ModelFile;

/// Samples whose outputs are held at a time.
const AT_ONCE: usize = 1 << 14;

/// A sample among the hardest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Hard {
    /// Its number in the training set, counted from 0.
    sample: usize,
    /// Its place in the files, in words.
    place: String,
    loss: f64,
    gradient_norm: f64,
    #[serde(flatten)]
    answer: Answer,
}

/// What the network answered, and what it should have.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Answer {
    Class { truth: usize, predicted: usize, confidence: f32 },
    Numbers { truth: Vec<f64>, predicted: Vec<f64> },
}

/// The `most` samples of `data` with the largest losses or gradients, in descending order; of equal ones, the first.
///
/// # Errors
/// If the data do not fit the model.
pub(super) fn hardest(
    model: &ModelFile,
    data: &Dataset,
    origins: &Origins,
    compute: Compute,
    (by, most): (HardestBy, usize),
) -> Result<Vec<Hard>, MismatchError> {
    let params = model.model_params();
    let units = Units::from(model.input.preparation.as_ref());
    let mut workspace = Workspace::new(&model.model, AT_ONCE.min(2048), compute.threads, compute.isa);
    let key = |stats: &SampleStats| match by {
        HardestBy::Loss => stats.loss,
        HardestBy::Gradient => stats.gradient_norm,
    };
    let mut hardest: Vec<(SampleStats, usize, Vec<f32>)> = Vec::new();
    let (mut outputs, width) = (Vec::new(), model.model.output_width());
    for from in (0..data.len()).step_by(AT_ONCE) {
        let here = from..data.len().min(from + AT_ONCE);
        let stats = workspace.sample_stats(params, data, here, &mut outputs)?;
        let rows = outputs.chunks_exact(width);
        hardest
            .extend(stats.into_iter().zip(rows).enumerate().map(|(i, (s, row))| (s, from + i, row.to_vec())));
        hardest.sort_by(|(a, i, _), (b, j, _)| key(b).total_cmp(&key(a)).then(i.cmp(j)));
        hardest.truncate(most);
    }
    let answer = |sample: usize, row: &[f32]| match data.targets() {
        Targets::Classes { labels, .. } => {
            let predicted = predicted(row);
            Answer::Class { truth: labels[sample] as usize, predicted, confidence: row[predicted] }
        }
        Targets::Values { data, width } => {
            let in_units =
                |values: &[f32]| (0..*width).flat_map(|t| units.column(values, t, *width)).collect();
            Answer::Numbers {
                truth: in_units(&data[sample * width..(sample + 1) * width]),
                predicted: in_units(row),
            }
        }
    };
    Ok(hardest
        .into_iter()
        .map(|(stats, sample, row)| Hard {
            sample,
            place: origins.of(sample),
            loss: stats.loss,
            gradient_norm: stats.gradient_norm,
            answer: answer(sample, &row),
        })
        .collect())
}

/// The samples drawn, if they are pictures, and listed.
pub(super) fn in_words(
    hardest: &[Hard],
    model: &ModelFile,
    data: &Dataset,
    by: HardestBy,
    names: &Names,
    style: &Style,
) -> String {
    let what = match by {
        HardestBy::Loss => "losses",
        HardestBy::Gradient => "gradients",
    };
    let mut text = format!(
        "\nThe {} of {} training samples with the largest {what}; wrong labels are often among them:\n\n",
        hardest.len(),
        data.len()
    );
    let kind = OutputKind::of(&model.model);
    if let Some((height, width)) = data.image() {
        let drawn: Vec<Vec<f32>> = hardest.iter().map(|hard| pixels(data, hard.sample)).collect();
        let tile = |(hard, pixels)| match hard {
            &Hard { answer: Answer::Class { truth, predicted, confidence }, .. } => {
                Some(show::Tile { pixels, answer: predicted, confidence, kind, truth: Some(truth) })
            }
            Hard { answer: Answer::Numbers { .. }, .. } => None,
        };
        let tiles: Vec<show::Tile<'_>> =
            hardest.iter().zip(drawn.iter().map(Vec::as_slice)).filter_map(tile).collect();
        if !tiles.is_empty() {
            text += &show::gallery(&tiles, height, width, names, style);
            text.push_str("\n\n");
        }
    }
    for hard in hardest {
        let answer = match &hard.answer {
            Answer::Class { truth, predicted, confidence } => format!(
                "{} ({}), labelled {}",
                names.name(*predicted),
                style.confidence(*confidence, kind),
                names.name(*truth)
            ),
            Answer::Numbers { truth, predicted } => {
                format!("{}, actually {}", listed(predicted), listed(truth))
            }
        };
        text +=
            &format!("{}: {answer}; loss {:.4}, gradient {:.4}\n", hard.place, hard.loss, hard.gradient_norm);
    }
    text
}

/// Numbers in a row.
fn listed(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format!("{number:.4}")).collect::<Vec<_>>().join(", ")
}
