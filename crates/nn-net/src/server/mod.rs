//! The coordinator's side: an engine on a thread of its own, and the gRPC services in front of it.
//!
//! ```text
//!   stream ──► session ──┐ bounded             ┌──► outbox ──► stream
//!   stream ──► session ──┼─────────► driver ───┼──► outbox ──► stream
//!     …                  │ channel   engine    │      …
//!   ticker ──────────────┘           observer  └──► status (a watch channel)
//!        async tasks               one OS thread           async tasks
//! ```
//!
//! All state of the run has one owner, the driver's thread; numbers are never computed in an async task. A session that
//! is ahead of the driver waits, and with it, by way of HTTP/2's windows, its worker.

mod door;
mod driver;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod probe;
mod service;
mod session;
mod status;
mod times;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::thread::JoinHandle;
use std::time::Duration;

use nn_core::Dataset;
use nn_engine::local::Observer;
use nn_engine::{Engine, Manifest, Outcome, arithmetic_fingerprint};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::data::TrainingSet;
use crate::proto as pb;
use crate::wire::tensor::Shapes;
use crate::wire::{CONNECTION_WINDOW, KEEPALIVE, KEEPALIVE_TIMEOUT, MAX_FRAME, STREAM_WINDOW};
pub use door::{Door, DoorLimits, Rate, Refusal};
use door::{Gate, Lobby};
use driver::{Command, Driver};
pub use times::Times;

/// How the coordinator treats its workers. None of it can be seen in the weights.
#[derive(Debug, Clone)]
pub struct CoordinatorOptions {
    /// How often it wants to hear from each worker.
    pub heartbeat: Duration,
    /// How many workers may be connected.
    pub max_workers: usize,
    /// How long it waits for workers to leave once the run is over.
    pub grace: Duration,
    /// What those who dial are allowed before a worker of theirs is at work.
    pub limits: DoorLimits,
}

impl Default for CoordinatorOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            max_workers: 1024,
            grace: Duration::from_secs(5),
            limits: DoorLimits::default(),
        }
    }
}

/// Why a coordinator cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The training set is not the one that the manifest describes.
    #[error("the training set does not fit the run: {0}")]
    Data(String),
    /// The manifest cannot be written as JSON.
    #[error("cannot describe the run to workers: {0}")]
    Manifest(#[from] serde_json::Error),
    /// The system has no thread for it.
    #[error("cannot start the engine's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why serving ended before the run did.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The socket, or what is below it.
    #[error("cannot serve: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The reflection service does not accept our own descriptor.
    #[error("cannot describe the services: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The engine's thread has ended without an outcome: it has panicked.
    #[error("the engine's thread has failed; its message is above")]
    Engine,
}

/// A run that workers can join: the engine, on its own thread.
#[derive(Debug)]
pub struct Coordinator<O> {
    handle: CoordinatorHandle,
    thread: JoinHandle<Finished<O>>,
}

/// What is left of a run.
#[derive(Debug)]
pub struct Finished<O> {
    /// With the parameters as they are at the end.
    pub engine: Engine,
    /// As it was given to [`Coordinator::start`].
    pub observer: O,
    /// How it ended.
    pub outcome: Outcome,
    /// Where the time went.
    pub times: Times,
}

/// The way to a running engine. Clones lead to the same one.
#[derive(Debug, Clone)]
pub struct CoordinatorHandle {
    facts: Arc<Facts>,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Arc<pb::RunStatus>>,
    over: watch::Receiver<bool>,
    next_worker: Arc<AtomicU64>,
    connected: Arc<AtomicUsize>,
}

/// What does not change during a run; and the lobby, which sees to itself.
#[derive(Debug)]
struct Facts {
    manifest: Manifest,
    manifest_json: String,
    manifest_hash: String,
    arithmetic: String,
    generation: u64,
    training_set: Arc<TrainingSet>,
    shapes: Shapes,
    options: CoordinatorOptions,
    lobby: Arc<Lobby>,
}

/// Commands that may wait for the driver: enough that it is never idle while sessions have something for it.
const COMMANDS: usize = 64;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

impl<O: Observer + Send + 'static> Coordinator<O> {
    /// Starts the engine's thread. `data` is the training set of the engine's manifest; workers that have not got it are
    /// sent it. The observer is called on that thread, as in [`nn_engine::local::run`].
    ///
    /// # Errors
    /// If the data do not fit the manifest, or there is no thread to be had.
    pub fn start(
        engine: Engine,
        data: Arc<Dataset>,
        observer: O,
        options: CoordinatorOptions,
    ) -> Result<Self, StartError> {
        let manifest = engine.manifest().clone();
        let model = manifest.model();
        for (what, got, want) in [
            ("samples", data.len(), manifest.parts().train_samples),
            ("features a sample", data.input_width(), model.input_width()),
            ("classes or target values", data.output_width(), model.output_width()),
        ] {
            if got != want {
                return Err(StartError::Data(format!("it has {got} {what}, the run has {want}")));
            }
        }
        let facts = Arc::new(Facts {
            manifest_json: serde_json::to_string(&manifest)?,
            manifest_hash: manifest.hash(),
            arithmetic: arithmetic_fingerprint(engine.compute().isa),
            generation: engine.generation().0,
            training_set: Arc::new(TrainingSet::new(data)),
            shapes: Shapes::new(&manifest),
            manifest,
            lobby: Lobby::new(options.limits),
            options,
        });
        let (commands, received) = mpsc::channel(COMMANDS);
        let (status_sender, status) = watch::channel(Arc::default());
        let (over_sender, over) = watch::channel(false);
        let threads = engine.compute().threads.clone();
        let driver = Driver::new(engine, observer, facts.clone(), status_sender, over_sender);
        // Within the pool, so that a step's parallel parts start without crossing from a foreign thread.
        let thread = std::thread::Builder::new()
            .name("nn-engine".to_owned())
            .spawn(move || threads.enter(move || driver.run(received)))?;
        let handle = CoordinatorHandle {
            facts,
            commands,
            status,
            over,
            next_worker: Arc::new(AtomicU64::new(1)),
            connected: Arc::default(),
        };
        Ok(Self { handle, thread })
    }

    /// The way to the engine, for [`serve`].
    #[must_use]
    pub fn handle(&self) -> CoordinatorHandle {
        self.handle.clone()
    }

    /// Waits for the end of the run. It blocks: call it after [`serve`] has returned, or from a thread that may wait.
    ///
    /// # Errors
    /// If the engine's thread has panicked.
    pub fn join(self) -> Result<Finished<O>, ServeError> {
        drop(self.handle);
        self.thread.join().map_err(|_| ServeError::Engine)
    }
}

impl CoordinatorHandle {
    /// The run as it is now, as `nn status` sees it; at most a quarter of a second old.
    #[must_use]
    pub fn status(&self) -> Arc<pb::RunStatus> {
        self.status.borrow().clone()
    }

    /// Whom it has not let in since this was asked last: those who could not show that they may take part, were too slow
    /// about it, or too many.
    #[must_use]
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.facts.lobby.take_refusals()
    }

    /// The training set that workers are sent.
    #[must_use]
    pub fn training_set(&self) -> &Arc<TrainingSet> {
        &self.facts.training_set
    }
}

/// Headers of a request; a token is the largest of them.
const MAX_HEADERS: u32 = 16 * 1024;

/// Serves a run on sockets that the caller has bound, until it is over. When `shutdown` is ready, the engine is asked to
/// stop, which writes a checkpoint. Workers are told of the end either way; those that do not leave within the grace
/// time are cut off.
///
/// # Errors
/// If the socket fails, or the engine's thread.
pub async fn serve(
    doors: Vec<Door>,
    handle: CoordinatorHandle,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let report = async |status| {
        for service in ["", "nn.v1.Coordinator", "nn.v1.Status"] {
            health_reporter.set_service_status(service, status).await;
        }
    };
    report(tonic_health::ServingStatus::Serving).await;
    // Under both of its names: the libraries of some languages ask for the older one only.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .include_reflection_service(false)
    };
    let (kill, killed) = watch::channel(false);
    let incoming = door::incoming(doors, &handle.facts.lobby);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(16)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADERS)
        .add_service(Gate::public(health))
        .add_service(Gate::new(reflection().build_v1()?))
        .add_service(Gate::new(reflection().build_v1alpha()?))
        .add_service(Gate::new(pb::status_server::StatusServer::new(status::StatusService::new(
            handle.status.clone(),
            handle.commands.clone(),
            probe::Probe::new(handle.facts.arithmetic.clone()),
        ))))
        .add_service(Gate::new(service::WorkService::new(handle.clone(), killed)))
        .serve_with_incoming_shutdown(incoming, async move {
            let _ = stopped.await;
        });
    tokio::pin!(server);

    let ticker = async {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            // A full channel is a driver at work, which reads the clock with every command.
            let _ = handle.commands.try_send(Command::Tick);
        }
    };
    let ask_to_stop = async {
        shutdown.await;
        let _ = handle.commands.send(Command::Stop).await;
        std::future::pending::<()>().await;
    };
    let mut over = handle.over.clone();
    let ended = tokio::select! {
        result = &mut server => { result?; Ok(()) }
        () = ticker => Ok(()),
        () = ask_to_stop => Ok(()),
        ended = over.wait_for(|over| *over) => ended.map(|_| ()).map_err(|_| ServeError::Engine),
    };

    report(tonic_health::ServingStatus::NotServing).await;
    let _ = stop.send(());
    handle.facts.lobby.send_strangers_away();
    let grace = handle.facts.options.grace;
    if ended.is_err() || tokio::time::timeout(grace, &mut server).await.is_err() {
        let _ = kill.send(true);
        let _ = tokio::time::timeout(Duration::from_millis(500), &mut server).await;
    }
    ended
}
