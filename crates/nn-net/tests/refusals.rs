//! Peers that violate the protocol: each is refused for the right reason, and changes nothing.

mod common;

use common::peer::{Gradient, Peer, hello};
use common::{Run, Served, worker};
use nn_engine::{Cluster, Outcome};
use nn_net::proto as pb;
use pb::worker_message::Body as Say;
use pb::{RefusalReason, RejectReason};
use tokio::io::AsyncWriteExt;
use tonic::Code;

fn run() -> Run {
    Run::new(&[20, 12, 4], 110, 16, 3)
}

/// An honest worker finishes the run, with the expected hash.
async fn ends_well(run: &Run, served: Served) {
    let honest = worker(served.options());
    let (outcome, hash) = served.finish().await;
    assert_eq!((outcome, hash), (Outcome::Complete, run.expected()));
    honest.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_from_strangers() {
    let run = run();
    let served = run.serve(1).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff", &[0; 5000]]
    {
        let address = served.url.strip_prefix("http://").unwrap();
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let _ = socket.write_all(garbage).await;
    }
    ends_well(&run, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_may_not_join() {
    let run = run();
    let served = run.serve(1).await;
    let cases = [
        (pb::Hello { protocol: 0, ..hello() }, RejectReason::Protocol, "version", Code::FailedPrecondition),
        (pb::Hello { protocol: 2, ..hello() }, RejectReason::Protocol, "version", Code::FailedPrecondition),
        (
            pb::Hello { arithmetic: "00".repeat(32), ..hello() },
            RejectReason::Arithmetic,
            "other bits",
            Code::FailedPrecondition,
        ),
        (
            pb::Hello { data_fixed: true, data_held: vec!["11".repeat(32)], ..hello() },
            RejectReason::Data,
            "--data",
            Code::FailedPrecondition,
        ),
        (pb::Hello { threads: 0, ..hello() }, RejectReason::Message, "threads", Code::InvalidArgument),
    ];
    for (hello, reason, says, code) in cases {
        let mut peer = Peer::greet(&served.url, hello).await;
        let (got, message, status) = peer.reject().await;
        assert_eq!((got, status), (reason, code), "{message}");
        assert!(message.contains(says), "{message}");
    }
    ends_well(&run, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_out_of_turn() {
    let run = run();
    let served = run.serve(1).await;
    // Hello twice, a gradient before Ready, no body, another training set, a chunk beyond the last.
    let mut twice = Peer::greet(&served.url, hello()).await;
    twice.say(0, 0, Say::Hello(hello())).await;
    assert_eq!(twice.reject().await.0, RejectReason::Message);
    let mut early = Peer::greet(&served.url, hello()).await;
    early.say(0, 0, Say::GradientChunk(pb::TensorChunk::default())).await;
    assert_eq!(early.reject().await.0, RejectReason::Message);
    let mut empty = Peer::greet(&served.url, hello()).await;
    empty.say.send(pb::WorkerMessage::default()).await.unwrap();
    assert_eq!(empty.reject().await.0, RejectReason::Message);
    let mut other = Peer::greet(&served.url, hello()).await;
    other.say(0, 0, Say::Ready(pb::Ready { data_sha256: "22".repeat(32) })).await;
    assert_eq!(other.reject().await.0, RejectReason::Data);
    let mut beyond = Peer::greet(&served.url, hello()).await;
    let sha256 = served.handle.training_set().sha256().to_owned();
    beyond.say(0, 0, Say::DataRequest(pb::DataRequest { sha256, from_chunk: 2 })).await;
    let (reason, message, _) = beyond.reject().await;
    assert!(reason == RejectReason::Message && message.contains("from_chunk: 2 of 1"), "{message}");
    ends_well(&run, served).await;
}

/// A stream that is older than another one of the same worker is rejected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_comes_too_late() {
    let run = run();
    let served = run.serve(1).await;
    let mut peers = Vec::new();
    for incarnation in [2, 1] {
        let mut peer = Peer::greet(&served.url, pb::Hello { incarnation, ..hello() }).await;
        let data_sha256 = served.handle.training_set().sha256().to_owned();
        peer.say(0, 0, Say::Ready(pb::Ready { data_sha256 })).await;
        if incarnation == 2 {
            let _ = peer.assignment().await;
        }
        peers.push(peer);
    }
    let (reason, message, code) = peers[1].reject().await;
    assert_eq!((reason, code), (RejectReason::Replaced, Code::FailedPrecondition), "{message}");
    drop(peers);
    ends_well(&run, served).await;
}

/// Every peer gets an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_streams_and_impossible_requests() {
    let run = run();
    let served = run.serve(1).await;
    let mut client = pb::coordinator_client::CoordinatorClient::connect(served.url.clone()).await.unwrap();
    let nothing = tokio_stream::iter(Vec::<pb::WorkerMessage>::new());
    let hear = client.work(nothing).await.unwrap().into_inner();
    let (say, _) = tokio::sync::mpsc::channel(1);
    let mut peer = Peer { say, hear, welcome: pb::Welcome::default() };
    let (reason, message, code) = peer.reject().await;
    assert_eq!((reason, code), (RejectReason::Message, Code::InvalidArgument));
    assert!(message.contains("begin with Hello"), "{message}");

    let mut peer = Peer::greet(&served.url, hello()).await;
    let sha256 = served.handle.training_set().sha256().to_owned();
    peer.say(0, 0, Say::DataRequest(pb::DataRequest { sha256, from_chunk: 2 })).await;
    let (reason, message, _) = peer.reject().await;
    assert_eq!(reason, RejectReason::Message);
    assert!(message.contains("from_chunk: 2 of 1"), "{message}");
    drop(client);
    ends_well(&run, served).await;
}

/// Messages of another generation must not admit a worker, nor keep its place. Only gradients get a refusal each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_another_generation() {
    let run = run();
    let served = run.serve(1).await;
    let data_sha256 = served.handle.training_set().sha256().to_owned();
    let of_another = |body| pb::WorkerMessage { generation: 9, step: 0, attempt: 0, body: Some(body) };
    let request = pb::DataRequest { sha256: data_sha256.clone(), from_chunk: 0 };
    for say in [
        Say::Ready(pb::Ready { data_sha256 }),
        Say::DataRequest(request),
        Say::Heartbeat(pb::Heartbeat::default()),
    ] {
        let mut peer = Peer::greet(&served.url, hello()).await;
        peer.say.send(of_another(say)).await.unwrap();
        let (reason, message, _) = peer.reject().await;
        assert_eq!(reason, RejectReason::Message);
        assert!(message.contains("generation 9"), "{message}");
    }
    let mut peer = Peer::join(&served.url).await;
    let _ = peer.assignment().await;
    peer.say.send(of_another(Say::Heartbeat(pb::Heartbeat::default()))).await.unwrap();
    assert_eq!(peer.reject().await.0, RejectReason::Message);
    ends_well(&run, served).await;
}

/// A malformed tensor ends the stream before any of it is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tensors_that_do_not_fit() {
    let run = run();
    let parameters = run.manifest.model().parameters();
    let patient = Cluster { strikes: 100, ..Cluster::default() };
    let served = run.serve_with(patient, common::Clock::new(), None).await;
    type Spoil = fn(&mut pb::TensorHeader, &mut pb::TensorChunk);
    let cases: [(&str, Spoil); 9] = [
        ("numbers", |header, _| header.elements += 1),
        ("numbers", |header, _| header.elements = u64::MAX),
        ("chunks", |header, _| header.chunks = u32::MAX),
        ("no layer", |header, _| header.layer = Some(9)),
        ("instead of", |_, chunk| chunk.data = chunk.data.slice(..chunk.data.len() - 4)),
        ("expected chunk 0 of 1", |_, chunk| chunk.index = 1),
        ("expected chunk 0 of 1", |_, chunk| chunk.layer = Some(0)),
        ("checksum of chunk", |_, chunk| chunk.crc32 ^= 1),
        ("checksum of the tensor", |header, _| header.crc32 ^= 1),
    ];
    for (says, spoil) in cases {
        let mut peer = Peer::join(&served.url).await;
        let (step, attempt, nodes) = peer.assignment().await;
        let gradient = Gradient { node: nodes[0], values: vec![0.5; parameters], samples: 16, finite: true };
        let (mut header, mut chunk) = (gradient.header(), gradient.chunk());
        spoil(header.tensor.as_mut().unwrap(), &mut chunk);
        peer.say(step, attempt, Say::GradientHeader(header)).await;
        peer.say(step, attempt, Say::GradientChunk(chunk)).await;
        let (reason, message, code) = peer.reject().await;
        assert_eq!((reason, code), (RejectReason::Tensor, Code::InvalidArgument), "{message}");
        assert!(message.contains(says), "{message}");
    }
    let mut headless = Peer::join(&served.url).await;
    headless.say(0, 0, Say::GradientChunk(pb::TensorChunk::default())).await;
    assert_eq!(headless.reject().await.0, RejectReason::Tensor);
    let mut elsewhere = Peer::join(&served.url).await;
    let (step, attempt, nodes) = elsewhere.assignment().await;
    let gradient = Gradient { node: nodes[0], values: vec![0.5; parameters], samples: 16, finite: true };
    elsewhere.say(step, attempt, Say::GradientHeader(gradient.header())).await;
    elsewhere.say(step + 1, attempt, Say::GradientChunk(gradient.chunk())).await;
    let (reason, message, _) = elsewhere.reject().await;
    assert_eq!(reason, RejectReason::Tensor);
    assert!(message.contains("another generation, step or attempt"), "{message}");
    ends_well(&run, served).await;
}

/// The worker is told what the engine refuses, and the stream continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contributions_that_do_not_count() {
    let run = run();
    let parameters = run.manifest.model().parameters();
    let cluster = Cluster { strikes: 100, ..Cluster::default() };
    let served = run.serve_with(cluster, common::Clock::new(), None).await;
    let mut peer = Peer::join(&served.url).await;
    let (step, attempt, nodes) = peer.assignment().await;
    let good = || Gradient { node: nodes[0], values: vec![0.5; parameters], samples: 16, finite: true };

    let mut nan = good();
    nan.values[7] = f32::NAN;
    nan.send(&peer, step, attempt).await;
    assert_eq!(peer.refusal().await, RefusalReason::NotFinite);
    good().send(&peer, step + 1, attempt).await;
    assert_eq!(peer.refusal().await, RefusalReason::FutureStep);
    good().send(&peer, step, attempt + 9).await;
    assert_eq!(peer.refusal().await, RefusalReason::Attempt);
    Gradient { node: pb::Node { level: 0, index: 4000 }, ..good() }.send(&peer, step, attempt).await;
    assert_eq!(peer.refusal().await, RefusalReason::Node);
    Gradient { samples: 3, ..good() }.send(&peer, step, attempt).await;
    assert_eq!(peer.refusal().await, RefusalReason::Stats);
    Gradient { finite: false, ..good() }.send(&peer, step, attempt).await;
    assert_eq!(peer.refusal().await, RefusalReason::NotFinite);
    let old =
        pb::WorkerMessage { generation: 9, step, attempt, body: Some(Say::GradientHeader(good().header())) };
    peer.say.send(old.clone()).await.unwrap();
    let chunk = Some(Say::GradientChunk(good().chunk()));
    peer.say.send(pb::WorkerMessage { body: chunk, ..old }).await.unwrap();
    assert_eq!(peer.refusal().await, RefusalReason::Generation);

    // The peer leaves its node unfinished, and an honest worker computes it.
    let honest = worker(served.options());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(peer);
    let (outcome, hash) = served.finish().await;
    assert_eq!((outcome, hash), (Outcome::Complete, run.expected()));
    honest.await.unwrap().unwrap();
}

/// A worker is too slow, and its answer is for a finished step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_are_over() {
    let run = Run::new(&[20, 12, 4], 110, 16, 60);
    let parameters = run.manifest.model().parameters();
    let cluster = Cluster { min_workers: 2, ..Cluster::default() };
    let slow = common::Clock::slow(std::time::Duration::from_millis(2));
    let served = run.serve_with(cluster, slow, None).await;
    let honest = worker(served.options());
    let mut peer = Peer::join(&served.url).await;
    let (step, attempt, nodes) = peer.assignment().await;
    // The node is reassigned to the honest worker, which finishes the step.
    while served.handle.status().step <= step {
        peer.say(step, attempt, Say::Heartbeat(pb::Heartbeat::default())).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let late = Gradient { node: nodes[0], values: vec![9.0; parameters], samples: 16, finite: true };
    late.send(&peer, step, attempt).await;
    assert_eq!(peer.refusal().await, RefusalReason::StaleStep);
    // The run needs two workers.
    drop(peer);
    let other = worker(served.options());
    let (outcome, hash) = served.finish().await;
    assert_eq!((outcome, hash), (Outcome::Complete, run.expected()));
    honest.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
}

/// A codec that sends bytes as they are.
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = pb::CoordinatorMessage;
    type Encoder = Self;
    type Decoder = tonic_prost::ProstDecoder<pb::CoordinatorMessage>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self::Decoder::default()
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(to, &item);
        Ok(())
    }
}

/// gRPC, but with malformed or too large messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages() {
    let run = run();
    let served = run.serve(1).await;
    for garbage in [vec![0xff; 100], vec![0x22, 0xff, 0xff, 0xff, 0xff, 0x0f], vec![0x42; 3 << 20]] {
        let endpoint = tonic::transport::Endpoint::from_shared(served.url.clone()).unwrap();
        let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/nn.v1.Coordinator/Work");
        let messages = tonic::Request::new(tokio_stream::iter([garbage]));
        let mut answers = client.streaming(messages, path, Raw).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().body;
        let Some(pb::coordinator_message::Body::Reject(reject)) = answer else { panic!("{answer:?}") };
        assert_eq!(reject.reason(), RejectReason::Message, "{}", reject.message);
        assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);
    }
    ends_well(&run, served).await;
}

/// Malformed messages are counted over all connections of a worker; broken connections are not counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_malformed_messages_lead_to_quarantine() {
    let run = run();
    let served = run.serve(1).await;
    for _ in 0..4 {
        let mut peer = Peer::join(&served.url).await;
        let _ = peer.assignment().await;
        drop(peer);
        let gone = async {
            while !served.handle.status().workers.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        common::within(gone).await;
    }
    for _ in 0..3 {
        let mut peer = Peer::join(&served.url).await;
        let (step, attempt, _) = peer.assignment().await;
        peer.say(step, attempt, Say::GradientChunk(pb::TensorChunk::default())).await;
        assert_eq!(peer.reject().await.0, RejectReason::Tensor);
    }
    let mut banned = Peer::join(&served.url).await;
    let (reason, message, code) = banned.reject().await;
    assert_eq!((reason, code), (RejectReason::Quarantine, Code::FailedPrecondition), "{message}");
    let shown = async {
        loop {
            if let [gone] = &served.handle.status().quarantined[..] {
                return gone.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let shown = common::within(shown).await;
    assert_eq!((shown.name.as_str(), shown.reason), ("hand", message));
    ends_well(&run, served).await;
}
