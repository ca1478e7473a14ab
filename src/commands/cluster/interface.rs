//! `--bind-to`: the interface or address from which a worker connects.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};

use nn_net::LocalAddresses;

use crate::failure::Failure;

/// The local addresses for an interface's name or an address.
///
/// # Errors
/// Exit code 2, with a list of the available interfaces.
pub(super) fn addresses(text: &str) -> Result<LocalAddresses, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        // Binding is the only reliable test: the loopback interface, for one, has more addresses than it lists.
        return match UdpSocket::bind((address, 0)) {
            Ok(_) => Ok(address.into()),
            Err(error) => Err(Failure::usage(format_args!(
                "--bind-to {text} is not an address of this machine: {error}"
            ))
            .help(choice(&interfaces()?))),
        };
    }
    let interfaces = interfaces()?;
    let Some(found) = interfaces.get(text) else {
        return Err(Failure::usage(format_args!(
            "--bind-to {text} is neither an IP address nor an interface with an address"
        ))
        .help(choice(&interfaces)));
    };
    Ok(pick(found))
}

pub(in crate::commands) type Interfaces = BTreeMap<String, Vec<IpAddr>>;

/// The interfaces of this machine with the addresses from which it can connect.
pub(in crate::commands) fn interfaces() -> Result<Interfaces, Failure> {
    let all = if_addrs::get_if_addrs()
        .map_err(|error| Failure::failed(format_args!("cannot list this machine's interfaces: {error}")))?;
    let mut interfaces = Interfaces::new();
    for interface in all {
        let address = interface.ip();
        // A link-local address is meaningful only together with its interface, which is not passed to the socket here.
        if !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            interfaces.entry(interface.name).or_default().push(address);
        }
    }
    Ok(interfaces)
}

/// The first address of each family.
fn pick(addresses: &[IpAddr]) -> LocalAddresses {
    let mut picked = LocalAddresses::default();
    for address in addresses {
        match *address {
            IpAddr::V4(v4) => picked.v4 = picked.v4.or(Some(v4)),
            IpAddr::V6(v6) => picked.v6 = picked.v6.or(Some(v6)),
        }
    }
    picked
}

/// A list of the available interfaces.
fn choice(interfaces: &Interfaces) -> String {
    let list: Vec<String> = interfaces
        .iter()
        .map(|(name, addresses)| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{name} ({})", addresses.join(", "))
        })
        .collect();
    format!("this machine has {}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_interfaces() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(addresses("127.0.0.1").unwrap(), loopback.into());
        let interfaces = interfaces().unwrap();
        let (name, _) = interfaces.iter().find(|(_, found)| found.contains(&loopback)).unwrap();
        assert_eq!(addresses(name).unwrap().v4, Some([127, 0, 0, 1].into()));
        for wrong in ["nn-none0", "203.0.113.77", "2001:db8::77", "127.0.0.1:80", " "] {
            let failure = addresses(wrong).unwrap_err();
            assert_eq!(failure.kind().exit_code(), 2, "{failure}");
            assert!(failure.message().contains(wrong), "{failure}");
            assert!(failure.remedy().unwrap().contains(&format!("{name} (")), "{failure}");
        }
    }

    #[test]
    fn the_first_address_of_each_family_is_picked() {
        let all = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"].map(|address| address.parse().unwrap());
        let picked = pick(&all);
        assert_eq!((picked.v4, picked.v6), (Some([10, 0, 0, 1].into()), Some("fd00::1".parse().unwrap())));
        assert_eq!(pick(&all[2..]).v4, None);
        assert_eq!(pick(&[]), LocalAddresses::default());
    }
}
