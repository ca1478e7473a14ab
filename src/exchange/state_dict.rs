//! PyTorch's `state_dict` of a chain of linear layers, in a safetensors file.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors};

use super::network::{Dense, Network, Scale};
use super::{ImportError, half};

/// A name as people sort it: runs of digits are numbers, so `10.weight` comes after `2.weight`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Number(u64),
    Text(String),
}

fn pieces(name: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(match piece.parse() {
            Ok(number) if is_digit => Piece::Number(number),
            _ => Piece::Text(piece.to_owned()),
        });
        rest = after;
    }
    pieces
}

/// The tensors of a module.
#[derive(Default)]
struct Module {
    weight: Option<(Vec<usize>, Vec<f32>)>,
    bias: Option<(Vec<usize>, Vec<f32>)>,
}

/// Reads the network, with what is to be said of it.
pub(super) fn read(bytes: &[u8]) -> Result<(Network, Vec<String>), ImportError> {
    let damaged = |error: safetensors::SafeTensorError| ImportError::Damaged(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    if header.metadata().as_ref().is_some_and(|map| map.contains_key("nn")) {
        return Err(ImportError::AlreadyOurs);
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut halves = false;
    let mut modules: BTreeMap<(Vec<Piece>, &str), Module> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let wrong = |problem: String| ImportError::Tensor { tensor: format!("`{name}`"), problem };
        let (module, part) = name.rsplit_once('.').unwrap_or(("", name));
        if part != "weight" && part != "bias" {
            return Err(wrong(
                "is neither a weight nor a bias of a linear layer or a layer normalisation".to_owned(),
            ));
        }
        let numbers = match view.dtype() {
            Dtype::F32 => {
                view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
            }
            Dtype::F16 => half::halves(view.data(), half::from_f16),
            Dtype::BF16 => half::halves(view.data(), half::from_bf16),
            other => return Err(wrong(format!("has numbers of type {other:?}, not F32, F16 or BF16"))),
        };
        halves |= view.dtype() != Dtype::F32;
        let tensor = Some((view.shape().to_vec(), numbers));
        let entry = modules.entry((pieces(module), module)).or_default();
        if part == "weight" { entry.weight = tensor } else { entry.bias = tensor }
    }
    let mut layers: Vec<Dense> = Vec::new();
    for ((_, name), Module { weight, bias }) in modules {
        let wrong =
            |part: &str, problem: String| ImportError::Tensor { tensor: format!("`{name}.{part}`"), problem };
        let (shape, weights) =
            weight.ok_or_else(|| wrong("weight", "is missing, but there is a bias".to_owned()))?;
        let bias = |width: usize| match &bias {
            None => Ok(vec![0.0; width]),
            Some((shape, numbers)) if shape[..] == [width] => Ok(numbers.clone()),
            Some((shape, _)) => Err(wrong("bias", format!("has the shape {shape:?}, not [{width}]"))),
        };
        match shape[..] {
            [outputs, inputs] if outputs > 0 && inputs > 0 => {
                let biases = bias(outputs)?;
                layers.push(Dense {
                    name: format!("`{name}`"),
                    inputs,
                    outputs,
                    weights,
                    biases,
                    norm: None,
                });
            }
            [width] if width > 0 => {
                let before = layers.last_mut().filter(|layer| layer.norm.is_none());
                let Some(layer) = before else {
                    return Err(wrong(
                        "weight",
                        "normalises, but no linear layer is right before it".to_owned(),
                    ));
                };
                if layer.outputs != width {
                    let problem = format!(
                        "normalises {width} units, but {} before it has {}",
                        layer.name, layer.outputs
                    );
                    return Err(wrong("weight", problem));
                }
                layer.norm = Some((weights, bias(width)?));
            }
            _ => {
                return Err(wrong(
                    "weight",
                    format!("has the shape {shape:?}, and so belongs to no linear layer"),
                ));
            }
        }
    }
    let network =
        Network { layers, activation: None, output: None, scale: Scale::NONE, each: None, image: None };
    Ok((network, halves.then(|| half::NOTE.to_owned()).into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let mut names = ["10", "2", "net.3", "net.12", "fc1", "fc10", "fc2", "99999999999999999999999", ""];
        names.sort_by_key(|name| pieces(name));
        let want = ["", "2", "10", "99999999999999999999999", "fc1", "fc2", "fc10", "net.3", "net.12"];
        assert_eq!(names, want);
    }
}
