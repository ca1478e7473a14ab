//! What can be wrong with what a peer sends.

use thiserror::Error;
use tonic::{Code, Status};

use crate::proto as pb;

/// What is wrong with a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum TensorError {
    #[error("there is no layer {got}, counted from 0: the model has {want}")]
    Layer { got: u32, want: usize },
    #[error("the tensor is said to have {got} numbers, but the part of the model has {want}")]
    Length { got: u64, want: usize },
    #[error("the tensor is said to come in {got} chunks, but it takes {want} of 1 MiB")]
    Chunks { got: u32, want: u32 },
    #[error("chunk {got} came where chunk {want} of {total} belongs")]
    Order { got: u32, want: u32, total: u32 },
    #[error("chunk {index} has {got} bytes where {want} belong")]
    ChunkLength { index: u32, got: usize, want: usize },
    #[error("the checksum of chunk {index} is not that of its bytes")]
    Checksum { index: u32 },
    #[error("the checksum of the tensor is not that of its chunks")]
    TensorChecksum,
    #[error("a chunk came without a header before it")]
    NoHeader,
    #[error("a tensor begins before the one before it is complete")]
    Unfinished,
    #[error("a chunk is for another generation, step or attempt than the header before it")]
    Place,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum WireError {
    #[error("the message has no body, or one of a newer protocol")]
    NoBody,
    #[error("{message} lacks its field {field}")]
    Missing { message: &'static str, field: &'static str },
    #[error("{message} has an impossible {field}: {value}")]
    Impossible { message: &'static str, field: &'static str, value: String },
    #[error("{got} is not expected now, but {want}")]
    Unexpected { got: &'static str, want: &'static str },
    #[error(
        "{message} is for generation {got} of the run, but this is {want}; repeat the one that came with Welcome"
    )]
    Generation { message: &'static str, got: u64, want: u64 },
    #[error(
        "the stream has ended before it said anything; begin with Hello, and keep it open while taking part"
    )]
    Nothing,
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl WireError {
    /// The reason that the peer is told.
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
