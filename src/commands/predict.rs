//! `nn predict`: predict with a trained model, from pictures and other samples.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use nn_core::{Dataset, Features, Targets};
use serde_json::json;

use super::{is_pipe, load_data, names, options_for, outputs, pixels, read_model, style};
use crate::config::defaults::available_threads;
use crate::config::{PredictConfig, PredictInput};
use crate::failure::{Failure, write_stdout};
use crate::metrics::{OutputKind, predicted};
use crate::progress::warn;
use crate::picture::{self, Field, Invert};
use crate::show;
use crate::store::ModelFile;

/// Samples of one file or data set to predict for.
struct Batch {
    source: String,
    data: Dataset,
    /// The true classes, if they are known.
    truths: Option<Vec<usize>>,
}

/// Predicts and prints the results.
pub(crate) fn predict(config: &PredictConfig) -> Result<(), Failure> {
    let model = read_model(&config.model)?;
    let batches = match &config.input {
        PredictInput::Files(files) => {
            files.iter().map(|file| from_file(config, &model, file)).collect::<Result<Vec<_>, _>>()?
        }
        PredictInput::Samples { data, count } => vec![from_data(config, &model, data, *count)?],
    };
    let answered = batches
        .into_iter()
        .map(|batch| {
            let answers = outputs(&model, &batch.data, &batch.source, available_threads().get())?;
            Ok((batch, answers))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    if config.json { as_json(&model, &answered) } else { as_text(&model, &answered) }
}

fn from_data(config: &PredictConfig, model: &ModelFile, data: &str, count: usize) -> Result<Batch, Failure> {
    let splits = load_data(data, &options_for(&config.format, model), config.json)?;
    let chosen: Vec<usize> = (0..splits.test.len().min(count)).collect();
    let data = splits.test.select(&chosen);
    let truths = chosen.iter().map(|&s| splits.test.label(s).map(|label| label as usize)).collect();
    Ok(Batch { source: splits.name, data, truths })
}

fn from_file(config: &PredictConfig, model: &ModelFile, path: &Path) -> Result<Batch, Failure> {
    let source = path.display().to_string();
    let width = model.model.input_width();
    if is_picture(path) {
        let Some((height, across)) = model.input.image else {
            return Err(Failure::data(format_args!(
                "{source} is a picture, but the model was not trained on pictures"
            ))
            .help("give a CSV, NPY or IDX file of samples"));
        };
        let mut field = Field::new(height, across);
        if model.input.data == "fashion-mnist" {
            // Images of Fashion-MNIST fill the field, unlike handwriting, which has a margin.
            field.fill = 1.0;
        }
        let invert = match config.invert {
            None => Invert::Auto,
            Some(true) => Invert::Yes,
            Some(false) => Invert::No,
        };
        let pixels = picture::load(path, field, invert).map_err(Failure::data)?;
        let data = unlabelled(model, Features::F32(pixels), 1, width)?;
        return Ok(Batch { source, data, truths: None });
    }
    let options = options_for(&config.format, model);
    let inputs = nn_data::load_inputs(path, width, &options)?;
    for note in &inputs.notes {
        warn(format_args!("{source}: {note}"));
    }
    let truths = inputs.labels.as_deref().and_then(|labels| classes_of(labels, &names(model)));
    Ok(Batch { source, data: unlabelled(model, inputs.features, inputs.samples, width)?, truths })
}

/// The class of each label; `None` if a label is not the name of a class.
fn classes_of(labels: &[String], names: &show::Names) -> Option<Vec<usize>> {
    let mut class_of = HashMap::new();
    for class in 0..names.len() {
        class_of.entry(names.name(class)).or_insert(class); // the first of two equal names counts
    }
    labels.iter().map(|label| class_of.get(label).copied()).collect()
}

/// A data set of samples without labels. Each gets the label 0, which prediction ignores.
fn unlabelled(
    model: &ModelFile,
    features: Features,
    samples: usize,
    width: usize,
) -> Result<Dataset, Failure> {
    let outputs = model.model.output_width();
    let targets = if model.input.classes.is_some() {
        Targets::Classes { labels: vec![0; samples], classes: outputs }
    } else {
        Targets::Values { data: vec![0.0; samples * outputs], width: outputs }
    };
    Dataset::new(features, width, targets, model.input.image).map_err(Failure::data)
}

/// Whether a file begins like a PNG or JPEG. An unreadable file is left to a reader that reports the error, and so is a
/// pipe, whose bytes could not be read again.
fn is_picture(path: &Path) -> bool {
    if is_pipe(path) {
        return false;
    }
    let mut start = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read(&mut start));
    read.is_ok_and(|n| {
        start[..n].starts_with(b"\x89PNG\r\n\x1a\n") || start[..n].starts_with(b"\xff\xd8\xff")
    })
}

/// The answers of a regression in the units of its targets.
fn in_units(model: &ModelFile, outputs: &[f32]) -> Vec<f64> {
    let targets = model.input.preparation.as_ref().map_or(&[][..], |preparation| &preparation.targets);
    let answer = |(at, &output): (usize, &f32)| match targets.get(at) {
        Some(target) => target.answer(output),
        None => f64::from(output),
    };
    outputs.iter().enumerate().map(answer).collect()
}

fn as_json(model: &ModelFile, answered: &[(Batch, Vec<f32>)]) -> Result<(), Failure> {
    let names = names(model);
    let width = model.model.output_width();
    let mut list = Vec::new();
    for (batch, answers) in answered {
        for (sample, outputs) in answers.chunks_exact(width).enumerate() {
            let mut entry = json!({ "source": batch.source, "sample": sample, "outputs": outputs });
            if model.input.preparation.as_ref().is_some_and(|preparation| !preparation.targets.is_empty()) {
                entry["outputs"] = json!(in_units(model, outputs));
            }
            if model.input.classes.is_some() {
                let best = predicted(outputs);
                entry["class"] = json!(names.name(best));
                entry["probability"] = json!(outputs[best]);
                if let Some(truths) = &batch.truths {
                    entry["truth"] = json!(names.name(truths[sample]));
                }
            }
            list.push(entry);
        }
    }
    let classes: Option<Vec<String>> =
        model.input.classes.is_some().then(|| (0..width).map(|c| names.name(c)).collect());
    write_stdout(format!("{}\n", json!({ "classes": classes, "predictions": list })))
}

fn as_text(model: &ModelFile, answered: &[(Batch, Vec<f32>)]) -> Result<(), Failure> {
    let (names, style, kind) = (names(model), style(), OutputKind::of(&model.model));
    let width = model.model.output_width();
    let mut text = String::new();
    for (batch, answers) in answered {
        if answered.len() > 1 {
            text += &format!("{}\n\n", batch.source);
        }
        let truth = |sample: usize| batch.truths.as_ref().map(|truths| truths[sample]);
        match (&model.input.classes, model.input.image) {
            (None, _) => {
                for (sample, outputs) in answers.chunks_exact(width).enumerate() {
                    let numbers: Vec<String> = in_units(model, outputs).iter().map(|x| format!("{x:.6}")).collect();
                    text += &format!("sample {sample}: {}\n", numbers.join(" "));
                }
            }
            (Some(_), Some(size)) if batch.data.len() == 1 => {
                let drawn = pixels(&batch.data, 0);
                let answer = show::Answer { outputs: answers, kind };
                text += &show::prediction(&drawn, size, answer, truth(0), 5, &names, &style);
                text.push('\n');
            }
            (Some(_), Some((height, across))) => {
                let drawn: Vec<Vec<f32>> = (0..batch.data.len()).map(|s| pixels(&batch.data, s)).collect();
                let tiles: Vec<show::Tile<'_>> = drawn
                    .iter()
                    .zip(answers.chunks_exact(width))
                    .enumerate()
                    .map(|(sample, (pixels, outputs))| {
                        let answer = predicted(outputs);
                        show::Tile { pixels, answer, confidence: outputs[answer], kind, truth: truth(sample) }
                    })
                    .collect();
                text += &show::gallery(&tiles, height, across, &names, &style);
                text.push('\n');
            }
            (Some(_), None) if batch.data.len() == 1 => {
                text += &show::probabilities(
                    show::Answer { outputs: answers, kind },
                    &names,
                    5,
                    truth(0),
                    &style,
                );
                text.push('\n');
            }
            (Some(_), None) => {
                for (sample, outputs) in answers.chunks_exact(width).enumerate() {
                    let best = predicted(outputs);
                    let confidence = style.confidence(outputs[best], kind);
                    text += &format!("sample {sample}: {} ({confidence})", names.name(best));
                    if let Some(truth) = truth(sample).filter(|&truth| truth != best) {
                        text += &format!(", actually {}", names.name(truth));
                    }
                    text.push('\n');
                }
            }
        }
        text.push('\n');
    }
    write_stdout(format!("{}\n", text.trim_end()))
}
