//! What `nn-coord` says about time: at the start whether the run will be slower than one machine, at the end where the time
//! of its steps went.

use std::net::SocketAddr;
use std::time::Duration;

use nn_core::Dataset;
use nn_engine::Engine;
use nn_net::Times;

use crate::commands::plan::{Bench, Network, link_of, time, warning};
use crate::config::{CoordConfig, LATENCY, Link};
use crate::signals::StopFlag;

/// The link that is assumed where other machines can join: Ethernet as it is in most rooms.
const ASSUMED: Link = Link(125e6);

/// The fewest workers that make a cluster.
const CLUSTER: usize = 2;

/// A warning if the run, with the workers that it waits for, will be slower than this machine alone. Nothing is assumed, and
/// nothing measured, where no other machine can join, unless the link is given.
pub(super) fn at_start(
    config: &CoordConfig,
    address: SocketAddr,
    engine: &Engine,
    (data, stop): (&Dataset, &StopFlag),
) -> Option<String> {
    let here = address.ip().to_canonical().is_loopback() || config.spawn > 0;
    let Link(rate) = config.link.or((!here).then_some(ASSUMED))?;
    let joining = config.min_workers.max(config.spawn);
    let workers = (joining + usize::from(config.computes)).max(CLUSTER) as u32;
    let compute = engine.compute();
    let bench = Bench { compute, data, log_steps: config.train.log_steps, stop };
    // A run is not refused because its measurement failed; what is wrong with it shows when it begins.
    let network = Network { own_worker: config.computes, ..link_of(rate, LATENCY, 1.0) };
    let text = warning(engine.manifest(), &bench, network, workers).ok()??;
    let assumed = if config.link.is_none() { " (1gbit is assumed; --link says another)" } else { "" };
    Some(format!("{text}{assumed}"))
}

/// The cluster's entry in `summary.json`. `own_threads` is the number of threads with which this machine computed beside
/// the workers.
pub(super) fn summary(times: &Times, own_threads: usize) -> serde_json::Value {
    serde_json::json!({
        "steps": times.steps,
        "own_threads": own_threads,
        "compute_seconds": times.compute.as_secs_f64(),
        "work_seconds": times.work.as_secs_f64(),
        "wire_seconds": times.wire.as_secs_f64(),
        "reduce_seconds": times.reduce.as_secs_f64(),
        "wait_seconds": times.wait.as_secs_f64(),
        "observe_seconds": times.observe.as_secs_f64(),
        "bytes_sent": times.bytes_sent,
        "bytes_received": times.bytes_received,
    })
}

/// The mean time of a step or a round and its parts, which shows whether more workers would help; and how long one worker
/// would have computed alone, unless all of them are on this machine.
pub(super) fn at_end(times: &Times, engine: &Engine, on_this_machine: bool) -> String {
    let all = times.compute + times.wire + times.reduce + times.wait + times.observe;
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / all.as_secs_f64().max(1e-9);
    let (manifest, done) = (engine.manifest(), engine.steps_done());
    let turn = if manifest.rounds().is_some() {
        let steps = manifest.sequential_steps(done) as f64 / done.max(1) as f64;
        format!("a round of {steps:.0} steps")
    } else {
        "a step".to_owned()
    };
    let mut text = format!(
        "{turn} took {:.3} ms on average: workers computing {:.0} %, network {:.0} %, reduction and optimizer {:.0} %, \
         waiting for workers {:.0} %, evaluation and files {:.0} %",
        all.as_secs_f64() * 1e3 / times.steps as f64,
        percent(times.compute),
        percent(times.wire),
        percent(times.reduce),
        percent(times.wait),
        percent(times.observe),
    );
    if !on_this_machine && !times.work.is_zero() {
        let (took, alone) = (time(all.as_secs_f64()), time(times.work.as_secs_f64()));
        text += &format!("\nall of them took {took}; one such worker alone would take about {alone}");
    }
    text
}
