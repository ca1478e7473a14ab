//! The way to a running coordinator, measured by its probe.

use std::net::IpAddr;
use std::time::Duration;

use nn_net::{DialOptions, ProbeError, Prober};

use crate::commands::cluster::{runtime, security};
use crate::config::ClientSecurityConfig;
use crate::failure::Failure;

/// The number of pings, and the time after which no more are sent.
const PINGS: usize = 200;
const PING_FOR: Duration = Duration::from_secs(1);

/// The retries of a bandwidth measurement while others measure too, and the pause before each.
const RETRIES: usize = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// The way to a coordinator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Bytes a second to it.
    pub(super) up: f64,
    /// Bytes a second from it.
    pub(super) down: f64,
    /// The time of a message in one direction.
    pub(super) latency: Duration,
    /// Whether it is on this machine.
    pub(super) loopback: bool,
}

/// Measures latency and bandwidth.
///
/// # Errors
/// Exit code 4 if the coordinator cannot be reached, or does not answer probes; 2 if a certificate or token cannot be read.
pub(super) fn measure(url: &str, config: &ClientSecurityConfig) -> Result<Measured, Failure> {
    let options = DialOptions { security: security::client(config)?, ..DialOptions::default() };
    runtime()?.block_on(async {
        let mut prober = Prober::connect(url, &options).await.map_err(Failure::network)?;
        let (latency, _) = prober.latency(PINGS, PING_FOR).await.map_err(explained)?;
        let mut measured = prober.bandwidth(latency.median).await;
        for _ in 0..RETRIES {
            if matches!(measured, Err(ProbeError::Exhausted(_))) {
                tokio::time::sleep(PAUSE).await;
                measured = prober.bandwidth(latency.median).await;
            }
        }
        let (up, down) = measured.map_err(explained)?;
        Ok(Measured { up, down, latency: latency.median / 2, loopback: is_here(url) })
    })
}

fn explained(error: ProbeError) -> Failure {
    let help = match &error {
        ProbeError::Exhausted(_) => {
            "try again later: coordinators limit measurements so that they cannot slow a run down"
        }
        ProbeError::Unknown => "use the same version of nn on all machines, or give --link",
        _ => "nn doctor --coordinator URL looks at the way step by step; or give --link",
    };
    Failure::network(error).help(help)
}

/// Whether an address is that of this machine's loopback.
fn is_here(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, authority)| authority);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_network() {
        for here in ["http://127.0.0.1:7654", "https://[::1]:7654", "http://localhost:7654"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in ["http://192.168.1.10:7654", "https://coordinator:7654"] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
