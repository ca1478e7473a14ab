//! `nn serve`: a trained network behind HTTP, as a page for people and as the Open Inference Protocol for programs.
//!
//! ```text
//!  listener ──► connection ──► guard ──► routes ──┬─► page/*                       files of the page
//!               src/http       src/http  routes.rs ├─► answer.rs ─ pictures, files ─┐
//!                                                  └─► infer.rs  ─ tensors ─────────┴─► desk.rs: threads that compute
//!                                                      protocol.rs, tensor.rs, columns.rs
//! ```
//!
//! `meter.rs`, around the guard, counts requests for Prometheus, which has an address of its own (`--metrics-listen`).
//!
//! Every step has a limit: connections, the time of their heads and the pace at which a client must read (`src/http`), requests
//! at once, the size of their bodies and of what they take together (`limits.rs`). Nothing is computed or parsed in an async
//! task. A request changes nothing, so there is nothing for it to break but time and memory.

mod answer;
mod columns;
mod desk;
mod infer;
mod limits;
mod meter;
mod model;
mod protocol;
mod reasons;
mod routes;
mod tensor;

use std::sync::Arc;
use std::time::Duration;

use super::cluster::security::{self, Exposure, check_exposure_of};
use super::cluster::{bind, runtime, stopped, url};
use super::read_model;
use super::scrape::MetricsPort;
use crate::config::ServeConfig;
use crate::failure::{Failure, write_stdout};
use crate::http::{self, Connections, open_browser};
use crate::progress::warn;
use crate::signals::StopFlag;
use crate::telemetry::ServeFigures;
use desk::Desk;
use limits::Limits;
use model::Served;

/// The longest that a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);

const EXPOSURE: Exposure = Exposure {
    listen: "--listen",
    insecure: "--insecure",
    risk: "anyone who can reach this port could use the model and this machine's time",
    remedy: "require a token (nn certs token FILE, then --token-file FILE); or use --listen 127.0.0.1:PORT for this machine \
             only; or --insecure on a network where you trust everyone",
};

/// What the requests share.
struct Service {
    served: Arc<Served>,
    desk: Desk,
    limits: Limits,
    figures: Arc<ServeFigures>,
}

/// The answer to a request.
struct Answered {
    json: Vec<u8>,
    /// The samples that it is about.
    samples: usize,
}

/// Serves a model until a signal arrives.
pub(crate) fn serve(config: &ServeConfig) -> Result<(), Failure> {
    let security = security::server(&config.security)?;
    let runtime = runtime()?;
    // The port is bound first, so that one in use is reported at once.
    let listener = runtime.block_on(bind(&config.listen))?;
    let address = listener.local_addr().map_err(Failure::network)?;
    check_exposure_of(&EXPOSURE, &config.listen, address, &security, config.security.insecure)?;
    if security.knows_its_peers() && !security.has_tls() && !address.ip().is_loopback() {
        warn("the token travels in clear text: add --tls-cert and --tls-key where others can listen in");
    }
    let port = MetricsPort::bind(&config.metrics, "nn serve")?;
    let served = Arc::new(Served::new(read_model(&config.model)?, &config.name)?);
    let desk = Desk::start(&served, config.threads)?;
    let stop = StopFlag::install()?;
    let figures = Arc::new(ServeFigures::new(&served.name, &served.version));
    let metrics = port.map(|port| port.serve(figures.clone())).transpose()?;

    let url = url(&security, address);
    write_stdout(format!(
        "serving {} ({}) at {url}\nprograms: POST {url}/v2/models/{}/infer; Ctrl-C ends it\n",
        served.name,
        served.in_words(),
        served.name
    ))?;
    if let Some(metrics) = &metrics {
        write_stdout(format!("{}\n", metrics.in_words()))?;
    }
    if config.open {
        open_browser(&url);
    }
    let connections = Connections {
        most: config.max_connections,
        head: config.timeout.min(HEAD),
        stall: config.timeout,
        // What is in flight at the end has the time of a request, and that of sending its answer.
        grace: config.timeout * 2,
        tls: security.http_acceptor(),
    };
    let limits = Limits::new(config.max_body, config.max_requests, config.timeout);
    let is_local = address.ip().to_canonical().is_loopback();
    let service = Arc::new(Service { served, desk, limits, figures: figures.clone() });
    let ended_early = runtime.block_on(async {
        let router = routes::router(&service, (security, is_local));
        http::run_counting(listener, connections, router, stopped(stop), figures.turned_away()).await
    });
    if ended_early > 0 {
        warn(format_args!("{ended_early} connections did not end in time and were cut"));
    }
    Ok(())
}
