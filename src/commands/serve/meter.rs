//! The figures of each request, for `--metrics-listen`: around all that may refuse it.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;

use super::Service;
use crate::http::Reason;

/// The route of requests for what is not there.
const OTHER: &str = "other";

/// Counts a request, its body and its answer.
pub(super) async fn meter(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let figures = service.figures.clone();
    let route = request.extensions().get::<MatchedPath>().map_or(OTHER, MatchedPath::as_str);
    let in_flight = figures.begin(route);
    let request = request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            figures.received(frame.data_ref().map_or(0, |data| data.len()));
            frame
        }))
    });
    let response = next.run(request).await;
    let refused = response.extensions().get::<Reason>().map(|reason| reason.0);
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    in_flight.answer(response.status().as_u16(), bytes, refused);
    response
}
