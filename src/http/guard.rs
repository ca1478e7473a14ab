//! What every request passes: the name that it calls this server by, and the token; and what every answer carries.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use nn_net::ServerSecurity;

use super::{Refusal, is_of_this_machine};

/// Who may ask a server.
pub(crate) struct Guard {
    pub(crate) security: ServerSecurity,
    /// Whether only this machine reaches it.
    pub(crate) is_local: bool,
    /// Files that hold no secret: without them nobody could enter a token. Probes of an orchestrator have none.
    pub(crate) public: &'static [&'static str],
    /// The program and the flag that gave it the token.
    pub(crate) token_of: &'static str,
}

/// The headers of all answers. The page loads its own files and asks its own server, and nothing else; no other page may show
/// it, or read an answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Refuses strangers, and gives every answer its headers.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let checked = check_host(request.headers(), request.uri(), guard.is_local)
        .and_then(|()| check_token(&guard, &request));
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Refuses a request to this machine under a name that is not this machine's own: a page of another site could have its name
/// lead here (DNS rebinding), and then read the answers.
fn check_host(headers: &HeaderMap, uri: &Uri, is_local: bool) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next(), uri.host()) {
        (Some(host), None, _) => host.to_str().unwrap_or_default(),
        (None, None, Some(host)) => host,
        (None, None, None) => return Err(Refusal::bad("the request has no Host")),
        _ => return Err(Refusal::bad("the request has more than one Host")),
    };
    if !is_local || is_of_this_machine(host) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "this server answers to localhost and 127.0.0.1 only, so that no other site's page can use it under its own name",
    ))
}

fn check_token(guard: &Guard, request: &Request) -> Result<(), Refusal> {
    let shown = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    if guard.security.admits(shown) || guard.public.contains(&request.uri().path()) {
        return Ok(());
    }
    let whose = guard.token_of;
    let error = match shown {
        Some(_) => format!("the token is wrong; send the text of the file that {whose}"),
        None => {
            format!(
                "a token is required: Authorization: Bearer TOKEN, with the text of the file that {whose}"
            )
        }
    };
    Err(Refusal::new(StatusCode::UNAUTHORIZED, error))
}
