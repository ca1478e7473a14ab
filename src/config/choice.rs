//! Options whose value is one of a few names: one table of names for each type.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use nn_core::{Activation, Cost, Init, Output};
pub use nn_data::{Header, Task};

/// An option whose value is one of a few names.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// Every value with its name, in the order in which help lists them.
    const NAMES: &'static [(&'static str, Self)];

    /// The name of this value.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }

    /// The value of that name.
    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| *value)
    }
}

/// A clap parser for a [`Choice`]: help lists the names, and a misspelt name gets a suggestion.
pub(super) fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::NAMES.iter().map(|(name, _)| *name))
        .try_map(|name| T::from_name(&name).ok_or("not one of the possible values"))
}

/// An optimizer without its constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // see `nn_core::Optimizer`
pub enum OptimizerName {
    Sgd,
    Momentum,
    Nesterov,
    Adam,
    AdamW,
}

/// A shape of the learning rate without its constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // see `nn_core::ScheduleShape`
pub enum ScheduleName {
    Constant,
    Step,
    Cosine,
}

/// Yes, no, or whatever the data suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tri {
    /// Decide by the data.
    Auto,
    /// Yes, whatever the data looks like.
    Yes,
    /// No, whatever the data looks like.
    No,
}

impl Choice for Activation {
    const NAMES: &'static [(&'static str, Self)] =
        &[("sigmoid", Self::Sigmoid), ("relu", Self::Relu), ("tanh", Self::Tanh)];
}

impl Choice for Output {
    const NAMES: &'static [(&'static str, Self)] =
        &[("sigmoid", Self::Sigmoid), ("softmax", Self::Softmax), ("linear", Self::Linear)];
}

impl Choice for Cost {
    const NAMES: &'static [(&'static str, Self)] =
        &[("mse", Self::Mse), ("cross-entropy", Self::CrossEntropy)];
}

impl Choice for Init {
    const NAMES: &'static [(&'static str, Self)] =
        &[("normal", Self::Normal), ("scaled", Self::Scaled), ("xavier", Self::Xavier), ("he", Self::He)];
}

impl Choice for OptimizerName {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("sgd", Self::Sgd),
        ("momentum", Self::Momentum),
        ("nesterov", Self::Nesterov),
        ("adam", Self::Adam),
        ("adamw", Self::AdamW),
    ];
}

impl Choice for ScheduleName {
    const NAMES: &'static [(&'static str, Self)] =
        &[("constant", Self::Constant), ("step", Self::Step), ("cosine", Self::Cosine)];
}

impl Choice for Task {
    const NAMES: &'static [(&'static str, Self)] =
        &[("classification", Self::Classification), ("regression", Self::Regression)];
}

impl Choice for Tri {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("yes", Self::Yes), ("no", Self::No)];
}

impl Choice for Header {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("yes", Self::Yes), ("no", Self::No)];
}
