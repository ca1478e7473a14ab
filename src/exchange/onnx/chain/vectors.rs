//! Constant vectors in a graph: biases, γ and β, and scales of the inputs.

use super::{Base, Chain, Signal, Stage, refuse};
use crate::exchange::ImportError;
use crate::exchange::onnx::function::{Function, Linear};
use crate::exchange::onnx::inputs::{Each, MOST_STEPS};
use crate::exchange::onnx::proto::NodeProto;
use crate::exchange::onnx::tensor::shape;

impl<'a> Chain<'a> {
    /// A signal with a constant vector at input `at` of a node, a number for each unit or input: scaled inputs, biases, or the
    /// γ and β of a layer normalisation.
    pub(super) fn of_each(
        &mut self,
        node: &'a NodeProto,
        signal: &Signal,
        at: usize,
    ) -> Result<Signal, ImportError> {
        let Base::Layer(layer, stage) = signal.base else { return self.scaled(node, signal, at) };
        let found = &self.layers[layer];
        let plain = signal.function.is_identity() && found.stage == stage;
        let next = match (stage, node.op_type.as_str()) {
            (Stage::Product, "Add") if plain => Stage::Biased,
            (Stage::Normalized, "Mul") if plain => Stage::Gained,
            (Stage::Normalized | Stage::Gained, "Add") if plain => Stage::Shifted,
            _ => {
                let problem = "acts on each unit with a number of its own, which only biases and layer normalisation \
                               do here";
                return Err(refuse(node, problem));
            }
        };
        let vector = self.vector(node, at, found.dense.outputs)?;
        let found = &mut self.layers[layer];
        match (next, &mut found.dense.norm) {
            (Stage::Gained, Some((gains, _))) => *gains = vector,
            (Stage::Shifted, Some((_, shifts))) => *shifts = vector,
            _ => found.dense.biases = vector,
        }
        found.stage = next;
        Ok(Signal { base: Base::Layer(layer, next), ..signal.clone() })
    }

    /// The inputs, each scaled by its number of the vector at input `at` of a node.
    fn scaled(&mut self, node: &'a NodeProto, signal: &Signal, at: usize) -> Result<Signal, ImportError> {
        let step = match (node.op_type.as_str(), at) {
            ("Add", _) => |x: f64| Linear::Less(-x),
            ("Sub", 1) => Linear::Less,
            ("Mul", _) => |x: f64| Linear::Over(1.0 / x),
            ("Div", 1) => Linear::Over,
            _ => return Err(refuse(node, "does more to each input than to shift and scale it")),
        };
        // The numbers are copied only then.
        if self.each.len() == MOST_STEPS {
            return Err(refuse(
                node,
                format!("is one of more than {MOST_STEPS} steps that scale the inputs"),
            ));
        }
        let (tensor, _) = self.constant(node, at)?;
        let count = shape(tensor).map_or(0, |(_, count)| count);
        let numbers = self.vector(node, at, count)?;
        let before = match signal.base {
            Base::Each(which) => self.each[which].clone(),
            Base::Input(input) => Each::new(input, count),
            Base::Layer(..) => return Err(refuse(node, "does not act on the inputs")),
        };
        let each = before.with(&signal.function).ok_or_else(|| {
            refuse(node, "scales inputs to which more has been done than to shift and scale them")
        })?;
        let each = each.by(&numbers, step).map_err(|problem| refuse(node, problem))?;
        if let Some(input) = each.unsound() {
            let problem = format!(
                "scales input {input} by {}; a model divides its inputs by finite numbers above 0 only",
                numbers[input]
            );
            return Err(refuse(node, problem));
        }
        self.each.push(each);
        let base = Base::Each(self.each.len() - 1);
        Ok(Signal { base, function: Function::identity(), softmax: false })
    }
}
