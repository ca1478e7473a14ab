//! The limits that a container or the system sets for a process, as Linux reports them in `/proc` and `/sys`.

use std::fs;
use std::path::{Path, PathBuf};

/// The limits of a control group; `None` if there is no limit or it is unknown.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limits {
    /// The processor time that the group may use, in processors.
    pub(crate) cpus: Option<f64>,
    /// The fraction of periods in which the group was throttled.
    pub(crate) throttled: Option<f64>,
    /// The bytes that the group may use, and the bytes in use. Cached files do not count: the system drops them on demand.
    pub(crate) memory: Option<(u64, u64)>,
}

/// A limit this large means no limit: version 1 reports some huge number that depends on the page size.
const UNLIMITED: u64 = 1 << 60;

/// Reads the limits of this process below `root`, which is `/` except in tests.
pub(crate) fn read(root: &Path) -> Limits {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut limits = Limits::default();
    for line in groups.lines() {
        // "0::/path" for version 2, "4:cpu,cpuacct:/path" for version 1.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let controls = |name: &str| controllers.split(',').any(|controller| controller == name);
        if controllers.is_empty() {
            for folder in folders(&root.join("sys/fs/cgroup"), path) {
                limits.version_2(&folder);
            }
        }
        if controls("cpu") {
            for base in ["cpu", "cpu,cpuacct"] {
                for folder in folders(&root.join("sys/fs/cgroup").join(base), path) {
                    limits.cpu_1(&folder);
                }
            }
        }
        if controls("memory") {
            for folder in folders(&root.join("sys/fs/cgroup/memory"), path) {
                limits.memory_1(&folder);
            }
        }
    }
    limits
}

/// A group's folder and its ancestors, each of which may set a limit. In a container the path of the group may exist only
/// outside; then the top folder is the container's own.
fn folders(base: &Path, path: &str) -> Vec<PathBuf> {
    let below = Path::new(path.trim_start_matches('/'));
    below.ancestors().map(|part| base.join(part)).filter(|folder| folder.is_dir()).collect()
}

impl Limits {
    fn version_2(&mut self, folder: &Path) {
        if let Some((quota, period)) =
            text(folder, "cpu.max").as_deref().and_then(|text| text.split_once(' '))
        {
            self.cpus(quota.parse().ok(), period.trim().parse().ok());
        }
        self.stat(folder);
        let cached = cached(folder, ["inactive_file", "active_file"]);
        let used = number(folder, "memory.current").map(|used| used.saturating_sub(cached));
        self.memory(number(folder, "memory.max"), used);
    }

    fn cpu_1(&mut self, folder: &Path) {
        self.cpus(number(folder, "cpu.cfs_quota_us"), number(folder, "cpu.cfs_period_us"));
        self.stat(folder);
    }

    fn memory_1(&mut self, folder: &Path) {
        let cached = cached(folder, ["total_inactive_file", "total_active_file"]);
        let used = number(folder, "memory.usage_in_bytes").map(|used| used.saturating_sub(cached));
        self.memory(number(folder, "memory.limit_in_bytes"), used);
    }

    fn cpus(&mut self, quota: Option<u64>, period: Option<u64>) {
        if let (Some(quota), Some(period @ 1..)) = (quota, period) {
            let cpus = quota as f64 / period as f64;
            self.cpus = Some(self.cpus.map_or(cpus, |least| least.min(cpus)));
        }
    }

    fn memory(&mut self, limit: Option<u64>, used: Option<u64>) {
        if let (Some(limit), Some(used)) = (limit.filter(|&limit| limit < UNLIMITED), used) {
            let room = |(limit, used): (u64, u64)| limit.saturating_sub(used);
            if self.memory.is_none_or(|known| room((limit, used)) < room(known)) {
                self.memory = Some((limit, used));
            }
        }
    }

    fn stat(&mut self, folder: &Path) {
        let Some(text) = text(folder, "cpu.stat") else { return };
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|figure| figure.trim().parse::<u64>().ok())
        };
        if let (Some(periods @ 1..), Some(throttled)) = (figure("nr_periods"), figure("nr_throttled")) {
            let fraction = throttled as f64 / periods as f64;
            self.throttled = Some(self.throttled.map_or(fraction, |most| most.max(fraction)));
        }
    }
}

/// The bytes of cached files, the sum of these lines of `memory.stat`.
fn cached(folder: &Path, lines: [&str; 2]) -> u64 {
    let text = text(folder, "memory.stat").unwrap_or_default();
    let figures = text.lines().filter_map(|line| line.split_once(' '));
    figures
        .filter(|(name, _)| lines.contains(name))
        .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .sum()
}

fn text(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned())
}

/// Reads a number; `None` for "max" and for -1, which mean no limit.
fn number(folder: &Path, name: &str) -> Option<u64> {
    text(folder, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Limits {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(root.path())
    }

    #[test]
    fn version_2_and_the_groups_above() {
        let limits = tree(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/cpu.stat", "usage_usec 5\nnr_periods 40\nnr_throttled 10\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.current", "700\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 390\nfile 310\ninactive_file 200\nactive_file 100\n"),
        ]);
        let expected = Limits { cpus: Some(1.5), throttled: Some(0.25), memory: Some((1000, 400)) };
        assert_eq!(limits, expected);
    }

    #[test]
    fn version_1_in_a_container_that_does_not_see_its_path() {
        let limits = tree(&[
            ("proc/self/cgroup", "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(limits, Limits { cpus: Some(0.5), throttled: None, memory: Some((2000, 1)) });
    }

    #[test]
    fn no_limits() {
        assert_eq!(tree(&[]), Limits::default());
        let limits = tree(&[
            ("proc/self/cgroup", "4:memory:/\n1:cpu:/\nnonsense\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.stat", "nr_periods 0\nnr_throttled 0\n"),
        ]);
        assert_eq!(limits, Limits::default());
    }
}
