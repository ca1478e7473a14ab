//! The page that shows runs: `nn dashboard` for folders, `--dashboard` beside a run.
//!
//! ```text
//!  <run>/metrics.jsonl, run.toml, summary.json ──► follow.rs ──► board.rs ──► routes.rs ──► page/*
//!  the run itself, if it is in this process ─────► live.rs ─────┘    stream.rs (server-sent events)
//!                                                   network.rs ──────┘ confusions, mistakes, weights: when asked for
//! ```
//!
//! The history is always that of the files, so that a reload, a resumption and a run of another process look the same. Nothing is
//! written, and a run never waits for the page: it only leaves its last figures where the page finds them.

mod board;
mod follow;
mod live;
mod look;
mod network;
mod routes;
mod server;
mod stream;

use std::sync::Arc;

use self::board::Board;
use self::follow::{Follower, Source};
pub(in crate::commands) use self::live::{Live, Plan};
use self::routes::Page;
pub(in crate::commands) use self::server::{DashboardPort, DashboardServer};
use super::cluster::security::{self, Exposure, check_exposure_of};
use super::cluster::{bind, runtime, stopped, url};
use crate::config::DashboardConfig;
use crate::failure::{Failure, write_stdout};
use crate::http;
use crate::show::counted;
use crate::signals::StopFlag;

const EXPOSURE: Exposure = Exposure {
    listen: "--listen",
    insecure: "--insecure",
    risk: "anyone who can reach this port could see the runs, their options, samples and weights",
    remedy: "require a token (nn certs token FILE, then --token-file FILE); or use --listen 127.0.0.1:PORT for this machine \
             only; or --insecure on a network where you trust everyone",
};

/// Shows runs until a signal arrives.
pub(crate) fn dashboard(config: &DashboardConfig) -> Result<(), Failure> {
    let security = security::server(&config.security)?;
    let runtime = runtime()?;
    let listener = runtime.block_on(bind(&config.listen))?;
    let address = listener.local_addr().map_err(Failure::network)?;
    check_exposure_of(&EXPOSURE, &config.listen, address, &security, config.security.insecure)?;
    server::warn_of_clear_text(&security, address);

    let found = super::runs::gathered(&config.folders, 0)?.runs;
    let board = Arc::new(Board::new());
    let source = Source::Folders(config.folders.clone());
    let following = Follower::start(board.clone(), source)?;
    let stop = StopFlag::install()?;
    let url = url(&security, address);
    write_stdout(format!("{} at {url}; Ctrl-C ends it\n", counted(found.len(), "run")))?;
    if config.open {
        http::open_browser(&url);
    }
    let tls = security.http_acceptor();
    let is_local = address.ip().to_canonical().is_loopback();
    let page = Arc::new(Page::new(board, config.folders.clone()));
    let router = routes::router(&page, (security, is_local), "nn dashboard got as --token-file");
    runtime.block_on(async {
        let end = async {
            stopped(stop).await;
            following.end();
        };
        http::run(listener, server::connections(tls), router, end).await
    });
    Ok(())
}
