//! The safetensors file of a model or checkpoint.
//!
//! Tensors are `layers.0.weight` of shape `[out, in]`, `layers.0.bias` of shape `[out]`, and so on. A normalised layer also has
//! `layers.0.norm.weight` (γ) and `layers.0.norm.bias` (β), as PyTorch's `LayerNorm` names them. Checkpoints add
//! `optimizer.first.*` and `optimizer.second.*` with the same names and, in a run whose model is a moving average of the weights,
//! that average as `average.*`; a finished model has the average in the place of the weights. Everything else is JSON in the metadata entry `nn`. Its
//! first field is the SHA-256 of its other fields, which include the SHA-256 of the tensors, so that any changed byte is
//! detected.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use nn_core::{LayerLayout, Model, OptimizerState, Plateau, ScheduleShape, layout};
use nn_data::Preparation;
use nn_engine::{EpochSums, ManifestParts, Recipe, Snapshot, params_sha256};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::atomic::write_atomically;
use super::seal::{sealed, unsealed};

/// The version of the metadata.
const FORMAT: u32 = 2;

/// The largest file that is read, in bytes: more than the largest model with its optimizer's state.
const LARGEST_FILE: u64 = 32 << 30;

/// The form of the inputs in training, so that later inputs can be given the same form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputInfo {
    /// The name of the data set.
    pub data: String,
    /// The divisor of bytes; `None` if the samples were not bytes.
    pub scale: Option<f32>,
    /// `(height, width)` in pixels, if samples are images.
    pub image: Option<(usize, usize)>,
    /// The names of the classes; `None` for regression.
    pub classes: Option<Vec<String>>,
    /// How the columns of a table became inputs; `None` for pictures and for numbers that were used as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
    /// Whether the samples were picture files, whose greys were used as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub picture_files: bool,
}

/// The run that the parameters come from, and the step at which they were taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Completed steps.
    pub step: u64,
    /// Sums over the epoch so far.
    pub epoch: EpochSums,
    /// The manifest of the run.
    pub manifest: ManifestParts,
    /// The hash of the manifest.
    pub config_hash: String,
    /// The number of times that the run had been resumed. `None` in a finished model, so that runs with the same weights
    /// give the same file no matter how often they were interrupted.
    pub generation: Option<u64>,
    /// The result on the validation samples; only in the best checkpoint.
    pub validation: Option<Validation>,
    /// The best result up to this step; `None` without validation samples, and in a finished model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestSoFar>,
    /// The state of the schedule `plateau`, in the checkpoints of runs that have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau: Option<Plateau>,
    /// Lines for the metrics log that could not be written yet because the disk was full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlogged: Vec<Value>,
    /// Where the parameters come from, if no run has made them: then the manifest has the network and nothing else, and no samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
}

/// The file of another program that a model was imported from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Its name.
    pub file: String,
    /// Its SHA-256, without those of files that it names.
    pub sha256: String,
    /// The program that wrote it, if the file says it.
    pub producer: String,
}

/// What a run has chosen by its validation samples so far: a function of its evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestSoFar {
    /// The best result.
    pub result: Validation,
    /// Evaluations since then, none of them better.
    pub since: u32,
}

/// The result of a network on the validation samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The completed epoch, counted from 1.
    pub epoch: u64,
    /// Number of validation samples.
    pub samples: usize,
    /// Number of correct predictions.
    pub correct: usize,
    /// Mean loss over the validation samples.
    pub loss: f64,
}

impl Validation {
    /// Whether this result has more correct predictions, or as many with a lower loss.
    #[must_use]
    pub fn is_better_than(&self, other: &Self) -> bool {
        (self.correct, -self.loss) > (other.correct, -other.loss)
    }
}

/// The contents of a model or checkpoint file.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The network.
    pub model: Model,
    /// The form of its inputs.
    pub input: InputInfo,
    /// The run that it comes from.
    pub run: RunInfo,
    /// The parameters, layer by layer.
    pub params: Vec<f32>,
    /// The optimizer's moments, each empty or as long as the parameters; both empty in a finished model.
    pub moments: [Vec<f32>; 2],
    /// In the checkpoint of a run whose model is the moving average of the weights, that average; empty in all other files.
    pub average: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    model: Model,
    input: InputInfo,
    run: RunInfo,
    params_sha256: String,
    moments_sha256: [String; 2],
    /// Left out without an average, so that other files stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average_sha256: Option<String>,
}

/// The reason that a file is not a valid model or checkpoint.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ModelFileError {
    #[error("cannot read the model {path}: {error}", path = path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path} is a folder; give a file in it, such as {path}/model.safetensors", path = path.display())]
    Folder { path: PathBuf },
    #[error("{path} is not a safetensors file, or is damaged: {problem}", path = path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("{path} was not written by nn: its metadata has no entry `nn`", path = path.display())]
    Foreign { path: PathBuf },
    #[error("{path} has format {got}, but this version of nn reads only format {FORMAT}", path = path.display())]
    Version { path: PathBuf, got: u32 },
    #[error("{path} is damaged: tensor {tensor} {problem}", path = path.display())]
    Tensor { path: PathBuf, tensor: String, problem: String },
    #[error("{path} is damaged: the SHA-256 of its {what} does not match", path = path.display())]
    Hash { path: PathBuf, what: &'static str },
    #[error(
        "{path} is not a checkpoint: like a finished model, it lacks the state of the optimizer",
        path = path.display()
    )]
    Stateless { path: PathBuf },
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

/// The prefixes of the tensors' names in each of the four buffers of a file.
const PREFIXES: [&str; 4] = ["", "optimizer.first.", "optimizer.second.", "average."];

/// The tensors of a layer, in the order of its parameters: name, range in a buffer, and shape.
fn shapes(layer: &LayerLayout) -> Vec<(&'static str, std::ops::Range<usize>, Vec<usize>)> {
    let mut shapes = vec![
        ("weight", layer.weights.clone(), vec![layer.outputs, layer.inputs]),
        ("bias", layer.biases.clone(), vec![layer.outputs]),
    ];
    if !layer.gains.is_empty() {
        shapes.push(("norm.weight", layer.gains.clone(), vec![layer.outputs]));
        shapes.push(("norm.bias", layer.shifts.clone(), vec![layer.outputs]));
    }
    shapes
}

impl ModelFile {
    /// A checkpoint of a run, or the finished model if `snapshot` has no moments.
    pub fn new(model: Model, input: InputInfo, run: RunInfo, snapshot: Snapshot) -> Self {
        let Snapshot { params, moments, average, .. } = snapshot;
        Self { model, input, run, params, moments, average }
    }

    /// The parameters of the network as it is used: the average, if the run has one.
    pub fn model_params(&self) -> &[f32] {
        if self.average.is_empty() { &self.params } else { &self.average }
    }

    /// [`ModelFile::model_params`], taken out.
    pub fn into_model_params(self) -> Vec<f32> {
        if self.average.is_empty() { self.params } else { self.average }
    }

    /// Reads and verifies a checkpoint, which is a model with the state of the run's optimizer.
    ///
    /// # Errors
    /// [`ModelFileError`] if the file is not a valid checkpoint.
    pub fn read_checkpoint(path: &Path) -> Result<Self, ModelFileError> {
        // Reading a pipe would block.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let problem = "it is a pipe, a socket or a device".to_owned();
            return Err(ModelFileError::Damaged { path: path.to_owned(), problem });
        }
        let file = Self::read(path)?;
        // With rounds the moments are the coordinator's velocity and residual.
        let want = match file.run.manifest.recipe.rounds {
            Some(_) => [file.params.len(); 2],
            None => {
                let state = OptimizerState::new(file.run.manifest.recipe.optimizer, &file.model);
                state.moments().map(<[f32]>::len)
            }
        };
        let Recipe { ema, schedule, .. } = &file.run.manifest.recipe;
        let average = ema.map_or(0, |_| file.params.len());
        let plateau = matches!(schedule.shape, ScheduleShape::Plateau { .. });
        if want != [file.moments[0].len(), file.moments[1].len()]
            || file.average.len() != average
            || file.run.plateau.is_some() != plateau
        {
            return Err(ModelFileError::Stateless { path: path.to_owned() });
        }
        Ok(file)
    }

    /// The snapshot from which an engine resumes.
    pub fn snapshot(self) -> Snapshot {
        let Self { run, params, moments, average, .. } = self;
        Snapshot { step: run.step, params, moments, average, epoch: run.epoch, plateau: run.plateau }
    }

    /// The bytes of the file. The same model always gives the same bytes.
    ///
    /// # Errors
    /// If the metadata cannot be serialised as JSON, which does not happen.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
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
        // A single entry, because the library writes the map in no particular order.
        let metadata = HashMap::from([("nn".to_owned(), self.metadata()?)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)
    }

    /// All but the tensors, as sealed JSON.
    ///
    /// # Errors
    /// As for [`ModelFile::to_bytes`].
    pub fn metadata(&self) -> io::Result<String> {
        let metadata = Metadata {
            format: FORMAT,
            model: self.model.clone(),
            input: self.input.clone(),
            run: self.run.clone(),
            params_sha256: params_sha256(&self.params),
            moments_sha256: [params_sha256(&self.moments[0]), params_sha256(&self.moments[1])],
            average_sha256: hash_if_any(&self.average),
        };
        Ok(sealed(&serde_json::to_string(&metadata)?))
    }

    /// The finished model whose [`ModelFile::metadata`] is `text` and whose parameters are the tensors that `tensor` gives by name and
    /// shape; `path` names the file in errors.
    ///
    /// # Errors
    /// [`ModelFileError`] if the parts do not make a model.
    pub fn from_parts(
        text: &str,
        tensor: impl Fn(&str, &[usize]) -> Result<Vec<f32>, String>,
        path: &Path,
    ) -> Result<Self, ModelFileError> {
        let Metadata { model, input, run, params_sha256: hash, .. } = Metadata::parse(text, path)?;
        let mut params = Vec::new();
        for (l, layer) in layout(&model).iter().enumerate() {
            for (name, _, shape) in shapes(layer) {
                let name = format!("layers.{l}.{name}");
                let numbers = tensor(&name, &shape).map_err(|problem| ModelFileError::Tensor {
                    path: path.to_owned(),
                    tensor: name,
                    problem,
                })?;
                params.extend(numbers);
            }
        }
        if params_sha256(&params) != hash {
            return Err(ModelFileError::Hash { path: path.to_owned(), what: "numbers" });
        }
        Ok(Self { model, input, run, params, moments: Default::default(), average: Vec::new() })
    }

    /// The finished model of a checkpoint: the parameters that are used, without the state of the run.
    #[must_use]
    pub fn finished(mut self) -> Self {
        let run = RunInfo { generation: None, best: None, plateau: None, unlogged: Vec::new(), ..self.run };
        if !self.average.is_empty() {
            self.params = std::mem::take(&mut self.average);
        }
        Self { run, moments: Default::default(), ..self }
    }

    fn buffers(&self) -> [&[f32]; 4] {
        [&self.params, &self.moments[0], &self.moments[1], &self.average]
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// The system's error.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_atomically(path, &self.to_bytes()?)
    }

    /// Reads and verifies a file.
    ///
    /// # Errors
    /// [`ModelFileError`] if the file is not a valid model.
    pub fn read(path: &Path) -> Result<Self, ModelFileError> {
        let unreadable = |error| ModelFileError::Unreadable { path: path.to_owned(), error };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(ModelFileError::Folder { path: path.to_owned() });
        }
        if metadata.len() > LARGEST_FILE {
            let problem = format!("it has {} bytes, more than any model needs", metadata.len());
            return Err(ModelFileError::Damaged { path: path.to_owned(), problem });
        }
        Self::from_bytes(&std::fs::read(path).map_err(unreadable)?, path)
    }

    /// Verifies and decodes the bytes of a file; `path` names them in errors.
    ///
    /// # Errors
    /// [`ModelFileError`] if they are not a valid model.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ModelFileError> {
        let damaged = |problem: String| ModelFileError::Damaged { path: path.to_owned(), problem };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|map| map.get("nn"));
        let text = text.ok_or_else(|| ModelFileError::Foreign { path: path.to_owned() })?;
        let metadata = Metadata::parse(text, path)?;
        let layers = layout(&metadata.model);
        let mut buffers: [Vec<f32>; 4] = Default::default();
        for (buffer, prefix) in buffers.iter_mut().zip(PREFIXES) {
            if prefix.is_empty() || tensors.tensor(&format!("{prefix}layers.0.weight")).is_ok() {
                *buffer = read_buffer(&tensors, prefix, &layers, path)?;
            }
        }
        let of_buffer: usize = layers.iter().map(|layer| shapes(layer).len()).sum();
        let known = buffers.iter().filter(|buffer| !buffer.is_empty()).count() * of_buffer;
        if tensors.len() != known {
            return Err(damaged(format!("it has {} tensors instead of {known}", tensors.len())));
        }
        let [params, first, second, average] = buffers;
        if params_sha256(&params) != metadata.params_sha256
            || [params_sha256(&first), params_sha256(&second)] != metadata.moments_sha256
            || hash_if_any(&average) != metadata.average_sha256
        {
            return Err(ModelFileError::Hash { path: path.to_owned(), what: "numbers" });
        }
        let Metadata { model, input, run, .. } = metadata;
        Ok(Self { model, input, run, params, moments: [first, second], average })
    }
}

/// The hash of numbers that not every file has.
fn hash_if_any(numbers: &[f32]) -> Option<String> {
    (!numbers.is_empty()).then(|| params_sha256(numbers))
}

impl Metadata {
    /// Verifies and parses the metadata.
    fn parse(text: &str, path: &Path) -> Result<Self, ModelFileError> {
        // The format is read first, because another format may have other fields.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |problem: String| ModelFileError::Damaged { path: path.to_owned(), problem };
        let not_json = |error: serde_json::Error| damaged(format!("its metadata: {error}"));
        let Version { format } = serde_json::from_str(text).map_err(not_json)?;
        if format != FORMAT {
            return Err(ModelFileError::Version { path: path.to_owned(), got: format });
        }
        let object =
            unsealed(text).ok_or_else(|| ModelFileError::Hash { path: path.to_owned(), what: "metadata" })?;
        let metadata: Self = serde_json::from_str(&object).map_err(not_json)?;
        if metadata.is_consistent() {
            Ok(metadata)
        } else {
            Err(damaged("its metadata does not fit its network".to_owned()))
        }
    }

    /// Whether the inputs and the run fit the network.
    fn is_consistent(&self) -> bool {
        let InputInfo { image, scale, classes, preparation, .. } = &self.input;
        classes.as_ref().is_none_or(|names| names.len() == self.model.output_width())
            && image.is_none_or(|(h, w)| h.checked_mul(w) == Some(self.model.input_width()))
            && scale.is_none_or(|scale| scale.is_finite() && scale > 0.0)
            && preparation.as_ref().is_none_or(|p| self.fits(p))
            && self.run.manifest.model == self.model
    }

    /// Whether the preparation is the one of the run and fits the network.
    fn fits(&self, preparation: &Preparation) -> bool {
        let targets = preparation.targets.len();
        preparation.is_consistent(self.model.input_width())
            && (targets == 0 || targets == self.model.output_width())
            && self.run.manifest.preprocess_sha256.as_ref() == Some(&preparation.sha256())
    }
}

/// Reads the tensors of all layers whose names begin with `prefix`.
fn read_buffer(
    tensors: &SafeTensors<'_>,
    prefix: &str,
    layers: &[LayerLayout],
    path: &Path,
) -> Result<Vec<f32>, ModelFileError> {
    let mut buffer = Vec::new();
    for (l, layer) in layers.iter().enumerate() {
        for (name, _, shape) in shapes(layer) {
            let tensor = format!("{prefix}layers.{l}.{name}");
            let wrong = |problem: String| ModelFileError::Tensor {
                path: path.to_owned(),
                tensor: tensor.clone(),
                problem,
            };
            let view = tensors.tensor(&tensor).map_err(|_| wrong("is missing".to_owned()))?;
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                let (dtype, found) = (view.dtype(), view.shape());
                return Err(wrong(format!("is {dtype:?} of shape {found:?}, not F32 of shape {shape:?}")));
            }
            let numbers = view.data().as_chunks::<4>().0;
            buffer.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
    }
    Ok(buffer)
}

#[cfg(test)]
pub(crate) mod tests;
