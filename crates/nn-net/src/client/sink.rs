//! What a worker does with its results: they become messages to the coordinator.

use std::time::Duration;

use nn_core::NodeStats;
use nn_engine::Encoding;

use crate::compute::{Head, Sink};
use crate::proto as pb;
use crate::wire::convert::gradient_header;
use crate::wire::outbox::Outbox;
use crate::wire::tensor::{Payload, Pool};

/// Sends gradients and differences on a stream.
pub(super) struct Sender {
    pub(super) outbox: Outbox,
    pub(super) encoding: Encoding,
    /// Whether the coordinator reads compact chunks.
    pub(super) compact: bool,
    pub(super) pool: Pool,
}

impl Sender {
    fn send(&self, head: Head, payload: &Payload) -> bool {
        let Head { place, node, part, finite, last } = head;
        let stats = last.map(|(stats, time)| wire_stats(&stats, time));
        let framed =
            payload.messages(place, part, |tensor| gradient_header(place, node, finite, stats, tensor));
        self.outbox.push_blocking(framed)
    }
}

impl Sink for Sender {
    fn buffer(&self, len: usize) -> Vec<f32> {
        self.pool.take(len)
    }

    fn gradient(&self, head: Head, values: Vec<f32>) -> bool {
        self.send(head, &Payload::shared(self.pool.seal(self.encoding, values)))
    }

    fn difference(&self, head: Head, numbers: usize, bytes: Vec<u8>) -> bool {
        let payload = if self.compact { Payload::compacted } else { Payload::encoded };
        self.send(head, &payload(self.encoding, numbers, &bytes.into()))
    }
}

fn wire_stats(stats: &NodeStats, time: Duration) -> pb::NodeStats {
    let (samples, correct) = (stats.samples as u64, stats.correct as u64);
    pb::NodeStats { samples, loss: stats.loss, correct, compute_micros: time.as_micros() as u64 }
}
