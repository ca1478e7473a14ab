//! `nn status`: show a coordinator's progress.

use nn_net::{DialOptions, proto as pb};
use serde_json::{Value, json};

use super::{runtime, security, table};
use crate::config::StatusConfig;
use crate::failure::{Failure, write_stdout};

/// Queries the coordinator and prints its status.
pub(crate) fn status(config: &StatusConfig) -> Result<(), Failure> {
    let options = DialOptions { security: security::client(&config.security)?, ..DialOptions::default() };
    let asked = nn_net::status(&config.coordinator, &options);
    let status = runtime()?.block_on(asked).map_err(Failure::network)?;
    if config.json {
        return write_stdout(format!("{}\n", as_json(&status)));
    }
    let mut text = table::headline(&status);
    text.push('\n');
    for line in table::Workers::default().lines(&status, table::Room::ENDLESS) {
        text += &line;
        text.push('\n');
    }
    for gone in &status.quarantined {
        text += &format!("{} {} is in quarantine: {}\n", gone.worker, gone.name, gone.reason);
    }
    if status.refused > 0 || status.reissued > 0 {
        text += &format!(
            "{} contributions were rejected, {} nodes were reissued\n",
            status.refused, status.reissued
        );
    }
    if status.connections_refused > 0 {
        text += &format!("{} connections were refused\n", status.connections_refused);
    }
    write_stdout(text)
}

fn as_json(status: &pb::RunStatus) -> Value {
    let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
    let workers: Vec<Value> = status
        .workers
        .iter()
        .map(|w| {
            json!({
                "worker": w.worker,
                "name": w.name,
                "address": w.address,
                "threads": w.threads,
                "instructions": w.instructions,
                "state": word(w.state().as_str_name(), "WORKER_STATE_"),
                "share": w.share,
                "samples_per_second": w.samples_per_second,
                "bytes_sent": w.bytes_sent,
                "bytes_received": w.bytes_received,
                "bytes_per_second": w.bytes_per_second,
                "silent_seconds": w.silent_seconds,
                "bytes_queued": w.bytes_queued,
                "refused": w.refused,
                // Only if the coordinator requires certificates.
                "certificate": (!w.certificate.is_empty()).then_some(&w.certificate),
            })
        })
        .collect();
    json!({
        "state": word(status.state().as_str_name(), "RUN_STATE_"),
        // A run has no outcome before its end.
        "outcome": match status.outcome() {
            pb::Outcome::Unspecified => Value::Null,
            outcome => word(outcome.as_str_name(), "OUTCOME_").into(),
        },
        "generation": status.generation,
        "step": status.step,
        "total_steps": status.total_steps,
        "replicas": status.replicas,
        "epoch": status.epoch,
        "epochs": status.epochs,
        "loss": status.loss,
        "samples_per_second": status.samples_per_second,
        "seconds": status.seconds,
        "config_hash": status.manifest_hash,
        "waiting_for": status.waiting_for,
        "waiting_seconds": status.waiting_seconds,
        "refused": status.refused,
        "reissued": status.reissued,
        "connections_refused": status.connections_refused,
        "workers": workers,
        "quarantined": status.quarantined.iter().map(|gone| json!({
            "worker": gone.worker,
            "name": gone.name,
            "reason": gone.reason,
            "seconds": gone.seconds,
        })).collect::<Vec<_>>(),
        "build": status.build,
    })
}
