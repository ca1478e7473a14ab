//! The chain from the output back to the inputs, once every value is known.

use nn_core::{Activation, Output};

use super::{Base, Chain, HALF_NORMALIZED, Value, repeat};
use crate::exchange::ImportError;
use crate::exchange::network::{Dense, Network, Scale};
use crate::exchange::onnx::inputs::{lengths, scale};

impl Chain<'_> {
    /// The chain that ends in `output`.
    pub(super) fn network(mut self, output: &str) -> Result<Network, ImportError> {
        let mut signal = match self.values.get(output) {
            Some(Value::Signal(signal)) => signal.clone(),
            Some(Value::Other(error)) => return Err(repeat(error)),
            _ => return Err(ImportError::NoLayers),
        };
        let Base::Layer(last, _) = signal.base else { return Err(ImportError::NoLayers) };
        let name = self.layers[last].dense.name.clone();
        if signal.function.is_joint() {
            return Err(ImportError::Layer { layer: name, problem: HALF_NORMALIZED.to_owned() });
        }
        let output = match (signal.softmax, signal.function.is_identity(), signal.function.activation()) {
            (true, ..) => Output::Softmax,
            (false, true, _) => Output::Linear,
            (false, false, Some(Activation::Sigmoid)) => Output::Sigmoid,
            _ => {
                let problem = "gives the outputs, and is followed by neither softmax nor sigmoid".to_owned();
                return Err(ImportError::Layer { layer: name, problem });
            }
        };
        let (mut layers, mut activation) = (Vec::new(), None);
        while let Base::Layer(at, stage) = signal.base {
            let found = &mut self.layers[at];
            if stage != found.stage {
                let problem = "is used before and after its biases or its normalisation".to_owned();
                return Err(ImportError::Layer { layer: found.dense.name.clone(), problem });
            }
            let from = found.from.clone();
            let empty = Dense {
                name: String::new(),
                inputs: 0,
                outputs: 0,
                weights: Vec::new(),
                biases: Vec::new(),
                norm: None,
            };
            layers.push(std::mem::replace(&mut found.dense, empty));
            if let Base::Layer(before, _) = from.base {
                let name = &self.layers[before].dense.name;
                let problem = |problem: String| ImportError::Layer { layer: name.clone(), problem };
                if from.function.is_joint() {
                    return Err(problem(HALF_NORMALIZED.to_owned()));
                }
                let of_layer = from.function.activation().filter(|_| !from.softmax);
                let of_layer =
                    of_layer.ok_or_else(|| problem("is followed by no activation that nn has".to_owned()))?;
                if activation.replace(of_layer).is_some_and(|of_next| of_next != of_layer) {
                    return Err(problem(format!(
                        "is followed by {of_layer}, and a later one by another activation; nn has one for all"
                    )));
                }
            }
            signal = from;
        }
        layers.reverse();
        let shaped = || ImportError::Layer {
            layer: layers[0].name.clone(),
            problem: "takes inputs that are more than shifted and scaled".to_owned(),
        };
        if signal.softmax {
            return Err(shaped());
        }
        let (input, scale, each) = match signal.base {
            Base::Each(which) => {
                let each = self.each.swap_remove(which).with(&signal.function).ok_or_else(shaped)?;
                if let Some(input) = each.unsound() {
                    let problem = format!("takes input {input} scaled by a number that is not above 0");
                    return Err(ImportError::Layer { layer: layers[0].name.clone(), problem });
                }
                if each.features.len() != layers[0].inputs {
                    let (scaled, inputs) = (each.features.len(), layers[0].inputs);
                    let problem = format!("takes {inputs} numbers, but {scaled} are scaled before it");
                    return Err(ImportError::Layer { layer: layers[0].name.clone(), problem });
                }
                (each.input, Scale::NONE, Some(each.features))
            }
            Base::Input(input) => (input, scale(&signal.function).ok_or_else(shaped)?, None),
            Base::Layer(..) => return Err(ImportError::NoLayers),
        };
        let image = self.image(input, layers[0].inputs)?;
        Ok(Network { layers, activation, output: Some(output), scale, each, image })
    }

    /// The height and width of pictures, if the graph's input has them; the first layer takes `inputs` numbers.
    fn image(&self, input: usize, inputs: usize) -> Result<Option<(usize, usize)>, ImportError> {
        let lengths = lengths(&self.graph.input[input]);
        let Some(of_sample) = lengths.get(1..) else { return Ok(None) };
        let Some(of_sample) = of_sample.iter().copied().collect::<Option<Vec<usize>>>() else {
            return Ok(None);
        };
        if of_sample.iter().try_fold(1_usize, |product, &length| product.checked_mul(length)) != Some(inputs)
        {
            let name = &self.graph.input[input].name;
            let problem = format!(
                "takes {inputs} numbers, but the input {name:?} has the shape {of_sample:?} a sample"
            );
            return Err(ImportError::Layer { layer: "1".to_owned(), problem });
        }
        Ok(match of_sample[..] {
            [height, width] | [1, height, width] | [height, width, 1] if height > 1 && width > 1 => {
                Some((height, width))
            }
            _ => None,
        })
    }
}
