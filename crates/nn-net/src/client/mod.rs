//! A worker's side: dial, shake hands, get the training set, compute what is assigned.
//!
//! ```text
//!   stream ──► session ──► compute thread ──► outbox ──► stream
//!              weights     nn_core::Workspace
//!     async task           one OS thread, and the pool
//! ```
//!
//! Weights of the next step are read while a node is computed, and a node is sent while the next one is computed.

mod address;
mod cache;
mod compute;
mod connector;
mod dial;
mod probe;
mod session;
mod status;
mod weights;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nn_core::{Isa, Threads};
use nn_engine::arithmetic_fingerprint;
use thiserror::Error;
use tokio::time::Instant;

use crate::data::TrainingSet;
use crate::proto as pb;
pub use address::{DEFAULT_PORT, coordinator_url};
use dial::Backoff;
pub use dial::{ConnectError, DialOptions, LocalAddresses};
pub use probe::{Latency, Pong, ProbeError, Prober, certificate};
use session::SessionEnd;
pub use status::{status, watch};
#[cfg(any(test, fuzzing))]
pub(crate) use {cache::load as load_kept, session::hostile};

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Where the coordinator may be, as [`coordinator_url`] takes it; tried in turn. A host with several addresses counts
    /// once, and all of its addresses are tried.
    pub coordinators: Vec<String>,
    /// How to dial.
    pub dial: DialOptions,
    /// How long to go on dialling without success; for ever if it is None.
    pub retry_for: Option<Duration>,
    /// What to call the worker, for people; most often its host's name.
    pub name: String,
    /// What it computes with.
    pub threads: Arc<Threads>,
    /// The instructions.
    pub isa: Isa,
    /// A training set of its own. The worker takes part only in runs that use it.
    pub data: Option<Arc<TrainingSet>>,
    /// Where training sets that it was sent are kept; None to keep them in memory only.
    pub cache: Option<PathBuf>,
    /// Whether to wait for the next run when one is over.
    pub stay: bool,
}

impl WorkerOptions {
    /// The usual ones.
    #[must_use]
    pub fn new(coordinators: Vec<String>, threads: Arc<Threads>, isa: Isa) -> Self {
        Self {
            coordinators,
            dial: DialOptions::default(),
            retry_for: None,
            name: String::new(),
            threads,
            isa,
            data: None,
            cache: None,
            stay: false,
        }
    }
}

/// What a worker has to tell people.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent<'a> {
    /// It could not reach a coordinator, or was not let in for now, and will try again.
    Waiting {
        /// Where.
        coordinator: &'a str,
        /// Why.
        error: &'a ConnectError,
        /// When.
        retry_in: Duration,
    },
    /// It is let in.
    Joined {
        /// Where.
        coordinator: &'a str,
        /// Its number there.
        worker: u64,
        /// The run.
        manifest: &'a nn_engine::Manifest,
    },
    /// It is about to be sent the training set.
    Receiving {
        /// Bytes that it has of it: those before an earlier connection broke.
        from: u64,
        /// Of the whole.
        total: u64,
    },
    /// It is being sent the training set.
    Loading {
        /// Bytes so far.
        done: u64,
        /// Of the whole.
        total: u64,
    },
    /// It has the training set, and is ready.
    Ready {
        /// Whether the set was at hand.
        at_hand: bool,
    },
    /// It has finished nodes: now and then, and once more at the end of a connection.
    Progress(Progress),
    /// A contribution did not count.
    Refused {
        /// Why.
        reason: pb::RefusalReason,
        /// A sentence.
        message: &'a str,
    },
    /// The connection is lost; it will dial again.
    Lost {
        /// Why, as far as it is known.
        reason: &'a str,
    },
    /// A run is over.
    RunOver(&'a RunOver),
}

/// What a worker has done in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// The step that it is at.
    pub step: u64,
    /// Nodes, and samples, since it joined.
    pub nodes: u64,
    /// See `nodes`.
    pub samples: u64,
    /// Time spent computing.
    pub computing: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOver {
    /// How.
    pub outcome: pb::Outcome,
    /// Steps done.
    pub steps: u64,
    /// The hash of the parameters.
    pub params_sha256: String,
}

/// Why a worker ends without having been told that the run is over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// There is no coordinator to dial.
    #[error("no coordinator was given; say where it is with --coordinator http://HOST:PORT")]
    NoCoordinator,
    /// It has dialled for as long as it was told to, or there is no point in going on.
    #[error("{error}")]
    Connect {
        /// The last reason.
        error: ConnectError,
    },
    /// The coordinator does not want it, and never will.
    #[error("the coordinator at {coordinator} refuses this worker: {message}")]
    Rejected {
        /// Where.
        coordinator: String,
        /// Why.
        reason: pb::RejectReason,
        /// A sentence with the remedy.
        message: String,
    },
    /// The coordinator says what makes no sense.
    #[error(
        "the coordinator at {coordinator} does not keep to the protocol: {message}; use the same version of nn on both"
    )]
    Protocol {
        /// Where.
        coordinator: String,
        /// What.
        message: String,
    },
    /// The training set cannot be used or kept.
    #[error("cannot take the training set: {0}")]
    Data(#[from] crate::data::DataError),
}

/// How a worker's work ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum WorkerEnd {
    /// The run is over.
    RunOver(RunOver),
    /// `shutdown` was ready: the coordinator was told.
    ShutDown,
}

/// Works until the run is over, or, if it is to stay, until `shutdown` is ready. Connections that break are dialled
/// again. `tell` is called for what people may want to know; it must not block.
///
/// # Errors
/// When there is no point in going on.
pub async fn work(
    mut options: WorkerOptions,
    mut tell: impl FnMut(WorkerEvent<'_>),
    shutdown: impl Future<Output = ()>,
) -> Result<WorkerEnd, WorkerError> {
    if options.coordinators.is_empty() {
        return Err(WorkerError::NoCoordinator);
    }
    for coordinator in &mut options.coordinators {
        *coordinator = coordinator_url(coordinator).map_err(|error| WorkerError::Connect { error })?;
    }
    let mut identity =
        Identity { member: dial::random(), incarnation: 0, arithmetic: arithmetic_fingerprint(options.isa) };
    // What has come of a training set when a connection breaks.
    let mut partial = None;
    let mut was_let_in = false;
    let mut backoff = Backoff::new();
    let mut since = Instant::now();
    tokio::pin!(shutdown);
    loop {
        // Each address in turn; a pause when all have failed.
        let mut last = None;
        for coordinator in &options.coordinators {
            let dialled = tokio::select! {
                dialled = dial::dial(coordinator, &options.dial) => dialled,
                () = &mut shutdown => return Ok(WorkerEnd::ShutDown),
            };
            let end = match dialled {
                Err(error) => Err(error),
                Ok(channel) => {
                    identity.incarnation += 1;
                    let session = session::Session::new(&options, &identity, coordinator);
                    Ok(session.run(channel, &mut partial, &mut tell, shutdown.as_mut()).await?)
                }
            };
            was_let_in |= matches!(end, Ok(SessionEnd::Over(_) | SessionEnd::Lost { .. }));
            match end {
                Ok(SessionEnd::ShutDown) => return Ok(WorkerEnd::ShutDown),
                Ok(SessionEnd::Over(over)) => {
                    tell(WorkerEvent::RunOver(&over));
                    if !options.stay {
                        return Ok(WorkerEnd::RunOver(over));
                    }
                    (backoff, since) = (Backoff::new(), Instant::now());
                    last = None;
                    break;
                }
                Ok(SessionEnd::Lost { reason }) => {
                    tell(WorkerEvent::Lost { reason: &reason });
                    (backoff, since) = (Backoff::new(), Instant::now());
                    last = None;
                    break;
                }
                Ok(SessionEnd::NotNow(error)) | Err(error) => last = Some((coordinator, error)),
            }
        }
        let pause = backoff.next();
        if let Some((coordinator, error)) = last {
            let hopeless = !error.is_worth_retrying() || (error.is_about_trust() && !was_let_in);
            if hopeless || options.retry_for.is_some_and(|most| since.elapsed() >= most) {
                return Err(WorkerError::Connect { error });
            }
            tell(WorkerEvent::Waiting { coordinator, error: &error, retry_in: pause });
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut shutdown => return Ok(WorkerEnd::ShutDown),
        }
    }
}

/// Who this worker is, to every coordinator.
#[derive(Debug)]
struct Identity {
    member: u64,
    incarnation: u64,
    arithmetic: String,
}
