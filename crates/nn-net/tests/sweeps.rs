//! Whole runs over real sockets: what a coordinator of runs refuses, that no run is lost with its worker, and its status.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nn_core::{Dataset, Features, Isa, Targets, Threads};
use nn_engine::arithmetic_fingerprint;
use nn_net::proto as pb;
use nn_net::{
    Desk, DialOptions, Door, Link, Order, RunFile, Runner, RunsServer, Sample, Sent, TrainingSet, WorkerEnd,
    WorkerOptions, serve_runs, status, watch, work,
};
use pb::runs_client::RunsClient;
use pb::runs_from_worker::Body as Say;
use pb::runs_to_worker::Body as Told;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// Gives out runs 1 and 2, and remembers what it hears.
#[derive(Default)]
struct TestDesk {
    waiting: Mutex<Vec<u64>>,
    heard: Mutex<Vec<Sent>>,
    done: Mutex<u64>,
}

fn samples() -> Sample {
    let features = Features::U8 { data: (0..60).collect(), scale: 255.0 };
    let targets = Targets::Classes { labels: (0..20).map(|i| i % 3).collect(), classes: 3 };
    Arc::new(TrainingSet::new(Arc::new(Dataset::new(features, 3, targets, None).unwrap())))
}

fn long() -> RunFile {
    RunFile { name: "metrics.jsonl".to_owned(), content: (0..3_000_000_u32).map(|i| i as u8).collect() }
}

impl Desk for TestDesk {
    fn take(&self, _: &str) -> Option<Order<Sample>> {
        let run = self.waiting.lock().unwrap().pop()?;
        Some(Order {
            run,
            options: "epochs = 3".to_owned(),
            about: "{}".to_owned(),
            manifest_hash: "ab".to_owned(),
            sets: vec![samples(), samples()],
            until_epochs: None,
            files: vec![long(), RunFile { name: "checkpoints/best.safetensors".to_owned(), content: vec![] }],
        })
    }

    fn receive(&self, sent: Sent) -> Result<(), String> {
        if let Sent::Ended { failure: None, .. } = &sent {
            *self.done.lock().unwrap() += 1;
        }
        self.heard.lock().unwrap().push(sent);
        Ok(())
    }

    fn give_back(&self, run: u64) {
        self.waiting.lock().unwrap().push(run);
    }

    fn set(&self, sha256: &str) -> Option<Sample> {
        (samples().sha256() == sha256).then(samples)
    }

    fn over(&self) -> Option<u64> {
        let done = *self.done.lock().unwrap();
        (done == 2).then_some(done)
    }

    fn stops(&self) -> bool {
        false
    }

    fn status(&self) -> (pb::SweepStatus, Vec<pb::RunProgress>) {
        let (waiting, done) = (self.waiting.lock().unwrap().clone(), *self.done.lock().unwrap());
        let running = 2 - done - waiting.len() as u64;
        let all = (1..=2).filter(|run| !waiting.contains(run));
        let progress = all.map(|run| pb::RunProgress { run, epochs: 3, ..Default::default() });
        (
            pb::SweepStatus { waiting: waiting.len() as u64, running, done, ..Default::default() },
            progress.collect(),
        )
    }
}

async fn served() -> (Arc<TestDesk>, String, JoinHandle<()>) {
    let desk = Arc::new(TestDesk { waiting: Mutex::new(vec![2, 1]), ..TestDesk::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = RunsServer::new(desk.clone(), Isa::best());
    let served = tokio::spawn(async move { serve_runs(vec![Door::open(listener)], server).await.unwrap() });
    (desk, url, served)
}

fn hello() -> pb::RunsHello {
    pb::RunsHello {
        protocol: pb::PROTOCOL,
        build: "test".to_owned(),
        threads: 1,
        arithmetic: arithmetic_fingerprint(Isa::best()),
        name: "test".to_owned(),
    }
}

/// Says these things after Hello, and gives the reason for which the coordinator ends the stream.
async fn refused(url: &str, hello: Option<pb::RunsHello>, say: &[Say]) -> (pb::RejectReason, String) {
    let mut client = RunsClient::connect(url.to_owned()).await.unwrap();
    let (out, outgoing) = mpsc::channel(8);
    for body in hello.map(Say::Hello).iter().chain(say) {
        out.send(pb::RunsFromWorker { body: Some(body.clone()) }).await.unwrap();
    }
    let mut stream = client.work(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    loop {
        let next = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream ends");
        if let Some(Told::Reject(reject)) = next.unwrap().expect("a reason is given").body {
            return (reject.reason(), reject.message);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_refused_and_its_runs_are_given_back() {
    let (desk, url, _served) = served().await;
    let piece = |run: u64, data: &'static [u8], crc32: u32| {
        let file = "metrics.jsonl".to_owned();
        Say::Piece(pb::RunPiece { run, file, offset: 0, data: data.into(), crc32, complete: true })
    };
    let ended = |run| Say::Ended(pb::RunEnded { run, failure: String::new() });
    let message = pb::RejectReason::Message;
    for (hello, say, reason) in [
        (None, vec![ended(1)], message),
        (Some(pb::RunsHello { protocol: 9, ..hello() }), vec![], pb::RejectReason::Protocol),
        (Some(pb::RunsHello { arithmetic: "00".into(), ..hello() }), vec![], pb::RejectReason::Arithmetic),
        (Some(pb::RunsHello { threads: 0, ..hello() }), vec![], message),
        (Some(pb::RunsHello { threads: 9_999_999, ..hello() }), vec![], message),
        (Some(hello()), vec![Say::Hello(hello())], message),
        (Some(hello()), vec![ended(7)], message),
        (Some(hello()), vec![piece(7, b"x", crc32fast::hash(b"x"))], message),
        (Some(hello()), vec![piece(1, b"x", 5)], message),
    ] {
        let (got, says) = refused(&url, hello, &say).await;
        assert_eq!(got, reason, "{say:?}: {says}");
    }
    assert!(desk.heard.lock().unwrap().is_empty(), "nothing of it reached the desk");
    let back = async {
        while desk.waiting.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("every run is given back");
    let mut client = RunsClient::connect(url).await.unwrap();
    let unknown = pb::DataRequest { sha256: "0".repeat(64), from_chunk: 0 };
    assert_eq!(client.fetch(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    let beyond = pb::DataRequest { sha256: samples().sha256().to_owned(), from_chunk: 9 };
    assert_eq!(client.fetch(beyond).await.unwrap_err().code(), tonic::Code::OutOfRange);
}

/// Checks what it is given, and sends it back.
#[derive(Debug)]
struct Echo;

impl Runner for Echo {
    fn run(&self, order: Order<Arc<Dataset>>, link: &Link) -> Result<(), String> {
        assert_eq!(order.sets.len(), 2);
        assert!(order.sets.iter().all(|set| **set == **samples().dataset()));
        assert_eq!(order.files[0], long());
        assert!(order.files.iter().all(|file| link.send(&file.name, 0, &file.content)));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_and_their_files_arrive_as_they_were_sent() {
    let (desk, url, served) = served().await;
    let mut options = WorkerOptions::new(vec![url], Arc::new(Threads::new(2).unwrap()), Isa::best());
    options.runner = Some(Arc::new(Echo));
    let end = work(options, |_| {}, std::future::pending());
    let end = tokio::time::timeout(PATIENCE, end).await.expect("the worker ends").unwrap();
    assert!(matches!(end, WorkerEnd::RunOver(over) if over.steps == 2));
    tokio::time::timeout(PATIENCE, served).await.expect("the server ends").unwrap();
    let heard = desk.heard.lock().unwrap();
    for wanted in [1, 2] {
        let mut all = Vec::new();
        for sent in heard.iter() {
            if let Sent::Piece(piece) = sent
                && piece.run == wanted
                && piece.file == "metrics.jsonl"
            {
                assert_eq!(piece.offset, all.len() as u64);
                all.extend_from_slice(&piece.data);
            }
        }
        assert!(all == long().content, "run {wanted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_reflection_and_status() {
    let (_desk, url, _served) = served().await;
    common::services::serving(&url, "nn.v1.Runs", "nn.v1.Coordinator").await;
    let options = DialOptions::default();
    let now = status(&url, &options).await.unwrap();
    assert_eq!((now.state(), &*now.waiting_for), (pb::RunState::Waiting, "a worker; none has joined yet"));
    let sweep = pb::SweepStatus { waiting: 2, ..Default::default() };
    assert_eq!((now.sweep, now.workers), (Some(sweep), Vec::new()));

    let mut client = RunsClient::connect(url.clone()).await.unwrap();
    let (out, outgoing) = mpsc::channel(8);
    let say = |body| out.send(pb::RunsFromWorker { body: Some(body) });
    say(Say::Hello(hello())).await.unwrap();
    let mut stream = client.work(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    let hear =
        async { while !matches!(stream.message().await.unwrap().unwrap().body, Some(Told::Order(_))) {} };
    tokio::time::timeout(PATIENCE, hear).await.expect("a run is ordered");
    let now = status(&url, &options).await.unwrap();
    assert_eq!((now.state(), now.workers.len()), (pb::RunState::Training, 1));
    let worker = &now.workers[0];
    assert_eq!((&*worker.name, worker.threads, worker.state()), ("test", 1, pb::WorkerState::Computing));
    assert_eq!((worker.runs.len(), worker.runs[0].run, worker.runs[0].epochs), (1, 1, 3));
    assert!(worker.bytes_sent > 1000 && worker.silent_seconds < 30.0, "{worker:?}");

    // It does both runs. A watcher that asks seldom is told of the end, too.
    let mut watched = watch(&url, Duration::from_secs(3600), &options).await.unwrap();
    let first = watched.message().await.unwrap().unwrap();
    assert_eq!(first.sweep.map(|sweep| (sweep.waiting, sweep.running)), Some((1, 1)));
    for run in [1, 2] {
        say(Say::Ended(pb::RunEnded { run, failure: String::new() })).await.unwrap();
        let heard = async { while stream.message().await.is_ok_and(|told| !is_over_or_last(told)) {} };
        tokio::time::timeout(PATIENCE, heard).await.expect("the next run, or the end");
    }
    let last = tokio::time::timeout(PATIENCE, watched.message()).await.expect("the end is told");
    let last = last.unwrap().unwrap();
    assert_eq!((last.state(), last.outcome()), (pb::RunState::Over, pb::Outcome::Complete));
    assert_eq!(last.sweep.map(|sweep| sweep.done), Some(2));
}

/// Whether it is the last piece of a run's files, or the end of the sweep.
fn is_over_or_last(told: Option<pb::RunsToWorker>) -> bool {
    match told.and_then(|told| told.body) {
        Some(Told::Piece(piece)) => piece.file.starts_with("checkpoints") && piece.complete,
        Some(Told::Order(_)) => false,
        other => other.is_none() || matches!(other, Some(Told::Over(_))),
    }
}
