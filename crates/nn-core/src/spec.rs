//! What to train and how, as plain values: the vocabulary of every other module.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::names::{Named, names};

/// Reads an `f32` that may come through an `f64`, as serde's tagged enums and flattened structs pass it on, without
/// rounding it twice: 7.038531e-26 would come back as its neighbour.
///
/// # Errors
/// If the value is not a number.
pub fn exact_f32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    // The shortest text of the f64 is the text that the f32 was written as: it has at most 9 digits, and 15 survive.
    f64::deserialize(deserializer)?.to_string().parse().map_err(D::Error::custom)
}

/// [`exact_f32`] for a number that may be missing. Its field needs `#[serde(default)]`.
///
/// # Errors
/// As for [`exact_f32`].
pub fn exact_f32_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    #[derive(Deserialize)]
    struct Exact(#[serde(deserialize_with = "exact_f32")] f32);
    Ok(Option::<Exact>::deserialize(deserializer)?.map(|Exact(x)| x))
}

/// The activation function σ of the hidden layers.
///
/// **The rule for σ'.** The forward pass overwrites the weighted input z with a = σ(z). Where σ' is a function of a (sigmoid, tanh,
/// ReLU, leaky ReLU), the backward pass computes it from a. Otherwise (GELU, SiLU) the forward pass keeps σ'(z) as well, in a
/// second run of lanes for each hidden layer: the *slopes*. So it does with dropout, whose masks are a part of the slope.
///
/// To add one:
/// 1. its function in [`math`](crate::math), if it needs more than arithmetic, with its error bound and pinned bits;
/// 2. a variant here, with its name;
/// 3. value and derivative in `kernel/vector.rs`, and once more, one number at a time, in `reference.rs` (`activate`, `slope`);
///    `tests/exact.rs` holds them together bit for bit;
/// 4. its PyTorch counterpart in `tests/golden/make_golden.py`, and its formula in `tests/gradients.rs`;
/// 5. a case in nn-engine's `arithmetic_fingerprint`, whose pinned value changes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// σ(z) = 1 / (1 + e⁻ᶻ)
    Sigmoid,
    /// max(0, z)
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// z, or [`LEAK`](Self::LEAK)·z below 0 (Maas, Hannun and Ng 2013).
    LeakyRelu,
    /// z·Φ(z), Φ being the distribution function of the normal distribution (Hendrycks and Gimpel 2016).
    Gelu,
    /// z / (1 + e⁻ᶻ), also called swish (Elfwing, Uchibe and Doya 2018).
    Silu,
}

impl Activation {
    /// The slope of leaky ReLU below 0.
    pub const LEAK: f32 = 0.01;

    /// Whether σ'(z) is a function of σ(z). If not, a workspace for gradients keeps the slopes.
    #[must_use]
    pub fn has_slope_of_value(self) -> bool {
        match self {
            Self::Sigmoid | Self::Relu | Self::Tanh | Self::LeakyRelu => true,
            Self::Gelu | Self::Silu => false,
        }
    }

    /// Whether it passes positive inputs on, more or less as they are.
    #[must_use]
    pub fn is_rectifier(self) -> bool {
        match self {
            Self::Relu | Self::LeakyRelu | Self::Gelu | Self::Silu => true,
            Self::Sigmoid | Self::Tanh => false,
        }
    }
}

names!(Activation {
    Sigmoid = "sigmoid",
    Relu = "relu",
    Tanh = "tanh",
    LeakyRelu = "leaky-relu",
    Gelu = "gelu",
    Silu = "silu",
});

/// The normalisation of the hidden layers' weighted inputs z, before the activation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// None: a = σ(z).
    #[default]
    None,
    /// Layer normalisation (Ba, Kiros and Hinton 2016): a = σ(γ ⊙ (z − m)/√(v + [`EPSILON`](Self::EPSILON)) + β), m and v being the mean and the
    /// variance of z over the units of the layer, for each sample by itself. Each unit has its own γ and β, which are learnt.
    Layer,
}

impl Normalization {
    /// What is added to the variance: PyTorch's default.
    pub const EPSILON: f32 = 1e-5;

    /// Whether this is the default, which is left out where a network is written.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

names!(Normalization { None = "none", Layer = "layer" });

/// The precision of the operands of the three matrix products of a step: weights, activations and deltas. Sums, biases,
/// functions, costs, gradients, moments and the weights that the optimizer changes are `f32` in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits of precision; sums in ascending order.
    #[default]
    F32,
    /// bfloat16, 8 bits of precision: operands are rounded by [`round_to_bf16`](crate::round_to_bf16), and sums have the
    /// order of matrix units.
    Bf16,
}

impl Precision {
    /// Whether this is the default, which is left out where a network is written.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

names!(Precision { F32 = "f32", Bf16 = "bf16" });

/// The function of the output layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// σ(z), for each output separately.
    Sigmoid,
    /// eᶻʲ / Σₖ eᶻᵏ: a probability distribution over the outputs.
    Softmax,
    /// z itself, for regression.
    Linear,
}

names!(Output { Sigmoid = "sigmoid", Softmax = "softmax", Linear = "linear" });

/// The cost C, averaged over the n samples of a mini-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// C = 1/(2n) Σ ‖y − a‖² (Nielsen, equation 6).
    Mse,
    /// With sigmoid outputs C = −1/n Σ Σⱼ [yⱼ ln aⱼ + (1 − yⱼ) ln(1 − aⱼ)] (Nielsen, equation 63); with softmax
    /// outputs C = −1/n Σ ln a_y.
    CrossEntropy,
    /// C = 1/n Σ Σⱼ h(aⱼ − yⱼ) with h(e) = e²/2 for |e| ≤ 1 and |e| − ½ beyond (Huber 1964), for linear outputs: an outlier pulls no
    /// harder than an error of 1.
    Huber,
}

names!(Cost { Mse = "mse", CrossEntropy = "cross-entropy", Huber = "huber" });

/// What a network learns from its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// One class of several.
    Classification,
    /// Numbers.
    Regression,
}

names!(Task { Classification = "classification", Regression = "regression" });

/// The distribution of the initial weights. Biases are N(0, 1) with [`Init::Normal`] and [`Init::Scaled`], as in
/// Nielsen's book, and 0 otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// N(0, 1): the book's first chapter.
    Normal,
    /// N(0, 1/fan_in): the book's third chapter.
    Scaled,
    /// N(0, 2/(fan_in + fan_out)) (Glorot and Bengio 2010), for tanh and sigmoid.
    Xavier,
    /// N(0, 2/fan_in) (He et al. 2015), for ReLU.
    He,
}

names!(Init { Normal = "normal", Scaled = "scaled", Xavier = "xavier", He = "he" });

/// The optimizer and its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Optimizer {
    /// w ← w − ηg
    Sgd,
    /// v ← μv + g; w ← w − ηv
    Momentum {
        /// μ, in 0..1
        #[serde(deserialize_with = "exact_f32")]
        momentum: f32,
    },
    /// v ← μv + g; w ← w − η(g + μv) (Sutskever et al. 2013, in PyTorch's form)
    Nesterov {
        /// μ, in 0..1
        #[serde(deserialize_with = "exact_f32")]
        momentum: f32,
    },
    /// Kingma and Ba 2015.
    Adam {
        /// Decay of the first moment.
        #[serde(deserialize_with = "exact_f32")]
        beta1: f32,
        /// Decay of the second moment.
        #[serde(deserialize_with = "exact_f32")]
        beta2: f32,
        /// Added to the root of the second moment.
        #[serde(deserialize_with = "exact_f32")]
        epsilon: f32,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    #[serde(rename = "adamw", alias = "adam-w")] // the alias is for existing checkpoints
    AdamW {
        /// Decay of the first moment.
        #[serde(deserialize_with = "exact_f32")]
        beta1: f32,
        /// Decay of the second moment.
        #[serde(deserialize_with = "exact_f32")]
        beta2: f32,
        /// Added to the root of the second moment.
        #[serde(deserialize_with = "exact_f32")]
        epsilon: f32,
        /// w ← w − ηλw before the Adam update; weights only, not biases.
        #[serde(deserialize_with = "exact_f32")]
        weight_decay: f32,
    },
}

impl Optimizer {
    /// The algorithm, without its constants.
    #[must_use]
    pub fn kind(self) -> OptimizerName {
        match self {
            Self::Sgd => OptimizerName::Sgd,
            Self::Momentum { .. } => OptimizerName::Momentum,
            Self::Nesterov { .. } => OptimizerName::Nesterov,
            Self::Adam { .. } => OptimizerName::Adam,
            Self::AdamW { .. } => OptimizerName::AdamW,
        }
    }

    /// The name of the algorithm.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.kind().name()
    }
}

/// An [`Optimizer`] without its constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // see `Optimizer`
pub enum OptimizerName {
    Sgd,
    Momentum,
    Nesterov,
    Adam,
    AdamW,
}

names!(OptimizerName {
    Sgd = "sgd",
    Momentum = "momentum",
    Nesterov = "nesterov",
    Adam = "adam",
    AdamW = "adamw",
});

/// The learning rate over the steps of a run, after a linear warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The course of the rate after the warm-up.
    pub shape: ScheduleShape,
    /// Steps over which the rate climbs linearly to its full value; 0 for none.
    pub warmup_steps: u64,
}

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum ScheduleShape {
    /// The learning rate itself.
    Constant,
    /// Multiplied by `factor` after every `every_epochs` epochs.
    Step {
        /// Epochs between drops, at least 1.
        every_epochs: u32,
        /// In (0, 1].
        #[serde(deserialize_with = "exact_f32")]
        factor: f32,
    },
    /// From the learning rate down to `floor` × the learning rate along half a cosine over the whole run
    /// (Loshchilov and Hutter 2017, without restarts). This shape and the next two depend on the number of epochs.
    Cosine {
        /// The final rate as a fraction of the learning rate, in 0..=1.
        #[serde(deserialize_with = "exact_f32")]
        floor: f32,
    },
    /// Warm-up, stable, decay (Hu et al. 2024): the learning rate itself, and over the last part of the run's steps a line
    /// down to 0.
    Wsd {
        /// The last part, as a fraction of the run's steps, in (0, 1].
        #[serde(deserialize_with = "exact_f32")]
        decay: f32,
    },
    /// One cycle (Smith and Topin 2018): from the learning rate / `divisor` up to the learning rate along half a cosine, and
    /// along another down to that first rate / `final_divisor`. It is its own warm-up, and has no other.
    OneCycle {
        /// The part of the run's steps in which the rate rises, in (0, 1].
        #[serde(deserialize_with = "exact_f32")]
        rise: f32,
        /// What the learning rate is divided by to give the rate of the first step, at least 1.
        #[serde(deserialize_with = "exact_f32")]
        divisor: f32,
        /// What the rate of the first step is divided by to give that of the last, at least 1.
        #[serde(deserialize_with = "exact_f32")]
        final_divisor: f32,
    },
    /// Multiplied by `factor` whenever the loss on the validation samples has not fallen for so many evaluations: see
    /// [`Plateau`](crate::Plateau). The only shape that is no function of the step.
    Plateau {
        /// In (0, 1).
        #[serde(deserialize_with = "exact_f32")]
        factor: f32,
        /// Evaluations without improvement before a drop, at least 1.
        evaluations: u32,
        /// Epochs between two evaluations, at least 1.
        every_epochs: u32,
    },
}

impl ScheduleShape {
    /// The shape, without its constants.
    #[must_use]
    pub fn kind(self) -> ScheduleName {
        match self {
            Self::Constant => ScheduleName::Constant,
            Self::Step { .. } => ScheduleName::Step,
            Self::Cosine { .. } => ScheduleName::Cosine,
            Self::Wsd { .. } => ScheduleName::Wsd,
            Self::OneCycle { .. } => ScheduleName::OneCycle,
            Self::Plateau { .. } => ScheduleName::Plateau,
        }
    }

    /// The name of the shape.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.kind().name()
    }
}

/// A [`ScheduleShape`] without its constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // see `ScheduleShape`
pub enum ScheduleName {
    Constant,
    Step,
    Cosine,
    Wsd,
    OneCycle,
    Plateau,
}

names!(ScheduleName {
    Constant = "constant",
    Step = "step",
    Cosine = "cosine",
    Wsd = "wsd",
    OneCycle = "one-cycle",
    Plateau = "plateau",
});

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    /// The table's names are those that serde reads and writes, and each leads back to its value.
    fn names_are_serdes<T: Named + Debug + Serialize + DeserializeOwned>() {
        for &(name, value) in T::NAMES {
            assert_eq!(to_value(value).unwrap(), Value::from(name));
            assert_eq!(from_value::<T>(name.into()).unwrap(), value);
        }
    }

    #[test]
    fn files_and_options_use_the_same_names() {
        names_are_serdes::<Activation>();
        names_are_serdes::<Output>();
        names_are_serdes::<Cost>();
        names_are_serdes::<Init>();
        names_are_serdes::<Normalization>();
        names_are_serdes::<Precision>();

        let (momentum, beta1, beta2, epsilon, weight_decay) = (0.9, 0.9, 0.999, 1e-8, 0.01);
        for optimizer in [
            Optimizer::Sgd,
            Optimizer::Momentum { momentum },
            Optimizer::Nesterov { momentum },
            Optimizer::Adam { beta1, beta2, epsilon },
            Optimizer::AdamW { beta1, beta2, epsilon, weight_decay },
        ] {
            assert_eq!(to_value(optimizer).unwrap()["name"], optimizer.name());
        }
        for shape in [
            ScheduleShape::Constant,
            ScheduleShape::Step { every_epochs: 1, factor: 0.5 },
            ScheduleShape::Cosine { floor: 0.0 },
            ScheduleShape::Wsd { decay: 0.5 },
            ScheduleShape::OneCycle { rise: 0.3, divisor: 25.0, final_divisor: 1e4 },
            ScheduleShape::Plateau { factor: 0.1, evaluations: 5, every_epochs: 1 },
        ] {
            assert_eq!(to_value(shape).unwrap()["name"], shape.name());
        }
    }

    #[test]
    fn a_name_leads_back_to_its_value() {
        fn holds<T: Named + Debug>() {
            for &(name, value) in T::NAMES {
                assert_eq!((value.name(), T::from_name(name)), (name, Some(value)));
                assert_eq!(format!("{value:>20}"), format!("{name:>20}"));
            }
            assert_eq!(T::from_name("adam-w"), None);
        }
        holds::<Activation>();
        holds::<Output>();
        holds::<Cost>();
        holds::<Task>();
        holds::<Init>();
        holds::<Normalization>();
        holds::<Precision>();
        holds::<OptimizerName>();
        holds::<ScheduleName>();
    }

    #[test]
    fn checkpoints_with_the_earlier_name_of_adamw_are_read() {
        let constants =
            json!({"name": "adam-w", "beta1": 0.5, "beta2": 0.5, "epsilon": 1.0, "weight_decay": 0.5});
        let adamw = Optimizer::AdamW { beta1: 0.5, beta2: 0.5, epsilon: 1.0, weight_decay: 0.5 };
        assert_eq!(from_value::<Optimizer>(constants).unwrap(), adamw);
    }
}
