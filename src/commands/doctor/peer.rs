//! Certificates, and what is wrong between two who cannot talk, as findings.

use std::path::Path;

use nn_net::{CertificateFacts, ConnectError};
use serde_json::json;

use super::Finding;
use crate::clock;

/// The check of addresses and ports, which is before all others.
pub(super) const PORT: &str = "port";

/// Days before which a certificate that expires is no news.
const EXPIRES_SOON: i64 = 14;

/// Looks at the certificate that this side shows.
pub(super) fn own_certificate(path: &Path, tell: &mut dyn FnMut(Finding)) {
    const CHECK: &str = "certificate";
    let shown = path.display();
    // It has been read and checked against its key before; it may have vanished since.
    let bytes = std::fs::read(path).unwrap_or_default();
    let own = match CertificateFacts::all(&bytes) {
        Ok(mut all) => all.swap_remove(0),
        Err(error) => {
            tell(Finding::problem(CHECK, format!("{shown}: {error}"), "nn certs worker NAME makes one"));
            return;
        }
    };
    let now = clock::date();
    let found = format!("{shown} is {}'s, valid {}", own.subject, own.validity(now));
    let days = own.days_left(now);
    tell(if !own.is_for_clients || own.is_ca {
        let found =
            format!("{shown} is {}'s, which is {}: no coordinator takes it", own.subject, own.purpose());
        Finding::problem(CHECK, found, "nn certs worker NAME makes one for this side")
    } else if own.not_before > now {
        Finding::problem(
            CHECK,
            found,
            "set the clocks of this machine and of the one that made it, best by NTP",
        )
    } else if own.not_after <= now {
        Finding::problem(CHECK, found, "make a new one where the CA is: nn certs worker NAME --replace")
    } else if days < EXPIRES_SOON {
        Finding::warning(CHECK, found, "make a new one where the CA is: nn certs worker NAME --replace")
    } else {
        Finding::ok(CHECK, found).figures(json!({ "days_left": days }))
    });
}

/// What a coordinator's certificate, which can be trusted, says.
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
            "where the CA is: nn certs coordinator --replace; then restart nn-coord with it",
        )
    } else {
        Finding::ok(CHECK, found)
    };
    finding.figures(json!({ "days_left": days, "hosts": facts.hosts, "issuer": facts.issuer_name }))
}

/// Why something did not work, and what to do about it.
pub(super) fn trouble(check: &'static str, error: &ConnectError) -> Finding {
    let firewall =
        "check that this machine and the coordinator are on one network, and that no firewall drops the port";
    let (found, fix) = match error {
        ConnectError::Untrusted { why, remedy, .. } => {
            (format!("its certificate cannot be trusted: {why}"), (*remedy).to_owned())
        }
        ConnectError::CertificateRefused { why, remedy, .. } => {
            (format!("the coordinator does not let this side in: {why}"), (*remedy).to_owned())
        }
        ConnectError::TokenRefused { why, .. } => (
            format!("the coordinator does not let this side in: {why}"),
            "give --token-file a copy of the file that nn-coord was started with".to_owned(),
        ),
        ConnectError::NotTls { .. } => (
            "what listens there does not speak TLS".to_owned(),
            "write http:// if that is meant, or start nn-coord with --tls-cert and --tls-key".to_owned(),
        ),
        ConnectError::NoTls { .. } => {
            ("TLS was not set up".to_owned(), "say with --tls-ca whom to trust".to_owned())
        }
        ConnectError::Refused { .. } => (
            "nothing listens there: the connection was refused".to_owned(),
            "start nn-coord there, check the port, and have it --listen on 0.0.0.0, [::] or that address"
                .to_owned(),
        ),
        ConnectError::UnknownHost { why, .. } => (
            format!("the host is not known ({why})"),
            "check its spelling, or give its IP address".to_owned(),
        ),
        ConnectError::Unreachable { why, .. } => {
            (format!("it cannot be reached ({why})"), firewall.to_owned())
        }
        // The port is open: what is behind it says nothing.
        ConnectError::TimedOut { after, .. } if check != PORT => (
            format!("what listens there takes connections, but said nothing for {after:.0?}"),
            "check that it is nn-coord's port, and that nn-coord is not stopped or overloaded".to_owned(),
        ),
        ConnectError::TimedOut { after, .. } => {
            (format!("there was no answer within {after:.0?}"), firewall.to_owned())
        }
        ConnectError::NeedsTls { .. } => (
            "what listens there speaks TLS".to_owned(),
            "write https://, and say with --tls-ca whom to trust".to_owned(),
        ),
        ConnectError::NotHttp2 { why, .. } => (
            format!("what listens there does not speak HTTP/2 ({why})"),
            "check that it is nn-coord's port".to_owned(),
        ),
        ConnectError::HungUp { .. } => (
            "what listens there hung up without an answer".to_owned(),
            "check that it is nn-coord's port; if nn-coord speaks TLS, write https:// and give --tls-ca"
                .to_owned(),
        ),
        ConnectError::NotCoordinator { why, .. } => {
            (format!("what listens there is not an nn coordinator ({why})"), "check the port".to_owned())
        }
        other => (other.to_string(), "check that nn-coord runs there, and what it says".to_owned()),
    };
    Finding::problem(check, found, fix)
}
