//! The thread that computes: assignments in, gradients out. A worker has one, and so has a coordinator that computes itself;
//! they differ in what happens to the results.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use nn_core::{Compute, Dataset, LayerLayout, MismatchError, Node, NodeStats, Samples, Workspace, layout};
use nn_engine::{Computed, Manifest, Part, Replicas, Round, SampleOrder};
use tokio::time::Instant;

use crate::client::WorkerMeter;
use crate::wire::convert::Place;

/// The most numbers of a gradient that is sent whole: for a small one, a message costs more than its bytes.
const WHOLE: usize = 128 * 1024;

/// Nodes of a step, and the weights to compute them with.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) place: Place,
    pub(crate) nodes: Vec<Node>,
    pub(crate) params: Arc<Vec<f32>>,
}

/// What the thread has done, for people and for the coordinator's status.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) step: AtomicU64,
    pub(crate) nodes: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) leaves: AtomicU64,
    pub(crate) micros: AtomicU64,
    pub(crate) waiting: AtomicU64,
    /// Is told of every node, if somebody wants figures.
    pub(crate) meter: Option<Arc<dyn WorkerMeter>>,
}

impl Counters {
    /// Counts a node of a step.
    fn computed(&self, step: u64, leaves: u64, samples: usize, time: Duration) {
        self.micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        self.nodes.fetch_add(1, Ordering::Relaxed);
        self.leaves.fetch_add(leaves, Ordering::Relaxed);
        self.samples.fetch_add(samples as u64, Ordering::Relaxed);
        if let Some(meter) = &self.meter {
            meter.computed(step, samples, time);
        }
    }
}

/// What a part of a node's numbers is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) place: Place,
    pub(crate) node: Node,
    pub(crate) part: Part,
    /// Whether neither the numbers nor the loss contain NaN or infinity.
    pub(crate) finite: bool,
    /// The node's loss and counts, and the time that it took, with its last part.
    pub(crate) last: Option<(NodeStats, Duration)>,
}

/// Where the results go.
pub(crate) trait Sink: Send + Sync + 'static {
    /// A buffer of so many numbers, whose values mean nothing.
    fn buffer(&self, len: usize) -> Vec<f32>;

    /// Takes a part of a gradient; false if nobody wants any more. It waits while the receiver is behind.
    fn gradient(&self, head: Head, values: Vec<f32>) -> bool;

    /// Takes a piece of a replica's difference, so many numbers in their code; false if nobody wants any more. It waits while
    /// the receiver is behind.
    fn difference(&self, head: Head, numbers: usize, bytes: Vec<u8>) -> bool;
}

/// What the thread needs for a run.
pub(crate) struct Kernel<S> {
    pub(crate) manifest: Manifest,
    pub(crate) data: Arc<Dataset>,
    pub(crate) compute: Compute,
    pub(crate) sink: S,
    pub(crate) counters: Arc<Counters>,
    /// The latest step with an assignment: nodes of earlier ones need not be computed any more.
    pub(crate) latest: Arc<AtomicU64>,
}

impl<S: Sink> Kernel<S> {
    /// Starts the thread. It ends when no more jobs can arrive, or nobody wants results. `ended` is told how; it is dropped
    /// untold if the thread panics.
    pub(crate) fn start(
        self,
        jobs: mpsc::Receiver<Job>,
        ended: impl FnOnce(Result<(), MismatchError>) + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new().name("nn-worker".to_owned()).spawn(move || {
            let threads = self.compute.threads.clone();
            // In the pool, so that a node's parallel parts start without crossing over from a thread outside.
            ended(match self.manifest.rounds() {
                // Replicas enter the pool themselves, or pools of their own.
                Some(_) => self.run_rounds(jobs),
                None => threads.enter(|| self.run(jobs)),
            });
        })
    }

    fn run(self, jobs: mpsc::Receiver<Job>) -> Result<(), MismatchError> {
        let mut workspace = self.manifest.workspace(self.compute.clone());
        let mut order = SampleOrder::new(&self.manifest);
        let layers = layout(self.manifest.model());
        while let Ok(Job { place, nodes, params }) = jobs.recv() {
            let step = place.step;
            self.counters.step.store(step, Ordering::Relaxed);
            let tree = self.manifest.tree(step);
            let mut params = Some(params);
            let mut nodes = nodes.into_iter().peekable();
            while let Some(node) = nodes.next() {
                self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                if step < self.latest.load(Ordering::Relaxed) {
                    continue;
                }
                let batch = order.batch(&self.manifest, step);
                let samples = batch.part(tree.samples_of(node));
                // The last node lets go of the weights before its result is out: their owner may write to them then.
                let params = if nodes.peek().is_some() { params.clone() } else { params.take() };
                let Some(params) = params else { break };
                let task = Task { place, node, params, samples };
                let Some((stats, time)) = self.node(task, &mut workspace, &layers)? else {
                    return Ok(());
                };
                let leaves = tree.leaves_of(node).len() as u64;
                self.counters.computed(step, leaves, stats.samples, time);
            }
        }
        Ok(())
    }

    /// [`Kernel::run`] for a run with rounds: replicas side by side, each on its way as soon as it is computed.
    fn run_rounds(self, jobs: mpsc::Receiver<Job>) -> Result<(), MismatchError> {
        let mut replicas = Replicas::new(self.compute.clone());
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
                self.counters.computed(step, 1, computed.stats.samples, computed.elapsed);
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

    /// Sends a replica's difference piece by piece, each on its way while the next is encoded; false if nobody wants it.
    fn replica(
        &self,
        place: Place,
        round: Round<'_>,
        computed: &Computed<'_>,
        pieces: &[Range<usize>],
    ) -> bool {
        let &Computed { leaf, replica, stats, elapsed } = computed;
        let node = Node { level: 0, index: leaf };
        for (index, range) in pieces.iter().enumerate() {
            let mut bytes = Vec::new();
            let mut finite = replica.difference(round, leaf, range.clone(), &mut bytes);
            let last = (index + 1 == pieces.len()).then(|| {
                finite &= stats.loss.is_finite();
                (stats, elapsed)
            });
            let head = Head { place, node, part: Part::Layer(index as u32), finite, last };
            if !self.sink.difference(head, range.len(), bytes) {
                return false;
            }
        }
        true
    }

    /// Computes a node and sends it: a small one whole; a larger one layer by layer in the order of backpropagation, each on
    /// its way while the next is computed. Returns the node's figures and the time of computing; None if nobody wants it.
    fn node(
        &self,
        task: Task<'_>,
        workspace: &mut Workspace,
        layout: &[LayerLayout],
    ) -> Result<Option<(NodeStats, Duration)>, MismatchError> {
        let parts = self.manifest.parts();
        let Task { place, node, params, samples } = task;
        let (begun, shard) = (Instant::now(), parts.recipe.shard_size);
        let all = parts.model.parameters();
        if all <= WHOLE {
            let mut gradient = self.sink.buffer(all);
            let stats = workspace.node_gradient(&params, &self.data, samples, shard, &mut gradient)?;
            drop(params);
            let time = begun.elapsed();
            let head = Head { place, node, part: Part::All, finite: stats.finite, last: Some((stats, time)) };
            return Ok(self.sink.gradient(head, gradient).then_some((stats, time)));
        }
        // Sending waits if the receiver does not read, and that is not computing.
        let (mut time, mut lap) = (Duration::ZERO, begun);
        let mut layers = workspace.node_gradient_by_layer(&params, &self.data, samples, shard)?;
        while let Some(layer) = layers.next_layer() {
            let mut gradient = self.sink.buffer(layout[layer].range().len());
            let mut finite = layers.gradient(&mut gradient);
            time += lap.elapsed();
            let last = (layer == 0).then(|| {
                let stats = layers.stats();
                finite &= stats.loss.is_finite();
                (stats, time)
            });
            let head = Head { place, node, part: Part::Layer(layer as u32), finite, last };
            if !self.sink.gradient(head, gradient) {
                return Ok(None);
            }
            lap = Instant::now();
        }
        Ok(Some((layers.stats(), time)))
    }
}

/// A node to compute.
struct Task<'a> {
    place: Place,
    node: Node,
    params: Arc<Vec<f32>>,
    samples: Samples<'a>,
}
