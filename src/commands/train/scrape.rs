//! `--metrics-listen`: the server that Prometheus asks for the figures of a run.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use nn_net::proto::RunStatus;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::commands::cluster::bind_for;
use crate::config::TrainConfig;
use crate::failure::Failure;
use crate::http::{Connections, is_of_this_machine, run};
use crate::progress::warn;
use crate::telemetry::{ClusterFigures, MEDIA_TYPE, RunFigures};

/// Prometheus keeps one connection; a few people may look as well.
const CONNECTIONS: usize = 32;
/// The time for the head of a request, for reading an answer, and for what is in flight at the end.
const PATIENCE: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(200);

/// A port that is bound, and not served yet.
pub(in crate::commands) struct MetricsPort {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    is_local: bool,
}

/// A server of figures on a thread of its own. It ends when it is dropped.
pub(in crate::commands) struct MetricsServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Gives the status of a cluster.
type Ask = Box<dyn Fn() -> RunStatus + Send>;

struct Shared {
    figures: Arc<RunFigures>,
    /// Whom to ask about the cluster, once there is one, and what is known of it.
    cluster: Mutex<Option<(Ask, ClusterFigures)>>,
    is_local: bool,
}

impl MetricsPort {
    /// Binds the port of `--metrics-listen`, if it is given: before data is loaded, so that a port in use is reported at once.
    ///
    /// # Errors
    /// Exit code 4 if the port cannot be had, and 2 if it is open to others and that is not allowed.
    pub(in crate::commands) fn bind(config: &TrainConfig) -> Result<Option<Self>, Failure> {
        let Some(listen) = &config.metrics_listen else {
            return match config.metrics_insecure {
                true => Err(Failure::usage("--metrics-insecure has no effect without --metrics-listen")
                    .help("add --metrics-listen, or leave it out")),
                false => Ok(None),
            };
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format_args!("cannot serve figures: {error}")))?;
        let listener = runtime.block_on(bind_for("--metrics-listen", listen))?;
        let address = listener.local_addr().map_err(Failure::network)?;
        let is_local = address.ip().to_canonical().is_loopback();
        let risk =
            "anyone who can reach this port could read the figures of the run and the names of its workers";
        if !is_local && !config.metrics_insecure {
            return Err(Failure::usage(format_args!(
                "--metrics-listen {listen} is open to other machines: {risk}"
            ))
            .help("use 127.0.0.1:PORT for this machine only, or add --metrics-insecure on a network where you trust everyone"));
        }
        if !is_local {
            warn(format_args!("--metrics-insecure: {risk}"));
        }
        Ok(Some(Self { runtime, listener, is_local }))
    }

    /// Serves `figures` from now on.
    ///
    /// # Errors
    /// Exit code 1 if there is no thread for it.
    pub(in crate::commands) fn serve(self, figures: Arc<RunFigures>) -> Result<MetricsServer, Failure> {
        let Self { runtime, listener, is_local } = self;
        let address = listener.local_addr().map_err(Failure::network)?;
        let shared = Arc::new(Shared { figures, cluster: Mutex::default(), is_local });
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/", get(|| async { "The figures of this run are at /metrics.\n" }))
            .layer(middleware::from_fn_with_state(shared.clone(), guard))
            .with_state(shared.clone());
        let connections =
            Connections { most: CONNECTIONS, head: PATIENCE, stall: PATIENCE, grace: GRACE, tls: None };
        let (end, ended) = oneshot::channel();
        let serve = move || {
            let ended = async { drop(ended.await) };
            let _ = runtime.block_on(run(listener, connections, router, ended));
        };
        let thread = std::thread::Builder::new()
            .name("nn-metrics".to_owned())
            .spawn(serve)
            .map_err(|error| Failure::failed(format_args!("cannot serve figures: {error}")))?;
        Ok(MetricsServer { shared, address, end: Some(end), thread: Some(thread) })
    }
}

impl MetricsServer {
    /// Where the figures are.
    pub(in crate::commands) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// Adds the figures of a cluster, whose status `ask` gives at once.
    pub(in crate::commands) fn follow(&self, ask: impl Fn() -> RunStatus + Send + 'static) {
        let mut cluster = self.shared.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        *cluster = Some((Box::new(ask), ClusterFigures::default()));
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The figures of now.
async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut cluster = shared.cluster.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((ask, figures)) = &mut *cluster {
        figures.update(ask());
    }
    let text = shared.figures.text(cluster.as_ref().map(|(_, figures)| figures));
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response()
}

/// Refuses pages of other sites, whose names lead to this machine.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.is_local && !host(request.headers()).is_some_and(is_of_this_machine) {
        let why = "this server answers to localhost and 127.0.0.1 only\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}
