//! A server beside other work: on a thread of its own.

use std::io;
use std::thread::JoinHandle;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{Connections, run};

/// A server on a thread of its own. It ends when it is dropped.
pub(crate) struct Aside {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    /// What its thread will run: with this, a port can be bound before there is anything to serve.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn runtime() -> io::Result<Runtime> {
        Builder::new_current_thread().enable_all().build()
    }

    /// Serves from now on, on a thread of this name.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub(crate) fn start(
        name: &str,
        runtime: Runtime,
        listener: TcpListener,
        connections: Connections,
        router: Router,
    ) -> io::Result<Self> {
        let (end, ended) = oneshot::channel();
        let serve = move || {
            let ended = async { drop(ended.await) };
            let _ = runtime.block_on(run(listener, connections, router, ended));
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(serve)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
