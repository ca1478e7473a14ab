//! Layer normalisation in a graph: one operator, or several.

use nn_core::Normalization;

use super::{Base, Chain, Signal, Stage, Value, attribute, float, int, refuse};
use crate::exchange::ImportError;
use crate::exchange::onnx::function::{Function, Symbol};
use crate::exchange::onnx::normal::{self, LayerNorm};
use crate::exchange::onnx::proto::NodeProto;
use crate::exchange::onnx::tensor::scalar;

impl<'a> Chain<'a> {
    pub(super) fn normalization(&mut self, node: &'a NodeProto) -> Result<Value<'a>, ImportError> {
        let signal = self.open(node, 0)?;
        let Base::Layer(layer, _) = signal.base else {
            return Err(refuse(node, "normalises the inputs; nn normalises hidden layers"));
        };
        if !signal.function.is_identity() {
            return Err(refuse(node, "is not right after a dense layer"));
        }
        if !matches!(int(node, "axis", -1), -1 | 1) {
            return Err(refuse(node, "normalises along another axis than the units"));
        }
        self.check_epsilon(node, f64::from(float(node, "epsilon", 1e-5)))?;
        let width = self.layers[layer].dense.outputs;
        let gains = self.vector(node, 1, width)?;
        let shifts = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(_) => self.vector(node, 2, width)?,
            None => vec![0.0; width],
        };
        Ok(Value::Signal(self.normalized(node, &signal, (gains, shifts), Stage::Shifted)?))
    }

    /// A mean over the units of a layer.
    pub(super) fn mean(&self, node: &NodeProto) -> Result<Signal, ImportError> {
        let signal = self.open(node, 0)?;
        let Base::Layer(layer, stage) = signal.base else {
            return Err(refuse(node, "takes a mean over the inputs; nn normalises hidden layers"));
        };
        let over_units = match (attribute(node, "axes"), node.input.get(1)) {
            (Some(axes), _) => matches!(axes.ints[..], [-1 | 1]),
            (None, Some(_)) => {
                matches!(scalar(self.constant(node, 1)?.0), Some(axis) if axis == -1.0 || axis == 1.0)
            }
            (None, None) => false,
        };
        let before = stage == self.layers[layer].stage && !stage.is_normalized();
        match normal::mean(&signal.function).filter(|_| over_units && int(node, "keepdims", 1) == 1 && before)
        {
            Some(function) => Ok(Signal { function, ..signal }),
            None => Err(refuse(node, "takes a mean that is no part of a layer normalisation")),
        }
    }

    /// The symbol of a constant vector in a function.
    pub(super) fn symbol(&mut self, constant: &Value<'a>) -> Function {
        let Value::Constant { tensor, .. } = constant else { return Function::number(f64::NAN) };
        let at = self.vectors.iter().position(|known| std::ptr::eq(*known, *tensor)).unwrap_or_else(|| {
            self.vectors.push(tensor);
            self.vectors.len() - 1
        });
        Function::symbol(Symbol::Vector(at))
    }

    /// A signal, which becomes a normalised layer if that is what its function says.
    pub(super) fn settled(&mut self, node: &NodeProto, signal: Signal) -> Result<Signal, ImportError> {
        let (Base::Layer(layer, _), Some(norm)) = (signal.base, normal::layer_norm(&signal.function)) else {
            return Ok(signal);
        };
        let LayerNorm { gain, shift, epsilon } = norm;
        self.check_epsilon(node, epsilon)?;
        let width = self.layers[layer].dense.outputs;
        let vector = |at: usize| self.vector_of(node, self.vectors[at], width);
        let gains = gain.map_or_else(|| Ok(vec![1.0; width]), vector)?;
        let shifts = shift.map_or_else(|| Ok(vec![0.0; width]), vector)?;
        let next = match (gain, shift) {
            (_, Some(_)) => Stage::Shifted,
            (Some(_), None) => Stage::Gained,
            (None, None) => Stage::Normalized,
        };
        self.normalized(node, &signal, (gains, shifts), next)
    }

    /// The layer of a signal, normalised.
    fn normalized(
        &mut self,
        node: &NodeProto,
        signal: &Signal,
        norm: (Vec<f32>, Vec<f32>),
        next: Stage,
    ) -> Result<Signal, ImportError> {
        match signal.base {
            Base::Layer(layer, stage) if stage == self.layers[layer].stage && !stage.is_normalized() => {
                let found = &mut self.layers[layer];
                (found.dense.norm, found.stage) = (Some(norm), next);
                Ok(Signal { base: Base::Layer(layer, next), function: Function::identity(), softmax: false })
            }
            _ => Err(refuse(node, "is not right after a dense layer")),
        }
    }

    fn check_epsilon(&self, node: &NodeProto, epsilon: f64) -> Result<(), ImportError> {
        let own = f64::from(Normalization::EPSILON);
        // As a number of 16 bits 1e-5 is 1.0014e-5.
        let near = if self.halves.get() { 3e-8 } else { 1e-9 };
        if (epsilon - own).abs() <= near {
            return Ok(());
        }
        let problem = format!(
            "adds {} to the variance, and nn 1e-5; the same network has 1e-5 there and {:.6} times the weights and biases \
             of the layer before",
            epsilon as f32,
            (own / epsilon).sqrt()
        );
        Err(refuse(node, problem))
    }
}
