//! Useless connections: half-open, silent, garbage, too many. Training continues, and memory stays small.

mod common;

use std::time::Duration;

use common::{Clock, Run, Served, within, worker};
use nn_engine::{Cluster, Outcome};
use nn_net::{ClientSecurity, DialOptions, DoorLimits, Rate, ServerSecurity, Token, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Limits on connections without a worker and on the handshake, but none on dialling.
fn limits(guests: usize, handshake: u64) -> DoorLimits {
    let endless = Rate { burst: 1e9, second: 1e9 };
    let handshake = Duration::from_millis(handshake);
    DoorLimits { guests, handshake, stranger_bytes: 64 * 1024, each: endless, all: endless }
}

async fn serve(run: &Run, token: bool, limits: DoorLimits) -> Served {
    let mut security = ServerSecurity::default();
    if token {
        security = security.with_token(secret());
    }
    let cluster = Cluster { min_workers: 1, ..Cluster::default() };
    run.serve_behind(cluster, Clock::new(), None, (security, limits)).await
}

fn secret() -> Token {
    Token::parse("open-sesame-open-sesame").unwrap()
}

fn dial() -> DialOptions {
    DialOptions { security: ClientSecurity::default().with_token(secret()), ..DialOptions::default() }
}

async fn connect(served: &Served) -> TcpStream {
    TcpStream::connect(served.url.trim_start_matches("http://")).await.unwrap()
}

/// Waits until the coordinator ends a connection, whatever it says before.
async fn ends(stream: &mut TcpStream) {
    let mut rest = [0; 4096];
    within(async { while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {} }).await;
}

/// Waits until `times` connections were refused for a reason with these words.
async fn refused(served: &Served, words: &str, times: u64) {
    let mut seen = 0;
    within(async {
        while seen < times {
            let refusals = served.handle.take_refusals();
            seen += refusals.iter().filter(|r| r.what.contains(words)).map(|r| r.times).sum::<u64>();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(seen, times, "{words}");
}

/// HTTP/2's preface and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_disconnected() {
    let run = Run::new(&[20, 12, 4], 110, 16, 1);
    let served = serve(&run, false, limits(64, 300)).await;
    // Nothing at all, half a preface, a whole one without a request.
    for said in [&b""[..], &PREFACE[..7], PREFACE] {
        let mut stream = connect(&served).await;
        stream.write_all(said).await.unwrap();
        ends(&mut stream).await;
        refused(&served, "silent for too long", 1).await;
    }
    within(served.stop_and_finish()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_fill_the_memory() {
    let run = Run::new(&[20, 12, 4], 110, 16, 1);
    let served = serve(&run, true, limits(64, 60_000)).await;
    let mut stream = connect(&served).await;
    stream.write_all(PREFACE).await.unwrap();
    // Endless settings, which are useless but allowed.
    let settings = b"\0\0\0\x04\0\0\0\0\0".repeat(1000);
    let mut written = 0;
    within(async {
        while written < 64 << 20 && stream.write_all(&settings).await.is_ok() {
            written += settings.len();
        }
    })
    .await;
    assert!(written < 32 << 20, "{written} bytes were read");
    ends(&mut stream).await;
    within(served.stop_and_finish()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_of_too_many_connections_is_cut_and_workers_stay() {
    let run = Run::new(&[20, 12, 4], 110, 16, 300);
    let served = serve(&run, true, limits(8, 60_000)).await;
    let mut options = served.options();
    options.dial = dial();
    let working = worker(options);
    while served.handle.status().step == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut first = connect(&served).await;
    let mut others = Vec::new();
    for _ in 0..200 {
        others.push(connect(&served).await);
    }
    ends(&mut first).await;
    refused(&served, "too many connections", 193).await;
    // A client with a request still gets through.
    let seen = status(&served.url, &dial()).await.unwrap();
    assert_eq!(seen.workers.len(), 1, "the worker is still there: {seen:?}");
    assert_eq!(within(served.finish()).await, (Outcome::Complete, run.expected()));
    assert!(within(working).await.unwrap().is_ok());
    drop(others);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dialling_too_often_is_refused_for_a_while() {
    let run = Run::new(&[20, 12, 4], 110, 16, 1);
    let slow = Rate { burst: 5.0, second: 4.0 };
    let served = serve(&run, false, DoorLimits { each: slow, ..limits(64, 60_000) }).await;
    for _ in 0..20 {
        connect(&served).await;
    }
    assert!(status(&served.url, &DialOptions::default()).await.is_err());
    // Its bucket fills again.
    within(async {
        while status(&served.url, &DialOptions::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    let seen = served.handle.take_refusals();
    assert!(seen.iter().any(|r| r.what == "dials too often" && r.times >= 10), "{seen:?}");
    within(served.stop_and_finish()).await;
}

/// Several kinds of garbage on several connections at once, while two workers train.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_does_not_change_a_bit() {
    let run = Run::new(&[30, 20, 4], 220, 16, 40);
    for token in [false, true] {
        let served = serve(&run, token, DoorLimits::default()).await;
        let url = served.url.trim_start_matches("http://").to_owned();
        let flood: Vec<_> = (0..8_u8)
            .map(|kind| {
                let url = url.clone();
                tokio::spawn(async move {
                    loop {
                        if let Ok(mut stream) = TcpStream::connect(&url).await {
                            let said: Vec<u8> = match kind % 4 {
                                0 => Vec::new(),
                                1 => PREFACE.to_vec(),
                                2 => (0..5000_u32)
                                    .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                                    .collect(),
                                _ => [PREFACE, &[0xff; 3000]].concat(),
                            };
                            let _ = stream.write_all(&said).await;
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
            })
            .collect();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let mut options = served.options();
                options.dial = dial();
                worker(options)
            })
            .collect();
        assert_eq!(within(served.finish()).await, (Outcome::Complete, run.expected()));
        for worker in workers {
            worker.abort();
        }
        flood.iter().for_each(|task| task.abort());
    }
}
