//! The address of a coordinator, as people write it.

use std::net::Ipv6Addr;

use http::Uri;

use super::error::ConnectError;

/// The default port of coordinators. (`http://` does not mean port 80 here: nobody wants that.)
pub const DEFAULT_PORT: u16 = 7654;

/// The full address of a coordinator, `http://HOST:PORT` or `https://HOST:PORT`. Without a port in the text it is
/// [`DEFAULT_PORT`], and without a scheme `http://`.
///
/// ```
/// use nn_net::coordinator_url;
/// assert_eq!(coordinator_url("10.0.0.7").unwrap(), "http://10.0.0.7:7654");
/// assert_eq!(coordinator_url("http://[::1]:80/").unwrap(), "http://[::1]:80");
/// assert_eq!(coordinator_url("https://10.0.0.7").unwrap(), "https://10.0.0.7:7654");
/// ```
///
/// # Errors
/// Says what is wrong with the text, and how to write an address.
pub fn coordinator_url(text: &str) -> Result<String, ConnectError> {
    let wrong = |why: &str| Err(ConnectError::Url { url: text.to_owned(), why: why.to_owned() });
    let (scheme, authority) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return wrong("it does not begin with http:// or https://"),
        None => ("http", text),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.parse::<Ipv6Addr>().is_ok() {
        // Its last part could be a port.
        return wrong("write an IPv6 address in brackets");
    }
    if authority.contains(['/', '?', '#']) {
        return wrong("there is text after the port");
    }
    if authority.contains('@') {
        return wrong("a user name is not supported");
    }
    // In an IPv6 address, only a colon after the brackets begins a port.
    let tail = authority.rsplit_once(']').map_or(authority, |(_, tail)| tail);
    let (host, port) = match tail.rsplit_once(':') {
        None => (authority, DEFAULT_PORT),
        Some((_, digits)) => {
            let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
            let Some(port) = port.filter(|&port| port > 0) else {
                return wrong("the port must be a number from 1 to 65535");
            };
            (&authority[..authority.len() - digits.len() - 1], port)
        }
    };
    if host.is_empty() {
        return wrong("it has no host");
    }
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_err()) {
        return wrong("the text in the brackets is not an IPv6 address");
    }
    let url = format!("{scheme}://{host}:{port}");
    match url.parse::<Uri>() {
        Ok(uri) if uri.port_u16() == Some(port) && uri.host() == Some(host) => Ok(url),
        Ok(_) => wrong("it has no valid host"),
        Err(error) => wrong(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_filled_in() {
        for (text, want) in [
            ("http://host:80", "http://host:80"),
            ("http://host", "http://host:7654"),
            ("http://host/", "http://host:7654"),
            ("http://10.0.0.1:7000/", "http://10.0.0.1:7000"),
            ("http://[::1]", "http://[::1]:7654"),
            ("http://[::1]:1", "http://[::1]:1"),
            ("[fd00::2]:65535", "http://[fd00::2]:65535"),
            ("[fd00::2]", "http://[fd00::2]:7654"),
            ("host:81", "http://host:81"),
            ("some-host.lan", "http://some-host.lan:7654"),
            ("127.0.0.1", "http://127.0.0.1:7654"),
            ("https://host", "https://host:7654"),
            ("https://[::1]:1/", "https://[::1]:1"),
        ] {
            assert_eq!(coordinator_url(text).as_deref(), Ok(want), "{text}");
            assert_eq!(coordinator_url(want).as_deref(), Ok(want), "a full address stays as it is");
        }
    }

    #[test]
    fn addresses_that_cannot_be_a_coordinator_are_refused() {
        for (text, part) in [
            ("", "no host"),
            ("http://", "no host"),
            (":7654", "no host"),
            ("http://:7654", "no host"),
            ("ftp://host:1", "http://"),
            ("http//host:1", "after the port"),
            ("http:/host", "after the port"),
            ("http://ho st:1", "invalid"),
            ("host name", "invalid"),
            ("host:", "port"),
            ("host:port", "port"),
            ("host:0", "port"),
            ("host:65536", "port"),
            ("host:+1", "port"),
            ("http://host:1/path", "after the port"),
            ("host?x", "after the port"),
            ("me@host", "user name"),
            ("::1", "brackets"),
            ("fd00::2:7654", "brackets"),
            ("http://fd00::2", "brackets"),
            ("a:b:1", ""),
            ("[::1", ""),
            ("[::1]x:1", ""),
            ("[]:1", "IPv6"),
            ("http://[fe80::1%eth0]:7654", "IPv6"),
        ] {
            match coordinator_url(text) {
                Err(error @ ConnectError::Url { .. }) => {
                    assert!(error.to_string().contains(part), "{text}: {error}");
                    assert!(!error.is_worth_retrying());
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
