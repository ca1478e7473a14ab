//! Compares a run with the undisturbed one: they must have the same weights and the same log.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::Value;

use crate::common::Place;
use crate::schedule::{BATCH, EPOCHS, SAMPLES, STEPS, STEPS_PER_EPOCH};

/// The option that sets how often the coordinator writes checkpoints.
pub(crate) const CHECKPOINTS: &str = "--checkpoint-steps 150";

/// The fields that differ between equal runs: times.
const TIMES: [&str; 2] = ["samples_per_second", "seconds"];

/// Compares the run in `net` with the one in `alone`.
pub(crate) fn check(place: &Place) -> Result<(), String> {
    let (net, alone) = (place.summary("net"), place.summary("alone"));
    for name in [
        "params_sha256",
        "config_hash",
        "data_sha256",
        "steps",
        "rounds",
        "epochs",
        "train_loss",
        "test_loss",
    ] {
        same(name, &net[name], &alone[name])?;
    }
    // What the weights change by is a round, if there are any.
    let (unit, done) = if net["rounds"].is_u64() { ("round", "rounds") } else { ("step", "steps") };
    same(done, &net[done], &Value::from(STEPS))?;
    let [net, alone] = ["net", "alone"].map(|out| log(place, out));
    for (number, (net, alone)) in net.iter().zip(&alone).enumerate() {
        same(&format!("line {} of the log", number + 1), net, alone)?;
    }
    same("lines of the log", &net.len(), &alone.len())?;
    let steps: Vec<(Option<u64>, Option<u64>)> = net
        .iter()
        .filter(|line| line["kind"] == unit)
        .map(|line| (line[unit].as_u64(), line["samples"].as_u64()))
        .collect();
    // The last one of an epoch is shorter.
    let samples = |step: u64| BATCH.min(SAMPLES - (step - 1) % STEPS_PER_EPOCH * BATCH);
    let want: Vec<_> = (1..=STEPS).map(|step| (Some(step), Some(samples(step)))).collect();
    same("samples of each step", &steps, &want)?;
    let epochs = net.iter().filter(|line| line["kind"] == "epoch").count() as u64;
    same("epochs in the log", &epochs, &EPOCHS)?;
    let halves: Vec<String> = place.files().into_iter().filter(|name| name.contains(".nn-")).collect();
    same("temporary files", &halves, &Vec::new())
}

/// The log without its [`TIMES`], and without events, which tell what happened to the cluster.
fn log(place: &Place, out: &str) -> Vec<BTreeMap<String, Value>> {
    let text = std::fs::read_to_string(place.at(out).join("metrics.jsonl")).unwrap();
    text.lines()
        .filter(|line| !line.contains("\"kind\":\"event\""))
        .map(|line| {
            let mut line: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
            TIMES.iter().for_each(|name| drop(line.remove(*name)));
            line
        })
        .collect()
}

fn same<T: PartialEq + Debug>(what: &str, got: &T, want: &T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: {got:?}, but {want:?} undisturbed")) }
}
