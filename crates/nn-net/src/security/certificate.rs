//! What a certificate says, for people.

use std::net::IpAddr;

use rustls::pki_types::UnixTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

/// What a certificate says of itself. Nothing is trusted for it; it is for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// The subject's common name; empty if it has none.
    pub name: String,
    /// The hosts that it is for: names and IP addresses.
    pub hosts: Vec<String>,
    /// Who signed it: the issuer's common name, or all that is known of it.
    pub issuer: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl CertificateFacts {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let common_name = |name: &x509_parser::x509::X509Name<'_>| {
            let found = name.iter_common_name().next().and_then(|name| name.as_str().ok());
            found.map(clean)
        };
        let hosts = match certificate.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().filter_map(host).collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            name: common_name(certificate.subject()).unwrap_or_default(),
            hosts,
            issuer: common_name(certificate.issuer())
                .unwrap_or_else(|| clean(&certificate.issuer().to_string())),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }

    /// Days until it expires, rounded down; negative if it has.
    #[must_use]
    pub fn days_left(&self) -> i64 {
        (self.not_after - now()).div_euclid(24 * 3600)
    }

    /// Whether it is valid today, by this machine's clock.
    pub(super) fn check_dates(&self) -> Result<(), String> {
        if now() > self.not_after {
            return Err(format!("expired on {}", date(self.not_after)));
        }
        if now() < self.not_before {
            return Err(format!("is valid from {} only", date(self.not_before)));
        }
        Ok(())
    }
}

/// By this machine's clock. rustls looks at the same one.
fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// A time as people write it, in UTC.
pub(super) fn date(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds)
        .map_or_else(|_| format!("second {seconds} of 1970"), |time| time.to_string())
}

/// Without what could confuse a terminal, and not endless: a peer has chosen it.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(clean(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}
