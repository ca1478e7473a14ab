//! `nn doctor`: examine this machine and the path to a coordinator, and say how to fix what is wrong.

mod folders;
mod machine;
mod network;
mod peer;
mod report;

use nn_data::default_cache_dir;
use nn_net::DialOptions;

use self::report::{Finding, MACHINE, PATH, Report};
use crate::commands::cluster::{runtime, security};
use crate::config::DoctorConfig;
use crate::failure::Failure;

/// Examines the machine and the path, and prints the findings.
pub(crate) fn doctor(config: &DoctorConfig) -> Result<(), Failure> {
    // A flag that names an unreadable file is a usage error, not a finding.
    let options = DialOptions { security: security::client(&config.security)?, ..DialOptions::default() };
    let mut report = Report::new(config.json);
    report.section(MACHINE, "This machine");
    machine::look(&mut |finding| report.add(finding));
    match config.cache_dir.clone().or_else(default_cache_dir) {
        Some(cache) => report.add(folders::look("cache folder", &cache, "--cache-dir")),
        None => report.add(Finding::warning(
            "cache folder",
            "there is none, so every run fetches or receives its samples again",
            "give one with --cache-dir, or set HOME or NN_CACHE_DIR",
        )),
    }
    report.add(folders::look("runs folder", &config.out, "--out"));
    if let Some(url) = &config.coordinator {
        report.section(PATH, &format!("The path to {url}"));
        if let Some((certificate, _)) = &config.security.identity {
            peer::own_certificate(certificate, &mut |finding| report.add(finding));
        }
        runtime()?.block_on(network::look(url, &options, &mut |finding| report.add(finding)));
    }
    report.conclude()
}
