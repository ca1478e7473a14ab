//! The progress of a run, from its status service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nn_net::DialOptions;

/// A thread that polls the status.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    steps: AtomicU64,
    refused: AtomicU64,
    reissued: AtomicU64,
    over: AtomicBool,
}

impl Progress {
    pub(crate) fn of(coordinator: SocketAddr) -> Self {
        let shared = Arc::<Shared>::default();
        let told = shared.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (url, options) = (format!("http://{coordinator}"), DialOptions::default());
            while !told.over.load(Ordering::SeqCst) {
                // A stalled coordinator does not answer.
                let asked = async {
                    tokio::time::timeout(Duration::from_millis(300), nn_net::status(&url, &options)).await
                };
                if let Ok(Ok(status)) = runtime.block_on(asked) {
                    told.steps.store(status.step, Ordering::SeqCst);
                    told.refused.fetch_max(status.refused, Ordering::SeqCst);
                    told.reissued.fetch_max(status.reissued, Ordering::SeqCst);
                }
                thread::sleep(Duration::from_millis(15));
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// The steps done, in the last status.
    pub(crate) fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::SeqCst)
    }

    /// The most contributions refused and the most nodes reissued in one life of the coordinator.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.refused.load(Ordering::SeqCst), self.shared.reissued.load(Ordering::SeqCst))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.thread.take().map(JoinHandle::join);
    }
}
