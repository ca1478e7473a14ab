//! `nn eval`: evaluate a model on a test set.

use nn_core::{Dataset, Targets};
use serde_json::json;

use super::{load_data, names, options_for, outputs, pixels, read_model, style, tell};
use crate::config::EvalConfig;
use crate::failure::{Failure, write_stdout};
use crate::metrics;
use crate::show;
use crate::store::ModelFile;

/// Evaluates a model and prints the report.
pub(crate) fn eval(config: &EvalConfig) -> Result<(), Failure> {
    let model = read_model(&config.model)?;
    tell(config.note.as_deref(), config.json)?;
    let splits = load_data(&config.data, &options_for(&config.format, &model), config.json)?;
    let test = &splits.test;
    let answers = outputs(&model, test, &splits.name, config.threads.get())?;
    match test.targets() {
        Targets::Classes { labels, .. } => classes(config, &model, test, labels, &answers),
        Targets::Values { data, width } => {
            let report = metrics::regression(data, &answers, *width);
            if config.json {
                return write_stdout(format!("{}\n", json!({ "samples": test.len(), "regression": report })));
            }
            write_stdout(format!(
                "{} test samples of {}\n\n{}\n",
                test.len(),
                splits.name,
                show::regression_table(&report, &names(&model), &style())
            ))
        }
    }
}

fn classes(
    config: &EvalConfig,
    model: &ModelFile,
    test: &Dataset,
    labels: &[u32],
    answers: &[f32],
) -> Result<(), Failure> {
    let count = model.model.output_width();
    let report = metrics::classification(labels, answers, count);
    let misses = metrics::confidently_wrong(labels, answers, count, config.wrong);
    let names = names(model);
    if config.json {
        let classes: Vec<String> = (0..count).map(|c| names.name(c)).collect();
        let text = json!({ "classes": classes, "classification": report, "confidently_wrong": misses });
        return write_stdout(format!("{text}\n"));
    }
    let style = style();
    let mut text = format!(
        "{:.2} % of {} test samples are correct ({} wrong)\n\n{}\n\n{}\n",
        report.accuracy.unwrap_or_default() * 100.0,
        report.samples,
        report.samples - report.correct,
        show::class_table(&report, &names, &style),
        show::confusion_matrix(&report.confusion, &names, &style),
    );
    if !misses.is_empty() {
        text += "\nThe most confidently wrong predictions:\n\n";
        if let Some((height, width)) = test.image() {
            let drawn: Vec<Vec<f32>> = misses.iter().map(|miss| pixels(test, miss.sample)).collect();
            let tiles: Vec<show::Tile<'_>> = misses
                .iter()
                .zip(&drawn)
                .map(|(miss, pixels)| show::Tile {
                    pixels,
                    answer: miss.predicted,
                    confidence: miss.confidence,
                    truth: Some(miss.truth),
                })
                .collect();
            text += &show::gallery(&tiles, height, width, &names, &style);
            text.push('\n');
        } else {
            for miss in &misses {
                text += &format!(
                    "sample {}: {} ({:.1} %), actually {}\n",
                    miss.sample,
                    names.name(miss.predicted),
                    miss.confidence * 100.0,
                    names.name(miss.truth)
                );
            }
        }
    }
    write_stdout(text)
}
