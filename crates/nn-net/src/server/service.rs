//! The service `nn.v1.Coordinator`, hand-written: tonic's generated server would encode every message once per worker.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response, header};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::coordinator::CoordinatorHandle;
use super::door::Visitor;
use super::session;
use crate::wire::outbox::Outbox;
use crate::wire::stream::Messages;

/// Starts a session for every stream of the method `Work`.
#[derive(Debug, Clone)]
pub(super) struct WorkService {
    handle: CoordinatorHandle,
    killed: watch::Receiver<bool>,
}

impl WorkService {
    pub(super) fn new(handle: CoordinatorHandle, killed: watch::Receiver<bool>) -> Self {
        Self { handle, killed }
    }

    /// The most bytes that may wait for one worker: three sets of weights (the last step's, this step's, the next one's) and
    /// some room for messages. More than two sets wait only briefly.
    fn queue_limit(&self) -> usize {
        3 * self.handle.facts.shapes.bytes() + (1 << 20)
    }
}

impl NamedService for WorkService {
    const NAME: &'static str = "nn.v1.Coordinator";
}

impl Service<Request<Body>> for WorkService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != "/nn.v1.Coordinator/Work" {
            let status = Status::new(Code::Unimplemented, "nn.v1.Coordinator has one method, Work");
            return ready(Ok(status.into_http()));
        }
        let Some(visitor) = request.extensions().get::<Visitor>().cloned() else {
            return ready(Ok(Status::internal("the connection is unknown").into_http()));
        };
        let messages = Messages::new(request.into_body());
        let (outbox, outgoing) = Outbox::new(self.queue_limit());
        let session = session::run(self.handle.clone(), messages, outbox, visitor, self.killed.clone());
        tokio::spawn(session);
        let mut response = Response::new(Body::new(outgoing));
        let grpc = header::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, grpc);
        ready(Ok(response))
    }
}
