//! The run under attack: two layers, six samples, four steps, and the true gradients of all nodes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use nn_core::{
    Activation, Cost, Dataset, DeltaBits, Features, Isa, Model, Node, NodeStats, Optimizer, Output, Schedule,
    ScheduleShape, Targets, Threads,
};
use nn_engine::local::{self, Observer};
use nn_engine::{
    Cluster, Compute, Engine, EpochReport, Generation, Manifest, ManifestParts, Recipe, Replica, Round,
    Rounds, SampleOrder, Snapshot, StepReport,
};
use tokio::sync::mpsc;
use tonic::Status;

use super::script::framed;
use crate::data::TrainingSet;
use crate::proto as pb;
use crate::wire::convert::Place;
use crate::wire::stream::frame;

/// The generation of the run. It is not 0, so that 0 is an earlier one.
pub(crate) const GENERATION: u64 = 3;

/// The run, and what honest workers would answer.
pub(crate) struct Fixture {
    pub(crate) manifest: Manifest,
    pub(crate) compute: Compute,
    pub(crate) set: Arc<TrainingSet>,
    /// The weights before each step, and after the last.
    pub(crate) weights: Vec<Vec<f32>>,
    /// The gradient and figures of each node, by step, level and index.
    pub(crate) nodes: BTreeMap<(u64, u32, u32), (Vec<f32>, NodeStats)>,
}

/// The fixture, computed once.
pub(crate) static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(parts()));

/// The same with rounds.
pub(crate) static IN_ROUNDS: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(parts_in_rounds()));

struct Keep(Vec<Vec<f32>>);

impl Observer for Keep {
    fn now(&mut self) -> Duration {
        Duration::ZERO
    }
    fn weights(&mut self, _: &StepReport, params: &[f32]) {
        self.0.push(params.to_vec());
    }
    fn step(&mut self, _: &StepReport) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}
    fn snapshot(&mut self, _: Snapshot) {}
}

pub(crate) fn parts() -> ManifestParts {
    ManifestParts {
        model: Model::new(vec![2, 3, 2], Activation::Sigmoid, Output::Softmax, Cost::CrossEntropy)
            .expect("a small network"),
        recipe: recipe(),
        train_samples: 6,
        data_sha256: "ab".repeat(32),
        preprocess_sha256: None,
    }
}

fn recipe() -> Recipe {
    Recipe {
        optimizer: Optimizer::Momentum { momentum: 0.5 },
        learning_rate: 0.5,
        batch_size: 4,
        shard_size: 1,
        epochs: 2,
        seed: 7,
        ..Recipe::book()
    }
}

fn dataset(pixels: bool, classes: bool) -> Dataset {
    let bytes: Vec<u8> = (0..12).map(|i| i * 20).collect();
    let features = if pixels {
        Features::U8 { data: bytes, scale: 255.0 }
    } else {
        Features::F32(bytes.iter().map(|&b| f32::from(b) / 7.0).collect())
    };
    let targets = if classes {
        Targets::Classes { labels: vec![0, 1, 1, 0, 1, 0], classes: 2 }
    } else {
        Targets::Values { data: (0..12_u8).map(f32::from).collect(), width: 2 }
    };
    Dataset::new(features, 2, targets, pixels.then_some((1, 2))).expect("a small data set")
}

/// The parts of a run with rounds: two an epoch, the second of which is short.
fn parts_in_rounds() -> ManifestParts {
    let rounds = Rounds {
        replicas: 2,
        steps: Some(1),
        outer_learning_rate: 0.9,
        outer_momentum: 0.5,
        delta_bits: DeltaBits::Eight,
    };
    let recipe = Recipe { batch_size: 2, rounds: Some(rounds), ..recipe() };
    ManifestParts { recipe, ..parts() }
}

impl Fixture {
    fn new(parts: ManifestParts) -> Self {
        let manifest = Manifest::new(parts).expect("a small run");
        let compute =
            Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).expect("there is a thread")) };
        let data = Arc::new(dataset(true, true));
        let mut engine = Engine::new(manifest.clone(), compute.clone(), Duration::ZERO);
        let mut keep = Keep(vec![engine.params().to_vec()]);
        local::run(&mut engine, &data, &mut keep).expect("the data fit");
        let mut nodes = BTreeMap::new();
        let mut order = SampleOrder::new(&manifest);
        let mut workspace = manifest.workspace(compute.clone());
        for step in 0..manifest.total_steps() {
            let tree = manifest.tree(step);
            if manifest.rounds().is_some() {
                let samples = order.batch(&manifest, step);
                let public = &keep.0[step as usize][..];
                let round = Round { manifest: &manifest, data: &data, public, step, samples };
                let mut replica = Replica::new(&manifest, compute.clone());
                for leaf in 0..tree.leaves() {
                    let stats = replica.run(round, leaf, &|| true).expect("the data fit");
                    let mut bytes = Vec::new();
                    assert!(replica.difference(round, leaf, 0..public.len(), &mut bytes));
                    // Encoding them again gives the same bytes.
                    let mut difference = vec![0.0; public.len()];
                    manifest.contribution_encoding().decode(&bytes, &mut difference);
                    nodes.insert((step, 0, leaf), (difference, stats.expect("it is wanted")));
                }
                continue;
            }
            let all = (0..4).flat_map(|level| (0..4).map(move |index| Node { level, index }));
            for node in all.filter(|&node| tree.contains(node)) {
                let samples = order.batch(&manifest, step).part(tree.samples_of(node));
                let mut gradient = vec![0.0; engine.params().len()];
                let params = &keep.0[step as usize];
                let stats = workspace.node_gradient(params, &data, samples, 1, &mut gradient);
                nodes.insert((step, node.level, node.index), (gradient, stats.expect("the data fit")));
            }
        }
        Self { manifest, compute, set: Arc::new(TrainingSet::new(data)), weights: keep.0, nodes }
    }

    pub(crate) fn engine(&self, audit: f64) -> Engine {
        let cluster = Cluster { generation: Generation(GENERATION), audit, ..Cluster::default() };
        let (manifest, compute) = (self.manifest.clone(), self.compute.clone());
        Engine::new(manifest, compute, Duration::from_secs(1)).with_cluster(cluster)
    }

    /// The gradient and figures of a node, if it exists.
    pub(crate) fn truth(&self, step: u64, node: Node) -> Option<&(Vec<f32>, NodeStats)> {
        self.nodes.get(&(step, node.level, node.index))
    }
}

/// The body of a request, fed through a channel.
pub(crate) struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl Fed {
    pub(crate) fn new() -> (mpsc::UnboundedSender<Bytes>, Self) {
        let (feed, fed) = mpsc::unbounded_channel();
        (feed, Self(fed))
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(context).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

/// The value of a future, if it is ready.
pub(crate) fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Runs a future on this thread's runtime.
pub(crate) fn runtime<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// A run for each kind of training set.
pub(crate) fn training_manifests() -> [Manifest; 3] {
    [4, 6, 60_000_000].map(|train_samples| {
        let model =
            Model::new(vec![2, 2], Activation::Relu, Output::Linear, Cost::Mse).expect("a small network");
        let parts = ManifestParts {
            model,
            train_samples: if train_samples == 4 { 6 } else { train_samples },
            ..parts()
        };
        Manifest::new(parts).expect("a small run")
    })
}

pub(crate) fn training_sets() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (pixels, classes) in [(true, true), (true, false), (false, true), (false, false)] {
        let set = TrainingSet::new(Arc::new(dataset(pixels, classes)));
        let bytes = set.serialised();
        seeds.push([&[0], &bytes[..]].concat());
        seeds.push([&[3], &bytes[..]].concat());
    }
    seeds
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let adam = Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
    let step = Schedule { shape: ScheduleShape::Step { every_epochs: 2, factor: 0.5 }, warmup_steps: 3 };
    let cosine = Schedule { shape: ScheduleShape::Cosine { floor: 0.1 }, warmup_steps: 0 };
    [
        recipe(),
        Recipe { optimizer: adam, schedule: step, ..recipe() },
        Recipe { optimizer: Optimizer::Sgd, schedule: cosine, l2: 0.5, ..recipe() },
        parts_in_rounds().recipe,
    ]
    .map(|recipe| serde_json::to_vec(&ManifestParts { recipe, ..parts() }).expect("it can be written"))
    .to_vec()
}

/// One stream per direction with every kind of message.
pub(crate) fn streams() -> Vec<Vec<u8>> {
    use pb::coordinator_message::Body as Down;
    use pb::worker_message::Body as Up;
    let place = Place { generation: GENERATION, step: 1, attempt: 2 };
    let tensor = pb::TensorHeader { layer: Some(1), elements: 8, chunks: 1, crc32: 5 };
    let chunk = pb::TensorChunk {
        layer: None,
        index: 0,
        total: 1,
        crc32: 9,
        data: vec![7; 32].into(),
        compact: false,
    };
    let node = pb::Node { level: 1, index: 1 };
    let stats = pb::NodeStats { samples: 2, loss: 0.5, correct: 1, compute_micros: 77 };
    let hello = pb::Hello {
        protocol: pb::PROTOCOL,
        build: "nn".into(),
        member: 5,
        incarnation: 1,
        threads: 2,
        data_held: vec!["ab".repeat(32)],
        name: "box".into(),
        ..pb::Hello::default()
    };
    let up = [
        Up::Hello(hello),
        Up::DataRequest(pb::DataRequest { sha256: "cd".repeat(32), from_chunk: 1 }),
        Up::Ready(pb::Ready { data_sha256: "cd".repeat(32) }),
        Up::Heartbeat(pb::Heartbeat { nodes_waiting: 1, leaves_done: 2, compute_micros: 3 }),
        Up::GradientHeader(pb::GradientHeader {
            node: Some(node),
            finite: true,
            stats: Some(stats),
            tensor: Some(tensor),
        }),
        Up::GradientChunk(chunk.clone()),
        Up::Goodbye(pb::Goodbye { reason: "done".into() }),
    ];
    let down = [
        Down::Welcome(pb::Welcome { manifest_json: "{}".into(), ..pb::Welcome::default() }),
        Down::Reject(pb::Reject { reason: 4, message: "full".into() }),
        Down::DataChunk(pb::DataChunk { index: 0, total: 1, crc32: 3, data: vec![1; 20].into() }),
        Down::Assignment(pb::Assignment { nodes: vec![node, node] }),
        Down::WeightsHeader(pb::WeightsHeader { tensor: Some(tensor) }),
        Down::WeightsChunk(chunk),
        Down::Refusal(pb::Refusal { reason: 3, message: "late".into() }),
        Down::RunOver(pb::RunOver { outcome: 1, steps: 4, params_sha256: "ef".repeat(32) }),
    ];
    let up: Vec<u8> = up.into_iter().flat_map(|body| frame(&place.to_coordinator(body))).collect();
    let down: Vec<u8> = down.into_iter().flat_map(|body| frame(&place.to_worker(body))).collect();
    vec![[&[14], &up[..]].concat(), [&[15], &down[..]].concat(), [&[2], &framed(&[])[..]].concat()]
}
