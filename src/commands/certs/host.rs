//! The names and addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::commands::cluster::{interfaces, machine_name};
use crate::config::Host;
use crate::failure::Failure;

/// The hosts of a coordinator on this machine: first `given`, then those that other machines can reach, then those that
/// only this machine can.
///
/// # Errors
/// If the system cannot list its interfaces.
pub(super) fn hosts_of_this_machine(given: &[Host]) -> Result<Vec<Host>, Failure> {
    let mut hosts = given.to_vec();
    // Bridges of virtual machines and containers come last, because workers are told to use the first address.
    let (inner, outer): (Vec<_>, Vec<_>) = interfaces()?.into_iter().partition(|(name, _)| {
        ["docker", "br-", "virbr", "veth", "lxc", "podman", "cni"].iter().any(|p| name.starts_with(p))
    });
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (_, of_one) in outer.into_iter().chain(inner) {
        addresses.extend(of_one.iter().filter(|address| !address.is_loopback()));
    }
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    hosts.extend(v4.into_iter().chain(v6).map(Host::Address));
    hosts.extend(machine_name().and_then(|name| Host::name(&name)));
    hosts.push(Host::Name("localhost".to_owned()));
    hosts.push(Host::Address(Ipv4Addr::LOCALHOST.into()));
    hosts.push(Host::Address(Ipv6Addr::LOCALHOST.into()));
    let mut once: Vec<Host> = Vec::new();
    for host in hosts {
        if !once.contains(&host) {
            once.push(host);
        }
    }
    Ok(once)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_names_and_given_ones_come_first() {
        let given = [Host::parse("box.lan").unwrap(), Host::parse("127.0.0.1").unwrap()];
        let hosts = hosts_of_this_machine(&given).unwrap();
        assert_eq!(hosts[..2], given);
        for needed in ["localhost", "[::1]"] {
            assert!(hosts.iter().any(|host| host.to_string() == needed), "{hosts:?}");
        }
        assert_eq!(hosts.iter().filter(|host| host.to_string() == "127.0.0.1").count(), 1, "{hosts:?}");
    }
}
