//! Tensors beyond gRPC's usual limit, and peers that do not read them.

mod common;

use std::time::Duration;

use common::peer::Peer;
use common::{Clock, Run, within, worker};
use nn_engine::{Cluster, Outcome};
use nn_net::proto as pb;
use pb::worker_message::Body as Say;

/// 1.2 million parameters in the first layer: 4.8 MB in five chunks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_larger_than_4_mib() {
    let run = Run::new(&[1000, 1200, 4], 24, 8, 2);
    let expected = run.expected();
    for workers in [1, 2] {
        let served = run.serve(workers).await;
        let working: Vec<_> = (0..workers).map(|_| worker(served.options())).collect();
        assert_eq!(served.finish().await, (Outcome::Complete, expected.clone()));
        for working in working {
            within(working).await.unwrap().unwrap();
        }
    }
}

/// A worker sends heartbeats but never reads: the bytes that wait for it stay below three sets of weights and a little,
/// however many steps are done without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_does_not_grow_memory() {
    // More than HTTP/2 accepts before the peer's window is full.
    let run = Run::new(&[1000, 700, 4], 160, 8, 2);
    let weights = run.manifest.model().parameters() as u64 * 4;
    let cluster = Cluster { min_workers: 2, ..Cluster::default() };
    let served = run.serve_with(cluster, Clock::new(), None).await;
    let peer = Peer::join(&served.url).await;
    let honest = worker(served.options());
    let handle = served.handle.clone();
    let watching = tokio::spawn(async move {
        let mut most = 0;
        loop {
            let status = handle.status();
            for worker in status.workers.iter().filter(|worker| worker.name == "hand") {
                most = most.max(worker.bytes_queued);
            }
            if status.state() == pb::RunState::Over {
                return most;
            }
            peer.say(0, 0, Say::Heartbeat(pb::Heartbeat::default())).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    let most = within(watching).await.unwrap();
    assert!(most > 0, "bytes have waited");
    assert!(most <= 3 * weights + (1 << 20), "{most} bytes for weights of {weights}");
    within(honest).await.unwrap().unwrap();
}
