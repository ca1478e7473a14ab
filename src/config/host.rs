//! What a coordinator can be dialled by.

use std::fmt;
use std::net::IpAddr;

use crate::failure::Failure;

/// A name or an address that a certificate can be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A DNS name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Reads what was given to `--host`.
    ///
    /// # Errors
    /// Exit code 2, with what is wrong about it.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Err(Failure::usage(format_args!("--host {text:?}: {why}"))
                .help("give what workers will dial: a name such as box.lan, or an IP address"))
        };
        if text.contains("://") || text.contains('/') {
            return wrong("a certificate is for a host, not for a URL");
        }
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = inside.map_or_else(|| text.parse().ok(), |v6| v6.parse().ok().map(IpAddr::V6));
        if let Some(address) = address {
            return match address {
                _ if address.is_unspecified() => {
                    wrong("that means every address of a machine, and can be listened on but not dialled")
                }
                _ if address.is_multicast() => wrong("that is the address of no machine"),
                _ => Ok(Self::Address(address)),
            };
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
            return wrong("a certificate is for a host, on whatever port: leave the port out");
        }
        match Self::name(&name) {
            Some(host) => Ok(host),
            None => wrong("that is neither an IP address nor the name of a host"),
        }
    }

    /// A DNS name, if it is one. An underscore is taken: container engines make names with them.
    pub(crate) fn name(name: &str) -> Option<Self> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let last = name.rsplit('.').next()?;
        // What ends in a number would be an IPv4 address, and is none.
        let fits =
            name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// Whether it is of use on this machine only.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Address(address) => address.is_loopback(),
        }
    }
}

/// As it is written in a URL: an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Address(v4) => v4.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_people_write_them() {
        for (text, shown) in [
            ("box", "box"),
            ("Box.LAN", "box.lan"),
            ("box.lan.", "box.lan"),
            ("my_box", "my_box"),
            ("10.0.0.7", "10.0.0.7"),
            ("fd00::7", "[fd00::7]"),
            ("[fd00::7]", "[fd00::7]"),
        ] {
            assert_eq!(Host::parse(text).unwrap().to_string(), shown);
        }
        for (text, part) in [
            ("", "neither"),
            ("http://box", "URL"),
            ("box/", "URL"),
            ("box:7654", "port"),
            ("10.0.0.7:7654", "port"),
            ("0.0.0.0", "every address"),
            ("::", "every address"),
            ("224.0.0.1", "no machine"),
            ("[10.0.0.7]", "neither"),
            ("10.0.0", "neither"),
            ("10.0.0.256", "neither"),
            ("-box", "neither"),
            ("a..b", "neither"),
            ("*.lan", "neither"),
            ("bo x", "neither"),
            ("b\u{e4}r", "neither"),
            (&"x".repeat(64), "neither"),
        ] {
            let failure = Host::parse(text).unwrap_err();
            assert_eq!(failure.kind().exit_code(), 2);
            assert!(failure.message().contains(part), "{text:?}: {failure}");
        }
    }
}
