//! `nn plan`: what it takes beside the options of the run.

use std::time::Duration;

use clap::{Arg, Args};
use toml::de::DeValue;

use super::cluster::check_url;
use super::environment::Environment;
use super::limits::MAX_WORKERS;
use super::option::{default, derived, unset};
use super::security::{ClientSecurity, ClientSecurityConfig, ClientSecurityOptions};
use super::table::{Options as _, options};
use super::train::{Asked, TrainArgs, TrainConfig};
use super::value::{Interval, Value, Wrong};
use crate::failure::Failure;

/// The speed of a link, in bytes a second and direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link(pub f64);

/// The slowest and the fastest link that make sense, in bytes a second: 10 kbit/s and 10 Tbit/s.
const LINKS: (f64, f64) = (1.25e3, 1.25e12);

/// Units of a link's speed, and the bytes a second in each. Bytes have a capital B.
const RATES: [(&str, f64); 6] =
    [("kbit", 125.0), ("mbit", 125e3), ("gbit", 125e6), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)];

/// Parts a number from its unit.
fn parted(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..at].parse().ok()?;
    Some((number, text[at..].trim()))
}

impl Value for Link {
    const NAME: &'static str = "SPEED";

    fn expected() -> String {
        "a speed such as \"1gbit\" or \"125MB/s\"".into()
    }

    fn expected_text() -> String {
        "a speed such as 1gbit or 125MB/s".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let usual = "expected a speed such as 100mbit, 1gbit, 2.5gbit or 125MB/s";
        let (number, unit) = parted(text).ok_or(usual)?;
        let unit = unit.strip_suffix("/s").or_else(|| unit.strip_suffix("ps")).unwrap_or(unit);
        let bits = unit.to_ascii_lowercase();
        let known = RATES.iter().find(|(name, _)| {
            if name.ends_with('B') { unit == *name || unit == name.replace('k', "K") } else { bits == *name }
        });
        match known {
            Some((_, bytes)) => Ok(Self(number * bytes)),
            None if unit.is_empty() => Err(format!("{usual}: a number needs its unit")),
            None if ["kb", "mb", "gb"].contains(&bits.as_str()) => {
                let (prefix, _) = bits.split_at(1);
                let big = if prefix == "k" { prefix.to_owned() } else { prefix.to_uppercase() };
                Err(format!("{unit} may mean bits or bytes: write {prefix}bit, or {big}B/s"))
            }
            None => Err(usual.to_owned()),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?).ok()
    }

    fn to_toml(&self) -> Option<String> {
        Some(format!("\"{}\"", self.in_bits()))
    }

    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        if (LINKS.0..=LINKS.1).contains(&self.0) {
            return Ok(());
        }
        let says = "must be at least 10kbit and at most 10000gbit".to_owned();
        Err(Wrong { says, help: Some("give the speed of the slowest link, such as 1gbit".into()) })
    }

    /// A negative one gets a sentence of its own, not "unexpected argument".
    fn shape(arg: Arg) -> Arg {
        arg.allow_hyphen_values(true)
    }
}

impl Link {
    /// The speed in bits, such as `1gbit`.
    #[must_use]
    pub fn in_bits(self) -> String {
        let bits = self.0 * 8.0;
        let (number, unit) = match bits {
            1e9.. => (bits / 1e9, "gbit"),
            1e6.. => (bits / 1e6, "mbit"),
            _ => (bits / 1e3, "kbit"),
        };
        // Three significant digits: more are not known of any link.
        let digits = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
        let text = format!("{number:.digits$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        format!("{text}{unit}")
    }
}

/// A time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency(pub Duration);

/// Units of a time, and the seconds in each.
const TIMES: [(&str, f64); 4] = [("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];

/// The longest latency: no cluster reaches around the Moon.
const LONGEST: Duration = Duration::from_secs(10);

impl Value for Latency {
    const NAME: &'static str = "TIME";

    fn expected() -> String {
        "a time such as \"0.5ms\"".into()
    }

    fn expected_text() -> String {
        "a time such as 0.5ms".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let usual = "expected a time such as 0.5ms or 200us";
        let (number, unit) = parted(text).ok_or(usual)?;
        if unit.is_empty() && number != 0.0 {
            return Err(format!("{usual}: a number needs its unit"));
        }
        let seconds = TIMES.iter().find(|(name, _)| *name == unit).map_or(Err(usual), |(_, each)| Ok(*each));
        let seconds = if number == 0.0 { 0.0 } else { number * seconds? };
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| usual.to_owned())
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?).ok()
    }

    fn to_toml(&self) -> Option<String> {
        Some(format!("\"{}us\"", self.0.as_micros()))
    }

    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        if self.0 <= LONGEST {
            return Ok(());
        }
        let says = format!("must be at most {} s", LONGEST.as_secs());
        Err(Wrong { says, help: Some("give half of what ping shows, such as 0.5ms".into()) })
    }

    /// A negative one gets a sentence of its own, not "unexpected argument".
    fn shape(arg: Arg) -> Arg {
        arg.allow_hyphen_values(true)
    }
}

options! {
    /// The options of a plan, except those of the run.
    PlanOptions => Plan {
        group security: ClientSecurityOptions => ClientSecurity;
        "Cluster" {
            /// Most workers to plan for
            ///
            /// All of 2, 4, 8 and so on up to it are shown
            workers: Option<usize> = derived("8").within(2..=MAX_WORKERS).example(4).common();
            /// Speed of the coordinator's link, such as 1gbit or 125MB/s
            ///
            /// In each direction: Ethernet is full duplex
            link: Option<Link> = unset().example(Link(125e6)).common();
            /// Time of a message one way: half of what ping shows
            latency: Option<Latency> = derived("0.1ms").example(Latency(Duration::from_micros(500))).common();
            /// Running coordinator whose link is measured instead
            coordinator: Option<String> = unset().takes("URL").example("192.168.1.10".into()).common();
            /// Speed of a worker, where this machine's is 1
            worker_speed: f64 = default(1.0).within(Interval::Positive(1e6));
        }
        "Run" {
        }
    }
}

/// The flags of `nn plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The plan's own options.
    #[command(flatten)]
    pub options: PlanOptions,
    /// The options of the run.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// What is between the workers and the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkSource {
    /// A link of that speed and latency.
    Given(Link, Duration),
    /// The way to a coordinator, which is to be measured.
    Coordinator(String, ClientSecurityConfig),
}

/// `nn plan`, checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlanConfig {
    /// The most workers to plan for, at least 2.
    pub workers: Option<usize>,
    /// What is between them and the coordinator.
    pub link: LinkSource,
    /// The speed of a worker, relative to this machine.
    pub worker_speed: f64,
    /// Whether to print JSON on standard output.
    pub json: bool,
    /// The run.
    pub train: TrainConfig,
}

/// The time of a message on a switched network.
pub(crate) const LATENCY: Duration = Duration::from_micros(100);

impl PlanArgs {
    /// Completes the options of the run with variables and a file, and checks the outcome. Those of the plan are flags only.
    ///
    /// # Errors
    /// Exit code 2, naming the flag, the variable or the line to blame.
    pub fn check(self, environment: &Environment) -> Result<Asked<PlanConfig>, Failure> {
        let (options, origins) = Environment::default().complete(self.options, None)?;
        let Plan { security, workers, link, latency, coordinator, worker_speed } = options.check(&origins)?;
        let mut addresses: Vec<String> = coordinator.into_iter().collect();
        if addresses.is_empty() && security != ClientSecurityOptions::default().check(&origins)? {
            return Err(Failure::usage("certificates and tokens have no effect without --coordinator")
                .help("add --coordinator URL"));
        }
        let security = security.resolve(&mut addresses, &origins)?;
        let link = match (link, addresses.pop()) {
            (Some(link), None) => LinkSource::Given(link, latency.map_or(LATENCY, |latency| latency.0)),
            (None, Some(url)) if latency.is_none() => {
                LinkSource::Coordinator(check_url("--coordinator", &url)?, security)
            }
            (None, Some(_)) => {
                return Err(Failure::usage("--latency has no effect with --coordinator, which is measured")
                    .help("leave it out, or give --link instead of --coordinator"));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--link and --coordinator are two answers to one question")
                    .help("leave out --link to have the way to the coordinator measured"));
            }
            (None, None) => {
                return Err(Failure::usage("nn plan needs to know the network").help(
                    "add --link 1gbit, or --coordinator URL of a running one, to measure the way to it",
                ));
            }
        };
        Ok(match self.train.check(environment)? {
            Asked::Print(text) => Asked::Print(text),
            Asked::Run(train) => {
                let json = train.json;
                Asked::Run(Box::new(PlanConfig { workers, link, worker_speed, json, train: *train }))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_in_bits_and_bytes() {
        for (text, bytes, shown) in [
            ("100mbit", 12.5e6, "100mbit"),
            ("1gbit", 125e6, "1gbit"),
            ("2.5Gbit/s", 312.5e6, "2.5gbit"),
            (" 10 GBIT ", 1.25e9, "10gbit"),
            ("1gbitps", 125e6, "1gbit"),
            ("125MB/s", 125e6, "1gbit"),
            ("12.5MB", 12.5e6, "100mbit"),
            ("56kbit", 7e3, "56kbit"),
            ("300KB/s", 3e5, "2.4mbit"),
        ] {
            let link = Link::from_text(text).unwrap();
            assert!((link.0 / bytes - 1.0).abs() < 1e-12, "{text}: {link:?}");
            assert_eq!(link.in_bits(), shown);
        }
        for (wrong, says) in [
            ("fast", "expected a speed such as"),
            ("", "expected a speed such as"),
            ("1000", "a number needs its unit"),
            ("1gb", "gb may mean bits or bytes: write gbit, or GB/s"),
            ("1Mb/s", "Mb may mean bits or bytes: write mbit, or MB/s"),
            ("-1gbit", "expected a speed such as"),
            ("1.2.3gbit", "expected a speed such as"),
            ("1gbot", "expected a speed such as"),
        ] {
            let error = Link::from_text(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
        for bounds in ["0gbit", "1kbit", "99999gbit"] {
            assert!(Link::from_text(bounds).unwrap().check(None).is_err(), "{bounds}");
        }
        assert_eq!(Link(f64::from(1_234_567) * 125.0).in_bits(), "1.23gbit");
        assert_eq!(Link(123.4e6 / 8.0).in_bits(), "123mbit");
    }

    #[test]
    fn latencies_are_read() {
        for (text, micros) in [("0.5ms", 500), ("200us", 200), ("200µs", 200), ("1s", 1_000_000), ("0", 0)] {
            assert_eq!(Latency::from_text(text).unwrap().0, Duration::from_micros(micros), "{text}");
        }
        for wrong in ["", "5", "-1ms", "1min", "soon", "1e999s", "99999999999999999999999s"] {
            assert!(Latency::from_text(wrong).is_err(), "{wrong}");
        }
        assert!(Latency::from_text("11s").unwrap().check(None).is_err());
    }
}
