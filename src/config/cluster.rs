//! The programs of the cluster: `nn-coord`, `nn-worker` and `nn status`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nn_engine::Cluster;
use nn_net::coordinator_url;

use super::defaults::available_threads;
use super::environment::Environment;
use super::limits::{MAX_SECONDS, MAX_THREADS, MAX_WORKERS};
use super::lists::Addresses;
use super::metrics::{Metrics, MetricsConfig, MetricsOptions};
use super::option::{default, derived, required, unset};
use super::options::{DataFormat, DataOptions};
use super::origins::{Origin, Origins};
use super::plan::Link;
use super::print::{as_comments, as_flags};
use super::security::{
    ClientSecurity, ClientSecurityConfig, ClientSecurityOptions, ServerSecurity, ServerSecurityConfig,
    ServerSecurityOptions,
};
use super::table::{Options, options};
use super::train::{Asked, TrainArgs, TrainConfig};
use super::value::{Interval, text};
use crate::failure::Failure;

options! {
    /// The options of a coordinator, except those of the run.
    CoordOptions => Coord {
        group security: ServerSecurityOptions => ServerSecurity;
        "Cluster" {
            /// Address and port to listen on, such as 0.0.0.0:7654
            listen: String = required().takes("ADDR").common();
            /// Workers needed, besides this machine
            ///
            /// The run begins once so many have joined. A machine that computes itself then goes on whoever leaves; with
            /// --threads 0, every step needs so many
            min_workers: usize = default(1).within(1..=MAX_WORKERS).common();
            /// Workers to start on this machine
            ///
            /// For a first try of a cluster. The coordinator then only coordinates, unless --threads is given
            spawn: usize = default(0).within(0..=MAX_WORKERS).common();
            /// Delay after which another worker repeats the work of a slow one
            ///
            /// In median absolute deviations beyond the worker's usual time
            patience: f64 = default(Cluster::default().patience).within(Interval::Closed(1.0, 1e6));
            /// Seconds to wait for needed workers before the run ends with a checkpoint and exit code 4
            wait_timeout: Option<u64> = derived("no limit").takes("SECONDS").within(1..=MAX_SECONDS);
            /// Speed of this machine's link, to say at the start whether the run will be slower than one machine
            link: Option<Link> = derived("1gbit if other machines can join, else nothing is said")
                .example(Link(125e6));
            /// Fraction of the work that two workers compute, so that their bits can be compared
            audit: f64 = default(0.0).takes("FRACTION").within(Interval::Closed(0.0, 1.0));
        }
    }
}

/// The flags of `nn-coord`.
#[derive(Debug, Args)]
pub struct CoordArgs {
    /// The coordinator's own options.
    #[command(flatten)]
    pub options: CoordOptions,
    /// The options of the run.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// `nn-coord`, checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CoordConfig {
    /// The host and the port to listen on.
    pub listen: String,
    /// Workers from elsewhere that must have joined before the first step begins, and any step if this machine does not
    /// compute; at least 1.
    pub min_workers: usize,
    /// Whether this machine computes, too.
    pub computes: bool,
    /// Workers to start on this machine.
    pub spawn: usize,
    /// Median absolute deviations that a worker may be late, at least 1.
    pub patience: f64,
    /// The longest wait for workers; `None` for no limit.
    pub wait_timeout: Option<Duration>,
    /// The speed of this machine's link, if it is given.
    pub link: Option<Link>,
    /// The fraction of the work that is computed twice, from 0 to 1.
    pub audit: f64,
    /// Who may join.
    pub security: ServerSecurityConfig,
    /// The run.
    pub train: TrainConfig,
}

impl CoordArgs {
    /// Completes the flags with variables, and checks the outcome.
    ///
    /// # Errors
    /// Exit code 2, naming the flag, the variable or the line to blame.
    pub fn check(self, environment: &Environment) -> Result<Asked<CoordConfig>, Failure> {
        let (options, origins) = environment.complete(self.options, None)?;
        let options = options.check(&origins)?;
        let printed = as_comments(&CoordOptions::lines(&options), &origins);
        let flags = as_flags(&CoordOptions::lines(&options), &origins);
        let Coord { security, listen, min_workers, spawn, patience, wait_timeout, link, audit } = options;
        let security = security.resolve(&origins)?;
        Ok(match self.train.check_of_coordinator(environment)? {
            Asked::Print(text) => {
                Asked::Print(format!("{text}\n# ---- Of nn-coord only, not for a file ----\n\n{printed}"))
            }
            Asked::Run(mut train) => {
                train.is_of_coordinator = true;
                // The workers that it starts itself have this machine's threads already.
                let computes = train.given_threads.map_or(spawn == 0, |threads| threads > 0);
                train.program = flags.map(|flags| format!("nn-coord{flags}"));
                Asked::Run(Box::new(CoordConfig {
                    listen,
                    min_workers,
                    computes,
                    spawn,
                    patience,
                    wait_timeout: wait_timeout.map(Duration::from_secs),
                    link,
                    audit,
                    security,
                    train: *train,
                }))
            }
        })
    }
}

options! {
    /// The options of a worker.
    WorkerOptions => Worker {
        group security: ClientSecurityOptions => ClientSecurity;
        group format: DataOptions => DataFormat;
        group metrics: MetricsOptions => Metrics;
        "Coordinator" {
            /// Address of the coordinator, such as 192.168.1.10
            ///
            /// It means http://192.168.1.10:7654; with TLS it is https://192.168.1.10:7654. Of several, separated by
            /// commas, each is tried in turn
            coordinator: Addresses = required().common();
            /// Seconds to retry without success; 0 for one attempt
            retry_seconds: Option<u64> = derived("no limit");
            /// Interface to dial from, such as eth0, or one of this machine's addresses
            bind_to: Option<String> = derived("chosen by the system").takes("INTERFACE|IP");
            /// Name of this worker in the coordinator's table
            name: Option<String> = derived("the machine's").takes("NAME").common();
            /// Wait for the next run when a run is over
            stay: bool = default(false).common();
        }
        "Data" {
            /// Training data of this machine: digits, mnist, fashion-mnist, or a path
            ///
            /// Without it, the coordinator sends the training data
            data: Option<String> = unset().takes("DATA");
            /// Folder for training samples
            ///
            /// The coordinator sends them once
            cache_dir: Option<PathBuf> = derived("the user's cache folder").takes("DIR").common();
        }
        "Run" {
            /// Threads to compute with
            ///
            /// They change the time, never the result
            threads: usize = default(available_threads().get())
                .takes("T")
                .within(1..=MAX_THREADS)
                .of_machine("all of the machine's")
                .common();
            /// Print only warnings and errors
            quiet: bool = default(false);
        }
    }
}

/// `nn-worker`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// The coordinator's addresses in full, at least one.
    pub coordinators: Vec<String>,
    /// The security of the connection.
    pub security: ClientSecurityConfig,
    /// The time to retry without success; `None` for no limit.
    pub retry_for: Option<Duration>,
    /// The interface or the address to dial from.
    pub bind_to: Option<String>,
    /// The worker's name in the coordinator's table.
    pub name: Option<String>,
    /// Whether to wait for the next run.
    pub stay: bool,
    /// Training data of this machine.
    pub data: Option<String>,
    /// How to read that data.
    pub format: DataFormat,
    /// The folder for samples that the coordinator sends.
    pub cache_dir: Option<PathBuf>,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// Whether to print only warnings and errors.
    pub quiet: bool,
    /// The figures for Prometheus.
    pub metrics: MetricsConfig,
}

impl WorkerOptions {
    /// Completes the flags with variables, and checks the outcome.
    ///
    /// # Errors
    /// Exit code 2, naming the flag or the variable to blame.
    pub fn resolve(self, environment: &Environment) -> Result<WorkerConfig, Failure> {
        let (options, origins) = environment.complete(self, None)?;
        // Variables may be meant for another program that runs here.
        let flag = options.format.given().into_iter().find(|key| origins.of(key) == Origin::Flag);
        if let (None, Some(key)) = (&options.data, flag) {
            return Err(Failure::usage(format_args!("--{key} has no effect without --data"))
                .help("the samples that a coordinator sends need no reading"));
        }
        let Worker {
            security,
            format,
            metrics,
            coordinator: Addresses(mut coordinators),
            retry_seconds,
            bind_to,
            name,
            stay,
            data,
            cache_dir,
            threads,
            quiet,
        } = options.check(&origins)?;
        let security = security.resolve(&mut coordinators, &origins)?;
        let subject = origins.subject("coordinator");
        let coordinators: Result<_, _> = coordinators.iter().map(|url| check_url(&subject, url)).collect();
        Ok(WorkerConfig {
            coordinators: coordinators?,
            security,
            retry_for: retry_seconds.map(Duration::from_secs),
            bind_to,
            name,
            stay,
            data,
            format,
            cache_dir,
            threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
            quiet,
            metrics: metrics.resolve(&origins)?,
        })
    }
}

/// The address of a coordinator in full; `subject` names the option that gives it.
pub(super) fn check_url(subject: &str, url: &str) -> Result<String, Failure> {
    coordinator_url(url).map_err(|error| Failure::usage(format_args!("{subject}: {error}")))
}

/// The flags of `nn status`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct StatusArgs {
    /// Address of the coordinator, such as 192.168.1.10, which means http://192.168.1.10:7654, or with TLS
    /// https://192.168.1.10:7654
    #[arg(long, value_name = "URL", value_parser = text)]
    coordinator: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Ask again and again until the run is over; the seconds between two questions [default: 1]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = pause)]
    watch: Option<Duration>,
    /// The security of the connection.
    #[command(flatten)]
    security: ClientSecurityOptions,
}

/// Reads the seconds between two questions.
fn pause(text: &str) -> Result<Duration, String> {
    let seconds: f64 =
        text.parse().map_err(|_| "expected a number of seconds, such as 2 or 0.5".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("it must be from 0.1 to 3600 seconds".to_owned())
    }
}

/// `nn status`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusConfig {
    /// The coordinator's address in full.
    pub coordinator: String,
    /// The security of the connection.
    pub security: ClientSecurityConfig,
    /// Whether to print JSON on standard output.
    pub json: bool,
    /// The time between two questions, if there are to be many.
    pub watch: Option<Duration>,
}

impl StatusArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(mut self) -> Result<StatusConfig, Failure> {
        let coordinators = std::slice::from_mut(&mut self.coordinator);
        let security = self.security.resolve(coordinators, &Origins::default())?;
        let coordinator = check_url("--coordinator", &self.coordinator)?;
        Ok(StatusConfig { coordinator, security, json: self.json, watch: self.watch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::TrainOptions;

    #[test]
    fn a_coordinator_computes_unless_it_starts_workers_or_is_told_not_to() {
        for (threads, spawn, computes) in [
            (None, None, true),
            (None, Some(2), false),
            (Some(3), None, true),
            (Some(3), Some(2), true),
            (Some(0), None, false),
        ] {
            let options =
                CoordOptions { listen: Some("127.0.0.1:0".into()), spawn, ..CoordOptions::default() };
            let train = TrainArgs {
                options: TrainOptions { threads, ..TrainOptions::default() },
                ..TrainArgs::default()
            };
            let asked = CoordArgs { options, train }.check(&Environment::default()).unwrap();
            let Asked::Run(config) = asked else { panic!("nothing was to be printed") };
            assert_eq!(config.computes, computes, "{threads:?} {spawn:?}");
            let wanted = threads.and_then(NonZeroUsize::new).unwrap_or_else(available_threads);
            assert_eq!(config.train.threads, wanted);
        }
    }
}
