//! Where a worker's training set comes from: its own data, its cache, or the coordinator.

use std::sync::Arc;

use nn_core::Dataset;
use nn_engine::Manifest;

use super::{Say, Session, Stop, Stream};
use crate::client::cache::{self, Partial};
use crate::client::event::WorkerEvent;
use crate::data::{DataError, most_bytes};
use crate::proto as pb;
use crate::wire::CHUNK;
use crate::wire::convert::FromCoordinator;

impl Session<'_> {
    /// The run's training set, and whether the worker already had it.
    pub(super) async fn training_set(
        &self,
        stream: &mut Stream,
        manifest: &Manifest,
        offer: &pb::DataOffer,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<(Arc<Dataset>, bool), Stop> {
        if !cache::is_hash(&offer.sha256)
            || offer.bytes > most_bytes(manifest)
            || u64::from(offer.chunks) != offer.bytes.div_ceil(CHUNK as u64)
        {
            return Err(self.violation("the offered training set cannot be the manifest's").into());
        }
        if let Some(own) = self.options.data.as_ref().filter(|own| own.sha256() == offer.sha256) {
            return Ok((own.dataset().clone(), true));
        }
        let folder = self.options.cache.clone();
        let (wanted, hash) = (manifest.clone(), offer.sha256.clone());
        let kept = blocking(move || folder.and_then(|folder| cache::load(&folder, &wanted, &hash))).await;
        if let Some(kept) = kept {
            *partial = None;
            return Ok((Arc::new(kept), true));
        }
        self.fetch(stream, offer, partial, tell).await?;
        let Some(arrived) = partial.take() else { unreachable!("it has just been fetched") };
        let (wanted, hash) = (manifest.clone(), offer.sha256.clone());
        let set = blocking(move || arrived.finish(&wanted, &hash)).await?;
        Ok((Arc::new(set), false))
    }

    /// Receives the offered set into `partial`, without the chunks that arrived before an earlier connection broke.
    async fn fetch(
        &self,
        stream: &mut Stream,
        offer: &pb::DataOffer,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<(), Stop> {
        let arriving = match partial {
            Some(arriving) if arriving.is_of(&offer.sha256) => arriving,
            _ => partial
                .insert(Partial::new(&offer.sha256, self.options.cache.as_deref()).map_err(DataError::from)?),
        };
        let from_chunk = arriving.chunks();
        let mut done = (u64::from(from_chunk) * CHUNK as u64).min(offer.bytes);
        self.say(Say::DataRequest(pb::DataRequest { sha256: offer.sha256.clone(), from_chunk }));
        tell(WorkerEvent::Receiving { from: done, total: offer.bytes });
        for index in from_chunk..offer.chunks {
            tell(WorkerEvent::Loading { done, total: offer.bytes });
            let chunk = match self.next(stream).await?.1 {
                FromCoordinator::Data(chunk) => chunk,
                other => return Err(self.unexpected(&other, "DataChunk")),
            };
            let want = (offer.bytes - done).min(CHUNK as u64);
            if chunk.index != index || chunk.total != offer.chunks || chunk.data.len() as u64 != want {
                return Err(self
                    .violation(format!("expected data chunk {index}, got data chunk {}", chunk.index))
                    .into());
            }
            if crc32fast::hash(&chunk.data) != chunk.crc32 {
                return Err(self.violation(format!("data chunk {index} is corrupted")).into());
            }
            arriving.write(&chunk.data).map_err(DataError::from)?;
            done += want;
        }
        tell(WorkerEvent::Loading { done, total: offer.bytes });
        Ok(())
    }
}

/// Runs file operations on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
