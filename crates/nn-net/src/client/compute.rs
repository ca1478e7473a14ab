//! The thread that computes: assignments in, gradients out.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use nn_core::{
    Compute, Dataset, Isa, LayerLayout, MismatchError, Node, NodeStats, Threads, Workspace, layout,
};
use nn_engine::{Computed, Encoding, Manifest, Part, Replicas, Round, SampleOrder};
use tokio::sync::mpsc as reports;
use tokio::time::Instant;

use crate::proto as pb;
use crate::wire::convert::{Place, gradient_header};
use crate::wire::outbox::Outbox;
use crate::wire::tensor::{Payload, Pool};

/// The most numbers of a gradient that is sent whole: for a small one, a message costs more than its bytes.
const WHOLE: usize = 128 * 1024;

/// Nodes of a step, and the weights to compute them with.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) place: Place,
    pub(super) nodes: Vec<Node>,
    pub(super) params: Arc<Vec<f32>>,
}

/// What the thread has done, for people and for the coordinator's status.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) step: AtomicU64,
    pub(super) nodes: AtomicU64,
    pub(super) samples: AtomicU64,
    pub(super) leaves: AtomicU64,
    pub(super) micros: AtomicU64,
    pub(super) waiting: AtomicU64,
}

/// What the thread needs for a run.
pub(super) struct Kernel {
    pub(super) manifest: Manifest,
    pub(super) encoding: Encoding,
    pub(super) data: Arc<Dataset>,
    pub(super) threads: Arc<Threads>,
    pub(super) isa: Isa,
    pub(super) outbox: Outbox,
    pub(super) counters: Arc<Counters>,
    /// The latest step with an assignment: nodes of earlier ones need not be computed any more.
    pub(super) latest: Arc<AtomicU64>,
}

impl Kernel {
    /// Starts the thread. It ends when no more jobs can arrive, or the stream is over; `errors` gets its error.
    pub(super) fn start(
        self,
        jobs: mpsc::Receiver<Job>,
        errors: reports::Sender<MismatchError>,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new().name("nn-worker".to_owned()).spawn(move || {
            let threads = self.threads.clone();
            // In the pool, so that a node's parallel parts start without crossing over from a thread outside.
            let result = match self.manifest.rounds() {
                // Replicas enter the pool themselves, or pools of their own.
                Some(_) => self.run_rounds(jobs),
                None => threads.enter(|| self.run(jobs)),
            };
            if let Err(error) = result {
                let _ = errors.blocking_send(error);
            }
        })
    }

    fn run(self, jobs: mpsc::Receiver<Job>) -> Result<(), MismatchError> {
        let parts = self.manifest.parts();
        let most = parts.recipe.batch_size.min(parts.train_samples);
        let mut workspace = Workspace::new(&parts.model, most, self.threads.clone(), self.isa);
        let mut order = SampleOrder::new(&self.manifest);
        let layers = layout(&parts.model);
        let encoding = self.encoding;
        let mut sender = Sender { outbox: &self.outbox, layers: &layers, encoding, pool: Pool::default() };
        while let Ok(job) = jobs.recv() {
            let step = job.place.step;
            self.counters.step.store(step, Ordering::Relaxed);
            let tree = self.manifest.tree(step);
            for node in job.nodes {
                self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                if step < self.latest.load(Ordering::Relaxed) {
                    continue;
                }
                let batch = order.batch(&self.manifest, step);
                let samples = &batch[tree.samples_of(node)];
                let task = Task { place: job.place, node, params: &job.params, samples };
                let Some((stats, micros)) = self.node(&task, &mut workspace, &mut sender)? else {
                    return Ok(());
                };
                let leaves = tree.leaves_of(node).len() as u64;
                self.counters.micros.fetch_add(micros, Ordering::Relaxed);
                self.counters.nodes.fetch_add(1, Ordering::Relaxed);
                self.counters.leaves.fetch_add(leaves, Ordering::Relaxed);
                self.counters.samples.fetch_add(stats.samples as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// [`Kernel::run`] for a run with rounds: replicas side by side, each on its way as soon as it is computed.
    fn run_rounds(self, jobs: mpsc::Receiver<Job>) -> Result<(), MismatchError> {
        let compute = Compute { isa: self.isa, threads: self.threads.clone() };
        let mut replicas = Replicas::new(compute);
        let mut order = SampleOrder::new(&self.manifest);
        let pieces = self.manifest.pieces();
        let began = Instant::now();
        while let Ok(job) = jobs.recv() {
            let step = job.place.step;
            self.counters.step.store(step, Ordering::Relaxed);
            let (manifest, data, public) = (&self.manifest, &*self.data, &job.params[..]);
            let round = Round { manifest, data, public, step, samples: order.batch(manifest, step) };
            let leaves: Vec<u32> = job.nodes.iter().map(|node| node.index).collect();
            let is_open = AtomicBool::new(true);
            let is_wanted = || step >= self.latest.load(Ordering::Relaxed) && is_open.load(Ordering::Relaxed);
            let now = || began.elapsed();
            replicas.run(round, &leaves, &is_wanted, &now, &|computed| {
                let micros = computed.elapsed.as_micros() as u64;
                self.counters.micros.fetch_add(micros, Ordering::Relaxed);
                self.counters.nodes.fetch_add(1, Ordering::Relaxed);
                self.counters.leaves.fetch_add(1, Ordering::Relaxed);
                self.counters.samples.fetch_add(computed.stats.samples as u64, Ordering::Relaxed);
                if !self.replica(job.place, round, &computed, &pieces) {
                    is_open.store(false, Ordering::Relaxed);
                }
            })?;
            self.counters.waiting.fetch_sub(leaves.len() as u64, Ordering::Relaxed);
            if !is_open.into_inner() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends a replica's difference piece by piece, each on its way while the next is encoded; false if the stream is over.
    fn replica(
        &self,
        place: Place,
        round: Round<'_>,
        computed: &Computed<'_>,
        pieces: &[Range<usize>],
    ) -> bool {
        let Computed { leaf, replica, stats, elapsed } = computed;
        let node = Node { level: 0, index: *leaf };
        for (index, range) in pieces.iter().enumerate() {
            let mut bytes = Vec::new();
            let mut finite = replica.difference(round, *leaf, range.clone(), &mut bytes);
            let last = (index + 1 == pieces.len()).then(|| {
                finite &= stats.loss.is_finite();
                wire_stats(stats, elapsed.as_micros() as u64)
            });
            let part = Part::Layer(index as u32);
            let payload = Payload::encoded(self.encoding, range.len(), bytes.into());
            let framed =
                payload.messages(place, part, |tensor| gradient_header(place, node, finite, last, tensor));
            if !self.outbox.push_blocking(framed) {
                return false;
            }
        }
        true
    }

    /// Computes a node and sends it: a small one whole; a larger one layer by layer in the order of backpropagation, each on
    /// its way while the next is computed. Returns the node's figures and the microseconds of computing; None if the
    /// stream is over.
    fn node(
        &self,
        task: &Task<'_>,
        workspace: &mut Workspace,
        sender: &mut Sender<'_>,
    ) -> Result<Option<(NodeStats, u64)>, MismatchError> {
        let parts = self.manifest.parts();
        let Task { params, samples, .. } = *task;
        let begun = Instant::now();
        let all = parts.model.parameters();
        if all <= WHOLE {
            let mut gradient = sender.pool.take(all);
            let stats = workspace.node_gradient(
                params,
                &self.data,
                samples,
                parts.recipe.shard_size,
                &mut gradient,
            )?;
            let micros = begun.elapsed().as_micros() as u64;
            let sent = sender.part(task, Part::All, stats.finite, Some(wire_stats(&stats, micros)), gradient);
            return Ok(sent.then_some((stats, micros)));
        }
        // Sending waits if the coordinator does not read, and that is not computing.
        let mut micros = 0;
        let mut lap = begun;
        let mut layers =
            workspace.node_gradient_by_layer(params, &self.data, samples, parts.recipe.shard_size)?;
        while let Some(layer) = layers.next_layer() {
            let mut gradient = sender.pool.take(sender.layers[layer].range().len());
            let mut finite = layers.gradient(&mut gradient);
            micros += lap.elapsed().as_micros() as u64;
            let last = (layer == 0).then(|| {
                let stats = layers.stats();
                finite &= stats.loss.is_finite();
                wire_stats(&stats, micros)
            });
            if !sender.part(task, Part::Layer(layer as u32), finite, last, gradient) {
                return Ok(None);
            }
            lap = Instant::now();
        }
        Ok(Some((layers.stats(), micros)))
    }
}

/// A node to compute.
#[derive(Clone, Copy)]
struct Task<'a> {
    place: Place,
    node: Node,
    params: &'a [f32],
    samples: &'a [u32],
}

/// Sends gradients.
struct Sender<'a> {
    outbox: &'a Outbox,
    layers: &'a [LayerLayout],
    encoding: Encoding,
    pool: Pool,
}

impl Sender<'_> {
    /// Sends a part of a node; false if the stream is over.
    fn part(
        &self,
        task: &Task<'_>,
        part: Part,
        finite: bool,
        stats: Option<pb::NodeStats>,
        values: Vec<f32>,
    ) -> bool {
        let payload = Payload::shared(self.pool.seal(self.encoding, values));
        let framed = payload.messages(task.place, part, |tensor| {
            gradient_header(task.place, task.node, finite, stats, tensor)
        });
        self.outbox.push_blocking(framed)
    }
}

fn wire_stats(stats: &NodeStats, compute_micros: u64) -> pb::NodeStats {
    let (samples, correct) = (stats.samples as u64, stats.correct as u64);
    pb::NodeStats { samples, loss: stats.loss, correct, compute_micros }
}
