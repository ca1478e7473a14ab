//! What a run tells TensorBoard. It changes nothing in the run, and nothing that fails here ends it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nn_core::{Dataset, LayerLayout, layout};
use nn_engine::{Manifest, StepReport};
use serde_json::Value;

use crate::commands::pixels;
use crate::metrics::{Confusion, confidently_wrong};
use crate::progress::warn;
use crate::tensorboard::{EventFile, Hyperparameters, Wrong, confusion, mosaic};

/// The most points in the curve of the mini-batches' losses.
const POINTS: u64 = 1000;

/// Wrongly classified samples that are shown.
const WRONG: usize = 32;

/// Options that say nothing about how a network learns.
const NOT_HYPERPARAMETERS: [&str; 4] =
    ["data_sha256", "preprocess_sha256", "train_samples", "initial_sha256"];

/// Writes the events of a run.
pub(super) struct Events {
    folder: PathBuf,
    /// Steps done when the run was resumed; 0 for a new one.
    after: u64,
    file: File,
    hyperparameters: Hyperparameters,
    /// Steps between two losses of mini-batches.
    every: u64,
    layers: Vec<LayerLayout>,
}

/// The event file, which comes into being with the first step: only then is it certain that a run begins.
enum File {
    Coming,
    Open(EventFile),
    /// It could not be written; the user knows.
    Failed,
}

impl Events {
    /// For a run that has `after` sequential steps behind it, into `folder`.
    pub(super) fn new(folder: PathBuf, manifest: &Manifest, after: u64) -> Self {
        Self {
            folder,
            after,
            file: File::Coming,
            hyperparameters: hyperparameters(manifest),
            every: manifest.total_steps().div_ceil(POINTS).max(1),
            layers: layout(manifest.model()),
        }
    }

    /// Takes in a step; `steps` sequential ones are done with it.
    pub(super) fn step(&mut self, report: &StepReport, steps: u64) {
        if matches!(self.file, File::Coming) {
            self.file = match EventFile::create(&self.folder, self.after) {
                Ok(mut file) => {
                    file.hyperparameters(&self.hyperparameters);
                    File::Open(file)
                }
                Err(error) => {
                    self.failed(&format!("cannot create one in {}: {error}", self.folder.display()))
                }
            };
        }
        let File::Open(file) = &mut self.file else { return };
        if report.step.0.is_multiple_of(self.every) {
            let rate = f64::from(report.learning_rate);
            file.scalars(steps, [("batch/loss", report.loss), ("batch/learning_rate", rate)]);
        }
        if file.is_full() {
            self.flush();
        }
    }

    /// Takes in an epoch after `steps` sequential steps: its line of the log, the model's parameters and a gradient at them, and what was
    /// evaluated, samples and outputs, if it was.
    pub(super) fn epoch(
        &mut self,
        line: &Value,
        steps: u64,
        (params, gradient): (&[f32], Option<&[f32]>),
        evaluated: Option<(&Dataset, &[f32])>,
    ) {
        let File::Open(file) = &mut self.file else { return };
        let numbers: Vec<(String, f64)> = line
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((tag(name)?, value.as_f64()?)))
            .collect();
        file.scalars(steps, numbers.iter().map(|(tag, number)| (tag.as_str(), *number)));
        for (number, layer) in self.layers.iter().enumerate() {
            let name = |kind: &str| format!("{kind}/layer{}", number + 1);
            file.histogram(steps, &name("weights"), &params[layer.weights.clone()]);
            file.histogram(steps, &name("biases"), &params[layer.biases.clone()]);
            if let Some(gradient) = gradient {
                file.histogram(steps, &name("gradients"), &gradient[layer.range()]);
            }
        }
        let norms = line["gradient_norm"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        let norms: Vec<(String, f64)> =
            (1..).zip(norms).map(|(layer, norm)| (format!("gradient_norm/layer{layer}"), norm)).collect();
        file.scalars(steps, norms.iter().map(|(tag, norm)| (tag.as_str(), *norm)));
        if let Some((data, outputs)) = evaluated {
            pictures(file, steps, data, outputs);
        }
        self.flush();
    }

    /// The end of the run.
    pub(super) fn finish(&mut self, success: bool) {
        if let File::Open(file) = &mut self.file {
            file.end(success);
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let File::Open(file) = &mut self.file
            && let Err(error) = file.flush()
        {
            let text = format!("cannot write {}: {error}", file.path().display());
            self.file = self.failed(&text);
        }
    }

    /// Tells the user, once, that there are no events from now on.
    fn failed(&self, text: &str) -> File {
        warn(format_args!(
            "no more events for TensorBoard: {text}; training continues, and metrics.jsonl has the figures"
        ));
        File::Failed
    }
}

/// Confusion matrix and mistakes, if there are classes.
fn pictures(file: &mut EventFile, steps: u64, data: &Dataset, outputs: &[f32]) {
    let nn_core::Targets::Classes { labels, classes } = data.targets() else { return };
    let classes = (*classes).max(2);
    if outputs.len() != labels.len() * classes {
        return; // one output for two classes
    }
    let matrix = Confusion::of(labels, outputs, classes);
    if let Some(picture) = confusion(classes, |truth, predicted| matrix.count(truth, predicted)) {
        file.picture(steps, "confusion", &picture);
    }
    if let Some(size) = data.image() {
        let wrong: Vec<Wrong> = confidently_wrong(labels, outputs, classes, WRONG)
            .into_iter()
            .map(|miss| Wrong {
                pixels: pixels(data, miss.sample),
                truth: miss.truth,
                predicted: miss.predicted,
            })
            .collect();
        if let Some(picture) = mosaic(&wrong, size) {
            file.picture(steps, "mistakes", &picture);
        }
    }
}

/// The tag of a figure of the log: figures of the same kind are side by side. `None` for what is no curve.
fn tag(name: &str) -> Option<String> {
    if ["epoch", "steps", "rounds"].contains(&name) {
        return None;
    }
    for set in ["raw_test", "raw_validation", "train", "test", "validation"] {
        if let Some(figure) = name.strip_prefix(set).and_then(|rest| rest.strip_prefix('_')) {
            return Some(format!("{figure}/{set}"));
        }
    }
    Some(format!("run/{name}"))
}

/// What the run is made of, from its manifest: the parts of network and recipe by their names.
fn hyperparameters(manifest: &Manifest) -> Hyperparameters {
    let mut options = BTreeMap::new();
    if let Ok(parts) = serde_json::to_value(manifest) {
        flatten("", parts, &mut options);
    }
    options.retain(|name, _| !NOT_HYPERPARAMETERS.contains(&name.as_str()));
    // Who knows the seed of a private run can take the noise away.
    if manifest.recipe().dp_noise.is_some() {
        options.remove("seed");
    }
    let metrics = ["loss/validation", "accuracy/validation", "loss/test", "accuracy/test"];
    Hyperparameters {
        options,
        metrics: metrics.map(str::to_owned).into(),
        group: manifest.hash().chars().take(12).collect(),
    }
}

/// Adds the parts of a value by their names, such as `schedule.shape.name`.
fn flatten(name: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(parts) => {
            for (part, value) in parts {
                let name = if name.is_empty() { part } else { format!("{name}.{part}") };
                flatten(&name, value, into);
            }
        }
        value => drop(into.insert(name.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_same_kind_are_side_by_side() {
        for (name, want) in [
            ("train_loss", Some("loss/train")),
            ("test_macro_f1", Some("macro_f1/test")),
            ("validation_loss", Some("loss/validation")),
            ("raw_test_accuracy", Some("accuracy/raw_test")),
            ("learning_rate", Some("run/learning_rate")),
            ("epoch", None),
        ] {
            assert_eq!(tag(name).as_deref(), want);
        }
    }
}
