//! Workers that come and go, data that are sent and kept, runs that follow one another.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Clock, Run, options, within, worker};
use nn_core::{Dataset, Features, Targets};
use nn_engine::{Cluster, Outcome};
use nn_net::proto as pb;
use nn_net::{ConnectError, TrainingSet, WorkerEnd, WorkerError, WorkerEvent, work};

fn long_run() -> Run {
    Run::new(&[20, 12, 4], 110, 16, 30)
}

async fn slow(run: &Run, min_workers: usize) -> common::Served {
    let clock = Clock::slow(Duration::from_millis(2));
    run.serve_with(Cluster { min_workers, ..Cluster::default() }, clock, None).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_joins_in_mid_run() {
    let run = long_run();
    let served = slow(&run, 1).await;
    let first = worker(served.options());
    while served.handle.status().step < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let nodes = Arc::new(AtomicU64::new(0));
    let counted = nodes.clone();
    let tell = move |event: WorkerEvent<'_>| {
        if let WorkerEvent::Progress(progress) = event {
            counted.store(progress.nodes, Ordering::Relaxed);
        }
    };
    let second = tokio::spawn(work(served.options(), tell, std::future::pending()));
    let (outcome, hash) = served.finish().await;
    assert_eq!((outcome, hash), (Outcome::Complete, run.expected()));
    assert!(nodes.load(Ordering::Relaxed) > 0, "the second worker has computed nodes");
    within(first).await.unwrap().unwrap();
    within(second).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_disappears_in_mid_run() {
    let run = long_run();
    let served = slow(&run, 2).await;
    let (first, second) = (worker(served.options()), worker(served.options()));
    while served.handle.status().step < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.abort();
    // Too few workers are left to begin a step, so another one has to join.
    let third = worker(served.options());
    let (outcome, hash) = served.finish().await;
    assert_eq!((outcome, hash), (Outcome::Complete, run.expected()));
    within(first).await.unwrap().unwrap();
    within(third).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_leaves_when_it_is_asked_to() {
    let run = long_run();
    let served = slow(&run, 1).await;
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn(work(served.options(), |_| {}, async { left.await.unwrap_or(()) }));
    while served.handle.status().step < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    leave.send(()).unwrap();
    assert_eq!(within(first).await.unwrap().unwrap(), WorkerEnd::ShutDown);
    let second = worker(served.options());
    let (outcome, hash) = served.finish().await;
    assert_eq!((outcome, hash), (Outcome::Complete, run.expected()));
    within(second).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_ends_the_run() {
    let run = long_run();
    let served = slow(&run, 1).await;
    let working = worker(served.options());
    while served.handle.status().step < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (outcome, hash) = served.stop_and_finish().await;
    assert_eq!(outcome, Outcome::Stopped);
    match within(working).await.unwrap().unwrap() {
        WorkerEnd::RunOver(over) => {
            assert_eq!(over.outcome, pb::Outcome::Stopped);
            assert_eq!(over.params_sha256, hash);
        }
        other => panic!("{other:?}"),
    }
}

/// One worker and two runs at the same address, with no coordinator before and between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_staying_worker_waits_for_runs() {
    let address = {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap()
    };
    let refused = Arc::new(AtomicBool::new(false));
    let seen = refused.clone();
    let tell = move |event: WorkerEvent<'_>| {
        if let WorkerEvent::Waiting { error: ConnectError::Refused { .. }, .. } = event {
            seen.store(true, Ordering::Relaxed);
        }
    };
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let mut staying = options(&format!("http://{address}"));
    staying.stay = true;
    let staying = tokio::spawn(work(staying, tell, async { left.await.unwrap_or(()) }));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(refused.load(Ordering::Relaxed));
    for run in [Run::new(&[20, 12, 4], 110, 16, 3), Run::new(&[10, 6, 3], 50, 10, 2)] {
        let served = run.serve_with(Cluster::default(), Clock::new(), Some(address)).await;
        assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    }
    leave.send(()).unwrap();
    assert_eq!(within(staying).await.unwrap().unwrap(), WorkerEnd::ShutDown);
}

/// Whether the worker already had the training set.
async fn at_hand(run: &Run, change: impl FnOnce(&mut nn_net::WorkerOptions)) -> Result<bool, WorkerError> {
    let served = run.serve(1).await;
    let mut options = served.options();
    change(&mut options);
    let log = Arc::new(Mutex::new((false, 0)));
    let kept = log.clone();
    let tell = move |event: WorkerEvent<'_>| match event {
        WorkerEvent::Ready { at_hand } => kept.lock().unwrap().0 = at_hand,
        WorkerEvent::Loading { done, .. } => kept.lock().unwrap().1 = done,
        _ => {}
    };
    let end = within(work(options, tell, std::future::pending())).await?;
    assert!(matches!(end, WorkerEnd::RunOver(_)));
    let expected = served.handle.training_set().bytes();
    assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    let (at_hand, loaded) = *log.lock().unwrap();
    assert_eq!(loaded, if at_hand { 0 } else { expected });
    Ok(at_hand)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn training_sets_are_sent_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    // Larger than a chunk, and not a multiple of one.
    let run = Run::new(&[700, 5, 4], 2000, 500, 1);
    let cached = |options: &mut nn_net::WorkerOptions| options.cache = Some(folder.path().join("cache"));
    assert!(!at_hand(&run, cached).await.unwrap());
    assert!(at_hand(&run, cached).await.unwrap());
    // A damaged file is not used, and is replaced.
    let file = std::fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(!at_hand(&run, cached).await.unwrap());
    assert!(at_hand(&run, cached).await.unwrap());
    assert_eq!(std::fs::read_dir(folder.path().join("cache")).unwrap().count(), 1);
    // The worker's own data serve as well, if they are the same.
    let own = Arc::new(TrainingSet::new(run.data.clone()));
    assert!(at_hand(&run, |options| options.data = Some(own)).await.unwrap());
    let other = Run::new(&[700, 5, 4], 1999, 500, 1);
    let served = run.serve(1).await;
    let mut options = served.options();
    options.data = Some(Arc::new(TrainingSet::new(other.data)));
    match within(work(options, |_| {}, std::future::pending())).await {
        Err(WorkerError::Rejected { reason: pb::RejectReason::Data, .. }) => {}
        end => panic!("{end:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn training_sets_of_numbers_are_sent_too() {
    let samples = 300;
    let values = |n: usize| (0..n).map(|i| (i % 17) as f32 * 0.25 - 1.0).collect::<Vec<f32>>();
    let mut run = Run::with(&[1001, 4, 3], samples, 50, 1, |parts| {
        use nn_core::{Activation, Cost, Model, Output};
        parts.model = Model::new(vec![1001, 4, 3], Activation::Tanh, Output::Linear, Cost::Mse).unwrap();
    });
    let targets = Targets::Values { data: values(samples * 3), width: 3 };
    let features = Features::F32(values(samples * 1001));
    run.data = Arc::new(Dataset::new(features, 1001, targets, Some((7, 143))).unwrap());
    assert!(!at_hand(&run, |_| {}).await.unwrap());
}
