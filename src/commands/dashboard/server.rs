//! `--dashboard`: the page of a run, served from the run's process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nn_net::ServerSecurity;
use nn_net::proto::RunStatus;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::board::Board;
use super::follow::{Follower, Source};
use super::live::Live;
use super::routes::{Page, router};
use crate::commands::cluster::security::{self, Exposure, check_exposure_of};
use crate::commands::cluster::{bind_for, url};
use crate::config::{DashboardConfig, TrainConfig};
use crate::failure::Failure;
use crate::http::{Aside, Connections};
use crate::progress::warn;

/// A page has a connection that stays, and a few for what it asks.
const CONNECTIONS: usize = 64;
/// The time for the head of a request, and for reading an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time for the last messages at the end.
const GRACE: Duration = Duration::from_millis(500);

const EXPOSURE: Exposure = Exposure {
    listen: "--dashboard",
    insecure: "--dashboard-insecure",
    risk: "anyone who can reach this port could see the run, its options, samples and weights",
    remedy: "require a token (nn certs token FILE, then --dashboard-token-file FILE); or use --dashboard 127.0.0.1:PORT for \
             this machine only; or --dashboard-insecure on a network where you trust everyone",
};

/// A port that is bound, and not served yet.
pub(in crate::commands) struct DashboardPort {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    address: SocketAddr,
    security: ServerSecurity,
}

/// The page of a run, on threads of its own. It ends when it is dropped, and shows the end of the run before.
pub(in crate::commands) struct DashboardServer {
    live: Arc<Live>,
    url: String,
    board: Arc<Board>,
    following: Option<Follower>,
    _server: Aside,
}

impl DashboardPort {
    /// Binds the port of `--dashboard`, if it is given: before data is loaded, so that a port in use is reported at once.
    ///
    /// # Errors
    /// Exit code 4 if the port cannot be had, and 2 if it is open to others and that is not allowed.
    pub(in crate::commands) fn bind(config: &TrainConfig) -> Result<Option<Self>, Failure> {
        let Some(DashboardConfig { listen, security: asked, .. }) = config.dashboard()? else {
            return Ok(None);
        };
        let security = security::server(&asked)?;
        let runtime = Aside::runtime()
            .map_err(|error| Failure::failed(format_args!("cannot serve the dashboard: {error}")))?;
        let listener = runtime.block_on(bind_for("--dashboard", &listen))?;
        let address = listener.local_addr().map_err(Failure::network)?;
        check_exposure_of(&EXPOSURE, &listen, address, &security, asked.insecure)?;
        warn_of_clear_text(&security, address);
        Ok(Some(Self { runtime, listener, address, security }))
    }

    /// Serves the page of the run in this folder from now on.
    ///
    /// # Errors
    /// Exit code 1 if there is no thread for it.
    pub(in crate::commands) fn serve(
        self,
        folder: PathBuf,
        live: Arc<Live>,
    ) -> Result<DashboardServer, Failure> {
        let Self { runtime, listener, address, security } = self;
        let board = Arc::new(Board::new());
        let following = Follower::start(board.clone(), Source::Run(folder, live.clone()))?;
        let url = url(&security, address);
        let connections = connections(security.http_acceptor());
        let is_local = address.ip().to_canonical().is_loopback();
        let page = Arc::new(Page::new(board.clone(), Vec::new()));
        let router = router(&page, (security, is_local), "the run got as --dashboard-token-file");
        let server = Aside::start("nn-page", runtime, listener, connections, router)
            .map_err(|error| Failure::failed(format_args!("cannot serve the dashboard: {error}")))?;
        Ok(DashboardServer { live, url, board, following: Some(following), _server: server })
    }
}

impl DashboardServer {
    /// What the run leaves for the page.
    pub(in crate::commands) fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// Where the page is.
    pub(in crate::commands) fn url(&self) -> &str {
        &self.url
    }

    /// Adds a cluster, whose status `ask` gives at once.
    pub(in crate::commands) fn follow(&self, ask: impl Fn() -> RunStatus + Send + 'static) {
        self.live.follow(ask);
    }
}

impl Drop for DashboardServer {
    fn drop(&mut self) {
        if let Some(following) = self.following.take() {
            following.end();
        }
        // Then the server ends, once its readers have heard of it.
        self.board.close();
    }
}

/// How connections are treated.
pub(super) fn connections(tls: Option<TlsAcceptor>) -> Connections {
    Connections { most: CONNECTIONS, head: PATIENCE, stall: PATIENCE, grace: GRACE, tls }
}

/// A token that others can read on its way is no secret for long.
pub(super) fn warn_of_clear_text(security: &ServerSecurity, address: SocketAddr) {
    if security.knows_its_peers() && !security.has_tls() && !address.ip().to_canonical().is_loopback() {
        warn("the token travels in clear text: add a certificate and its key where others can listen in");
    }
}
