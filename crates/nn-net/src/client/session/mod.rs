//! One connection to a coordinator, from the worker's side.
//!
//! `join` shakes hands, `load` fetches the training set, `work` computes what is assigned until the stream ends.

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod join;
mod load;
mod manifest;
mod work;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, Request, header};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::cache::{self, Partial};
use super::error::{ConnectError, WorkerError};
use super::event::{RunOver, WorkerEvent, WorkerProgress};
use super::options::WorkerOptions;
use crate::compute::Counters;
use crate::data::DataError;
use crate::proto as pb;
use crate::runs::{self, RunsEnd};
use crate::wire::BUILD;
use crate::wire::convert::{FromCoordinator, Place, plain, sentence};
use crate::wire::error::WireError;
use crate::wire::outbox::{Kind, Outbox};
use crate::wire::stream::{Messages, frame};
use pb::worker_message::Body as Say;

/// The messages of a coordinator.
type Stream = Messages<pb::CoordinatorMessage>;

/// How a worker identifies itself to every coordinator.
#[derive(Debug)]
pub(super) struct WorkerIdentity {
    pub(super) member: u64,
    pub(super) incarnation: u64,
    pub(super) arithmetic: String,
}

/// How a connection ends when the worker may continue.
pub(super) enum SessionEnd {
    /// The worker was asked to end.
    ShutDown,
    /// The run is over.
    Over(RunOver),
    /// The connection broke after the worker was admitted.
    Lost(Lost),
    /// The worker was not admitted, which may change.
    NotNow(ConnectError),
}

/// A connection that broke after the worker was admitted.
pub(super) struct Lost {
    pub(super) reason: String,
    /// Bytes that were sent, or were on their way.
    pub(super) sent: u64,
    /// Whether contributions arrived.
    pub(super) earned: bool,
    pub(super) lasted: Duration,
}

/// Why the conversation stops.
enum Stop {
    End(SessionEnd),
    Fail(WorkerError),
}

impl From<SessionEnd> for Stop {
    fn from(end: SessionEnd) -> Self {
        Self::End(end)
    }
}

impl From<WorkerError> for Stop {
    fn from(error: WorkerError) -> Self {
        Self::Fail(error)
    }
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Self {
        Self::Fail(error.into())
    }
}

/// A connection for whole runs that lasted so long was worth dialling.
const LASTED: Duration = Duration::from_secs(5);
/// Bytes of gradients that may wait to be sent; a larger gradient waits alone.
const QUEUE: usize = 16 << 20;
/// The longest that the coordinator may take to answer the first message.
const WELCOME: Duration = Duration::from_secs(20);
/// The longest that a leaving worker waits for its last message to arrive.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Session<'a> {
    options: &'a WorkerOptions,
    identity: &'a WorkerIdentity,
    coordinator: &'a str,
    outbox: Outbox,
    place: Place,
    counters: Arc<Counters>,
    heartbeat: Option<JoinHandle<()>>,
    begun: Instant,
    /// The first step with an assignment.
    first_step: Option<u64>,
    /// Whether an assignment of a later step followed: then the nodes of an earlier one have arrived.
    earned: bool,
    /// Whether the coordinator has another service than that of one run.
    has_runs: bool,
    /// Whether the coordinator reads compact chunks.
    compact: bool,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(task) = &self.heartbeat {
            task.abort();
        }
        // The compute thread may be waiting for room.
        self.outbox.finish(None);
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(
        options: &'a WorkerOptions,
        identity: &'a WorkerIdentity,
        coordinator: &'a str,
    ) -> Self {
        // Replaced when the stream is opened.
        let (outbox, _) = Outbox::new(QUEUE);
        Self {
            options,
            identity,
            coordinator,
            outbox,
            place: Place::default(),
            counters: Arc::new(Counters { meter: options.meter.clone(), ..Counters::default() }),
            heartbeat: None,
            begun: Instant::now(),
            first_step: None,
            earned: false,
            has_runs: false,
            compact: false,
        }
    }

    /// Runs until the run is over, the connection breaks, or `shutdown` resolves.
    pub(super) async fn run(
        mut self,
        channel: Channel,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<SessionEnd, WorkerError> {
        let mut stream = match self.open(channel.clone()).await {
            Ok(stream) => stream,
            Err(_) if self.has_runs => {
                let names = (self.coordinator, self.identity.arithmetic.as_str());
                return Ok(match runs::work(channel, self.options, names, tell, shutdown).await? {
                    RunsEnd::Over(over) => SessionEnd::Over(over),
                    // What such a connection has done is not known here; one that lasted has done something.
                    RunsEnd::Lost(reason) => {
                        let lasted = self.begun.elapsed();
                        SessionEnd::Lost(Lost { reason, sent: 0, earned: lasted >= LASTED, lasted })
                    }
                    RunsEnd::NotNow(error) => SessionEnd::NotNow(error),
                    RunsEnd::ShutDown => SessionEnd::ShutDown,
                });
            }
            Err(error) => return Ok(SessionEnd::NotNow(error)),
        };
        let stop = tokio::select! {
            stop = self.talk(&mut stream, partial, tell) => stop,
            () = shutdown.as_mut() => SessionEnd::ShutDown.into(),
        };
        let done = self.progress();
        if done.nodes > 0 {
            tell(WorkerEvent::Progress(done));
        }
        match stop {
            Stop::End(SessionEnd::ShutDown) => {
                let goodbye = pb::Goodbye { reason: "the worker was asked to end".to_owned() };
                self.say(Say::Goodbye(goodbye));
                self.outbox.finish(None);
                let drained = async { while let Ok(Some(_)) = stream.message().await {} };
                let _ = tokio::time::timeout(FAREWELL, drained).await;
                Ok(SessionEnd::ShutDown)
            }
            Stop::End(end) => Ok(end),
            Stop::Fail(error) => Err(error),
        }
    }

    /// Opens the stream with Hello as its first message.
    async fn open(&mut self, mut channel: Channel) -> Result<Stream, ConnectError> {
        let (outbox, outgoing) = Outbox::new(QUEUE);
        self.outbox = outbox;
        self.say(Say::Hello(self.hello()));
        let request = Request::builder()
            .method(Method::POST)
            .uri("/nn.v1.Coordinator/Work")
            .header(header::TE, "trailers")
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Body::new(outgoing));
        let other = |why: String| ConnectError::Other { url: self.coordinator.to_owned(), why };
        let mut request = request.map_err(|error| other(error.to_string()))?;
        if let Some(token) = self.options.dial.security.token() {
            request.headers_mut().insert(header::AUTHORIZATION, token.header());
        }
        let explain = |status: &Status| ConnectError::of_status(self.coordinator, status);
        let opened = async {
            std::future::poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        };
        let response = tokio::time::timeout(WELCOME, opened).await.map_err(|_| self.no_answer())?;
        let response = response.map_err(|error| explain(&Status::from_error(error.into())))?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.has_runs = status.code() == Code::Unimplemented && self.options.runner.is_some();
            return Err(explain(&status));
        }
        let is_grpc = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if !is_grpc {
            let why = format!("it answers with HTTP status {}", response.status());
            return Err(ConnectError::NotCoordinator { url: self.coordinator.to_owned(), why });
        }
        Ok(Messages::new(response.into_body()))
    }

    fn hello(&self) -> pb::Hello {
        let own = self.options.data.iter().map(|set| set.sha256().to_owned());
        pb::Hello {
            protocol: pb::PROTOCOL,
            build: BUILD.to_owned(),
            member: self.identity.member,
            incarnation: self.identity.incarnation,
            threads: self.options.threads.count() as u32,
            instructions: self.options.isa.name().to_owned(),
            arithmetic: self.identity.arithmetic.clone(),
            data_held: own.chain(cache::held(self.options.cache.as_deref())).collect(),
            data_fixed: self.options.data.is_some(),
            name: self.options.name.clone(),
            makes_initial_weights: true,
            reads_compact: true,
            reads_bf16: true,
        }
    }

    /// The whole conversation.
    async fn talk(
        &mut self,
        stream: &mut Stream,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Stop {
        match self.try_talk(stream, partial, tell).await {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    async fn try_talk(
        &mut self,
        stream: &mut Stream,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<Infallible, Stop> {
        let (manifest, offer) = self.join(stream, tell).await?;
        let (data, at_hand) = self.training_set(stream, &manifest, &offer, partial, tell).await?;
        if data.len() != manifest.parts().train_samples {
            return Err(self.violation("the offered training set does not fit the manifest").into());
        }
        self.say(Say::Ready(pb::Ready { data_sha256: offer.sha256 }));
        tell(WorkerEvent::Ready { at_hand });
        self.work(stream, manifest, data, tell).await
    }

    fn say(&self, body: Say) {
        // Messages other than gradients are small. One that does not fit means that the stream is dead, which is noticed
        // elsewhere.
        let _ = self.outbox.push(Kind::Message, frame(&self.place.to_coordinator(body)));
    }

    /// The next message, unless it is the end.
    async fn next(&self, stream: &mut Stream) -> Result<(Place, FromCoordinator), Stop> {
        let message = match stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(self.lost("the coordinator ended the stream")),
            Err(status) => return Err(self.lost(status.message())),
        };
        let converted: Result<(Place, FromCoordinator), WireError> = message.try_into();
        let (place, message) = converted.map_err(|error| self.violation(error))?;
        match message {
            FromCoordinator::Reject { reason, message } => Err(self.rejected(reason, &message)),
            FromCoordinator::RunOver(over) => Err(SessionEnd::Over(RunOver {
                outcome: over.outcome(),
                steps: over.steps,
                params_sha256: plain(&over.params_sha256),
            })
            .into()),
            message => Ok((place, message)),
        }
    }

    fn progress(&self) -> WorkerProgress {
        let counters = &self.counters;
        WorkerProgress {
            step: counters.step.load(Ordering::Relaxed),
            nodes: counters.nodes.load(Ordering::Relaxed),
            samples: counters.samples.load(Ordering::Relaxed),
            computing: Duration::from_micros(counters.micros.load(Ordering::Relaxed)),
        }
    }

    fn no_answer(&self) -> ConnectError {
        ConnectError::TimedOut { url: self.coordinator.to_owned(), after: WELCOME }
    }

    /// The coordinator violates the protocol.
    fn violation(&self, message: impl ToString) -> WorkerError {
        // It may quote the coordinator.
        let message = sentence(&message.to_string());
        WorkerError::Protocol { coordinator: self.coordinator.to_owned(), message }
    }

    fn unexpected(&self, got: &FromCoordinator, want: &'static str) -> Stop {
        self.violation(WireError::Unexpected { got: got.name(), want }).into()
    }

    fn lost(&self, reason: &str) -> Stop {
        let reason = if reason.is_empty() { "the connection broke" } else { reason };
        self.lost_because(plain(reason)).into()
    }

    fn lost_because(&self, reason: String) -> SessionEnd {
        let (sent, lasted) = (self.outbox.figures().1, self.begun.elapsed());
        SessionEnd::Lost(Lost { reason, sent, earned: self.earned, lasted })
    }

    fn rejected(&self, reason: pb::RejectReason, message: &str) -> Stop {
        use pb::RejectReason as Reason;
        let message = sentence(message);
        match reason {
            Reason::Full | Reason::Over => {
                SessionEnd::NotNow(ConnectError::NotNow { url: self.coordinator.to_owned(), why: message })
                    .into()
            }
            Reason::Silent => self.lost_because(message).into(),
            _ => {
                let coordinator = self.coordinator.to_owned();
                WorkerError::Rejected { coordinator, reason, message }.into()
            }
        }
    }
}
