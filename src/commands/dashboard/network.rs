//! What can be looked at in a run's network: what it confuses, its mistakes, and the weights of its first layer.

use std::sync::Arc;

use nn_core::{Dataset, Targets};
use serde_json::{Value, json};

use crate::commands::insight::greys;
use crate::commands::pixels;
use crate::metrics::{Confusion, confidently_wrong, predicted};

/// Mistakes that are shown, and samples of a cell of the confusion matrix.
const MISTAKES: usize = 24;
pub(super) const SAMPLES: usize = 60;

/// Units whose weights are sent at once.
pub(super) const UNITS: usize = 64;

/// The most classes whose confusions are a table that people can read.
const CLASSES: usize = 100;

/// A network after an epoch, and its answers on the samples that the run is evaluated on.
pub(in crate::commands) struct Network {
    /// Counted from 1.
    pub(super) epoch: u64,
    pub(super) params_sha256: String,
    /// The name of the set of samples.
    pub(super) set: &'static str,
    pub(super) data: Arc<Dataset>,
    /// Row-major, a row for each sample.
    pub(super) outputs: Vec<f32>,
    /// The names of the classes, if there are any.
    pub(super) classes: Option<Vec<String>>,
    /// The weights of the first layer, row-major `[units][inputs]`; empty if they are not drawn.
    pub(super) first: Vec<f32>,
    /// Whether samples are drawn; not those of a run with differential privacy, whose model may be for those who may not have its data.
    pub(super) shows_samples: bool,
}

impl Network {
    /// Labels and number of classes, if the network classifies with an output for each class.
    fn labels(&self) -> Option<(&[u32], usize)> {
        match self.data.targets() {
            Targets::Classes { labels, classes } => {
                let classes = (*classes).max(2);
                (self.outputs.len() == labels.len() * classes).then_some((labels.as_slice(), classes))
            }
            Targets::Values { .. } => None,
        }
    }

    fn units(&self) -> usize {
        self.first.len() / self.data.input_width().max(1)
    }

    /// An overview: the confusion matrix with a row for each true class, and the worst mistakes.
    pub(super) fn overview(&self) -> Value {
        let mut value = json!({
            "epoch": self.epoch,
            "params_sha256": self.params_sha256,
            "set": self.set,
            "samples": self.data.len(),
            "image": self.data.image(),
            "units": self.units(),
            "classes": null,
        });
        if let Some((labels, classes)) = self.labels() {
            let matrix = Confusion::of(labels, &self.outputs, classes);
            let name = |class: usize| {
                self.classes
                    .as_ref()
                    .and_then(|names| names.get(class).cloned())
                    .unwrap_or_else(|| class.to_string())
            };
            value["classes"] = (0..classes).map(name).collect();
            value["correct"] = matrix.correct().into();
            if classes <= CLASSES {
                let row =
                    |truth| -> Value { (0..classes).map(|p| Value::from(matrix.count(truth, p))).collect() };
                value["confusion"] = (0..classes).map(row).collect();
            }
            let misses = confidently_wrong(labels, &self.outputs, classes, MISTAKES);
            value["mistakes"] =
                misses.iter().map(|miss| self.sample(miss.sample, miss.truth, miss.predicted)).collect();
        }
        value
    }

    /// The first samples of class `truth` that the network takes for `guess`, from the one numbered `from`, those with the highest
    /// output first, and how many there are in all.
    pub(super) fn cell(&self, truth: usize, guess: usize, from: usize) -> Value {
        let Some((labels, classes)) = self.labels() else { return json!({ "all": 0, "samples": [] }) };
        let rows = labels.iter().zip(self.outputs.chunks_exact(classes)).enumerate();
        let mut found: Vec<(usize, f32)> = rows
            .filter(|(_, (label, row))| **label as usize == truth && predicted(row) == guess)
            .map(|(sample, (_, row))| (sample, row[guess]))
            .collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let samples: Vec<Value> = found
            .iter()
            .skip(from)
            .take(SAMPLES)
            .map(|(sample, _)| self.sample(*sample, truth, guess))
            .collect();
        json!({ "all": found.len(), "samples": samples })
    }

    /// A sample: what it is, what the network takes it for, and its pixels from 0 to 255, or its numbers.
    fn sample(&self, sample: usize, truth: usize, guess: usize) -> Value {
        let classes = self.outputs.len() / self.data.len().max(1);
        let mut value = json!({
            "sample": sample,
            "truth": truth,
            "predicted": guess,
            "output": self.outputs.get(sample * classes + guess),
        });
        if self.shows_samples && self.data.image().is_some() {
            value["pixels"] = greys(&[pixels(&self.data, sample)]).remove(0).into();
        }
        value
    }

    /// The weights into the units from number `from`: whole numbers from −100 to 100, where 100 is the largest magnitude in the layer.
    pub(super) fn weights(&self, from: usize) -> Value {
        let inputs = self.data.input_width().max(1);
        let most = self.first.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let rows = self.first.chunks_exact(inputs).skip(from).take(UNITS);
        let scaled =
            |row: &[f32]| row.iter().map(|x| Value::from((x / most * 100.0).round() as i8)).collect();
        let tiles: Vec<Value> = rows.map(scaled).collect();
        json!({ "from": from, "units": self.units(), "largest": most, "tiles": tiles })
    }
}
