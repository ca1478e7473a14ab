//! Requests that are refused: a status, and the reason as the protocol has it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::failure::Failure;

/// A request that gets no answer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: String,
    reason: Reason,
}

/// Why a request was refused, in a word for figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) &'static str);

impl Reason {
    /// What most refusals with that status are about.
    fn of(status: StatusCode) -> Self {
        Self(match status {
            StatusCode::UNAUTHORIZED => "token",
            StatusCode::FORBIDDEN => "host",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method",
            StatusCode::REQUEST_TIMEOUT => "slow_body",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type",
            StatusCode::TOO_MANY_REQUESTS => "requests",
            StatusCode::SERVICE_UNAVAILABLE => "timeout",
            StatusCode::INTERNAL_SERVER_ERROR => "failed",
            _ => "bad_request",
        })
    }
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl ToString) -> Self {
        Self { status, error: error.to_string(), reason: Reason::of(status) }
    }

    /// The same, for another reason than the status suggests.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason: Reason(reason), ..self }
    }

    /// 400: the request is wrong.
    pub(crate) fn bad(error: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// 429: too much at once, now.
    pub(crate) fn busy(error: impl ToString) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, error)
    }

    /// 503: no answer in time, or the server is about to end.
    pub(crate) fn unavailable(error: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

/// The client's data is wrong: the failure of a command about a file, with its remedy.
impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure.remedy() {
            Some(remedy) => Self::bad(format_args!("{}; {remedy}", failure.message())),
            None => Self::bad(failure.message()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error }).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let _ = response.extensions_mut().insert(self.reason);
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body was not read, and is not wanted.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
