//! `nn eval`: evaluate a model on a test set.

use nn_core::{Dataset, Targets, Workspace};
use serde_json::json;

use super::{isa, load_data, misfit, names, options_for, pixels, read_model, style, tell, threads};
use crate::config::EvalConfig;
use crate::failure::{Failure, write_stdout};
use crate::metrics::{self, ClassReport, OutputKind, Report, Units};
use crate::progress::warn;
use crate::show;
use crate::store::ModelFile;

/// Evaluates a model and prints the report.
pub(crate) fn eval(config: &EvalConfig) -> Result<(), Failure> {
    let model = read_model(&config.model)?;
    tell(config.note.as_deref(), config.json)?;
    let splits = load_data(&config.data, &options_for(&config.format, &model), config.json)?;
    for oddity in &splits.oddities {
        warn(oddity);
    }
    let units = Units::from(model.input.preparation.as_ref());
    let test = &splits.test;
    let mut workspace = Workspace::for_evaluation(&model.model, threads(config.threads.get())?, isa()?);
    let mut outputs = Vec::new();
    // The loss is computed by the same function as that of `nn train`, and so is the same number.
    let evaluation = workspace
        .evaluate_into(model.model_params(), test, &mut outputs)
        .map_err(|error| misfit(&model, &splits.name, &error))?;
    let loss = evaluation.loss;
    match Report::of(test, &outputs, OutputKind::of(&model.model), &units) {
        Report::Classes(report) => classes(config, &model, test, &report, &outputs, loss),
        Report::Numbers(report) if config.json => {
            let text = json!({ "samples": test.len(), "loss": loss, "regression": report });
            write_stdout(format!("{text}\n"))
        }
        Report::Numbers(report) => write_stdout(format!(
            "{} test samples of {}, loss {loss:.5}\n\n{}\n",
            test.len(),
            splits.name,
            show::regression_table(&report, &names(&model), &style())
        )),
    }
}

fn classes(
    config: &EvalConfig,
    model: &ModelFile,
    test: &Dataset,
    report: &ClassReport,
    outputs: &[f32],
    loss: f64,
) -> Result<(), Failure> {
    let count = model.model.output_width();
    let misses = match test.targets() {
        Targets::Classes { labels, .. } => metrics::confidently_wrong(labels, outputs, count, config.wrong),
        Targets::Values { .. } => Vec::new(),
    };
    let names = names(model);
    if config.json {
        let classes: Vec<String> = (0..count).map(|c| names.name(c)).collect();
        let text = json!({
            "classes": classes,
            "loss": loss,
            "classification": report,
            "confidently_wrong": misses,
        });
        return write_stdout(format!("{text}\n"));
    }
    let (style, kind) = (style(), OutputKind::of(&model.model));
    let mut text = format!(
        "{:.2} % of {} test samples are correct ({} wrong)\n\n{}\n\n{}\n\n{}\n",
        report.figures.accuracy.unwrap_or_default() * 100.0,
        report.samples,
        report.samples - report.correct,
        show::class_figures(report, loss, &style),
        show::class_table(report, &names, &style),
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
                    kind,
                    truth: Some(miss.truth),
                })
                .collect();
            text += &show::gallery(&tiles, height, width, &names, &style);
            text.push('\n');
        } else {
            for miss in &misses {
                text += &format!(
                    "sample {}: {} ({}), actually {}\n",
                    miss.sample,
                    names.name(miss.predicted),
                    style.confidence(miss.confidence, kind),
                    names.name(miss.truth)
                );
            }
        }
    }
    write_stdout(text)
}
