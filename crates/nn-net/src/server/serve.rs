//! Serving a run: the services, the ticker, and an orderly end.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::coordinator::CoordinatorHandle;
use super::door::{self, Door, Gate};
use super::driver::Command;
use super::error::ServeError;
use super::probe::Probe;
use super::service::WorkService;
use super::status::StatusService;
use crate::proto as pb;
use crate::security::Token;
use crate::wire::{CONNECTION_WINDOW, KEEPALIVE, KEEPALIVE_TIMEOUT, MAX_FRAME, STREAM_WINDOW};
use pb::status_server::StatusServer;

/// How often deadlines are checked.
const TICK: Duration = Duration::from_millis(50);

/// The longest headers of a request. The token is the longest of them.
const MAX_HEADERS: u32 = 16 * 1024;

const _: () = assert!(Token::LONGEST < MAX_HEADERS as usize);

/// How long streams may take to end once they are killed.
const KILLED: Duration = Duration::from_millis(500);

/// Serves a run on sockets that the caller has bound, until it is over. When `shutdown` resolves, the engine is asked to
/// stop, which writes a checkpoint. Workers are told of the end in either case; those that do not leave within the grace
/// period are disconnected.
///
/// # Errors
/// If a socket or the engine's thread fails.
pub async fn serve(
    doors: Vec<Door>,
    handle: CoordinatorHandle,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (kill, killed) = watch::channel(false);
    let (router, health) = services(&handle, killed)?;
    health.report(ServingStatus::Serving).await;
    let incoming = door::incoming(doors, &handle.facts.lobby);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = router.serve_with_incoming_shutdown(incoming, async move {
        let _ = stopped.await;
    });
    tokio::pin!(server);

    let mut over = handle.over.clone();
    let ended = tokio::select! {
        result = &mut server => { result?; Ok(()) }
        never = tick(&handle.commands) => match never {},
        never = stop_on(shutdown, &handle.commands) => match never {},
        ended = over.wait_for(|over| *over) => ended.map(|_| ()).map_err(|_| ServeError::Engine),
    };

    health.report(ServingStatus::NotServing).await;
    let _ = stop.send(());
    handle.facts.lobby.disconnect_strangers();
    let grace = handle.facts.options.grace;
    if ended.is_err() || tokio::time::timeout(grace, &mut server).await.is_err() {
        let _ = kill.send(true);
        let _ = tokio::time::timeout(KILLED, &mut server).await;
    }
    ended
}

/// All services behind their gates, and their health.
fn services(
    handle: &CoordinatorHandle,
    killed: watch::Receiver<bool>,
) -> Result<(Router, Health), ServeError> {
    let probe = Probe::new(handle.facts.arithmetic.clone());
    let status = StatusService::new(handle.status.clone(), handle.commands.clone(), probe);
    let (router, health) = common_services("nn.v1.Coordinator", status)?;
    Ok((router.add_service(Gate::new(WorkService::new(handle.clone(), killed))), health))
}

/// A server with what every coordinator serves beside `work`, the service for its workers: health, reflection and status.
///
/// # Errors
/// If the services cannot be described, which is a defect of the program.
pub(crate) fn common_services(
    work: &'static str,
    status: impl pb::status_server::Status,
) -> Result<(Router, Health), ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    // Under both names of the service: the libraries of some languages know only the older one.
    let reflection = || {
        // The files describe the services for workers of both kinds of coordinators, and one of them is served here.
        [work]
            .into_iter()
            .chain(SERVICES)
            .fold(tonic_reflection::server::Builder::configure(), |builder, name| {
                builder.with_service_name(name)
            })
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .include_reflection_service(false)
    };
    let router = limited_server()
        .add_service(Gate::public(health))
        .add_service(Gate::new(reflection().build_v1()?))
        .add_service(Gate::new(reflection().build_v1alpha()?))
        .add_service(Gate::new(StatusServer::new(status)));
    Ok((router, Health { reporter, work }))
}

/// Tells the health of a coordinator's services.
pub(crate) struct Health {
    reporter: HealthReporter,
    /// The service for workers.
    work: &'static str,
}

impl Health {
    /// Tells whether they are serving.
    pub(crate) async fn report(&self, status: ServingStatus) {
        for service in ["", self.work, "nn.v1.Status"] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

/// A server with the limits of every coordinator.
fn limited_server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(16)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADERS)
}

/// What every coordinator serves.
const SERVICES: [&str; 4] = [
    "nn.v1.Status",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Has the driver check its deadlines again and again.
async fn tick(commands: &mpsc::Sender<Command>) -> Infallible {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // If the channel is full, the driver is busy, and reads the clock with every command.
        let _ = commands.try_send(Command::Tick);
    }
}

/// Asks the engine to stop once `shutdown` resolves.
async fn stop_on(shutdown: impl Future<Output = ()>, commands: &mpsc::Sender<Command>) -> Infallible {
    shutdown.await;
    let _ = commands.send(Command::Stop).await;
    std::future::pending().await
}
