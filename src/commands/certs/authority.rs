//! The private CA: its key, and the certificates that it signs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nn_net::CertificateFacts;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use time::OffsetDateTime;

use super::files::read;
use crate::config::Host;
use crate::failure::Failure;

/// The time by which certificates are backdated, so that they are valid on machines whose clocks are behind.
const EARLIER: Duration = Duration::from_secs(24 * 3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A CA with its key.
#[derive(Debug)]
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    begins: SystemTime,
    ends: SystemTime,
    pem: String,
}

/// The holder of a certificate, which determines its purpose: a worker's certificate cannot serve as the coordinator's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder<'a> {
    Coordinator { hosts: &'a [Host] },
    Worker { name: &'a str },
}

/// A signed certificate.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) pem: String,
    pub(super) ends: SystemTime,
    /// Whether it expires earlier than requested, because its CA does.
    pub(super) shortened: bool,
}

impl Authority {
    /// Creates a CA. Its key signs only certificates, and those cannot sign further ones.
    pub(super) fn new(days: u32, now: SystemTime) -> Result<Self, Failure> {
        let key = new_key()?;
        let (begins, ends) = (now - EARLIER, now + DAY * days);
        let mut params = CertificateParams::default();
        // The name is unique, because software that looks up an issuer by name would confuse two CAs of the same name.
        let id: String = key.der_bytes().iter().skip(1).take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name = common_name(&format!("nn private CA {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = (OffsetDateTime::from(begins), OffsetDateTime::from(ends));
        let pem = params.self_signed(&key).map_err(cannot_sign)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), begins, ends, pem })
    }

    /// Reads the CA in a folder.
    pub(super) fn read(folder: &Path, now: SystemTime) -> Result<Self, Failure> {
        let (certificate, pem) = read_certificate(&folder.join("ca.pem"))?;
        if !certificate.is_ca {
            return Err(Failure::data(format_args!(
                "{} is not a CA's certificate but {}'s",
                folder.join("ca.pem").display(),
                certificate.subject
            ))
            .help("put the CA's certificate back there"));
        }
        let key = read_key(&folder.join("ca.key"))?;
        if key.subject_public_key_info() != certificate.public_key {
            return Err(Failure::data(format_args!(
                "ca.key and ca.pem in {} do not belong together",
                folder.display()
            ))
            .help("put both files of the same CA there, or create a new CA in another folder: nn certs init --dir NEW"));
        }
        if certificate.not_after <= now {
            return Err(Failure::failed(format_args!(
                "the CA in {} can no longer sign: it is valid {}",
                folder.display(),
                certificate.validity(now)
            ))
            .help(
                "create a new one in another folder, and replace all certificates: nn certs init --dir NEW",
            ));
        }
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(cannot_sign)?;
        Ok(Self { issuer, begins: certificate.not_before, ends: certificate.not_after, pem })
    }

    /// Signs a certificate for a key. The certificate does not outlive the CA.
    pub(super) fn sign(
        &self,
        holder: Holder<'_>,
        key: &KeyPair,
        days: u32,
        now: SystemTime,
    ) -> Result<Signed, Failure> {
        let mut params = CertificateParams::default();
        let (name, purpose) = match holder {
            Holder::Coordinator { .. } => ("nn coordinator", ExtendedKeyUsagePurpose::ServerAuth),
            Holder::Worker { name } => (name, ExtendedKeyUsagePurpose::ClientAuth),
        };
        params.distinguished_name = common_name(name);
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        if let Holder::Coordinator { hosts } = holder {
            let names = hosts.iter().map(|host| match host {
                Host::Name(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
                Host::Address(address) => Ok(SanType::IpAddress(*address)),
            });
            params.subject_alt_names = names.collect::<Result<_, _>>().map_err(cannot_sign)?;
        }
        let wanted = now + DAY * days;
        let ends = wanted.min(self.ends);
        params.not_before = OffsetDateTime::from((now - EARLIER).max(self.begins));
        params.not_after = OffsetDateTime::from(ends);
        let pem = params.signed_by(key, &self.issuer).map_err(cannot_sign)?.pem();
        Ok(Signed { pem, ends, shortened: ends < wanted })
    }

    /// The CA's certificate as PEM.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// The end of its validity.
    pub(super) fn ends(&self) -> SystemTime {
        self.ends
    }

    /// The CA's secret key.
    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }
}

/// A new key, of a type that every TLS library supports.
pub(super) fn new_key() -> Result<KeyPair, Failure> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|error| Failure::failed(format_args!("cannot create a key: {error}")))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn cannot_sign(error: rcgen::Error) -> Failure {
    Failure::failed(format_args!("cannot create the certificate: {error}"))
}

/// The first certificate of a PEM file in the CA's folder, and the text of the file.
pub(super) fn read_certificate(path: &Path) -> Result<(CertificateFacts, String), Failure> {
    let text = read_text(path)?;
    let mut all = CertificateFacts::all(text.as_bytes()).map_err(|error| unusable(path, &error))?;
    Ok((all.swap_remove(0), text))
}

/// A key in the CA's folder.
pub(super) fn read_key(path: &Path) -> Result<KeyPair, Failure> {
    // rcgen's errors do not quote the key.
    KeyPair::from_pem(&read_text(path)?).map_err(|error| unusable(path, &error))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::usage(format_args!("there is no {}", path.display())).help(
            "create a CA with nn certs init, or run this on the machine that has the CA and give its folder with --dir",
        ),
        _ => Failure::failed(format_args!("cannot read {}: {error}", path.display())),
    })?;
    String::from_utf8(bytes).map_err(|_| unusable(path, &"it is not a PEM file"))
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::data(format_args!("{} cannot be used: {why}", path.display()))
        .help("replace it with an intact copy")
}

/// The hosts of a certificate.
pub(super) fn hosts_of(certificate: &CertificateFacts) -> Vec<Host> {
    let host =
        |text: &String| text.parse::<IpAddr>().map_or_else(|_| Host::Name(text.clone()), Host::Address);
    certificate.hosts.iter().map(host).collect()
}

/// The paths of a holder's certificate and key.
pub(super) fn paths(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")))
}
