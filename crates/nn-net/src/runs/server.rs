//! The service `nn.v1.Runs`, and serving it until all runs are over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nn_core::Isa;
use nn_engine::arithmetic_fingerprint;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;

use super::desk::Desk;
use super::session::Session;
use super::status::SweepStatusService;
use super::workers::Workers;
use crate::proto as pb;
use crate::server::{Door, DoorLimits, Gate, Lobby, Refusal, ServeError, Visitor, common_services, incoming};
use crate::wire::{CHUNK, MAX_MESSAGE};
use pb::runs_server::Runs;

/// How often the desk is asked whether it has something new.
const LOOK: Duration = Duration::from_millis(20);
/// How long workers may take to leave once all runs are over.
const GRACE: Duration = Duration::from_secs(5);
/// Messages that may wait for a worker. The largest has a mebibyte.
const WAITING: usize = 8;

/// What the tasks of a coordinator of whole runs share.
#[derive(Clone)]
pub struct RunsServer {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) arithmetic: String,
    pub(super) workers: Arc<Workers>,
    pub(super) lobby: Arc<Lobby>,
    /// Whether all runs are over.
    pub(super) over: watch::Sender<bool>,
    pub(super) started: Instant,
    /// The workers that have come so far.
    came: Arc<AtomicU64>,
}

impl std::fmt::Debug for RunsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunsServer").field("arithmetic", &self.arithmetic).finish_non_exhaustive()
    }
}

impl RunsServer {
    /// A coordinator with runs of `desk`, for workers whose arithmetic is that of `isa` here.
    #[must_use]
    pub fn new(desk: Arc<dyn Desk>, isa: Isa) -> Self {
        Self {
            desk,
            arithmetic: arithmetic_fingerprint(isa),
            workers: Arc::new(Workers::new()),
            lobby: Lobby::new(DoorLimits::default()),
            over: watch::channel(false).0,
            started: Instant::now(),
            came: Arc::default(),
        }
    }

    /// The connections refused since the last call.
    #[must_use]
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.lobby.take_refusals()
    }

    /// Completes once all runs are over.
    async fn all_over(&self) {
        while self.desk.over().is_none() {
            tokio::time::sleep(LOOK).await;
        }
        let _ = self.over.send(true);
    }
}

/// Serves runs on sockets that the caller has bound, until all are over.
///
/// # Errors
/// If a socket fails.
pub async fn serve_runs(doors: Vec<Door>, server: RunsServer) -> Result<(), ServeError> {
    let service = pb::runs_server::RunsServer::new(server.clone()).max_decoding_message_size(MAX_MESSAGE);
    let (router, health) = common_services("nn.v1.Runs", SweepStatusService::new(server.clone()))?;
    health.report(ServingStatus::Serving).await;
    let mut over = server.over.subscribe();
    let serving = router.add_service(Gate::new(service)).serve_with_incoming_shutdown(
        incoming(doors, &server.lobby),
        async move {
            let _ = over.wait_for(|over| *over).await;
        },
    );
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return Ok(result?),
        () = server.all_over() => {}
    }
    health.report(ServingStatus::NotServing).await;
    server.lobby.disconnect_strangers();
    let _ = tokio::time::timeout(GRACE, &mut serving).await;
    Ok(())
}

#[tonic::async_trait]
impl Runs for RunsServer {
    type WorkStream = ReceiverStream<Result<pb::RunsToWorker, Status>>;
    type FetchStream = Pin<Box<dyn Stream<Item = Result<pb::DataChunk, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<pb::RunsFromWorker>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(|| Status::internal("the connection is unknown"))?;
        let (out, receiver) = mpsc::channel(WAITING);
        let worker = self.came.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Session::new(self.clone(), worker, out);
        tokio::spawn(session.run(request.into_inner(), visitor));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch(&self, request: Request<pb::DataRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let pb::DataRequest { sha256, from_chunk } = request.into_inner();
        let set = self.desk.set(&sha256).ok_or_else(|| Status::not_found("there are no such samples"))?;
        if from_chunk > set.chunks() {
            return Err(Status::out_of_range("there is no such chunk"));
        }
        let workers = self.workers.clone();
        let chunks = (from_chunk..set.chunks()).map(move |index| {
            let mut data = Vec::with_capacity(CHUNK + 4);
            set.write_chunk(index, &mut data);
            if let Some(visitor) = &visitor {
                workers.sent_to(visitor.address(), data.len());
            }
            let crc32 = crc32fast::hash(&data);
            Ok(pb::DataChunk { index, total: set.chunks(), crc32, data: data.into() })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }
}
