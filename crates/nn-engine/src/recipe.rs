//! How a network is trained.

use nn_core::{GradientNoise, Init, Optimizer, Regularization, Schedule, ScheduleShape};
use serde::{Deserialize, Serialize};

use crate::manifest::ManifestError;
use crate::rounds::Rounds;

/// Everything beside the network and its data that decides the weights after step t.
///
/// The manifest embeds it, the configuration holds it, and `Recipe::fields` names each of its parts for the manifest's
/// hash. A new part goes into this struct, into [`Recipe::book`] and into `Recipe::fields`, which does not compile
/// without it. Give it `#[serde(default)]`, or older checkpoints cannot be read; and leave it out of JSON and fields where
/// it is off, so that older runs keep their hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The distribution of the initial weights.
    pub init: Init,
    /// The optimizer and its constants.
    pub optimizer: Optimizer,
    /// The learning rate over the steps, as a multiple of `learning_rate`.
    pub schedule: Schedule,
    /// η before the schedule; positive and finite.
    #[serde(deserialize_with = "nn_core::exact_f32")]
    pub learning_rate: f32,
    /// λ of the L2 penalty λ/(2n) Σw², n being the number of training samples (Nielsen, equation 87); 0 for none.
    #[serde(deserialize_with = "nn_core::exact_f32")]
    pub l2: f32,
    /// Samples of a mini-batch, at least 1.
    pub batch_size: usize,
    /// Samples of a leaf of the canonical tree, 1 to `batch_size`.
    pub shard_size: usize,
    /// Passes over the training samples, at least 1.
    pub epochs: u32,
    /// The seed of the initial weights and of every shuffle.
    pub seed: u64,
    /// When the run ends before its last epoch; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// The largest norm of a mini-batch's mean gradient over all parameters, before the L2 penalty: positive and finite;
    /// `None` for any. See [`nn_core::clip_factor`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "nn_core::exact_f32_if_any"
    )]
    pub clip_norm: Option<f32>,
    /// The largest norm of a hidden unit's incoming weights, to which they are scaled down after each step: positive and finite;
    /// `None` for any. See [`nn_core::OptimizerState::with_max_norm`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "nn_core::exact_f32_if_any"
    )]
    pub max_norm: Option<f32>,
    /// X of the moving average of the weights that is the run's model, above 0 and below 1; `None` for the weights
    /// themselves. See [`nn_core::Average`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "nn_core::exact_f32_if_any"
    )]
    pub ema: Option<f32>,
    /// Steps of several replicas between two averages; `None` for synchronous steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Rounds>,
    /// What training does to single samples.
    #[serde(default, skip_serializing_if = "Regularization::is_none")]
    pub regularization: Regularization,
    /// σ of differentially private training: the noise's deviation as a multiple of the largest norm of a sample's gradient,
    /// `regularization.clip_samples`, which it needs; positive and finite; `None` for no noise. See [`GradientNoise`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "nn_core::exact_f32_if_any"
    )]
    pub dp_noise: Option<f32>,
    /// The [`params_sha256`](crate::params_sha256) of the initial weights, if they are those of a model and not drawn by `init` and
    /// `seed`. See [`Manifest::beginning_with`](crate::Manifest::beginning_with).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_sha256: Option<String>,
}

/// A run ends once it has been evaluated so many times in a row without a better result on its validation samples, and
/// its result is then the weights of the best evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// Evaluations without improvement, at least 1.
    pub evaluations: u32,
    /// Epochs between two evaluations, at least 1. The last epoch is always evaluated.
    pub every_epochs: u32,
}

impl Recipe {
    /// Nielsen's first run: plain SGD at η = 3 in mini-batches of 10 for 30 epochs. It is what `nn train` does by itself,
    /// and what tests start from.
    #[must_use]
    pub fn book() -> Self {
        Self {
            init: Init::Scaled,
            optimizer: Optimizer::Sgd,
            schedule: Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 },
            learning_rate: 3.0,
            l2: 0.0,
            batch_size: 10,
            shard_size: 2,
            epochs: 30,
            seed: 1,
            early_stopping: None,
            clip_norm: None,
            max_norm: None,
            ema: None,
            rounds: None,
            regularization: Regularization::default(),
            dp_noise: None,
            initial_sha256: None,
        }
    }

    /// The noise of a step, if there is any.
    #[must_use]
    pub fn noise(&self, step: u64) -> Option<GradientNoise> {
        let multiplier = self.dp_noise?;
        Some(GradientNoise::new(multiplier, self.regularization.clip_samples, self.seed, step))
    }

    /// Checks every part.
    ///
    /// # Errors
    /// Names the first part that makes no run.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        if self.batch_size == 0 {
            return Err(ManifestError::NoBatch);
        }
        if self.shard_size == 0 || self.shard_size > self.batch_size {
            return Err(ManifestError::Shard { shard: self.shard_size, batch: self.batch_size });
        }
        if self.epochs == 0 {
            return Err(ManifestError::NoEpochs);
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return Err(ManifestError::LearningRate(self.learning_rate));
        }
        if !(self.l2.is_finite() && self.l2 >= 0.0) {
            return Err(ManifestError::L2(self.l2));
        }
        if matches!(self.schedule.shape, ScheduleShape::Step { every_epochs: 0, .. }) {
            return Err(ManifestError::NoStepEpochs);
        }
        if self.early_stopping.is_some_and(|rule| rule.evaluations == 0 || rule.every_epochs == 0) {
            return Err(ManifestError::NoEvaluations);
        }
        if let ScheduleShape::Wsd { decay } = self.schedule.shape
            && !(decay > 0.0 && decay <= 1.0)
        {
            return Err(ManifestError::Decay(decay));
        }
        if let ScheduleShape::Plateau { factor, evaluations, every_epochs } = self.schedule.shape {
            if !(factor > 0.0 && factor < 1.0) {
                return Err(ManifestError::PlateauFactor(factor));
            }
            if evaluations == 0 || every_epochs == 0 {
                return Err(ManifestError::NoPlateauEvaluations);
            }
            if self.rounds.is_some() {
                return Err(ManifestError::PlateauInRounds);
            }
        }
        if let ScheduleShape::OneCycle { rise, divisor, final_divisor } = self.schedule.shape {
            if !(rise > 0.0 && rise <= 1.0) {
                return Err(ManifestError::Rise(rise));
            }
            let divisors = [("one-cycle-divisor", divisor), ("one-cycle-final-divisor", final_divisor)];
            if let Some((name, value)) =
                divisors.into_iter().find(|&(_, value)| !(value.is_finite() && value >= 1.0))
            {
                return Err(ManifestError::Divisor { name, value });
            }
            if self.schedule.warmup_steps > 0 {
                return Err(ManifestError::WarmUpOfOneCycle);
            }
        }
        if let Some(most) = self.clip_norm.filter(|&most| !(most.is_finite() && most > 0.0)) {
            return Err(ManifestError::ClipNorm(most));
        }
        if let Some(most) = self.max_norm.filter(|&most| !(most.is_finite() && most > 0.0)) {
            return Err(ManifestError::MaxNorm(most));
        }
        if let Some(decay) = self.ema.filter(|&decay| !(decay > 0.0 && decay < 1.0)) {
            return Err(ManifestError::Ema(decay));
        }
        if let Some(rounds) = &self.rounds {
            rounds.check()?;
        }
        if let Some(noise) = self.dp_noise {
            if !(noise.is_finite() && noise > 0.0) {
                return Err(ManifestError::PrivacyNoise(noise));
            }
            if self.regularization.clip_samples <= 0.0 {
                return Err(ManifestError::NoiseWithoutClip);
            }
            if self.clip_norm.is_some() || self.rounds.is_some() {
                let what = if self.rounds.is_some() { "rounds" } else { "clipping by the global norm" };
                return Err(ManifestError::NoiseWith(what));
            }
        }
        let is_hash = |hash: &String| hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !self.initial_sha256.as_ref().is_none_or(is_hash) {
            return Err(ManifestError::NoHash);
        }
        if let Some((name, value)) = self.regularization.out_of_range() {
            return Err(ManifestError::Constant { name, value });
        }
        let constants =
            [optimizer_constants(self.optimizer), schedule_constants(self.schedule.shape)].concat();
        match constants.into_iter().find(|(_, value)| !value.is_finite()) {
            Some((name, value)) => Err(ManifestError::Constant { name, value }),
            None => Ok(()),
        }
    }

    /// The name and value of every part, numbers to the last bit, in the order in which the manifest hashes them: the
    /// parts that stand before the data in the hash, and those after it.
    ///
    /// The number of epochs is among them only if the schedule or the evaluations depend on it, so that a run can be made
    /// longer.
    pub(crate) fn fields(&self) -> [Vec<(&'static str, String)>; 2] {
        // Without `..`: a part that is not hashed must not compile.
        let Self {
            init,
            optimizer,
            schedule,
            learning_rate,
            l2,
            batch_size,
            shard_size,
            epochs,
            seed,
            early_stopping,
            clip_norm,
            max_norm,
            ema,
            rounds,
            regularization,
            dp_noise,
            initial_sha256,
        } = self;
        let Schedule { shape, warmup_steps } = schedule;
        let before = vec![
            ("init", init.to_string()),
            ("learning-rate", format!("{learning_rate:?}")),
            ("l2", format!("{l2:?}")),
            ("batch-size", batch_size.to_string()),
            ("shard-size", shard_size.to_string()),
            ("seed", seed.to_string()),
        ];
        let constants = [optimizer_constants(*optimizer), schedule_constants(*shape)].concat();
        let mut after: Vec<_> =
            constants.into_iter().map(|(name, value)| (name, format!("{value:?}"))).collect();
        if let ScheduleShape::Step { every_epochs, factor: _ } = shape {
            after.push(("step-epochs", every_epochs.to_string()));
        }
        if let ScheduleShape::Plateau { evaluations, every_epochs, factor: _ } = shape {
            after.push(("plateau-evaluations", evaluations.to_string()));
            after.push(("plateau-every", every_epochs.to_string()));
        }
        after.push(("optimizer", optimizer.name().to_string()));
        after.push(("schedule", shape.name().to_string()));
        after.push(("warmup-steps", warmup_steps.to_string()));
        let mut epochs_matter = match shape {
            ScheduleShape::Cosine { .. } | ScheduleShape::Wsd { .. } | ScheduleShape::OneCycle { .. } => true,
            // An evaluation that is made only because the epoch is the last does not count for a plateau.
            ScheduleShape::Constant | ScheduleShape::Step { .. } | ScheduleShape::Plateau { .. } => false,
        };
        if let Some(EarlyStopping { evaluations, every_epochs }) = early_stopping {
            after.push(("early-stopping", evaluations.to_string()));
            after.push(("eval-every", every_epochs.to_string()));
            // The last epoch is evaluated although it is not due, which a longer run would not do.
            epochs_matter |= !epochs.is_multiple_of(*every_epochs);
        }
        after.extend(clip_norm.map(|most| ("clip-norm", format!("{most:?}"))));
        after.extend(max_norm.map(|most| ("max-norm", format!("{most:?}"))));
        after.extend(ema.map(|decay| ("ema", format!("{decay:?}"))));
        after.extend(rounds.iter().flat_map(Rounds::fields));
        after.extend(regularization.fields());
        after.extend(dp_noise.map(|noise| ("dp-noise", format!("{noise:?}"))));
        after.extend(initial_sha256.iter().map(|hash| ("initial-weights", hash.clone())));
        if epochs_matter {
            after.push(("epochs", epochs.to_string()));
        }
        [before, after]
    }
}

/// The constants of an optimizer by name.
fn optimizer_constants(optimizer: Optimizer) -> Vec<(&'static str, f32)> {
    match optimizer {
        Optimizer::Sgd => Vec::new(),
        Optimizer::Momentum { momentum } | Optimizer::Nesterov { momentum } => vec![("momentum", momentum)],
        Optimizer::Adam { beta1, beta2, epsilon } => {
            vec![("beta1", beta1), ("beta2", beta2), ("epsilon", epsilon)]
        }
        Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
            vec![("beta1", beta1), ("beta2", beta2), ("epsilon", epsilon), ("weight-decay", weight_decay)]
        }
    }
}

/// The real constants of a schedule by name; its whole numbers are fields of their own.
fn schedule_constants(shape: ScheduleShape) -> Vec<(&'static str, f32)> {
    match shape {
        ScheduleShape::Constant => Vec::new(),
        ScheduleShape::Step { every_epochs: _, factor } => vec![("step-factor", factor)],
        ScheduleShape::Cosine { floor } => vec![("cosine-floor", floor)],
        ScheduleShape::Wsd { decay } => vec![("wsd-decay", decay)],
        ScheduleShape::Plateau { factor, evaluations: _, every_epochs: _ } => {
            vec![("plateau-factor", factor)]
        }
        ScheduleShape::OneCycle { rise, divisor, final_divisor } => vec![
            ("one-cycle-rise", rise),
            ("one-cycle-divisor", divisor),
            ("one-cycle-final-divisor", final_divisor),
        ],
    }
}
