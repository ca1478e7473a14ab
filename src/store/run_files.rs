//! The names of the files in a run's folder.

/// The log.
pub const METRICS: &str = "metrics.jsonl";
/// The figures at the end.
pub const SUMMARY: &str = "summary.json";
/// The network at the end.
pub const MODEL: &str = "model.safetensors";
/// The state and the results of a sweep, in the folder that has those of its runs.
pub const SWEEP: &str = "sweep.json";
/// The model that a run begins with, on its way to the worker that trains the run. It is no file of the run's folder.
pub const BASE: &str = "from.safetensors";
/// The folder of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

/// Whether a path is that of a file which a run writes to its folder, but for its options. It then names a place in the
/// folder and nothing else.
#[must_use]
pub fn is_of_run(name: &str) -> bool {
    [METRICS, SUMMARY, MODEL, "checkpoints/best.safetensors"].contains(&name) || step_of(name).is_some()
}

/// The step of a checkpoint by its path.
#[must_use]
pub fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("checkpoints/step-")?.strip_suffix(".safetensors")?;
    let step: u64 = digits.parse().ok()?;
    (format!("{step:012}") == digits).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_a_run_are() {
        for name in ["metrics.jsonl", "model.safetensors", "checkpoints/best.safetensors"] {
            assert!(is_of_run(name), "{name}");
        }
        assert_eq!(step_of("checkpoints/step-000000000144.safetensors"), Some(144));
        for name in [
            "",
            "run.toml",
            BASE,
            "../summary.json",
            "/etc/passwd",
            "checkpoints/step-144.safetensors",
            "checkpoints/step-+00000000144.safetensors",
            "checkpoints/../summary.json",
            "checkpoints/step-000000000144.safetensors.damaged",
        ] {
            assert!(!is_of_run(name), "{name}");
        }
    }
}
