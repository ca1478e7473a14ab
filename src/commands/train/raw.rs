//! The results of the trained weights in a run whose model is their moving average: what `--ema` gains, or costs.

use nn_core::Evaluation;
use serde_json::{Map, Value, json};

/// The results of the weights of one epoch, under the names that they have in the log and in the summary: those of the model's
/// results with `raw_` before them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    /// The epoch, counted from 1.
    pub(super) epoch: u64,
    figures: Map<String, Value>,
}

/// An evaluation that is not the run's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aside {
    pub(super) test: Evaluation,
    /// That on the validation samples, if there are any.
    pub(super) validation: Option<Evaluation>,
}

/// What the names begin with.
const PREFIX: &str = "raw_";

impl Raw {
    /// Weights with this hash; `results` if they were evaluated, on as many sets as the run `chooses` by. Only classes have an
    /// accuracy.
    pub(super) fn new(
        epoch: u64,
        sha256: String,
        results: Option<Aside>,
        (chooses, classes): (bool, bool),
    ) -> Self {
        let mut figures = Map::new();
        let mut add = |name: &str, value: Value| drop(figures.insert(format!("{PREFIX}{name}"), value));
        add("params_sha256", sha256.into());
        let validation = chooses.then(|| ("validation", results.and_then(|results| results.validation)));
        for (set, result) in [("test", results.map(|results| results.test))].into_iter().chain(validation) {
            add(&format!("{set}_loss"), json!(result.map(|result| result.loss)));
            let accuracy = result.filter(|_| classes).map(|r| r.correct as f64 / r.samples as f64);
            add(&format!("{set}_accuracy"), json!(accuracy));
        }
        Self { epoch, figures }
    }

    /// The results that a line of the log has; `None` if it has none.
    pub(super) fn of_line(epoch: u64, line: &Value) -> Option<Self> {
        let figures: Map<String, Value> = line
            .as_object()?
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (!figures.is_empty()).then_some(Self { epoch, figures })
    }

    /// Whether the weights were evaluated.
    pub(super) fn is_evaluated(&self) -> bool {
        self.figures.get("raw_test_loss").is_some_and(Value::is_number)
    }

    /// The accuracy on a set, `test` or `validation`.
    pub(super) fn accuracy(&self, set: &str) -> Option<f64> {
        self.figures.get(&format!("{PREFIX}{set}_accuracy"))?.as_f64()
    }

    /// Adds the results to a line of the log or to the summary.
    pub(super) fn add_to(&self, line: &mut Value) {
        if let Value::Object(line) = line {
            line.extend(self.figures.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_from_the_log() {
        let test = Evaluation { samples: 10, loss: 0.5, correct: 9 };
        let validation = Some(Evaluation { samples: 4, loss: 0.25, correct: 3 });
        for (chooses, classes) in [(true, true), (true, false), (false, true)] {
            for results in [None, Some(Aside { test, validation: validation.filter(|_| chooses) })] {
                let raw = Raw::new(7, "00".to_owned(), results, (chooses, classes));
                let mut line = json!({ "epoch": 7, "test_loss": 0.1 });
                assert_eq!(Raw::of_line(7, &line), None);
                raw.add_to(&mut line);
                assert_eq!(line["test_loss"], 0.1);
                assert_eq!(line["raw_test_loss"].as_f64(), results.map(|_| 0.5));
                assert_eq!(line.get("raw_validation_loss").is_some(), chooses);
                assert_eq!(raw.accuracy("test"), results.filter(|_| classes).map(|_| 0.9));
                assert_eq!(raw.is_evaluated(), results.is_some());
                assert_eq!(Raw::of_line(7, &line), Some(raw));
            }
        }
    }
}
