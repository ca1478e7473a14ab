//! What is in a certificate, for people.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::public_key::PublicKey;

/// The facts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Whom it is for.
    pub(crate) subject: String,
    /// Who has signed it.
    pub(crate) issuer: String,
    /// Whether it has the same name as its issuer.
    pub(crate) self_made: bool,
    /// Its subject alternative names: the hosts that it is for.
    pub(crate) hosts: Vec<String>,
    /// Whether it may sign others, and how many of them may stand below each other.
    pub(crate) ca: Option<Option<u32>>,
    /// Whether it can be a server's, a client's.
    pub(crate) server: bool,
    pub(crate) client: bool,
    /// When it is valid.
    pub(crate) begins: SystemTime,
    pub(crate) ends: SystemTime,
    /// The sort of its key.
    pub(crate) key: String,
    /// The key itself, as it is in the certificate: a SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// SHA-256 of all of it.
    pub(crate) sha256: String,
    /// As it was read.
    pub(crate) der: Vec<u8>,
}

/// Why a file has no certificates to show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CertificateError {
    /// Neither PEM nor DER.
    #[error("it holds no certificate")]
    None,
    /// PEM, but of something else.
    #[error("it holds no certificate, but a {0}")]
    Other(String),
    /// PEM or DER that breaks off or is wrong.
    #[error("its certificate is damaged ({0})")]
    Damaged(String),
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Certificate {
    /// All certificates of a PEM file, or the one of a DER file.
    pub(crate) fn all(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        // 0x30 begins a SEQUENCE, and is "0" in a text: a PEM file would begin with one only by way of a remark.
        if bytes.first() == Some(&0x30) && !bytes.windows(5).any(|five| five == b"-----") {
            return Ok(vec![Self::from_der(bytes)?]);
        }
        let mut found = Vec::new();
        let mut other = None;
        for pem in Pem::iter_from_buffer(bytes) {
            let pem = pem.map_err(|error| CertificateError::Damaged(error.to_string()))?;
            if pem.label == "CERTIFICATE" {
                found.push(Self::from_der(&pem.contents)?);
            } else {
                other = Some(printable(&pem.label).to_lowercase());
            }
        }
        match other {
            _ if !found.is_empty() => Ok(found),
            Some(other) => Err(CertificateError::Other(other)),
            None => Err(CertificateError::None),
        }
    }

    /// From its bytes.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let damaged = |why: String| CertificateError::Damaged(printable(&why));
        let (rest, x509) = X509Certificate::from_der(der).map_err(|error| damaged(error.to_string()))?;
        if !rest.is_empty() {
            return Err(damaged("there is more after its end".to_owned()));
        }
        let usage = x509.extended_key_usage().map_err(|error| damaged(error.to_string()))?;
        let may = |pick: fn(&x509_parser::extensions::ExtendedKeyUsage<'_>) -> bool| {
            usage.as_ref().is_none_or(|usage| usage.value.any || pick(usage.value))
        };
        let basic = x509.basic_constraints().map_err(|error| damaged(error.to_string()))?;
        let names = x509.subject_alternative_name().map_err(|error| damaged(error.to_string()))?;
        let hosts = names.iter().flat_map(|names| &names.value.general_names).map(host).collect();
        Ok(Self {
            subject: name(x509.subject()),
            issuer: name(x509.issuer()),
            self_made: x509.subject().as_raw() == x509.issuer().as_raw(),
            hosts,
            ca: basic.filter(|basic| basic.value.ca).map(|basic| basic.value.path_len_constraint),
            server: may(|usage| usage.server_auth),
            client: may(|usage| usage.client_auth),
            begins: moment(x509.validity().not_before.timestamp()),
            ends: moment(x509.validity().not_after.timestamp()),
            key: match x509.public_key().parsed() {
                Ok(PublicKey::EC(point)) => format!("EC, {} bits", point.key_size()),
                Ok(PublicKey::RSA(key)) => format!("RSA, {} bits", key.key_size()),
                _ => format!("of the algorithm {}", x509.public_key().algorithm.algorithm),
            },
            public_key: x509.public_key().raw.to_vec(),
            sha256: Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect(),
            der: der.to_vec(),
        })
    }

    /// What it is for.
    pub(crate) fn purpose(&self) -> String {
        match (self.ca, self.server, self.client) {
            (Some(Some(0)), ..) => "a CA: signs the certificates of others, but no further CAs".to_owned(),
            (Some(_), ..) => "a CA: signs the certificates of others".to_owned(),
            (None, true, true) => "a server or a client: a coordinator or a worker".to_owned(),
            (None, true, false) => "a server: a coordinator".to_owned(),
            (None, false, true) => "a client: a worker, nn status or nn doctor".to_owned(),
            (None, false, false) => "neither a server nor a client".to_owned(),
        }
    }

    /// When it is valid, and how long that is from `now`.
    pub(crate) fn validity(&self, now: SystemTime) -> String {
        let span = format!("from {} to {}", date(self.begins), date(self.ends));
        let left = match (self.begins.duration_since(now), self.ends.duration_since(now)) {
            (Ok(wait), _) if wait > Duration::ZERO => format!("not valid before {} from now", days(wait)),
            (_, Ok(left)) => format!("{} left", days(left)),
            (_, Err(past)) => format!("expired {} ago", days(past.duration())),
        };
        format!("{span}: {left}")
    }
}

/// A time in days, or in hours where it is less than two days.
pub(crate) fn days(time: Duration) -> String {
    let count = |number: u64, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    if time < 2 * DAY {
        count(time.as_secs() / 3600, "hour")
    } else {
        count(time.as_secs() / DAY.as_secs(), "day")
    }
}

/// The date of a moment, in UTC.
pub(crate) fn date(moment: SystemTime) -> String {
    let date = OffsetDateTime::from(moment);
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

fn name(name: &X509Name<'_>) -> String {
    let text = printable(&name.to_string());
    if text.is_empty() { "nobody".to_owned() } else { text }
}

fn host(name: &GeneralName<'_>) -> String {
    let address = match name {
        GeneralName::DNSName(name) => return printable(name),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)),
        other => return printable(&other.to_string()),
    };
    address.map_or_else(|_| "an address of a wrong length".to_owned(), |address| address.to_string())
}

/// What others wrote goes to a terminal: without characters that could steer it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
