//! `nn-coord`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use nn_engine::Cluster;
use nn_net::{Coordinator, CoordinatorHandle, CoordinatorOptions, Door, ServerSecurity, Times, Token, serve};
use tokio::net::TcpListener;

use super::children::Children;
use super::security::{self, Doorman};
use super::{runtime, stopped, table};
use crate::commands::train::Job;
use crate::config::CoordConfig;
use crate::failure::{Failure, write_stdout};
use crate::progress::{Table, above};

/// Coordinates a run to its end.
pub(crate) fn coord(config: &CoordConfig) -> Result<(), Failure> {
    let security = security::server(&config.security)?;
    let runtime = runtime()?;
    // Before the data are loaded: a port that is taken should not cost that time.
    let listener = runtime.block_on(bind(&config.listen))?;
    let address = listener.local_addr().map_err(Failure::network)?;
    security::check_exposure(&config.listen, address, &security, config.security.insecure)?;
    // Workers of its own have a door of their own: what the others must show, they have not got.
    let mut doors = Vec::new();
    let token = random_token()?;
    let inside = match config.spawn {
        0 => None,
        _ => {
            let door = runtime.block_on(bind("127.0.0.1:0"))?;
            let address = door.local_addr().map_err(Failure::network)?;
            let token = Token::parse(&token).map_err(|error| Failure::failed(&error))?;
            doors.push(Door::new(door, ServerSecurity::default().with_token(token)));
            Some(address)
        }
    };
    let Job { engine, watch, train, rest } = Job::prepare(&config.train)?;
    let cluster = Cluster {
        min_workers: config.min_workers,
        patience: config.patience,
        wait_timeout: config.wait_timeout,
        audit: config.audit,
        ..engine.cluster().clone()
    };
    let engine = engine.with_cluster(cluster);
    let coordinator = Coordinator::start(engine, train, watch, CoordinatorOptions::default())
        .map_err(|error| Failure::failed(&error))?;
    if !config.train.quiet {
        let text = format!("listening on {address}; workers join with: {}\n", join(config, address));
        above(|| write_stdout(text))?;
    }
    doors.push(Door::new(listener, security));
    let children = match inside {
        None => Children::default(),
        Some(inside) => Children::spawn(config.spawn, inside, &token)?,
    };
    let handle = coordinator.handle();
    let quiet = config.train.quiet;
    let served = runtime.block_on(async {
        let show = tokio::spawn(show(handle.clone(), quiet));
        let told = handle.clone();
        let served = serve(doors, handle, stopped(rest.stop.clone())).await;
        show.abort();
        let _ = show.await;
        if !quiet {
            Doorman::new().tell(&told);
        }
        served
    });
    // The engine's outcome counts even where the socket failed.
    let finished = coordinator.join().map_err(|error| Failure::failed(&error))?;
    let ended = children.finish();
    if ended > 0 {
        let workers = if ended == 1 { "worker" } else { "workers" };
        let text = format!("warning: {ended} {workers} of its own did not end, and had to be ended");
        above(|| {
            let _ = writeln!(std::io::stderr(), "{text}");
        });
    }
    served.map_err(|error| Failure::network(&error))?;
    let (mut watch, times) = (finished.observer, finished.times);
    watch.summarise_cluster(summary_of(&times));
    rest.conclude(&config.train, &finished.engine, watch, finished.outcome)?;
    if !quiet && times.steps > 0 {
        write_stdout(format!("{}\n", where_the_time_went(&times)))?;
    }
    Ok(())
}

/// How workers elsewhere join.
fn join(config: &CoordConfig, address: SocketAddr) -> String {
    let security = &config.security;
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

/// A token that nobody can guess: 256 bits.
fn random_token() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format_args!("the system has no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What `summary.json` says of the cluster.
fn summary_of(times: &Times) -> serde_json::Value {
    serde_json::json!({
        "steps": times.steps,
        "compute_seconds": times.compute.as_secs_f64(),
        "wire_seconds": times.wire.as_secs_f64(),
        "reduce_seconds": times.reduce.as_secs_f64(),
        "wait_seconds": times.wait.as_secs_f64(),
        "observe_seconds": times.observe.as_secs_f64(),
        "bytes_sent": times.bytes_sent,
        "bytes_received": times.bytes_received,
    })
}

/// For people who wonder whether more workers would help.
fn where_the_time_went(times: &Times) -> String {
    let all = times.compute + times.wire + times.reduce + times.wait + times.observe;
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / all.as_secs_f64().max(1e-9);
    format!(
        "a step took {:.3} ms on average: workers computing {:.0} %, the wire {:.0} %, reducing and stepping {:.0} %, waiting \
         for workers {:.0} %, evaluation and files {:.0} %",
        all.as_secs_f64() * 1e3 / times.steps as f64,
        percent(times.compute),
        percent(times.wire),
        percent(times.reduce),
        percent(times.wait),
        percent(times.observe),
    )
}

/// Listens, or explains why not.
async fn bind(listen: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        let failure = |says: String| Failure::network(format!("cannot listen on {listen}: {says}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                failure("another program has that port".to_owned()).help("end it, or choose another port")
            }
            std::io::ErrorKind::AddrNotAvailable => {
                failure("this machine does not have that address".to_owned())
                    .help("0.0.0.0 listens on all of its addresses, 127.0.0.1 for this machine only")
            }
            std::io::ErrorKind::PermissionDenied => {
                failure("that is not permitted".to_owned()).help("choose a port above 1023")
            }
            std::io::ErrorKind::InvalidInput => {
                Failure::usage(format_args!("--listen {listen} is not an address and a port"))
                    .help("write it like 0.0.0.0:7654 or [::]:7654")
            }
            _ => failure(error.to_string()).help("--listen takes an address and a port, like 0.0.0.0:7654"),
        }
    })
}

/// The address that a worker on this machine can dial.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Shows the workers: a table on a terminal, a line elsewhere whenever whom it waits for, or how many there are, changes.
async fn show(handle: CoordinatorHandle, quiet: bool) {
    let mut last = String::new();
    let table = Table::new(quiet);
    let mut doorman = Doorman::new();
    let mut workers = table::Workers::default();
    loop {
        let status = handle.status();
        if !quiet {
            doorman.tell(&handle);
        }
        if table.is_drawn() {
            let (width, height) = table.room();
            let mut lines = workers.lines(&status, table::Room { width, height });
            if table::stands(&status) {
                lines.push(table::headline(&status));
            }
            table.draw(&lines);
        } else if !quiet {
            let line = match status.workers.len() {
                _ if table::stands(&status) => format!("waiting for {}", status.waiting_for),
                0 => String::new(), // nothing is known yet
                1 => "1 worker takes part".to_owned(),
                workers => format!("{workers} workers take part"),
            };
            if line != last && !line.is_empty() {
                let _ = above(|| write_stdout(format!("{line}\n")));
                last = line;
            }
        }
        // A table that changes more often cannot be read; a line should come before those that follow from it.
        let pause = if table.is_drawn() { 250 } else { 20 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
