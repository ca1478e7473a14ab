//! Failed TLS handshakes explained, with a remedy.

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::algorithms;
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
                let wanted = expected.to_str();
                if matches!(expected, ServerName::IpAddress(_))
                    && presented.iter().any(|name| name.starts_with("DnsName") && bare(name) == wanted)
                {
                    return untrusted(
                        format!("{wanted} is in it as a host's name (DNS), not as an address (IP)"),
                        ADDRESS,
                    );
                }
                let names: Vec<String> = presented.iter().take(8).map(|name| bare(name)).collect();
                let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
                untrusted(format!("it is for {names}, not for {wanted}"), NAMES)
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
            other => {
                let (why, remedy) = unusable(other);
                untrusted(why, remedy)
            }
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
            AlertDescription::ProtocolVersion => ClientTrouble::Other(TLS13.to_owned()),
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => ClientTrouble::Other(
                "it has no cipher, key exchange or signature algorithm in common with this side; is that nn-coord's port?"
                    .to_owned(),
            ),
            AlertDescription::NoApplicationProtocol => {
                ClientTrouble::Other("it does not speak HTTP/2; is that nn-coord's port?".to_owned())
            }
            other => {
                ClientTrouble::Other(format!("it ended the TLS handshake ({})", words(&format!("{other:?}"))))
            }
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => ClientTrouble::NotTls,
        Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec) => ClientTrouble::NotTls,
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => ClientTrouble::Other(TLS13.to_owned()),
        Error::PeerIncompatible(why) => ClientTrouble::Other(format!(
            "the two sides cannot agree on how to speak TLS ({}); is that nn-coord's port?",
            words(&format!("{why:?}"))
        )),
        Error::PeerMisbehaved(what) => ClientTrouble::Other(format!(
            "it does not keep to TLS ({}); is that nn-coord's port?",
            words(&format!("{what:?}"))
        )),
        Error::InvalidMessage(what) => ClientTrouble::Other(format!(
            "it sent something that is not TLS ({}); is that nn-coord's port?",
            words(&format!("{what:?}"))
        )),
        other => ClientTrouble::Other(format!("the TLS handshake failed: {other}")),
    }
}

const RENEW: &str =
    "make a new one for the coordinator with nn certs coordinator, or check this machine's clock";
const CLOCKS: &str = "check the clocks of this machine and of the one that made it";
const NAMES: &str = "dial it by one of its names, give the expected name with --tls-name, or make a certificate for that host \
                     with nn certs coordinator --host HOST";

const TLS13: &str = "it does not speak TLS 1.3, the only version that is spoken here; is that nn-coord's port, or a proxy that \
                     has to allow TLS 1.3 (nginx: ssl_protocols TLSv1.3)?";
const ADDRESS: &str = "make one for the address with nn certs coordinator --host ADDRESS, or with openssl and \
                       subjectAltName=IP:ADDRESS in place of DNS:ADDRESS";
/// What to do about a signature that is not supported.
const SIGN: &str = "sign it anew with SHA-256 (openssl: -sha256) by a key that is ECDSA on P-256 or P-384, Ed25519, or RSA of at \
                    least 2048 bits; or make one with nn certs";

/// Why a certificate cannot be used at all, and a remedy.
pub(super) fn unusable(error: &CertificateError) -> (String, &'static str) {
    let known = |why: &str, remedy| (why.to_owned(), remedy);
    match error {
        CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            let algorithm = algorithms::signature(signature_algorithm_id);
            (format!("it is signed with {algorithm}, which is not supported"), SIGN)
        }
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => {
            let algorithm = algorithms::signature(signature_algorithm_id);
            let key = algorithms::key(public_key_algorithm_id);
            (
                format!("it is signed with {algorithm} by a key of the kind {key}, which is not supported"),
                SIGN,
            )
        }
        CertificateError::BadEncoding => {
            known("it is damaged", "copy it again, or make a new one with nn certs")
        }
        CertificateError::UnhandledCriticalExtension => known(
            "it has a critical extension that is not supported here",
            "make one without it; nn certs does",
        ),
        // webpki has types for these, which rustls hides.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => known(
                "it is an authority's own certificate, not a host's",
                "give nn-coord a certificate that an authority signed; nn certs init makes both",
            ),
            "UnsupportedCertVersion" => known(
                "it is an X.509 certificate of version 1, which can name no hosts",
                "make one of version 3 with a subjectAltName (openssl x509 -req -extfile), or with nn certs",
            ),
            other => {
                (words(other), "make a new one with nn certs, or find out which server really answers there")
            }
        },
        other => (
            words(&format!("{other:?}")),
            "make a new one with nn certs, or find out which server really answers there",
        ),
    }
}

/// The name of an error in a library, which is written `LikeThis`, as words.
fn words(name: &str) -> String {
    let name =
        name.split(|c: char| !c.is_ascii_alphanumeric()).find(|name| !name.is_empty()).unwrap_or_default();
    let mut words = String::new();
    let mut before = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
        before = c;
    }
    words
}

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
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                "showed a certificate whose signature algorithm is not supported (sign it with SHA-256, or use nn certs)"
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
            AlertDescription::DecryptError => {
                "cannot verify this coordinator's certificate (its signature algorithm is not supported, or it is forged)"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_errors_become_words() {
        for (name, want) in [
            ("NoCipherSuitesInCommon", "no cipher suites in common"),
            ("InvalidCertRequest", "invalid cert request"),
            ("MissingData(\"Foo\")", "missing data"),
            ("UserCanceled", "user canceled"),
            ("", ""),
        ] {
            assert_eq!(words(name), want);
        }
    }

    #[test]
    fn no_error_of_the_library_is_shown_as_code() {
        let errors = [
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus),
            Error::InvalidCertificate(CertificateError::BadEncoding),
            Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
            Error::AlertReceived(AlertDescription::ProtocolVersion),
            Error::AlertReceived(AlertDescription::InternalError),
            Error::AlertReceived(AlertDescription::Unknown(200)),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite),
            Error::InvalidMessage(InvalidMessage::MessageTooLarge),
        ];
        for error in &errors {
            let text = match client_trouble(error) {
                ClientTrouble::Untrusted { why, .. } | ClientTrouble::Other(why) => why,
                other => panic!("{other:?}"),
            };
            let inner = text
                .split(' ')
                .any(|word| word.chars().skip(1).any(|c| c.is_ascii_uppercase()) && word != "TLS");
            let allowed = text.contains("TLSv1.3") || text.contains("HTTP/2");
            assert!(!text.is_empty() && (!inner || allowed), "{text}");
        }
    }
}
