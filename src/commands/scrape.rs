//! `--metrics-listen`: the server that Prometheus asks for the figures of a program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::clock::date;
use crate::commands::cluster::bind_for;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::http::{Aside, Connections, is_of_this_machine};
use crate::progress::warn;
use crate::telemetry::{Figures, MEDIA_TYPE, text_of};

/// Prometheus keeps one connection; a few people may look as well.
const CONNECTIONS: usize = 32;
/// The time for the head of a request, for reading an answer, and for what is in flight at the end.
const PATIENCE: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(200);

/// A port that is bound, and not served yet.
pub(super) struct MetricsPort {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    is_local: bool,
    /// What serves the figures, for people.
    program: &'static str,
    since: SystemTime,
}

/// A server of figures on a thread of its own. It ends when it is dropped.
pub(super) struct MetricsServer<F> {
    figures: Arc<F>,
    address: SocketAddr,
    _server: Aside,
}

impl MetricsPort {
    /// Binds the port of `--metrics-listen`, if it is given: before data is loaded, so that a port in use is reported at once.
    /// `program` is what serves the figures, for people.
    ///
    /// # Errors
    /// Exit code 4 if the port cannot be had, and 2 if it is open to others and that is not allowed.
    pub(super) fn bind(config: &MetricsConfig, program: &'static str) -> Result<Option<Self>, Failure> {
        let Some(listen) = &config.listen else { return Ok(None) };
        let since = date();
        let runtime = Aside::runtime()
            .map_err(|error| Failure::failed(format_args!("cannot serve figures: {error}")))?;
        let listener = runtime.block_on(bind_for("--metrics-listen", listen))?;
        let address = listener.local_addr().map_err(Failure::network)?;
        let is_local = address.ip().to_canonical().is_loopback();
        let risk =
            "anyone who can reach this port could read the figures of this program, and the names in them";
        if !is_local && !config.insecure {
            return Err(Failure::usage(format_args!(
                "--metrics-listen {listen} is open to other machines: {risk}"
            ))
            .help("use 127.0.0.1:PORT for this machine only, or add --metrics-insecure on a network where you trust everyone"));
        }
        if !is_local {
            warn(format_args!("--metrics-insecure: {risk}"));
        }
        Ok(Some(Self { runtime, listener, is_local, program, since }))
    }

    /// Serves `figures` from now on.
    ///
    /// # Errors
    /// Exit code 1 if there is no thread for it.
    pub(super) fn serve<F: Figures + 'static>(self, figures: Arc<F>) -> Result<MetricsServer<F>, Failure> {
        let Self { runtime, listener, is_local, program, since } = self;
        let address = listener.local_addr().map_err(Failure::network)?;
        let told = figures.clone();
        let metrics = move || async move {
            ([(header::CONTENT_TYPE, MEDIA_TYPE)], text_of(program, since, &*told)).into_response()
        };
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/", get(|| async { "The figures of this program are at /metrics.\n" }))
            .layer(middleware::from_fn_with_state(is_local, guard));
        let connections =
            Connections { most: CONNECTIONS, head: PATIENCE, stall: PATIENCE, grace: GRACE, tls: None };
        let server = Aside::start("nn-metrics", runtime, listener, connections, router)
            .map_err(|error| Failure::failed(format_args!("cannot serve figures: {error}")))?;
        Ok(MetricsServer { figures, address, _server: server })
    }
}

impl<F> MetricsServer<F> {
    /// Where the figures are, in words.
    pub(super) fn in_words(&self) -> String {
        format!("figures for Prometheus are at http://{}/metrics", self.address)
    }

    /// What it serves.
    pub(super) fn figures(&self) -> &F {
        &self.figures
    }
}

/// Refuses pages of other sites, whose names lead to this machine.
async fn guard(State(is_local): State<bool>, request: Request, next: Next) -> Response {
    if is_local && !host(request.headers()).is_some_and(is_of_this_machine) {
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
