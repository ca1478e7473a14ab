//! One connection to a coordinator, as the worker lives it.

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod load;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use http::{Method, Request, header};
use nn_core::{Dataset, MismatchError};
use nn_engine::{Manifest, ManifestParts};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Channel;

use super::cache::Partial;
use super::compute::{Counters, Job, Kernel};
use super::dial::ConnectError;
use super::weights::Weights;
use super::{Identity, Progress, RunOver, WorkerError, WorkerEvent, WorkerOptions, cache};
use crate::data::DataError;
use crate::proto as pb;
use crate::wire::BUILD;
use crate::wire::convert::{FromCoordinator, Place, plain, sentence};
use crate::wire::error::WireError;
use crate::wire::outbox::{Kind, Outbox};
use crate::wire::stream::{Messages, frame};
use crate::wire::tensor::Shapes;
use pb::worker_message::Body as Say;

/// How a connection ends, when the worker may go on.
pub(super) enum SessionEnd {
    /// The worker was asked to end.
    ShutDown,
    /// The run is over.
    Over(RunOver),
    /// The connection broke after the worker was let in.
    Lost { reason: String },
    /// It was not let in, which may change.
    NotNow(ConnectError),
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

/// Gradients that may wait to be sent, in bytes; a larger one waits alone.
const QUEUE: usize = 16 << 20;
/// How long the coordinator may take to answer the first message.
const WELCOME: Duration = Duration::from_secs(20);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(250);
/// How long a leaving worker waits for its last words to be heard.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many nodes may wait to be computed: all of a tree, several times over, because a node may be given again.
fn most_waiting(manifest: &Manifest) -> usize {
    let parts = manifest.parts();
    let leaves = parts.recipe.batch_size.min(parts.train_samples).div_ceil(parts.recipe.shard_size);
    leaves.saturating_mul(8).saturating_add(1024)
}

pub(super) struct Session<'a> {
    options: &'a WorkerOptions,
    identity: &'a Identity,
    coordinator: &'a str,
    outbox: Outbox,
    place: Place,
    counters: Arc<Counters>,
    latest: Arc<AtomicU64>,
    heartbeat: Option<JoinHandle<()>>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(task) = &self.heartbeat {
            task.abort();
        }
        // The compute thread may wait for room.
        self.outbox.finish(None);
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(options: &'a WorkerOptions, identity: &'a Identity, coordinator: &'a str) -> Self {
        // The body is made when the stream is opened.
        let (outbox, _) = Outbox::new(QUEUE);
        Self {
            options,
            identity,
            coordinator,
            outbox,
            place: Place::default(),
            counters: Arc::default(),
            latest: Arc::default(),
            heartbeat: None,
        }
    }

    /// Until the run is over, the connection breaks, or `shutdown` is ready.
    pub(super) async fn run(
        mut self,
        channel: Channel,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<SessionEnd, WorkerError> {
        let mut stream = match self.open(channel).await {
            Ok(stream) => stream,
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

    async fn open(&mut self, mut channel: Channel) -> Result<Messages<pb::CoordinatorMessage>, ConnectError> {
        let (outbox, outgoing) = Outbox::new(QUEUE);
        self.outbox = outbox;
        let held = self.options.data.iter().map(|set| set.sha256().to_owned());
        let data_held = held.chain(cache::held(self.options.cache.as_deref())).collect();
        self.say(Say::Hello(pb::Hello {
            protocol: pb::PROTOCOL,
            build: BUILD.to_owned(),
            member: self.identity.member,
            incarnation: self.identity.incarnation,
            threads: self.options.threads.count() as u32,
            instructions: self.options.isa.name().to_owned(),
            arithmetic: self.identity.arithmetic.clone(),
            data_held,
            data_fixed: self.options.data.is_some(),
            name: self.options.name.clone(),
        }));
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
        let explain = |status: &Status| ConnectError::from_status(self.coordinator, status);
        let opened = async {
            std::future::poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        };
        let response = tokio::time::timeout(WELCOME, opened).await.map_err(|_| self.no_answer())?;
        let response = response.map_err(|error| explain(&Status::from_error(error.into())))?;
        if let Some(status) = Status::from_header_map(response.headers()) {
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

    fn no_answer(&self) -> ConnectError {
        ConnectError::TimedOut { url: self.coordinator.to_owned(), after: WELCOME }
    }

    fn say(&self, body: Say) {
        // What a worker says beside gradients is little; should it not fit, the stream is dead, and that will be noticed.
        let _ = self.outbox.push(Kind::Message, frame(&self.place.to_coordinator(body)));
    }

    fn protocol(&self, message: impl ToString) -> WorkerError {
        // It may quote what the coordinator has sent.
        let message = sentence(&message.to_string());
        WorkerError::Protocol { coordinator: self.coordinator.to_owned(), message }
    }

    /// The next message that is not the end.
    async fn next(
        &self,
        stream: &mut Messages<pb::CoordinatorMessage>,
    ) -> Result<(Place, FromCoordinator), Stop> {
        let message = match stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(self.lost("the coordinator has ended the stream")),
            Err(status) => return Err(self.lost(status.message())),
        };
        let converted: Result<(Place, FromCoordinator), WireError> = message.try_into();
        let (place, message) = converted.map_err(|error| self.protocol(error))?;
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

    fn lost(&self, reason: &str) -> Stop {
        let reason = if reason.is_empty() { "the connection broke" } else { reason };
        SessionEnd::Lost { reason: plain(reason) }.into()
    }

    fn rejected(&self, reason: pb::RejectReason, message: &str) -> Stop {
        use pb::RejectReason as Reason;
        let message = sentence(message);
        match reason {
            Reason::Full | Reason::Over => {
                SessionEnd::NotNow(ConnectError::NotNow { url: self.coordinator.to_owned(), why: message })
                    .into()
            }
            Reason::Silent => SessionEnd::Lost { reason: message }.into(),
            _ => {
                let coordinator = self.coordinator.to_owned();
                WorkerError::Rejected { coordinator, reason, message }.into()
            }
        }
    }

    async fn talk(
        &mut self,
        stream: &mut Messages<pb::CoordinatorMessage>,
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
        stream: &mut Messages<pb::CoordinatorMessage>,
        partial: &mut Option<Partial>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<std::convert::Infallible, Stop> {
        let first = tokio::time::timeout(WELCOME, stream.message()).await;
        let first = match first {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => {
                let why = "it ended the stream without a word".to_owned();
                let url = self.coordinator.to_owned();
                return Err(SessionEnd::NotNow(ConnectError::NotCoordinator { url, why }).into());
            }
            Ok(Err(status)) => {
                return Err(SessionEnd::NotNow(ConnectError::from_status(self.coordinator, &status)).into());
            }
            Err(_) => return Err(SessionEnd::NotNow(self.no_answer()).into()),
        };
        let converted: Result<(Place, FromCoordinator), WireError> = first.try_into();
        let welcome = match converted.map_err(|error| self.protocol(error))? {
            (place, FromCoordinator::Welcome(welcome)) => {
                self.place.generation = place.generation;
                welcome
            }
            (_, FromCoordinator::Reject { reason, message }) => return Err(self.rejected(reason, &message)),
            (_, other) => return Err(self.unexpected(&other, "Welcome")),
        };
        let manifest = self.manifest(&welcome)?;
        let (coordinator, worker) = (self.coordinator, welcome.worker);
        tell(WorkerEvent::Joined { coordinator, worker, manifest: &manifest });
        self.start_heartbeats(Duration::from_millis(u64::from(welcome.heartbeat_millis)));
        let offer = welcome.data.ok_or_else(|| self.protocol("Welcome lacks its field data"))?;
        let (data, at_hand) = self.training_set(stream, &manifest, &offer, partial, tell).await?;
        if data.len() != manifest.parts().train_samples {
            return Err(self.protocol("the training set offered is not the manifest's").into());
        }
        self.say(Say::Ready(pb::Ready { data_sha256: offer.sha256 }));
        tell(WorkerEvent::Ready { at_hand });
        self.compute(stream, manifest, data, tell).await
    }

    fn unexpected(&self, got: &FromCoordinator, want: &'static str) -> Stop {
        self.protocol(WireError::Unexpected { got: got.name(), want }).into()
    }

    fn manifest(&self, welcome: &pb::Welcome) -> Result<Manifest, WorkerError> {
        let parts: ManifestParts =
            serde_json::from_str(&welcome.manifest_json).map_err(|error| self.protocol(error))?;
        let manifest = Manifest::new(parts).map_err(|error| self.protocol(error))?;
        if manifest.hash() != welcome.manifest_hash {
            return Err(self.protocol("the manifest is not the one that its hash is of"));
        }
        Ok(manifest)
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
                // Behind gradients that fill the queue, a heartbeat is not needed.
                let _ = outbox.push(Kind::Message, frame(&message));
            }
        }));
    }

    /// Everything after the handshake.
    async fn compute(
        &mut self,
        stream: &mut Messages<pb::CoordinatorMessage>,
        manifest: Manifest,
        data: Arc<Dataset>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<std::convert::Infallible, Stop> {
        let mut weights = Weights::new(Shapes::new(&manifest));
        // What was assigned before its weights were complete.
        let mut assigned: Vec<(Place, Vec<nn_core::Node>)> = Vec::new();
        let (jobs, receiver) = std_mpsc::channel();
        let (error_sender, mut errors) = mpsc::channel::<MismatchError>(1);
        let kernel = Kernel {
            manifest: manifest.clone(),
            data,
            threads: self.options.threads.clone(),
            isa: self.options.isa,
            outbox: self.outbox.clone(),
            counters: self.counters.clone(),
            latest: self.latest.clone(),
        };
        kernel
            .start(receiver, error_sender)
            .map_err(|error| self.protocol(format!("no thread to compute with: {error}")))?;
        let mut progress = tokio::time::interval(PROGRESS);
        let mut told = 0;
        loop {
            let (place, message) = tokio::select! {
                biased;
                next = self.next(stream) => next?,
                error = errors.recv() => {
                    let why = error.map_or_else(|| "the compute thread has failed".to_owned(), |e| e.to_string());
                    return Err(self.protocol(why).into());
                }
                _ = progress.tick() => {
                    let now = self.progress();
                    if now.nodes != told {
                        told = now.nodes;
                        tell(WorkerEvent::Progress(now));
                    }
                    continue;
                }
            };
            match message {
                FromCoordinator::Assignment(nodes) if nodes.is_empty() => {}
                FromCoordinator::Assignment(nodes) => {
                    self.check(&manifest, place, &nodes)?;
                    let waiting = self.counters.waiting.load(Ordering::Relaxed) as usize + assigned.len();
                    if waiting.saturating_add(nodes.len()) > most_waiting(&manifest) {
                        let why =
                            format!("it assigns more nodes than a step has, with {waiting} still to do");
                        return Err(self.protocol(why).into());
                    }
                    self.counters.waiting.fetch_add(nodes.len() as u64, Ordering::Relaxed);
                    self.latest.fetch_max(place.step, Ordering::Relaxed);
                    assigned.push((place, nodes));
                }
                FromCoordinator::Weights(header) => {
                    weights.header(place.step, &header).map_err(|error| self.protocol(error))?;
                }
                FromCoordinator::Chunk(chunk) => {
                    weights.chunk(&chunk).map_err(|error| self.protocol(error))?;
                }
                FromCoordinator::Refusal { reason, message } => {
                    tell(WorkerEvent::Refused { reason, message: &plain(&message) });
                }
                other => return Err(self.unexpected(&other, "an assignment or weights")),
            }
            let latest = self.latest.load(Ordering::Relaxed);
            assigned.retain_mut(|(place, nodes)| {
                let params = weights.of(place.step).filter(|_| place.step == latest);
                let gone = place.step < latest;
                if gone {
                    self.counters.waiting.fetch_sub(nodes.len() as u64, Ordering::Relaxed);
                } else if let Some(params) = params {
                    let job = Job { place: *place, nodes: std::mem::take(nodes), params };
                    // If the thread has ended, its error is on its way.
                    let _ = jobs.send(job);
                    return false;
                }
                !gone
            });
        }
    }

    fn progress(&self) -> Progress {
        let counters = &self.counters;
        Progress {
            step: counters.step.load(Ordering::Relaxed),
            nodes: counters.nodes.load(Ordering::Relaxed),
            samples: counters.samples.load(Ordering::Relaxed),
            computing: Duration::from_micros(counters.micros.load(Ordering::Relaxed)),
        }
    }

    /// That nodes exist, since memory is indexed with them.
    fn check(&self, manifest: &Manifest, place: Place, nodes: &[nn_core::Node]) -> Result<(), Stop> {
        if place.step >= manifest.total_steps() {
            return Err(self.protocol(format!("step {} is not part of the run", place.step)).into());
        }
        let tree = manifest.tree(place.step);
        match nodes.iter().find(|&&node| !tree.contains(node)) {
            Some(node) => {
                let (level, index) = (node.level, node.index);
                Err(self.protocol(format!("node {level}/{index} is not part of step {}", place.step)).into())
            }
            None => Ok(()),
        }
    }
}
