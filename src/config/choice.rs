//! Options whose value is one of a few names: one table of names for each type.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use nn_core::{Activation, Cost, Init, Named, Normalization, Output, Precision};
pub use nn_core::{OptimizerName, ScheduleName, Task};
pub use nn_data::Header;
pub(super) use nn_data::{Decimal, Encoding, Standardize};

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
pub(crate) fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::NAMES.iter().map(|(name, _)| *name))
        .try_map(|name| T::from_name(&name).ok_or("not one of the possible values"))
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

/// What makes a sample hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardestBy {
    /// Its loss.
    Loss,
    /// The norm of its own gradient.
    Gradient,
}

impl Choice for HardestBy {
    const NAMES: &'static [(&'static str, Self)] = &[("loss", Self::Loss), ("gradient", Self::Gradient)];
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorWhen {
    /// On a terminal that has them.
    Auto,
    /// Even in a file or a pipe.
    Always,
    /// Nowhere.
    Never,
}

impl Choice for ColorWhen {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

/// Where the defaults of a network and its training come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipeName {
    /// What suits the data.
    Auto,
    /// Nielsen's first network.
    Book,
}

impl Choice for RecipeName {
    const NAMES: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("book", Self::Book)];
}

impl Choice for Decimal {
    const NAMES: &'static [(&'static str, Self)] = &[("point", Self::Point), ("comma", Self::Comma)];
}

impl Choice for Encoding {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("utf-8", Self::Utf8), ("utf-16", Self::Utf16), ("latin-1", Self::Latin1)];
}

impl Choice for Standardize {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("yes", Self::Yes), ("no", Self::No)];
}

/// The choices whose names `nn-core` has.
macro_rules! named {
    ($($type:ty),+) => {
        $(impl Choice for $type {
            const NAMES: &'static [(&'static str, Self)] = <Self as Named>::NAMES;
        })+
    };
}
named!(Activation, Normalization, Output, Cost, Init, Precision, OptimizerName, ScheduleName, Task);

impl Choice for Tri {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("yes", Self::Yes), ("no", Self::No)];
}

impl Choice for Header {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("yes", Self::Yes), ("no", Self::No)];
}
