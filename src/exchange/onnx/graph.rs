//! A graph that is being written.

use std::collections::HashSet;

use bytes::Bytes;

use super::proto::{
    Attribute, Dimension, GraphProto, Length, NodeProto, TensorProto, TensorShape, TensorType, TypeProto,
    ValueInfo, attribute_type, data_type,
};

/// The domain of LabelEncoder.
pub(super) const ML: &str = "ai.onnx.ml";

/// A graph, node after node. Each name is given once.
#[derive(Debug, Default)]
pub(super) struct Graph {
    graph: GraphProto,
    taken: HashSet<String>,
}

/// Constants of an operator.
pub(super) enum Value<'a> {
    Float(f32),
    Int(i64),
    Ints(&'a [i64]),
    Strings(&'a [String]),
}

impl Graph {
    /// The graph, called `name`.
    pub(super) fn finish(mut self, name: &str) -> GraphProto {
        self.graph.name = name.to_owned();
        self.graph
    }

    /// `name`, or `name_2` and so on if that is taken. Values and nodes may not be nameless.
    fn name(&mut self, name: &str) -> String {
        let name = if name.is_empty() { "column" } else { name };
        let mut unique = name.to_owned();
        let mut number = 2;
        while !self.taken.insert(unique.clone()) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        unique
    }

    /// An input of the graph with as many rows as there are samples.
    pub(super) fn input(&mut self, name: &str, kind: i32, shape: &[usize], about: &str) -> String {
        let name = self.name(name);
        self.graph.input.push(value(&name, kind, shape, about));
        name
    }

    /// Declares an output of the graph, which a node has written.
    pub(super) fn output(&mut self, name: &str, kind: i32, shape: &[usize], about: &str) {
        self.graph.output.push(value(name, kind, shape, about));
    }

    /// An operator with one output; returns the output's name, which is `name` or like it.
    pub(super) fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        values: &[(&str, Value<'_>)],
    ) -> String {
        self.node_of("", op, name, inputs, values)
    }

    /// [`Graph::node`] for an operator of another domain.
    pub(super) fn node_of(
        &mut self,
        domain: &str,
        op: &str,
        name: &str,
        inputs: &[&str],
        values: &[(&str, Value<'_>)],
    ) -> String {
        let output = self.name(name);
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: op.to_owned(),
            attribute: values.iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: domain.to_owned(),
        });
        output
    }

    fn constant(&mut self, name: &str, data_type: i32, shape: &[usize], raw: Vec<u8>) -> String {
        let name = self.name(name);
        let dims = shape.iter().map(|&length| length as i64).collect();
        let raw_data = Some(Bytes::from(raw));
        self.graph.initializer.push(TensorProto {
            dims,
            data_type,
            name: name.clone(),
            raw_data,
            ..Default::default()
        });
        name
    }

    /// Constant f32, row-major.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], numbers: &[f32]) -> String {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, data_type::FLOAT, shape, raw)
    }

    /// Constant f64, row-major.
    pub(super) fn doubles(&mut self, name: &str, shape: &[usize], numbers: &[f64]) -> String {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, data_type::DOUBLE, shape, raw)
    }

    /// Constant whole numbers in a row.
    pub(super) fn whole(&mut self, name: &str, numbers: &[i64]) -> String {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, data_type::INT64, &[numbers.len()], raw)
    }

    /// Constant texts in a row.
    pub(super) fn texts(&mut self, name: &str, texts: &[String]) -> String {
        let name = self.name(name);
        self.graph.initializer.push(TensorProto {
            dims: vec![texts.len() as i64],
            data_type: data_type::STRING,
            name: name.clone(),
            string_data: texts.iter().map(|text| Bytes::from(text.clone())).collect(),
            ..Default::default()
        });
        name
    }
}

fn value(name: &str, elem_type: i32, shape: &[usize], about: &str) -> ValueInfo {
    let batch = Dimension { value: Some(Length::Named("batch".to_owned())) };
    let known = |&length: &usize| Dimension { value: Some(Length::Known(length as i64)) };
    let shape = Some(TensorShape { dim: std::iter::once(batch).chain(shape.iter().map(known)).collect() });
    let tensor_type = Some(TensorType { elem_type, shape });
    let r#type = Some(TypeProto { tensor_type });
    ValueInfo { name: name.to_owned(), r#type, doc_string: about.to_owned() }
}

fn attribute(name: &str, value: &Value<'_>) -> Attribute {
    let mut attribute = Attribute { name: name.to_owned(), ..Default::default() };
    match value {
        Value::Float(x) => (attribute.f, attribute.r#type) = (Some(*x), attribute_type::FLOAT),
        Value::Int(x) => (attribute.i, attribute.r#type) = (Some(*x), attribute_type::INT),
        Value::Ints(all) => (attribute.ints, attribute.r#type) = (all.to_vec(), attribute_type::INTS),
        Value::Strings(all) => {
            let strings = all.iter().map(|text| Bytes::from(text.clone())).collect();
            (attribute.strings, attribute.r#type) = (strings, attribute_type::STRINGS);
        }
    }
    attribute
}
