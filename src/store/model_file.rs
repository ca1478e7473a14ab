//! One safetensors file for models and checkpoints: `layers.0.weight` of shape `[out, in]`, `layers.0.bias` of shape
//! `[out]`, and so on; in checkpoints also `optimizer.first.*` and `optimizer.second.*`, named alike. What else has to
//! be known is JSON in the metadata under `nn`; its first entry is the SHA-256 of the rest, among which are those of the
//! numbers, so that no byte can change unnoticed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use nn_core::{LayerLayout, Model, OptimizerState, layout};
use nn_engine::{EpochSums, ManifestParts, Snapshot, params_sha256};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::write_atomically;

/// The version of the metadata.
const FORMAT: u32 = 2;

/// The largest file that is read, beyond what the largest model and its optimizer's state can take.
const LARGEST_FILE: u64 = 32 << 30;

/// What inputs looked like in training, so that they can be made to look the same again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputInfo {
    /// The name of the data set.
    pub data: String,
    /// What bytes were divided by; `None` if the samples were not bytes.
    pub scale: Option<f32>,
    /// `(height, width)` where samples are pictures.
    pub image: Option<(usize, usize)>,
    /// The names of the classes; `None` for regression.
    pub classes: Option<Vec<String>>,
}

/// Where in a run the parameters were taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Steps done.
    pub step: u64,
    /// Sums over the epoch so far.
    pub epoch: EpochSums,
    /// The run.
    pub manifest: ManifestParts,
    /// Its hash.
    pub config_hash: String,
    /// How often the run had been taken up again. `None` in a finished model: two runs with the same weights have the same
    /// model file, however often one was interrupted.
    pub generation: Option<u64>,
    /// How it did on the test samples; only in the best checkpoint.
    pub validation: Option<Validation>,
    /// Lines that are still to be written to the metrics: there was no room for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlogged: Vec<Value>,
}

/// How a network did on the test samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The epoch that was over, counted from 1.
    pub epoch: u64,
    /// Test samples.
    pub samples: usize,
    /// How many of them were answered rightly.
    pub correct: usize,
    /// Their mean loss.
    pub loss: f64,
}

impl Validation {
    /// More right answers, or as many with less loss.
    #[must_use]
    pub fn is_better_than(&self, other: &Self) -> bool {
        (self.correct, -self.loss) > (other.correct, -other.loss)
    }
}

/// A model or a checkpoint, as a file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The network.
    pub model: Model,
    /// Its inputs.
    pub input: InputInfo,
    /// Where it comes from.
    pub run: RunInfo,
    /// Weights and biases, layer by layer.
    pub params: Vec<f32>,
    /// The optimizer's moments, each of the size of the parameters or empty; both empty in a model.
    pub moments: [Vec<f32>; 2],
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    model: Model,
    input: InputInfo,
    run: RunInfo,
    params_sha256: String,
    moments_sha256: [String; 2],
}

/// Why a file is not a model.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ModelFileError {
    #[error("cannot read the model {path}: {error}", path = path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path} is a folder; give the file in it, such as {path}/model.safetensors", path = path.display())]
    Folder { path: PathBuf },
    #[error("{path} is no safetensors file, or a damaged one: {problem}", path = path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("{path} was not written by nn: its metadata has no entry `nn`", path = path.display())]
    Foreign { path: PathBuf },
    #[error("{path} is of format {got}, which this version does not know; it knows {FORMAT}", path = path.display())]
    Version { path: PathBuf, got: u32 },
    #[error("{path} is damaged: tensor {tensor} {problem}", path = path.display())]
    Tensor { path: PathBuf, tensor: String, problem: String },
    #[error("{path} is damaged: its {what} do not have the SHA-256 that it states", path = path.display())]
    Hash { path: PathBuf, what: &'static str },
    #[error(
        "{path} is no checkpoint: it lacks the state of the optimizer, as an exported model does",
        path = path.display()
    )]
    Stateless { path: PathBuf },
}

/// What the metadata begin with: the hash of what follows it.
const SEAL: &str = "{\"metadata_sha256\":\"";

/// Puts the hash of a JSON object in front of its other entries.
fn sealed(object: &str) -> String {
    format!("{SEAL}{}\",{}", text_sha256(object), &object[1..])
}

/// The object without the hash in front; `None` if it has none, or not that of the rest.
fn unsealed(text: &str) -> Option<String> {
    let (hash, rest) = text.strip_prefix(SEAL)?.split_at_checked(64)?;
    let object = format!("{{{}", rest.strip_prefix("\",")?);
    (text_sha256(&object) == hash).then_some(object)
}

fn text_sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tensor that borrows its numbers.
struct Tensor<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }
    fn data_len(&self) -> usize {
        self.values.len() * 4
    }
}

/// The three buffers of a file and what their tensors' names begin with.
const PREFIXES: [&str; 3] = ["", "optimizer.first.", "optimizer.second."];

fn shapes(layer: &LayerLayout) -> [(&'static str, std::ops::Range<usize>, Vec<usize>); 2] {
    [
        ("weight", layer.weights.clone(), vec![layer.outputs, layer.inputs]),
        ("bias", layer.biases.clone(), vec![layer.outputs]),
    ]
}

impl ModelFile {
    /// A checkpoint of a run; without the moments of `snapshot`, the finished model.
    pub fn new(model: Model, input: InputInfo, run: RunInfo, snapshot: Snapshot) -> Self {
        Self { model, input, run, params: snapshot.params, moments: snapshot.moments }
    }

    /// Reads and verifies a checkpoint, which is a model with the state of the run's optimizer.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read_checkpoint(path: &Path) -> Result<Self, ModelFileError> {
        // A pipe in its place would be waited for.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let problem = "it is a pipe, a socket or a device".to_owned();
            return Err(ModelFileError::Damaged { path: path.to_owned(), problem });
        }
        let file = Self::read(path)?;
        let state = OptimizerState::new(file.run.manifest.recipe.optimizer, &file.model);
        if state.moments().map(<[f32]>::len) != [file.moments[0].len(), file.moments[1].len()] {
            return Err(ModelFileError::Stateless { path: path.to_owned() });
        }
        Ok(file)
    }

    /// What an engine goes on from.
    pub fn snapshot(self) -> Snapshot {
        Snapshot { step: self.run.step, params: self.params, moments: self.moments, epoch: self.run.epoch }
    }

    /// The bytes of the file. The same model gives the same bytes.
    ///
    /// # Errors
    /// If the metadata cannot be written as JSON, which does not happen.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let metadata = Metadata {
            format: FORMAT,
            model: self.model.clone(),
            input: self.input.clone(),
            run: self.run.clone(),
            params_sha256: params_sha256(&self.params),
            moments_sha256: [params_sha256(&self.moments[0]), params_sha256(&self.moments[1])],
        };
        let mut tensors = Vec::new();
        for (buffer, prefix) in self.buffers().into_iter().zip(PREFIXES) {
            if buffer.is_empty() {
                continue;
            }
            for (l, layer) in layout(&self.model).iter().enumerate() {
                for (name, range, shape) in shapes(layer) {
                    let tensor = Tensor { shape, values: &buffer[range] };
                    tensors.push((format!("{prefix}layers.{l}.{name}"), tensor));
                }
            }
        }
        // One entry only: the library writes the map in no certain order.
        let metadata = HashMap::from([("nn".to_owned(), sealed(&serde_json::to_string(&metadata)?))]);
        safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)
    }

    fn buffers(&self) -> [&[f32]; 3] {
        [&self.params, &self.moments[0], &self.moments[1]]
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_atomically(path, &self.to_bytes()?)
    }

    /// Reads and verifies a file.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ModelFileError> {
        let unreadable = |error| ModelFileError::Unreadable { path: path.to_owned(), error };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(ModelFileError::Folder { path: path.to_owned() });
        }
        if metadata.len() > LARGEST_FILE {
            let problem = format!("it has {} bytes, more than any model", metadata.len());
            return Err(ModelFileError::Damaged { path: path.to_owned(), problem });
        }
        Self::from_bytes(&std::fs::read(path).map_err(unreadable)?, path)
    }

    /// Reads and verifies bytes; `path` is only for messages.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ModelFileError> {
        let path = || path.to_owned();
        let damaged = |problem: String| ModelFileError::Damaged { path: path(), problem };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|map| map.get("nn"));
        let Some(text) = text else { return Err(ModelFileError::Foreign { path: path() }) };
        // The format first: another one may have other fields.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let bad = |error: serde_json::Error| damaged(format!("its metadata: {error}"));
        let version: Version = serde_json::from_str(text).map_err(bad)?;
        if version.format != FORMAT {
            return Err(ModelFileError::Version { path: path(), got: version.format });
        }
        let object = unsealed(text).ok_or_else(|| ModelFileError::Hash { path: path(), what: "metadata" })?;
        let metadata: Metadata = serde_json::from_str(&object).map_err(bad)?;
        let model = metadata.model;
        let outputs_named = metadata.input.classes.as_ref().is_none_or(|c| c.len() == model.output_width());
        let pictures_fit =
            metadata.input.image.is_none_or(|(h, w)| h.checked_mul(w) == Some(model.input_width()));
        if !outputs_named
            || !pictures_fit
            || metadata.run.manifest.model != model
            || metadata.input.scale.is_some_and(|s| !(s.is_finite() && s > 0.0))
        {
            return Err(damaged("its metadata does not fit its network".to_owned()));
        }
        let layers = layout(&model);
        let mut buffers: [Vec<f32>; 3] = Default::default();
        for (buffer, prefix) in buffers.iter_mut().zip(PREFIXES) {
            if !prefix.is_empty() && tensors.tensor(&format!("{prefix}layers.0.weight")).is_err() {
                continue;
            }
            for (l, layer) in layers.iter().enumerate() {
                for (name, _, shape) in shapes(layer) {
                    let tensor = format!("{prefix}layers.{l}.{name}");
                    let wrong = |problem: String| ModelFileError::Tensor {
                        path: path(),
                        tensor: tensor.clone(),
                        problem,
                    };
                    let view = tensors.tensor(&tensor).map_err(|_| wrong("is missing".to_owned()))?;
                    if view.dtype() != Dtype::F32 || view.shape() != shape {
                        return Err(wrong(format!(
                            "is {:?} of shape {:?} and not F32 of shape {shape:?}",
                            view.dtype(),
                            view.shape()
                        )));
                    }
                    let numbers = view.data().as_chunks::<4>().0;
                    buffer.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)));
                }
            }
        }
        let known = buffers.iter().filter(|buffer| !buffer.is_empty()).count() * layers.len() * 2;
        if tensors.len() != known {
            return Err(damaged(format!("it has {} tensors where {known} belong", tensors.len())));
        }
        let [params, first, second] = buffers;
        let hashes = [params_sha256(&params), params_sha256(&first), params_sha256(&second)];
        let [mine, mine_first, mine_second] = hashes;
        if mine != metadata.params_sha256 || [mine_first, mine_second] != metadata.moments_sha256 {
            return Err(ModelFileError::Hash { path: path(), what: "numbers" });
        }
        Ok(Self { model, input: metadata.input, run: metadata.run, params, moments: [first, second] })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use nn_core::{Activation, Cost, Init, Optimizer, Output, initial_parameters};
    use nn_engine::{Manifest, Recipe};

    use super::*;

    pub(in crate::store) fn example(step: u64) -> ModelFile {
        let model = Model::new(vec![4, 3, 2], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
        let manifest = ManifestParts {
            model: model.clone(),
            recipe: Recipe {
                init: Init::He,
                optimizer: Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
                learning_rate: 0.001,
                epochs: 3,
                ..Recipe::book()
            },
            train_samples: 23,
            data_sha256: "00".repeat(32),
        };
        let config_hash = Manifest::new(manifest.clone()).unwrap().hash();
        let params = initial_parameters(&model, Init::He, step);
        ModelFile {
            input: InputInfo {
                data: "squares".to_owned(),
                scale: Some(255.0),
                image: Some((2, 2)),
                classes: Some(vec!["no".to_owned(), "yes".to_owned()]),
            },
            run: RunInfo {
                step,
                epoch: EpochSums { loss: 0.1 + 0.2, correct: 7 },
                manifest,
                config_hash,
                generation: Some(2),
                validation: Some(Validation { epoch: 1, samples: 30, correct: 25, loss: 0.7 }),
                unlogged: vec![serde_json::json!({"epoch": 1, "train_loss": 0.1 + 0.2})],
            },
            moments: [params.iter().map(|x| x * 0.5).collect(), params.iter().map(|x| x * x).collect()],
            params,
            model,
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_bytes_are_always_the_same() {
        let file = example(5);
        let bytes = file.to_bytes().unwrap();
        assert_eq!(bytes, file.to_bytes().unwrap());
        assert_eq!(ModelFile::from_bytes(&bytes, Path::new("x")).unwrap(), file);
        let model = ModelFile { moments: Default::default(), ..file };
        assert_eq!(ModelFile::from_bytes(&model.to_bytes().unwrap(), Path::new("x")).unwrap(), model);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let file = example(5);
        let bytes = file.to_bytes().unwrap();
        for len in 0..bytes.len() {
            assert!(ModelFile::from_bytes(&bytes[..len], Path::new("x")).is_err(), "{len} bytes");
        }
        let mut changed = bytes.clone();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                changed[at] ^= 1 << bit;
                let read = ModelFile::from_bytes(&changed, Path::new("x"));
                assert!(read.is_err(), "bit {bit} of byte {at} of {}", bytes.len());
                changed[at] = bytes[at];
            }
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(ModelFile::from_bytes(&longer, Path::new("x")).is_err());
    }

    #[test]
    fn tensors_that_belong_to_no_layer_are_noticed() {
        let mut file = example(5);
        file.moments[1].clear();
        let mut bytes = file.to_bytes().unwrap();
        assert!(ModelFile::from_bytes(&bytes, Path::new("x")).is_ok());
        // One more, of no bytes, in the header of the same length.
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let more = format!(
            "{},\"x\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[{end},{end}]}}}}",
            std::str::from_utf8(&bytes[8..8 + header]).unwrap().trim_end().strip_suffix('}').unwrap(),
            end = bytes.len() - 8 - header,
        );
        let rest = bytes.split_off(8 + header);
        bytes = [&(more.len() as u64).to_le_bytes()[..], more.as_bytes(), &rest].concat();
        let error = ModelFile::from_bytes(&bytes, Path::new("x")).unwrap_err();
        assert!(error.to_string().contains("9 tensors where 8 belong"), "{error}");
    }

    #[test]
    fn foreign_and_future_files_are_named_as_such() {
        let foreign = safetensors::serialize(
            vec![("w", Tensor { shape: vec![1], values: &[1.0] })],
            None::<HashMap<String, String>>,
        );
        let error = ModelFile::from_bytes(&foreign.unwrap(), Path::new("theirs")).unwrap_err();
        assert!(error.to_string().contains("theirs was not written by nn"), "{error}");
        let future = HashMap::from([("nn".to_owned(), "{\"format\": 3, \"more\": 1}".to_owned())]);
        let future =
            safetensors::serialize(vec![("w", Tensor { shape: vec![1], values: &[1.0] })], Some(future));
        let error = ModelFile::from_bytes(&future.unwrap(), Path::new("x")).unwrap_err();
        assert!(error.to_string().contains("format 3"), "{error}");
    }
}
