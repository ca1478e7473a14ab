//! The thread that writes checkpoints while training continues.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::failure::Failure;
use crate::progress::warn;
use crate::store::{Checkpoints, ModelFile};

/// Writes checkpoints on a separate thread. While one is written, one of each kind can wait, and a newer one replaces it:
/// a slow disk costs checkpoints but never time.
pub(super) struct Writer {
    shared: Arc<(Mutex<Waiting>, Condvar)>,
    thread: JoinHandle<Option<String>>,
}

/// The checkpoints waiting to be written.
#[derive(Default)]
struct Waiting {
    newest: Option<ModelFile>,
    best: Option<ModelFile>,
    over: bool,
}

/// Locks the waiting checkpoints. They are valid even if the other thread has panicked while it held the lock.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Starts the thread; `out` is the folder's name in warnings.
    pub(super) fn start(checkpoints: Checkpoints, out: String) -> Result<Self, Failure> {
        let shared = Arc::new((Mutex::default(), Condvar::new()));
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("nn-checkpoints".to_owned())
            .spawn(move || write_all(&theirs, &checkpoints, &out))
            .map_err(|error| Failure::failed(format_args!("cannot start a thread: {error}")))?;
        Ok(Self { shared, thread })
    }

    /// Queues a checkpoint.
    pub(super) fn newest(&self, file: ModelFile) {
        lock(&self.shared.0).newest = Some(file);
        self.shared.1.notify_one();
    }

    /// Queues the best checkpoint.
    pub(super) fn best(&self, file: ModelFile) {
        lock(&self.shared.0).best = Some(file);
        self.shared.1.notify_one();
    }

    /// Waits until everything is written. Returns why the newest checkpoint could not be written, if so.
    pub(super) fn finish(self) -> Result<(), String> {
        lock(&self.shared.0).over = true;
        self.shared.1.notify_one();
        match self.thread.join() {
            Ok(None) => Ok(()),
            Ok(Some(trouble)) => Err(trouble),
            Err(_) => Err("the thread that writes checkpoints has panicked".to_owned()),
        }
    }
}

/// Writes until the run is over. Returns why the newest checkpoint could not be written, if so.
fn write_all(shared: &(Mutex<Waiting>, Condvar), checkpoints: &Checkpoints, out: &str) -> Option<String> {
    let (mut newest, mut best) = (Told::default(), Told::default());
    // A best checkpoint that could not be written. It is tried again: there may be room later, and its epoch is past.
    let mut unwritten = None;
    loop {
        let mut waiting = lock(&shared.0);
        while waiting.newest.is_none() && waiting.best.is_none() && !waiting.over {
            waiting = shared.1.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let (file, better) = (waiting.newest.take(), waiting.best.take().or_else(|| unwritten.take()));
        let over = waiting.over;
        drop(waiting);
        if file.is_none() && better.is_none() {
            return newest.trouble;
        }
        // The best first: a run that resumes from the newest does not repeat the epoch of the best.
        if let Some(file) = better {
            let result = checkpoints.write_best(&file);
            unwritten = (result.is_err() && !over).then_some(file);
            best.tell(&format!("the best checkpoint to {out}"), result);
        }
        if let Some(file) = file {
            newest.tell(&format!("a checkpoint to {out}"), checkpoints.write(&file).map(drop));
        }
    }
}

/// Warns once when writing begins to fail and once when it works again.
#[derive(Default)]
struct Told {
    trouble: Option<String>,
}

impl Told {
    fn tell(&mut self, what: &str, result: std::io::Result<()>) {
        match result {
            Ok(()) if self.trouble.take().is_some() => warn(format_args!("wrote {what} again")),
            Ok(()) => {}
            Err(error) => {
                let trouble = format!("cannot write {what}: {error}");
                if self.trouble.is_none() {
                    warn(format_args!("{trouble}; training continues, and older checkpoints are intact"));
                }
                self.trouble = Some(trouble);
            }
        }
    }
}
