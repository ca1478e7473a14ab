//! The read-only status service, and the status that it serves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nn_engine::local::Observer;
use nn_engine::{Waiting, WorkerId, WorkerState};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::driver::{Command, Driver};
use super::own::OWN;
use super::peer::{Meter, Peer};
use super::probe::Probe;
use crate::proto as pb;
use crate::wire::BUILD;
use crate::wire::convert;

/// The default time between two answers to a watcher.
const INTERVAL: Duration = Duration::from_millis(250);
/// The shortest time between two answers to a watcher.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest wait for a fresh status; the driver may be busy with an evaluation.
const FRESH: Duration = Duration::from_millis(200);
/// The shortest time over which a rate is computed.
const RATE: Duration = Duration::from_millis(200);

pub(super) struct StatusService {
    status: watch::Receiver<Arc<pb::RunStatus>>,
    commands: mpsc::Sender<Command>,
    probe: Probe,
}

impl StatusService {
    pub(super) fn new(
        status: watch::Receiver<Arc<pb::RunStatus>>,
        commands: mpsc::Sender<Command>,
        probe: Probe,
    ) -> Self {
        Self { status, commands, probe }
    }
}

/// The time between two answers to a watcher.
pub(crate) fn watch_interval(request: &pb::WatchRequest) -> Duration {
    match request.interval_millis {
        0 => INTERVAL,
        millis => Duration::from_millis(millis.into()).max(SHORTEST),
    }
}

#[tonic::async_trait]
impl pb::status_server::Status for StatusService {
    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Result<Response<pb::RunStatus>, Status> {
        let (told, heard) = oneshot::channel();
        let fresh = async {
            if self.commands.send(Command::Tell(told)).await.is_ok() {
                let _ = heard.await;
            }
        };
        // Without a fresh status, the last one is the answer.
        let _ = tokio::time::timeout(FRESH, fresh).await;
        Ok(Response::new(pb::RunStatus::clone(&self.status.borrow())))
    }

    async fn probe(&self, request: Request<pb::ProbeRequest>) -> Result<Response<pb::ProbeReply>, Status> {
        self.probe.answer(request.get_ref()).map(Response::new)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::RunStatus, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let interval = watch_interval(request.get_ref());
        // At most one answer waits, so a watcher that reads slowly gets fewer.
        let (sender, receiver) = mpsc::channel(1);
        let mut status = self.status.clone();
        tokio::spawn(async move {
            loop {
                let now = pb::RunStatus::clone(&status.borrow_and_update());
                let over = now.state() == pb::RunState::Over;
                if sender.send(Ok(now)).await.is_err() || over {
                    return;
                }
                tokio::time::sleep(interval).await;
                if status.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl<O: Observer> Driver<O> {
    /// The status for people. Rates cover the time since they were last computed, if that is long enough.
    pub(super) fn snapshot_status(&mut self, now: Duration) -> pb::RunStatus {
        let status = self.engine.status(now);
        let since = now.saturating_sub(self.rated);
        if since >= RATE {
            self.rate(since);
            self.rated = now;
        }
        let workers = self.peers.iter().map(|(&worker, (peer, meter))| {
            let known = status.workers.iter().find(|w| w.id == worker);
            worker_status(worker, peer, *meter, known, now)
        });
        let own = self.own.as_ref().map(|own| {
            let known = status.workers.iter().find(|w| w.id == OWN);
            // It is there for as long as the process is.
            pb::WorkerStatus { silent_seconds: 0.0, ..as_known(own.status(), known, now) }
        });
        let workers = own.into_iter().chain(workers).collect();
        let (waiting_for, since) = match &status.waiting {
            None => (String::new(), now),
            Some(Waiting::ForWorkers { have, ready, want, missed, since }) => {
                let gone =
                    if missed.is_empty() { String::new() } else { format!("; gone: {}", self.names(missed)) };
                (for_workers(*have, *ready, *want) + &gone, *since)
            }
            Some(Waiting::ForNodes { workers, since }) => (self.names(workers), *since),
        };
        let manifest = &self.facts.manifest;
        pb::RunStatus {
            state: match (self.outcome, &status.waiting) {
                (Some(_), _) => pb::RunState::Over,
                (None, Some(Waiting::ForWorkers { .. })) => pb::RunState::Waiting,
                (None, _) => pb::RunState::Training,
            }
            .into(),
            generation: status.generation.0,
            step: self.engine.steps_done(),
            total_steps: status.total_steps,
            replicas: manifest.rounds().map_or(0, |rounds| rounds.replicas),
            epoch: status.epoch,
            epochs: manifest.recipe().epochs,
            loss: self.loss,
            samples_per_second: self.samples_per_second,
            seconds: now.saturating_sub(self.started).as_secs_f64(),
            manifest_json: self.facts.manifest_json.clone(),
            manifest_hash: self.facts.manifest_hash.clone(),
            waiting_for,
            waiting_seconds: now.saturating_sub(since).as_secs_f64(),
            refused: status.rejected,
            reissued: status.reissued,
            workers,
            quarantined: status
                .quarantined
                .iter()
                .map(|quarantine| pb::Quarantined {
                    worker: quarantine.worker.0,
                    name: self.names(&[quarantine.worker]),
                    reason: quarantine.reason.to_string(),
                    seconds: now.saturating_sub(quarantine.since).as_secs_f64(),
                })
                .collect(),
            outcome: self.outcome.map_or(pb::Outcome::Unspecified, convert::outcome).into(),
            build: BUILD.to_owned(),
            connections_refused: self.facts.lobby.total_refused(),
            sweep: None,
        }
    }

    /// Recomputes all rates, over several steps, so that the numbers do not flicker.
    fn rate(&mut self, since: Duration) {
        self.samples_per_second = (self.samples - self.samples_rated) as f64 / since.as_secs_f64();
        self.samples_rated = self.samples;
        let own = self.own.as_mut().map(|own| &mut own.meter);
        let given: u64 = self.peers.values().map(|(_, meter)| meter.samples).sum();
        let given = given + own.as_ref().map_or(0, |meter| meter.samples);
        if let Some(meter) = own.filter(|_| given > 0) {
            meter.divide(given);
        }
        for (peer, meter) in self.peers.values_mut() {
            let bytes = peer.outbox.figures().1 + peer.received.load(Ordering::Relaxed);
            meter.per_second = (bytes - meter.bytes) as f64 / since.as_secs_f64();
            meter.bytes = bytes;
            // During a long step nothing is assigned, and the shares stay as they were.
            if given > 0 {
                meter.divide(given);
            }
        }
    }

    fn names(&self, workers: &[WorkerId]) -> String {
        let names: Vec<&str> =
            workers.iter().filter_map(|worker| self.names.get(worker)).map(String::as_str).collect();
        names.join(", ")
    }
}

/// What a run without enough workers is waiting for, to follow "waiting for".
fn for_workers(have: usize, ready: usize, want: usize) -> String {
    let workers = |n: usize| if n == 1 { "1 worker".to_owned() } else { format!("{n} workers") };
    match (have, ready) {
        (0, _) => format!("{}; none has joined yet", workers(want)),
        // A step ended without them, and they have not answered since.
        (1, 0) if want == 1 => "its worker, which has not answered in time".to_owned(),
        (have, 0) if have >= want => format!("one of {have} workers that have not answered in time"),
        (1, _) => format!("{}; 1 has joined", workers(want)),
        (have, _) => format!("{}; {have} have joined", workers(want)),
    }
}

fn worker_status(
    worker: WorkerId,
    peer: &Peer,
    meter: Meter,
    known: Option<&nn_engine::WorkerStatus>,
    now: Duration,
) -> pb::WorkerStatus {
    let (queued, sent) = peer.outbox.figures();
    let received = peer.received.load(Ordering::Relaxed);
    let status = pb::WorkerStatus {
        worker: worker.0,
        name: peer.hello.name.clone(),
        address: peer.address.clone(),
        threads: peer.hello.threads as u32,
        instructions: peer.hello.instructions.clone(),
        share: meter.share,
        bytes_sent: sent,
        bytes_received: received,
        bytes_per_second: meter.per_second,
        bytes_queued: queued as u64,
        build: peer.hello.build.clone(),
        certificate: peer.certificate.clone(),
        ..pb::WorkerStatus::default()
    };
    as_known(status, known, now)
}

/// Adds what the engine knows about a worker.
fn as_known(
    status: pb::WorkerStatus,
    known: Option<&nn_engine::WorkerStatus>,
    now: Duration,
) -> pb::WorkerStatus {
    let state = match known.map(|w| w.state) {
        None => pb::WorkerState::Loading,
        Some(WorkerState::Joining) => pb::WorkerState::Joining,
        Some(WorkerState::Idle) => pb::WorkerState::Idle,
        Some(WorkerState::Computing) => pb::WorkerState::Computing,
        Some(WorkerState::Overdue) => pb::WorkerState::Overdue,
        Some(WorkerState::Late) => pb::WorkerState::Late,
    };
    pb::WorkerStatus {
        state: state.into(),
        samples_per_second: known.and_then(|w| w.samples_per_second),
        silent_seconds: known.map_or(0.0, |w| now.saturating_sub(w.last_heard).as_secs_f64()),
        refused: known.map_or(0, |w| w.rejected),
        ..status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_that_a_run_waits_for() {
        for ((have, ready, want), text) in [
            ((0, 0, 1), "1 worker; none has joined yet"),
            ((0, 0, 3), "3 workers; none has joined yet"),
            ((1, 1, 2), "2 workers; 1 has joined"),
            ((2, 0, 3), "3 workers; 2 have joined"),
            ((1, 0, 1), "its worker, which has not answered in time"),
            ((3, 0, 2), "one of 3 workers that have not answered in time"),
        ] {
            assert_eq!(for_workers(have, ready, want), text);
        }
    }
}
