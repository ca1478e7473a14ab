//! The words that people and files use for a choice.

use std::fmt;

/// A choice that people and files write as a word: `relu`, `cross-entropy`, `adamw`. Options, configuration files,
/// manifests and messages all take their words from this table.
pub trait Named: Copy + PartialEq + fmt::Display + 'static {
    /// Every value with its name, in the order in which help lists them.
    const NAMES: &'static [(&'static str, Self)];

    /// The name of this value.
    fn name(self) -> &'static str;

    /// The value with that name, spelt exactly so.
    #[must_use]
    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| *value)
    }
}

/// Implements [`Named`] and `Display` for an enum. A variant without a name does not compile.
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $crate::names::Named for $type {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$variant)),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($crate::names::Named::name(*self))
            }
        }
    };
}
pub(crate) use names;
