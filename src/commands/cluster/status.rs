//! `nn status`: show a coordinator's progress.

use std::time::Duration;

use nn_net::{DialOptions, proto as pb};
use serde_json::{Value, json};

use super::{runtime, security, sweep_status, table};
use crate::clock::Clock;
use crate::config::StatusConfig;
use crate::failure::{Failure, write_stdout};
use crate::progress::Table;
use crate::signals::StopFlag;

/// Queries the coordinator and prints its status, once or until the run is over.
pub(crate) fn status(config: &StatusConfig) -> Result<(), Failure> {
    let options = DialOptions { security: security::client(&config.security)?, ..DialOptions::default() };
    let runtime = runtime()?;
    let ask = || runtime.block_on(nn_net::status(&config.coordinator, &options)).map_err(Failure::network);
    match config.watch {
        None if config.json => write_stdout(format!("{}\n", as_json(&ask()?))),
        None => write_stdout(in_words(&ask()?)),
        Some(pause) => watch(pause, config.json, ask),
    }
}

/// Asks again and again, until the run is over or a signal arrives: a table that is redrawn on a terminal; elsewhere a line for
/// each answer.
fn watch(
    pause: Duration,
    json: bool,
    ask: impl Fn() -> Result<pb::RunStatus, Failure>,
) -> Result<(), Failure> {
    let stop = StopFlag::install()?;
    let clock = Clock::start();
    let table = Table::new(json);
    let mut workers = table::Workers::default();
    // What was said last, and the file that has the outcome.
    let mut last = None;
    loop {
        let asked = clock.now();
        let status = match ask() {
            Ok(status) => status,
            // A coordinator whose run is over serves its status for a moment only.
            Err(failure) => {
                return Err(match last {
                    Some((last, outcome)) => Failure::network(format_args!(
                        "the coordinator no longer answers; when it last did: {last}"
                    ))
                    .help(format_args!(
                        "a coordinator ends with its work: the outcome is in {outcome} on its machine"
                    )),
                    None => failure,
                });
            }
        };
        let outcome = match status.sweep {
            Some(_) => "sweep.json, in the sweep's folder",
            None => "summary.json, in the run's folder",
        };
        last = Some((headline(&status), outcome));
        let over = status.state() == pb::RunState::Over;
        if json {
            write_stdout(format!("{}\n", as_json(&status)))?;
        } else if over {
            drop(table);
            return write_stdout(in_words(&status));
        } else if table.is_drawn() {
            let (width, height) = table.room();
            let room = table::Room { width, height: height.saturating_sub(1) };
            let mut lines = match &status.sweep {
                Some(_) => sweep_status::lines(&status, room),
                None => workers.lines(&status, room),
            };
            lines.push(headline(&status));
            table.draw(&lines);
        } else {
            write_stdout(format!("{}\n", headline(&status)))?;
        }
        // A signal is looked for often, so that the program ends at once.
        while !over && !stop.is_set() && clock.now().saturating_sub(asked) < pause {
            std::thread::sleep(Duration::from_millis(20));
        }
        if over || stop.is_set() {
            return Ok(());
        }
    }
}

/// The progress in one line.
fn headline(status: &pb::RunStatus) -> String {
    match &status.sweep {
        Some(sweep) => sweep_status::headline(status, sweep),
        None => table::headline(status),
    }
}

/// The status for people.
fn in_words(status: &pb::RunStatus) -> String {
    let mut text = headline(status);
    text.push('\n');
    let lines = match &status.sweep {
        Some(_) => sweep_status::lines(status, table::Room::ENDLESS),
        None => table::Workers::default().lines(status, table::Room::ENDLESS),
    };
    for line in lines {
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
    text
}

pub(in crate::commands) fn as_json(status: &pb::RunStatus) -> Value {
    let workers: Vec<Value> = status.workers.iter().map(of_worker).collect();
    let mut json = json!({
        "state": word(status.state().as_str_name(), "RUN_STATE_"),
        // There is no outcome before the end.
        "outcome": match status.outcome() {
            pb::Outcome::Unspecified => Value::Null,
            outcome => word(outcome.as_str_name(), "OUTCOME_").into(),
        },
        "seconds": status.seconds,
        "waiting_for": status.waiting_for,
        "waiting_seconds": status.waiting_seconds,
        "connections_refused": status.connections_refused,
        "workers": workers,
        "build": status.build,
    });
    let more = match &status.sweep {
        Some(sweep) => json!({ "sweep": sweep_status::as_json(sweep) }),
        None => json!({
            "generation": status.generation,
            "step": status.step,
            "total_steps": status.total_steps,
            "replicas": status.replicas,
            "epoch": status.epoch,
            "epochs": status.epochs,
            "loss": status.loss,
            "samples_per_second": status.samples_per_second,
            "config_hash": status.manifest_hash,
            "refused": status.refused,
            "reissued": status.reissued,
            "quarantined": status.quarantined.iter().map(|gone| json!({
                "worker": gone.worker,
                "name": gone.name,
                "reason": gone.reason,
                "seconds": gone.seconds,
            })).collect::<Vec<_>>(),
        }),
    };
    add(&mut json, more);
    json
}

/// The name of a value of an enumeration, without what all of its names begin with.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

/// Adds the entries of one object to another.
fn add(json: &mut Value, more: Value) {
    if let (Some(json), Value::Object(more)) = (json.as_object_mut(), more) {
        json.extend(more);
    }
}

fn of_worker(w: &pb::WorkerStatus) -> Value {
    let mut json = json!({
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
    });
    if !w.runs.is_empty() {
        add(&mut json, json!({ "runs": w.runs.iter().map(sweep_status::of_run).collect::<Vec<_>>() }));
    }
    json
}
