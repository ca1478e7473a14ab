//! Failed TLS handshakes explained, with a remedy.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerMisbehaved};

use super::certificate::{moment, utc_date};

/// Why a handshake with a coordinator failed, from the client's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientTrouble {
    /// The coordinator's certificate cannot be trusted.
    Untrusted { why: String, remedy: &'static str },
    /// The coordinator refuses this side's certificate, or requires one.
    Refused { why: &'static str, remedy: &'static str },
    /// The server does not speak TLS.
    NotTls,
    /// Another reason.
    Other(String),
}

/// Explains an error of rustls to a client.
pub(crate) fn client_trouble(error: &Error) -> ClientTrouble {
    let untrusted = |why: String, remedy| ClientTrouble::Untrusted { why, remedy };
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired => untrusted("it has expired".to_owned(), RENEW),
            CertificateError::ExpiredContext { not_after, .. } => {
                untrusted(format!("it expired on {}", date_of(*not_after)), RENEW)
            }
            CertificateError::NotValidYet => untrusted("it is not valid yet".to_owned(), CLOCKS),
            CertificateError::NotValidYetContext { not_before, .. } => {
                untrusted(format!("it is valid only from {}", date_of(*not_before)), CLOCKS)
            }
            CertificateError::NotValidForName => untrusted("it is for another host".to_owned(), NAMES),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names: Vec<String> = presented.iter().take(8).map(|name| bare(name)).collect();
                let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
                untrusted(format!("it is for {names}, not for {}", expected.to_str()), NAMES)
            }
            CertificateError::UnknownIssuer => untrusted(
                "none of the authorities trusted here signed it".to_owned(),
                "give --tls-ca the ca.pem of the authority that did, or find out which server really answers there",
            ),
            CertificateError::BadSignature => untrusted(
                "its signature is not that of the authority that it names".to_owned(),
                "give --tls-ca the ca.pem of the authority that signed it, or find out which server really answers there",
            ),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => untrusted(
                "it is not a coordinator's certificate".to_owned(),
                "give nn-coord the certificate that nn certs init made, or find out which server really answers there",
            ),
            // webpki has a type for it, which rustls hides.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => untrusted(
                "it is an authority's own certificate, not a host's".to_owned(),
                "give nn-coord a certificate that an authority signed; nn certs init makes both",
            ),
            other => untrusted(other.to_string(), "find out which server really answers there"),
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => ClientTrouble::Refused {
                why: "it requires a certificate, and none was shown",
                remedy: "give this side one with --tls-cert and --tls-key; nn certs worker NAME makes one",
            },
            AlertDescription::CertificateExpired => ClientTrouble::Refused {
                why: "by the coordinator's clock, the certificate shown has expired or is not valid yet",
                remedy: "make a new one with nn certs worker NAME, or check both clocks",
            },
            AlertDescription::UnknownCA => ClientTrouble::Refused {
                why: "the authority that signed the certificate shown is not its --tls-ca",
                remedy: "show a certificate of the coordinator's own authority; nn certs worker NAME makes one there",
            },
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => ClientTrouble::Refused {
                why: "it does not accept the certificate shown",
                remedy: "show one that nn certs worker NAME made for the coordinator's authority",
            },
            other => ClientTrouble::Other(format!("the TLS handshake was refused: {other:?}")),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => ClientTrouble::NotTls,
        Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec) => ClientTrouble::NotTls,
        Error::PeerIncompatible(why) => ClientTrouble::Other(format!(
            "it does not support TLS 1.3 ({why:?}), which is the only version spoken here"
        )),
        other => ClientTrouble::Other(format!("the TLS handshake failed: {other}")),
    }
}

const RENEW: &str =
    "make a new one for the coordinator with nn certs coordinator, or check this machine's clock";
const CLOCKS: &str = "check the clocks of this machine and of the one that made it";
const NAMES: &str = "dial it by one of its names, give the expected name with --tls-name, or make a certificate for that host \
                     with nn certs coordinator --host HOST";

/// Why a coordinator refused a client, in fixed words: nothing that a stranger sends is repeated.
pub(crate) fn server_words(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "showed no certificate (start it with --tls-cert and --tls-key)",
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "showed a certificate that has expired (make a new one with nn certs worker NAME)"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "showed a certificate that is not valid yet (check the clocks)"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "showed a certificate that the authority of --tls-ca did not sign"
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "showed a certificate that is not a worker's (make one with nn certs worker NAME)"
            }
            _ => "showed a certificate that cannot be used",
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA => {
                "does not trust the authority of this coordinator's certificate (give it the right --tls-ca)"
            }
            AlertDescription::CertificateExpired => {
                "found this coordinator's certificate expired, or not valid yet (check the clocks)"
            }
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
                "does not accept this coordinator's certificate: it may be for another host (dial one of its names)"
            }
            _ => "ended the TLS handshake",
        },
        Error::InvalidMessage(_) => "does not speak TLS (workers dial https://, with --tls-ca)",
        Error::PeerIncompatible(_) => "does not support TLS 1.3",
        Error::NoApplicationProtocol => "does not speak HTTP/2",
        _ => "failed in the TLS handshake",
    }
}

fn date_of(time: rustls::pki_types::UnixTime) -> String {
    utc_date(moment(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)))
}

/// The bare name in rustls's `DnsName("host")` or `IpAddress(127.0.0.1)`.
fn bare(presented: &str) -> String {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(presented);
    if let Ok(address) = inside.parse::<std::net::IpAddr>() {
        return address.to_string(); // rustls writes 0::1
    }
    inside.trim_matches('"').chars().filter(|c| !c.is_control()).take(64).collect()
}
