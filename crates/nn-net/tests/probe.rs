//! Probes: who answers, how fast the path is, and that probes cannot become a burden.

mod common;

use std::time::Duration;

use common::{Run, within, worker};
use nn_core::Isa;
use nn_engine::{Outcome, arithmetic_fingerprint};
use nn_net::{DialOptions, ProbeError, Prober, proto};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_measured_and_the_run_does_not_notice() {
    let run = Run::new(&[20, 12, 4], 110, 16, 3);
    let served = run.serve(1).await;
    let mut prober = Prober::connect(&served.url, &DialOptions::default()).await.unwrap();
    assert!(prober.serves().await.unwrap());
    let (latency, pong) = within(prober.latency(40, Duration::from_secs(10))).await.unwrap();
    assert_eq!(
        (pong.protocol, pong.arithmetic.clone()),
        (proto::PROTOCOL, arithmetic_fingerprint(Isa::best()))
    );
    assert!(pong.build.starts_with("nn "), "{}", pong.build);
    assert_eq!(latency.pings, 40);
    assert!(pong.round_trip <= latency.median && latency.median <= latency.p99, "{latency:?}");
    // It is the same clock; the question may have taken all of the round trip.
    assert!(pong.ahead.abs() <= pong.round_trip.as_secs_f64(), "{pong:?}");
    let (there, back) = within(prober.bandwidth(latency.median)).await.unwrap();
    assert!(there > 1e6 && back > 1e6, "{there} {back}");

    let working = worker(served.options());
    assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    within(working).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_measure_too_much_have_to_wait() {
    let run = Run::new(&[20, 12, 4], 110, 16, 1);
    let served = run.serve(1).await;
    let options = DialOptions::default();
    let mut prober = Prober::connect(&served.url, &options).await.unwrap();
    let mut measured = 0;
    let error = loop {
        match within(prober.bandwidth(Duration::ZERO)).await {
            Ok(_) => measured += 1,
            Err(error) => break error,
        }
        assert!(measured < 20, "the budget is never used up");
    };
    // All callers share the budget, but a ping costs nothing.
    let mut another = Prober::connect(&served.url, &options).await.unwrap();
    assert!(matches!(&error, ProbeError::Exhausted(text) if text.contains("try again")), "{error:?}");
    assert!(matches!(another.bandwidth(Duration::ZERO).await, Err(ProbeError::Exhausted(_))));
    another.ping().await.unwrap();
    assert!((4..=8).contains(&measured), "{measured}");
    let working = worker(served.options());
    assert_eq!(served.finish().await, (Outcome::Complete, run.expected()));
    within(working).await.unwrap().unwrap();
}
