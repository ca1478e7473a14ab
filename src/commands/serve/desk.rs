//! The threads that compute. Each has a workspace of its own, and does one request at a time on one thread: that wastes least,
//! and by the law it changes no bit.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use axum::http::StatusCode;
use crossbeam::channel::{Sender, unbounded};
use nn_core::Workspace;
use tokio::sync::oneshot;

use super::model::Served;
use crate::commands::{isa, threads};
use crate::failure::Failure;
use crate::http::Refusal;

type Job = Box<dyn FnOnce(&mut Workspace) + Send>;

/// The threads, by the way to them. They end when it is dropped.
pub(super) struct Desk(Sender<Job>);

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// Starts `count` threads.
    pub(super) fn start(served: &Served, count: NonZeroUsize) -> Result<Self, Failure> {
        // As long as requests at once, which have a limit.
        let (sender, jobs) = unbounded::<Job>();
        for _ in 0..count.get() {
            let mut workspace = Workspace::for_evaluation(&served.file.model, threads(1)?, isa()?);
            let jobs = jobs.clone();
            let work = move || jobs.into_iter().for_each(|job| job(&mut workspace));
            thread::Builder::new().name("nn-serve".to_owned()).spawn(work).map_err(|error| {
                Failure::failed(format_args!("cannot start {count} threads: {error}"))
                    .help("use fewer --threads")
            })?;
        }
        Ok(Self(sender))
    }

    /// Has a thread do some work, unless the one who asks has left before it begins.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (send, receive) = oneshot::channel();
        let job = move |workspace: &mut Workspace| {
            if !send.is_closed() {
                // Should there be a bug, it costs one request. The next pass writes the workspace anew.
                if let Ok(done) = catch_unwind(AssertUnwindSafe(|| work(workspace))) {
                    let _ = send.send(done);
                }
            }
        };
        let failed = || {
            let error = "the server failed at this request; its standard error says where";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error)
        };
        self.0.send(Box::new(job)).map_err(|_| failed())?;
        receive.await.map_err(|_| failed())
    }
}
