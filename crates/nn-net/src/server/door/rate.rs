//! How often an address may dial.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use nn_engine::MAX_WORKERS;

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Duration,
}

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The most at once, after a pause.
    pub burst: f64,
    /// The most per second, in the long run.
    pub second: f64,
}

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self { tokens: rate.burst, filled: now }
    }

    fn fill(&mut self, rate: Rate, now: Duration) {
        let since = now.saturating_sub(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * rate.second).min(rate.burst);
        self.filled = now;
    }

    fn take(&mut self, rate: Rate, now: Duration) -> bool {
        self.fill(rate, now);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

/// A bucket for each address, and one for all addresses together.
#[derive(Debug)]
pub(super) struct Rates {
    each: Rate,
    all: Rate,
    together: Bucket,
    known: HashMap<IpAddr, Bucket>,
}

/// The most addresses remembered at a time: several times as many as workers.
const KNOWN: usize = 4 * MAX_WORKERS;

impl Rates {
    pub(super) fn new(each: Rate, all: Rate) -> Self {
        Self { each, all, together: Bucket::full(all, Duration::ZERO), known: HashMap::new() }
    }

    /// Whether `address` may connect now. An address that dials too often takes nothing from the others.
    pub(super) fn allow(&mut self, address: IpAddr, now: Duration) -> bool {
        if self.known.len() >= KNOWN {
            let each = self.each;
            // An address with a full bucket need not be remembered.
            self.known.retain(|_, bucket| {
                bucket.fill(each, now);
                bucket.tokens < each.burst
            });
            if self.known.len() >= KNOWN {
                // So many addresses are an attack, which the bucket of all addresses limits.
                self.known.clear();
            }
        }
        let bucket = self.known.entry(place(address)).or_insert_with(|| Bucket::full(self.each, now));
        bucket.take(self.each, now) && self.together.take(self.all, now)
    }
}

/// The address that stands for a machine, which may own a whole /64 of IPv6 addresses.
pub(super) fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Rate = Rate { burst: 4.0, second: 2.0 };
    const ALL: Rate = Rate { burst: 100.0, second: 10.0 };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_address_has_its_burst_and_then_its_rate() {
        let mut rates = Rates::new(EACH, ALL);
        let address = "10.0.0.1".parse().unwrap();
        let allowed = (0..100).filter(|_| rates.allow(address, at(0))).count();
        assert_eq!(allowed, 4);
        assert!(!rates.allow(address, at(499)) && rates.allow(address, at(500)));
        let allowed = (0..100).filter(|_| rates.allow(address, at(60_000))).count();
        assert_eq!(allowed, 4, "a long pause fills the bucket, but no more");
    }

    #[test]
    fn a_flood_from_one_address_takes_nothing_from_another() {
        let mut rates = Rates::new(EACH, ALL);
        for _ in 0..10_000 {
            rates.allow("10.0.0.1".parse().unwrap(), at(1));
        }
        assert!(rates.allow("10.0.0.2".parse().unwrap(), at(1)));
    }

    #[test]
    fn many_addresses_share_one_rate_and_are_not_all_remembered() {
        let mut rates = Rates::new(EACH, ALL);
        let allowed = (0..100_000_u32).filter(|&n| rates.allow(IpAddr::V4(n.into()), at(5))).count();
        assert_eq!(allowed, 100);
        assert!(rates.known.len() <= KNOWN);
    }

    #[test]
    fn the_addresses_of_one_machine_count_as_one() {
        let mut rates = Rates::new(EACH, ALL);
        let allowed =
            (0..100_u32).filter(|n| rates.allow(format!("fd00::1:{n:x}").parse().unwrap(), at(0))).count();
        assert_eq!(allowed, 4);
        assert_eq!(place("::ffff:10.0.0.1".parse().unwrap()), place("10.0.0.1".parse().unwrap()));
    }
}
