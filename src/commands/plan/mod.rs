//! `nn plan`: what a cluster would be worth for a run, before there is one.
//!
//! | File | Contents |
//! | --- | --- |
//! | `measure.rs` | what steps and rounds cost on this machine |
//! | `model.rs` | what they take with workers behind a network: formulas |
//! | `study.rs` | what rounds cost in accuracy, as measured |
//! | `outlook.rs` | all rows of a plan, and the best of them |
//! | `text.rs` | the table, the advice, and what is not known |

mod link;
mod measure;
mod model;
mod outlook;
mod study;
mod text;

use std::time::Duration;

use nn_engine::Manifest;
use serde_json::{Value, json};

pub(in crate::commands) use self::measure::Bench;
pub(in crate::commands) use self::model::Network;
use self::model::PAYLOAD;
use self::outlook::{Outlook, Question, counts};
pub(in crate::commands) use self::text::time;
use super::style;
use super::train::{Described, beginning};
use crate::config::{Link, LinkSource, PlanConfig};
use crate::failure::{Failure, write_stdout};
use crate::progress::warn;
use crate::signals::StopFlag;

/// Workers to plan for, unless it is said.
const WORKERS: usize = 8;

/// Measures, computes and prints a plan.
pub(crate) fn plan(config: &PlanConfig) -> Result<(), Failure> {
    let stop = StopFlag::install()?;
    // The network first: if it cannot be measured, nothing else is worth the time.
    let network = network(config)?;
    let described = Described::new(&config.train, &stop)?;
    if !config.json && !config.train.quiet {
        for note in config.train.notes().into_iter().chain(described.timing.as_deref()) {
            write_stdout(format!("{note}\n"))?;
        }
        if let Some(base) = &config.train.base {
            write_stdout(format!("{}\n", beginning(base)))?;
        }
    }
    let most = config.workers.unwrap_or(WORKERS);
    let question = Question::new(&config.train, &described, &counts(most as u32))?;
    let bench = Bench {
        compute: &described.compute,
        data: &described.data.train,
        log_steps: config.train.log_steps,
        stop: &stop,
    };
    let (in_rounds, side_by_side) = question.to_measure();
    let costs = bench.costs(&question.run, in_rounds, side_by_side)?;
    let outlook = Outlook::new(&question, costs, network);
    if config.json {
        let json = as_json(&outlook, &question, config, described.compute.threads.count());
        return write_stdout(format!("{json:#}\n"));
    }
    let threads = described.compute.threads.count();
    write_stdout(text::report(&outlook, &question.run, (&described.data.name, threads), &style()))
}

/// The network that was described, or that of a coordinator, measured.
fn network(config: &PlanConfig) -> Result<Network, Failure> {
    let worker_speed = config.worker_speed;
    match &config.link {
        LinkSource::Given(Link(rate), latency) => Ok(link_of(*rate, *latency, worker_speed)),
        LinkSource::Coordinator(url, security) => {
            let found = link::measure(url, security)?;
            if found.loopback {
                warn(format_args!(
                    "{url} is on this machine: what is measured is no network, and workers here share its cores"
                ));
            }
            let link = link_of(found.up, found.latency, worker_speed);
            // What was measured is payload.
            Ok(Network { down: found.down, payload: 1.0, ..link })
        }
    }
}

/// A link with the same speed in both directions.
pub(in crate::commands) fn link_of(rate: f64, latency: Duration, worker_speed: f64) -> Network {
    let latency = latency.as_secs_f64();
    Network { up: rate, down: rate, payload: PAYLOAD, latency, worker_speed, own_worker: false }
}

fn as_json(outlook: &Outlook, question: &Question, config: &PlanConfig, threads: usize) -> Value {
    let (run, network) = (&question.run, &outlook.network);
    let rows = |in_rounds: bool| -> Vec<Value> {
        let rows = outlook.rows.iter().filter(|row| row.replicas.is_some() == in_rounds);
        rows.map(|row| {
            let mut json = json!(row.turn);
            json["bound"] = json!(row.turn.bound());
            json["samples_per_second"] = json!(row.turn.samples_per_second());
            json["times_one_machine"] = json!(row.times);
            json["break_even_link_bits_per_second"] = json!(row.break_even_link.map(|bytes| bytes * 8.0));
            match row.replicas {
                Some(replicas) => {
                    json["replicas"] = json!(replicas);
                    json["times_sooner"] = json!(row.sooner.map(|(least, greatest)| [least, greatest]));
                }
                None => json["break_even_batch_size"] = json!(row.break_even_batch),
            }
            json
        })
        .collect()
    };
    json!({
        "network": {
            "up_bytes_per_second": network.up,
            "down_bytes_per_second": network.down,
            "latency_seconds": network.latency,
            "measured": matches!(config.link, LinkSource::Coordinator(..)),
        },
        "layers": run.model().widths(),
        "parameters": run.model().parameters(),
        "training_samples": run.parts().train_samples,
        "batch_size": run.recipe().batch_size,
        "epochs": run.recipe().epochs,
        "threads": threads,
        "worker_speed": network.worker_speed,
        "costs": outlook.costs,
        "one_machine": {
            "step_seconds": outlook.costs.step,
            "samples_per_second": outlook.alone,
        },
        "synchronous": rows(false),
        "rounds": rows(true),
        "best": outlook.best().map(|row| json!({
            "mode": if row.replicas.is_some() { "rounds" } else { "synchronous" },
            "workers": row.turn.workers,
        })),
        "speedups_measured_on": outlook.study.network,
        "advice": text::advice(outlook),
        "unknown": text::unknown(outlook),
    })
}

/// What `nn-coord` says at its start of a run that will be slower than one machine: see [`text::warning`].
pub(in crate::commands) fn warning(
    run: &Manifest,
    bench: &Bench<'_>,
    network: Network,
    workers: u32,
) -> Result<Option<String>, Failure> {
    let question = Question::of_run(run, workers)?;
    let (in_rounds, side_by_side) = question.to_measure();
    let costs = bench.costs(&question.run, in_rounds, side_by_side)?;
    Ok(text::warning(&Outlook::new(&question, costs, network)))
}
