//! The check of the token, before a service sees a request.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, header};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;

use super::lobby::Visitor;

/// A service that requires the token, if its door has one.
#[derive(Debug, Clone)]
pub(crate) struct Gate<S> {
    service: S,
    is_public: bool,
}

impl<S> Gate<S> {
    pub(crate) fn new(service: S) -> Self {
        Self { service, is_public: false }
    }

    /// A gate without the token, for a service that is open to every client past the TLS handshake.
    pub(in crate::server) fn public(service: S) -> Self {
        Self { service, is_public: true }
    }

    fn check(&self, request: &Request<Body>) -> Result<(), Status> {
        let Some(visitor) = request.extensions().get::<Visitor>() else {
            return Err(Status::internal("the connection is unknown"));
        };
        let Some(token) = visitor.security().token() else {
            visitor.is_known();
            return Ok(());
        };
        if self.is_public {
            return Ok(());
        }
        match request.headers().get(header::AUTHORIZATION) {
            Some(shown) if token.is_in(shown.as_bytes()) => {
                visitor.is_known();
                Ok(())
            }
            Some(_) => {
                visitor.refuse("showed a token that is not this run's (give it the same --token-file)");
                Err(Status::unauthenticated(
                    "the token is not the run's; give --token-file a copy of the coordinator's file",
                ))
            }
            None => {
                visitor.refuse("showed no token (start it with --token-file)");
                Err(Status::unauthenticated(
                    "a token is required; give --token-file a copy of the coordinator's file",
                ))
            }
        }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.check(&request) {
            Ok(()) => Box::pin(self.service.call(request)),
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}
