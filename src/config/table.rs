//! Tables of options. A table is written with [`options!`], one entry an option:
//!
//! ```text
//! options! {
//!     /// What a program can be told.
//!     FooOptions => Foo {
//!         group format: DataOptions => DataFormat;     // the entries of another table
//!         "Training" {                                 // the heading in help
//!             /// Passes over the training data        // the help
//!             epochs: u32 = default(30).within(1..=MAX_EPOCHS).common();
//!         }
//!     }
//! }
//! ```
//!
//! `FooOptions` holds the options as they are given: every field is an `Option`. `Foo` holds them checked, each by
//! itself, with their defaults. Flags, variables, the keys of a file, help and printed configurations follow from
//! the entries.

use std::ffi::OsStr;

use clap::{ArgMatches, Command};
use toml::de::DeValue;

use super::option::{Entry, Line, OnlyWith};
use super::origins::Origins;
use super::value::{Value, Wrong};
use crate::failure::Failure;

/// The headings of help in their order.
pub(super) const HEADINGS: [&str; 17] = [
    "Search",
    "Server",
    "Limits",
    "Sweep",
    "Cluster",
    "Coordinator",
    "Security",
    "Data",
    "Network",
    "Training",
    "Optimizer",
    "Schedule",
    "Rounds",
    "Run",
    "Metrics",
    "Durability",
    "Configuration",
];

/// A value as it is given elsewhere than by a flag.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// By a line of a configuration file.
    Toml(&'a DeValue<'a>),
    /// By an environment variable.
    Variable(&'a OsStr),
}

impl Given<'_> {
    /// Reads the value.
    pub(super) fn read<T: Value>(self) -> Result<T, Wrong> {
        let (value, expected, written) = match self {
            Self::Toml(value) => (T::from_toml(value), T::expected(), value.as_str()),
            Self::Variable(text) => (T::from_variable(text), T::expected_text(), text.to_str()),
        };
        value.ok_or_else(|| Wrong {
            says: format!("must be {expected}, not {}", self.describe()),
            help: written.and_then(T::guess),
        })
    }

    fn describe(self) -> String {
        match self {
            Self::Variable(text) => {
                let text = text.to_string_lossy();
                if text.chars().count() > 40 { "a long text".into() } else { format!("{text:?}") }
            }
            Self::Toml(DeValue::String(text)) if text.trim().is_empty() => "an empty text".into(),
            Self::Toml(DeValue::String(text)) if text.chars().count() > 40 => "a long text".into(),
            Self::Toml(DeValue::String(text)) => format!("the text {text:?}"),
            Self::Toml(DeValue::Integer(integer)) => format!("the number {}", integer.as_str()),
            Self::Toml(DeValue::Float(float)) => format!("the number {}", float.as_str()),
            Self::Toml(DeValue::Boolean(truth)) => truth.to_string(),
            Self::Toml(DeValue::Datetime(_)) => "a date or time".into(),
            Self::Toml(DeValue::Array(_)) => "this list".into(),
            Self::Toml(DeValue::Table(_)) => "a table".into(),
        }
    }
}

/// Options as they are given, unchecked. The macro `options!` implements it.
pub trait Options: Default {
    /// The options after they have been checked one by one.
    type Checked;

    /// The entries, in the order of help.
    fn entries() -> Vec<Entry>;

    /// The keys of the options that are given.
    fn given(&self) -> Vec<&'static str>;

    /// These options, and those of `other` that are not given here.
    #[must_use]
    fn or(self, other: Self) -> Self;

    /// Sets the option with that key; `None` if there is none.
    fn set(&mut self, key: &str, value: Given<'_>) -> Option<Result<(), Wrong>>;

    /// The options that the command line gives.
    fn of_matches(matches: &ArgMatches) -> Self;

    /// Checks every option by its entry and fills in the defaults.
    ///
    /// # Errors
    /// Exit code 2, naming the option as the user wrote it.
    fn check(self, origins: &Origins) -> Result<Self::Checked, Failure>;

    /// Every checked option as a line of a printed configuration, by its key.
    fn lines(checked: &Self::Checked) -> Vec<(&'static str, Line)>;
}

/// The entries of a table and of its groups in the order of help.
pub(super) fn in_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| HEADINGS.iter().position(|heading| *heading == entry.heading));
    entries
}

/// Adds a flag for every entry.
pub(super) fn augment<O: Options>(command: Command) -> Command {
    O::entries().iter().fold(command, |command, entry| command.arg(entry.argument()))
}

/// The keys of the given options that have no effect because another option selects something else, and must be
/// forgotten: those that an overriding origin has deselected, as when a flag selects another optimizer than the file,
/// whose constants no flag can take away. `options` are entries, what they select, and whether they are given.
///
/// # Errors
/// Exit code 2 if such an option comes from the same origin as what it does not fit.
pub(super) fn without_effect(
    options: &[(Entry, Option<String>, bool)],
    origins: &Origins,
) -> Result<Vec<&'static str>, Failure> {
    let mut keys = Vec::new();
    for (entry, _, given) in options {
        let (Some(OnlyWith { selector, names }), true) = (&entry.only_with, given) else { continue };
        let selected = options.iter().find(|(other, ..)| other.key == *selector);
        let Some(selected) = selected.and_then(|(_, selected, _)| selected.as_deref()) else { continue };
        let key = entry.key;
        if names.contains(&selected) {
            continue;
        }
        if !origins.of(selector).overrides(origins.of(key)) {
            let subject = origins.subject(key);
            let text = format_args!("{subject} has no effect with --{selector} {selected}");
            let with = names.join(" or ");
            return Err(Failure::usage(text).help(format_args!("add --{selector} {with}, or remove {key}")));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The bytes of a field's name as a flag's.
pub(super) const fn kebab<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = if name.as_bytes()[at] == b'_' { b'-' } else { name.as_bytes()[at] };
        at += 1;
    }
    bytes
}

/// The key of a field: its name with dashes.
macro_rules! key {
    ($field:ident) => {{
        const BYTES: [u8; stringify!($field).len()] = $crate::config::table::kebab(stringify!($field));
        const KEY: &str = match std::str::from_utf8(&BYTES) {
            Ok(key) => key,
            Err(_) => panic!("a name in ASCII"),
        };
        KEY
    }};
}

/// Makes the two structs of a table: see the module.
macro_rules! options {
    (
        $(#[$meta:meta])*
        $given:ident => $checked:ident {
            $(group $group:ident: $group_given:ident => $group_checked:ident;)*
            $($heading:literal {
                $($(#[doc = $help:literal])+ $field:ident: $type:ty = $entry:expr;)*
            })*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $given {
            $(
                #[doc = concat!("See [`", stringify!($group_given), "`].")]
                pub $group: $group_given,
            )*
            $($(
                $(#[doc = $help])+
                pub $field: Option<<$type as $crate::config::option::Field>::Value>,
            )*)*
        }

        #[doc = concat!("[`", stringify!($given), "`] with defaults, each option checked by itself.")]
        #[derive(Debug, Clone, PartialEq)]
        pub struct $checked {
            $(
                #[doc = concat!("See [`", stringify!($group_checked), "`].")]
                pub $group: $group_checked,
            )*
            $($(
                $(#[doc = $help])+
                pub $field: $type,
            )*)*
        }

        impl $given {
            $($(
                pub(super) fn $field() -> $crate::config::option::Opt<$type> {
                    $entry
                }
            )*)*

            /// The table's own entries, what each selects, and whether it is given.
            fn selections(&self) -> Vec<($crate::config::option::Entry, Option<String>, bool)> {
                vec![$($({
                    let option = Self::$field();
                    let (value, given) = (option.selected(self.$field.as_ref()), self.$field.is_some());
                    (option.entry($crate::config::table::key!($field), $heading, &[$($help),+]), value, given)
                }),*),*]
            }

            /// Takes an option away.
            fn forget(&mut self, key: &str) {
                $($(if key == $crate::config::table::key!($field) {
                    self.$field = None;
                })*)*
            }
        }

        impl $crate::config::table::Options for $given {
            type Checked = $checked;

            fn entries() -> Vec<$crate::config::option::Entry> {
                let own = Self::default().selections().into_iter().map(|(entry, ..)| entry);
                let groups = own$(.chain(<$group_given as $crate::config::table::Options>::entries()))*;
                $crate::config::table::in_order(groups.collect())
            }

            fn given(&self) -> Vec<&'static str> {
                let own = self.selections().into_iter().filter(|(.., given)| *given);
                own.map(|(entry, ..)| entry.key)$(.chain(self.$group.given()))*.collect()
            }

            fn or(self, other: Self) -> Self {
                Self {
                    $($group: self.$group.or(other.$group),)*
                    $($($field: self.$field.or(other.$field),)*)*
                }
            }

            fn set(
                &mut self,
                key: &str,
                value: $crate::config::table::Given<'_>,
            ) -> Option<Result<(), $crate::config::value::Wrong>> {
                $($(if key == $crate::config::table::key!($field) {
                    return Some(value.read().map(|value| self.$field = Some(value)));
                })*)*
                None$(.or_else(|| self.$group.set(key, value)))*
            }

            fn of_matches(matches: &clap::ArgMatches) -> Self {
                use $crate::config::value::Value as _;
                Self {
                    $($group: <$group_given as $crate::config::table::Options>::of_matches(matches),)*
                    $($($field: <$type as $crate::config::option::Field>::Value::of_matches(
                        matches,
                        $crate::config::table::key!($field),
                    ),)*)*
                }
            }

            fn check(
                mut self,
                origins: &$crate::config::origins::Origins,
            ) -> Result<$checked, $crate::failure::Failure> {
                for key in $crate::config::table::without_effect(&self.selections(), origins)? {
                    self.forget(key);
                }
                Ok($checked {
                    $($group: self.$group.check(origins)?,)*
                    $($($field: Self::$field().check(
                        $crate::config::table::key!($field),
                        self.$field,
                        origins,
                    )?,)*)*
                })
            }

            fn lines(checked: &$checked) -> Vec<(&'static str, $crate::config::option::Line)> {
                let own = [$($((
                    $crate::config::table::key!($field),
                    Self::$field().line(&checked.$field),
                )),*),*];
                own.into_iter()
                    $(.chain(<$group_given as $crate::config::table::Options>::lines(&checked.$group)))*
                    .collect()
            }
        }

        impl clap::FromArgMatches for $given {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                Ok($crate::config::table::Options::of_matches(matches))
            }

            fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
                let given: Self = $crate::config::table::Options::of_matches(matches);
                *self = $crate::config::table::Options::or(given, std::mem::take(self));
                Ok(())
            }
        }

        impl clap::Args for $given {
            fn augment_args(command: clap::Command) -> clap::Command {
                $crate::config::table::augment::<Self>(command)
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }
    };
}

pub(super) use {key, options};
