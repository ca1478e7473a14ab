//! `nn certs show`: print the contents of certificates.

use std::path::PathBuf;
use std::time::SystemTime;

use nn_net::CertificateFacts;

use super::files::read;
use crate::failure::{Failure, write_stdout};

/// Prints the certificates in the files.
pub(super) fn show(files: &[PathBuf], now: SystemTime) -> Result<(), Failure> {
    for file in files {
        let bytes = read(file).map_err(|error| {
            Failure::data(format_args!("cannot read {}: {error}", file.display())).help("check the path")
        })?;
        let all = CertificateFacts::all(&bytes).map_err(|error| {
            Failure::data(format_args!("{}: {error}", file.display()))
                .help("give a certificate, such as certs/ca.pem")
        })?;
        for certificate in all {
            let text = format!("{}\n", file.display()) + &describe(&certificate, now);
            write_stdout(text)?;
        }
    }
    Ok(())
}

fn describe(certificate: &CertificateFacts, now: SystemTime) -> String {
    let issuer = if certificate.is_self_issued { "itself" } else { &certificate.issuer };
    let hosts = if certificate.hosts.is_empty() { "none".to_owned() } else { certificate.hosts.join(", ") };
    let lines = [
        ("subject", certificate.subject.clone()),
        ("signed by", issuer.to_owned()),
        ("purpose", certificate.purpose().to_owned()),
        ("hosts", hosts),
        ("valid", certificate.validity(now)),
        ("key", certificate.key.clone()),
        ("SHA-256", certificate.sha256.clone()),
    ];
    lines.iter().map(|(label, value)| format!("  {label:<10} {value}\n")).collect()
}
