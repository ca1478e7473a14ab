//! The units that weigh most in an answer, and what they look at.

use nn_core::{LayerLayout, layout};
use serde::Serialize;

use crate::store::ModelFile;

/// Units that are shown.
const UNITS: usize = 8;

/// Inputs of a table that are named for a unit.
const INPUTS: usize = 4;

/// A unit of the first layer that weighs in an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Reason {
    /// Its number in the layer; the class's own if there is no hidden layer.
    unit: usize,
    activation: f32,
    /// What it adds to the class's output before the output's function: its activation times the weights on the way there.
    pull: f32,
    /// Its weights from the inputs, from −100 to 100, for models of pictures.
    weights: Option<Vec<i8>>,
    /// The inputs that move it most, as name and product of value and weight, for models of tables.
    inputs: Vec<(String, f32)>,
}

/// Numbers as whole ones from −100 to 100, where 100 is the largest magnitude.
pub(super) fn scaled(numbers: &[f32]) -> Vec<i8> {
    let most = numbers.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    numbers.iter().map(|x| (x / most * 100.0).round() as i8).collect()
}

/// The units of the first hidden layer that pull most at output `about`, up or down, for the sample with these inputs and hidden
/// activations. In a network of one hidden layer the pull is exact. In deeper ones the weights on the way are multiplied
/// and summed over the units that are not 0: exact for ReLU, and roughly right for others.
pub(super) fn reasons(file: &ModelFile, inputs: &[f32], hidden: &[Vec<f32>], about: usize) -> Vec<Reason> {
    let layers = layout(&file.model);
    let params = file.model_params();
    let row = |layer: &LayerLayout, unit: usize| {
        &params[layer.weights.clone()][unit * layer.inputs..(unit + 1) * layer.inputs]
    };
    let Some((first, last)) = layers.first().zip(layers.last()) else { return Vec::new() };
    let reason = |unit: usize, activation: f32, pull: f32| {
        let weights = row(first, unit);
        Reason {
            unit,
            activation,
            pull,
            weights: file.input.image.map(|_| scaled(weights)),
            inputs: named(file, inputs, weights),
        }
    };
    let Some(activations) = hidden.first() else {
        let pull = row(last, about).iter().zip(inputs).map(|(w, x)| w * x).sum();
        return vec![reason(about, 1.0, pull)];
    };
    // The weights from each layer's units to the output, from the last hidden layer down to the first.
    let mut ways: Vec<f32> = row(last, about).to_vec();
    for (layer, above) in layers[1..layers.len() - 1].iter().zip(&hidden[1..]).rev() {
        let gains = &params[layer.gains.clone()];
        let mut below = vec![0.0; layer.inputs];
        for unit in (0..layer.outputs).filter(|&unit| above[unit] != 0.0) {
            let way = ways[unit] * gains.get(unit).copied().unwrap_or(1.0);
            below.iter_mut().zip(row(layer, unit)).for_each(|(sum, weight)| *sum += way * weight);
        }
        ways = below;
    }
    let pull = |unit: usize| activations[unit] * ways[unit];
    let mut units: Vec<usize> = (0..activations.len()).collect();
    units.sort_by(|&a, &b| pull(b).abs().total_cmp(&pull(a).abs()).then(a.cmp(&b)));
    units.truncate(UNITS);
    units.into_iter().map(|unit| reason(unit, activations[unit], pull(unit))).collect()
}

/// The inputs of a table that move a unit most.
fn named(file: &ModelFile, inputs: &[f32], weights: &[f32]) -> Vec<(String, f32)> {
    let Some(preparation) = &file.input.preparation else { return Vec::new() };
    let mut all: Vec<(String, f32)> =
        preparation.input_names().into_iter().zip(inputs.iter().zip(weights).map(|(x, w)| x * w)).collect();
    all.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    all.truncate(INPUTS);
    all
}
