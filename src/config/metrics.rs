//! Where the figures for Prometheus are, and who may read them.

use super::option::{default, unset};
use super::origins::{Origin, Origins};
use super::table::options;
use crate::failure::Failure;

options! {
    /// The options of all programs that have figures for Prometheus.
    MetricsOptions => Metrics {
        "Metrics" {
            /// Serve figures for Prometheus at this address and port, such as 127.0.0.1:9464, under /metrics
            ///
            /// Port 0 takes a free one. Addresses that other machines reach need --metrics-insecure
            metrics_listen: Option<String> = unset().takes("ADDR").example("127.0.0.1:9464".into()).of_command();
            /// Let other machines read the figures of --metrics-listen without a password
            ///
            /// They hold speeds, losses and names, and no data
            metrics_insecure: bool = default(false).of_command();
        }
    }
}

/// Where the figures are, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsConfig {
    /// The address at which to serve figures, if they are wanted.
    pub listen: Option<String>,
    /// Whether other machines may read them.
    pub insecure: bool,
}

impl Metrics {
    /// Checks whether the options fit each other.
    ///
    /// # Errors
    /// Exit code 2, naming the option to blame.
    pub(super) fn resolve(&self, origins: &Origins) -> Result<MetricsConfig, Failure> {
        let key = "metrics-insecure";
        // A variable may be meant for another program that runs here.
        if self.metrics_insecure && self.metrics_listen.is_none() && origins.of(key) != Origin::Variable {
            let subject = origins.subject(key);
            return Err(Failure::usage(format_args!("{subject} has no effect without --metrics-listen"))
                .help("add --metrics-listen, or leave it out"));
        }
        Ok(self.config())
    }

    /// The options, which are checked elsewhere.
    pub(super) fn config(&self) -> MetricsConfig {
        MetricsConfig { listen: self.metrics_listen.clone(), insecure: self.metrics_insecure }
    }
}
