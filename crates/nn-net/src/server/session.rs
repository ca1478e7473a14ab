//! One worker's stream, as the coordinator reads it: handshake, training set, gradients.
//!
//! Nothing is believed: messages become checked types or the end of the stream, headers are compared with the model
//! before anything is kept, and what the engine is given is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nn_engine::{Contribution, Event, Values, WorkerId};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::door::Visitor;
use super::driver::{Command, Peer, reject};
use super::{CoordinatorHandle, Facts};
use crate::data::DataFeed;
use crate::proto as pb;
use crate::wire::BUILD;
use crate::wire::convert::{FromWorker, GradientHead, Hello, Place, address};
use crate::wire::error::{TensorError, WireError};
use crate::wire::outbox::{Kind, Outbox};
use crate::wire::stream::{Messages, frame};
use crate::wire::tensor::Incoming;
use pb::RejectReason;
use pb::coordinator_message::Body;

/// How long a new stream may be silent.
const HELLO: Duration = Duration::from_secs(10);
/// How many heartbeats may be missed before the stream is given up; the engine gives up its work much sooner.
const MISSED: u32 = 30;

/// How a session ends.
enum End {
    /// The worker has gone, or was cut off.
    Gone,
    /// It is told why.
    Reject(RejectReason, String),
}

impl End {
    /// Tells a peer that ends its side why that is not the way to do it.
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

/// Reads a stream to its end.
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
    };
    let generation = session.facts.generation;
    let end = tokio::select! {
        end = session.talk(&visitor) => end,
        _ = killed.wait_for(|killed| *killed) => {
            outbox.abort(Status::unavailable("the coordinator ends"));
            End::Gone
        }
    };
    if let Some(worker) = session.worker {
        let command = match &end {
            End::Reject(RejectReason::Message | RejectReason::Tensor, _) => Command::Garbled(worker),
            _ => Command::Gone(worker),
        };
        let _ = session.handle.commands.send(command).await;
    }
    match end {
        // Says nothing if the stream has an end already.
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
        // Who says nothing at all is told what was expected; whoever has said hello may leave without a word.
        let mut hello = match first.map_err(|end| end.or_reject(WireError::Nothing))? {
            (_, FromWorker::Hello(hello)) => hello,
            (_, other) => return Err(WireError::Unexpected { got: other.name(), want: "Hello" }.into()),
        };
        self.admit(&hello)?;
        let _at_work = visitor.works();
        let address = visitor.address().to_string();
        let certificate = visitor.certificate().unwrap_or_default().to_owned();
        // What it calls itself is not proved; what its certificate says is.
        if !certificate.is_empty() && hello.name != certificate {
            hello.name = format!("{} ({certificate})", hello.name).trim_start().to_owned();
        }
        let worker = WorkerId(self.handle.next_worker.fetch_add(1, Ordering::Relaxed));
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

    /// The next message. The end of the stream is an `Err` too.
    async fn next(&mut self, patience: Duration) -> Result<(Place, FromWorker), End> {
        if self.outbox.has_ended() {
            return Err(End::Gone);
        }
        let Ok(message) = tokio::time::timeout(patience, self.messages.message()).await else {
            let message = format!("nothing was heard from the worker for {patience:.0?}; it may dial again");
            return Err(End::Reject(RejectReason::Silent, message));
        };
        match message {
            Ok(Some(message)) => Ok(message.try_into()?),
            Ok(None) => Err(End::Gone),
            // A link that breaks is nobody's fault, and must not count as one.
            Err(_) if self.messages.has_broken() => Err(End::Gone),
            Err(status) => Err(End::Reject(RejectReason::Message, status.message().to_owned())),
        }
    }

    /// The next message after Hello. What is of another life of the run counts for nothing: gradients are refused by the
    /// engine, which counts them, and whoever leaves may; anything else is no message for this stream.
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
                 version of nn on both",
                hello.build,
                hello.protocol,
                pb::PROTOCOL
            );
            return refuse(RejectReason::Protocol, message);
        }
        if hello.arithmetic != self.facts.arithmetic {
            let message = format!(
                "the worker's arithmetic (self-test {}) gives other bits than the coordinator's ({}): its gradients \
                 cannot be averaged with others; use the same version of nn on both, and if it is, report the worker's \
                 processor",
                hello.arithmetic, self.facts.arithmetic
            );
            return refuse(RejectReason::Arithmetic, message);
        }
        let offer = self.facts.training_set.sha256();
        if hello.data_fixed && !hello.data_held.iter().any(|held| held == offer) {
            let message = format!(
                "the worker's own data are not those of the run, whose training set has the content hash {offer}; give \
                 it the same files, or start it without --data to be sent them"
            );
            return refuse(RejectReason::Data, message);
        }
        if *self.handle.over.borrow() {
            return Err(over());
        }
        let most = self.facts.options.max_workers;
        let slots = &self.handle.connected;
        if slots.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1)).is_err()
        {
            let message =
                format!("there are {most} workers already, which is the most that the coordinator takes");
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
        };
        let place = Place { generation: facts.generation, ..Place::default() };
        let _ = self.outbox.push(Kind::Message, frame(&place.to_worker(Body::Welcome(welcome))));
    }

    /// Until the worker has the training set.
    async fn load(&mut self, worker: WorkerId) -> Result<(), End> {
        loop {
            match self.next_here().await?.1 {
                FromWorker::DataRequest { sha256, from_chunk } => {
                    self.known(&sha256)?;
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
                    self.known(&sha256)?;
                    return self.command(Command::Ready(worker)).await;
                }
                FromWorker::Heartbeat => {}
                FromWorker::Goodbye => return Err(End::Gone),
                other => return Err(WireError::Unexpected { got: other.name(), want: "Ready" }.into()),
            }
        }
    }

    fn known(&self, sha256: &str) -> Result<(), End> {
        let offer = self.facts.training_set.sha256();
        if sha256 == offer {
            return Ok(());
        }
        let message = format!("the training set has the content hash {offer}, and there is no other");
        Err(End::Reject(RejectReason::Data, message))
    }

    /// Until the worker leaves.
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
                    let incoming = Incoming::new(&self.facts.shapes, &head.tensor)?;
                    arriving = Some((place, head, incoming, Vec::new()));
                }
                FromWorker::Chunk(chunk) => {
                    let Some((of, _, incoming, chunks)) = &mut arriving else {
                        return Err(TensorError::NoHeader.into());
                    };
                    if place != *of {
                        return Err(TensorError::Place.into());
                    }
                    incoming.chunk(&chunk)?;
                    self.received.fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
                    chunks.push(chunk.data);
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
                            values: Values::Wire(chunks),
                            finite: head.finite,
                            stats: head.stats,
                            compute: head.compute,
                        };
                        self.command(Command::Gradient(Box::new(contribution))).await?;
                    } else if heard.elapsed() >= self.facts.options.heartbeat {
                        // The worker's own heartbeats wait behind the gradient, which may take long on a thin link.
                        heard = Instant::now();
                        self.command(Command::Event(Event::Heartbeat(worker))).await?;
                    }
                }
                FromWorker::Heartbeat => self.command(Command::Event(Event::Heartbeat(worker))).await?,
                FromWorker::Goodbye => return Ok(()),
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
