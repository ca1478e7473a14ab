//! The thread that computes: assignments in, gradients out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use bytes::BytesMut;
use nn_core::{
    Dataset, Isa, LayerLayout, MismatchError, Node, NodeStats, Threads, Workspace, all_finite, layout,
};
use nn_engine::{Manifest, Part, SampleOrder};
use tokio::sync::mpsc as reports;
use tokio::time::Instant;

use crate::proto as pb;
use crate::wire::convert::{Place, gradient_header};
use crate::wire::outbox::Outbox;
use crate::wire::tensor::{Spares, encode_tensor, encoded_len};

/// A gradient of at most so many numbers is sent whole: for a small one, messages cost more than what they carry.
const WHOLE: usize = 128 * 1024;

/// Nodes of a step, with the weights to use.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) place: Place,
    pub(super) nodes: Vec<Node>,
    pub(super) params: Arc<Vec<f32>>,
}

/// What the thread has done, for people and for the coordinator.
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
    pub(super) data: Arc<Dataset>,
    pub(super) threads: Arc<Threads>,
    pub(super) isa: Isa,
    pub(super) outbox: Outbox,
    pub(super) counters: Arc<Counters>,
    /// The latest step that anything was assigned of: nodes of earlier ones need not be computed any more.
    pub(super) latest: Arc<AtomicU64>,
}

impl Kernel {
    /// Starts the thread. It ends when no more jobs can come, or the stream is over; an error comes out of `errors`.
    pub(super) fn start(
        self,
        jobs: mpsc::Receiver<Job>,
        errors: reports::Sender<MismatchError>,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new().name("nn-worker".to_owned()).spawn(move || {
            let threads = self.threads.clone();
            // Within the pool, so that a node's parallel parts start without crossing from a foreign thread.
            let result = threads.enter(|| self.run(jobs));
            if let Err(error) = result {
                let _ = errors.blocking_send(error);
            }
        })
    }

    fn run(self, jobs: mpsc::Receiver<Job>) -> Result<(), MismatchError> {
        let parts = self.manifest.parts();
        let most = parts.batch_size.min(parts.train_samples);
        let mut workspace = Workspace::new(&parts.model, most, self.threads.clone(), self.isa);
        let mut order = SampleOrder::new(&self.manifest);
        let layers = layout(&parts.model);
        let mut gradient = nn_core::zeroed(parts.model.parameters());
        let mut sender =
            Sender { outbox: &self.outbox, isa: self.isa, layers: &layers, spares: Spares::default() };
        while let Ok(job) = jobs.recv() {
            let step = job.place.step;
            self.counters.step.store(step, Ordering::Relaxed);
            let tree = self.manifest.tree(step);
            for node in job.nodes {
                self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                if step < self.latest.load(Ordering::Relaxed) {
                    continue;
                }
                let begun = Instant::now();
                let batch = order.batch(&self.manifest, step);
                let samples = &batch[tree.samples_of(node)];
                let stats = workspace.node_gradient(
                    &job.params,
                    &self.data,
                    samples,
                    parts.shard_size,
                    &mut gradient,
                )?;
                let micros = begun.elapsed().as_micros() as u64;
                let leaves = tree.leaves_of(node).len() as u64;
                self.counters.micros.fetch_add(micros, Ordering::Relaxed);
                self.counters.nodes.fetch_add(1, Ordering::Relaxed);
                self.counters.leaves.fetch_add(leaves, Ordering::Relaxed);
                self.counters.samples.fetch_add(stats.samples as u64, Ordering::Relaxed);
                if !sender.send(job.place, node, &stats, micros, &gradient) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Puts gradients on their way.
struct Sender<'a> {
    outbox: &'a Outbox,
    isa: Isa,
    layers: &'a [LayerLayout],
    spares: Spares,
}

impl Sender<'_> {
    /// Sends a node: a small one whole, otherwise the last layer first, as backpropagation has them ready. False if the
    /// stream is over. (For a layer to leave while earlier ones are computed, `nn-core` would have to call back with each
    /// layer of `node_gradient`; everything from here on is ready for it.)
    fn send(&mut self, place: Place, node: Node, stats: &NodeStats, micros: u64, gradient: &[f32]) -> bool {
        if gradient.len() <= WHOLE {
            let stats = wire_stats(stats, micros);
            return self.part(place, node, Part::All, stats.1, Some(stats.0), gradient);
        }
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let values = &gradient[layer.range()];
            let finite = stats.finite || all_finite(self.isa, values);
            let last = (l == 0).then(|| wire_stats(stats, micros).0);
            let finite = finite && (l > 0 || stats.loss.is_finite());
            if !self.part(place, node, Part::Layer(l as u32), finite, last, values) {
                return false;
            }
        }
        true
    }

    fn part(
        &mut self,
        place: Place,
        node: Node,
        part: Part,
        finite: bool,
        stats: Option<pb::NodeStats>,
        values: &[f32],
    ) -> bool {
        let mut out = self.spares.take(encoded_len(values.len()));
        encode_tensor(&mut out, place, part, values, |tensor| {
            gradient_header(place, node, finite, stats, tensor)
        });
        let bytes = BytesMut::freeze(out);
        self.spares.keep(&bytes);
        self.outbox.push_blocking(bytes)
    }
}

fn wire_stats(stats: &NodeStats, compute_micros: u64) -> (pb::NodeStats, bool) {
    let (samples, correct) = (stats.samples as u64, stats.correct as u64);
    (pb::NodeStats { samples, loss: stats.loss, correct, compute_micros }, stats.finite)
}
