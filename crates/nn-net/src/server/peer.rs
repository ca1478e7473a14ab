//! A worker, as the driver knows it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nn_engine::WorkerId;
use tonic::Status;

use crate::proto as pb;
use crate::wire::convert::{Hello, Place};
use crate::wire::outbox::{Framed, Kind, Outbox, Overflow};
use crate::wire::stream::frame;
use pb::coordinator_message::Body;

/// A connected worker.
pub(super) struct Peer {
    pub(super) worker: WorkerId,
    pub(super) hello: Hello,
    pub(super) address: String,
    /// The name in its certificate; empty without one.
    pub(super) certificate: String,
    pub(super) outbox: Outbox,
    /// The gradient bytes that its session has read.
    pub(super) received: Arc<AtomicU64>,
}

impl Peer {
    /// The name to show to people.
    pub(super) fn name(&self) -> &str {
        if self.hello.name.is_empty() { &self.address } else { &self.hello.name }
    }

    /// Queues messages.
    pub(super) fn push(&self, kind: Kind, framed: impl Into<Framed>) {
        self.check(self.outbox.push(kind, framed));
    }

    /// Queues weights of a step that replace all earlier ones.
    pub(super) fn replace(&self, step: u64, framed: Framed) {
        self.check(self.outbox.replace(step, framed));
    }

    /// Disconnects a worker that does not read. Its session notices, and tells the driver.
    fn check(&self, pushed: Result<(), Overflow>) {
        if pushed.is_err() {
            self.outbox.abort(Status::unavailable("the worker does not read what it is sent"));
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("worker", &self.worker).field("address", &self.address).finish()
    }
}

/// A worker's traffic and work, for its rates.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    /// Bytes in both directions when rates were last computed.
    pub(super) bytes: u64,
    /// Bytes per second.
    pub(super) per_second: f64,
    /// Samples assigned to it since rates were last computed.
    pub(super) samples: u64,
    /// Its fraction of all samples assigned.
    pub(super) share: f64,
}

impl Meter {
    /// Takes its part of the samples assigned for its share, and begins to count anew.
    pub(super) fn divide(&mut self, assigned: u64) {
        self.share = self.samples as f64 / assigned as f64;
        self.samples = 0;
    }
}

/// Tells a worker why it may not participate (any longer), and ends its stream.
pub(super) fn reject(outbox: &Outbox, generation: u64, reason: pb::RejectReason, message: &str) {
    let place = Place { generation, ..Place::default() };
    let body = pb::Reject { reason: reason.into(), message: message.to_owned() };
    let status = match reason {
        pb::RejectReason::Message | pb::RejectReason::Tensor => Status::invalid_argument(message),
        pb::RejectReason::Full => Status::resource_exhausted(message),
        pb::RejectReason::Over | pb::RejectReason::Silent => Status::unavailable(message),
        _ => Status::failed_precondition(message),
    };
    // The driver may be about to say something, too; nothing follows a reject.
    outbox.finish_with(frame(&place.to_worker(Body::Reject(body))), Some(status));
}
