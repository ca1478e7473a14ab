//! Sending a training set.

use std::sync::Arc;

use bytes::Bytes;

use super::set::TrainingSet;
use crate::proto as pb;
use crate::wire::CHUNK;
use crate::wire::convert::Place;
use crate::wire::outbox::Feed;
use crate::wire::stream::frame;

/// The chunks of a training set as messages, from chunk `next` on.
pub(crate) struct DataFeed {
    pub(crate) set: Arc<TrainingSet>,
    pub(crate) place: Place,
    pub(crate) next: u32,
}

impl Feed for DataFeed {
    fn next(&mut self) -> Option<Bytes> {
        let (index, total) = (self.next, self.set.chunks());
        if index >= total {
            return None;
        }
        self.next += 1;
        let mut data = Vec::with_capacity(CHUNK + 4);
        self.set.write(self.set.chunk_range(index), &mut data);
        let crc32 = crc32fast::hash(&data);
        let chunk = pb::DataChunk { index, total, crc32, data: data.into() };
        Some(frame(&self.place.to_worker(pb::coordinator_message::Body::DataChunk(chunk))))
    }
}
