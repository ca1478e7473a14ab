//! The door through which workers come for runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nn_net::{Door, RunsServer, ServeError, ServerSecurity, serve_runs};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::there::Counter;
use crate::commands::cluster::{Doorman, bind, join, runtime, security};
use crate::commands::isa;
use crate::config::ServerSecurityConfig;
use crate::failure::Failure;

/// How often refused connections are reported.
const REPORT: Duration = Duration::from_millis(250);

/// A socket that listens.
pub(super) struct Open {
    runtime: Runtime,
    listener: TcpListener,
    security: ServerSecurity,
    address: SocketAddr,
    config: ServerSecurityConfig,
}

/// A socket that is served.
pub(super) struct Serving {
    /// What is served; it gives its status.
    pub(super) server: RunsServer,
    runtime: Runtime,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Open {
    /// Listens.
    pub(super) fn bind(listen: &str, config: &ServerSecurityConfig) -> Result<Self, Failure> {
        let security = security::server(config)?;
        let runtime = runtime()?;
        let listener = runtime.block_on(bind(listen))?;
        let address = listener.local_addr().map_err(Failure::network)?;
        security::check_exposure(listen, address, &security, config.insecure)?;
        Ok(Self { runtime, listener, security, address, config: config.clone() })
    }

    /// How workers join.
    pub(super) fn in_words(&self) -> String {
        format!("listening on {}; workers join with:\n  {}", self.address, join(&self.config, self.address))
    }

    /// Serves in the background.
    pub(super) fn serve(self, counter: Arc<Counter>, quiet: bool) -> Result<Serving, Failure> {
        let Self { runtime, listener, security, .. } = self;
        let server = RunsServer::new(counter, isa()?);
        let served = runtime.spawn(serve_runs(vec![Door::new(listener, security)], server.clone()));
        let report = server.clone();
        if !quiet {
            drop(runtime.spawn(async move {
                let mut doorman = Doorman::new();
                loop {
                    doorman.report(report.take_refusals());
                    tokio::time::sleep(REPORT).await;
                }
            }));
        }
        Ok(Serving { server, runtime, served })
    }
}

impl Serving {
    /// Waits until workers have left.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let served = self.runtime.block_on(self.served);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        match served {
            Ok(served) => served.map_err(|error| Failure::network(&error)),
            Err(_) => Err(Failure::failed("the network's thread has failed; its message is above")),
        }
    }
}
