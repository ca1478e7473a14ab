//! What a folder holds of earlier runs, so that none is lost by a slip.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::checkpoints::Checkpoints;

/// The largest summary that is read.
const MAX_SUMMARY_BYTES: u64 = 1 << 20;

/// The work that a folder holds: what a new run would destroy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// The work in words, such as "a finished run of 30 epochs (accuracy 94.43 %, 2026-11-26)".
    pub words: String,
    /// Whether `--resume` continues it.
    pub resumable: bool,
}

impl Occupant {
    /// The work in the folder `out`; `None` if there is none. A run that ended before its first step or its first
    /// checkpoint left nothing that could be lost, and does not count.
    #[must_use]
    pub fn of(out: &Path) -> Option<Self> {
        let summary = summary(out);
        let checkpoints = Checkpoints::of_run(out, 1);
        let newest = checkpoints.last_step().unwrap_or(0);
        let checkpointed = newest > 0 || checkpoints.has_best();
        let model = out.join("model.safetensors");
        let steps = summary.as_ref().and_then(|(summary, _)| summary["steps"].as_u64());
        // A run that was stopped before its first step has a model, of the initial weights.
        let trained = model.exists() && steps != Some(0);
        if !checkpointed && !trained {
            return foreign(out);
        }
        // A run that ended early has the weights of an earlier step.
        let last = |summary: &Value| summary["stopped_at_step"].as_u64().or(summary["steps"].as_u64());
        let known = summary.filter(|(summary, _)| last(summary).is_some_and(|step| step >= newest));
        let diverged = known.as_ref().is_some_and(|(summary, _)| summary["outcome"] == "diverged");
        let words = match known {
            Some((summary, time)) => in_words(&summary, time),
            None if newest > 0 => format!("an interrupted run, with a checkpoint after step {newest}"),
            None if checkpointed => "an interrupted run".to_owned(),
            None => "a trained model".to_owned(),
        };
        Some(Self { words, resumable: checkpointed && !diverged })
    }
}

/// Files with the names of a run's that are not a run's: a new run would remove them.
fn foreign(out: &Path) -> Option<Occupant> {
    let holds = |name: &str, mark: &str| {
        let mut start = Vec::new();
        let read = File::open(out.join(name)).and_then(|file| file.take(1 << 16).read_to_end(&mut start));
        read.is_ok() && !start.is_empty() && !String::from_utf8_lossy(&start).contains(mark)
    };
    let name = [("summary.json", "\"params_sha256\""), ("metrics.jsonl", "{\"")]
        .into_iter()
        .find_map(|(name, mark)| holds(name, mark).then_some(name))?;
    Some(Occupant { words: format!("a file {name} of another program"), resumable: false })
}

/// The summary of a run, and when it was written.
fn summary(out: &Path) -> Option<(Value, Option<SystemTime>)> {
    let path = out.join("summary.json");
    let metadata = fs::metadata(&path).ok().filter(|found| found.is_file())?;
    if metadata.len() > MAX_SUMMARY_BYTES {
        return None;
    }
    let summary: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some((summary, metadata.modified().ok()))
}

/// A run by its summary.
fn in_words(summary: &Value, time: Option<SystemTime>) -> String {
    let number = |name: &str| summary[name].as_u64().unwrap_or(0);
    let mut text = match summary["outcome"].as_str() {
        Some(outcome @ ("complete" | "early-stopped")) => {
            let epochs = number("epochs");
            let early = if outcome == "complete" { "" } else { ", stopped early" };
            format!("a finished run of {epochs} epoch{}{early}", if epochs == 1 { "" } else { "s" })
        }
        Some("diverged") => format!("a run that diverged after step {}", number("steps")),
        _ => format!("a run that was stopped after step {}", number("steps")),
    };
    let mut details = Vec::new();
    if let Some(accuracy) = summary["test_accuracy"].as_f64() {
        details.push(format!("test accuracy {:.2} %", accuracy * 100.0));
    } else if let Some(loss) = summary["test_loss"].as_f64() {
        details.push(format!("test loss {loss:.5}"));
    }
    details.extend(time.and_then(date));
    if !details.is_empty() {
        text += &format!(" ({})", details.join(", "));
    }
    text
}

/// The day in UTC, such as 2026-11-26.
fn date(time: SystemTime) -> Option<String> {
    let days = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs() / 86_400;
    // Howard Hinnant's `civil_from_days`: the year begins in March, so that the leap day is its last.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// The folder number `number` beside `base`: `runs/digits`, `runs/digits-2`, `runs/digits-3` …
#[must_use]
pub fn numbered(base: &Path, number: u64) -> PathBuf {
    if number <= 1 {
        return base.to_owned();
    }
    let mut name = base.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    base.with_file_name(name)
}

/// The greatest number of a folder beside `base` that holds a run; `None` if none does.
#[must_use]
pub fn newest_numbered(base: &Path) -> Option<u64> {
    let prefix = format!("{}-", base.file_name()?.to_str()?);
    let folder = base.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let numbers = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        let digits = name.to_str()?.strip_prefix(&prefix)?;
        let number: u64 = digits.parse().ok()?;
        (number > 1 && number.to_string() == digits).then_some(number)
    });
    let mut numbers: Vec<u64> = numbers.chain([1]).collect();
    numbers.sort_unstable();
    numbers.into_iter().rev().find(|&number| Occupant::of(&numbered(base, number)).is_some())
}

/// The run whose folder of checkpoints holds `path` or is `path`; `None` if there is none.
#[must_use]
pub fn within_checkpoints(path: &Path) -> Option<PathBuf> {
    // What does not exist yet has no true path; the part of it that exists has.
    let existing = path.ancestors().find(|folder| folder.exists())?;
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let existing = existing.canonicalize().ok()?;
    let inside = |folder: &&Path| folder.file_name().is_some_and(|name| name == "checkpoints");
    existing.ancestors().filter(inside).filter_map(Path::parent).find_map(|run| {
        let checkpoints = Checkpoints::of_run(run, 1);
        (checkpoints.last_step().is_some() || checkpoints.has_best()).then(|| run.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date -u -d @SECONDS +%F`.
        for (seconds, want) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_767_225_599, "2025-12-31"),
            (1_795_651_200, "2026-11-26"),
            (4_107_542_400, "2100-03-01"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date(time).as_deref(), Some(want), "{seconds}");
        }
    }

    #[test]
    fn what_is_no_work_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let words = || Occupant::of(folder.path()).map(|occupant| (occupant.words, occupant.resumable));
        assert_eq!(words(), None);
        // What a run that diverges in its first epoch leaves, and one that is stopped before its first step.
        file("metrics.jsonl", "{\"kind\":\"step\",\"step\":1}\n");
        file("summary.json", r#"{"outcome": "diverged", "steps": 7, "params_sha256": "00"}"#);
        assert_eq!(words(), None);
        file("model.safetensors", "weights");
        file("checkpoints/step-000000000000.safetensors", "weights");
        file("summary.json", r#"{"outcome": "stopped", "steps": 0, "params_sha256": "00"}"#);
        assert_eq!(words(), None);
        // A run.
        file("checkpoints/step-000000000144.safetensors", "weights");
        assert_eq!(words(), Some(("an interrupted run, with a checkpoint after step 144".to_owned(), true)));
        file("summary.json", r#"{"outcome": "complete", "steps": 144, "epochs": 1, "test_accuracy": 0.5}"#);
        let (text, resumable) = words().unwrap();
        assert!(text.starts_with("a finished run of 1 epoch (test accuracy 50.00 %, 20"), "{text}");
        assert!(resumable);
        let early = r#"{"outcome": "early-stopped", "steps": 72, "stopped_at_step": 144, "epochs": 2}"#;
        file("summary.json", early);
        assert!(
            words().unwrap().0.starts_with("a finished run of 2 epochs, stopped early (20"),
            "{:?}",
            words()
        );
        file("summary.json", r#"{"outcome": "diverged", "steps": 144}"#);
        let (text, resumable) = words().unwrap();
        assert!(text.starts_with("a run that diverged after step 144") && !resumable, "{text}");
        fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
        fs::remove_file(folder.path().join("summary.json")).unwrap();
        assert_eq!(words(), Some(("a trained model".to_owned(), false)));
    }

    #[test]
    fn files_of_other_programs_count() {
        for (name, text) in [("summary.json", "{\"mine\": 1}"), ("metrics.jsonl", "loss,accuracy\n")] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            let words = Occupant::of(folder.path()).map(|occupant| occupant.words);
            assert_eq!(words, Some(format!("a file {name} of another program")));
        }
    }

    #[test]
    fn the_newest_number_is_found_whatever_else_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("digits");
        assert_eq!(newest_numbered(&base), None);
        for (name, newest) in
            [("digits", 1), ("digits-10", 10), ("digits-9", 10), ("digits-011", 10), ("digits-x", 10)]
        {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("model.safetensors"), "weights").unwrap();
            assert_eq!(newest_numbered(&base), Some(newest), "{name}");
        }
        fs::create_dir(folder.path().join("digits-99")).unwrap();
        assert_eq!(newest_numbered(&base), Some(10), "an empty folder holds no run");
        assert_eq!(numbered(&base, 1), base);
        assert_eq!(numbered(&base, 12), folder.path().join("digits-12"));
    }
}
