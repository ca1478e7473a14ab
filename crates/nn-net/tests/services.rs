//! Health, reflection, status; and the errors when there is no coordinator.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::services::serving;
use common::{Run, options, within, worker};
use nn_engine::Outcome;
use nn_net::proto as pb;
use nn_net::{ConnectError, DialOptions, WorkerError, status, watch, work};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_reflection_and_status() {
    let run = Run::new(&[20, 12, 4], 110, 16, 3);
    let served = run.serve(1).await;
    serving(&served.url, "nn.v1.Coordinator", "nn.v1.Runs").await;

    let now = status(&served.url, &DialOptions::default()).await.unwrap();
    assert_eq!((now.state(), now.step, now.total_steps), (pb::RunState::Waiting, 0, 21));
    assert_eq!(now.manifest_hash, run.manifest.hash());
    assert!(now.waiting_for.contains("1 worker"), "{}", now.waiting_for);

    // It is renewed on request.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let later = status(&served.url, &DialOptions::default()).await.unwrap();
    assert!(later.seconds - now.seconds >= 0.02, "{} and {}", now.seconds, later.seconds);

    let interval = Duration::from_millis(50);
    let mut watched = watch(&served.url, interval, &DialOptions::default()).await.unwrap();
    let working = worker(served.options());
    let mut last = now;
    while let Some(next) = within(watched.message()).await.unwrap() {
        assert!(next.step >= last.step);
        last = next;
    }
    assert_eq!((last.state(), last.step), (pb::RunState::Over, 21));
    assert_eq!(last.outcome(), pb::Outcome::Complete);
    assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    within(working).await.unwrap().unwrap();
}

async fn failure(url: &str) -> ConnectError {
    let mut options = options(url);
    options.retry_for = Some(Duration::ZERO);
    options.dial.timeout = Duration::from_millis(500);
    match within(work(options, |_| {}, std::future::pending())).await {
        Err(WorkerError::Connect { error }) => error,
        end => panic!("{end:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_says_why_it_cannot_connect() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(failure(&url).await, ConnectError::Refused { .. }));
    assert!(matches!(failure("https://127.0.0.1:1").await, ConnectError::NoTls { .. }));
    assert!(matches!(failure("http://127.0.0.1:1/path").await, ConnectError::Url { .. }));

    // An HTTP/1.1 server.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let error = failure(&url).await;
    assert!(matches!(error, ConnectError::NotHttp2 { .. } | ConnectError::HungUp { .. }), "{error:?}");
    server.abort();

    // Another gRPC server.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server =
        tokio::spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming));
    let error = failure(&url).await;
    assert!(matches!(error, ConnectError::NotCoordinator { .. }), "{error:?}");
    server.abort();
}

/// If the first address fails, the second one is dialled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_addresses_are_tried() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let run = Run::new(&[20, 12, 4], 110, 16, 1);
    let served = run.serve(1).await;
    let port = served.url.rsplit(':').next().unwrap().to_owned();
    let mut options = served.options();
    options.coordinators = vec![nobody, format!("http://localhost:{port}")];
    options.dial.bind_to = IpAddr::from([127, 0, 0, 1]).into();
    let working = worker(options);
    assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    within(working).await.unwrap().unwrap();
}
