//! The run manifest: everything, beside the data themselves, that decides the weights after step t.

use std::ops::Range;
use std::sync::Arc;

use nn_core::{
    Compute, DELTA_BLOCK, LayerLayout, Model, OptimizerState, Plateau, Precision, Purpose, Samples,
    ScheduleShape, Tree, Workspace, initial_parameters, layout, permutation, rate_multiplier,
    samples_at_once,
};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::encoding::Encoding;
use crate::params_sha256;
use crate::recipe::Recipe;
use crate::rounds::{MAX_REPLICAS, RoundPlan, Rounds, Span};

/// The parts of a run, unchecked: [`Manifest::new`] checks them. As JSON the recipe's parts stand beside the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestParts {
    /// The network and its cost.
    pub model: Model,
    /// How it is trained.
    #[serde(flatten)]
    pub recipe: Recipe,
    /// Samples of the training set.
    pub train_samples: usize,
    /// The fingerprint of the data set, before its columns are prepared.
    pub data_sha256: String,
    /// The hash of the preparation of its columns; `None` if they need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess_sha256: Option<String>,
}

/// A checked run manifest. Threads, workers, instruction sets and folders are not in it: they must not matter.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    parts: ManifestParts,
    /// Where its rounds are, if it has any.
    rounds: Option<RoundPlan>,
    /// Numbers of a piece of the parameters, in a run with rounds. It changes no bit, so it is not hashed.
    piece: usize,
    /// The model's weights that it begins with, if it does and they are at hand. Their hash is among the parts.
    begins_with: Option<Arc<Vec<f32>>>,
}

impl Serialize for Manifest {
    /// As its parts.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parts.serialize(serializer)
    }
}

/// The most leaves that a tree can number.
const MOST_LEAVES: usize = 1 << 31;

/// About how many pieces the parameters of a large network are cut into.
const PIECES: usize = 16;
/// The fewest numbers in a piece: in eight bits they take an eighth of a millisecond on a link of 1 Gbit/s.
const SMALLEST_PIECE: usize = 1 << 14;
/// The most numbers in a piece.
const LARGEST_PIECE: usize = 1 << 19;

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
    #[error("the norm that gradients are clipped to must be a positive, finite number, but is {0}")]
    ClipNorm(f32),
    #[error("the largest norm of a unit's weights must be a positive, finite number, but is {0}")]
    MaxNorm(f32),
    #[error("the decay of the average of the weights must be above 0 and below 1, but is {0}")]
    Ema(f32),
    #[error("the noise multiplier must be a positive, finite number, but is {0}")]
    PrivacyNoise(f32),
    #[error("private training needs a limit on the norm of each sample's gradient")]
    NoiseWithoutClip,
    #[error("private training cannot be combined with {0}")]
    NoiseWith(&'static str),
    #[error("private training needs f32: bf16 would round a clipped gradient to more than its limit")]
    NoiseInBf16,
    #[error("the schedule's step-epochs must be at least 1")]
    NoStepEpochs,
    #[error("early stopping needs at least 1 evaluation, and at least 1 epoch between two")]
    NoEvaluations,
    #[error("the replicas must be a power of two from 1 to {max}, but are {0}", max = MAX_REPLICAS)]
    Replicas(u32),
    #[error("a round needs at least 1 step")]
    NoRoundSteps,
    #[error("the outer learning rate must be a positive, finite number, but is {0}")]
    OuterLearningRate(f32),
    #[error("the outer momentum must be at least 0 and below 1, but is {0}")]
    OuterMomentum(f32),
    #[error("the part of the steps in which wsd decays must be above 0 and at most 1, but is {0}")]
    Decay(f32),
    #[error("the factor of the schedule plateau must be above 0 and below 1, but is {0}")]
    PlateauFactor(f32),
    #[error(
        "the schedule plateau needs at least 1 evaluation before a drop, and at least 1 epoch between two"
    )]
    NoPlateauEvaluations,
    #[error(
        "the schedule plateau cannot be used in rounds, whose replicas compute the rates of their steps from the manifest alone"
    )]
    PlateauInRounds,
    #[error(
        "the part of the steps in which the rate of one-cycle rises must be above 0 and at most 1, but is {0}"
    )]
    Rise(f32),
    #[error("{name} must be a finite number of at least 1, but is {value}")]
    Divisor { name: &'static str, value: f32 },
    #[error("the schedule one-cycle rises by itself and has no warm-up steps")]
    WarmUpOfOneCycle,
    #[error("the hash of the initial weights must be 64 hexadecimal digits")]
    NoHash,
    #[error("the network has {want} parameters, but the run is to begin with {got}")]
    InitialCount { got: usize, want: usize },
    #[error("the initial weights must be finite numbers, and some are not")]
    InitialNotFinite,
    #[error("the run begins with weights whose SHA-256 is {want}, but these have {got}")]
    OtherInitial { got: String, want: String },
    #[error("{name} must be a finite number, but is {value}")]
    Constant { name: &'static str, value: f32 },
}

impl Manifest {
    /// Checks that the parts make a run.
    ///
    /// # Errors
    /// Names the first part that does not.
    pub fn new(parts: ManifestParts) -> Result<Self, ManifestError> {
        parts.recipe.check()?;
        if parts.recipe.dp_noise.is_some() && parts.model.precision() != Precision::F32 {
            return Err(ManifestError::NoiseInBf16);
        }
        if parts.train_samples == 0 {
            return Err(ManifestError::NoSamples);
        }
        if u32::try_from(parts.train_samples).is_err() {
            return Err(ManifestError::TooManySamples(parts.train_samples));
        }
        let leaves = parts.recipe.batch_size.min(parts.train_samples).div_ceil(parts.recipe.shard_size);
        if leaves > MOST_LEAVES {
            return Err(ManifestError::TooManyLeaves(leaves));
        }
        let recipe = &parts.recipe;
        let rounds =
            recipe.rounds.map(|rounds| RoundPlan::new(rounds, recipe.batch_size, parts.train_samples));
        let piece = (parts.model.parameters() / PIECES).clamp(SMALLEST_PIECE, LARGEST_PIECE);
        Ok(Self { parts, rounds, piece: piece.next_multiple_of(DELTA_BLOCK), begins_with: None })
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &ManifestParts {
        &self.parts
    }

    /// The run that begins with these weights, which its hash names ([`Recipe::initial_sha256`]).
    ///
    /// # Errors
    /// If they are others, or not finite.
    pub fn beginning_with(mut self, params: Arc<Vec<f32>>) -> Result<Self, ManifestError> {
        let want = self.model().parameters();
        if params.len() != want {
            return Err(ManifestError::InitialCount { got: params.len(), want });
        }
        if !params.iter().all(|x| x.is_finite()) {
            return Err(ManifestError::InitialNotFinite);
        }
        let (got, want) = (params_sha256(&params), self.recipe().initial_sha256.clone());
        if want.as_ref() != Some(&got) {
            let want = want.unwrap_or_else(|| "not given".to_owned());
            return Err(ManifestError::OtherInitial { got, want });
        }
        self.begins_with = Some(params);
        Ok(self)
    }

    /// The same network and data, and the same initial weights if they are a model's, with another recipe.
    ///
    /// # Errors
    /// As for [`Manifest::new`].
    pub fn with_recipe(&self, recipe: Recipe) -> Result<Self, ManifestError> {
        let recipe = Recipe { initial_sha256: self.recipe().initial_sha256.clone(), ..recipe };
        let other = Self::new(ManifestParts { recipe, ..self.parts.clone() })?;
        Ok(Self { begins_with: self.begins_with.clone(), ..other })
    }

    /// The weights before the first step; `None` if they are a model's that nobody has brought, as where a run goes on from a
    /// snapshot.
    #[must_use]
    pub fn initial_weights(&self) -> Option<Vec<f32>> {
        let Recipe { init, seed, initial_sha256, .. } = self.recipe();
        match (&self.begins_with, initial_sha256) {
            (Some(params), _) => Some(params.to_vec()),
            (None, None) => Some(initial_parameters(self.model(), *init, *seed)),
            (None, Some(_)) => None,
        }
    }

    /// Whether the weights before the first step are a model's that nobody has brought.
    #[must_use]
    pub fn lacks_initial_weights(&self) -> bool {
        self.begins_with.is_none() && self.recipe().initial_sha256.is_some()
    }

    /// How the network is trained.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.parts.recipe
    }

    /// The network.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.parts.model
    }

    /// The division into rounds; `None` if every mini-batch changes the weights.
    #[must_use]
    pub fn rounds(&self) -> Option<&Rounds> {
        self.parts.recipe.rounds.as_ref()
    }

    /// Mini-batches in an epoch; the last may be short.
    #[must_use]
    pub fn mini_batches(&self) -> u64 {
        self.parts.train_samples.div_ceil(self.parts.recipe.batch_size) as u64
    }

    /// Sequential steps of an epoch, which the schedule of the learning rate counts: its mini-batches or, with rounds,
    /// those of one replica.
    #[must_use]
    pub fn sequential_steps_per_epoch(&self) -> u64 {
        self.rounds.as_ref().map_or_else(|| self.mini_batches(), RoundPlan::epoch_steps)
    }

    /// Steps of the first `epochs` epochs. A *step* is what the weights change by at once: a mini-batch, or a round.
    #[must_use]
    pub fn steps_until(&self, epochs: u64) -> u64 {
        match &self.rounds {
            Some(rounds) => rounds.before_epoch(epochs),
            None => self.mini_batches().saturating_mul(epochs),
        }
    }

    /// Steps of an epoch.
    #[must_use]
    pub fn steps_in(&self, epoch: u64) -> u64 {
        self.steps_until(epoch + 1) - self.steps_until(epoch)
    }

    /// Steps of the whole run.
    #[must_use]
    pub fn total_steps(&self) -> u64 {
        self.steps_until(u64::from(self.parts.recipe.epochs))
    }

    /// The place of a step: its epoch, its samples, and the sequential steps in it.
    #[must_use]
    pub fn span(&self, step: u64) -> Span {
        if let Some(rounds) = &self.rounds {
            return rounds.span(step);
        }
        let (epoch, index) = (step / self.mini_batches(), step % self.mini_batches());
        let start = index as usize * self.parts.recipe.batch_size;
        let samples = self.parts.recipe.batch_size.min(self.parts.train_samples - start);
        Span { epoch, index, first_step: step, steps: 1, start, samples }
    }

    /// The epoch of a step, and its position within it; all counted from 0.
    #[must_use]
    pub fn place(&self, step: u64) -> (u64, u64) {
        let span = self.span(step);
        (span.epoch, span.index)
    }

    /// Sequential steps that are done after so many steps.
    #[must_use]
    pub fn sequential_steps(&self, steps: u64) -> u64 {
        self.span(steps).first_step
    }

    /// Samples of a step.
    #[must_use]
    pub fn samples_in(&self, step: u64) -> usize {
        self.span(step).samples
    }

    /// The canonical tree of a step: its leaves are the shards of a mini-batch or, in a round, the replicas' slices.
    #[must_use]
    pub fn tree(&self, step: u64) -> Tree {
        let span = self.span(step);
        match &self.rounds {
            Some(rounds) => rounds.tree(&span),
            None => Tree::new(span.samples, self.parts.recipe.shard_size),
        }
    }

    /// The pieces in which the parameters are sent, summed and stepped: the layers or, with rounds, runs of blocks. Small
    /// pieces are on their way down while later ones still come up; large ones cost fewer messages.
    #[must_use]
    pub fn pieces(&self) -> Vec<Range<usize>> {
        let layers = layout(self.model());
        if self.rounds.is_none() {
            return layers.iter().map(LayerLayout::range).collect();
        }
        let all = self.model().parameters();
        (0..all).step_by(self.piece).map(|from| from..all.min(from + self.piece)).collect()
    }

    /// The same run with pieces of one block, so that tests see several pieces of a small network. All sides of a run must
    /// have the same pieces.
    #[doc(hidden)]
    #[must_use]
    pub fn with_smallest_pieces(mut self) -> Self {
        self.piece = DELTA_BLOCK;
        self
    }

    /// How the numbers of a contribution become bytes.
    #[must_use]
    pub fn contribution_encoding(&self) -> Encoding {
        self.rounds().map_or(Encoding::F32, |rounds| Encoding::of_bits(rounds.delta_bits))
    }

    /// How the numbers become bytes that workers add to the weights of a round, to have those of the next; `None` without
    /// rounds, where they are sent the weights.
    #[must_use]
    pub fn update_encoding(&self) -> Option<Encoding> {
        self.rounds().map(|rounds| Encoding::of_bits(rounds.delta_bits))
    }

    /// Parameters that workers need only as bf16: the weights of a network with that precision, because its products round them
    /// first. With rounds workers step the weights themselves, and need all of their bits.
    #[must_use]
    pub fn rounded_parameters(&self) -> Vec<Range<usize>> {
        if self.model().precision() != Precision::Bf16 || self.rounds.is_some() {
            return Vec::new();
        }
        layout(self.model()).into_iter().map(|layer| layer.weights).collect()
    }

    /// The most samples of a mini-batch.
    #[must_use]
    pub fn largest_batch(&self) -> usize {
        self.parts.recipe.batch_size.min(self.parts.train_samples)
    }

    /// The most samples whose activations are kept at once: a larger mini-batch is summed in parts.
    #[must_use]
    pub fn samples_at_once(&self) -> usize {
        samples_at_once(self.largest_batch(), self.recipe().shard_size)
    }

    /// Memory to compute the gradients of a mini-batch in, or of parts of one.
    #[must_use]
    pub fn workspace(&self, compute: Compute) -> Workspace {
        let Recipe { regularization, seed, .. } = self.recipe();
        let Compute { isa, threads } = compute;
        Workspace::regularized(self.model(), (*regularization, *seed), self.samples_at_once(), threads, isa)
    }

    /// The optimizer before its first step.
    #[must_use]
    pub fn optimizer_state(&self) -> OptimizerState {
        let Recipe { optimizer, max_norm, .. } = self.recipe();
        OptimizerState::new(*optimizer, self.model()).with_max_norm(*max_norm)
    }

    /// The learning rate of a step; of its first sequential step, if it is a round. With the schedule `plateau`, the rate that it
    /// would have without a drop.
    #[must_use]
    pub fn learning_rate(&self, step: u64) -> f32 {
        self.learning_rate_at(self.span(step).first_step)
    }

    /// The learning rate of a sequential step, as for [`Manifest::learning_rate`].
    #[must_use]
    pub fn learning_rate_at(&self, step: u64) -> f32 {
        self.lowered_rate(step, &Plateau::default())
    }

    /// The learning rate of a sequential step, if the evaluations before it have come to this.
    pub(crate) fn lowered_rate(&self, step: u64, plateau: &Plateau) -> f32 {
        let Recipe { schedule, epochs, learning_rate, .. } = &self.parts.recipe;
        let mut multiplier = rate_multiplier(schedule, step, self.sequential_steps_per_epoch(), *epochs);
        if let ScheduleShape::Plateau { factor, .. } = schedule.shape {
            multiplier *= plateau.multiplier(factor);
        }
        (f64::from(*learning_rate) * multiplier) as f32
    }

    /// The name and value of everything that decides the weights after step t, numbers to the last bit.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        // Without `..`: a part that is not hashed must not compile.
        let ManifestParts { model, recipe, train_samples, data_sha256, preprocess_sha256 } = &self.parts;
        let [before, after] = recipe.fields();
        let mut fields = model_fields(model);
        fields.extend(before);
        fields.push(("training samples", train_samples.to_string()));
        fields.push(("data", data_sha256.clone()));
        // Left out without a preparation, so that runs without one keep their hash.
        fields.extend(preprocess_sha256.iter().map(|hash| ("preparation", hash.clone())));
        fields.extend(after);
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

/// The name and value of every part of a network.
fn model_fields(model: &Model) -> Vec<(&'static str, String)> {
    let widths: Vec<String> = model.widths().iter().map(usize::to_string).collect();
    let mut fields = vec![
        ("layers", widths.join("-")),
        ("activation", model.activation().to_string()),
        ("output", model.output().to_string()),
        ("cost", model.cost().to_string()),
    ];
    // Left out at its default, so that older runs keep their hash.
    if !model.precision().is_default() {
        fields.push(("precision", model.precision().to_string()));
    }
    if let Some(scale) = model.input_scale() {
        fields.push(("input-mean", format!("{:?}", scale.mean())));
        fields.push(("input-deviation", format!("{:?}", scale.deviation())));
    }
    if !model.normalization().is_default() {
        fields.push(("normalization", model.normalization().to_string()));
    }
    fields
}

/// The samples of each step, in order: the epoch's permutation, made when an epoch begins and kept until the next.
#[derive(Debug)]
pub struct SampleOrder {
    seed: u64,
    epoch: Option<u64>,
    order: Vec<u32>,
}

impl SampleOrder {
    /// For the run described.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        let seed = manifest.recipe().seed;
        Self { seed, epoch: None, order: vec![0; manifest.parts().train_samples] }
    }

    /// The samples of a step: a mini-batch, or all mini-batches of a round.
    #[must_use]
    pub fn batch(&mut self, manifest: &Manifest, step: u64) -> Samples<'_> {
        let Span { epoch, start, samples, .. } = manifest.span(step);
        if self.epoch != Some(epoch) {
            permutation(self.seed, Purpose::Shuffle, epoch, &mut self.order);
            self.epoch = Some(epoch);
        }
        Samples { indices: &self.order[start..start + samples], epoch }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests;
