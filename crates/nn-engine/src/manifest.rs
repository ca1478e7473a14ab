//! The run manifest: everything, beside the data themselves, that decides the weights after step t.

use nn_core::{Init, Model, Optimizer, Purpose, Schedule, ScheduleShape, Tree, permutation, rate_multiplier};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What [`Manifest::new`] checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestParts {
    /// The network and its cost.
    pub model: Model,
    /// How its weights begin.
    pub init: Init,
    /// What turns gradients into weights.
    pub optimizer: Optimizer,
    /// How the learning rate goes over the steps.
    pub schedule: Schedule,
    /// η, before the schedule.
    pub learning_rate: f32,
    /// λ of the L2 penalty λ/(2n) Σw², n being the training samples; 0 for none.
    pub l2: f32,
    /// Samples of a mini-batch.
    pub batch_size: usize,
    /// Samples of a leaf of the canonical tree.
    pub shard_size: usize,
    /// How often the run goes through the training samples.
    pub epochs: u32,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Samples of the training set.
    pub train_samples: usize,
    /// The fingerprint of the data set.
    pub data_sha256: String,
}

/// A checked run manifest. Threads, workers, instruction sets and folders are not in it: they must not matter.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Manifest(ManifestParts);

/// The most leaves that a tree can number.
const MOST_LEAVES: usize = 1 << 31;

/// Why a run cannot be described so.
#[derive(Debug, Clone, PartialEq, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ManifestError {
    #[error("the batch size must be at least 1")]
    NoBatch,
    #[error("the shard size must be from 1 to the batch size, {batch}, but is {shard}")]
    Shard { shard: usize, batch: usize },
    #[error("a run needs at least 1 epoch")]
    NoEpochs,
    #[error("there are no training samples")]
    NoSamples,
    #[error("{0} training samples are too many: at most {max} can be numbered", max = u32::MAX)]
    TooManySamples(usize),
    #[error("{0} leaves in a mini-batch are too many: at most {max} are possible; use a greater shard size", max = MOST_LEAVES)]
    TooManyLeaves(usize),
    #[error("the learning rate must be a positive, finite number, but is {0}")]
    LearningRate(f32),
    #[error("the L2 penalty must be a finite number and not negative, but is {0}")]
    L2(f32),
    #[error("the schedule's step-epochs must be at least 1")]
    NoStepEpochs,
    #[error("{name} must be a finite number, but is {value}")]
    Constant { name: &'static str, value: f32 },
}

impl Manifest {
    /// Checks that the parts make a run.
    ///
    /// # Errors
    /// Names the first part that does not.
    pub fn new(parts: ManifestParts) -> Result<Self, ManifestError> {
        if parts.batch_size == 0 {
            return Err(ManifestError::NoBatch);
        }
        if parts.shard_size == 0 || parts.shard_size > parts.batch_size {
            return Err(ManifestError::Shard { shard: parts.shard_size, batch: parts.batch_size });
        }
        if parts.epochs == 0 {
            return Err(ManifestError::NoEpochs);
        }
        if parts.train_samples == 0 {
            return Err(ManifestError::NoSamples);
        }
        if u32::try_from(parts.train_samples).is_err() {
            return Err(ManifestError::TooManySamples(parts.train_samples));
        }
        let leaves = parts.batch_size.min(parts.train_samples).div_ceil(parts.shard_size);
        if leaves > MOST_LEAVES {
            return Err(ManifestError::TooManyLeaves(leaves));
        }
        if !(parts.learning_rate.is_finite() && parts.learning_rate > 0.0) {
            return Err(ManifestError::LearningRate(parts.learning_rate));
        }
        if !(parts.l2.is_finite() && parts.l2 >= 0.0) {
            return Err(ManifestError::L2(parts.l2));
        }
        if matches!(parts.schedule.shape, ScheduleShape::Step { every_epochs: 0, .. }) {
            return Err(ManifestError::NoStepEpochs);
        }
        if let Some((name, value)) = constants(&parts).into_iter().find(|(_, value)| !value.is_finite()) {
            return Err(ManifestError::Constant { name, value });
        }
        Ok(Self(parts))
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &ManifestParts {
        &self.0
    }

    /// The network.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// Mini-batches in an epoch; the last may be short.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        self.0.train_samples.div_ceil(self.0.batch_size) as u64
    }

    /// Steps of the whole run.
    #[must_use]
    pub fn total_steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.0.epochs)
    }

    /// The epoch of a step, and the mini-batch within it; all counted from 0.
    #[must_use]
    pub fn place(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch(), step % self.steps_per_epoch())
    }

    /// Samples in the mini-batch of a step.
    #[must_use]
    pub fn samples_in(&self, step: u64) -> usize {
        let start = self.place(step).1 as usize * self.0.batch_size;
        self.0.batch_size.min(self.0.train_samples - start)
    }

    /// The canonical tree of a step.
    #[must_use]
    pub fn tree(&self, step: u64) -> Tree {
        Tree::new(self.samples_in(step), self.0.shard_size)
    }

    /// The learning rate of a step.
    #[must_use]
    pub fn learning_rate(&self, step: u64) -> f32 {
        let multiplier = rate_multiplier(&self.0.schedule, step, self.steps_per_epoch(), self.0.epochs);
        (f64::from(self.0.learning_rate) * multiplier) as f32
    }

    /// Names and values of everything that decides the weights after step t, numbers to the last bit. The number of
    /// epochs is among them only where the schedule depends on it, so that a run can be made longer.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let p = &self.0;
        let widths: Vec<String> = p.model.widths().iter().map(usize::to_string).collect();
        let mut fields = vec![
            ("layers", widths.join("-")),
            ("activation", word(&p.model.activation())),
            ("output", word(&p.model.output())),
            ("cost", word(&p.model.cost())),
            ("init", word(&p.init)),
            ("learning-rate", format!("{:?}", p.learning_rate)),
            ("l2", format!("{:?}", p.l2)),
            ("batch-size", p.batch_size.to_string()),
            ("shard-size", p.shard_size.to_string()),
            ("seed", p.seed.to_string()),
            ("training samples", p.train_samples.to_string()),
            ("data", p.data_sha256.clone()),
        ];
        fields.extend(constants(p).into_iter().map(|(name, value)| (name, format!("{value:?}"))));
        let optimizer = match p.optimizer {
            Optimizer::Sgd => "sgd",
            Optimizer::Momentum { .. } => "momentum",
            Optimizer::Nesterov { .. } => "nesterov",
            Optimizer::Adam { .. } => "adam",
            Optimizer::AdamW { .. } => "adamw",
        };
        let schedule = match p.schedule.shape {
            ScheduleShape::Constant => "constant",
            ScheduleShape::Step { every_epochs, .. } => {
                fields.push(("step-epochs", every_epochs.to_string()));
                "step"
            }
            ScheduleShape::Cosine { .. } => "cosine",
        };
        fields.push(("optimizer", optimizer.to_owned()));
        fields.push(("schedule", schedule.to_owned()));
        fields.push(("warmup-steps", p.schedule.warmup_steps.to_string()));
        if matches!(p.schedule.shape, ScheduleShape::Cosine { .. }) {
            fields.push(("epochs", p.epochs.to_string()));
        }
        fields
    }

    /// The SHA-256 of [`Manifest::fields`], in hexadecimal: two runs with the same hash have the same weights after each
    /// step.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut text = String::from("nn manifest 1\n");
        for (name, value) in self.fields() {
            text.push_str(&format!("{name} = {value}\n"));
        }
        hex(&Sha256::digest(text))
    }

    /// The fields in which two manifests differ: name, mine, theirs.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let (mine, theirs) = (self.fields(), other.fields());
        let value = |fields: &[(&str, String)], name| {
            fields.iter().find(|(n, _)| *n == name).map_or_else(|| "not used".to_owned(), |(_, v)| v.clone())
        };
        let mut names: Vec<&'static str> = mine.iter().chain(&theirs).map(|(n, _)| *n).collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| (name, value(&mine, name), value(&theirs, name)))
            .filter(|(_, a, b)| a != b)
            .collect()
    }
}

/// The constants of the optimizer and of the schedule, by name, in the order in which they are hashed.
fn constants(parts: &ManifestParts) -> Vec<(&'static str, f32)> {
    let mut constants = match parts.optimizer {
        Optimizer::Sgd => Vec::new(),
        Optimizer::Momentum { momentum } | Optimizer::Nesterov { momentum } => vec![("momentum", momentum)],
        Optimizer::Adam { beta1, beta2, epsilon } | Optimizer::AdamW { beta1, beta2, epsilon, .. } => {
            vec![("beta1", beta1), ("beta2", beta2), ("epsilon", epsilon)]
        }
    };
    if let Optimizer::AdamW { weight_decay, .. } = parts.optimizer {
        constants.push(("weight-decay", weight_decay));
    }
    match parts.schedule.shape {
        ScheduleShape::Constant => {}
        ScheduleShape::Step { factor, .. } => constants.push(("step-factor", factor)),
        ScheduleShape::Cosine { floor } => constants.push(("cosine-floor", floor)),
    }
    constants
}

/// The samples of each step, in order: the epoch's permutation, made when an epoch begins and kept until the next.
#[derive(Debug)]
pub struct SampleOrder {
    seed: u64,
    batch_size: usize,
    epoch: Option<u64>,
    order: Vec<u32>,
}

impl SampleOrder {
    /// For the run described.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        let p = manifest.parts();
        Self { seed: p.seed, batch_size: p.batch_size, epoch: None, order: vec![0; p.train_samples] }
    }

    /// The samples of the mini-batch of a step.
    #[must_use]
    pub fn batch(&mut self, manifest: &Manifest, step: u64) -> &[u32] {
        let (epoch, batch) = manifest.place(step);
        if self.epoch != Some(epoch) {
            permutation(self.seed, Purpose::Shuffle, epoch, &mut self.order);
            self.epoch = Some(epoch);
        }
        let start = batch as usize * self.batch_size;
        &self.order[start..self.order.len().min(start + self.batch_size)]
    }
}

/// The name of a value as configuration files and messages have it.
fn word(value: &impl std::fmt::Debug) -> String {
    let mut word = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use nn_core::{Activation, Cost, Output};

    use super::*;

    pub(crate) fn parts() -> ManifestParts {
        ManifestParts {
            model: Model::new(vec![4, 3, 2], Activation::Sigmoid, Output::Sigmoid, Cost::Mse).unwrap(),
            init: Init::Scaled,
            optimizer: Optimizer::Sgd,
            schedule: Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 },
            learning_rate: 3.0,
            l2: 0.0,
            batch_size: 10,
            shard_size: 2,
            epochs: 3,
            seed: 1,
            train_samples: 23,
            data_sha256: "00".repeat(32),
        }
    }

    #[test]
    fn an_epoch_visits_every_sample_once_and_keeps_the_short_mini_batch() {
        let manifest = Manifest::new(parts()).unwrap();
        assert_eq!((manifest.steps_per_epoch(), manifest.total_steps()), (3, 9));
        let mut order = SampleOrder::new(&manifest);
        for epoch in 0..3 {
            let mut seen: Vec<u32> = Vec::new();
            for batch in 0..3 {
                let step = epoch * 3 + batch;
                let samples = order.batch(&manifest, step).to_vec();
                assert_eq!(samples.len(), manifest.samples_in(step));
                assert_eq!(manifest.place(step), (epoch, batch));
                seen.extend(samples);
            }
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..23));
        }
        // Any step can be asked for by itself.
        let mut other = SampleOrder::new(&manifest);
        assert_eq!(other.batch(&manifest, 7).to_vec(), order.batch(&manifest, 7).to_vec());
    }

    #[test]
    fn the_hash_sees_everything_that_matters_and_nothing_else() {
        let base = Manifest::new(parts()).unwrap();
        assert_eq!(base.hash(), Manifest::new(ManifestParts { epochs: 9, ..parts() }).unwrap().hash());
        let cosine = |epochs| {
            let schedule = Schedule { shape: ScheduleShape::Cosine { floor: 0.0 }, warmup_steps: 0 };
            Manifest::new(ManifestParts { epochs, schedule, ..parts() }).unwrap()
        };
        assert_ne!(cosine(3).hash(), cosine(4).hash());
        for changed in [
            ManifestParts { seed: 2, ..parts() },
            ManifestParts { learning_rate: 3.000_000_2, ..parts() },
            ManifestParts { shard_size: 3, ..parts() },
            ManifestParts { batch_size: 11, ..parts() },
            ManifestParts { l2: 0.1, ..parts() },
            ManifestParts { init: Init::Normal, ..parts() },
            ManifestParts { optimizer: Optimizer::Momentum { momentum: 0.9 }, ..parts() },
            ManifestParts { data_sha256: "11".repeat(32), ..parts() },
        ] {
            let changed = Manifest::new(changed).unwrap();
            assert_ne!(base.hash(), changed.hash());
            let named = base.differences(&changed);
            // Another optimizer has other constants, too.
            assert!((1..=2).contains(&named.len()), "{named:?}");
        }
    }

    #[test]
    fn impossible_runs_are_refused() {
        let with = |shape| ManifestParts { schedule: Schedule { shape, warmup_steps: 0 }, ..parts() };
        for (bad, says) in [
            (ManifestParts { batch_size: 0, ..parts() }, "batch size"),
            (ManifestParts { shard_size: 0, ..parts() }, "shard size"),
            (ManifestParts { shard_size: 11, ..parts() }, "shard size"),
            (ManifestParts { epochs: 0, ..parts() }, "epoch"),
            (ManifestParts { train_samples: 0, ..parts() }, "samples"),
            (ManifestParts { train_samples: 1 << 33, ..parts() }, "too many"),
            (ManifestParts { learning_rate: 0.0, ..parts() }, "learning rate"),
            (ManifestParts { learning_rate: f32::NAN, ..parts() }, "learning rate"),
            (ManifestParts { l2: -1.0, ..parts() }, "L2"),
            // These come from peers and files; each would end in a panic or in NaN later on.
            (
                ManifestParts {
                    train_samples: u32::MAX as usize,
                    batch_size: usize::MAX,
                    shard_size: 1,
                    ..parts()
                },
                "leaves",
            ),
            (with(ScheduleShape::Step { every_epochs: 0, factor: 0.5 }), "step-epochs"),
            (with(ScheduleShape::Cosine { floor: f32::NAN }), "cosine-floor"),
            (
                ManifestParts { optimizer: Optimizer::Momentum { momentum: f32::INFINITY }, ..parts() },
                "momentum",
            ),
        ] {
            let error = Manifest::new(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
