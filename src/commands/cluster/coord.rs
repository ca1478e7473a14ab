//! `nn-coord`: coordinate a run.

use std::net::SocketAddr;
use std::time::Duration;

use nn_engine::{Cluster, Compute, Outcome};
use nn_net::proto::OWN_WORKER;
use nn_net::{Coordinator, CoordinatorHandle, CoordinatorOptions, Door, ServerSecurity, Token, serve};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::children::Children;
use super::security::{self, Doorman};
use super::{outlook, runtime, stopped, table};
use crate::commands::threads;
use crate::commands::train::{Job, json_line};
use crate::config::{CoordConfig, ServerSecurityConfig};
use crate::failure::{Failure, write_stdout};
use crate::progress::{Table, above, warn};
use crate::show::counted;
use crate::signals::StopFlag;

/// Coordinates a run to its end.
pub(crate) fn coord(config: &CoordConfig) -> Result<(), Failure> {
    let security = security::server(&config.security)?;
    let runtime = runtime()?;
    // Ports are bound before data is loaded, so that a port in use is reported at once.
    let listener = runtime.block_on(bind(&config.listen))?;
    let address = listener.local_addr().map_err(Failure::network)?;
    security::check_exposure(&config.listen, address, &security, config.security.insecure)?;
    let inner = if config.spawn > 0 { Some(InnerDoor::open(&runtime)?) } else { None };

    let Job { engine, watch, train, rest } = Job::prepare(&config.train)?;
    if watch.is_over() {
        return rest.conclude(&config.train, &engine, watch, Outcome::Stopped);
    }
    let cluster = Cluster {
        min_workers: config.min_workers,
        patience: config.patience,
        wait_timeout: config.wait_timeout,
        audit: config.audit,
        ..engine.cluster().clone()
    };
    let engine = engine.with_cluster(cluster);
    let quiet = config.train.quiet;
    if !quiet && let Some(warning) = outlook::at_start(config, address, &engine, (&train, &rest.stop)) {
        warn(warning);
    }
    let own_worker = if config.computes { Some(own_worker(engine.compute())?) } else { None };
    let options = CoordinatorOptions { own_worker, ..CoordinatorOptions::default() };
    let coordinator =
        Coordinator::start(engine, train, watch, options).map_err(|error| Failure::failed(&error))?;
    if let Some(metrics) = &rest.metrics {
        let handle = coordinator.handle();
        metrics.figures().follow(move || (*handle.status()).clone());
    }
    if let Some(page) = &rest.page {
        let handle = coordinator.handle();
        page.follow(move || (*handle.status()).clone());
    }
    if config.train.json {
        json_line(&json!({ "kind": "listening", "address": address.to_string() }));
    }
    if !quiet {
        let text = format!(
            "listening on {address}; workers join with:
  {}
",
            join(&config.security, address)
        );
        above(|| write_stdout(text))?;
    }
    let (mut doors, mut children) = (Vec::new(), Children::default());
    if let Some(InnerDoor { door, address, token }) = inner {
        children = Children::spawn(config.spawn, address, &token)?;
        doors.push(door);
    }
    doors.push(Door::new(listener, security));

    let served = runtime.block_on(serve_and_show(doors, coordinator.handle(), quiet, rest.stop.clone()));
    // The engine's outcome counts even if the socket failed.
    let finished = coordinator.join().map_err(|error| Failure::failed(&error))?;
    let killed = children.finish();
    if killed > 0 {
        warn(format_args!(
            "{} started by this coordinator did not exit and had to be killed",
            counted(killed, "worker")
        ));
    }
    served?;
    let (mut watch, times) = (finished.observer, finished.times);
    let own_threads = if config.computes { config.train.threads.get() } else { 0 };
    watch.summarise_cluster(outlook::summary(&times, own_threads));
    rest.conclude(&config.train, &finished.engine, watch, finished.outcome)?;
    if let Some(why) = finished.own_failure {
        return Err(Failure::failed(format_args!("this machine's part of the work failed: {why}")).help(
            "the run has a checkpoint of its last step: resume it with --resume, or with --threads 0 as well, so that \
             only workers compute",
        ));
    }
    if !quiet && times.steps > 0 {
        write_stdout(format!("{}\n", outlook::at_end(&times, &finished.engine, config.spawn > 0)))?;
    }
    Ok(())
}

/// What this machine computes with: threads of its own, beside those of the engine, which mostly wait.
fn own_worker(engine: &Compute) -> Result<Compute, Failure> {
    Ok(Compute { isa: engine.isa, threads: threads(engine.threads.count())? })
}

/// A door for the workers that the coordinator starts itself. They have a token for it, but not the credentials that other
/// workers must show.
struct InnerDoor {
    door: Door,
    address: SocketAddr,
    token: String,
}

impl InnerDoor {
    fn open(runtime: &Runtime) -> Result<Self, Failure> {
        let listener = runtime.block_on(bind("127.0.0.1:0"))?;
        let address = listener.local_addr().map_err(Failure::network)?;
        let token = security::random_token()?;
        let parsed = Token::parse(&token).map_err(|error| Failure::failed(&error))?;
        let door = Door::new(listener, ServerSecurity::default().with_token(parsed));
        Ok(Self { door, address, token })
    }
}

/// Serves the run until its end, and meanwhile shows the workers and reports refused connections.
async fn serve_and_show(
    doors: Vec<Door>,
    handle: CoordinatorHandle,
    quiet: bool,
    stop: StopFlag,
) -> Result<(), Failure> {
    let show = tokio::spawn(show(handle.clone(), quiet));
    let served = serve(doors, handle.clone(), stopped(stop)).await;
    show.abort();
    let _ = show.await;
    if !quiet {
        handle.take_cuts().iter().for_each(warn);
        Doorman::new().report(handle.take_refusals());
    }
    served.map_err(|error| Failure::network(&error))
}

/// The command with which workers on other machines join.
pub(in crate::commands) fn join(security: &ServerSecurityConfig, address: SocketAddr) -> String {
    let scheme = if security.identity.is_some() { "https" } else { "http" };
    let mut command = format!("nn-worker --coordinator {scheme}://{}", reachable(address));
    for (flags, needed) in [
        (" --tls-ca ca.pem", security.identity.is_some()),
        (" --tls-cert NAME.pem --tls-key NAME.key", security.require_client_cert),
        (" --token-file FILE", security.token_file.is_some()),
    ] {
        if needed {
            command += flags;
        }
    }
    command
}

/// Listens on an address, or explains why that failed.
pub(in crate::commands) async fn bind(listen: &str) -> Result<TcpListener, Failure> {
    bind_for("--listen", listen).await
}

/// [`bind`], for the address of the option `flag`.
pub(in crate::commands) async fn bind_for(flag: &str, listen: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        let failure = |says: String| Failure::network(format!("cannot listen on {listen}: {says}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                failure("another program uses that port".to_owned()).help("stop it, or choose another port")
            }
            std::io::ErrorKind::AddrNotAvailable => {
                failure("this machine does not have that address".to_owned())
                    .help("use 0.0.0.0 for all of its addresses, or 127.0.0.1 for this machine only")
            }
            std::io::ErrorKind::PermissionDenied => {
                failure("permission denied".to_owned()).help("choose a port above 1023")
            }
            std::io::ErrorKind::InvalidInput => {
                Failure::usage(format_args!("{flag} {listen} is not an address and a port"))
                    .help("write it like 0.0.0.0:7654 or [::]:7654")
            }
            _ => failure(error.to_string())
                .help(format_args!("{flag} takes an address and a port, like 0.0.0.0:7654")),
        }
    })
}

/// The address of a page for a browser on this machine.
pub(in crate::commands) fn url(security: &ServerSecurity, address: SocketAddr) -> String {
    let scheme = if security.has_tls() { "https" } else { "http" };
    format!("{scheme}://{}", reachable(address))
}

/// The address at which a worker on this machine reaches the coordinator.
pub(in crate::commands) fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Who trains: so many workers, of which this machine is one if it computes `here`.
fn training(workers: usize, here: bool) -> String {
    match (workers, here) {
        (1, true) => "training on this machine alone".to_owned(),
        (workers, true) => format!("training on this machine and with {}", counted(workers - 1, "worker")),
        (workers, false) => format!("training with {}", counted(workers, "worker")),
    }
}

/// Shows the workers: a table on a terminal; elsewhere a line whenever the number of workers, or what the run waits for,
/// changes.
async fn show(handle: CoordinatorHandle, quiet: bool) {
    let mut last = String::new();
    let table = Table::new(quiet);
    let mut doorman = Doorman::new();
    let mut workers = table::Workers::default();
    loop {
        let status = handle.status();
        if !quiet {
            handle.take_cuts().iter().for_each(warn);
            doorman.report(handle.take_refusals());
        }
        if table.is_drawn() {
            let (width, height) = table.room();
            let mut lines = workers.lines(&status, table::Room { width, height });
            if table::is_stalled(&status) {
                lines.push(table::headline(&status));
            }
            table.draw(&lines);
        } else if !quiet {
            let line = match status.workers.len() {
                _ if table::is_stalled(&status) => format!("waiting for {}", status.waiting_for),
                0 => String::new(), // nothing is known yet
                workers => training(workers, status.workers.iter().any(|w| w.worker == OWN_WORKER)),
            };
            if line != last && !line.is_empty() {
                let _ = above(|| write_stdout(format!("{line}\n")));
                last = line;
            }
        }
        // A table that changes more often is unreadable; a line should appear before the output that follows from it.
        let pause = if table.is_drawn() { 250 } else { 20 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
