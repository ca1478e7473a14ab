//! Why a coordinator cannot start or serve.

use thiserror::Error;

/// Why a coordinator cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The training set is not the one that the manifest describes.
    #[error("the training set does not fit the run: {0}")]
    Data(String),
    /// The manifest cannot be written as JSON.
    #[error("cannot describe the run to workers: {0}")]
    Manifest(#[from] serde_json::Error),
    /// The system provides no thread.
    #[error("cannot start the engine's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why serving ended before the run did.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The socket, or a layer below it, failed.
    #[error("cannot serve: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The reflection service rejects our descriptor.
    #[error("cannot describe the services: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The engine's thread panicked.
    #[error("the engine's thread has failed; its message is above")]
    Engine,
}
