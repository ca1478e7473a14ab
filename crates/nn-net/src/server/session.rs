//! One worker's stream, from the coordinator's side: handshake, training set, gradients.
//!
//! Nothing is trusted: a message becomes a checked type or ends the stream, a header is compared with the model before
//! anything is stored, and the engine receives only complete tensors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nn_engine::{Contribution, Event, MAX_WORKERS, Received, Values, WorkerId};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::coordinator::CoordinatorHandle;
use super::door::Visitor;
use super::driver::Command;
use super::facts::Facts;
use super::peer::{Peer, reject};
use crate::data::DataFeed;
use crate::proto as pb;
use crate::wire::BUILD;
use crate::wire::convert::{FromWorker, GradientHead, Hello, Place, address};
use crate::wire::error::{TensorError, WireError};
use crate::wire::outbox::{Kind, Outbox};
use crate::wire::stream::{Messages, frame};
use crate::wire::tensor::{Direction, Incoming};
use pb::RejectReason;
use pb::coordinator_message::Body;

/// The longest silence at the beginning of a stream.
const HELLO: Duration = Duration::from_secs(10);
/// Heartbeats that a worker may miss before its stream is ended. The engine reassigns its nodes much sooner.
const MISSED: u32 = 30;

/// How a session ends.
enum End {
    /// The worker has left, or was disconnected.
    Gone,
    /// The worker is told the reason.
    Reject(RejectReason, String),
}

impl End {
    /// Rejects a peer that ended its side too early.
    fn or_reject(self, error: WireError) -> Self {
        match self {
            Self::Gone => error.into(),
            Self::Reject(..) => self,
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Reject(error.reason(), error.to_string())
    }
}

impl From<TensorError> for End {
    fn from(error: TensorError) -> Self {
        WireError::from(error).into()
    }
}

/// Runs a session to the end of its stream.
pub(super) async fn run(
    handle: CoordinatorHandle,
    messages: Messages<pb::WorkerMessage>,
    outbox: Outbox,
    visitor: Visitor,
    mut killed: watch::Receiver<bool>,
) {
    let mut session = Session {
        facts: handle.facts.clone(),
        handle,
        messages,
        outbox: outbox.clone(),
        received: Arc::default(),
        worker: None,
        slot: None,
        guest: None,
    };
    let (generation, before) = (session.facts.generation, visitor.bytes());
    let end = tokio::select! {
        end = session.talk(&visitor) => end,
        _ = killed.wait_for(|killed| *killed) => {
            outbox.abort(Status::unavailable("the coordinator is shutting down"));
            End::Gone
        }
    };
    session.note_cut(&end, visitor.bytes().saturating_sub(before));
    if let Some(worker) = session.worker {
        let command = match &end {
            End::Reject(RejectReason::Message | RejectReason::Tensor, _) => Command::Garbled(worker),
            _ => Command::Gone(worker),
        };
        let _ = session.handle.commands.send(command).await;
    }
    match end {
        // Has no effect if the stream has already ended.
        End::Gone => outbox.finish(Some(Status::ok(""))),
        End::Reject(reason, message) => reject(&outbox, generation, reason, &message),
    }
}

struct Session {
    facts: Arc<Facts>,
    handle: CoordinatorHandle,
    messages: Messages<pb::WorkerMessage>,
    outbox: Outbox,
    received: Arc<AtomicU64>,
    worker: Option<WorkerId>,
    slot: Option<Slot>,
    /// The member and its name, until it says goodbye.
    guest: Option<(u64, String)>,
}

/// A place among the connected workers, for as long as it is held.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    async fn talk(&mut self, visitor: &Visitor) -> End {
        match self.try_talk(visitor).await {
            Ok(()) => End::Gone,
            Err(end) => end,
        }
    }

    async fn try_talk(&mut self, visitor: &Visitor) -> Result<(), End> {
        let first = self.next(HELLO).await;
        // A peer that ends its side without a message is told what was expected; after Hello it may just leave.
        let mut hello = match first.map_err(|end| end.or_reject(WireError::Nothing))? {
            (_, FromWorker::Hello(hello)) => hello,
            (_, other) => return Err(WireError::Unexpected { got: other.name(), want: "Hello" }.into()),
        };
        self.admit(&hello)?;
        let _at_work = visitor.works();
        let address = visitor.address().to_string();
        let certificate = visitor.certificate().unwrap_or_default().to_owned();
        // Its own name for itself is not proved, but the one in its certificate is.
        if !certificate.is_empty() && hello.name != certificate {
            hello.name = format!("{} ({certificate})", hello.name).trim_start().to_owned();
        }
        let worker = WorkerId(self.handle.next_worker.fetch_add(1, Ordering::Relaxed));
        let name = if hello.name.is_empty() { &address } else { &hello.name };
        self.guest = Some((hello.member, name.clone()));
        let (outbox, received) = (self.outbox.clone(), self.received.clone());
        self.command(Command::Connected(Box::new(Peer {
            worker,
            hello,
            address,
            certificate,
            outbox,
            received,
        })))
        .await?;
        self.worker = Some(worker);
        self.welcome(worker);
        self.load(worker).await?;
        self.gradients(worker).await
    }

    /// Notes how many bytes arrived, if the connection broke. (Those of a message that was cut in two count.)
    fn note_cut(&self, end: &End, bytes: u64) {
        let ended_here = self.outbox.has_ended() && !self.messages.has_broken();
        if let (End::Gone, Some((member, name))) = (end, &self.guest)
            && !ended_here
            && !*self.handle.over.borrow()
        {
            self.facts.cuts.note(*member, name, bytes);
        }
    }

    /// The next message. The end of the stream is an `Err`, too.
    async fn next(&mut self, patience: Duration) -> Result<(Place, FromWorker), End> {
        if self.outbox.has_ended() {
            return Err(End::Gone);
        }
        let Ok(message) = tokio::time::timeout(patience, self.messages.message()).await else {
            let message = format!("the worker was silent for {patience:.0?}; it may dial again");
            return Err(End::Reject(RejectReason::Silent, message));
        };
        match message {
            Ok(Some(message)) => Ok(message.try_into()?),
            Ok(None) => Err(End::Gone),
            // A broken connection is not the worker's fault, and must not count as malformed.
            Err(_) if self.messages.has_broken() => Err(End::Gone),
            Err(status) => Err(End::Reject(RejectReason::Message, status.message().to_owned())),
        }
    }

    /// The next message after Hello. Messages of another generation have no effect: the engine refuses and counts gradients,
    /// a worker may always leave, and anything else ends the stream.
    async fn next_here(&mut self) -> Result<(Place, FromWorker), End> {
        let (place, message) = self.next(self.patience()).await?;
        let (got, want) = (place.generation, self.facts.generation);
        let judged_elsewhere =
            matches!(message, FromWorker::Gradient(_) | FromWorker::Chunk(_) | FromWorker::Goodbye);
        if got != want && !judged_elsewhere {
            return Err(WireError::Generation { message: message.name(), got, want }.into());
        }
        Ok((place, message))
    }

    fn patience(&self) -> Duration {
        self.facts.options.heartbeat * MISSED
    }

    async fn command(&mut self, command: Command) -> Result<(), End> {
        self.handle.commands.send(command).await.map_err(|_| over())
    }

    fn admit(&mut self, hello: &Hello) -> Result<(), End> {
        let refuse = |reason, message| Err(End::Reject(reason, message));
        if hello.protocol != pb::PROTOCOL {
            let message = format!(
                "the worker ({}) speaks version {} of the protocol, the coordinator ({BUILD}) version {}; use the same \
                 version of nn on both sides",
                hello.build,
                hello.protocol,
                pb::PROTOCOL
            );
            return refuse(RejectReason::Protocol, message);
        }
        if hello.arithmetic != self.facts.arithmetic {
            let message = format!(
                "the worker's arithmetic (self-test {}) gives other bits than the coordinator's ({}), so its gradients \
                 cannot be averaged with others; use the same version of nn on both sides, and if it is the same, report \
                 the worker's processor",
                hello.arithmetic, self.facts.arithmetic
            );
            return refuse(RejectReason::Arithmetic, message);
        }
        let offer = self.facts.training_set.sha256();
        if hello.data_fixed && !hello.data_held.iter().any(|held| held == offer) {
            let message = format!(
                "the worker's own data are not the run's training set, which has the content hash {offer}; give the worker \
                 the same files, or start it without --data to receive them"
            );
            return refuse(RejectReason::Data, message);
        }
        if *self.handle.over.borrow() {
            return Err(over());
        }
        let slots = &self.handle.connected;
        let taken = slots.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < MAX_WORKERS).then_some(taken + 1)
        });
        if taken.is_err() {
            let message = format!("the coordinator has {MAX_WORKERS} workers, the most that it takes");
            return refuse(RejectReason::Full, message);
        }
        self.slot = Some(Slot(slots.clone()));
        Ok(())
    }

    fn welcome(&self, worker: WorkerId) {
        let facts = &self.facts;
        let welcome = pb::Welcome {
            worker: worker.0,
            manifest_json: facts.manifest_json.clone(),
            manifest_hash: facts.manifest_hash.clone(),
            heartbeat_millis: facts.options.heartbeat.as_millis() as u32,
            data: Some(facts.training_set.offer()),
            build: BUILD.to_owned(),
            reads_compact: true,
        };
        let place = Place { generation: facts.generation, ..Place::default() };
        let _ = self.outbox.push(Kind::Message, frame(&place.to_worker(Body::Welcome(welcome))));
    }

    /// Serves the training set until the worker has it.
    async fn load(&mut self, worker: WorkerId) -> Result<(), End> {
        loop {
            match self.next_here().await?.1 {
                FromWorker::DataRequest { sha256, from_chunk } => {
                    self.check_hash(&sha256)?;
                    let chunks = self.facts.training_set.chunks();
                    if from_chunk > chunks {
                        let value = format!("{from_chunk} of {chunks}");
                        let field = "from_chunk";
                        return Err(WireError::Impossible { message: "DataRequest", field, value }.into());
                    }
                    let place = Place { generation: self.facts.generation, ..Place::default() };
                    let set = self.facts.training_set.clone();
                    self.outbox.set_feed(Box::new(DataFeed { set, place, next: from_chunk }));
                }
                FromWorker::Ready { sha256 } => {
                    self.check_hash(&sha256)?;
                    return self.command(Command::Ready(worker)).await;
                }
                FromWorker::Heartbeat => {}
                FromWorker::Goodbye => {
                    self.guest = None;
                    return Err(End::Gone);
                }
                other => return Err(WireError::Unexpected { got: other.name(), want: "Ready" }.into()),
            }
        }
    }

    fn check_hash(&self, sha256: &str) -> Result<(), End> {
        let offer = self.facts.training_set.sha256();
        if sha256 == offer {
            return Ok(());
        }
        let message = format!("the training set has the content hash {offer}; there is no other");
        Err(End::Reject(RejectReason::Data, message))
    }

    /// Receives gradients until the worker leaves.
    async fn gradients(&mut self, worker: WorkerId) -> Result<(), End> {
        let mut arriving: Option<(Place, GradientHead, Incoming, Vec<Bytes>)> = None;
        let mut heard = Instant::now();
        loop {
            let (place, message) = self.next_here().await?;
            match message {
                FromWorker::Gradient(head) => {
                    if arriving.is_some() {
                        return Err(TensorError::Unfinished.into());
                    }
                    let incoming = Incoming::new(&self.facts.shapes, Direction::Up, &head.tensor)?;
                    arriving = Some((place, head, incoming, Vec::new()));
                }
                FromWorker::Chunk(chunk) => {
                    let Some((of, _, incoming, chunks)) = &mut arriving else {
                        return Err(TensorError::NoHeader.into());
                    };
                    if place != *of {
                        return Err(TensorError::Place.into());
                    }
                    let length = chunk.data.len() as u64;
                    chunks.push(incoming.chunk(chunk)?);
                    self.received.fetch_add(length, Ordering::Relaxed);
                    if let Some((place, head, incoming, chunks)) =
                        arriving.take_if(|(_, _, incoming, _)| incoming.is_complete())
                    {
                        let (generation, step, attempt) = address(place);
                        let contribution = Contribution {
                            worker,
                            generation,
                            step,
                            attempt,
                            node: head.node,
                            part: incoming.part(),
                            values: Values::Received(Received::new(incoming.encoding(), chunks)),
                            finite: head.finite,
                            stats: head.stats,
                            compute: head.compute,
                        };
                        self.command(Command::Gradient(Box::new(contribution))).await?;
                    } else if heard.elapsed() >= self.facts.options.heartbeat {
                        // The worker's heartbeats wait behind the gradient, which may take long on a slow link.
                        heard = Instant::now();
                        self.command(Command::Event(Event::Heartbeat(worker))).await?;
                    }
                }
                FromWorker::Heartbeat => self.command(Command::Event(Event::Heartbeat(worker))).await?,
                FromWorker::Goodbye => {
                    self.guest = None;
                    return Ok(());
                }
                other => {
                    let want = "a gradient, Heartbeat or Goodbye";
                    return Err(WireError::Unexpected { got: other.name(), want }.into());
                }
            }
        }
    }
}

fn over() -> End {
    End::Reject(RejectReason::Over, "the run is over; wait for the next one with --stay".to_owned())
}
