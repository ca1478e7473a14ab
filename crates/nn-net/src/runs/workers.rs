//! The workers that are here, as the status shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::proto as pb;
use crate::server::Visitor;
use crate::wire::convert::plain;

/// The shortest time over which a rate is computed.
const RATE: Duration = Duration::from_millis(200);
/// The longest text of a worker that is shown, in characters.
const LONGEST: usize = 64;

/// The workers that are here.
#[derive(Debug)]
pub(super) struct Workers(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    here: BTreeMap<u64, Worker>,
    /// When the last one left, or the sweep began.
    left: Instant,
    /// Whether one has been here.
    any: bool,
}

#[derive(Debug)]
struct Worker {
    name: String,
    build: String,
    address: SocketAddr,
    certificate: String,
    threads: u32,
    heard: Instant,
    sent: u64,
    received: u64,
    /// When the rate was computed, and the bytes in both directions then.
    rated: (Instant, u64),
    bytes_per_second: f64,
    runs: BTreeSet<u64>,
}

/// A worker's place among those that are here, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    workers: Arc<Workers>,
    number: u64,
    name: String,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner { here: BTreeMap::new(), left: Instant::now(), any: false }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker has been admitted.
    pub(super) fn enter(self: &Arc<Self>, number: u64, hello: &pb::RunsHello, visitor: &Visitor) -> Seat {
        let shown = |text: &str| plain(text).chars().take(LONGEST).collect::<String>();
        let name = match shown(&hello.name) {
            name if name.trim().is_empty() => visitor.address().to_string(),
            name => name,
        };
        let now = Instant::now();
        let worker = Worker {
            name: name.clone(),
            build: shown(&hello.build),
            address: visitor.address(),
            certificate: visitor.certificate().unwrap_or_default().to_owned(),
            threads: hello.threads,
            heard: now,
            sent: 0,
            received: 0,
            rated: (now, 0),
            bytes_per_second: 0.0,
            runs: BTreeSet::new(),
        };
        let mut inner = self.lock();
        inner.any = true;
        inner.here.insert(number, worker);
        Seat { workers: self.clone(), number, name }
    }

    /// Samples were sent to an address.
    pub(super) fn sent_to(&self, address: SocketAddr, bytes: usize) {
        if let Some(worker) = self.lock().here.values_mut().find(|worker| worker.address == address) {
            worker.sent += bytes as u64;
        }
    }

    /// What the sweep waits for if nobody is here, to follow "waiting for", and for how long.
    pub(super) fn waiting(&self) -> Option<(String, Duration)> {
        let inner = self.lock();
        let why = if inner.any { "all have left" } else { "none has joined yet" };
        inner.here.is_empty().then(|| (format!("a worker; {why}"), inner.left.elapsed()))
    }

    /// All of them. Of their runs those are told of whose progress is known.
    pub(super) fn status(&self, progress: &[pb::RunProgress]) -> Vec<pb::WorkerStatus> {
        let now = Instant::now();
        let mut inner = self.lock();
        let told = inner.here.iter_mut().map(|(&number, worker)| {
            worker.rate(now);
            let runs: Vec<_> =
                progress.iter().filter(|run| worker.runs.contains(&run.run)).cloned().collect();
            let state = if runs.is_empty() { pb::WorkerState::Idle } else { pb::WorkerState::Computing };
            pb::WorkerStatus {
                worker: number,
                name: worker.name.clone(),
                address: worker.address.to_string(),
                threads: worker.threads,
                state: state.into(),
                bytes_sent: worker.sent,
                bytes_received: worker.received,
                bytes_per_second: worker.bytes_per_second,
                silent_seconds: now.saturating_duration_since(worker.heard).as_secs_f64(),
                build: worker.build.clone(),
                certificate: worker.certificate.clone(),
                runs,
                ..pb::WorkerStatus::default()
            }
        });
        told.collect()
    }
}

impl Worker {
    fn rate(&mut self, now: Instant) {
        let (at, before) = self.rated;
        let since = now.saturating_duration_since(at);
        if since >= RATE {
            let bytes = self.sent + self.received;
            self.bytes_per_second = (bytes - before) as f64 / since.as_secs_f64();
            self.rated = (now, bytes);
        }
    }
}

impl Seat {
    /// The name to show to people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn change(&self, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.workers.lock().here.get_mut(&self.number) {
            change(worker);
        }
    }

    /// A message of so many bytes has come.
    pub(super) fn heard(&self, bytes: usize) {
        self.change(|worker| {
            worker.heard = Instant::now();
            worker.received += bytes as u64;
        });
    }

    /// A message of so many bytes is sent.
    pub(super) fn sent(&self, bytes: usize) {
        self.change(|worker| worker.sent += bytes as u64);
    }

    /// The worker is given a run.
    pub(super) fn begin(&self, run: u64) {
        self.change(|worker| {
            let _ = worker.runs.insert(run);
        });
    }

    /// A run of the worker is over.
    pub(super) fn end(&self, run: u64) {
        self.change(|worker| {
            let _ = worker.runs.remove(&run);
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.workers.lock();
        inner.here.remove(&self.number);
        inner.left = Instant::now();
    }
}
