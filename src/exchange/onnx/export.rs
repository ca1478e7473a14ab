//! From a model to an ONNX file.

use nn_core::{Activation, LayerLayout, Normalization, Output, Precision, layout};
use prost::Message;
use serde_json::json;
use thiserror::Error;

use super::columns::prepared;
use super::graph::{Graph, ML, Value};
use super::proto::{Entry, ModelProto, OperatorSet, data_type};
use crate::store::ModelFile;

/// The version of the file format. With the operators' versions it is what runtimes since the end of 2022 read.
const IR_VERSION: i64 = 8;
/// The version of the standard operators: the first with LayerNormalization.
const OPSET: i64 = 17;
/// The version of the operators of [`ML`].
const ML_OPSET: i64 = 3;

/// The most bytes of a file: protobuf's readers take no more.
pub(super) const LARGEST_FILE: usize = i32::MAX as usize;

/// The entry of the metadata with what the graph does not say: the same text as in our own model files.
pub(super) const OWN: &str = "nn";

/// Why a model cannot be written as ONNX.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ExportError {
    #[error("the model has {parameters} parameters, too many for one ONNX file, which holds at most 2 GiB")]
    TooLarge { parameters: usize },
    #[error("the model's metadata cannot be written: {0}")]
    Metadata(std::io::Error),
}

/// A finished model as the bytes of an ONNX file. The same model always gives the same bytes.
///
/// The graph takes what the user has and gives what the user wants: pixels from 0 to 255 or the columns of a table by name, and
/// `outputs` with, for classes, `label`. In a regression on a table the outputs have the units of the targets.
///
/// # Errors
/// A model of more than 2 GiB.
pub fn to_onnx(model: &ModelFile) -> Result<Vec<u8>, ExportError> {
    let parameters = model.params.len();
    if parameters >= LARGEST_FILE / 4 {
        return Err(ExportError::TooLarge { parameters });
    }
    let mut metadata =
        vec![Entry { key: OWN.to_owned(), value: model.metadata().map_err(ExportError::Metadata)? }];
    if let Some(classes) = &model.input.classes {
        metadata.push(Entry { key: "classes".to_owned(), value: json!(classes).to_string() });
    }
    let graph = graph(model).finish("network");
    let opset = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
    let mut opset_import = vec![opset("", OPSET)];
    if graph.node.iter().any(|node| node.domain == ML) {
        opset_import.push(opset(ML, ML_OPSET));
    }
    let file = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "nn".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!("trained on {}", model.input.data),
        graph: Some(graph),
        opset_import,
        metadata_props: metadata,
    };
    if file.encoded_len() > LARGEST_FILE {
        return Err(ExportError::TooLarge { parameters });
    }
    Ok(file.encode_to_vec())
}

fn graph(file: &ModelFile) -> Graph {
    let (model, mut graph) = (&file.model, Graph::default());
    let layers = layout(model);
    // Their names are fixed, since a reader finds the weights by them; so they come before those of columns.
    let weights: Vec<Weights> = layers
        .iter()
        .enumerate()
        .map(|(l, layer)| Weights::add(&mut graph, l, layer, &file.params))
        .collect();
    let mut a = inputs(&mut graph, file);
    for (l, weights) in weights.iter().enumerate() {
        let z = weighted(&mut graph, l, (&a, weights), model.precision());
        if l + 1 == layers.len() {
            a = z;
            break;
        }
        let z = match (&weights.norm, model.normalization()) {
            (Some((gains, shifts)), Normalization::Layer) => {
                let constants = [("axis", Value::Int(-1)), ("epsilon", Value::Float(Normalization::EPSILON))];
                graph.node(
                    "LayerNormalization",
                    &format!("layers.{l}.norm"),
                    &[&z, gains, shifts],
                    &constants,
                )
            }
            _ => z,
        };
        a = activated(&mut graph, &format!("layers.{l}"), &z, model.activation());
    }
    outputs(&mut graph, file, &a);
    graph
}

/// The names of a layer's parameters.
struct Weights {
    weight: String,
    bias: String,
    norm: Option<(String, String)>,
}

impl Weights {
    fn add(graph: &mut Graph, l: usize, layer: &LayerLayout, params: &[f32]) -> Self {
        let mut add = |name: &str, shape: &[usize], range: std::ops::Range<usize>| {
            graph.floats(&format!("layers.{l}.{name}"), shape, &params[range])
        };
        Self {
            weight: add("weight", &[layer.outputs, layer.inputs], layer.weights.clone()),
            bias: add("bias", &[layer.outputs], layer.biases.clone()),
            norm: (!layer.gains.is_empty()).then(|| {
                let gains = add("norm.weight", &[layer.outputs], layer.gains.clone());
                (gains, add("norm.bias", &[layer.outputs], layer.shifts.clone()))
            }),
        }
    }
}

/// The network's inputs, from the user's.
fn inputs(graph: &mut Graph, file: &ModelFile) -> String {
    let (model, input) = (&file.model, &file.input);
    let mut x = if let Some(preparation) = &input.preparation {
        prepared(graph, preparation)
    } else {
        let width = model.input_width();
        let shape = input.image.map_or_else(|| vec![width], |(height, across)| vec![height, across]);
        let about = match (input.image, input.scale) {
            (Some(_), Some(255.0)) => "pictures, with pixels from 0 to 255".to_owned(),
            (Some(_), _) => "pictures, with pixels as in training".to_owned(),
            (None, Some(scale)) => format!("numbers as in the data, from 0 to {scale}"),
            (None, None) => "numbers as in the data".to_owned(),
        };
        let name = if input.image.is_some() { "pixels" } else { "x" };
        let x = graph.input(name, data_type::FLOAT, &shape, &about);
        let x = match input.image {
            Some(_) => graph.node("Flatten", "pixels.flat", &[&x], &[("axis", Value::Int(1))]),
            None => x,
        };
        match input.scale {
            Some(scale) => {
                let factor = graph.floats("scale.factor", &[], &[1.0 / scale]);
                graph.node("Mul", "scaled", &[&x, &factor], &[])
            }
            None => x,
        }
    };
    if let Some(scale) = model.input_scale() {
        let mean = graph.floats("mean", &[], &[scale.mean()]);
        let factor = graph.floats("deviation.reciprocal", &[], &[1.0 / scale.deviation()]);
        x = graph.node("Sub", "centred", &[&x, &mean], &[]);
        x = graph.node("Mul", "standardised", &[&x, &factor], &[]);
    }
    x
}

/// The weighted inputs of layer `l`: z = aWᵀ + b.
fn weighted(graph: &mut Graph, l: usize, (a, weights): (&str, &Weights), precision: Precision) -> String {
    let mut operand = |value: &str, name: String| match precision {
        Precision::F32 => value.to_owned(),
        Precision::Bf16 => {
            let to = |kind: i32| [("to", Value::Int(i64::from(kind)))];
            let rounded = graph.node("Cast", &format!("{name}.bf16"), &[value], &to(data_type::BFLOAT16));
            graph.node("Cast", &format!("{name}.rounded"), &[&rounded], &to(data_type::FLOAT))
        }
    };
    let (a, weight) =
        (operand(a, format!("layers.{l}.input")), operand(&weights.weight, weights.weight.clone()));
    graph.node("Gemm", &format!("layers.{l}.z"), &[&a, &weight, &weights.bias], &[("transB", Value::Int(1))])
}

/// σ(z); GELU and SiLU in operators that every runtime has.
fn activated(graph: &mut Graph, layer: &str, z: &str, activation: Activation) -> String {
    let name = format!("{layer}.a");
    match activation {
        Activation::Sigmoid => graph.node("Sigmoid", &name, &[z], &[]),
        Activation::Relu => graph.node("Relu", &name, &[z], &[]),
        Activation::Tanh => graph.node("Tanh", &name, &[z], &[]),
        Activation::LeakyRelu => {
            graph.node("LeakyRelu", &name, &[z], &[("alpha", Value::Float(Activation::LEAK))])
        }
        Activation::Silu => {
            let sigmoid = graph.node("Sigmoid", &format!("{layer}.sigmoid"), &[z], &[]);
            graph.node("Mul", &name, &[z, &sigmoid], &[])
        }
        Activation::Gelu => {
            // z · (1 + erf(z/√2))/2
            let [root, one, half] = [std::f32::consts::FRAC_1_SQRT_2, 1.0, 0.5]
                .map(|number| graph.floats(&format!("{layer}.constant"), &[], &[number]));
            let scaled = graph.node("Mul", &format!("{layer}.scaled"), &[z, &root], &[]);
            let erf = graph.node("Erf", &format!("{layer}.erf"), &[&scaled], &[]);
            let sum = graph.node("Add", &format!("{layer}.sum"), &[&erf, &one], &[]);
            let phi = graph.node("Mul", &format!("{layer}.phi"), &[&sum, &half], &[]);
            graph.node("Mul", &name, &[z, &phi], &[])
        }
    }
}

/// The outputs of the graph, from the last layer's weighted inputs.
fn outputs(graph: &mut Graph, file: &ModelFile, z: &str) {
    let (model, width) = (&file.model, file.model.output_width());
    let targets = file.input.preparation.as_ref().map_or(&[][..], |preparation| &preparation.targets);
    let name = if targets.is_empty() { "outputs" } else { "layers.outputs" };
    let a = match model.output() {
        Output::Sigmoid => graph.node("Sigmoid", name, &[z], &[]),
        Output::Softmax => graph.node("Softmax", name, &[z], &[("axis", Value::Int(-1))]),
        Output::Linear => graph.node("Identity", name, &[z], &[]),
    };
    let kind = match model.output() {
        Output::Softmax => "the probability of each class",
        _ if file.input.classes.is_some() => "the network's output for each class",
        _ => "the answers",
    };
    if !targets.is_empty() {
        let scales: (Vec<f64>, Vec<f64>) =
            targets.iter().map(|target| (target.deviation, target.mean)).unzip();
        let deviations = graph.doubles("targets.deviations", &[width], &scales.0);
        let means = graph.doubles("targets.means", &[width], &scales.1);
        let double = [("to", Value::Int(i64::from(data_type::DOUBLE)))];
        let exact = graph.node("Cast", "outputs.double", &[&a], &double);
        let scaled = graph.node("Mul", "outputs.scaled", &[&exact, &deviations], &[]);
        let answers = graph.node("Add", "outputs", &[&scaled, &means], &[]);
        graph.output(&answers, data_type::DOUBLE, &[width], "the answers in the units of the targets");
        return;
    }
    graph.output(&a, data_type::FLOAT, &[width], kind);
    if let Some(classes) = &file.input.classes {
        // Of equal outputs the first counts, as for `nn predict`.
        let best = [("axis", Value::Int(1)), ("keepdims", Value::Int(0))];
        let best = graph.node("ArgMax", "best", &[&a], &best);
        let names = graph.texts("classes", classes);
        let label = graph.node("Gather", "label", &[&names, &best], &[]);
        graph.output(&label, data_type::STRING, &[], "the class with the largest output");
    }
}
