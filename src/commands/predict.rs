//! `nn predict`: predict with a trained model, from pictures and other samples.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nn_core::{Dataset, Features};
use serde_json::json;

use super::inference::{PICTURE_START, field_of, has_units, in_units, is_picture, unlabelled};
use super::{is_pipe, load_data, names, options_for, outputs, pixels, read_model, style};
use crate::config::defaults::available_threads;
use crate::config::{PredictConfig, PredictInput};
use crate::failure::{Failure, write_stdout};
use crate::metrics::{OutputKind, predicted};
use crate::picture::{self, Invert, Picture};
use crate::progress::warn;
use crate::show;
use crate::store::ModelFile;

/// Samples of one file or data set to predict for.
struct Batch {
    source: String,
    data: Dataset,
    /// The true classes, if they are known.
    truths: Option<Vec<usize>>,
    /// Number of pieces of ink that look like digits, if it is a picture.
    pieces: usize,
}

/// A batch with its answers, or a file that could not be read.
type Answered = Result<(Batch, Vec<f32>), Unread>;

/// A file that could not be read.
struct Unread {
    source: String,
    error: String,
}

/// Predicts and prints the results.
pub(crate) fn predict(config: &PredictConfig) -> Result<(), Failure> {
    let model = read_model(&config.model)?;
    let answer = |batch: Batch| -> Result<(Batch, Vec<f32>), Failure> {
        let answers = outputs(&model, &batch.data, &batch.source, available_threads().get())?;
        Ok((batch, answers))
    };
    let answered: Vec<Answered> = match &config.input {
        PredictInput::Samples { data, count } => vec![Ok(answer(from_data(config, &model, data, *count)?)?)],
        PredictInput::Files(files) => {
            let files = with_folders(files)?;
            let read = |file: &PathBuf| from_file(config, &model, file).and_then(answer);
            match &files[..] {
                [file] => vec![Ok(read(file)?)],
                // One bad file among many must not keep the answers for the others.
                _ => files.iter().map(|file| read(file).map_err(|failure| unread(file, &failure))).collect(),
            }
        }
    };
    let (failed, all) = (answered.iter().filter(|file| file.is_err()).count(), answered.len());
    if config.json {
        as_json(&model, &answered)?;
    } else if failed < all {
        as_text(&model, &answered)?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::data(format_args!("{failed} of {all} files could not be read"))
            .help("correct the files that the warnings name; the others were answered")),
    }
}

/// Warns of a file that could not be read.
fn unread(file: &Path, failure: &Failure) -> Unread {
    let error = failure.message().to_owned();
    match failure.remedy() {
        Some(remedy) => warn(format_args!("{error}; {remedy}")),
        None => warn(&error),
    }
    Unread { source: file.display().to_string(), error }
}

/// The files, with the pictures of a folder in its place, sorted by name.
fn with_folders(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for file in files {
        if !file.is_dir() {
            all.push(file.clone());
            continue;
        }
        let unreadable =
            |error| Failure::data(format_args!("cannot list the folder {}: {error}", file.display()));
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(file).map_err(unreadable)? {
            inside.push(entry.map_err(unreadable)?.path());
        }
        inside.retain(|path| has_name_of_picture(path) && !path.is_dir());
        if inside.is_empty() {
            return Err(Failure::data(format_args!("the folder {} holds no pictures", file.display()))
                .help("give a folder of PNG or JPEG pictures, or files of samples; nn eval --data takes folders of data sets"));
        }
        inside.sort_unstable();
        all.extend(inside);
    }
    Ok(all)
}

/// Whether a file in a folder is called like a picture. Those that cannot be read are reported, not passed over.
fn has_name_of_picture(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    !hidden
        && ["png", "jpg", "jpeg", "gif", "webp", "bmp", "heic", "tif", "tiff", "avif"].contains(&&ending[..])
}

fn from_data(config: &PredictConfig, model: &ModelFile, data: &str, count: usize) -> Result<Batch, Failure> {
    let splits = load_data(data, &options_for(&config.format, model), config.json)?;
    let chosen: Vec<usize> = (0..splits.test.len().min(count)).collect();
    let data = splits.test.select(&chosen);
    let truths = chosen.iter().map(|&s| splits.test.label(s).map(|label| label as usize)).collect();
    Ok(Batch { source: splits.name, data, truths, pieces: 1 })
}

fn from_file(config: &PredictConfig, model: &ModelFile, path: &Path) -> Result<Batch, Failure> {
    let source = path.display().to_string();
    let width = model.model.input_width();
    if is_picture_file(path) {
        let invert = match config.invert {
            None => Invert::Auto,
            Some(true) => Invert::Yes,
            Some(false) => Invert::No,
        };
        let field = field_of(model, invert, &source)?;
        let Picture { pixels, pieces } = picture::load(path, field, invert).map_err(Failure::data)?;
        if pieces > 1 {
            warn(format_args!(
                "{source}: this picture has {pieces} separate pieces of ink that look like digits; it is answered as one. \
                 Crop them"
            ));
        }
        let data = unlabelled(model, Features::F32(pixels), 1, width).map_err(Failure::data)?;
        return Ok(Batch { source, data, truths: None, pieces });
    }
    let options = options_for(&config.format, model);
    let inputs = nn_data::load_inputs(path, width, &options)?;
    for note in &inputs.notes {
        warn(format_args!("{source}: {note}"));
    }
    let truths = inputs.labels.as_deref().and_then(|labels| classes_of(labels, &names(model)));
    let data = unlabelled(model, inputs.features, inputs.samples, width).map_err(Failure::data)?;
    Ok(Batch { source, data, truths, pieces: 1 })
}

/// The class of each label; `None` if a label is not the name of a class.
fn classes_of(labels: &[String], names: &show::Names) -> Option<Vec<usize>> {
    let mut class_of = HashMap::new();
    for class in 0..names.len() {
        class_of.entry(names.name(class)).or_insert(class); // the first of two equal names counts
    }
    labels.iter().map(|label| class_of.get(label).copied()).collect()
}

/// Whether a file begins like a PNG or JPEG. An unreadable file is left to a reader that reports the error, and so is a
/// pipe, whose bytes could not be read again.
fn is_picture_file(path: &Path) -> bool {
    if is_pipe(path) {
        return false;
    }
    let mut start = [0; PICTURE_START];
    let read = File::open(path).and_then(|mut file| file.read(&mut start));
    read.is_ok_and(|n| is_picture(&start[..n]))
}

fn as_json(model: &ModelFile, answered: &[Answered]) -> Result<(), Failure> {
    let names = names(model);
    let width = model.model.output_width();
    let mut list = Vec::new();
    for file in answered {
        let (batch, answers) = match file {
            Ok(file) => file,
            Err(Unread { source, error }) => {
                list.push(json!({ "source": source, "error": error }));
                continue;
            }
        };
        for (sample, outputs) in answers.chunks_exact(width).enumerate() {
            let mut entry = json!({ "source": batch.source, "sample": sample, "outputs": outputs });
            if has_units(model) {
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
            if batch.pieces > 1 {
                entry["pieces"] = json!(batch.pieces);
            }
            list.push(entry);
        }
    }
    let classes: Option<Vec<String>> =
        model.input.classes.is_some().then(|| (0..width).map(|c| names.name(c)).collect());
    write_stdout(format!("{}\n", json!({ "classes": classes, "predictions": list })))
}

fn as_text(model: &ModelFile, answered: &[Answered]) -> Result<(), Failure> {
    let (names, style, kind) = (names(model), style(), OutputKind::of(&model.model));
    let width = model.model.output_width();
    let mut text = String::new();
    for (batch, answers) in answered.iter().flatten() {
        if answered.len() > 1 {
            text += &format!("{}\n\n", batch.source);
        }
        let truth = |sample: usize| batch.truths.as_ref().map(|truths| truths[sample]);
        match (&model.input.classes, model.input.image) {
            (None, _) => {
                for (sample, outputs) in answers.chunks_exact(width).enumerate() {
                    let numbers: Vec<String> =
                        in_units(model, outputs).iter().map(|x| format!("{x:.6}")).collect();
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
