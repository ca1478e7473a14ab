//! `nn-worker`: compute for a coordinator.

use std::io::Write;
use std::sync::Arc;

use indicatif::HumanBytes;
use nn_data::default_cache_dir;
use nn_net::proto::RejectReason;
use nn_net::{
    DialOptions, TrainingSet, WorkerEnd, WorkerError, WorkerEvent, WorkerMeter, WorkerOptions, work,
};

use super::{interface, runtime, security, stopped};
use crate::commands::scrape::MetricsPort;
use crate::commands::{SPLIT_SEED, isa, load_data_unless, threads};
use crate::config::{WorkerConfig, defaults};
use crate::failure::{Failure, write_stdout};
use crate::signals::StopFlag;
use crate::telemetry::WorkerFigures;

/// Works until the run is over.
pub(crate) fn worker(config: &WorkerConfig) -> Result<(), Failure> {
    let stop = StopFlag::install()?;
    // Checked before data is loaded, so that a typo does not cost that time.
    let bind_to = config.bind_to.as_deref().map(interface::addresses).transpose()?.unwrap_or_default();
    let security = security::client(&config.security)?;
    let port = MetricsPort::bind(&config.metrics, "nn-worker")?;
    let data = match &config.data {
        None => None,
        Some(data) => {
            let options = config.format.load_options(SPLIT_SEED);
            let splits = load_data_unless(&stop, data, options, config.quiet)?;
            Some(Arc::new(TrainingSet::new(Arc::new(splits.train))))
        }
    };
    let mut options = WorkerOptions::new(config.coordinators.clone(), threads(config.threads.get())?, isa()?);
    options.dial = DialOptions { bind_to, security, ..DialOptions::default() };
    options.retry_for = config.retry_for;
    options.name = config.name.clone().unwrap_or_else(host_name);
    options.data = data;
    options.cache = config.cache_dir.clone().or_else(default_cache_dir);
    options.stay = config.stay;
    options.runner = Some(Arc::new(super::runs::Trainer));
    let quiet = config.quiet;
    let figures = port.is_some().then(|| Arc::new(WorkerFigures::new(&options.name)));
    options.meter = figures.clone().map(|figures| figures as Arc<dyn WorkerMeter>);
    let metrics = match (port, &figures) {
        (Some(port), Some(figures)) => Some(port.serve(figures.clone())?),
        _ => None,
    };
    if let (Some(metrics), false) = (&metrics, quiet) {
        let _ = writeln!(std::io::stderr(), "{}", metrics.in_words());
    }
    let mut last = String::new();
    let tell = move |event: WorkerEvent<'_>| {
        if let Some(figures) = &figures {
            figures.tell(&event);
        }
        if quiet {
            return;
        }
        let text = sentence(&event);
        // A repeated message is printed once.
        if !text.is_empty() && text != last {
            let _ = writeln!(std::io::stderr(), "{text}");
            last = text;
        }
    };
    match runtime()?.block_on(work(options, tell, stopped(stop))) {
        Ok(WorkerEnd::RunOver(over)) if !config.quiet && over.params_sha256.is_empty() => {
            write_stdout(format!("the sweep is over: {} runs are done\n", over.steps))
        }
        Ok(WorkerEnd::RunOver(over)) if !config.quiet => write_stdout(format!(
            "the run is over after {} steps; params_sha256 {}\n",
            over.steps, over.params_sha256
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(match &error {
            WorkerError::NoCoordinator => Failure::usage(&error),
            WorkerError::Data(_) | WorkerError::Rejected { reason: RejectReason::Data, .. } => {
                Failure::data(&error)
            }
            _ => Failure::network(&error),
        }),
    }
}

/// An event in words; empty for events that are not worth printing.
fn sentence(event: &WorkerEvent<'_>) -> String {
    match event {
        WorkerEvent::Waiting { error, .. } => format!("waiting: {error}; trying again"),
        WorkerEvent::Joined { coordinator, worker, manifest } => {
            let widths: Vec<String> = manifest.model().widths().iter().map(ToString::to_string).collect();
            format!("joined {coordinator} as worker {worker}: network {}", widths.join("-"))
        }
        WorkerEvent::JoinedRuns { coordinator, worker } => {
            format!("joined {coordinator} as worker {worker}, for whole runs")
        }
        WorkerEvent::Ordered { run } => format!("training run {}", run + 1),
        WorkerEvent::Loading { done, total } if done == total => "training samples received".to_owned(),
        WorkerEvent::Receiving { from: 0, total } => {
            format!("receiving the training samples ({})", HumanBytes(*total))
        }
        WorkerEvent::Receiving { from, total } => format!(
            "receiving the rest of the training samples ({} of {})",
            HumanBytes(total - from),
            HumanBytes(*total)
        ),
        WorkerEvent::Ready { at_hand: true } => "training samples already at hand; computing".to_owned(),
        WorkerEvent::Ready { at_hand: false } => "computing".to_owned(),
        WorkerEvent::Refused { message, .. } => format!("a contribution was rejected: {message}"),
        WorkerEvent::CutOff(limit) => limit.to_string(),
        WorkerEvent::Lost { reason } => format!("the connection is lost: {reason}; reconnecting"),
        _ => String::new(),
    }
}

/// The default name of a worker: that of this machine, if known.
fn host_name() -> String {
    machine_name().unwrap_or_else(|| "worker".to_owned())
}

/// The name of this machine; `None` if it is unknown.
pub(in crate::commands) fn machine_name() -> Option<String> {
    #[cfg(unix)]
    let system = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let system = String::new();
    let name = [
        system,
        std::env::var("HOSTNAME").unwrap_or_default(),
        std::env::var("COMPUTERNAME").unwrap_or_default(),
    ];
    name.iter().map(|name| name.trim()).find(|name| !name.is_empty()).map(str::to_owned)
}

/// The number of threads for each of `workers` on this machine.
pub(super) fn share_of_threads(workers: usize) -> usize {
    (defaults::available_threads().get() / workers.max(1)).max(1)
}
