//! Asking a coordinator for its status.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Request, Streaming};

use super::address::coordinator_url;
use super::dial::{DialOptions, dial};
use super::error::ConnectError;
use crate::proto as pb;
use pb::status_client::StatusClient;

impl DialOptions {
    /// A request with the token, if there is one.
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = self.security.token() {
            let mut headers = std::mem::take(request.metadata_mut()).into_headers();
            headers.insert(http::header::AUTHORIZATION, token.header());
            *request.metadata_mut() = MetadataMap::from_headers(headers);
        }
        request
    }
}

/// The current status of a run.
///
/// # Errors
/// If no coordinator can be reached at the address.
pub async fn status(url: &str, options: &DialOptions) -> Result<pb::RunStatus, ConnectError> {
    let url = &coordinator_url(url)?;
    let mut client = StatusClient::new(dial(url, options).await?);
    let answer =
        tokio::time::timeout(options.timeout, client.get_status(options.request(pb::GetStatusRequest {})))
            .await;
    match answer {
        Ok(Ok(status)) => Ok(status.into_inner()),
        Ok(Err(status)) => Err(ConnectError::of_status(url, &status)),
        Err(_) => Err(ConnectError::TimedOut { url: url.to_owned(), after: options.timeout }),
    }
}

/// The current status of a run, and its changes until the run is over, at most one per interval.
///
/// # Errors
/// If no coordinator can be reached at the address.
pub async fn watch(
    url: &str,
    interval: Duration,
    options: &DialOptions,
) -> Result<Streaming<pb::RunStatus>, ConnectError> {
    let url = &coordinator_url(url)?;
    let mut client = StatusClient::new(dial(url, options).await?);
    let interval_millis = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
    let answer = client.watch(options.request(pb::WatchRequest { interval_millis })).await;
    answer.map(tonic::Response::into_inner).map_err(|status| ConnectError::of_status(url, &status))
}
