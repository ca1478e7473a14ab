//! The samples of runs, from memory, from the worker's cache, or from the coordinator.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use nn_core::{Activation, Cost, Dataset, Model, Output};
use nn_engine::{Manifest, ManifestParts, Recipe};
use tokio::sync::Mutex;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use tonic::transport::Channel;

use crate::client::{ConnectError, Partial, WorkerError, WorkerOptions, is_hash, load_kept};
use crate::data::{DataError, most_bytes};
use crate::proto as pb;
use crate::wire::convert::sentence;
use crate::wire::{CHUNK, MAX_MESSAGE};
use pb::runs_client::RunsClient;

/// The chunks of a set.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<pb::DataChunk, Status>> + Send>>;
/// The way to them.
pub(super) type Asked = Pin<Box<dyn Future<Output = Result<Chunks, Status>> + Send>>;
/// Asks for them.
type Source = dyn Fn(pb::DataRequest) -> Asked + Send + Sync;

/// Gets samples: from memory, from the cache, or from the coordinator. Of several runs that need the same, one fetches.
#[derive(Clone)]
pub(super) struct Fetcher {
    source: Arc<Source>,
    pub(super) options: WorkerOptions,
    pub(super) coordinator: String,
    held: Arc<Mutex<HashMap<String, Arc<Dataset>>>>,
}

impl Fetcher {
    /// Fetches from the coordinator at the other end of the channel.
    pub(super) fn new(channel: Channel, options: &WorkerOptions, coordinator: &str) -> Self {
        let client = RunsClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let dial = options.dial.clone();
        let source = move |request: pb::DataRequest| {
            let (mut client, request) = (client.clone(), dial.request(request));
            let asked = async move {
                let chunks = client.fetch(request).await?.into_inner();
                Ok(Box::pin(chunks) as Chunks)
            };
            Box::pin(asked) as Asked
        };
        Self::of(Arc::new(source), options, coordinator)
    }

    /// Fetches from `source`.
    pub(super) fn of(source: Arc<Source>, options: &WorkerOptions, coordinator: &str) -> Self {
        let (options, coordinator) = (options.clone(), coordinator.to_owned());
        Self { source, options, coordinator, held: Arc::default() }
    }

    pub(super) fn violation(&self, message: impl ToString) -> WorkerError {
        let message = sentence(&message.to_string());
        WorkerError::Protocol { coordinator: self.coordinator.clone(), message }
    }

    pub(super) async fn sets(&self, sets: &[pb::RunSet]) -> Result<Vec<Arc<Dataset>>, WorkerError> {
        let mut found = Vec::new();
        // Held while samples are fetched, so that they are fetched once.
        let mut held = self.held.lock().await;
        for set in sets {
            let hash = set.data.as_ref().map(|data| data.sha256.clone()).unwrap_or_default();
            let samples = match held.get(&hash) {
                Some(samples) => samples.clone(),
                None => Arc::new(self.fetch(set).await?),
            };
            let _ = held.insert(hash, samples.clone());
            found.push(samples);
        }
        Ok(found)
    }

    async fn fetch(&self, set: &pb::RunSet) -> Result<Dataset, WorkerError> {
        let shape =
            shape(set).ok_or_else(|| self.violation("samples of an impossible shape are on offer"))?;
        let offer = set.data.clone().unwrap_or_default();
        if !is_hash(&offer.sha256)
            || offer.bytes > most_bytes(&shape)
            || u64::from(offer.chunks) != offer.bytes.div_ceil(CHUNK as u64)
        {
            return Err(self.violation("the samples on offer cannot be those of the run"));
        }
        let (folder, hash) = (self.options.cache.clone(), offer.sha256.clone());
        if let Some(folder) = folder.clone() {
            let shape = shape.clone();
            let kept = tokio::task::spawn_blocking(move || load_kept(&folder, &shape, &hash)).await;
            if let Ok(Some(kept)) = kept {
                return Ok(kept);
            }
        }
        let mut arriving = Partial::new(&offer.sha256, folder.as_deref()).map_err(DataError::from)?;
        let request = pb::DataRequest { sha256: offer.sha256.clone(), from_chunk: 0 };
        let connect = |status: Status| WorkerError::Connect {
            error: ConnectError::of_status(&self.coordinator, &status),
        };
        let mut stream = (self.source)(request).await.map_err(connect)?;
        let mut left = offer.bytes;
        for index in 0..offer.chunks {
            let chunk = stream.next().await.transpose().map_err(connect)?;
            let chunk = chunk.ok_or_else(|| self.violation("the samples end too early"))?;
            let want = left.min(CHUNK as u64);
            if chunk.index != index
                || chunk.data.len() as u64 != want
                || crc32fast::hash(&chunk.data) != chunk.crc32
            {
                return Err(self.violation(format!("data chunk {index} is not as it was offered")));
            }
            arriving.write(&chunk.data).map_err(DataError::from)?;
            left -= want;
        }
        let hash = offer.sha256;
        let read = tokio::task::spawn_blocking(move || arriving.finish(&shape, &hash)).await;
        read.map_err(|_| self.violation("the samples cannot be read"))?.map_err(WorkerError::Data)
    }
}

/// A manifest for samples of that shape, against which they are checked.
fn shape(set: &pb::RunSet) -> Option<Manifest> {
    let widths = vec![usize::try_from(set.inputs).ok()?, usize::try_from(set.outputs).ok()?];
    let model = Model::new(widths, Activation::Relu, Output::Linear, Cost::Mse).ok()?;
    Manifest::new(ManifestParts {
        model,
        recipe: Recipe { batch_size: 1, shard_size: 1, ..Recipe::book() },
        train_samples: usize::try_from(set.samples).ok()?,
        data_sha256: String::new(),
        preprocess_sha256: None,
    })
    .ok()
}
