//! Answers to inference requests.

use nn_core::{Features, Workspace};

use super::Answered;
use super::answer::Samples;
use super::columns;
use super::model::{CLASS, INPUT, OUTPUTS, Served};
use super::protocol::{Answers, Exact, Input, Parameters, Request, Response, Tensor};
use super::tensor::Elements;
use crate::commands::inference::{has_units, in_units, unlabelled};
use crate::http::Refusal;
use crate::metrics::predicted;

/// The answer to a request's body, in JSON.
pub(super) fn answer(served: &Served, workspace: &mut Workspace, body: Vec<u8>) -> Result<Answered, Refusal> {
    let request = Request::parse(&body)?;
    drop(body);
    let wanted = wanted(served, &request)?;
    let (data, notes) = samples(served, &request.inputs)?;
    drop(request.inputs);
    let outputs =
        workspace.outputs(served.file.model_params(), &data, 0..data.len()).map_err(Refusal::bad)?;
    let (n, width) = (data.len(), served.file.model.output_width());
    let units = if has_units(&served.file) {
        outputs.chunks_exact(width).flat_map(|row| in_units(&served.file, row)).collect()
    } else {
        Vec::new()
    };
    let classes: Vec<String> = if wanted.contains(&CLASS) {
        outputs.chunks_exact(width).map(|row| served.names.name(predicted(row))).collect()
    } else {
        Vec::new()
    };
    let tensor = |name: &'static str| match name {
        CLASS => Tensor {
            name,
            shape: vec![n],
            datatype: "BYTES",
            data: Answers::Texts(classes.iter().map(String::as_str).collect()),
        },
        _ => {
            let data =
                if units.is_empty() { Answers::Single(Exact(&outputs)) } else { Answers::Double(&units) };
            Tensor { name, shape: vec![n, width], datatype: served.outputs_datatype(), data }
        }
    };
    let response = Response {
        model_name: &served.name,
        model_version: &served.version,
        id: request.id.as_deref(),
        parameters: (!notes.is_empty()).then(|| Parameters { notes: notes.join("; ") }),
        outputs: wanted.into_iter().map(tensor).collect(),
    };
    let json = serde_json::to_vec(&response).map_err(Refusal::bad)?;
    Ok(Answered { json, samples: n })
}

/// The outputs that a request wants, in its order.
fn wanted(served: &Served, request: &Request) -> Result<Vec<&'static str>, Refusal> {
    let all: &[&'static str] = if served.has_classes() { &[OUTPUTS, CLASS] } else { &[OUTPUTS] };
    if request.outputs.is_empty() {
        return Ok(all.to_vec());
    }
    if request.outputs.len() > all.len() {
        return Err(Refusal::bad("more outputs are wanted than there are"));
    }
    let known = |name: &String| all.iter().copied().find(|known| known == name);
    let wanted = request.outputs.iter().map(|output| {
        known(&output.name).ok_or_else(|| {
            Refusal::bad(format_args!(
                "the model has no output {:?}; it has {}",
                output.name,
                all.join(" and ")
            ))
        })
    });
    wanted.collect()
}

/// The samples of a request, and what is odd about them.
pub(super) fn samples(served: &Served, inputs: &[Input]) -> Result<Samples, Refusal> {
    let width = served.file.model.input_width();
    if !served.columns.is_empty() {
        let inputs = columns::samples(served, inputs)?;
        let data = unlabelled(&served.file, inputs.features, inputs.samples, width).map_err(Refusal::bad)?;
        return Ok((data, inputs.notes));
    }
    let [input] = inputs else {
        return Err(Refusal::bad(format_args!("the model has one input, {INPUT:?}, not {}", inputs.len())));
    };
    let Input { name, shape, datatype, data } = input;
    if name != INPUT {
        return Err(Refusal::bad(format_args!("the model has no input {name:?}, only {INPUT:?}")));
    }
    if datatype != "FP32" {
        return Err(Refusal::bad(format_args!("the input takes the datatype FP32, not {datatype:?}")));
    }
    input.check_shape()?;
    if shape.first() == Some(&0) {
        return Err(Refusal::bad("the request has no samples"));
    }
    let Elements::Numbers(numbers) = &data.elements else {
        return Err(Refusal::bad("the input takes numbers"));
    };
    // A picture may be sent with its height and width as dimensions.
    let [n, sides @ ..] = &shape[..] else { return Err(Refusal::bad("the input's shape has no samples")) };
    let features = sides.iter().try_fold(1_usize, |all, &side| all.checked_mul(side));
    if sides.is_empty() || features != Some(width) {
        return Err(Refusal::bad(format_args!(
            "the input must have the shape [samples, {width}], not {shape:?}"
        )));
    }
    let most = served.most_samples();
    if *n > most {
        return Err(Refusal::bad(format_args!("a request may have at most {most} samples, not {n}")));
    }
    if let Some(at) = numbers.iter().position(|&x| !(x as f32).is_finite()) {
        return Err(Refusal::bad(format_args!(
            "sample {} has a value in feature {} that is not a finite number of FP32",
            at / width,
            at % width
        )));
    }
    let numbers = numbers.iter().map(|&x| x as f32).collect();
    let data = unlabelled(&served.file, Features::F32(numbers), *n, width).map_err(Refusal::bad)?;
    Ok((data, Vec::new()))
}
