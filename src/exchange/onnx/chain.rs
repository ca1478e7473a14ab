//! From a graph of another program to a chain of dense layers.
//!
//! Node by node, each value becomes what it is in terms of the chain: a constant, or a function of the graph's input or of a layer's
//! weighted inputs. A node that cannot be told so gives a value with the reason, which counts only if the output depends on it.

mod normalization;
mod vectors;
mod whole;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::function::{Binary, Function, Unary};
use super::inputs::Each;
use super::proto::{Attribute, GraphProto, NodeProto, TensorProto, data_type};
use super::tensor::{is_half, numbers, scalar};
use crate::exchange::network::{Dense, Network};
use crate::exchange::{External, ImportError, half};

/// What a signal is a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// An input of the graph.
    Input(usize),
    /// The inputs after a step that scales each by a number of its own.
    Each(usize),
    /// The weighted inputs of a layer, at a stage.
    Layer(usize, Stage),
}

/// How far the weighted inputs of a layer have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Product,
    Biased,
    /// Without γ and β yet.
    Normalized,
    /// With γ.
    Gained,
    /// With β.
    Shifted,
}

impl Stage {
    fn is_normalized(self) -> bool {
        matches!(self, Self::Normalized | Self::Gained | Self::Shifted)
    }
}

/// A value that depends on the graph's input.
#[derive(Debug, Clone)]
struct Signal {
    base: Base,
    function: Function,
    /// Whether softmax has been taken of it, after which nothing may follow.
    softmax: bool,
}

/// A value of the graph.
#[derive(Clone)]
enum Value<'a> {
    Constant {
        tensor: &'a TensorProto,
        transposed: bool,
    },
    Signal(Signal),
    /// Why it is neither.
    Other(Rc<ImportError>),
}

/// A layer that was found, with what it takes.
struct Found {
    dense: Dense,
    from: Signal,
    stage: Stage,
}

/// What is said of a layer with means over its units that lead to nothing that is known.
const HALF_NORMALIZED: &str = "is followed by means over its units that make no layer normalisation: (z - mean) / \
                               sqrt(variance + 1e-5), times one vector, plus another";

struct Chain<'a> {
    graph: &'a GraphProto,
    external: &'a External<'a>,
    values: HashMap<&'a str, Value<'a>>,
    layers: Vec<Found>,
    each: Vec<Each>,
    /// The vectors that functions depend on.
    vectors: Vec<&'a TensorProto>,
    /// Whether numbers of 16 bits were met.
    halves: Cell<bool>,
    /// The matrices in use: each may be used once, so that a small file cannot become a large network.
    used: HashSet<*const TensorProto>,
}

/// The network of a graph, with what was left out.
pub(super) fn network(
    graph: &GraphProto,
    external: &External<'_>,
) -> Result<(Network, Vec<String>), ImportError> {
    let mut chain = Chain {
        graph,
        external,
        values: HashMap::new(),
        layers: Vec::new(),
        each: Vec::new(),
        vectors: Vec::new(),
        halves: Cell::new(false),
        used: HashSet::new(),
    };
    for (at, input) in graph.input.iter().enumerate() {
        let signal = Signal { base: Base::Input(at), function: Function::identity(), softmax: false };
        chain.values.insert(&input.name, Value::Signal(signal));
    }
    // Old files list their weights among the inputs, too.
    for tensor in &graph.initializer {
        chain.values.insert(&tensor.name, Value::Constant { tensor, transposed: false });
    }
    for node in &graph.node {
        let value = chain.value(node).unwrap_or_else(|error| Value::Other(Rc::new(error)));
        for (at, output) in node.output.iter().enumerate() {
            let value = if at == 0 {
                value.clone()
            } else {
                other(node, "gives a second output, which is not computed here")
            };
            chain.values.insert(output, value);
        }
    }
    let Some((output, others)) = graph.output.split_first() else {
        return Err(ImportError::Damaged("its graph has no output".to_owned()));
    };
    let mut notes: Vec<String> = others
        .iter()
        .map(|other| format!("the output {:?} is left out; the first one is {:?}", other.name, output.name))
        .collect();
    notes.extend(chain.halves.get().then(|| half::NOTE.to_owned()));
    Ok((chain.network(&output.name)?, notes))
}

fn describe(node: &NodeProto) -> String {
    let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
    match name {
        Some(name) => format!("{name:?} ({})", node.op_type),
        None => node.op_type.clone(),
    }
}

fn refuse(node: &NodeProto, problem: impl Into<String>) -> ImportError {
    ImportError::Node { node: describe(node), problem: problem.into() }
}

fn other<'a>(node: &NodeProto, problem: &str) -> Value<'a> {
    Value::Other(Rc::new(refuse(node, problem)))
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |attribute| attribute.f.unwrap_or(0.0))
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i.unwrap_or(0))
}

impl<'a> Chain<'a> {
    /// The value that a node gives.
    fn value(&mut self, node: &'a NodeProto) -> Result<Value<'a>, ImportError> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(refuse(node, format!("is an operator of {:?}, not of ONNX's own", node.domain)));
        }
        Ok(match node.op_type.as_str() {
            "Constant" => match attribute(node, "value").and_then(|value| value.t.as_ref()) {
                Some(tensor) => Value::Constant { tensor, transposed: false },
                None => return Err(refuse(node, "has no tensor")),
            },
            "Transpose" => match self.input(node, 0)? {
                Value::Constant { tensor, transposed } if tensor.dims.len() == 2 => {
                    match attribute(node, "perm") {
                        Some(perm) if perm.ints == [0, 1] => Value::Constant { tensor, transposed },
                        _ => Value::Constant { tensor, transposed: !transposed },
                    }
                }
                _ => return Err(refuse(node, "transposes what is no constant matrix")),
            },
            "Identity" => self.input(node, 0)?,
            "Dropout" if node.input.get(2).is_none_or(String::is_empty) => self.input(node, 0)?,
            "Cast" => self.cast(node)?,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => {
                let signal = self.signal(node, 0)?;
                let harmless = node.op_type == "Flatten" && int(node, "axis", 1) == 1;
                if !harmless && matches!(signal.base, Base::Layer(..)) {
                    return Err(refuse(node, "changes the shape of what a layer gives"));
                }
                Value::Signal(signal)
            }
            "Gemm" => self.gemm(node)?,
            "MatMul" => {
                let from = self.signal(node, 0)?;
                let weights = self.matrix(node, 1, false)?;
                self.layer(node, from, weights, None)
            }
            "LayerNormalization" => self.normalization(node)?,
            "ReduceMean" => Value::Signal(self.mean(node)?),
            "Softmax" => {
                let mut signal = self.signal(node, 0)?;
                if !matches!(int(node, "axis", -1), -1 | 1) || !signal.function.is_identity() {
                    return Err(refuse(node, "is not taken of a layer's units"));
                }
                signal.softmax = true;
                Value::Signal(signal)
            }
            "LogSoftmax" => {
                return Err(refuse(
                    node,
                    "gives logarithms; export the network without it, and import it with --output softmax",
                ));
            }
            _ => Value::Signal(self.function(node)?),
        })
    }

    /// An operator that acts on each number by itself, or the biases of a layer.
    fn function(&mut self, node: &'a NodeProto) -> Result<Signal, ImportError> {
        let unary = match node.op_type.as_str() {
            "Sigmoid" => Some(Unary::Sigmoid),
            "Tanh" => Some(Unary::Tanh),
            "Relu" => Some(Unary::Relu),
            "LeakyRelu" => Some(Unary::LeakyRelu(f64::from(float(node, "alpha", 0.01)))),
            "Erf" => Some(Unary::Erf),
            "Exp" => Some(Unary::Exp),
            "Neg" => Some(Unary::Neg),
            "Reciprocal" => Some(Unary::Reciprocal),
            "Sqrt" => Some(Unary::Sqrt),
            "Swish" => Some(Unary::Swish(f64::from(float(node, "alpha", 1.0)))),
            "Gelu"
                if attribute(node, "approximate")
                    .and_then(|a| a.s.as_deref())
                    .is_none_or(|s| s == b"none") =>
            {
                Some(Unary::Gelu)
            }
            "Gelu" => {
                return Err(refuse(node, "is the approximation of GELU by tanh; nn computes GELU itself"));
            }
            _ => None,
        };
        let large = || refuse(node, "is a part of too large a function");
        if let Some(op) = unary {
            let signal = self.open(node, 0)?;
            let function = signal.function.with(op).ok_or_else(large)?;
            return self.settled(node, Signal { function, ..signal });
        }
        let op = match node.op_type.as_str() {
            "Add" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            "Div" => Binary::Div,
            "Max" => Binary::Max,
            "Min" => Binary::Min,
            "Pow" => Binary::Pow,
            _ => return Err(refuse(node, "is an operator that nn does not import")),
        };
        if node.input.len() != 2 {
            return Err(refuse(node, "does not have two inputs"));
        }
        let number = |value: &Value<'_>| match value {
            Value::Constant { tensor, .. } => scalar(tensor).map(Function::number),
            _ => None,
        };
        let (left, right) = (self.input(node, 0)?, self.input(node, 1)?);
        for value in [&left, &right] {
            match value {
                Value::Other(error) => return Err(repeat(error)),
                Value::Signal(Signal { softmax: true, .. }) => {
                    return Err(refuse(node, "follows softmax, which nn has at the end only"));
                }
                _ => {}
            }
        }
        let (base, function) = match (&left, &right) {
            (Value::Signal(x), Value::Signal(y)) if x.base == y.base => {
                (x.base, x.function.join(op, &y.function))
            }
            (Value::Signal(_), Value::Signal(_)) => {
                return Err(refuse(node, "joins what different layers give; nn's layers are one chain"));
            }
            (Value::Signal(x), constant) => match number(constant) {
                // A number may be the bias of a single unit.
                Some(_) if op == Binary::Add && self.is_product_of_one(x) => return self.of_each(node, x, 1),
                Some(y) => (x.base, x.function.join(op, &y)),
                None if x.function.is_joint() => (x.base, x.function.join(op, &self.symbol(constant))),
                None => return self.of_each(node, x, 1),
            },
            (constant, Value::Signal(y)) => match number(constant) {
                Some(_) if op == Binary::Add && self.is_product_of_one(y) => return self.of_each(node, y, 0),
                Some(x) => (y.base, x.join(op, &y.function)),
                None if y.function.is_joint() => (y.base, self.symbol(constant).join(op, &y.function)),
                None => return self.of_each(node, y, 0),
            },
            _ => return Err(refuse(node, "has no input that a layer gives")),
        };
        let function = function.ok_or_else(large)?;
        self.settled(node, Signal { base, function, softmax: false })
    }

    fn is_product_of_one(&self, signal: &Signal) -> bool {
        let Base::Layer(at, Stage::Product) = signal.base else { return false };
        signal.function.is_identity() && self.layers[at].dense.outputs == 1
    }

    /// A conversion of numbers: to 32 bits, or of what is computed to 16.
    fn cast(&self, node: &NodeProto) -> Result<Value<'a>, ImportError> {
        let value = self.input(node, 0)?;
        let to = i32::try_from(int(node, "to", 0)).unwrap_or(0);
        match (&value, to) {
            (Value::Other(error), _) => return Err(repeat(error)),
            (_, data_type::FLOAT) => {}
            (Value::Signal(_), data_type::FLOAT16 | data_type::BFLOAT16) => self.halves.set(true),
            (Value::Constant { tensor, .. }, _) if tensor.data_type == to => {}
            _ => {
                let problem =
                    format!("converts to {}, and nn computes with 32-bit floats", data_type::name(to));
                return Err(refuse(node, problem));
            }
        }
        Ok(value)
    }

    fn gemm(&mut self, node: &'a NodeProto) -> Result<Value<'a>, ImportError> {
        let plain = float(node, "alpha", 1.0) == 1.0
            && float(node, "beta", 1.0) == 1.0
            && int(node, "transA", 0) == 0;
        if !plain {
            return Err(refuse(node, "scales its operands or transposes the first"));
        }
        let from = self.signal(node, 0)?;
        let weights = self.matrix(node, 1, int(node, "transB", 0) != 0)?;
        let biases = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(_) => Some(self.vector(node, 2, weights.0)?),
            None => None,
        };
        Ok(self.layer(node, from, weights, biases))
    }

    fn layer(
        &mut self,
        node: &NodeProto,
        from: Signal,
        (outputs, inputs, weights): (usize, usize, Vec<f32>),
        biases: Option<Vec<f32>>,
    ) -> Value<'a> {
        let stage = if biases.is_some() { Stage::Biased } else { Stage::Product };
        let biases = biases.unwrap_or_else(|| vec![0.0; outputs]);
        let dense = Dense { name: describe(node), inputs, outputs, weights, biases, norm: None };
        self.layers.push(Found { dense, from, stage });
        let base = Base::Layer(self.layers.len() - 1, stage);
        Value::Signal(Signal { base, function: Function::identity(), softmax: false })
    }

    /// The value at an input of a node.
    fn input(&self, node: &NodeProto, at: usize) -> Result<Value<'a>, ImportError> {
        let name = node.input.get(at).ok_or_else(|| refuse(node, format!("lacks input {}", at + 1)))?;
        match self.values.get(name.as_str()) {
            Some(value) => Ok(value.clone()),
            None => Err(refuse(node, format!("takes {name:?}, which no node before it gives"))),
        }
    }

    /// The signal at an input of a node. The first reason why there is none goes on to the output.
    fn signal(&self, node: &NodeProto, at: usize) -> Result<Signal, ImportError> {
        match self.input(node, at)? {
            Value::Signal(signal) => Ok(signal),
            Value::Other(error) => Err(repeat(&error)),
            Value::Constant { .. } => Err(refuse(node, "computes with constants alone")),
        }
    }

    /// A signal that is not the end of the network.
    fn open(&self, node: &NodeProto, at: usize) -> Result<Signal, ImportError> {
        let signal = self.signal(node, at)?;
        if signal.softmax {
            Err(refuse(node, "follows softmax, which nn has at the end only"))
        } else {
            Ok(signal)
        }
    }

    fn constant(&self, node: &NodeProto, at: usize) -> Result<(&'a TensorProto, bool), ImportError> {
        match self.input(node, at)? {
            Value::Constant { tensor, transposed } => Ok((tensor, transposed)),
            Value::Other(error) => Err(repeat(&error)),
            Value::Signal(_) => Err(refuse(node, "has no constant weights")),
        }
    }

    /// A constant matrix as `[outputs][inputs]`; with `by_output` it is so already, and else `[inputs][outputs]`.
    fn matrix(
        &mut self,
        node: &NodeProto,
        at: usize,
        by_output: bool,
    ) -> Result<(usize, usize, Vec<f32>), ImportError> {
        let (tensor, transposed) = self.constant(node, at)?;
        if !self.used.insert(std::ptr::from_ref(tensor)) {
            return Err(refuse(node, "has the weights of another node; nn's layers share none"));
        }
        let (shape, weights) = self.numbers(tensor)?;
        let [rows, columns] = shape[..] else {
            return Err(refuse(node, format!("has weights of the shape {shape:?}, not of a matrix")));
        };
        if rows == 0 || columns == 0 {
            return Err(refuse(node, "has no weights"));
        }
        if by_output != transposed {
            return Ok((rows, columns, weights));
        }
        let mut turned = Vec::with_capacity(weights.len());
        for column in 0..columns {
            turned.extend((0..rows).map(|row| weights[row * columns + column]));
        }
        Ok((columns, rows, turned))
    }

    /// A constant vector of that width.
    fn vector(&self, node: &NodeProto, at: usize, width: usize) -> Result<Vec<f32>, ImportError> {
        let (tensor, _) = self.constant(node, at)?;
        self.vector_of(node, tensor, width)
    }

    fn vector_of(
        &self,
        node: &NodeProto,
        tensor: &TensorProto,
        width: usize,
    ) -> Result<Vec<f32>, ImportError> {
        let (shape, numbers) = self.numbers(tensor)?;
        if numbers.len() == width && (shape[..] == [width] || shape[..] == [1, width])
            || width == 1 && numbers.len() == 1
        {
            return Ok(numbers);
        }
        Err(refuse(node, format!("has a constant of the shape {shape:?}, but the layer has {width} units")))
    }

    fn numbers(&self, tensor: &TensorProto) -> Result<(Vec<usize>, Vec<f32>), ImportError> {
        if is_half(tensor) {
            self.halves.set(true);
        }
        numbers(tensor, self.external)
            .map_err(|problem| ImportError::Tensor { tensor: format!("{:?}", tensor.name), problem })
    }
}

/// An error once more, for each output that depends on the value.
fn repeat(error: &ImportError) -> ImportError {
    match error {
        ImportError::Node { node, problem } => {
            ImportError::Node { node: node.clone(), problem: problem.clone() }
        }
        ImportError::Tensor { tensor, problem } => {
            ImportError::Tensor { tensor: tensor.clone(), problem: problem.clone() }
        }
        other => ImportError::Damaged(other.to_string()),
    }
}
