//! A sweep by its files, which another process may be writing: `sweep.json`, and what the folders of its runs say that is newer.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::board::State;
use super::folder::{SweepFolder, read};
use super::rank::{By, Ranked, Score, ranked};
use crate::commands::runs::{self, Found, is_locked};
use crate::store::run_files::SWEEP;

/// A sweep.
#[derive(Debug)]
pub(in crate::commands) struct Results {
    pub(in crate::commands) folder: PathBuf,
    /// The figure that compares runs.
    pub(in crate::commands) by: By,
    /// How it ended, or what it does: complete, failed, stopped, running or interrupted.
    pub(in crate::commands) outcome: &'static str,
    /// All runs, in the order of their numbers.
    pub(in crate::commands) trials: Vec<Trial>,
    /// Their configurations. Those of which all runs are done come first and, if there are validation samples, the best of them first.
    pub(in crate::commands) configurations: Vec<Configuration>,
    /// The names of the options that do not have the same value in all trials.
    pub(in crate::commands) varied: Vec<String>,
}

/// A run of a sweep.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Trial {
    pub(in crate::commands) folder: PathBuf,
    /// The number of its configuration, from 0.
    pub(in crate::commands) configuration: usize,
    /// The options that the sweep gave it, but for its seed.
    pub(in crate::commands) options: BTreeMap<String, Value>,
    /// Its seed and its fold, if the sweep repeats runs with others.
    pub(in crate::commands) seed: Option<u64>,
    pub(in crate::commands) fold: Option<u64>,
    pub(in crate::commands) state: State,
    /// Epochs done, and all.
    pub(in crate::commands) epochs: u64,
    pub(in crate::commands) planned: u64,
    /// The figure that compares runs, of the last evaluation; that of a diverged or failed run is nothing.
    pub(in crate::commands) score: Score,
    /// That at the end of the first stage of successive halving.
    pub(in crate::commands) first_stage: Option<Score>,
    /// The same figure on the test samples. It says how good a chosen run is, and chooses nothing.
    pub(in crate::commands) test: Option<f64>,
}

/// Runs that differ by seed and fold only.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Configuration {
    pub(in crate::commands) ranked: Ranked,
    /// Its place, from 1; `None` as long as some of its runs are not done, and without validation samples.
    pub(in crate::commands) place: Option<usize>,
    /// Its runs, as indices of `trials`.
    pub(in crate::commands) trials: Vec<usize>,
}

impl Results {
    /// The sweep in a folder; `found` are the runs of its folders, as far as there are any.
    ///
    /// # Errors
    /// What is wrong with its file, in a sentence.
    pub(in crate::commands) fn read(folder: &Path, found: &[Found]) -> Result<Self, String> {
        let file = folder.join(SWEEP);
        let json = read(&file).map_err(|failure| failure.message().to_owned())?;
        Self::of(folder, &json, found, is_locked(folder))
            .ok_or_else(|| format!("{} is not the file of a sweep by nn", file.display()))
    }

    /// The sweep that `json` is about; `live` if a process is at work on it.
    fn of(folder: &Path, json: &Value, found: &[Found], live: bool) -> Option<Self> {
        let by = By::of_key(json["by"].as_str()?)?;
        let found: BTreeMap<&Path, &Found> = found.iter().map(|run| (run.folder.as_path(), run)).collect();
        let entries = json["runs"].as_array()?;
        let mut trials: Vec<Trial> = Vec::new();
        for entry in entries {
            // Names are made and not read, so that a file leads nowhere else.
            let folder = folder.join(SweepFolder::name(trials.len()));
            let found = found.get(folder.as_path()).copied();
            trials.push(Trial::of(folder, entry, found, by, live)?);
        }
        let outcome = match json["outcome"].as_str()? {
            "complete" => "complete",
            "failed" => "failed",
            "stopped" => "stopped",
            _ if live => "running",
            _ => "interrupted",
        };
        // The sweep may have been resumed, and has not written since.
        let outcome = if live { "running" } else { outcome };
        let configurations = configurations(by, &trials);
        let varied = varied(&trials);
        Some(Self { folder: folder.to_owned(), by, outcome, trials, configurations, varied })
    }

    /// The best configuration by validation, as `nn sweep` says it: of those of which all runs are done, that with the best mean.
    pub(in crate::commands) fn best(&self) -> Option<&Configuration> {
        self.configurations.iter().find(|configuration| configuration.place == Some(1))
    }

    /// Whether a trial belongs to the best configuration.
    pub(in crate::commands) fn is_best(&self, trial: &Trial) -> bool {
        self.best().is_some_and(|best| best.ranked.configuration == trial.configuration)
    }
}

impl Trial {
    /// The run that an entry is about; `None` if it is not one.
    fn of(folder: PathBuf, entry: &Value, found: Option<&Found>, by: By, live: bool) -> Option<Self> {
        let said = State::of_name(entry["state"].as_str()?)?;
        // What is over is said by the sweep, what goes on by its own log.
        let newer = found.filter(|_| matches!(said, State::Waiting | State::Running | State::Stopped));
        let state = match newer.map(|run| run.state) {
            Some(runs::State::Running) => State::Running,
            Some(runs::State::Complete | runs::State::EarlyStopped) => State::Done,
            Some(runs::State::Diverged) => State::Diverged,
            Some(runs::State::Stopped | runs::State::NoWorkers) if !live => State::Stopped,
            _ if said == State::Running && !live => State::Stopped,
            _ => said,
        };
        let figures = newer.map_or_else(|| entry.clone(), |run| Value::Object(run.figures.clone()));
        let score = match state {
            State::Diverged | State::Failed => by.score_of(None, None),
            _ => by.score(&figures),
        };
        let stage = entry["stages"].as_array().and_then(|stages| stages.first());
        let options = entry["options"].as_object()?.iter();
        Some(Self {
            folder,
            configuration: usize::try_from(entry["configuration"].as_u64()?).ok()?.checked_sub(1)?,
            options: options
                .filter(|(key, _)| *key != "seed")
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            seed: entry["seed"].as_u64().or_else(|| entry["options"]["seed"].as_u64()),
            fold: entry["fold"].as_u64(),
            state,
            epochs: newer.and_then(Found::epochs).or_else(|| entry["epochs_done"].as_u64()).unwrap_or(0),
            planned: entry["epochs_planned"].as_u64().unwrap_or(0),
            score,
            first_stage: stage.map(|stage| by.score_of(stage["figure"].as_f64(), stage["loss"].as_f64())),
            test: figures[by.on_test().key()].as_f64(),
        })
    }
}

/// The configurations in order: by the rule of `nn sweep` if that is by validation; else by number, for tests choose nothing here.
fn configurations(by: By, trials: &[Trial]) -> Vec<Configuration> {
    let scores = trials.iter().map(|trial| (trial.configuration, trial.score));
    let mut all: Vec<Configuration> = ranked(by, scores)
        .into_iter()
        .map(|ranked| {
            let of = |&at: &usize| trials[at].configuration == ranked.configuration;
            Configuration { trials: (0..trials.len()).filter(of).collect(), ranked, place: None }
        })
        .collect();
    let done = |configuration: &Configuration| {
        configuration.trials.iter().all(|&at| trials[at].state == State::Done)
    };
    // The sort is stable, so that the order by score stays within both parts.
    all.sort_by_key(|configuration| !done(configuration));
    if by.is_by_validation() {
        let ranked = all.iter_mut().filter(|c| done(c) && c.ranked.score.value.is_some());
        ranked.enumerate().for_each(|(at, configuration)| configuration.place = Some(at + 1));
    } else {
        all.sort_by_key(|configuration| configuration.ranked.configuration);
    }
    all
}

/// The names of the options that do not have the same value in all trials.
fn varied(trials: &[Trial]) -> Vec<String> {
    let mut names: Vec<&String> = trials.iter().flat_map(|trial| trial.options.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differs =
        |name: &&&String| trials.iter().any(|t| t.options.get(**name) != trials[0].options.get(**name));
    names.iter().filter(differs).map(|name| (*name).clone()).collect()
}

/// A value of an option as people write it.
pub(in crate::commands) fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "none".to_owned(),
        Some(Value::Array(items)) => {
            items.iter().map(|item| shown(Some(item))).collect::<Vec<_>>().join(", ")
        }
        Some(value) => value.to_string(),
    }
}

/// The order of two values: numbers by size, all others as they first occur, which is equal here.
pub(in crate::commands) fn by_size(a: &Value, b: &Value) -> Ordering {
    a.as_f64().zip(b.as_f64()).map_or(Ordering::Equal, |(a, b)| a.total_cmp(&b))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An entry of `sweep.json`.
    pub(in crate::commands::sweep) fn entry(
        configuration: u64,
        state: &str,
        options: Value,
        figure: Value,
    ) -> Value {
        json!({
            "configuration": configuration, "state": state, "options": options, "seed": null, "fold": null,
            "epochs_planned": 4, "epochs_done": 4, "validation_accuracy": figure, "validation_loss": 1.0,
            "test_accuracy": 0.5,
        })
    }

    pub(in crate::commands::sweep) fn results(outcome: &str, runs: &[Value], live: bool) -> Results {
        let json = json!({"outcome": outcome, "by": "validation_accuracy", "runs": runs});
        Results::of(Path::new("sweep"), &json, &[], live).unwrap()
    }

    #[test]
    fn the_best_is_the_best_by_validation_of_what_is_done() {
        let rate = |rate: f64| json!({"learning-rate": rate, "hidden": [30], "seed": 7});
        let runs = [
            entry(1, "done", rate(0.1), json!(0.8)),
            entry(2, "done", rate(0.2), json!(0.9)),
            entry(3, "left behind", rate(0.3), json!(0.99)),
            entry(4, "diverged", rate(0.4), json!(null)),
        ];
        let results = results("complete", &runs, false);
        assert_eq!(results.best().unwrap().ranked.configuration, 1);
        assert!(results.is_best(&results.trials[1]) && !results.is_best(&results.trials[2]));
        let order: Vec<_> =
            results.configurations.iter().map(|c| (c.ranked.configuration, c.place)).collect();
        assert_eq!(order, [(1, Some(1)), (0, Some(2)), (2, None), (3, None)]);
        assert_eq!(results.varied, ["learning-rate"]);
        assert_eq!((results.trials[0].seed, results.trials[0].test), (Some(7), Some(0.5)));
        assert_eq!(results.trials[3].folder, Path::new("sweep/run-004"));
    }

    #[test]
    fn by_test_nothing_is_chosen() {
        let one =
            |figure: f64| json!({"configuration": 1, "state": "done", "options": {}, "test_rmse": figure});
        let mut two = one(0.1);
        two["configuration"] = json!(2);
        let json = json!({"outcome": "complete", "by": "test_rmse", "runs": [one(0.9), two]});
        let results = Results::of(Path::new("sweep"), &json, &[], false).unwrap();
        assert!(results.best().is_none());
        let order: Vec<_> =
            results.configurations.iter().map(|c| (c.ranked.configuration, c.place)).collect();
        assert_eq!(order, [(0, None), (1, None)]);
    }

    #[test]
    fn a_sweep_that_goes_on_was_killed_or_is_damaged_is_read_all_the_same() {
        let runs = [entry(1, "running", json!({}), json!(null)), entry(2, "waiting", json!({}), json!(null))];
        let states = |results: &Results| results.trials.iter().map(|trial| trial.state).collect::<Vec<_>>();
        let live = results("running", &runs, true);
        assert_eq!((live.outcome, states(&live)), ("running", vec![State::Running, State::Waiting]));
        let killed = results("running", &runs, false);
        assert_eq!((killed.outcome, states(&killed)), ("interrupted", vec![State::Stopped, State::Waiting]));
        // What a run's folder says is newer.
        let figures = json!({"epochs": 3, "validation_accuracy": 0.75, "outcome": "complete"});
        let found = Found {
            folder: PathBuf::from("sweep/run-002"),
            state: runs::State::Complete,
            figures: figures.as_object().unwrap().clone(),
            options: BTreeMap::new(),
            damaged: 0,
            remarks: Vec::new(),
        };
        let json = json!({"outcome": "running", "by": "validation_accuracy", "runs": runs});
        let newer = Results::of(Path::new("sweep"), &json, &[found], false).unwrap();
        let trial = &newer.trials[1];
        assert_eq!((trial.state, trial.epochs, trial.score.value), (State::Done, 3, Some(0.75)));
        for wrong in [
            json!(null),
            json!({"by": "validation_accuracy"}),
            json!({"by": "luck", "outcome": "complete", "runs": []}),
            json!({"by": "test_loss", "outcome": "complete", "runs": [{"state": "done"}]}),
            json!({"by": "test_loss", "outcome": "complete", "runs": [{"state": "done", "options": {}, "configuration": 0}]}),
        ] {
            assert!(Results::of(Path::new("sweep"), &wrong, &[], false).is_none(), "{wrong}");
        }
        let none = json!({"outcome": "running", "by": "test_loss", "runs": []});
        assert!(Results::of(Path::new("sweep"), &none, &[], true).unwrap().varied.is_empty());
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        for (value, want) in [
            (json!("relu"), "relu"),
            (json!([64, 32]), "64, 32"),
            (json!([]), "none"),
            (json!(0.5), "0.5"),
            (json!(true), "true"),
            (json!(null), "–"),
        ] {
            assert_eq!(shown(Some(&value)), want);
        }
    }
}
