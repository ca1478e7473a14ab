//! The network to train, checked.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::spec::{Activation, Cost, Normalization, Output, Precision, Task, exact_f32};

/// The network: widths, functions and cost. [`Model::new`] checks it, and so does deserialisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedModel")]
pub struct Model {
    widths: Vec<usize>,
    activation: Activation,
    output: Output,
    cost: Cost,
    #[serde(skip_serializing_if = "Precision::is_default")]
    precision: Precision,
    #[serde(skip_serializing_if = "Normalization::is_default")]
    normalization: Normalization,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_scale: Option<InputScale>,
}

/// The standardisation of inputs that are all alike, such as pixels: each input x becomes (x − mean) · (1/deviation), with both
/// operations and the quotient rounded to f32. It belongs to the network, which has it in training and afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedInputScale")]
pub struct InputScale {
    mean: f32,
    deviation: f32,
}

#[derive(Deserialize)]
struct UncheckedInputScale {
    #[serde(deserialize_with = "exact_f32")]
    mean: f32,
    #[serde(deserialize_with = "exact_f32")]
    deviation: f32,
}

impl TryFrom<UncheckedInputScale> for InputScale {
    type Error = ModelError;

    fn try_from(scale: UncheckedInputScale) -> Result<Self, ModelError> {
        Self::new(scale.mean, scale.deviation)
    }
}

// Its numbers are finite.
impl Eq for InputScale {}

impl InputScale {
    /// # Errors
    /// A mean that is not finite, or a deviation that is not positive or has no finite reciprocal.
    pub fn new(mean: f32, deviation: f32) -> Result<Self, ModelError> {
        let good =
            mean.is_finite() && deviation > 0.0 && deviation.is_finite() && (1.0 / deviation).is_finite();
        if good { Ok(Self { mean, deviation }) } else { Err(ModelError::InputScale) }
    }

    /// What is subtracted from an input.
    #[must_use]
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// What the difference is divided by, by a multiplication with the reciprocal.
    #[must_use]
    pub fn deviation(&self) -> f32 {
        self.deviation
    }

    /// The input as the network sees it.
    #[must_use]
    pub fn apply(&self, x: f32) -> f32 {
        (x - self.mean) * (1.0 / self.deviation)
    }
}

#[derive(Deserialize)]
struct UncheckedModel {
    widths: Vec<usize>,
    activation: Activation,
    output: Output,
    cost: Cost,
    #[serde(default)]
    precision: Precision,
    #[serde(default)]
    normalization: Normalization,
    #[serde(default)]
    input_scale: Option<InputScale>,
}

impl TryFrom<UncheckedModel> for Model {
    type Error = ModelError;

    fn try_from(m: UncheckedModel) -> Result<Self, ModelError> {
        let model = Self::new(m.widths, m.activation, m.output, m.cost)?;
        Ok(model
            .with_precision(m.precision)
            .with_normalization(m.normalization)?
            .with_input_scale(m.input_scale))
    }
}

/// The most parameters a model may have: 2³¹ (8 GiB of f32).
pub const MAX_PARAMETERS: usize = 1 << 31;

/// The reason why [`Model::new`] refuses a network.
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
        "layer {layer} has one unit, which is its own mean: layer normalisation would make it the same for all samples; \
         give the layer more units, or leave the normalisation out"
    )]
    NormalizedUnit { layer: usize },
    #[error(transparent)]
    Combination(#[from] CombinationError),
    #[error("inputs cannot be standardised by this mean and deviation")]
    InputScale,
}

/// The reason why an output function, a cost and a task cannot be combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the messages state the facts
pub enum CombinationError {
    #[error(
        "cross-entropy needs sigmoid or softmax outputs, not linear ones; use --cost mse or --output softmax"
    )]
    LinearCrossEntropy,
    #[error("the Huber loss needs linear outputs; use --output linear or another --cost")]
    HuberNeedsLinear,
    #[error("cross-entropy is for classes, but the targets are numbers; use --cost mse")]
    RegressionCrossEntropy,
    #[error("softmax is for classes, but the targets are numbers; use --output linear")]
    RegressionSoftmax,
}

/// Checks that a network with this output function and cost can learn the task; `None` if the task is not known yet.
///
/// # Errors
/// The first rule that the combination breaks.
pub fn check_combination(task: Option<Task>, output: Output, cost: Cost) -> Result<(), CombinationError> {
    let regression = task == Some(Task::Regression);
    match (output, cost) {
        (_, Cost::CrossEntropy) if regression => Err(CombinationError::RegressionCrossEntropy),
        (Output::Softmax, _) if regression => Err(CombinationError::RegressionSoftmax),
        (Output::Sigmoid | Output::Softmax, Cost::Huber) => Err(CombinationError::HuberNeedsLinear),
        (Output::Linear, Cost::CrossEntropy) => Err(CombinationError::LinearCrossEntropy),
        (Output::Sigmoid | Output::Softmax, Cost::CrossEntropy)
        | (Output::Sigmoid | Output::Softmax | Output::Linear, Cost::Mse)
        | (Output::Linear, Cost::Huber) => Ok(()),
    }
}

impl Model {
    /// A network with layers of the given `widths`, input first and output last.
    ///
    /// # Errors
    /// Fewer than two layers, a width of 0, more than [`MAX_PARAMETERS`], or a cost that does not suit the output.
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
        check_combination(None, output, cost)?;
        let mut total = 0_usize;
        for pair in widths.windows(2) {
            let layer = pair[0].checked_add(1).and_then(|inputs| inputs.checked_mul(pair[1]));
            total = layer.and_then(|n| total.checked_add(n)).unwrap_or(usize::MAX);
            if total > MAX_PARAMETERS {
                return Err(ModelError::TooLarge { limit: MAX_PARAMETERS });
            }
        }
        let (precision, normalization) = (Precision::default(), Normalization::default());
        Ok(Self { widths, activation, output, cost, precision, normalization, input_scale: None })
    }

    /// The same network with products of this precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same network with this standardisation of its inputs, or with none.
    #[must_use]
    pub fn with_input_scale(self, input_scale: Option<InputScale>) -> Self {
        Self { input_scale, ..self }
    }

    /// The same network with its hidden layers normalised so, which adds parameters to it.
    ///
    /// # Errors
    /// A hidden layer of one unit, or more than [`MAX_PARAMETERS`].
    pub fn with_normalization(self, normalization: Normalization) -> Result<Self, ModelError> {
        let hidden = &self.widths[1..self.widths.len() - 1];
        if normalization == Normalization::Layer
            && let Some(layer) = hidden.iter().position(|&width| width == 1)
        {
            return Err(ModelError::NormalizedUnit { layer: layer + 1 });
        }
        let model = Self { normalization, ..self };
        if model.parameters() > MAX_PARAMETERS {
            return Err(ModelError::TooLarge { limit: MAX_PARAMETERS });
        }
        Ok(model)
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

    /// The precision of the products' operands.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The standardisation of its inputs, if they have one.
    pub fn input_scale(&self) -> Option<InputScale> {
        self.input_scale
    }

    /// The normalisation of the hidden layers.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// The width of the input layer.
    pub fn input_width(&self) -> usize {
        self.widths[0]
    }

    /// The width of the output layer.
    pub fn output_width(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }

    /// The number of layers with weights: one fewer than there are widths.
    pub fn layers(&self) -> usize {
        self.widths.len() - 1
    }

    /// The number of weights and biases, and of γ and β where layers are normalised.
    pub fn parameters(&self) -> usize {
        let hidden: usize = self.widths[1..self.layers()].iter().sum();
        let normalized = match self.normalization {
            Normalization::None => 0,
            Normalization::Layer => 2 * hidden,
        };
        self.widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum::<usize>() + normalized
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_networks_are_refused() {
        let new = |widths: &[usize], output, cost| {
            Model::new(widths.to_vec(), Activation::Relu, output, cost).unwrap_err()
        };
        assert_eq!(new(&[3], Output::Linear, Cost::Mse), ModelError::TooFewLayers(1));
        assert_eq!(new(&[3, 0, 2], Output::Linear, Cost::Mse), ModelError::ZeroWidth { layer: 1 });
        for widths in [[1 << 20, 1 << 12, 1], [usize::MAX, usize::MAX, 1]] {
            let limit = MAX_PARAMETERS;
            assert_eq!(new(&widths, Output::Linear, Cost::Mse), ModelError::TooLarge { limit });
        }
        let says = new(&[3, 2], Output::Linear, Cost::CrossEntropy);
        assert_eq!(says, ModelError::Combination(CombinationError::LinearCrossEntropy));
        assert!(says.to_string().contains("not linear ones"), "{says}");
    }

    #[test]
    fn normalised_networks_have_two_more_parameters_a_unit_and_no_layer_of_one_unit() {
        let model = |widths: &[usize]| {
            let model = Model::new(widths.to_vec(), Activation::Relu, Output::Linear, Cost::Mse).unwrap();
            (model.parameters(), model.with_normalization(Normalization::Layer))
        };
        let (plain, normalized) = model(&[3, 4, 5, 1]);
        assert_eq!(normalized.unwrap().parameters(), plain + 2 * (4 + 5));
        let (plain, normalized) = model(&[1, 2]);
        assert_eq!(normalized.unwrap().parameters(), plain, "inputs and outputs are not normalised");
        let (_, refused) = model(&[3, 4, 1, 1]);
        assert_eq!(refused, Err(ModelError::NormalizedUnit { layer: 2 }));
        let (_, refused) = model(&[(1 << 15) - 3, 1 << 16, 1]);
        assert_eq!(refused, Err(ModelError::TooLarge { limit: MAX_PARAMETERS }));
    }

    #[test]
    fn a_model_keeps_its_json_unless_it_is_normalised() {
        let model = Model::new(vec![3, 4, 2], Activation::Relu, Output::Linear, Cost::Mse).unwrap();
        let json = r#"{"widths":[3,4,2],"activation":"relu","output":"linear","cost":"mse"}"#;
        assert_eq!(serde_json::to_string(&model).unwrap(), json);
        assert_eq!(serde_json::from_str::<Model>(json).unwrap(), model);
        let normalized = model.with_normalization(Normalization::Layer).unwrap();
        let json = json.replace('}', r#","normalization":"layer"}"#);
        assert_eq!(serde_json::to_string(&normalized).unwrap(), json);
        assert_eq!(serde_json::from_str::<Model>(&json).unwrap(), normalized);
        let refused = serde_json::from_str::<Model>(&json.replace("[3,4,2]", "[3,1,2]")).unwrap_err();
        assert!(refused.to_string().contains("layer 1 has one unit"), "{refused}");
    }

    #[test]
    fn regression_needs_the_quadratic_cost_and_no_softmax() {
        use CombinationError::{LinearCrossEntropy, RegressionCrossEntropy, RegressionSoftmax};
        let (linear, cross_entropy) = (Output::Linear, Cost::CrossEntropy);
        for task in [None, Some(Task::Classification)] {
            assert_eq!(check_combination(task, linear, cross_entropy), Err(LinearCrossEntropy));
            assert_eq!(check_combination(task, linear, Cost::Mse), Ok(()));
            for output in [Output::Sigmoid, Output::Softmax] {
                for cost in [Cost::Mse, cross_entropy] {
                    assert_eq!(check_combination(task, output, cost), Ok(()));
                }
            }
        }
        let regression = |output, cost| check_combination(Some(Task::Regression), output, cost);
        assert_eq!(regression(linear, Cost::Mse), Ok(()));
        assert_eq!(regression(Output::Sigmoid, Cost::Mse), Ok(()));
        assert_eq!(regression(Output::Softmax, Cost::Mse), Err(RegressionSoftmax));
        for output in [Output::Sigmoid, Output::Softmax, linear] {
            assert_eq!(regression(output, cross_entropy), Err(RegressionCrossEntropy));
        }
    }
}
