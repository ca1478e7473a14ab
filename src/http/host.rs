//! The names by which requests call this machine.

use std::net::IpAddr;

/// Whether a host, with or without its port, is a name of this machine that no other can have.
pub(crate) fn is_of_this_machine(host: &str) -> bool {
    let parts = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']'),
        None => Some(host.find(':').map_or((host, ""), |at| host.split_at(at))),
    };
    let Some((name, port)) = parts else { return false };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        && (name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_always_mean_this_machine_pass() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.9.9.9:8080",
            "[::1]:8080",
            "[::1]",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_of_this_machine(host), "{host}");
        }
        for host in [
            "",
            ":8080",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8080",
            "127.0.0.1evil",
            "[::1",
            "[::1].evil.example",
            "127.0.0.1:80.evil.example",
            "192.168.1.10:8080",
            "0.0.0.0:8080",
            "[::]:8080",
        ] {
            assert!(!is_of_this_machine(host), "{host}");
        }
    }
}
