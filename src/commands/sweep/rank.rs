//! The figure that compares runs, and the order of the configurations.

use std::cmp::Ordering;

use serde_json::Value;

use crate::commands::train::Data;

/// What runs are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct By {
    /// `validation` or `test`.
    pub(in crate::commands) set: &'static str,
    kind: Kind,
}

/// A kind of figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The fraction of correct answers, and the loss among equals.
    Accuracy,
    /// The root of the mean squared error, in the unit of the target.
    Rmse,
    /// The loss, which all runs have.
    Loss,
}

/// How good a run or a configuration is. The greater is the better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::commands) struct Score {
    /// The figure; `None` if there is none, which is worse than any.
    pub(in crate::commands) value: Option<f64>,
    pub(in crate::commands) loss: Option<f64>,
    /// Whether more of it is better.
    more: bool,
}

/// A configuration with the figures of its runs.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Ranked {
    pub(in crate::commands) configuration: usize,
    pub(in crate::commands) score: Score,
    /// The standard deviation over its runs, of which there are at least two.
    pub(in crate::commands) spread: Option<f64>,
}

impl By {
    /// The figure for runs on these data: by validation if all have such samples.
    pub(super) fn of<'a>(data: impl Iterator<Item = &'a Data> + Clone) -> Self {
        let set = if data.clone().all(|data| data.validation.is_some()) { "validation" } else { "test" };
        let classes = |data: &Data| data.train.label(0).is_some();
        let kind = if data.clone().all(classes) {
            Kind::Accuracy
        } else if data.clone().any(classes) {
            Kind::Loss
        } else {
            Kind::Rmse
        };
        Self { set, kind }
    }

    /// The figure with that name in a summary, as `sweep.json` has it.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        let (set, kind) = key.split_once('_')?;
        let set = ["validation", "test"].into_iter().find(|name| *name == set)?;
        let kinds = [("accuracy", Kind::Accuracy), ("rmse", Kind::Rmse), ("loss", Kind::Loss)];
        let (_, kind) = kinds.into_iter().find(|(name, _)| *name == kind)?;
        Some(Self { set, kind })
    }

    /// The same figure on the test samples.
    pub(super) fn on_test(self) -> Self {
        Self { set: "test", ..self }
    }

    /// Whether runs are compared by samples that are there for it.
    pub(in crate::commands) fn is_by_validation(self) -> bool {
        self.set == "validation"
    }

    /// Whether a greater figure is better.
    pub(in crate::commands) fn more_is_better(self) -> bool {
        self.kind == Kind::Accuracy
    }

    /// The factor from the figure to the numbers beside an axis, and what these are called.
    pub(in crate::commands) fn of_axis(self) -> (f64, String) {
        match self.kind {
            Kind::Accuracy => (100.0, format!("{} in %", self.in_words())),
            Kind::Rmse | Kind::Loss => (1.0, self.in_words()),
        }
    }

    /// A warning, if runs are compared by what should only judge them.
    pub(super) fn advice(self) -> Option<&'static str> {
        (self.set == "test").then_some(
            "there are no validation samples, so the test samples choose, and the figure of the best run is too good to be \
             true: use --validation-fraction 0.1 or --folds 5",
        )
    }

    /// The name of the figure in a summary.
    pub(in crate::commands) fn key(self) -> String {
        let kind = match self.kind {
            Kind::Accuracy => "accuracy",
            Kind::Rmse => "rmse",
            Kind::Loss => "loss",
        };
        format!("{}_{kind}", self.set)
    }

    /// The name of the figure for people.
    pub(in crate::commands) fn in_words(self) -> String {
        self.key().replace('_', " ").replace("rmse", "RMSE")
    }

    /// The score of a run with that summary.
    pub(in crate::commands) fn score(self, summary: &Value) -> Score {
        let loss = summary[format!("{}_loss", self.set)].as_f64();
        self.score_of(summary[self.key()].as_f64(), loss)
    }

    /// The score with these figures.
    pub(in crate::commands) fn score_of(self, value: Option<f64>, loss: Option<f64>) -> Score {
        Score { value, loss, more: self.kind == Kind::Accuracy }
    }

    /// A figure for people.
    pub(in crate::commands) fn shown(self, value: Option<f64>) -> String {
        match (value, self.kind) {
            (None, _) => "–".to_owned(),
            (Some(value), Kind::Accuracy) => format!("{:.2} %", value * 100.0),
            (Some(value), Kind::Rmse) => crate::show::number(value),
            (Some(value), Kind::Loss) => format!("{value:.5}"),
        }
    }
}

impl Score {
    /// The better one first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let worst = if self.more { f64::NEG_INFINITY } else { f64::INFINITY };
        let (a, b) = (self.value.unwrap_or(worst), other.value.unwrap_or(worst));
        let by_value = if self.more { b.total_cmp(&a) } else { a.total_cmp(&b) };
        let loss = |score: &Self| score.loss.unwrap_or(f64::INFINITY);
        by_value.then(loss(self).total_cmp(&loss(other)))
    }
}

/// Configurations by the means over their runs, the best first, equals by number. A configuration of which a run has no
/// figure, because it diverged, is behind all others.
pub(super) fn ranked(by: By, scores: impl IntoIterator<Item = (usize, Score)>) -> Vec<Ranked> {
    let mut groups: std::collections::BTreeMap<usize, Vec<Score>> = std::collections::BTreeMap::new();
    for (configuration, score) in scores {
        groups.entry(configuration).or_default().push(score);
    }
    let mut ranked: Vec<Ranked> = groups
        .into_iter()
        .map(|(configuration, scores)| {
            let values: Vec<f64> = scores.iter().filter_map(|score| score.value).collect();
            let losses: Vec<f64> = scores.iter().filter_map(|score| score.loss).collect();
            let whole = values.len() == scores.len();
            let score = by.score_of(mean(&values).filter(|_| whole), mean(&losses).filter(|_| whole));
            Ranked { configuration, score, spread: spread(&values).filter(|_| whole) }
        })
        .collect();
    ranked.sort_by(|a, b| a.score.order(&b.score));
    ranked
}

/// The mean; `None` without values.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a sample.
pub(super) fn spread(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_ordered_by_their_means() {
        let by = By { set: "validation", kind: Kind::Accuracy };
        let score = |value: f64, loss: f64| by.score_of(Some(value), Some(loss));
        let scores = [
            (0, score(0.75, 1.0)),
            (0, score(1.0, 1.0)),
            (1, score(0.95, 0.2)),
            (1, by.score_of(None, None)),
            (2, score(0.875, 0.9)),
            (2, score(0.875, 0.9)),
        ];
        let ranked = ranked(by, scores);
        assert_eq!(ranked.iter().map(|r| r.configuration).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(ranked[0].spread, Some(0.0));
        // √((0.125² + 0.125²) / 1)
        assert!((ranked[1].spread.unwrap() - 0.176_776_695).abs() < 1e-8);
        assert_eq!(ranked[2].score.value, None);
        for key in ["validation_accuracy", "validation_rmse", "validation_loss", "test_accuracy", "test_loss"]
        {
            assert_eq!(By::of_key(key).unwrap().key(), key);
        }
        assert_eq!((By::of_key("train_loss"), By::of_key("test_f1"), By::of_key("")), (None, None, None));
        let by = By { set: "test", kind: Kind::Rmse };
        let ranked =
            super::ranked(by, [(0, by.score_of(Some(2.0), None)), (1, by.score_of(Some(1.0), None))]);
        assert_eq!((ranked[0].configuration, ranked[0].spread), (1, None));
    }
}
