//! After the handshake: assignments and weights become jobs for the compute thread.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use nn_core::{Compute, Dataset, MismatchError, Node};
use nn_engine::Manifest;
use tokio::sync::mpsc;

use super::{Session, Stop, Stream};
use crate::client::event::WorkerEvent;
use crate::client::sink::Sender;
use crate::client::weights::WeightSets;
use crate::compute::{Job, Kernel};
use crate::wire::convert::{FromCoordinator, Place, plain};
use crate::wire::tensor::{Pool, Shapes};

/// How often progress is reported.
const PROGRESS: Duration = Duration::from_millis(250);

/// What the coordinator has sent and the compute thread has not received.
struct Work {
    manifest: Manifest,
    weights: WeightSets,
    /// Nodes whose weights are not complete.
    assigned: Vec<(Place, Vec<Node>)>,
    /// The latest step with an assignment; the compute thread skips nodes of earlier ones.
    latest: Arc<AtomicU64>,
    jobs: std_mpsc::Sender<Job>,
}

impl Work {
    /// How many nodes may wait to be computed: all nodes of a tree several times, because a node may be assigned again.
    fn most_waiting(&self) -> usize {
        let parts = self.manifest.parts();
        let leaves = match self.manifest.rounds() {
            Some(rounds) => rounds.replicas as usize,
            None => self.manifest.largest_batch().div_ceil(parts.recipe.shard_size),
        };
        leaves.saturating_mul(8).saturating_add(1024)
    }
}

impl Session<'_> {
    /// Computes what is assigned, until the stream ends.
    pub(super) async fn work(
        &mut self,
        stream: &mut Stream,
        manifest: Manifest,
        data: Arc<Dataset>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<Infallible, Stop> {
        let (mut work, mut errors) = self.start_computing(manifest, data)?;
        let mut progress = tokio::time::interval(PROGRESS);
        let mut told = 0;
        loop {
            tokio::select! {
                biased;
                next = self.next(stream) => {
                    let (place, message) = next?;
                    if matches!(&message, FromCoordinator::Assignment(nodes) if !nodes.is_empty()) {
                        // A worker that owes nodes gets none of a later step.
                        self.earned |= *self.first_step.get_or_insert(place.step) < place.step;
                    }
                    if matches!(message, FromCoordinator::InitialWeights) {
                        self.initial_weights(&mut work, place).await?;
                    } else {
                        self.receive(&mut work, place, message, tell)?;
                    }
                    self.dispatch(&mut work);
                }
                error = errors.recv() => {
                    let why = error.map_or_else(|| "the compute thread has failed".to_owned(), |e| e.to_string());
                    return Err(self.violation(why).into());
                }
                _ = progress.tick() => {
                    let now = self.progress();
                    if now.nodes != told {
                        told = now.nodes;
                        tell(WorkerEvent::Progress(now));
                    }
                }
            }
        }
    }

    /// Starts the compute thread. The receiver gets its error, if it fails.
    fn start_computing(
        &self,
        manifest: Manifest,
        data: Arc<Dataset>,
    ) -> Result<(Work, mpsc::Receiver<MismatchError>), Stop> {
        let (shapes, latest) = (Shapes::new(&manifest), Arc::default());
        let (jobs, receiver) = std_mpsc::channel();
        let (error_sender, errors) = mpsc::channel(1);
        let kernel = Kernel {
            manifest: manifest.clone(),
            data,
            compute: Compute { isa: self.options.isa, threads: self.options.threads.clone() },
            sink: Sender {
                outbox: self.outbox.clone(),
                encoding: manifest.contribution_encoding(),
                compact: self.compact,
                pool: Pool::default(),
            },
            counters: self.counters.clone(),
            latest: Arc::clone(&latest),
        };
        kernel
            .start(receiver, move |ended| {
                if let Err(error) = ended {
                    let _ = error_sender.blocking_send(error);
                }
            })
            .map_err(|error| self.violation(format!("cannot start the compute thread: {error}")))?;
        let weights = WeightSets::new(shapes);
        Ok((Work { manifest, weights, assigned: Vec::new(), latest, jobs }, errors))
    }

    /// Makes the weights before step 0. A large network takes a while, and heartbeats go on meanwhile.
    async fn initial_weights(&self, work: &mut Work, place: Place) -> Result<(), Stop> {
        if place.step != 0 {
            return Err(self.violation(format!("initial weights for step {}", place.step)).into());
        }
        let manifest = work.manifest.clone();
        let made = tokio::task::spawn_blocking(move || manifest.initial_weights()).await;
        let made = made.map_err(|_| self.violation("the initial weights cannot be made"))?;
        let Some(params) = made else {
            return Err(self.violation("the initial weights are a model's, and must be sent").into());
        };
        work.weights.initial(params).map_err(|error| self.violation(error))?;
        Ok(())
    }

    /// Takes in a message.
    fn receive(
        &self,
        work: &mut Work,
        place: Place,
        message: FromCoordinator,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<(), Stop> {
        match message {
            FromCoordinator::Assignment(nodes) if nodes.is_empty() => {}
            FromCoordinator::Assignment(nodes) => self.assign(work, place, nodes)?,
            FromCoordinator::Weights(header) => {
                work.weights.header(place.step, &header).map_err(|error| self.violation(error))?;
            }
            FromCoordinator::Chunk(chunk) => {
                work.weights.chunk(&chunk).map_err(|error| self.violation(error))?;
            }
            FromCoordinator::Refusal { reason, message } => {
                tell(WorkerEvent::Refused { reason, message: &plain(&message) });
            }
            other => return Err(self.unexpected(&other, "an assignment or weights")),
        }
        Ok(())
    }

    fn assign(&self, work: &mut Work, place: Place, nodes: Vec<Node>) -> Result<(), Stop> {
        self.check(&work.manifest, place, &nodes)?;
        let waiting = self.counters.waiting.load(Ordering::Relaxed) as usize + work.assigned.len();
        if waiting.saturating_add(nodes.len()) > work.most_waiting() {
            let why = format!("it assigns more nodes than a step has, while {waiting} are waiting");
            return Err(self.violation(why).into());
        }
        self.counters.waiting.fetch_add(nodes.len() as u64, Ordering::Relaxed);
        work.latest.fetch_max(place.step, Ordering::Relaxed);
        work.assigned.push((place, nodes));
        Ok(())
    }

    /// Checks that nodes exist, since memory is indexed with them.
    fn check(&self, manifest: &Manifest, place: Place, nodes: &[Node]) -> Result<(), Stop> {
        if place.step >= manifest.total_steps() {
            return Err(self.violation(format!("step {} is not part of the run", place.step)).into());
        }
        let tree = manifest.tree(place.step);
        // Replicas are computed one by one; a sum of two has no code.
        let exists = |node: Node| tree.contains(node) && (node.level == 0 || manifest.rounds().is_none());
        match nodes.iter().find(|&&node| !exists(node)) {
            Some(node) => {
                let (level, index) = (node.level, node.index);
                Err(self.violation(format!("node {level}/{index} is not part of step {}", place.step)).into())
            }
            None => Ok(()),
        }
    }

    /// Passes nodes on to the compute thread once their weights are complete, and drops those of earlier steps.
    fn dispatch(&self, work: &mut Work) {
        let Work { weights, assigned, latest, jobs, .. } = work;
        let latest = latest.load(Ordering::Relaxed);
        assigned.retain_mut(|(place, nodes)| {
            if place.step < latest {
                self.counters.waiting.fetch_sub(nodes.len() as u64, Ordering::Relaxed);
                return false;
            }
            let Some(params) = weights.of(place.step) else { return true };
            // If the thread has ended, its error is on its way.
            let _ = jobs.send(Job { place: *place, nodes: std::mem::take(nodes), params });
            false
        });
    }
}
