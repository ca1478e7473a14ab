//! The law over the network: the same parameters as in one process, for any number of workers.

mod common;

use common::{Run, within, worker};
use nn_engine::Outcome;
use nn_net::WorkerEnd;

async fn run_with(run: &Run, workers: usize) -> String {
    let served = run.serve(workers).await;
    let working: Vec<_> = (0..workers).map(|_| worker(served.options())).collect();
    let (outcome, hash) = served.finish().await;
    assert_eq!(outcome, Outcome::Complete);
    for working in working {
        match within(working).await.unwrap().unwrap() {
            WorkerEnd::RunOver(over) => assert_eq!(over.params_sha256, hash),
            other => panic!("{other:?}"),
        }
    }
    hash
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker() {
    let run = Run::new(&[20, 12, 4], 110, 16, 3);
    assert_eq!(run_with(&run, 1).await, run.expected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_three_and_five_workers() {
    let run = Run::new(&[20, 12, 4], 110, 16, 3);
    let expected = run.expected();
    for workers in [2, 3, 5] {
        assert_eq!(run_with(&run, workers).await, expected, "{workers} workers");
    }
}
