//! The service `nn.v1.Status` of a coordinator of whole runs.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::server::RunsServer;
use crate::proto as pb;
use crate::server::{Probe, watch_interval};
use crate::wire::BUILD;

pub(super) struct SweepStatusService {
    server: RunsServer,
    probe: Probe,
}

impl SweepStatusService {
    pub(super) fn new(server: RunsServer) -> Self {
        let probe = Probe::new(server.arithmetic.clone());
        Self { server, probe }
    }
}

impl RunsServer {
    /// The status for people.
    #[must_use]
    pub fn status(&self) -> pb::RunStatus {
        let (is_over, stops) = (*self.over.borrow(), self.desk.stops());
        let (sweep, runs) = self.desk.status();
        let waiting = self.workers.waiting().filter(|_| !is_over);
        let state = match &waiting {
            _ if is_over => pb::RunState::Over,
            Some(_) => pb::RunState::Waiting,
            None => pb::RunState::Training,
        };
        let outcome = match is_over {
            false => pb::Outcome::Unspecified,
            true if stops => pb::Outcome::Stopped,
            true => pb::Outcome::Complete,
        };
        let (waiting_for, waited) = waiting.unwrap_or_default();
        pb::RunStatus {
            state: state.into(),
            outcome: outcome.into(),
            seconds: Instant::now().saturating_duration_since(self.started).as_secs_f64(),
            waiting_for,
            waiting_seconds: waited.as_secs_f64(),
            workers: self.workers.status(&runs),
            build: BUILD.to_owned(),
            connections_refused: self.lobby.total_refused(),
            sweep: Some(sweep),
            ..pb::RunStatus::default()
        }
    }
}

#[tonic::async_trait]
impl pb::status_server::Status for SweepStatusService {
    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Result<Response<pb::RunStatus>, Status> {
        Ok(Response::new(self.server.status()))
    }

    async fn probe(&self, request: Request<pb::ProbeRequest>) -> Result<Response<pb::ProbeReply>, Status> {
        self.probe.answer(request.get_ref()).map(Response::new)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::RunStatus, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let interval = watch_interval(request.get_ref());
        // At most one answer waits, so a watcher that reads slowly gets fewer.
        let (sender, receiver) = mpsc::channel(1);
        let server = self.server.clone();
        tokio::spawn(async move {
            let mut over = server.over.subscribe();
            loop {
                let now = server.status();
                let last = now.state() == pb::RunState::Over;
                if sender.send(Ok(now)).await.is_err() || last {
                    return;
                }
                // A watcher that asks seldom is told of the end at once.
                let _ = tokio::time::timeout(interval, over.wait_for(|over| *over)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
