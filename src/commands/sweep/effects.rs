//! What each option does to the figure that compares runs.
//!
//! Let *x* be the figure of a trial and *T* the trials that have a value *v* of an option, without those that have no figure:
//!
//! 1. *x* is the figure at the end of a run that is done. With successive halving it is that at the end of the first stage, which all
//!    runs reach, so that those that went on for longer have no advantage.
//! 2. The mean is Σ*x*/|*T*| over *T*. It is marginal: whatever else the sweep varies is averaged over, and not held fixed.
//! 3. If runs are repeated with other seeds or folds, the spread is the pooled standard deviation of these repetitions,
//!    √(Σ(*x* − *m*)² / Σ(*n* − 1)): *m* is the mean of the *n* trials with the same options, and both sums run over the groups of such
//!    trials in *T*. It is what chance does, and the other options have no part in it.
//! 4. Otherwise it is the standard deviation √(Σ(*x* − mean)² / (|*T*| − 1)) over *T*: what the other options do. In both cases it is
//!    not defined if its divisor is 0.
//!
//! If an option has more than eight numbers, as a random search gives it, its values are cut into four groups of neighbours, in each as
//! many values, one more or less.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::board::State;
use super::rank::{mean, spread};
use super::results::{Results, Trial, by_size, shown};

/// The most different numbers that are shown one by one.
const SINGLE: usize = 8;

/// The groups into which more are cut.
const GROUPS: usize = 4;

/// The effects of all options that vary.
#[derive(Debug)]
pub(in crate::commands) struct Effects {
    /// What repeats runs with the same options, and so is the cause of the spread; `None` if that is the other options.
    pub(in crate::commands) repeated: Option<&'static str>,
    /// Whether figures are those at the end of the first stage of successive halving.
    pub(in crate::commands) first_stage: bool,
    pub(in crate::commands) options: Vec<Effect>,
}

/// The effect of an option.
#[derive(Debug)]
pub(in crate::commands) struct Effect {
    pub(in crate::commands) option: String,
    /// Its values, or groups of them, numbers in order.
    pub(in crate::commands) levels: Vec<Level>,
}

/// A value of an option, or a group of values.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Level {
    pub(in crate::commands) value: String,
    /// Trials that have it and a figure.
    pub(in crate::commands) trials: usize,
    /// Trials that have it and no figure.
    pub(in crate::commands) without: usize,
    pub(in crate::commands) mean: Option<f64>,
    pub(in crate::commands) spread: Option<f64>,
}

/// The effects of the options of a sweep.
pub(in crate::commands) fn effects(results: &Results) -> Effects {
    let first_stage = results.trials.iter().any(|trial| trial.first_stage.is_some());
    let figure = |trial: &Trial| match trial.first_stage {
        Some(score) => score.value,
        None if trial.state == State::Done => trial.score.value,
        None => None,
    };
    let figures: Vec<Option<f64>> = results.trials.iter().map(figure).collect();
    let mut same: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, trial) in results.trials.iter().enumerate() {
        let options = Value::Object(trial.options.clone().into_iter().collect());
        same.entry(options.to_string()).or_default().push(at);
    }
    let groups: Vec<Vec<usize>> = same.into_values().collect();
    let differ = |of: fn(&Trial) -> Option<u64>| {
        groups
            .iter()
            .any(|group| group.iter().any(|&at| of(&results.trials[at]) != of(&results.trials[group[0]])))
    };
    let repeated = match (differ(|trial| trial.seed), differ(|trial| trial.fold)) {
        (true, true) => Some("seeds and folds"),
        (true, false) => Some("seeds"),
        (false, true) => Some("folds"),
        (false, false) => None,
    };
    let options = results
        .varied
        .iter()
        .map(|option| Effect {
            option: option.clone(),
            levels: levels(&results.trials, option)
                .into_iter()
                .map(|(value, trials)| level(value, &trials, &figures, repeated.map(|_| groups.as_slice())))
                .collect(),
        })
        .collect();
    Effects { repeated, first_stage, options }
}

/// The values of an option, or groups of them, each with the trials that have it.
fn levels(trials: &[Trial], option: &str) -> Vec<(String, Vec<usize>)> {
    let mut values: Vec<(&Value, Vec<usize>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (at, trial) in trials.iter().enumerate() {
        let value = trial.options.get(option).unwrap_or(&Value::Null);
        let place = *places.entry(value.to_string()).or_insert_with(|| {
            values.push((value, Vec::new()));
            values.len() - 1
        });
        values[place].1.push(at);
    }
    let numbers = values.iter().all(|(value, _)| value.is_number());
    if numbers {
        values.sort_by(|(a, _), (b, _)| by_size(a, b));
    }
    if !numbers || values.len() <= SINGLE {
        return values.into_iter().map(|(value, trials)| (shown(Some(value)), trials)).collect();
    }
    let bound = |group: usize| values.len() * group / GROUPS;
    let group = |group: usize| {
        let members = &values[bound(group)..bound(group + 1)];
        let [from, to] = [members.first(), members.last()].map(|end| shown(end.map(|(value, _)| *value)));
        (format!("{from} to {to}"), members.iter().flat_map(|(_, trials)| trials).copied().collect())
    };
    (0..GROUPS).map(group).collect()
}

/// A level by its trials. `repetitions` are the groups of trials with the same options, if the spread is that within them.
fn level(
    value: String,
    trials: &[usize],
    figures: &[Option<f64>],
    repetitions: Option<&[Vec<usize>]>,
) -> Level {
    let of = |trials: &mut dyn Iterator<Item = &usize>| -> Vec<f64> {
        trials.filter_map(|&at| figures[at]).collect()
    };
    let all = of(&mut trials.iter());
    let spread = match repetitions {
        None => spread(&all),
        Some(groups) => {
            let here: BTreeSet<&usize> = trials.iter().collect();
            pooled(groups.iter().map(|group| of(&mut group.iter().filter(|at| here.contains(at)))))
        }
    };
    Level { value, trials: all.len(), without: trials.len() - all.len(), mean: mean(&all), spread }
}

/// The standard deviation within groups.
fn pooled(groups: impl Iterator<Item = Vec<f64>>) -> Option<f64> {
    let (mut squares, mut degrees) = (0.0, 0);
    for group in groups {
        if let Some(deviation) = spread(&group) {
            squares += deviation * deviation * (group.len() - 1) as f64;
            degrees += group.len() - 1;
        }
    }
    (degrees > 0).then(|| (squares / degrees as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::results::tests::{entry, results};
    use super::*;

    fn close(level: &Level, value: &str, (trials, without): (usize, usize), mean: f64, spread: Option<f64>) {
        assert_eq!((level.value.as_str(), level.trials, level.without), (value, trials, without));
        assert!((level.mean.unwrap() - mean).abs() < 1e-12, "{level:?}");
        assert_eq!(level.spread.is_some(), spread.is_some(), "{level:?}");
        assert!((level.spread.unwrap_or(0.0) - spread.unwrap_or(0.0)).abs() < 1e-12, "{level:?}");
    }

    /// Two rates, two widths, two seeds; one run of them diverged.
    #[test]
    fn means_and_spreads_over_seeds_by_hand() {
        let mut runs = Vec::new();
        for (configuration, rate, width, figures) in [
            (1, 0.1, 10, [Some(0.70), Some(0.74)]),
            (2, 0.1, 20, [Some(0.80), Some(0.86)]),
            (3, 0.5, 10, [Some(0.90), Some(0.90)]),
            (4, 0.5, 20, [Some(0.60), None]),
        ] {
            for (seed, figure) in figures.into_iter().enumerate() {
                let state = if figure.is_some() { "done" } else { "diverged" };
                let options = json!({"learning-rate": rate, "hidden": [width]});
                let mut run = entry(configuration, state, options, json!(figure));
                run["seed"] = json!(seed);
                runs.push(run);
            }
        }
        let found = effects(&results("complete", &runs, false));
        assert_eq!((found.repeated, found.first_stage), (Some("seeds"), false));
        let [hidden, rate] = &found.options[..] else { panic!("{found:?}") };
        assert_eq!((hidden.option.as_str(), rate.option.as_str()), ("hidden", "learning-rate"));
        // 0.1: mean of 0.70, 0.74, 0.80, 0.86; within (±0.02)² · 2 and (±0.03)² · 2, over 1 + 1.
        close(&rate.levels[0], "0.1", (4, 0), 0.775, Some((0.0026_f64 / 2.0).sqrt()));
        // 0.5: mean of 0.90, 0.90, 0.60; the last is alone and has no spread.
        close(&rate.levels[1], "0.5", (3, 1), 0.8, Some(0.0));
        // 10: mean of 0.70, 0.74, 0.90, 0.90; within (±0.02)² · 2 and 0, over 1 + 1.
        close(&hidden.levels[0], "10", (4, 0), 0.81, Some((0.0008_f64 / 2.0).sqrt()));
        // 20: mean of 0.80, 0.86, 0.60; within (±0.03)² · 2, over 1.
        close(&hidden.levels[1], "20", (3, 1), 2.26 / 3.0, Some(0.0018_f64.sqrt()));
    }

    #[test]
    fn without_seeds_the_spread_is_that_over_the_other_options() {
        let run = |configuration, rate: f64, kind: &str, figure: f64| {
            entry(configuration, "done", json!({"learning-rate": rate, "activation": kind}), json!(figure))
        };
        let runs = [run(1, 1.0, "relu", 0.5), run(2, 1.0, "tanh", 0.7), run(3, 0.1, "relu", 0.9)];
        let found = effects(&results("complete", &runs, false));
        assert_eq!(found.repeated, None);
        // Numbers are in order, names as they occur.
        let [kind, rate] = &found.options[..] else { panic!("{found:?}") };
        close(&rate.levels[0], "0.1", (1, 0), 0.9, None);
        close(&rate.levels[1], "1.0", (2, 0), 0.6, Some(0.02_f64.sqrt()));
        close(&kind.levels[0], "relu", (2, 0), 0.7, Some(0.08_f64.sqrt()));
        close(&kind.levels[1], "tanh", (1, 0), 0.7, None);
    }

    #[test]
    fn with_halving_all_are_compared_after_the_first_stage() {
        let run = |configuration, rate: f64, state: &str, last: f64, first: f64| {
            let mut run = entry(configuration, state, json!({"learning-rate": rate}), json!(last));
            run["stages"] = json!([{"figure": first, "loss": 1.0}, {"figure": last, "loss": 1.0}]);
            run
        };
        let runs = [run(1, 0.1, "done", 0.9, 0.4), run(2, 0.2, "left behind", 0.5, 0.5)];
        let found = effects(&results("complete", &runs, false));
        assert!(found.first_stage);
        close(&found.options[0].levels[0], "0.1", (1, 0), 0.4, None);
        close(&found.options[0].levels[1], "0.2", (1, 0), 0.5, None);
    }

    #[test]
    fn many_numbers_are_put_in_groups() {
        let run = |at: u64| entry(at, "done", json!({"learning-rate": at}), json!(at as f64 / 10.0));
        let runs: Vec<Value> = (1..=9).rev().map(run).collect();
        let found = effects(&results("complete", &runs, false));
        let levels = &found.options[0].levels;
        let names: Vec<_> = levels.iter().map(|level| (level.value.as_str(), level.trials)).collect();
        assert_eq!(names, [("1 to 2", 2), ("3 to 4", 2), ("5 to 6", 2), ("7 to 9", 3)]);
        close(&levels[3], "7 to 9", (3, 0), 0.8, Some(0.1));
    }
}
