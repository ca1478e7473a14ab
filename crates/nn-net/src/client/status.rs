//! Asking a coordinator what the run is at.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Request, Streaming};

use super::address::coordinator_url;
use super::dial::{ConnectError, DialOptions, dial};
use crate::proto as pb;
use pb::status_client::StatusClient;

impl DialOptions {
    /// A request that shows the token, if there is one.
    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = self.security.token() {
            let mut headers = std::mem::take(request.metadata_mut()).into_headers();
            headers.insert(http::header::AUTHORIZATION, token.header());
            *request.metadata_mut() = MetadataMap::from_headers(headers);
        }
        request
    }
}

/// The run as it is now.
///
/// # Errors
/// If the coordinator cannot be reached, or is none.
pub async fn status(url: &str, options: &DialOptions) -> Result<pb::RunStatus, ConnectError> {
    let url = &coordinator_url(url)?;
    let mut client = StatusClient::new(dial(url, options).await?);
    let answer =
        tokio::time::timeout(options.timeout, client.get_status(options.request(pb::GetStatusRequest {})))
            .await;
    match answer {
        Ok(Ok(status)) => Ok(status.into_inner()),
        Ok(Err(status)) => Err(ConnectError::from_status(url, &status)),
        Err(_) => Err(ConnectError::TimedOut { url: url.to_owned(), after: options.timeout }),
    }
}

/// The run as it is now, and again whenever it has changed, at most once an interval, until it is over.
///
/// # Errors
/// If the coordinator cannot be reached, or is none.
pub async fn watch(
    url: &str,
    interval: Duration,
    options: &DialOptions,
) -> Result<Streaming<pb::RunStatus>, ConnectError> {
    let url = &coordinator_url(url)?;
    let mut client = StatusClient::new(dial(url, options).await?);
    let interval_millis = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
    let answer = client.watch(options.request(pb::WatchRequest { interval_millis })).await;
    answer.map(tonic::Response::into_inner).map_err(|status| ConnectError::from_status(url, &status))
}
