//! Findings about certificates and failed connections.

use std::path::Path;

use nn_net::{CertificateFacts, ConnectError};
use serde_json::json;

use super::report::Finding;
use crate::clock;
use crate::commands::cluster::security::EXPIRES_SOON;

/// The name of the check of addresses and ports.
pub(super) const PORT: &str = "port";

/// Checks the certificate that this machine shows.
pub(super) fn own_certificate(path: &Path, tell: &mut dyn FnMut(Finding)) {
    const CHECK: &str = "certificate";
    let shown = path.display();
    // It was read and checked against its key before, but may have been removed since.
    let bytes = std::fs::read(path).unwrap_or_default();
    let own = match CertificateFacts::all(&bytes) {
        Ok(mut all) => all.swap_remove(0),
        Err(error) => {
            tell(Finding::problem(
                CHECK,
                format!("{shown}: {error}"),
                "create one with nn certs worker NAME",
            ));
            return;
        }
    };
    let now = clock::date();
    let found = format!("{shown} is {}'s, valid {}", own.subject, own.validity(now));
    let days = own.days_left(now);
    tell(if !own.is_for_clients || own.is_ca {
        let (subject, purpose) = (&own.subject, own.purpose());
        let found = format!("{shown} is {subject}'s, which is {purpose}: no coordinator accepts it");
        Finding::problem(CHECK, found, "create one for this machine with nn certs worker NAME")
    } else if own.not_before > now {
        Finding::problem(CHECK, found, "set the clocks of this machine and of the CA's machine, best by NTP")
    } else if own.not_after <= now {
        Finding::problem(CHECK, found, "create a new one on the CA's machine: nn certs worker NAME --replace")
    } else if days < EXPIRES_SOON {
        Finding::warning(CHECK, found, "create a new one on the CA's machine: nn certs worker NAME --replace")
    } else {
        Finding::ok(CHECK, found).figures(json!({ "days_left": days }))
    });
}

/// Reports a trusted certificate of a coordinator.
pub(super) fn certificate(facts: &CertificateFacts, address: &str) -> Finding {
    const CHECK: &str = "TLS";
    let days = facts.days_left(clock::date());
    let hosts = if facts.hosts.is_empty() { "no host".to_owned() } else { facts.hosts.join(", ") };
    let found = format!(
        "{address} shows a certificate for {hosts}, signed by {}, {days} {} left",
        facts.issuer_name,
        if days == 1 { "day" } else { "days" }
    );
    let finding = if days < EXPIRES_SOON {
        Finding::warning(
            CHECK,
            found,
            "create a new one on the CA's machine: nn certs coordinator --replace; then restart nn-coord with it",
        )
    } else {
        Finding::ok(CHECK, found)
    };
    finding.figures(json!({ "days_left": days, "hosts": facts.hosts, "issuer": facts.issuer_name }))
}

/// The reason that a connection failed, and how to fix it.
pub(super) fn trouble(check: &'static str, error: &ConnectError) -> Finding {
    let firewall = "check that this machine and the coordinator are on one network, and that no firewall blocks the port";
    let (found, fix) = match error {
        ConnectError::Untrusted { why, remedy, .. } => {
            (format!("its certificate cannot be trusted: {why}"), (*remedy).to_owned())
        }
        ConnectError::CertificateRefused { why, remedy, .. } => {
            (format!("the coordinator refuses this machine: {why}"), (*remedy).to_owned())
        }
        ConnectError::TokenRefused { why, .. } => (
            format!("the coordinator refuses this machine: {why}"),
            "give --token-file a copy of the file that nn-coord was started with".to_owned(),
        ),
        ConnectError::NotTls { .. } => (
            "the server there does not speak TLS".to_owned(),
            "use http:// if that is intended, or start nn-coord with --tls-cert and --tls-key".to_owned(),
        ),
        ConnectError::NoTls { .. } => {
            ("TLS was not set up".to_owned(), "give the trusted CA with --tls-ca".to_owned())
        }
        ConnectError::Refused { .. } => (
            "nothing listens there: the connection was refused".to_owned(),
            "start nn-coord there, check the port, and make it --listen on 0.0.0.0, [::] or that address"
                .to_owned(),
        ),
        ConnectError::UnknownHost { why, .. } => (
            format!("the host is not known ({why})"),
            "check its spelling, or give its IP address".to_owned(),
        ),
        ConnectError::Unreachable { why, .. } => {
            (format!("it cannot be reached ({why})"), firewall.to_owned())
        }
        // The port is open, but the server behind it is silent.
        ConnectError::TimedOut { after, .. } if check != PORT => (
            format!("the server there accepts connections, but sent nothing for {after:.0?}"),
            "check that it is nn-coord's port, and that nn-coord is not stopped or overloaded".to_owned(),
        ),
        ConnectError::TimedOut { after, .. } => {
            (format!("there was no response within {after:.0?}"), firewall.to_owned())
        }
        ConnectError::NeedsTls { .. } => (
            "the server there speaks TLS".to_owned(),
            "use https://, and give the trusted CA with --tls-ca".to_owned(),
        ),
        ConnectError::NotHttp2 { why, .. } => (
            format!("the server there does not speak HTTP/2 ({why})"),
            "check that it is nn-coord's port".to_owned(),
        ),
        ConnectError::HungUp { .. } => (
            "the server there closed the connection without a response".to_owned(),
            "check that it is nn-coord's port; if nn-coord uses TLS, write https:// and give --tls-ca"
                .to_owned(),
        ),
        ConnectError::NotCoordinator { why, .. } => {
            (format!("the server there is not an nn coordinator ({why})"), "check the port".to_owned())
        }
        other => (other.to_string(), "check that nn-coord runs there, and read its messages".to_owned()),
    };
    Finding::problem(check, found, fix)
}
