//! The two ends between which runs travel.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::Dataset;
use tokio::sync::mpsc;

use super::piece::pieces;
use crate::data::TrainingSet;
use crate::proto as pb;
use pb::runs_from_worker::Body;

/// A run for a worker.
#[derive(Debug, Clone)]
pub struct Order<S> {
    /// The run's number.
    pub run: u64,
    /// Its options in TOML.
    pub options: String,
    /// What is known of its data besides the samples, as JSON.
    pub about: String,
    /// The hash of its manifest.
    pub manifest_hash: String,
    /// The samples for training, testing and, if there are any, validation.
    pub sets: Vec<S>,
    /// The epochs after which it pauses; `None` to go on to its end.
    pub until_epochs: Option<u64>,
    /// The files with which it goes on.
    pub files: Vec<RunFile>,
}

/// A file of a run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// Its path in the folder.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Samples on offer.
pub type Sample = Arc<TrainingSet>;

/// A piece of a file from a worker. Its checksum is right and its length within limits; nothing else is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The run.
    pub run: u64,
    /// The path in the run's folder, which may be any text.
    pub file: String,
    /// Where the piece begins.
    pub offset: u64,
    /// The bytes.
    pub data: bytes::Bytes,
    /// Whether the file is complete.
    pub complete: bool,
}

/// A message about a run from a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A piece of a file.
    Piece(Piece),
    /// The run, or its stage, is over; with the reason if it failed.
    Ended {
        /// The run.
        run: u64,
        /// The reason.
        failure: Option<String>,
    },
}

/// Gives out runs and takes in their results. Its methods may block if nothing else is said.
pub trait Desk: Send + Sync + 'static {
    /// The next run for a worker of that name, which has it until it ends or the worker is lost. `None` if there is
    /// nothing to do at the moment.
    fn take(&self, worker: &str) -> Option<Order<Sample>>;
    /// Takes in what the worker that has the run sent.
    ///
    /// # Errors
    /// The reason for which the worker is sent away; its runs are given back.
    fn receive(&self, sent: Sent) -> Result<(), String>;
    /// A run whose worker is lost.
    fn give_back(&self, run: u64);
    /// Samples by their hash.
    fn set(&self, sha256: &str) -> Option<Sample>;
    /// The number of runs that are done, once all are over.
    fn over(&self) -> Option<u64>;
    /// Whether runs are to stop. It must not block.
    fn stops(&self) -> bool;
    /// What has become of the runs, and the progress of those that workers have. It must not block.
    fn status(&self) -> (pb::SweepStatus, Vec<pb::RunProgress>);
}

/// Trains runs for a coordinator that has many.
pub trait Runner: fmt::Debug + Send + Sync {
    /// Trains a run on one thread, and sends its files over the link. The reason is given if it fails.
    ///
    /// # Errors
    /// A sentence for the operator of the sweep.
    fn run(&self, order: Order<Arc<Dataset>>, link: &Link) -> Result<(), String>;
}

/// The way from a run back to its coordinator.
#[derive(Debug, Clone)]
pub struct Link {
    run: u64,
    out: mpsc::Sender<pb::RunsFromWorker>,
    stop: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(run: u64, out: mpsc::Sender<pb::RunsFromWorker>, stop: Arc<AtomicBool>) -> Self {
        Self { run, out, stop }
    }

    /// The flag that is set when the run is to stop.
    #[must_use]
    pub fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Sends a file from an offset to its end; waits while the connection is slow. Gives `false` if it is lost; the run
    /// is then to stop.
    pub fn send(&self, name: &str, offset: u64, content: &[u8]) -> bool {
        let sent = pieces(self.run, name, offset, content).all(|piece| {
            self.out.blocking_send(pb::RunsFromWorker { body: Some(Body::Piece(piece)) }).is_ok()
        });
        if !sent {
            self.stop.store(true, Ordering::Relaxed);
        }
        sent
    }
}
