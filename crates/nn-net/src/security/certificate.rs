//! Certificates, described for people.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use crate::wire::hex;

/// What a certificate says. It is for messages: reading a certificate does not mean trusting it.
///
/// All texts are safe to print: bounded, and without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// The subject's common name; empty if it has none.
    pub name: String,
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The issuer's common name or, without one, its distinguished name.
    pub issuer_name: String,
    /// Whether subject and issuer have the same name.
    pub is_self_issued: bool,
    /// The hosts that it is for: its subject alternative names.
    pub hosts: Vec<String>,
    /// Whether it may sign other certificates.
    pub is_ca: bool,
    /// How many CAs may stand below it in a chain; None for any number.
    pub ca_depth: Option<u32>,
    /// Whether a server may use it.
    pub is_for_servers: bool,
    /// Whether a client may use it.
    pub is_for_clients: bool,
    /// The beginning of its validity.
    pub not_before: SystemTime,
    /// The end of its validity.
    pub not_after: SystemTime,
    /// The kind of its key.
    pub key: String,
    /// The key itself, as a DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
}

/// Why a file has no certificates to read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file is neither PEM nor DER.
    #[error("no certificate in the file")]
    None,
    /// The file is PEM of another kind.
    #[error("no certificate in the file, but a {0}")]
    Other(String),
    /// The certificate cannot be read.
    #[error("damaged certificate ({0})")]
    Damaged(String),
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The longest common name, by X.520.
const LONGEST_NAME: usize = 64;

/// The longest text of another kind. No DNS name is longer.
const LONGEST_TEXT: usize = 256;

impl CertificateFacts {
    /// Reads all certificates of a PEM file, or the one of a DER file. There is at least one.
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub fn all(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        // 0x30 begins a SEQUENCE in DER. As text it is "0", which begins a PEM file only if a comment precedes the PEM.
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
                other = Some(printable(&pem.label, LONGEST_TEXT).to_lowercase());
            }
        }
        match other {
            _ if !found.is_empty() => Ok(found),
            Some(other) => Err(CertificateError::Other(other)),
            None => Err(CertificateError::None),
        }
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let damaged = |why: String| CertificateError::Damaged(printable(&why, LONGEST_TEXT));
        let (rest, x509) = X509Certificate::from_der(der).map_err(|error| damaged(error.to_string()))?;
        if !rest.is_empty() {
            return Err(damaged("bytes follow its end".to_owned()));
        }
        let usage = x509.extended_key_usage().map_err(|error| damaged(error.to_string()))?;
        let allows = |pick: fn(&ExtendedKeyUsage<'_>) -> bool| {
            usage.as_ref().is_none_or(|usage| usage.value.any || pick(usage.value))
        };
        let basic = x509.basic_constraints().map_err(|error| damaged(error.to_string()))?;
        let ca = basic.map(|basic| basic.value).filter(|basic| basic.ca);
        let names = x509.subject_alternative_name().map_err(|error| damaged(error.to_string()))?;
        Ok(Self {
            name: common_name(x509.subject()).unwrap_or_default(),
            subject: distinguished_name(x509.subject()),
            issuer: distinguished_name(x509.issuer()),
            issuer_name: common_name(x509.issuer()).unwrap_or_else(|| distinguished_name(x509.issuer())),
            is_self_issued: x509.subject().as_raw() == x509.issuer().as_raw(),
            hosts: names.iter().flat_map(|names| &names.value.general_names).map(host).collect(),
            is_ca: ca.is_some(),
            ca_depth: ca.and_then(|ca| ca.path_len_constraint),
            is_for_servers: allows(|usage| usage.server_auth),
            is_for_clients: allows(|usage| usage.client_auth),
            not_before: moment(x509.validity().not_before.timestamp()),
            not_after: moment(x509.validity().not_after.timestamp()),
            key: match x509.public_key().parsed() {
                Ok(PublicKey::EC(point)) => format!("EC, {} bits", point.key_size()),
                Ok(PublicKey::RSA(key)) => format!("RSA, {} bits", key.key_size()),
                _ => format!("of the algorithm {}", x509.public_key().algorithm.algorithm),
            },
            public_key: x509.public_key().raw.to_vec(),
            sha256: hex(&Sha256::digest(der)),
        })
    }

    /// What it can be used for, as a phrase.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match (self.is_ca, self.is_for_servers, self.is_for_clients) {
            (true, ..) if self.ca_depth == Some(0) => {
                "a CA: signs the certificates of others, but no further CAs"
            }
            (true, ..) => "a CA: signs the certificates of others",
            (false, true, true) => "a server or a client: a coordinator or a worker",
            (false, true, false) => "a server: a coordinator",
            (false, false, true) => "a client: a worker, nn status or nn doctor",
            (false, false, false) => "neither a server nor a client",
        }
    }

    /// Its validity as a phrase: both dates, and the distance of `now` from them.
    #[must_use]
    pub fn validity(&self, now: SystemTime) -> String {
        let span = format!("from {} to {}", utc_date(self.not_before), utc_date(self.not_after));
        let left = match (self.not_before.duration_since(now), self.not_after.duration_since(now)) {
            (Ok(wait), _) if wait > Duration::ZERO => format!("not valid before {} from now", days(wait)),
            (_, Ok(left)) => format!("{} left", days(left)),
            (_, Err(past)) => format!("expired {} ago", days(past.duration())),
        };
        format!("{span}: {left}")
    }

    /// Days until it expires, rounded down; negative once it has expired.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let left = match self.not_after.duration_since(now) {
            Ok(left) => seconds(left),
            Err(past) => -seconds(past.duration()),
        };
        left.div_euclid(24 * 3600)
    }

    /// Checks that it is valid today, by this machine's clock.
    pub(super) fn check_dates(&self) -> Result<(), String> {
        // rustls reads the same clock.
        let now = UNIX_EPOCH + Duration::from_secs(UnixTime::now().as_secs());
        if now > self.not_after {
            return Err(format!("expired on {}", utc_date(self.not_after)));
        }
        if now < self.not_before {
            return Err(format!("is valid only from {}", utc_date(self.not_before)));
        }
        Ok(())
    }
}

/// The date of a moment in UTC, such as `2026-11-01`.
#[must_use]
pub fn utc_date(moment: SystemTime) -> String {
    let seconds = match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    };
    match ASN1Time::from_timestamp(seconds) {
        Ok(time) => {
            let date = time.to_datetime();
            format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
        }
        Err(_) => format!("{seconds} seconds after 1970"),
    }
}

/// A time in days, or in hours if it is shorter than two days.
fn days(time: Duration) -> String {
    let count = |number: u64, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    if time < 2 * DAY {
        count(time.as_secs() / 3600, "hour")
    } else {
        count(time.as_secs() / DAY.as_secs(), "day")
    }
}

/// A moment by its seconds since 1970. Some systems cannot represent all that a certificate can.
pub(super) fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment =
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moment.unwrap_or(UNIX_EPOCH)
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let found = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    found.map(|name| printable(name, LONGEST_NAME))
}

fn distinguished_name(name: &X509Name<'_>) -> String {
    let text = printable(&name.to_string(), LONGEST_TEXT);
    if text.is_empty() { "nobody".to_owned() } else { text }
}

fn host(name: &GeneralName<'_>) -> String {
    let address = match name {
        GeneralName::DNSName(name) => return printable(name, LONGEST_TEXT),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)),
        other => return printable(&other.to_string(), LONGEST_TEXT),
    };
    address.map_or_else(|_| "an address of the wrong length".to_owned(), |address| address.to_string())
}

/// Text of a peer or a file, fit for a terminal.
fn printable(text: &str, longest: usize) -> String {
    text.chars().take(longest).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> CertificateFacts {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["box.lan".to_owned(), "::1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("a\u{1b}[31m{}", "b".repeat(100)));
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2026, 2, 1);
        CertificateFacts::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn names_are_printable_and_bounded() {
        let facts = facts();
        assert_eq!(facts.name, format!("a\u{fffd}[31m{}", "b".repeat(58)));
        assert_eq!(facts.hosts, ["box.lan", "::1"]);
        assert!(facts.is_self_issued && !facts.is_ca && facts.issuer_name == facts.name);
        assert!(!facts.subject.chars().any(char::is_control));
    }

    #[test]
    fn validity_is_told_by_days() {
        let facts = facts();
        let at = |days: u32| facts.not_before + DAY * days;
        assert_eq!(facts.validity(at(0)), "from 2026-01-02 to 2026-02-01: 30 days left");
        assert_eq!(facts.validity(at(29)), "from 2026-01-02 to 2026-02-01: 24 hours left");
        assert!(facts.validity(at(0) - 3 * DAY).ends_with(": not valid before 3 days from now"));
        assert!(facts.validity(at(33)).ends_with(": expired 3 days ago"));
        assert_eq!([29, 30, 31].map(|days| facts.days_left(at(days))), [1, 0, -1]);
        assert_eq!(facts.days_left(facts.not_after + Duration::from_secs(1)), -1);
    }

    #[test]
    fn dates_of_any_moment() {
        assert_eq!(utc_date(UNIX_EPOCH), "1970-01-01");
        assert_eq!(utc_date(UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31");
        assert_eq!(
            utc_date(UNIX_EPOCH + Duration::from_secs(1 << 50)),
            "1125899906842624 seconds after 1970"
        );
    }
}
