//! Checks of this machine: its processor, memory and clock, and what slows it down.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::HumanBytes;
use nn_core::Isa;
use nn_engine::{ARITHMETIC, arithmetic_fingerprint};
use nn_net::utc_date;
use serde_json::json;

use super::report::Finding;
use crate::cgroup;
use crate::clock::{self, Clock};
use crate::config::defaults::available_threads;
use crate::show::counted;

/// 2026-11-01. This program was written later, so a clock that shows an earlier date is wrong.
const WRITTEN: Duration = Duration::from_secs(1_793_491_200);

/// Twenty years. A clock this far ahead of [`WRITTEN`] is probably wrong too.
const OUTDATED: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

const MIB: u64 = 1 << 20;

/// Runs all checks, quick ones first.
pub(super) fn look(tell: &mut dyn FnMut(Finding)) {
    let root = Path::new("/");
    let limits = cgroup::read(root);
    let system = format!("{} on {}", std::env::consts::ARCH, std::env::consts::OS);
    tell(Finding::ok("program", format!("nn {} for {system}", env!("CARGO_PKG_VERSION"))));
    tell(processor(root));
    tell(arithmetic());
    tell(threads(available_threads().get(), processors(root), &limits));
    if let Some(finding) = load(root, available_threads().get()) {
        tell(finding);
    }
    if let Some(finding) = governor(root) {
        tell(finding);
    }
    if let Some(finding) = memory(root, &limits) {
        tell(finding);
    }
    if let Some(finding) = open_files() {
        tell(finding);
    }
    tell(date_of(clock::date()));
}

fn processor(root: &Path) -> Finding {
    let about = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("a processor", |(_, model)| model.trim());
    let best = Isa::best().name();
    let figures = json!({ "instructions": best });
    let found = format!("{model}; it computes with {best}");
    if best == "portable" && cfg!(target_arch = "x86_64") {
        let fix = "use a processor with AVX2, or make the virtual machine expose the host's instructions \
                   (QEMU: -cpu host)";
        return Finding::warning("processor", format!("{found}, which is many times slower than avx2"), fix)
            .figures(figures);
    }
    match std::env::var("NN_ISA") {
        Ok(name) => Finding::warning(
            "processor",
            format!("{model}; NN_ISA selects {name} instead of {best}"),
            "unset NN_ISA, which is for tests",
        ),
        Err(_) => Finding::ok("processor", found),
    }
    .figures(figures)
}

/// Runs the self-test with every available instruction set.
fn arithmetic() -> Finding {
    let started = Clock::start();
    let wrong: Vec<&str> = Isa::available()
        .into_iter()
        .filter(|&isa| arithmetic_fingerprint(isa) != ARITHMETIC)
        .map(Isa::name)
        .collect();
    let figures = json!({ "fingerprint": arithmetic_fingerprint(Isa::best()) });
    if wrong.is_empty() {
        let names: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
        let found = format!(
            "the self-test gives the right bits with {} ({} ms)",
            names.join(", "),
            started.now().as_millis()
        );
        return Finding::ok("arithmetic", found).figures(figures);
    }
    let found = format!(
        "the self-test gives wrong bits with {}, so coordinators refuse this machine",
        wrong.join(", ")
    );
    let fix =
        "test this machine's memory and processor, and undo overclocking; if both are sound, report this";
    Finding::problem("arithmetic", found, fix).figures(figures)
}

/// The number of processors in the system, whether or not this process may use them.
fn processors(root: &Path) -> Option<usize> {
    let about = fs::read_to_string(root.join("proc/cpuinfo")).ok()?;
    Some(about.lines().filter(|line| line.starts_with("processor")).count()).filter(|&count| count > 0)
}

/// The fraction of throttled periods above which a run is noticeably slower.
const THROTTLED: f64 = 0.05;

fn threads(threads: usize, processors: Option<usize>, limits: &cgroup::Limits) -> Finding {
    let figures = json!({ "threads": threads, "processors": processors, "quota": limits.cpus });
    let mut found = counted(threads, "thread");
    if let Some(processors) = processors {
        found += &format!(" on {}", counted(processors, "processor"));
    }
    let finding = match limits.cpus {
        Some(quota) if quota < threads as f64 => Finding::warning(
            "threads",
            format!("{found}, but the container may use only {quota:.1} of them at a time"),
            format!("give the container at least a whole processor (docker: --cpus {threads})"),
        ),
        Some(quota) => {
            let throttled = limits.throttled.filter(|&throttled| throttled > THROTTLED);
            let found = format!("{found}; the container may use {quota:.1}");
            match throttled {
                None => Finding::ok("threads", found),
                Some(throttled) => Finding::warning(
                    "threads",
                    format!("{found}, and was throttled {:.0} % of the time", throttled * 100.0),
                    "give the container more processors (docker: --cpus), or use fewer --threads",
                ),
            }
        }
        None => Finding::ok("threads", found),
    };
    finding.figures(figures)
}

fn load(root: &Path, threads: usize) -> Option<Finding> {
    let text = fs::read_to_string(root.join("proc/loadavg")).ok()?;
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    let figures = json!({ "load": load });
    let found = format!("on average {load:.1} tasks wanted a processor in the last minute");
    Some(
        if load > threads as f64 * 0.75 {
            let fix = "stop other programs that compute here, or use fewer --threads: a step waits for its \
                       slowest part";
            Finding::warning("load", found, fix)
        } else {
            Finding::ok("load", found)
        }
        .figures(figures),
    )
}

/// Checks whether the processor saves power. With two of the drivers, "powersave" still speeds up under load.
fn governor(root: &Path) -> Option<Finding> {
    let folder = root.join("sys/devices/system/cpu/cpu0/cpufreq");
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned());
    let governor = read("scaling_governor")?;
    let driver = read("scaling_driver").unwrap_or_default();
    let adapts = ["intel_pstate", "amd-pstate-epp"].contains(&driver.as_str());
    let saves = match governor.as_str() {
        "powersave" if adapts => {
            read("energy_performance_preference").is_some_and(|preference| preference == "power")
        }
        "powersave" => true,
        _ => false,
    };
    let found = format!("the frequency governor is {governor} ({driver})");
    Some(if saves {
        let fix =
            "cpupower frequency-set -g performance, or choose performance in the desktop's power settings";
        Finding::warning("power", format!("{found}, which keeps the processor slow"), fix)
    } else {
        Finding::ok("power", found)
    })
}

/// The memory that a larger network and its data need, and the memory below which nothing runs.
const SCARCE: u64 = 512 * MIB;
const NOTHING: u64 = 64 * MIB;

fn memory(root: &Path, limits: &cgroup::Limits) -> Option<Finding> {
    let about = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let figure = |name: &str| -> Option<u64> {
        let line = about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    let (total, mut free) = (figure("MemTotal")?, figure("MemAvailable")?);
    let mut found = format!("{} free of {}", HumanBytes(free), HumanBytes(total));
    if let Some((limit, used)) = limits.memory {
        free = free.min(limit.saturating_sub(used));
        found += &format!(
            "; the container may use {}, of which {} are in use",
            HumanBytes(limit),
            HumanBytes(used)
        );
    }
    let figures = json!({ "free_bytes": free, "total_bytes": total });
    let waits = stalled(root);
    let finding = if free < NOTHING {
        Finding::problem(
            "memory",
            found,
            "stop other programs, or give the container more (docker: --memory)",
        )
    } else if free < SCARCE {
        Finding::warning(
            "memory",
            found,
            "stop other programs, or give the container more (docker: --memory)",
        )
    } else if let Some(waits) = waits.filter(|&waits| waits > 5.0) {
        let found = format!("{found}; but tasks waited for memory {waits:.0} % of the last ten seconds");
        Finding::warning("memory", found, "stop other programs: this machine is swapping")
    } else {
        Finding::ok("memory", found)
    };
    Some(finding.figures(figures))
}

/// The percentage of the last ten seconds in which some task waited for memory.
fn stalled(root: &Path) -> Option<f64> {
    let pressure = fs::read_to_string(root.join("proc/pressure/memory")).ok()?;
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

/// Checks the limit on open files. A coordinator needs one per worker, and some more.
#[cfg(unix)]
fn open_files() -> Option<Finding> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let found = format!(
        "at most {limit} at once, enough for a coordinator with {} workers",
        limit.saturating_sub(64).min(nn_engine::MAX_WORKERS as u64)
    );
    let fix = "raise the limit before starting: ulimit -n 4096 (systemd: LimitNOFILE=)";
    let finding = match limit {
        0..96 => Finding::problem("open files", format!("at most {limit} at once, which is too few"), fix),
        96..256 => Finding::warning("open files", found, fix),
        _ => Finding::ok("open files", found),
    };
    Some(finding.figures(json!({ "limit": limit })))
}

#[cfg(not(unix))]
fn open_files() -> Option<Finding> {
    None
}

fn date_of(now: SystemTime) -> Finding {
    let written = UNIX_EPOCH + WRITTEN;
    let found = format!("{} (UTC)", utc_date(now));
    let fix = "set the clock, best by NTP (timedatectl set-ntp true): certificates are valid only between two dates";
    if now < written {
        Finding::problem("date", format!("{found}, which is before this program was written"), fix)
    } else if now > written + OUTDATED {
        Finding::warning("date", format!("{found}, which is long after this program was written"), fix)
    } else {
        Finding::ok("date", found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::Verdict;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_wrong_date_is_found() {
        let at = |seconds| date_of(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0).verdict, Verdict::Problem);
        assert!(at(0).found.contains("1970-01-01"), "{:?}", at(0));
        assert_eq!(at(1_793_491_199).verdict, Verdict::Problem);
        assert!(at(1_793_491_199).found.contains("2026-10-31"));
        assert_eq!(at(1_793_491_200).verdict, Verdict::Ok);
        assert_eq!(at(3_000_000_000).verdict, Verdict::Warning);
    }

    #[test]
    fn scarce_memory_is_found() {
        let about = "MemTotal: 4096000 kB\nMemFree: 9 kB\nMemAvailable: 2048000 kB\n";
        let place = root(&[("proc/meminfo", about)]);
        let memory_at = |root: &Path, group| {
            memory(root, &cgroup::Limits { memory: group, ..Default::default() }).unwrap()
        };
        let look = |group| memory_at(place.path(), group);
        assert_eq!(look(None).verdict, Verdict::Ok);
        assert_eq!(look(Some((1 << 30, 1 << 20))).verdict, Verdict::Ok);
        assert_eq!(look(Some((1 << 30, 1 << 29 | 1 << 20))).verdict, Verdict::Warning);
        assert_eq!(look(Some((1 << 20, 1 << 20))).verdict, Verdict::Problem);
        let swapping = root(&[
            ("proc/meminfo", about),
            ("proc/pressure/memory", "some avg10=31.40 avg60=0.00 avg300=0.00 total=0\n"),
        ]);
        let found = memory_at(swapping.path(), None);
        assert!(found.verdict == Verdict::Warning && found.found.contains("31 %"), "{found:?}");
        assert_eq!(memory(root(&[]).path(), &cgroup::Limits::default()), None);
    }

    #[test]
    fn a_quota_that_throttles_threads_is_found() {
        let limits = |cpus, throttled| cgroup::Limits { cpus, throttled, memory: None };
        assert_eq!(threads(4, Some(4), &limits(None, None)).verdict, Verdict::Ok);
        assert_eq!(threads(2, Some(8), &limits(Some(2.5), Some(0.01))).verdict, Verdict::Ok);
        let half = threads(1, Some(8), &limits(Some(0.5), None));
        assert!(half.verdict == Verdict::Warning && half.found.contains("0.5"), "{half:?}");
        let held = threads(2, Some(8), &limits(Some(2.0), Some(0.4)));
        assert!(held.verdict == Verdict::Warning && held.found.contains("40 %"), "{held:?}");
    }

    #[test]
    fn a_governor_that_saves_power_is_found() {
        let look = |name: &str, driver: &str, preference: &str| {
            let folder = "sys/devices/system/cpu/cpu0/cpufreq";
            let files = [
                (format!("{folder}/scaling_governor"), name),
                (format!("{folder}/scaling_driver"), driver),
                (format!("{folder}/energy_performance_preference"), preference),
            ];
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            governor(root(&files).path()).unwrap().verdict
        };
        assert_eq!(look("performance\n", "acpi-cpufreq\n", ""), Verdict::Ok);
        assert_eq!(look("powersave\n", "acpi-cpufreq\n", ""), Verdict::Warning);
        assert_eq!(look("powersave\n", "intel_pstate\n", "balance_performance\n"), Verdict::Ok);
        assert_eq!(look("powersave\n", "amd-pstate-epp\n", "power\n"), Verdict::Warning);
        assert_eq!(governor(root(&[]).path()), None);
    }

    #[test]
    fn a_busy_machine_is_found() {
        let look = |text: &str| load(root(&[("proc/loadavg", text)]).path(), 2).map(|found| found.verdict);
        assert_eq!(look("0.10 3.00 9.00 1/100 7\n"), Some(Verdict::Ok));
        assert_eq!(look("2.40 0.00 0.00 1/100 7\n"), Some(Verdict::Warning));
        assert_eq!(look("nonsense"), None);
    }

    #[test]
    fn this_machine_computes_right() {
        assert_eq!(arithmetic().verdict, Verdict::Ok, "{:?}", arithmetic());
    }
}
