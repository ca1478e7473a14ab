//! The options of rounds: their value types and their defaults.

use clap::Arg;
use nn_core::{Activation, Cost, DeltaBits, Output};
use nn_engine::Rounds;
use toml::de::DeValue;

use super::choice::{Choice, OptimizerName, ScheduleName};
use super::defaults::default_learning_rate;
use super::options::Learn;
use super::origins::{Origin, Origins};
use super::value::{Interval, Value, Wrong, toml_whole};
use crate::failure::Failure;

/// The steps of a replica in a round: a number, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundSteps(pub Option<u32>);

impl Value for RoundSteps {
    const NAME: &'static str = "H";

    fn expected() -> String {
        "\"auto\" or a whole number".into()
    }

    fn expected_text() -> String {
        "auto or a whole number".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self(None)),
            number => number
                .parse()
                .map(|steps| Self(Some(steps)))
                .map_err(|_| "expected auto, or the steps of a round such as 16".to_owned()),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(text) => Self::from_text(text).ok(),
            other => u32::try_from(toml_whole(other)?).ok().map(|steps| Self(Some(steps))),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.0.map_or_else(|| "\"auto\"".to_owned(), |steps| steps.to_string()))
    }

    fn check(&self, _: Option<Interval>) -> Result<(), Wrong> {
        if self.0 == Some(0) {
            let says = "must be auto or at least 1, not 0".to_owned();
            return Err(Wrong { says, help: Some("leave it out for steps without rounds".into()) });
        }
        Ok(())
    }

    fn shape(arg: Arg) -> Arg {
        arg.allow_negative_numbers(true)
    }
}

impl Choice for DeltaBits {
    const NAMES: &'static [(&'static str, Self)] = <Self as nn_core::Named>::NAMES;
}

/// The replicas of a run, unless it says how many.
pub(crate) const REPLICAS: u32 = 4;

/// Steps over which the learning rate rises, unless the run is short.
pub(super) const WARMUP: u64 = 60;

/// The part of the steps in which the schedule `wsd` decays.
pub(super) const WSD_DECAY: f32 = 0.3;

/// The rate of plain SGD for rectified or tanh units and softmax outputs with the schedule of rounds: what was best for one
/// machine on MNIST, for a small and a larger network.
const RATE: f32 = 0.4;

/// Replaces the defaults of a recipe by those of rounds: replicas have no state, so the optimizer is plain SGD, and its rate
/// grows with their number.
pub(super) fn with_defaults(learn: &mut Learn, steps: u64) {
    if learn.rounds.is_none() {
        return;
    }
    learn.optimizer.get_or_insert(OptimizerName::Sgd);
    learn.schedule.get_or_insert(ScheduleName::Wsd);
    let replicas = u64::from(replicas_of(learn));
    learn.warmup_steps.get_or_insert(WARMUP.min(steps.div_ceil(replicas) / 10));
}

/// The replicas asked for, or the default.
pub(super) fn replicas_of(learn: &Learn) -> u32 {
    learn.replicas.unwrap_or(REPLICAS)
}

/// The default rate of plain SGD with so many replicas.
pub(super) fn learning_rate(replicas: u32, activation: Activation, cost: Cost, output: Output) -> f32 {
    let one = match (output, activation, cost) {
        (Output::Softmax, activation, Cost::CrossEntropy) if activation != Activation::Sigmoid => RATE,
        _ => default_learning_rate(OptimizerName::Sgd, activation, cost, output),
    };
    one * Rounds::learning_rate_factor(replicas)
}

/// The rounds that the options ask for.
///
/// # Errors
/// Exit code 2 if an option of rounds is given without them, or the replicas are no power of two.
pub(super) fn rounds(learn: &Learn, origins: &Origins) -> Result<Option<Rounds>, Failure> {
    let Some(RoundSteps(steps)) = learn.rounds else {
        let useless = ["replicas", "delta-bits", "outer-learning-rate", "outer-momentum"];
        return match useless.into_iter().find(|key| origins.of(key) != Origin::Default) {
            Some(key) => {
                Err(Failure::usage(format_args!("{} has no effect without --rounds", origins.subject(key)))
                    .help(format_args!("add --rounds auto, or remove {key}")))
            }
            None => Ok(None),
        };
    };
    let replicas = replicas_of(learn);
    if !replicas.is_power_of_two() {
        let (low, high) = (1 << replicas.ilog2(), replicas.next_power_of_two());
        return Err(Failure::usage(format_args!(
            "{} must be a power of two, not {replicas}",
            origins.subject("replicas")
        ))
        .help(format_args!("use {low} or {high}: any number of workers computes any number of replicas")));
    }
    Ok(Some(Rounds {
        replicas,
        steps,
        outer_learning_rate: learn.outer_learning_rate.unwrap_or(Rounds::OUTER_LEARNING_RATE),
        outer_momentum: learn.outer_momentum.unwrap_or_else(|| Rounds::outer_momentum_for(replicas)),
        delta_bits: learn.delta_bits.unwrap_or(DeltaBits::Eight),
    }))
}

/// The default of `--outer-momentum` in words.
pub(super) fn outer_momentum_in_words() -> String {
    let of = Rounds::outer_momentum_for;
    format!("{:?}, {:?}, {:?} or {:?} for 2, 4, 8 or 16 replicas", of(2), of(4), of(8), of(16))
}
