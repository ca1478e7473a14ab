//! `nn eval`: evaluate a model on a test set.

use nn_core::{Compute, Dataset, Targets, Workspace};
use serde_json::{Value, json};

use super::hardest::{hardest, in_words as hardest_in_words};
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
    let hard = match config.hardest {
        (_, 0) => None,
        asked => {
            let compute = Compute { isa: isa()?, threads: threads(config.threads.get())? };
            let hard = hardest(&model, &splits.train, &splits.origins, compute, asked);
            Some(hard.map_err(|error| misfit(&model, &splits.name, &error))?)
        }
    };
    let report = Report::of(test, &outputs, OutputKind::of(&model.model), &units);
    if config.json {
        let mut text = match report {
            Report::Classes(report) => classes_as_json(config, &model, test, &report, &outputs, loss),
            Report::Numbers(report) => json!({ "samples": test.len(), "loss": loss, "regression": report }),
        };
        if let Some(hard) = hard {
            text["hardest"] = json!(hard);
        }
        return write_stdout(format!("{text}\n"));
    }
    let (names, style) = (names(&model), style());
    let mut text = match report {
        Report::Classes(report) => classes(config, &model, test, &report, &outputs, loss),
        Report::Numbers(report) => format!(
            "{} test samples of {}, loss {loss:.5}\n\n{}\n",
            test.len(),
            splits.name,
            show::regression_table(&report, &names, &style)
        ),
    };
    if let Some(hard) = hard {
        text += &hardest_in_words(&hard, &model, &splits.train, config.hardest.0, &names, &style);
    }
    write_stdout(text)
}

/// The most confidently wrong answers that are asked for.
fn misses(config: &EvalConfig, test: &Dataset, outputs: &[f32], classes: usize) -> Vec<metrics::Miss> {
    match test.targets() {
        Targets::Classes { labels, .. } => metrics::confidently_wrong(labels, outputs, classes, config.wrong),
        Targets::Values { .. } => Vec::new(),
    }
}

fn classes_as_json(
    config: &EvalConfig,
    model: &ModelFile,
    test: &Dataset,
    report: &ClassReport,
    outputs: &[f32],
    loss: f64,
) -> Value {
    let (names, count) = (names(model), model.model.output_width());
    let classes: Vec<String> = (0..count).map(|c| names.name(c)).collect();
    json!({
        "classes": classes,
        "loss": loss,
        "classification": report,
        "confidently_wrong": misses(config, test, outputs, count),
    })
}

fn classes(
    config: &EvalConfig,
    model: &ModelFile,
    test: &Dataset,
    report: &ClassReport,
    outputs: &[f32],
    loss: f64,
) -> String {
    let misses = misses(config, test, outputs, model.model.output_width());
    let names = names(model);
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
    text
}
