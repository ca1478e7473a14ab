//! The addresses, and what each of them does.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use nn_core::Workspace;
use nn_net::ServerSecurity;
use serde_json::json;

use super::meter::meter;
use super::model::Served;
use super::{Answered, Service, answer, infer};
use crate::http::{Guard, Refusal, guard};

/// The files of the page: address, type and content.
const FILES: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/inside.js", "text/javascript; charset=utf-8", include_str!("page/inside.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// The type of the protocol's requests.
const JSON: &str = "application/json";

/// Types of what the page sends: pictures, tables or arrays of samples, and rows as the protocol has them.
const SAMPLES: [&str; 5] = ["image/png", "image/jpeg", "text/csv", "application/octet-stream", JSON];

/// What is for everyone: the page's files, and the health that probes ask for.
const PUBLIC: &[&str] =
    &["/", "/style.css", "/page.js", "/inside.js", "/icon.svg", "/v2/health/live", "/v2/health/ready"];

/// Where the token comes from.
const TOKEN: &str = "nn serve got as --token-file";

type Shared = State<Arc<Service>>;

/// All addresses behind the guard.
pub(super) fn router(service: &Arc<Service>, (security, is_local): (ServerSecurity, bool)) -> Router {
    let at_door = Arc::new(Guard { security, is_local, public: PUBLIC, token_of: TOKEN });
    let mut router = Router::new()
        .route("/page/model", get(page_model))
        .route("/page/answer", post(page_answer))
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready));
    for model in ["/v2/models/{name}", "/v2/models/{name}/versions/{version}"] {
        router = router
            .route(model, get(metadata))
            .route(&format!("{model}/ready"), get(model_ready))
            .route(&format!("{model}/infer"), post(inference));
    }
    for (address, kind, content) in FILES {
        router = router.route(address, get(move || async move { ([(header::CONTENT_TYPE, kind)], content) }));
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(at_door, guard))
        .layer(middleware::from_fn_with_state(service.clone(), meter))
        .with_state(service.clone())
}

async fn unknown(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(100).collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        format_args!("there is nothing at {path}; GET /v2 is where the protocol begins"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(100).collect();
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format_args!("{path} does not take {method}"))
}

fn json(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], value.to_string()).into_response()
}

/// An answer that was computed.
fn json_bytes(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, JSON)], Body::from(bytes)).into_response()
}

async fn server() -> Response {
    json(&json!({ "name": "nn", "version": env!("CARGO_PKG_VERSION"), "extensions": [] }))
}

async fn live() -> Response {
    json(&json!({ "live": true }))
}

async fn ready() -> Response {
    json(&json!({ "ready": true }))
}

/// The names in the address of a model.
type Named = Result<Path<HashMap<String, String>>, PathRejection>;

/// Refuses another model, or another version of it.
fn check_model(service: &Service, named: &Named) -> Result<(), Refusal> {
    // What is not even text is the name of no model.
    let of = |key: &str| named.as_ref().ok().and_then(|Path(named)| named.get(key)).map(String::as_str);
    let served = &service.served;
    let (name, version) = (of("name").unwrap_or_default(), of("version"));
    let short = |text: &str| text.chars().take(100).collect::<String>();
    if name != served.name {
        let text =
            format_args!("there is no model {:?} here, only {:?}", short(name), served.name).to_string();
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    }
    match version {
        Some(version) if version != served.version => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!("{name} has the version {:?}, not {:?}", served.version, short(version)),
        )),
        _ => Ok(()),
    }
}

async fn metadata(State(service): Shared, named: Named) -> Result<Response, Refusal> {
    check_model(&service, &named)?;
    Ok(json(&service.served.metadata()))
}

async fn model_ready(State(service): Shared, named: Named) -> Result<Response, Refusal> {
    check_model(&service, &named)?;
    Ok(json(&json!({ "name": service.served.name, "ready": true })))
}

async fn inference(State(service): Shared, named: Named, request: Request) -> Result<Response, Refusal> {
    check_model(&service, &named)?;
    let headers = request.headers();
    check_type(headers, &[JSON])?;
    if headers.contains_key("inference-header-content-length") {
        let error =
            "tensors in binary are not taken; send their data as JSON (binary_data=False in Triton's client)";
        return Err(Refusal::bad(error));
    }
    computed(&service, request, infer::answer).await
}

async fn page_model(State(service): Shared) -> Response {
    json(&service.served.page(service.limits.max_body()))
}

async fn page_answer(State(service): Shared, request: Request) -> Result<Response, Refusal> {
    let headers = request.headers();
    let is_json = check_type(headers, &SAMPLES)? == JSON;
    let class = answer::class_of(request.uri().query())?;
    computed(&service, request, move |served, workspace, body| {
        let samples = if is_json { answer::row(served, &body)? } else { answer::file(served, body)? };
        answer::answer(served, workspace, &samples, class)
    })
    .await
}

/// Reads a request's body and has a thread compute its answer, within all limits.
async fn computed(
    service: &Service,
    request: Request,
    work: impl FnOnce(&Served, &mut Workspace, Vec<u8>) -> Result<Answered, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let length = length_of(request.headers());
    let answer = service.limits.within(async {
        let body = service.limits.read(request.into_body(), length).await?;
        let served = service.served.clone();
        let (bytes, memory) = body.into_parts();
        let answer = service.desk.ask(move |workspace| {
            let answer = work(&served, workspace, bytes);
            drop(memory);
            answer
        });
        let Answered { json, samples } = answer.await??;
        service.figures.answered(samples);
        service.limits.hold(json).await
    });
    Ok(json_bytes(answer.await?))
}

/// The type of a body, if it is one that is taken. These types make a browser ask before it sends
/// another site's request, and nothing here says yes to that.
fn check_type(headers: &HeaderMap, taken: &[&'static str]) -> Result<&'static str, Refusal> {
    let wrong = |error: String| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return wrong("the body must not be compressed".to_owned());
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    if let Some(taken) = taken.iter().find(|taken| kind.eq_ignore_ascii_case(taken)) {
        return Ok(taken);
    }
    wrong(format!("the body's Content-Type must be {}", taken.join(" or ")))
}

/// The bytes that a body will have, if its head says so.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
