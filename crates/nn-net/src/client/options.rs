//! How a worker works.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nn_core::{Isa, Threads};

use super::dial::DialOptions;
use super::meter::WorkerMeter;
use crate::data::TrainingSet;
use crate::runs::Runner;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Addresses to look for the coordinator at, as [`coordinator_url`](super::coordinator_url) takes them; tried in turn.
    /// All addresses of a host are tried as one.
    pub coordinators: Vec<String>,
    /// How to dial.
    pub dial: DialOptions,
    /// How long to keep dialling without success; None for no limit.
    pub retry_for: Option<Duration>,
    /// The worker's name, for people; usually its host's name.
    pub name: String,
    /// The threads to compute with.
    pub threads: Arc<Threads>,
    /// The instructions to compute with.
    pub isa: Isa,
    /// A training set of the worker's own. The worker joins only runs that use it.
    pub data: Option<Arc<TrainingSet>>,
    /// The folder that keeps received training sets; None to keep them in memory only.
    pub cache: Option<PathBuf>,
    /// Trains whole runs, for a coordinator that has many; None to refuse them.
    pub runner: Option<Arc<dyn Runner>>,
    /// Whether to wait for the next run when one is over.
    pub stay: bool,
    /// Is told of the work as it happens; None if nobody wants figures.
    pub meter: Option<Arc<dyn WorkerMeter>>,
}

impl WorkerOptions {
    /// The default options.
    #[must_use]
    pub fn new(coordinators: Vec<String>, threads: Arc<Threads>, isa: Isa) -> Self {
        Self {
            coordinators,
            dial: DialOptions::default(),
            retry_for: None,
            name: String::new(),
            threads,
            isa,
            data: None,
            cache: None,
            runner: None,
            stay: false,
            meter: None,
        }
    }
}
