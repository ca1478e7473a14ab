//! Errors in messages and tensors of a peer.

use thiserror::Error;
use tonic::{Code, Status};

use crate::proto as pb;

/// An error in a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum TensorError {
    #[error("there is no layer {got}: the model has {want} layers, counted from 0")]
    Layer { got: u32, want: usize },
    #[error("the header announces {got} numbers, but this part of the model has {want}")]
    Length { got: u64, want: usize },
    #[error("the header announces {got} chunks, but the tensor takes {want} of 1 MiB")]
    Chunks { got: u32, want: u32 },
    #[error("expected chunk {want} of {total} of the announced tensor, got chunk {got}")]
    Order { got: u32, want: u32, total: u32 },
    #[error("chunk {index} has {got} bytes instead of {want}")]
    ChunkLength { index: u32, got: usize, want: usize },
    #[error("chunk {index} is said to be compact, but is not the compact form of its numbers")]
    NotCompact { index: u32 },
    #[error("the checksum of chunk {index} does not match its bytes")]
    Checksum { index: u32 },
    #[error("the checksum of the tensor does not match its chunks")]
    TensorChecksum,
    #[error("a chunk arrived without a header")]
    NoHeader,
    #[error("a tensor begins before the previous one is complete")]
    Unfinished,
    #[error("a chunk is for another generation, step or attempt than its header")]
    Place,
}

/// An error in a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum WireError {
    #[error("the message has no body, or that of a newer protocol")]
    NoBody,
    #[error("{message} lacks the field {field}")]
    Missing { message: &'static str, field: &'static str },
    #[error("{message} has an impossible {field}: {value}")]
    Impossible { message: &'static str, field: &'static str, value: String },
    #[error("expected {want}, got {got}")]
    Unexpected { got: &'static str, want: &'static str },
    #[error("{message} is for generation {got} of the run, but this is {want}; use the one from Welcome")]
    Generation { message: &'static str, got: u64, want: u64 },
    #[error("the stream ended without a message; begin with Hello, and keep the stream open")]
    Nothing,
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl WireError {
    /// The reason to give the peer.
    pub(crate) fn reason(&self) -> pb::RejectReason {
        match self {
            Self::Tensor(_) => pb::RejectReason::Tensor,
            _ => pb::RejectReason::Message,
        }
    }
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        Self::new(Code::InvalidArgument, error.to_string())
    }
}
