//! What to train and how, as plain checked values: the vocabulary that every other module speaks.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// Reads an `f32` that may come through an `f64`, as serde's tagged enums and flattened structs pass it on, without
/// rounding it twice: 7.038531e-26 would come back as its neighbour.
///
/// # Errors
/// If the value is not a number.
pub fn exact_f32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    // The shortest text of the f64 is the text that the f32 was written as: it has at most 9 digits, and 15 survive.
    f64::deserialize(deserializer)?.to_string().parse().map_err(D::Error::custom)
}

/// The activation function of the hidden layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// σ(z) = 1 / (1 + e⁻ᶻ)
    Sigmoid,
    /// max(0, z)
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// The function of the output layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// σ(z) for each output by itself.
    Sigmoid,
    /// eᶻʲ / Σₖ eᶻᵏ: a probability over the outputs.
    Softmax,
    /// z itself, for regression.
    Linear,
}

/// The cost C, averaged over the n samples of a mini-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// C = 1/(2n) Σ ‖y − a‖² (Nielsen, equation 6).
    Mse,
    /// With sigmoid outputs C = −1/n Σ Σⱼ [yⱼ ln aⱼ + (1 − yⱼ) ln(1 − aⱼ)] (Nielsen, equation 63); with softmax
    /// outputs C = −1/n Σ ln a_y.
    CrossEntropy,
}

/// How the weights are drawn. Biases are N(0, 1) with [`Init::Normal`] and [`Init::Scaled`], as in Nielsen's book,
/// and 0 otherwise.
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
    /// v ← μv + g; w ← w − η(g + μv) (Sutskever et al. 2013, in the form PyTorch uses)
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

/// The learning rate over the steps of a run, after a linear warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// How the rate goes on after the warm-up.
    pub shape: ScheduleShape,
    /// Steps over which the rate climbs linearly to its full value; 0 for none.
    pub warmup_steps: u64,
}

/// See [`Schedule`].
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
    /// (Loshchilov and Hutter 2017, without restarts). The only shape that depends on the number of epochs.
    Cosine {
        /// The fraction that is left at the end, in 0..=1.
        #[serde(deserialize_with = "exact_f32")]
        floor: f32,
    },
}

/// The network: widths and functions. Made by [`Model::new`], which checks it; so does reading one from a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedModel")]
pub struct Model {
    widths: Vec<usize>,
    activation: Activation,
    output: Output,
    cost: Cost,
}

#[derive(Deserialize)]
struct UncheckedModel {
    widths: Vec<usize>,
    activation: Activation,
    output: Output,
    cost: Cost,
}

impl TryFrom<UncheckedModel> for Model {
    type Error = ModelError;

    fn try_from(m: UncheckedModel) -> Result<Self, ModelError> {
        Self::new(m.widths, m.activation, m.output, m.cost)
    }
}

/// Why a [`Model`] cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum ModelError {
    #[error("a network needs an input and an output layer, but {0} layer width(s) were given")]
    TooFewLayers(usize),
    #[error("layer {layer} has width 0; every layer needs at least one neuron")]
    ZeroWidth { layer: usize },
    #[error("the network would have more than {limit} parameters; use narrower or fewer hidden layers")]
    TooLarge { limit: usize },
    #[error(
        "cross-entropy needs sigmoid or softmax outputs, not linear ones; use --cost mse or --output softmax"
    )]
    LinearCrossEntropy,
}

/// The most parameters a model may have: 2³¹ (8 GiB of f32).
pub const MAX_PARAMETERS: usize = 1 << 31;

impl Model {
    /// A network whose layers have the `widths` given, input first and output last.
    ///
    /// # Errors
    /// Fewer than two layers, a width of 0, more than [`MAX_PARAMETERS`], or a cost that the output does not allow.
    pub fn new(
        widths: Vec<usize>,
        activation: Activation,
        output: Output,
        cost: Cost,
    ) -> Result<Self, ModelError> {
        if widths.len() < 2 {
            return Err(ModelError::TooFewLayers(widths.len()));
        }
        if let Some(layer) = widths.iter().position(|&w| w == 0) {
            return Err(ModelError::ZeroWidth { layer });
        }
        if output == Output::Linear && cost == Cost::CrossEntropy {
            return Err(ModelError::LinearCrossEntropy);
        }
        let mut total = 0_usize;
        for pair in widths.windows(2) {
            let layer = pair[0].checked_add(1).and_then(|inputs| inputs.checked_mul(pair[1]));
            total = layer.and_then(|n| total.checked_add(n)).unwrap_or(usize::MAX);
            if total > MAX_PARAMETERS {
                return Err(ModelError::TooLarge { limit: MAX_PARAMETERS });
            }
        }
        Ok(Self { widths, activation, output, cost })
    }

    /// The widths of all layers, input first.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// The function of the hidden layers.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The function of the output layer.
    pub fn output(&self) -> Output {
        self.output
    }

    /// The cost.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The width of the input layer.
    pub fn input_width(&self) -> usize {
        self.widths[0]
    }

    /// The width of the output layer.
    pub fn output_width(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }

    /// How many layers have weights: one fewer than there are widths.
    pub fn layers(&self) -> usize {
        self.widths.len() - 1
    }

    /// All weights and biases.
    pub fn parameters(&self) -> usize {
        self.widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum()
    }
}
