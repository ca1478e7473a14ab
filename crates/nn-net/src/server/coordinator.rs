//! The engine on its thread, and the handle that leads to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::thread::JoinHandle;

use nn_core::Dataset;
use nn_engine::local::Observer;
use nn_engine::{Cluster, Engine, Manifest, arithmetic_fingerprint};
use tokio::sync::{mpsc, watch};

use super::cuts::{CutOff, Cuts};
use super::door::{Lobby, Refusal};
use super::driver::{COMMANDS, Command, Driver, Finished};
use super::error::{ServeError, StartError};
use super::facts::Facts;
use super::options::CoordinatorOptions;
use super::own::{OWN, Own};
use crate::data::TrainingSet;
use crate::proto as pb;
use crate::wire::tensor::Shapes;

/// A run that workers can join: the engine, on its own thread.
#[derive(Debug)]
pub struct Coordinator<O> {
    handle: CoordinatorHandle,
    thread: JoinHandle<Finished<O>>,
}

/// The way to a running engine. Clones lead to the same one.
#[derive(Debug, Clone)]
pub struct CoordinatorHandle {
    pub(super) facts: Arc<Facts>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: watch::Receiver<Arc<pb::RunStatus>>,
    pub(super) over: watch::Receiver<bool>,
    pub(super) next_worker: Arc<AtomicU64>,
    pub(super) connected: Arc<AtomicUsize>,
}

impl<O: Observer + Send + 'static> Coordinator<O> {
    /// Starts the engine's thread. `data` is the training set of the engine's manifest; workers without it receive it from
    /// here. The observer is called on the engine's thread, as in [`nn_engine::local::run`].
    ///
    /// # Errors
    /// If the data do not fit the manifest, or the system does not provide the threads.
    pub fn start(
        engine: Engine,
        data: Arc<Dataset>,
        observer: O,
        options: CoordinatorOptions,
    ) -> Result<Self, StartError> {
        let manifest = engine.manifest().clone();
        check(&data, &manifest)?;
        let (commands, received) = mpsc::channel(COMMANDS);
        let own = match &options.own_worker {
            None => None,
            Some(compute) => {
                let (data, commands) = (data.clone(), commands.downgrade());
                Some(Own::start(compute.clone(), manifest.clone(), data, commands)?)
            }
        };
        let cluster = Cluster { own: own.is_some().then_some(OWN), ..engine.cluster().clone() };
        let engine = engine.with_cluster(cluster);
        let facts = Arc::new(Facts {
            manifest_json: serde_json::to_string(&manifest)?,
            manifest_hash: manifest.hash(),
            arithmetic: arithmetic_fingerprint(engine.compute().isa),
            generation: engine.generation().0,
            training_set: Arc::new(TrainingSet::new(data)),
            shapes: Shapes::new(&manifest),
            manifest,
            lobby: Lobby::new(options.limits),
            cuts: Cuts::default(),
            options,
        });
        let (status_sender, status) = watch::channel(Arc::default());
        let (over_sender, over) = watch::channel(false);
        let threads = engine.compute().threads.clone();
        let driver = Driver::new((engine, own), observer, facts.clone(), status_sender, over_sender);
        // In the pool, so that a step's parallel parts start without crossing over from a thread outside.
        let thread = std::thread::Builder::new()
            .name("nn-engine".to_owned())
            .spawn(move || threads.enter(move || driver.run(received)))?;
        let handle = CoordinatorHandle {
            facts,
            commands,
            status,
            over,
            next_worker: Arc::new(AtomicU64::new(1)),
            connected: Arc::default(),
        };
        Ok(Self { handle, thread })
    }

    /// The way to the engine, for [`serve`](super::serve).
    #[must_use]
    pub fn handle(&self) -> CoordinatorHandle {
        self.handle.clone()
    }

    /// Waits for the end of the run. It blocks: call it after [`serve`](super::serve) has returned, or on a thread that may
    /// wait.
    ///
    /// # Errors
    /// If the engine's thread panicked.
    pub fn join(self) -> Result<Finished<O>, ServeError> {
        drop(self.handle);
        self.thread.join().map_err(|_| ServeError::Engine)
    }
}

/// Checks that a training set is the one that a manifest describes.
fn check(data: &Dataset, manifest: &Manifest) -> Result<(), StartError> {
    let model = manifest.model();
    for (what, got, want) in [
        ("samples", data.len(), manifest.parts().train_samples),
        ("features per sample", data.input_width(), model.input_width()),
        ("classes or target values", data.output_width(), model.output_width()),
    ] {
        if got != want {
            return Err(StartError::Data(format!("it has {got} {what}, the run has {want}")));
        }
    }
    Ok(())
}

impl CoordinatorHandle {
    /// The status that `nn status` would show; at most a quarter of a second old.
    #[must_use]
    pub fn status(&self) -> Arc<pb::RunStatus> {
        self.status.borrow().clone()
    }

    /// The connections refused since the last call: they did not prove that they may join, took too long, or were too many.
    #[must_use]
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.facts.lobby.take_refusals()
    }

    /// The workers whose connections were found, since the last call, to end after about as many bytes again and again.
    #[must_use]
    pub fn take_cuts(&self) -> Vec<CutOff> {
        self.facts.cuts.take()
    }

    /// The training set that workers receive.
    #[must_use]
    pub fn training_set(&self) -> &Arc<TrainingSet> {
        &self.facts.training_set
    }
}
