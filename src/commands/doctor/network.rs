//! Checks of the path to a coordinator, from its name to its bandwidth. Each check runs only if the previous ones passed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use indicatif::HumanDuration;
use nn_engine::arithmetic_fingerprint;
use nn_net::{ConnectError, DialOptions, Latency, Pong, ProbeError, Prober, certificate, proto};
use serde_json::json;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::peer;
use super::report::Finding;
use crate::clock::Clock;
use crate::commands::isa;

/// The time limit for looking up a name, and for connecting to an address.
const PATIENCE: Duration = Duration::from_secs(3);

/// The number of pings, and the time after which no more are sent.
const PINGS: usize = 200;
const PING_FOR: Duration = Duration::from_secs(2);

/// The retries of a bandwidth measurement while others measure too, and the pause before each.
const RETRIES: usize = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// Beyond these figures a cluster is slower than one of its machines, for most networks.
const SLOW_LATENCY: Duration = Duration::from_millis(5);
const SLOW_BYTES: f64 = 10e6;

/// The differences between clocks, in seconds, that give a warning and a problem.
const CLOCK_WARNING: f64 = 5.0;
const CLOCK_PROBLEM: f64 = 12.0 * 3600.0;

/// Checks the path, up to the first problem.
pub(super) async fn look(url: &str, options: &DialOptions, tell: &mut dyn FnMut(Finding)) {
    let Some(addresses) = names(url, tell).await else { return };
    let Some(reached) = ports(&addresses, options, tell).await else { return };
    if url.starts_with("https://") {
        // On the connections that are already open: a coordinator logs connections without a handshake.
        let mut trusted = 0;
        for (address, stream) in reached {
            match certificate(url, stream, options).await {
                Ok(facts) => {
                    trusted += 1;
                    tell(peer::certificate(&facts, &address.to_string()));
                }
                Err(error) => tell(peer::trouble("TLS", &error)),
            }
        }
        if trusted == 0 {
            return;
        }
    }
    let Some(mut prober) = coordinator(url, options, tell).await else { return };
    measure(&mut prober, tell).await;
}

/// All addresses of the host.
async fn names(url: &str, tell: &mut dyn FnMut(Finding)) -> Option<Vec<SocketAddr>> {
    const CHECK: &str = "name";
    let authority = url.split_once("://").map_or(url, |(_, authority)| authority);
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return Some(vec![address]); // there is no name to look up
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let clock = Clock::start();
    let found: io::Result<Vec<SocketAddr>> = match timeout(PATIENCE, lookup_host(authority)).await {
        Ok(found) => found.map(Iterator::collect),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the name servers do not respond")),
    };
    let took = clock.now();
    let mut addresses = match found {
        Ok(addresses) if !addresses.is_empty() => addresses,
        found => {
            let why = found.err().map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
            let fix = "check its spelling, give its IP address, or add it to /etc/hosts";
            tell(Finding::problem(CHECK, format!("{host} is not known ({why})"), fix));
            return None;
        }
    };
    let mut once = Vec::new();
    addresses.retain(|address| {
        !once.contains(address) && {
            once.push(*address);
            true
        }
    });
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let found = format!("{host} is {} ({})", list.join(", "), short(took));
    tell(if took > Duration::from_secs(1) {
        Finding::warning(CHECK, found, "give its IP address, or check this machine's name servers")
    } else {
        Finding::ok(CHECK, found)
    });
    Some(addresses)
}

/// The addresses that accept connections, with an open connection to each.
async fn ports(
    addresses: &[SocketAddr],
    options: &DialOptions,
    tell: &mut dyn FnMut(Finding),
) -> Option<Vec<(SocketAddr, TcpStream)>> {
    const CHECK: &str = peer::PORT;
    let mut tried = Vec::new();
    for &address in addresses {
        let clock = Clock::start();
        let result = match timeout(PATIENCE.min(options.timeout), TcpStream::connect(address)).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        tried.push((address, result, clock.now()));
    }
    let some = tried.iter().any(|(_, result, _)| result.is_ok());
    let mut reached = Vec::new();
    for (address, result, took) in tried {
        let url = address.to_string();
        let error = match result {
            Ok(stream) => {
                let micros = took.as_micros() as u64;
                let found = format!("{address} accepts connections ({})", short(took));
                tell(Finding::ok(CHECK, found).figures(json!({ "connect_micros": micros })));
                reached.push((address, stream));
                continue;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => ConnectError::Refused { url },
                io::ErrorKind::TimedOut => ConnectError::TimedOut { url, after: PATIENCE },
                _ => ConnectError::Unreachable { url, why: error.to_string() },
            },
        };
        let trouble = peer::trouble(CHECK, &error);
        let found = format!("{address}: {}", trouble.found);
        tell(if !some {
            Finding { found, ..trouble }
        } else {
            // Workers try all addresses in turn, so one that works is enough.
            Finding::warning(CHECK, found, "give a working address instead of the name, or fix this one")
        });
    }
    some.then_some(reached)
}

/// Checks that the peer is a coordinator that accepts this machine, and that both run the same version.
async fn coordinator(url: &str, options: &DialOptions, tell: &mut dyn FnMut(Finding)) -> Option<Prober> {
    const CHECK: &str = "coordinator";
    let (mut prober, serves) = match connect(url, options).await {
        Ok(connected) => connected,
        Err(error) => {
            tell(peer::trouble(CHECK, &error));
            return None;
        }
    };
    let pong = match prober.ping().await {
        Ok(pong) => pong,
        Err(ProbeError::Connect(error)) => {
            let check = if matches!(error, ConnectError::TokenRefused { .. }) { "token" } else { CHECK };
            tell(peer::trouble(check, &error));
            return None;
        }
        Err(error) => {
            tell(Finding::problem(CHECK, error.to_string(), "use the same version of nn on all machines"));
            return None;
        }
    };
    let own = concat!("nn ", env!("CARGO_PKG_VERSION"));
    let build: String = pong.build.chars().take(64).collect();
    tell(if serves {
        Finding::ok(CHECK, "it speaks gRPC and accepts this machine and new workers")
    } else {
        let fix = "start the next run, or --resume this one";
        Finding::warning(CHECK, "it speaks gRPC and accepts this machine, but its run is over", fix)
    });
    let same = "use the same version of nn on all machines";
    tell(if pong.protocol != proto::PROTOCOL {
        let found =
            format!("it is {build} with protocol {}, this is {own} with {}", pong.protocol, proto::PROTOCOL);
        Finding::problem("version", found, same)
    } else if build != own {
        Finding::warning("version", format!("it is {build}, this is {own}; the protocol is the same"), same)
    } else {
        Finding::ok("version", format!("both are {build} with protocol {}", pong.protocol))
    });
    let Ok(isa) = isa() else { return Some(prober) }; // a bad NN_ISA is reported by the check of the processor
    let here = arithmetic_fingerprint(isa);
    tell(if here == pong.arithmetic {
        Finding::ok("fingerprint", format!("both compute the same bits ({}…)", &here[..12]))
    } else {
        let found = "the two machines compute different bits, so the coordinator refuses this one";
        let fix =
            "use the same version of nn on both; run nn doctor on each to see which one computes wrongly";
        Finding::problem("fingerprint", found, fix)
    });
    Some(prober)
}

async fn connect(url: &str, options: &DialOptions) -> Result<(Prober, bool), ConnectError> {
    let prober = Prober::connect(url, options).await?;
    let serves = prober.serves().await?;
    Ok((prober, serves))
}

/// Latency, clocks and bandwidth.
async fn measure(prober: &mut Prober, tell: &mut dyn FnMut(Finding)) {
    let (latency, pong) = match prober.latency(PINGS, PING_FOR).await {
        Ok(measured) => measured,
        Err(error) => {
            tell(lost("latency", error));
            return;
        }
    };
    tell(latency_finding(latency));
    tell(clocks(&pong));
    let mut measured = prober.bandwidth(latency.median).await;
    for _ in 0..RETRIES {
        if matches!(measured, Err(ProbeError::Exhausted(_))) {
            tokio::time::sleep(PAUSE).await;
            measured = prober.bandwidth(latency.median).await;
        }
    }
    match measured {
        Ok((there, back)) => tell(bandwidth_finding(there, back)),
        Err(ProbeError::Exhausted(why)) => tell(Finding::warning(
            "bandwidth",
            format!("not measured: {why}"),
            "try again later: coordinators limit measurements so that they cannot slow a run down",
        )),
        Err(error) => tell(lost("bandwidth", error)),
    }
}

fn lost(check: &'static str, error: ProbeError) -> Finding {
    match error {
        ProbeError::Connect(error) => peer::trouble(check, &error),
        error => Finding::problem(check, error.to_string(), "use the same version of nn on all machines"),
    }
}

fn latency_finding(latency: Latency) -> Finding {
    let Latency { pings, median, p99 } = latency;
    let found = format!("{} round trip; 1 in 100 takes {} ({pings} pings)", short(median), short(p99));
    let fix = "use a cable instead of a radio link, and no VPN: a step waits for the network at least once";
    let finding = if median > SLOW_LATENCY {
        Finding::warning("latency", found, fix)
    } else {
        Finding::ok("latency", found)
    };
    let micros = |time: Duration| time.as_micros() as u64;
    finding.figures(json!({ "pings": pings, "median_micros": micros(median), "p99_micros": micros(p99) }))
}

fn clocks(pong: &Pong) -> Finding {
    let off = pong.ahead.abs();
    let unsure = pong.round_trip.as_secs_f64() / 2.0;
    let figures = json!({ "ahead_seconds": pong.ahead, "unsure_seconds": unsure });
    let fix =
        "set both clocks by NTP (timedatectl set-ntp true): certificates are valid only between two dates";
    let way = if pong.ahead > 0.0 { "ahead of" } else { "behind" };
    let apart = Duration::from_secs_f64(off.min(1e12));
    let found = format!("the coordinator's is {} {way} this machine's", short(apart));
    let finding = if off > CLOCK_PROBLEM {
        Finding::problem("clock", found, fix)
    } else if off > CLOCK_WARNING {
        Finding::warning("clock", found, fix)
    } else if off <= unsure {
        Finding::ok("clock", format!("both agree to within {}", short(Duration::from_secs_f64(unsure))))
    } else {
        Finding::ok("clock", found)
    };
    finding.figures(figures)
}

fn bandwidth_finding(there: f64, back: f64) -> Finding {
    let mega = |rate: f64| {
        let mega = rate / 1e6;
        if mega < 10.0 { format!("{mega:.1}") } else { format!("{mega:.0}") }
    };
    let found = format!("{} MB/s to the coordinator, {} MB/s from it", mega(there), mega(back));
    let figures = json!({ "bytes_per_second_there": there, "bytes_per_second_back": back });
    if there.min(back) < SLOW_BYTES {
        let fix = "use gigabit Ethernet, and check cable and switch: every step moves 4 bytes per parameter both ways";
        return Finding::warning("bandwidth", found, fix).figures(figures);
    }
    Finding::ok("bandwidth", found).figures(figures)
}

/// A time with about three significant digits.
fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        _ => HumanDuration(time).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::Verdict;

    fn pong(ahead: f64) -> Pong {
        Pong {
            protocol: 1,
            build: String::new(),
            arithmetic: String::new(),
            round_trip: Duration::from_millis(1),
            ahead,
        }
    }

    #[test]
    fn clocks_that_differ() {
        assert_eq!(clocks(&pong(0.0004)).found, "both agree to within 500 µs");
        let behind = clocks(&pong(-2.5));
        assert_eq!((behind.verdict, behind.found.contains("2.5 s behind")), (Verdict::Ok, true));
        let ahead = clocks(&pong(61.0));
        assert_eq!((ahead.verdict, ahead.found.contains("61.0 s ahead of")), (Verdict::Warning, true));
        assert_eq!(clocks(&pong(-1e9)).verdict, Verdict::Problem);
        assert_eq!(clocks(&pong(1e300)).verdict, Verdict::Problem);
    }

    #[test]
    fn slow_paths() {
        let latency = |millis| {
            let time = Duration::from_millis(millis);
            latency_finding(Latency { pings: 9, median: time, p99: time * 2 })
        };
        assert_eq!(latency(1).verdict, Verdict::Ok);
        assert_eq!(latency(40).verdict, Verdict::Warning);
        assert_eq!(latency(40).found, "40.0 ms round trip; 1 in 100 takes 80.0 ms (9 pings)");
        assert_eq!(bandwidth_finding(1e8, 1e8).verdict, Verdict::Ok);
        let slow = bandwidth_finding(1e8, 5.4e6);
        assert_eq!(slow.verdict, Verdict::Warning);
        assert_eq!(slow.found, "100 MB/s to the coordinator, 5.4 MB/s from it");
    }
}
