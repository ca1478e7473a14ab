//! Conversion of messages to checked types, and back.

use std::time::Duration;

use nn_core::{Node, NodeStats};
use nn_engine::{Attempt, Generation, Outcome, Rejection, Release, Step};
use prost::Message;

use super::error::WireError;
use crate::proto as pb;
use pb::coordinator_message::Body as ToWorker;
use pb::worker_message::Body as ToCoordinator;

/// The generation, step and attempt that a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) generation: u64,
    pub(crate) step: u64,
    pub(crate) attempt: u32,
}

impl Place {
    /// The first fields of an encoded message, which are the same in both directions.
    pub(crate) fn encode(self) -> Vec<u8> {
        self.to_worker(None).encode_to_vec()
    }

    pub(crate) fn to_worker(self, body: impl Into<Option<ToWorker>>) -> pb::CoordinatorMessage {
        let Self { generation, step, attempt } = self;
        pb::CoordinatorMessage { generation, step, attempt, body: body.into() }
    }

    pub(crate) fn to_coordinator(self, body: impl Into<Option<ToCoordinator>>) -> pb::WorkerMessage {
        let Self { generation, step, attempt } = self;
        pb::WorkerMessage { generation, step, attempt, body: body.into() }
    }
}

/// A worker's introduction of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) build: String,
    pub(crate) member: u64,
    pub(crate) incarnation: u64,
    pub(crate) threads: usize,
    pub(crate) instructions: String,
    pub(crate) arithmetic: String,
    pub(crate) data_held: Vec<String>,
    pub(crate) data_fixed: bool,
    pub(crate) name: String,
    /// It makes the weights before step 0 itself.
    pub(crate) makes_initial_weights: bool,
    /// It reads compact chunks of differences.
    pub(crate) reads_compact: bool,
    /// It reads compact chunks of f32.
    pub(crate) reads_bf16: bool,
}

/// The most characters of a worker's text that people are shown.
const MAX_TEXT: usize = 128;
/// The most characters of a peer's sentence.
const MAX_SENTENCE: usize = 1000;
/// The most training sets that a worker may report as held.
pub(crate) const MAX_HELD: usize = 1024;

impl TryFrom<pb::Hello> for Hello {
    type Error = WireError;

    fn try_from(hello: pb::Hello) -> Result<Self, WireError> {
        let impossible = |field, value: String| WireError::Impossible { message: "Hello", field, value };
        // A worker of another version is told so, whatever else it says.
        if hello.protocol == pb::PROTOCOL {
            if hello.threads == 0 || hello.threads > 1 << 16 {
                return Err(impossible("threads", hello.threads.to_string()));
            }
            if hello.data_held.len() > MAX_HELD {
                return Err(impossible("data_held", format!("{} data sets", hello.data_held.len())));
            }
        }
        Ok(Self {
            protocol: hello.protocol,
            build: plain(&hello.build),
            member: hello.member,
            incarnation: hello.incarnation,
            threads: hello.threads as usize,
            instructions: plain(&hello.instructions),
            arithmetic: plain(&hello.arithmetic),
            data_held: hello.data_held,
            data_fixed: hello.data_fixed,
            name: plain(&hello.name),
            makes_initial_weights: hello.makes_initial_weights,
            reads_compact: hello.reads_compact,
            reads_bf16: hello.reads_bf16,
        })
    }
}

/// Text for a terminal: short, and without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// A peer's sentence, or one that quotes it: bounded, and without control characters.
pub(crate) fn sentence(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SENTENCE).collect()
}

/// A checked gradient header.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GradientHead {
    pub(crate) node: Node,
    pub(crate) finite: bool,
    pub(crate) stats: Option<NodeStats>,
    /// The time that computing the node took, as the worker reports it.
    pub(crate) compute: Duration,
    pub(crate) tensor: pb::TensorHeader,
}

impl TryFrom<pb::GradientHeader> for GradientHead {
    type Error = WireError;

    fn try_from(header: pb::GradientHeader) -> Result<Self, WireError> {
        let missing = |field| WireError::Missing { message: "GradientHeader", field };
        let compute = header.stats.map_or(0, |stats| stats.compute_micros);
        let stats = header.stats.map(|stats| {
            let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            NodeStats {
                samples: count(stats.samples),
                loss: stats.loss,
                correct: count(stats.correct),
                finite: header.finite,
            }
        });
        Ok(Self {
            node: node(header.node.ok_or_else(|| missing("node"))?)?,
            finite: header.finite,
            stats,
            compute: Duration::from_micros(compute),
            tensor: header.tensor.ok_or_else(|| missing("tensor"))?,
        })
    }
}

/// Checks a node: trees have at most 2³¹ leaves.
pub(crate) fn node(node: pb::Node) -> Result<Node, WireError> {
    if node.level > 31 {
        let value = format!("{}/{}", node.level, node.index);
        return Err(WireError::Impossible { message: "Node", field: "level", value });
    }
    Ok(Node { level: node.level, index: node.index })
}

impl From<Node> for pb::Node {
    fn from(node: Node) -> Self {
        Self { level: node.level, index: node.index }
    }
}

/// A checked message from a worker.
#[derive(Debug)]
pub(crate) enum FromWorker {
    Hello(Hello),
    DataRequest { sha256: String, from_chunk: u32 },
    Ready { sha256: String },
    Heartbeat,
    Gradient(GradientHead),
    Chunk(pb::TensorChunk),
    Goodbye,
}

impl FromWorker {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::DataRequest { .. } => "DataRequest",
            Self::Ready { .. } => "Ready",
            Self::Heartbeat => "Heartbeat",
            Self::Gradient(_) => "GradientHeader",
            Self::Chunk(_) => "TensorChunk",
            Self::Goodbye => "Goodbye",
        }
    }
}

impl TryFrom<pb::WorkerMessage> for (Place, FromWorker) {
    type Error = WireError;

    fn try_from(message: pb::WorkerMessage) -> Result<Self, WireError> {
        let pb::WorkerMessage { generation, step, attempt, body } = message;
        let body = match body.ok_or(WireError::NoBody)? {
            ToCoordinator::Hello(hello) => FromWorker::Hello(hello.try_into()?),
            ToCoordinator::DataRequest(pb::DataRequest { sha256, from_chunk }) => {
                FromWorker::DataRequest { sha256, from_chunk }
            }
            ToCoordinator::Ready(ready) => FromWorker::Ready { sha256: ready.data_sha256 },
            ToCoordinator::Heartbeat(_) => FromWorker::Heartbeat,
            ToCoordinator::GradientHeader(header) => FromWorker::Gradient(header.try_into()?),
            ToCoordinator::GradientChunk(chunk) => FromWorker::Chunk(chunk),
            ToCoordinator::Goodbye(_) => FromWorker::Goodbye,
        };
        Ok((Place { generation, step, attempt }, body))
    }
}

/// The place of a contribution in the engine's types.
pub(crate) fn address(place: Place) -> (Generation, Step, Attempt) {
    (Generation(place.generation), Step(place.step), Attempt(place.attempt))
}

/// The wire's reason for a refusal.
pub(crate) fn refusal_reason(reason: Rejection) -> pb::RefusalReason {
    use pb::RefusalReason as Wire;
    match reason {
        Rejection::UnknownWorker(_) | Rejection::AlreadyJoined(_) | Rejection::StaleIncarnation { .. } => {
            Wire::Worker
        }
        Rejection::StaleGeneration { .. } => Wire::Generation,
        Rejection::StaleStep { .. } => Wire::StaleStep,
        Rejection::FutureStep { .. } => Wire::FutureStep,
        Rejection::UnknownAttempt { .. } => Wire::Attempt,
        Rejection::UnknownNode(_) => Wire::Node,
        Rejection::NotAssigned(_) => Wire::NotAssigned,
        Rejection::Duplicate(_) => Wire::Duplicate,
        Rejection::UnknownPart { .. } | Rejection::WrongLength { .. } | Rejection::Ragged(_) => Wire::Length,
        Rejection::MissingStats | Rejection::WrongCount { .. } => Wire::Stats,
        Rejection::HiddenNonFinite | Rejection::FalseAlarm => Wire::NotFinite,
        Rejection::Over => Wire::Over,
        _ => Wire::Unspecified,
    }
}

/// The wire's reason for releasing a worker.
pub(crate) fn release_reason(release: &Release) -> pb::RejectReason {
    match release {
        Release::Over(_) => pb::RejectReason::Over,
        Release::Superseded => pb::RejectReason::Replaced,
        Release::Silent(_) | Release::Stalled(_) => pb::RejectReason::Silent,
        Release::Quarantined { .. } | Release::Disproved { .. } => pb::RejectReason::Quarantine,
        Release::Refused(Rejection::StaleIncarnation { .. }) => pb::RejectReason::Replaced,
        Release::Refused(Rejection::Over) => pb::RejectReason::Over,
        Release::Refused(_) => pb::RejectReason::Refused,
        _ => pb::RejectReason::Unspecified,
    }
}

/// The wire's form of an outcome.
pub(crate) fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Complete => pb::Outcome::Complete,
        Outcome::Stopped => pb::Outcome::Stopped,
        Outcome::Diverged { .. } => pb::Outcome::Diverged,
        Outcome::NoWorkers { .. } => pb::Outcome::NoWorkers,
    }
}

/// A checked message from a coordinator.
#[derive(Debug)]
pub(crate) enum FromCoordinator {
    Welcome(pb::Welcome),
    Reject { reason: pb::RejectReason, message: String },
    Data(pb::DataChunk),
    Assignment(Vec<Node>),
    Weights(pb::TensorHeader),
    Chunk(pb::TensorChunk),
    Refusal { reason: pb::RefusalReason, message: String },
    RunOver(pb::RunOver),
    InitialWeights,
}

impl FromCoordinator {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "Welcome",
            Self::Reject { .. } => "Reject",
            Self::Data(_) => "DataChunk",
            Self::Assignment(_) => "Assignment",
            Self::Weights(_) => "WeightsHeader",
            Self::Chunk(_) => "TensorChunk",
            Self::Refusal { .. } => "Refusal",
            Self::RunOver(_) => "RunOver",
            Self::InitialWeights => "InitialWeights",
        }
    }
}

impl TryFrom<pb::CoordinatorMessage> for (Place, FromCoordinator) {
    type Error = WireError;

    fn try_from(message: pb::CoordinatorMessage) -> Result<Self, WireError> {
        let pb::CoordinatorMessage { generation, step, attempt, body } = message;
        let body = match body.ok_or(WireError::NoBody)? {
            ToWorker::Welcome(welcome) => FromCoordinator::Welcome(welcome),
            ToWorker::Reject(reject) => {
                FromCoordinator::Reject { reason: reject.reason(), message: reject.message }
            }
            ToWorker::DataChunk(chunk) => FromCoordinator::Data(chunk),
            ToWorker::Assignment(assignment) => {
                let nodes: Result<_, _> = assignment.nodes.into_iter().map(node).collect();
                FromCoordinator::Assignment(nodes?)
            }
            ToWorker::WeightsHeader(header) => {
                let missing = WireError::Missing { message: "WeightsHeader", field: "tensor" };
                FromCoordinator::Weights(header.tensor.ok_or(missing)?)
            }
            ToWorker::WeightsChunk(chunk) => FromCoordinator::Chunk(chunk),
            ToWorker::Refusal(refusal) => {
                FromCoordinator::Refusal { reason: refusal.reason(), message: refusal.message }
            }
            ToWorker::RunOver(over) => FromCoordinator::RunOver(over),
            ToWorker::InitialWeights(pb::InitialWeights {}) => FromCoordinator::InitialWeights,
        };
        Ok((Place { generation, step, attempt }, body))
    }
}

/// The message that announces weights.
pub(crate) fn weights_header(place: Place, tensor: pb::TensorHeader) -> pb::CoordinatorMessage {
    place.to_worker(ToWorker::WeightsHeader(pb::WeightsHeader { tensor: Some(tensor) }))
}

/// The message that announces a gradient.
pub(crate) fn gradient_header(
    place: Place,
    node: Node,
    finite: bool,
    stats: Option<pb::NodeStats>,
    tensor: pb::TensorHeader,
) -> pb::WorkerMessage {
    let header = pb::GradientHeader { node: Some(node.into()), finite, stats, tensor: Some(tensor) };
    place.to_coordinator(ToCoordinator::GradientHeader(header))
}
