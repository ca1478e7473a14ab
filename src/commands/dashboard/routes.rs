//! The addresses of the page, and what each of them gives.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use nn_net::ServerSecurity;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::board::Board;
use super::network::Network;
use super::{look, stream};
use crate::commands::report;
use crate::http::{Guard, Refusal, guard};

/// The files of the page: address, type and content.
const FILES: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/parts.css", "text/css; charset=utf-8", report::PARTS),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/charts.js", "text/javascript; charset=utf-8", include_str!("page/charts.js")),
    ("/network.js", "text/javascript; charset=utf-8", include_str!("page/network.js")),
    ("/server.js", "text/javascript; charset=utf-8", include_str!("page/server.js")),
    ("/uplot.js", "text/javascript; charset=utf-8", include_str!("page/uplot/uPlot.iife.min.js")),
    ("/uplot.css", "text/css; charset=utf-8", include_str!("page/uplot/uPlot.min.css")),
    ("/uplot-licence.txt", "text/plain; charset=utf-8", include_str!("page/uplot/LICENSE")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// They hold no secret: without them nobody could enter a token.
const PUBLIC: &[&str] = &[
    "/",
    "/style.css",
    "/parts.css",
    "/page.js",
    "/charts.js",
    "/network.js",
    "/server.js",
    "/uplot.js",
    "/uplot.css",
    "/uplot-licence.txt",
    "/icon.svg",
];

/// What all requests share.
pub(super) struct Page {
    pub(super) board: Arc<Board>,
    /// The network that was read last from files, and the number of its run. People look at one at a time.
    loaded: Mutex<Option<(usize, look::Loaded)>>,
    /// The folders in which sweeps are looked for, for one reader at a time.
    folders: Mutex<Vec<PathBuf>>,
}

impl Page {
    /// The page of a board; sweeps are looked for in `folders`.
    pub(super) fn new(board: Arc<Board>, folders: Vec<PathBuf>) -> Self {
        Self { board, loaded: Mutex::default(), folders: folders.into() }
    }

    /// The network of a run: that of the run in this process, or the one in its files.
    async fn network(&self, run: usize) -> Result<Arc<Network>, Refusal> {
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, "there is no such run");
        let (folder, live) = self
            .board
            .look(run, |shown| (shown.folder.clone(), (shown.is_of_this_process, shown.network.clone())))
            .ok_or_else(unknown)?;
        match live {
            (_, Some(network)) => return Ok(network),
            (true, None) => {
                return Err(Refusal::new(StatusCode::NOT_FOUND, "the network has not been evaluated yet"));
            }
            (false, None) => {}
        }
        let mut loaded = self.loaded.lock().await;
        let before = loaded.take().filter(|(of, _)| *of == run).map(|(_, before)| before);
        let task = tokio::task::spawn_blocking(move || look::load(&folder, before)).await;
        let now = task.map_err(|_| Refusal::unavailable("the network could not be read"))??;
        let network = now.network().clone();
        *loaded = Some((run, now));
        Ok(network)
    }
}

type Shared = State<Arc<Page>>;

/// All addresses behind the guard; `token_of` says where the token came from.
pub(super) fn router(
    page: &Arc<Page>,
    (security, is_local): (ServerSecurity, bool),
    token_of: &'static str,
) -> Router {
    let at_door = Arc::new(Guard { security, is_local, public: PUBLIC, token_of });
    let mut router = Router::new()
        .route("/events", get(events))
        .route("/sweeps", get(sweeps))
        .route("/runs/{run}/network", get(overview))
        .route("/runs/{run}/cell/{truth}/{predicted}/{from}", get(cell))
        .route("/runs/{run}/weights/{from}", get(weights));
    for (address, kind, content) in FILES {
        router = router.route(address, get(move || async move { ([(header::CONTENT_TYPE, kind)], content) }));
    }
    router.fallback(unknown).layer(middleware::from_fn_with_state(at_door, guard)).with_state(page.clone())
}

async fn unknown(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(100).collect();
    Refusal::new(StatusCode::NOT_FOUND, format_args!("there is nothing at {path}"))
}

async fn events(State(page): Shared) -> Response {
    stream::stream(page.board.clone()).into_response()
}

/// The sections about sweeps as HTML without styles or scripts of their own; empty if there are none.
async fn sweeps(State(page): Shared) -> Result<Response, Refusal> {
    let folders = page.folders.lock().await;
    let looked_in = folders.clone();
    let html = tokio::task::spawn_blocking(move || report::sweeps(&looked_in)).await;
    let html = html.map_err(|_| Refusal::unavailable("the sweeps could not be read"))?;
    Ok(answer(&json!({ "html": html })))
}

fn answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Computes aside: the thread of the connections has others to serve.
async fn aside(
    network: Arc<Network>,
    compute: impl FnOnce(&Network) -> Value + Send + 'static,
) -> Result<Response, Refusal> {
    let task = tokio::task::spawn_blocking(move || compute(&network)).await;
    task.map(|value| answer(&value)).map_err(|_| Refusal::unavailable("that could not be computed"))
}

async fn overview(State(page): Shared, Path(run): Path<usize>) -> Result<Response, Refusal> {
    aside(page.network(run).await?, Network::overview).await
}

async fn cell(
    State(page): Shared,
    Path((run, truth, predicted, from)): Path<(usize, usize, usize, usize)>,
) -> Result<Response, Refusal> {
    aside(page.network(run).await?, move |network| network.cell(truth, predicted, from)).await
}

async fn weights(State(page): Shared, Path((run, from)): Path<(usize, usize)>) -> Result<Response, Refusal> {
    aside(page.network(run).await?, move |network| network.weights(from)).await
}
