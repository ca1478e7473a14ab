//! The handshake: Hello was sent, and Welcome describes the run.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nn_engine::Manifest;

use super::{Say, Session, SessionEnd, Stop, Stream, WELCOME, manifest};
use crate::client::error::{ConnectError, WorkerError};
use crate::client::event::WorkerEvent;
use crate::proto as pb;
use crate::wire::convert::{FromCoordinator, Place, sentence};
use crate::wire::error::WireError;
use crate::wire::outbox::Kind;
use crate::wire::stream::frame;

impl Session<'_> {
    /// Waits to be admitted: the run, and the training set on offer.
    pub(super) async fn join(
        &mut self,
        stream: &mut Stream,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<(Manifest, pb::DataOffer), Stop> {
        let first = self.first(stream).await?;
        let converted: Result<(Place, FromCoordinator), WireError> = first.try_into();
        let welcome = match converted.map_err(|error| self.violation(error))? {
            (place, FromCoordinator::Welcome(welcome)) => {
                self.place.generation = place.generation;
                welcome
            }
            (_, FromCoordinator::Reject { reason, message }) => return Err(self.rejected(reason, &message)),
            (_, other) => return Err(self.unexpected(&other, "Welcome")),
        };
        let manifest = self.manifest(&welcome)?;
        self.compact = welcome.reads_compact;
        let (coordinator, worker) = (self.coordinator, welcome.worker);
        tell(WorkerEvent::Joined { coordinator, worker, manifest: &manifest });
        self.start_heartbeats(Duration::from_millis(u64::from(welcome.heartbeat_millis)));
        let offer = welcome.data.ok_or(WireError::Missing { message: "Welcome", field: "data" });
        Ok((manifest, offer.map_err(|error| self.violation(error))?))
    }

    /// The first message. Without one, whatever answered is no coordinator that admits workers.
    async fn first(&self, stream: &mut Stream) -> Result<pb::CoordinatorMessage, SessionEnd> {
        match tokio::time::timeout(WELCOME, stream.message()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => {
                let why = "it ended the stream without a message".to_owned();
                let url = self.coordinator.to_owned();
                Err(SessionEnd::NotNow(ConnectError::NotCoordinator { url, why }))
            }
            Ok(Err(status)) => Err(SessionEnd::NotNow(ConnectError::of_status(self.coordinator, &status))),
            Err(_) => Err(SessionEnd::NotNow(self.no_answer())),
        }
    }

    fn manifest(&self, welcome: &pb::Welcome) -> Result<Manifest, WorkerError> {
        manifest::read(welcome).map_err(|error| WorkerError::Manifest {
            coordinator: self.coordinator.to_owned(),
            why: sentence(&error.to_string()),
        })
    }

    fn start_heartbeats(&mut self, every: Duration) {
        let every = every.clamp(Duration::from_millis(10), Duration::from_secs(60));
        let (outbox, counters, place) = (self.outbox.clone(), self.counters.clone(), self.place);
        self.heartbeat = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let heartbeat = pb::Heartbeat {
                    nodes_waiting: counters.waiting.load(Ordering::Relaxed) as u32,
                    leaves_done: counters.leaves.load(Ordering::Relaxed),
                    compute_micros: counters.micros.load(Ordering::Relaxed),
                };
                let step = counters.step.load(Ordering::Relaxed);
                let message = Place { step, ..place }.to_coordinator(Say::Heartbeat(heartbeat));
                // If gradients fill the queue, no heartbeat is needed.
                let _ = outbox.push(Kind::Message, frame(&message));
            }
        }));
    }
}
