//! Networks in the formats of other programs: ONNX, both ways, and PyTorch's state dictionaries.
//!
//! What a file of another program says is not trusted: its size is limited, its numbers are counted before they are copied, and what
//! cannot be computed here exactly as there is refused by name.

mod half;
mod network;
pub mod onnx;
mod state_dict;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use nn_core::ModelError;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use network::Said;

use crate::store::{Imported, ModelFile, ModelFileError};

/// The most bytes of a file to import.
const LARGEST_FILE: u64 = i32::MAX as u64;

/// Why a file is not imported.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ImportError {
    #[error("cannot read {path}: {error}", path = path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path} has more than 2 GiB", path = path.display())]
    TooLarge { path: PathBuf },
    #[error("{path} is neither an ONNX file nor a safetensors file: {problem}", path = path.display())]
    Unknown { path: PathBuf, problem: String },
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("the file is a model of nn already")]
    AlreadyOurs,
    #[error("{flags} has no effect on a file that nn wrote: it says all that itself")]
    NoEffect { flags: String },
    #[error(transparent)]
    Own(#[from] ModelFileError),
    #[error("tensor {tensor} {problem}")]
    Tensor { tensor: String, problem: String },
    #[error("node {node} {problem}")]
    Node { node: String, problem: String },
    #[error("layer {layer} {problem}")]
    Layer { layer: String, problem: String },
    #[error("the file holds no layer with weights")]
    NoLayers,
    #[error("the file does not say which activation the hidden layers have")]
    NoActivation,
    #[error("{flag} says {said}, but the file has {file}")]
    Contradiction { flag: &'static str, said: &'static str, file: &'static str },
    #[error("--class-names gives {names} names, but the network has {outputs} outputs")]
    Classes { names: usize, outputs: usize },
    #[error("pictures of {height}x{width} have {} pixels, but the network has {inputs} inputs", height.saturating_mul(*width))]
    Image { height: usize, width: usize, inputs: usize },
    #[error("--pixel-scale has no effect without pictures")]
    PixelsWithoutImage,
    #[error("the graph scales each pixel by numbers of its own, and nn scales all pixels of a picture alike")]
    EachPixel,
    #[error("--standardize would standardise twice: the graph does it already")]
    Twice,
    #[error("the file has parameters that are not finite")]
    NotFinite,
    #[error(transparent)]
    Model(ModelError),
}

impl ImportError {
    /// What the user can do, where that is known.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoActivation => "name it with --activation; a safetensors file has only numbers",
            Self::PixelsWithoutImage => "say the pictures' size with --image, such as --image 28x28",
            Self::EachPixel => {
                "export the network without that step, and give the mean and deviation of all pixels with --standardize; or \
                 export it with an input of the shape [batch, pixels] and import it without --image: then pixels are columns"
            }
            Self::Twice | Self::Contradiction { .. } | Self::NoEffect { .. } => "leave it out",
            Self::AlreadyOurs => "use it as it is, with --model",
            Self::Node { .. } => {
                "a network is imported if it is a chain of Gemm, or of MatMul and Add, each followed by one and the same \
                 activation (sigmoid, tanh, ReLU, leaky ReLU of slope 0.01, GELU, SiLU), with layer normalisation before all of \
                 these or none, and ends with softmax, sigmoid or neither"
            }
            Self::Tensor { .. } | Self::Layer { .. } => {
                "only chains of dense layers in floats of 32 or 16 bits are imported"
            }
            _ => return None,
        })
    }
}

/// A network that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The model.
    pub model: ModelFile,
    /// What was left out, one sentence each.
    pub notes: Vec<String>,
}

/// Reads an ONNX file or a safetensors file of another program, and with ONNX the files that it names beside it.
///
/// # Errors
/// [`ImportError`], which names what cannot be imported.
pub fn import(path: &Path, said: &Said) -> Result<Import, ImportError> {
    let bytes = read(path, 0, None)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let external = move |name: &str, offset: u64, length: u64| -> Result<Vec<u8>, String> {
        // A file must not lead to others than its neighbours.
        let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain || name.is_empty() {
            return Err(format!("is in the file {name:?}, which is not below the folder of the model"));
        }
        read(&folder.join(name), offset, Some(length)).map_err(|error| format!("is in another file: {error}"))
    };
    from_bytes(bytes, path, said, &external)
}

/// [`import`] of bytes; `external` reads numbers in other files, by name, offset and length, and `path` names the file in errors.
///
/// # Errors
/// As for [`import`].
pub fn from_bytes(
    bytes: Vec<u8>,
    path: &Path,
    said: &Said,
    external: &External<'_>,
) -> Result<Import, ImportError> {
    let file = path.file_name().map_or_else(|| "a file".into(), |name| name.to_string_lossy().into_owned());
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let origin = |producer: String| Imported { file, sha256, producer };
    // A safetensors file begins with the length of its header, and the header with a brace.
    if bytes.get(8) == Some(&b'{') {
        let (network, notes) = state_dict::read(&bytes)?;
        return Ok(Import { model: network.into_model(said, origin(String::new()))?, notes });
    }
    let file = onnx::File::parse(bytes, path)?;
    if let Some(model) = file.own(path)? {
        let flags = said.flags();
        if !flags.is_empty() {
            return Err(ImportError::NoEffect { flags: flags.join(", ") });
        }
        return Ok(Import { model, notes: Vec::new() });
    }
    let producer = file.producer();
    let (network, mut notes) = file.network(external)?;
    let model = network.into_model(said, origin(producer))?;
    if let Some(preparation) = &model.input.preparation {
        notes.push(format!(
            "the graph scales each input by numbers of its own, and so does the model: with the columns of a table, which are \
             the {} inputs in order, and behind them {}",
            preparation.columns.len(),
            if preparation.targets.is_empty() { "the class, if it is there" } else { "the answers, if they are there" },
        ));
    }
    Ok(Import { model, notes })
}

/// Reads numbers in another file: its name, where they begin, and how many bytes they are.
pub type External<'a> = dyn Fn(&str, u64, u64) -> Result<Vec<u8>, String> + 'a;

/// The bytes of a file, or `length` of them, from `offset`.
fn read(path: &Path, offset: u64, length: Option<u64>) -> Result<Vec<u8>, ImportError> {
    let unreadable = |error| ImportError::Unreadable { path: path.to_owned(), error };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    if offset > 0 {
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset)).map_err(unreadable)?;
    }
    let mut bytes = Vec::new();
    let most = length.unwrap_or(LARGEST_FILE + 1).min(LARGEST_FILE + 1);
    file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(ImportError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}
