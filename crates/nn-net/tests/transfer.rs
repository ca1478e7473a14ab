//! Broken and slow connections: chunks of the training set are sent only once, and no worker is blamed.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::peer::{Peer, crc};
use common::{Clock, Run, within};
use nn_engine::{Cluster, Outcome};
use nn_net::proto as pb;
use nn_net::{WorkerEvent, work};
use pb::worker_message::Body as Say;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MIB: u64 = 1 << 20;

/// A proxy between a worker and a coordinator. It cuts the first connections after given numbers of bytes.
struct Proxy {
    url: String,
    /// Bytes passed on to the worker, by connection.
    passed: Arc<Mutex<Vec<u64>>>,
}

impl Proxy {
    async fn start(coordinator: &str, cuts: Vec<u64>) -> Self {
        let coordinator = coordinator.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let passed = Arc::new(Mutex::new(Vec::new()));
        let log = passed.clone();
        tokio::spawn(async move {
            let mut cuts = cuts.into_iter();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&coordinator).await.unwrap();
                let at = log.lock().unwrap().len();
                log.lock().unwrap().push(0);
                let limit = cuts.next().unwrap_or(u64::MAX);
                tokio::spawn(pass(near, far, limit, log.clone(), at));
            }
        });
        Self { url, passed }
    }
}

/// Passes bytes on in both directions until either side ends, or `limit` bytes have gone to the worker.
async fn pass(near: TcpStream, far: TcpStream, limit: u64, log: Arc<Mutex<Vec<u64>>>, at: usize) {
    let (mut from_worker, mut to_worker) = near.into_split();
    let (mut from_coordinator, mut to_coordinator) = far.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_worker, &mut to_coordinator).await });
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    while passed < limit {
        match from_coordinator.read(&mut buffer).await {
            Ok(n) if n > 0 && to_worker.write_all(&buffer[..n]).await.is_ok() => passed += n as u64,
            _ => break,
        }
        log.lock().unwrap()[at] = passed;
    }
    // Gives the worker time to read the bytes in transit.
    if passed >= limit {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    up.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_transfer_resumes_where_it_broke() {
    // 8 MB of samples.
    let run = Run::new(&[4000, 3, 2], 2000, 1000, 1);
    let expected = run.expected();
    for in_memory in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let served = run.serve(1).await;
        let whole = served.handle.training_set().bytes();
        let proxy = Proxy::start(&served.url, vec![3 * MIB + MIB / 2, 2 * MIB + MIB / 2]).await;
        let mut options = served.options();
        options.coordinators = vec![proxy.url.clone()];
        options.cache = (!in_memory).then(|| folder.path().to_owned());
        let begun = Arc::new(Mutex::new(Vec::new()));
        let (log, lost) = (begun.clone(), Arc::new(AtomicU64::new(0)));
        let breaks = lost.clone();
        let tell = move |event: WorkerEvent<'_>| match event {
            WorkerEvent::Receiving { from, total } => log.lock().unwrap().push((from, total)),
            WorkerEvent::Lost { .. } => drop(lost.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        };
        let working = tokio::spawn(work(options, tell, std::future::pending()));
        assert_eq!(served.finish().await, (Outcome::Complete, expected.clone()));
        within(working).await.unwrap().unwrap();

        assert_eq!(breaks.load(Ordering::Relaxed), 2);
        // Whole chunks count: three from the first connection, two from the second.
        let begun = begun.lock().unwrap().clone();
        assert_eq!(begun, [(0, whole), (3 * MIB, whole), (5 * MIB, whole)]);
        let passed = proxy.passed.lock().unwrap().clone();
        assert_eq!(passed.len(), 3);
        // The last connection carries the rest of the set, and the weights of two steps, which are 100 kB.
        let rest = whole - 5 * MIB;
        assert!((rest..rest + MIB / 2).contains(&passed[2]), "{passed:?} of {whole}");
        let files: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(files.iter().all(|name| name.ends_with(".train")) && files.len() == usize::from(!in_memory));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_not_blamed_for_broken_connections() {
    let run = Run::new(&[20, 12, 4], 110, 16, 30);
    // Fewer strikes than there will be broken connections.
    let cluster = Cluster { strikes: 2, ..Cluster::default() };
    let served = run.serve_with(cluster, Clock::slow(Duration::from_millis(1)), None).await;
    let proxy = Proxy::start(&served.url, vec![30_000; 4]).await;
    let mut options = served.options();
    options.coordinators = vec![proxy.url.clone()];
    let working = common::worker(options);
    assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    within(working).await.unwrap().unwrap();
    assert_eq!(proxy.passed.lock().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_sends_a_large_gradient_slowly_is_not_silent() {
    // Six chunks.
    let run = Run::new(&[1100, 1300, 2], 8, 8, 2);
    let silence = Duration::from_secs(2);
    let served = run.serve_with(Cluster { silence, ..Cluster::default() }, Clock::new(), None).await;
    let mut peer = Peer::join(&served.url).await;
    let (step, attempt, nodes) = peer.assignment().await;
    let bytes = vec![0; run.manifest.model().parameters() * 4];
    let chunks: Vec<&[u8]> = bytes.chunks(MIB as usize).collect();
    let total = chunks.len() as u32;
    let tensor =
        pb::TensorHeader { layer: None, elements: bytes.len() as u64 / 4, chunks: total, crc32: crc(&bytes) };
    let stats = Some(pb::NodeStats { samples: 8, loss: 1.0, correct: 0, compute_micros: 1 });
    let header = pb::GradientHeader { node: Some(nodes[0]), finite: true, stats, tensor: Some(tensor) };
    peer.say(step, attempt, Say::GradientHeader(header)).await;
    // Its heartbeats wait behind the gradient.
    for (index, data) in (0..).zip(chunks) {
        // In all, longer than the allowed silence; a busy machine may add to each pause.
        tokio::time::sleep(silence / 4).await;
        let data = data.to_vec();
        let (crc32, data) = (crc(&data), data.into());
        let chunk = pb::TensorChunk { layer: None, index, total, crc32, data, compact: false };
        peer.say(step, attempt, Say::GradientChunk(chunk)).await;
    }
    assert_eq!(peer.assignment().await.0, step + 1);
    let _ = served.stop_and_finish().await;
}
