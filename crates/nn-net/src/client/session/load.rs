//! How a worker comes by the training set: its own, one that it has kept, or the coordinator's.

use std::sync::Arc;

use nn_core::Dataset;
use nn_engine::Manifest;

use super::super::cache::Partial;
use super::super::{WorkerEvent, cache};
use super::{Say, Session, Stop};
use crate::data::{DataError, most_bytes};
use crate::proto as pb;
use crate::wire::CHUNK;
use crate::wire::convert::FromCoordinator;
use crate::wire::stream::Messages;

impl Session<'_> {
    /// The run's training set, and whether it was at hand.
    pub(super) async fn training_set(
        &self,
        stream: &mut Messages<pb::CoordinatorMessage>,
        manifest: &Manifest,
        offer: &pb::DataOffer,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<(Arc<Dataset>, bool), Stop> {
        if !cache::is_hash(&offer.sha256)
            || offer.bytes > most_bytes(manifest)
            || u64::from(offer.chunks) != offer.bytes.div_ceil(CHUNK as u64)
        {
            return Err(self.protocol("the training set offered cannot be the manifest's").into());
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
        // What came before an earlier connection broke is not sent again.
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
                    .protocol(format!("data chunk {} is not the one expected", chunk.index))
                    .into());
            }
            if crc32fast::hash(&chunk.data) != chunk.crc32 {
                return Err(self.protocol(format!("data chunk {index} is damaged")).into());
            }
            arriving.write(&chunk.data).map_err(DataError::from)?;
            done += want;
        }
        tell(WorkerEvent::Loading { done, total: offer.bytes });
        let Some(arrived) = partial.take() else { unreachable!("it has just been written to") };
        let (wanted, hash) = (manifest.clone(), offer.sha256.clone());
        let set = blocking(move || arrived.finish(&wanted, &hash)).await?;
        Ok((Arc::new(set), false))
    }
}

/// Files are read and written where blocking does not matter.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
