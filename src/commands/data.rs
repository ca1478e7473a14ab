//! `nn data show`: what training would make of a data set.

use nn_core::{Features, Targets};
use nn_data::{ColumnSurvey, Decimal, Splits, Survey};
use serde_json::{Value, json};

use super::{SPLIT_SEED, load_data, style};
use crate::config::ShowConfig;
use crate::failure::{Failure, write_stdout};
use crate::show::{self, Style};

/// The most classes that are listed.
const MOST_CLASSES: usize = 20;

/// Shows a data set.
pub(crate) fn show(config: &ShowConfig) -> Result<(), Failure> {
    let splits = load_data(&config.data, &config.format.load_options(SPLIT_SEED), config.json)?;
    if config.json {
        return write_stdout(format!("{:#}\n", as_json(&splits)));
    }
    let style = style();
    let mut text = String::new();
    if let Some(survey) = &splits.survey {
        text += &format!("{}\n\n", heading(survey));
        text += &show::columns_table(survey, &style);
        text += "\n\n";
    }
    text += &what_training_does(&splits, &style);
    write_stdout(text)
}

fn heading(survey: &Survey) -> String {
    format!(
        "{}: {} rows, {} columns, {}{}",
        survey.file,
        survey.rows,
        survey.columns.len(),
        if survey.header { "with a header" } else { "without a header" },
        if survey.decimal == Decimal::Comma { ", decimal commas" } else { "" }
    )
}

fn what_training_does(splits: &Splits, style: &Style) -> String {
    let mut lines: Vec<String> = splits.notes.iter().chain(&splits.oddities).cloned().collect();
    let inputs = splits.train.input_width();
    lines.push(match (&splits.preparation, splits.train.image(), splits.train.features()) {
        (Some(_), ..) => format!("the network has {inputs} inputs"),
        (None, Some((height, width)), _) => format!("the samples are pictures of {height} × {width} pixels"),
        (None, None, Features::U8 { scale, .. }) => {
            format!("the network has {inputs} inputs, bytes divided by {scale}")
        }
        (None, None, Features::F32(_)) => format!("the network has {inputs} inputs, numbers as they are"),
    });
    let validation =
        splits.validation.as_ref().map_or(String::new(), |set| format!(", {} for validation", set.len()));
    lines.push(format!(
        "{} samples for training{validation}, {} for testing",
        splits.train.len(),
        splits.test.len()
    ));
    if let Some(classes) = class_counts(splits) {
        let total: usize = classes.iter().map(|(_, count)| count).sum();
        let shown = classes
            .iter()
            .take(MOST_CLASSES)
            .map(|(name, count)| format!("{name} {count} ({:.1} %)", *count as f64 / total as f64 * 100.0));
        let more = classes.len().saturating_sub(MOST_CLASSES);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        lines.push(format!("classes: {}{more}", shown.collect::<Vec<_>>().join(", ")));
    }
    if let Some(preparation) = &splits.preparation {
        for target in &preparation.targets {
            let name = target.name.as_deref().map_or(String::new(), |name| format!("{name}: "));
            lines.push(format!("{name}mean {:.6}, standard deviation {:.6}", target.mean, target.deviation));
        }
    }
    lines.iter().map(|line| show::wrapped(line, style) + "\n").collect()
}

/// The classes with their number of samples in all sets.
fn class_counts(splits: &Splits) -> Option<Vec<(String, usize)>> {
    let names = splits.classes.as_ref()?;
    let mut counts = vec![0; names.len()];
    for set in [Some(&splits.train), Some(&splits.test), splits.validation.as_ref()].into_iter().flatten() {
        if let Targets::Classes { labels, .. } = set.targets() {
            labels.iter().for_each(|&label| counts[label as usize] += 1);
        }
    }
    Some(names.iter().cloned().zip(counts).collect())
}

fn as_json(splits: &Splits) -> Value {
    let column = |(position, column): (usize, &ColumnSurvey)| {
        json!({
            "position": position,
            "name": column.name,
            "kind": column.kind.name(),
            "reason": column.reason,
            "missing": column.missing,
            "distinct": column.distinct,
            "min": column.range.map(|(least, _)| least),
            "max": column.range.map(|(_, greatest)| greatest),
        })
    };
    let columns = splits
        .survey
        .as_ref()
        .map(|survey| survey.columns.iter().enumerate().map(column).collect::<Vec<_>>());
    json!({
        "data": splits.name,
        "data_sha256": splits.sha256,
        "preprocess_sha256": splits.preparation.as_ref().map(|preparation| preparation.sha256()),
        "rows": splits.survey.as_ref().map(|survey| survey.rows),
        "columns": columns,
        "inputs": splits.preparation.as_ref().map(|preparation| preparation.input_names()),
        "input_width": splits.train.input_width(),
        "classes": class_counts(splits),
        "training_samples": splits.train.len(),
        "validation_samples": splits.validation.as_ref().map(|set| set.len()),
        "test_samples": splits.test.len(),
        "notes": splits.notes,
        "oddities": splits.oddities,
    })
}
