//! The thread that writes checkpoints beside the training.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::failure::Failure;
use crate::progress::warn;
use crate::store::{Checkpoints, ModelFile};

/// Writes checkpoints on a thread of its own. One of each sort may wait while one is written; a newer one takes its
/// place, so that a slow disk costs checkpoints but never time.
pub(super) struct Writer {
    shared: Arc<(Mutex<Waiting>, Condvar)>,
    thread: JoinHandle<Option<String>>,
}

/// What is to be written.
#[derive(Default)]
struct Waiting {
    newest: Option<ModelFile>,
    best: Option<ModelFile>,
    over: bool,
}

/// The lock; should the other thread have panicked under it, what is there is still whole.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Starts the thread; `out` is how warnings call the folder.
    pub(super) fn start(checkpoints: Checkpoints, out: String) -> Result<Self, Failure> {
        let shared = Arc::new((Mutex::default(), Condvar::new()));
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("nn-checkpoints".to_owned())
            .spawn(move || write_all(&theirs, &checkpoints, &out))
            .map_err(|error| Failure::failed(format_args!("cannot start a thread: {error}")))?;
        Ok(Self { shared, thread })
    }

    /// Has a checkpoint written.
    pub(super) fn newest(&self, file: ModelFile) {
        lock(&self.shared.0).newest = Some(file);
        self.shared.1.notify_one();
    }

    /// Has the best checkpoint written.
    pub(super) fn best(&self, file: ModelFile) {
        lock(&self.shared.0).best = Some(file);
        self.shared.1.notify_one();
    }

    /// Waits until all is written; says why the newest is not, if it is not.
    pub(super) fn finish(self) -> Result<(), String> {
        lock(&self.shared.0).over = true;
        self.shared.1.notify_one();
        match self.thread.join() {
            Ok(None) => Ok(()),
            Ok(Some(trouble)) => Err(trouble),
            Err(_) => Err("the thread that writes checkpoints has ended".to_owned()),
        }
    }
}

/// Writes until it is told that the run is over; gives what went wrong with the newest checkpoint.
fn write_all(shared: &(Mutex<Waiting>, Condvar), checkpoints: &Checkpoints, out: &str) -> Option<String> {
    let (mut newest, mut best) = (Told::default(), Told::default());
    // The best that there was no room for: there may be room later, and that epoch does not come again.
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
        // The best first: a run that is taken up after the newest does not come to the best again.
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

/// Tells when writing begins to fail, and when it works again, and not each time in between.
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
                    warn(format_args!("{trouble}; the training goes on, and older checkpoints are intact"));
                }
                self.trouble = Some(trouble);
            }
        }
    }
}
