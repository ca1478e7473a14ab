//! Answers for the page: to a picture or a file of samples, with what the network saw and what went on inside it.

use std::path::Path;

use axum::http::StatusCode;
use nn_core::{Dataset, Features, Workspace};
use nn_data::read_inputs;
use serde::Serialize;

use super::Answered;
use super::infer::samples;
use super::model::Served;
use super::protocol::{Exact, Request};
use super::reasons::{Reason, reasons, scaled};
use crate::commands::inference::{PICTURE_START, field_of, has_units, in_units, is_picture, unlabelled};
use crate::commands::pixels;
use crate::failure::Failure;
use crate::http::Refusal;
use crate::metrics::predicted;
use crate::picture::{Invert, Picture, from_bytes_within};

/// The most pixels of a picture. The page scales larger ones down before it sends them.
pub(super) const MOST_PIXELS: usize = 4_000_000;

/// The longest first line of a file. Each cell of it takes more memory than its bytes.
const LONGEST_LINE: usize = 1 << 20;

/// The most samples of a file whose answers the page shows.
const SHOWN: usize = 200;

/// The answer to a picture or a file.
#[derive(Debug, Serialize)]
struct Page<'a> {
    /// The number of samples.
    samples: usize,
    /// The answers to the first samples.
    answers: Vec<Answer<'a>>,
    /// What there is to say about the file.
    notes: &'a [String],
    /// The first sample, if it is a picture: pixels from 0 for paper to 255 for ink, row by row.
    seen: Option<Vec<u8>>,
    /// The activations of each hidden layer for the first sample.
    layers: Vec<Layer>,
    /// The class, or the number, that `reasons` are about.
    about: usize,
    reasons: Vec<Reason>,
}

/// The answer to one sample.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    outputs: Numbers<'a>,
    /// The most likely class; without classes there is none.
    class: Option<usize>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    Outputs(Exact<'a>),
    Units(Vec<f64>),
}

/// The activations of a layer, from −100 to 100 where 100 is the largest magnitude.
#[derive(Debug, Serialize)]
struct Layer {
    activations: Vec<i8>,
    largest: f32,
}

/// The samples of a body, and what there is to say about them.
pub(super) type Samples = (Dataset, Vec<String>);

/// The answer to samples, in JSON.
pub(super) fn answer(
    served: &Served,
    workspace: &mut Workspace,
    (data, notes): &Samples,
    class: Option<usize>,
) -> Result<Answered, Refusal> {
    let (model, params) = (&served.file.model, served.file.model_params());
    let most = served.most_samples();
    if data.len() > most {
        let error = format_args!("the file has {} samples; the page takes at most {most}", data.len());
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let width = model.output_width();
    let shown = data.len().min(SHOWN);
    let outputs = workspace.outputs(params, data, 0..shown).map_err(Refusal::bad)?;
    let hidden = workspace.hidden_activations(params, data, 0).map_err(Refusal::bad)?;
    let about = match class {
        Some(class) if class < width => class,
        Some(class) => {
            return Err(Refusal::bad(format_args!("the model has no class {class}, only {width} of them")));
        }
        None if served.has_classes() => predicted(&outputs[..width]),
        None => 0,
    };
    let answer = |row| Answer {
        outputs: if has_units(&served.file) {
            Numbers::Units(in_units(&served.file, row))
        } else {
            Numbers::Outputs(Exact(row))
        },
        class: served.has_classes().then(|| predicted(row)),
    };
    let page = Page {
        samples: data.len(),
        answers: outputs.chunks_exact(width).map(answer).collect(),
        notes,
        seen: data
            .image()
            .map(|_| pixels(data, 0).iter().map(|&x| (x.clamp(0.0, 1.0) * 255.0).round() as u8).collect()),
        layers: hidden.iter().map(|layer| layer_of(layer)).collect(),
        about,
        reasons: reasons(&served.file, &pixels(data, 0), &hidden, about),
    };
    let json = serde_json::to_vec(&page).map_err(Refusal::bad)?;
    Ok(Answered { json, samples: shown })
}

fn layer_of(activations: &[f32]) -> Layer {
    let largest = activations.iter().fold(0.0_f32, |most, a| most.max(a.abs()));
    Layer { activations: scaled(activations), largest }
}

/// The samples of a row that was filled in, sent as an inference request.
pub(super) fn row(served: &Served, body: &[u8]) -> Result<Samples, Refusal> {
    samples(served, &Request::parse(body)?.inputs)
}

/// The samples of a picture or a file, exactly as `nn predict` reads a file with these bytes. A few
/// that would take much memory are refused.
pub(super) fn file(served: &Served, body: Vec<u8>) -> Result<Samples, Refusal> {
    let width = served.file.model.input_width();
    if is_picture(&body[..body.len().min(PICTURE_START)]) {
        let name = "the picture";
        let field = field_of(&served.file, Invert::Auto, name)?;
        let Picture { pixels, pieces } =
            from_bytes_within(&body, Path::new(name), field, Invert::Auto, MOST_PIXELS)
                .map_err(Refusal::bad)?;
        let notes = (pieces > 1)
            .then(|| format!("{pieces} separate pieces of ink look like digits; they are answered as one"));
        let data = unlabelled(&served.file, Features::F32(pixels), 1, width).map_err(Refusal::bad)?;
        return Ok((data, notes.into_iter().collect()));
    }
    if body.starts_with(&[0x1f, 0x8b]) {
        return Err(Refusal::bad("the file is packed with gzip; unpack it first"));
    }
    let is_text = !body[..body.len().min(LONGEST_LINE)].contains(&0);
    if is_text && body.len() > LONGEST_LINE && !body[..LONGEST_LINE].contains(&b'\n') {
        return Err(Refusal::bad("the file's first line has more than 1 MiB, and so too many columns"));
    }
    let inputs = read_inputs("the file", body, width, &served.options).map_err(Failure::from)?;
    let data = unlabelled(&served.file, inputs.features, inputs.samples, width).map_err(Refusal::bad)?;
    Ok((data, inputs.notes))
}

/// The class that the query of an address asks about, as in `?class=3`.
pub(super) fn class_of(query: Option<&str>) -> Result<Option<usize>, Refusal> {
    let class = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("class=")));
    let parse =
        |class: &str| class.parse().map_err(|_| Refusal::bad("class must be the number of a class, from 0"));
    class.map(parse).transpose()
}
