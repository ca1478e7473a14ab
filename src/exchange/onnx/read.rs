//! An ONNX file that is read: one of ours, which is read back whole, or that of another program.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use super::chain;
use super::export::{OWN, to_onnx};
use super::proto::{GraphProto, ModelProto, TensorProto};
use super::tensor::numbers;
use crate::exchange::network::Network;
use crate::exchange::{External, ImportError};
use crate::store::{ModelFile, ModelFileError};

/// A file with its graph.
pub(crate) struct File {
    model: ModelProto,
    graph: GraphProto,
}

impl File {
    /// Reads the messages; `path` names the file in errors.
    pub(crate) fn parse(bytes: Vec<u8>, path: &Path) -> Result<Self, ImportError> {
        let unknown = |problem: String| ImportError::Unknown { path: path.to_owned(), problem };
        let mut model = ModelProto::decode(Bytes::from(bytes)).map_err(|error| unknown(error.to_string()))?;
        let graph = model.graph.take().ok_or_else(|| unknown("it has no graph".to_owned()))?;
        Ok(Self { model, graph })
    }

    /// The model, if we have written the file and nobody has changed its graph since.
    pub(crate) fn own(&self, path: &Path) -> Result<Option<ModelFile>, ModelFileError> {
        let Some(text) = self.model.metadata_props.iter().find(|entry| entry.key == OWN) else {
            return Ok(None);
        };
        let tensors: HashMap<&str, &TensorProto> =
            self.graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let tensor = |name: &str, shape: &[usize]| {
            let tensor = tensors.get(name).ok_or("is missing")?;
            let (found, numbers) = numbers(tensor, &|_, _, _| Err("is in another file".to_owned()))?;
            if found == shape { Ok(numbers) } else { Err(format!("has the shape {found:?}, not {shape:?}")) }
        };
        let Ok(model) = ModelFile::from_parts(&text.value, tensor, path) else { return Ok(None) };
        // The metadata speaks for the graph only if they fit: else the graph counts.
        let again = to_onnx(&model).ok().and_then(|bytes| ModelProto::decode(Bytes::from(bytes)).ok());
        Ok((again.and_then(|again| again.graph).as_ref() == Some(&self.graph)).then_some(model))
    }

    /// The program that wrote the file.
    pub(crate) fn producer(&self) -> String {
        let (name, version) = (&self.model.producer_name, &self.model.producer_version);
        let text: String =
            format!("{name} {version}").trim().chars().filter(|c| !c.is_control()).take(80).collect();
        text
    }

    /// The network of a graph, with what was left out.
    pub(crate) fn network(&self, external: &External<'_>) -> Result<(Network, Vec<String>), ImportError> {
        chain::network(&self.graph, external)
    }
}
