//! A hand-written worker on the generated client: it can say anything.

use std::time::Duration;

use nn_core::Isa;
use nn_engine::arithmetic_fingerprint;
use nn_net::proto as pb;
use pb::coordinator_client::CoordinatorClient;
use pb::coordinator_message::Body as Heard;
use pb::worker_message::Body as Say;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

pub struct Peer {
    pub say: mpsc::Sender<pb::WorkerMessage>,
    pub hear: Streaming<pb::CoordinatorMessage>,
    pub welcome: pb::Welcome,
}

pub fn hello() -> pb::Hello {
    pb::Hello {
        protocol: pb::PROTOCOL,
        build: "by hand".to_owned(),
        member: 77,
        incarnation: 1,
        threads: 1,
        instructions: "none".to_owned(),
        arithmetic: arithmetic_fingerprint(Isa::best()),
        data_held: Vec::new(),
        data_fixed: false,
        name: "hand".to_owned(),
        makes_initial_weights: false,
        reads_compact: false,
        reads_bf16: false,
    }
}

pub fn message(step: u64, attempt: u32, body: Say) -> pb::WorkerMessage {
    pb::WorkerMessage { generation: 0, step, attempt, body: Some(body) }
}

impl Peer {
    /// Opens a stream with this Hello.
    pub async fn greet(url: &str, hello: pb::Hello) -> Self {
        let mut client = CoordinatorClient::connect(url.to_owned()).await.unwrap();
        let (say, messages) = mpsc::channel(16);
        say.send(message(0, 0, Say::Hello(hello))).await.unwrap();
        let hear = client.work(ReceiverStream::new(messages)).await.unwrap().into_inner();
        Self { say, hear, welcome: pb::Welcome::default() }
    }

    /// Joins the run.
    pub async fn join(url: &str) -> Self {
        let mut peer = Self::greet(url, hello()).await;
        let Some(Heard::Welcome(welcome)) = peer.hear().await else { panic!("not welcome") };
        let data_sha256 = welcome.data.as_ref().unwrap().sha256.clone();
        peer.say(0, 0, Say::Ready(pb::Ready { data_sha256 })).await;
        peer.welcome = welcome;
        peer
    }

    pub async fn say(&self, step: u64, attempt: u32, body: Say) {
        let _ = self.say.send(message(step, attempt, body)).await;
    }

    /// The next message's body; None at the end of the stream.
    pub async fn hear(&mut self) -> Option<Heard> {
        self.hear_all().await.and_then(|message| message.body)
    }

    pub async fn hear_all(&mut self) -> Option<pb::CoordinatorMessage> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.hear.message()).await;
        next.expect("the coordinator answers").unwrap_or(None)
    }

    /// The next assignment: step, attempt, nodes.
    pub async fn assignment(&mut self) -> (u64, u32, Vec<pb::Node>) {
        loop {
            let message = self.hear_all().await.expect("there is an assignment");
            if let Some(Heard::Assignment(assignment)) = message.body {
                return (message.step, message.attempt, assignment.nodes);
            }
        }
    }

    /// The reason of the next refusal.
    pub async fn refusal(&mut self) -> pb::RefusalReason {
        loop {
            match self.hear().await.expect("there is a refusal") {
                Heard::Refusal(refusal) => return refusal.reason(),
                Heard::Reject(reject) => panic!("rejected: {}", reject.message),
                _ => {}
            }
        }
    }

    /// The reason and the status with which the stream ends.
    pub async fn reject(&mut self) -> (pb::RejectReason, String, tonic::Code) {
        loop {
            match self.hear().await.expect("there is a reject") {
                Heard::Reject(reject) => {
                    let end = self.hear.message().await;
                    let code = end.map_or_else(|status| status.code(), |_| tonic::Code::Ok);
                    return (reject.reason(), reject.message, code);
                }
                Heard::RunOver(_) => panic!("the run is over"),
                _ => {}
            }
        }
    }
}

/// A gradient of all layers in one chunk.
pub struct Gradient {
    pub node: pb::Node,
    pub values: Vec<f32>,
    pub samples: u64,
    pub finite: bool,
}

impl Gradient {
    pub fn header(&self) -> pb::GradientHeader {
        let bytes = self.bytes();
        let tensor = pb::TensorHeader {
            layer: None,
            elements: self.values.len() as u64,
            chunks: 1,
            crc32: crc(&bytes),
        };
        let stats = pb::NodeStats { samples: self.samples, loss: 1.0, correct: 0, compute_micros: 1 };
        pb::GradientHeader {
            node: Some(self.node),
            finite: self.finite,
            stats: Some(stats),
            tensor: Some(tensor),
        }
    }

    pub fn chunk(&self) -> pb::TensorChunk {
        let bytes = self.bytes();
        pb::TensorChunk {
            layer: None,
            index: 0,
            total: 1,
            crc32: crc(&bytes),
            data: bytes.into(),
            compact: false,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    pub async fn send(&self, peer: &Peer, step: u64, attempt: u32) {
        peer.say(step, attempt, Say::GradientHeader(self.header())).await;
        peer.say(step, attempt, Say::GradientChunk(self.chunk())).await;
    }
}

/// A plain CRC-32, to check the crate's against.
pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (0_u32.wrapping_sub(crc & 1)));
        }
    }
    !crc
}
