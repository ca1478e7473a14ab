//! The two recipes from which the defaults of a network and its training come: the book's, and the one that suits the data.
//!
//! `book` is Nielsen's first network, for the digits. `auto` was measured on small public tables against scikit-learn
//! (`benches/compare_sklearn.py`) and on MNIST and Fashion-MNIST; it is for tables, and for networks wider than the book's.

use nn_core::{Activation, Cost, Task};
use nn_engine::Recipe;

use super::choice::{OptimizerName, RecipeName, ScheduleName};

/// The width of the book's hidden layer.
const BOOK_WIDTH: usize = 30;

/// What is known about the data when the defaults are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What is learnt.
    pub task: Task,
    /// Whether samples are pictures.
    pub pictures: bool,
    /// Training samples.
    pub samples: usize,
}

impl Facts {
    /// The embedded digits.
    pub const DIGITS: Self = Self { task: Task::Classification, pictures: true, samples: 1438 };
}

/// The defaults of one recipe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Defaults {
    pub(super) hidden: Vec<usize>,
    pub(super) activation: Activation,
    pub(super) cost: Cost,
    pub(super) optimizer: OptimizerName,
    pub(super) epochs: u32,
    pub(super) batch_size: usize,
    pub(super) weight_decay: f32,
    pub(super) schedule: ScheduleName,
    pub(super) warmup_steps: u64,
    /// The learning rate, if the optimizer is the recipe's.
    pub(super) learning_rate: Option<f32>,
}

/// The recipe that suits the data: `auto` for tables and for networks wider than the book's.
pub(super) fn suitable(hidden: Option<&[usize]>, facts: &Facts) -> RecipeName {
    let wide = hidden.is_some_and(|widths| widths.iter().any(|&width| width > BOOK_WIDTH));
    if facts.pictures && !wide { RecipeName::Book } else { RecipeName::Auto }
}

/// The defaults of a recipe. The mini-batch and the epochs that are given decide others.
pub(super) fn defaults(
    name: RecipeName,
    facts: &Facts,
    batch_size: Option<usize>,
    epochs: Option<u32>,
) -> Defaults {
    match name {
        RecipeName::Book => Defaults {
            hidden: vec![BOOK_WIDTH],
            activation: Activation::Sigmoid,
            cost: Cost::Mse,
            optimizer: OptimizerName::Sgd,
            epochs: Recipe::book().epochs,
            batch_size: Recipe::book().batch_size,
            weight_decay: WEIGHT_DECAY,
            schedule: ScheduleName::Constant,
            warmup_steps: 0,
            learning_rate: None,
        },
        RecipeName::Auto => auto(facts, batch_size, epochs),
    }
}

/// The weight decay of AdamW where no recipe has another one.
const WEIGHT_DECAY: f32 = 0.01;

/// The samples that a run on a table sees in all its epochs, unless its table is very small or very large.
const TABLE_VISITS: usize = 100_000;

/// What suits the data. For tables, the strong weight decay is what keeps a small and noisy one from being learnt by heart, and
/// hardly matters for the others.
fn auto(facts: &Facts, batch_size: Option<usize>, epochs: Option<u32>) -> Defaults {
    let samples = facts.samples.max(1);
    let batch_size = batch_size.unwrap_or(if facts.pictures { 128 } else { table_batch(samples) });
    let default_epochs = if facts.pictures { 10 } else { table_epochs(samples) };
    let steps_per_epoch = samples.div_ceil(batch_size.max(1)) as u64;
    let steps = steps_per_epoch.saturating_mul(u64::from(epochs.unwrap_or(default_epochs)));
    Defaults {
        hidden: match facts.pictures {
            false if samples < 2000 => vec![100],
            _ => vec![128, 64],
        },
        activation: Activation::Relu,
        cost: match facts.task {
            Task::Classification => Cost::CrossEntropy,
            Task::Regression => Cost::Mse,
        },
        optimizer: OptimizerName::AdamW,
        epochs: default_epochs,
        batch_size,
        weight_decay: if facts.pictures { 0.1 } else { 0.5 },
        schedule: ScheduleName::Cosine,
        warmup_steps: steps / 20,
        learning_rate: Some(if facts.pictures { 0.002 } else { 0.005 }),
    }
}

/// The mini-batch for a table: the power of two nearest to a hundredth of the samples, from 32 to 128.
fn table_batch(samples: usize) -> usize {
    match samples {
        // 4525 is 100 · √(32 · 64), and 9051 is 100 · √(64 · 128).
        0..4525 => 32,
        4525..9051 => 64,
        _ => 128,
    }
}

/// The epochs for a table: few for a large one.
fn table_epochs(samples: usize) -> u32 {
    match samples {
        100_000.. => 10,
        _ => TABLE_VISITS.div_ceil(samples).clamp(30, 400) as u32,
    }
}

pub(super) fn recipe_in_words() -> String {
    "book; auto for tables, and for networks wider than the book's".into()
}

pub(super) fn hidden_in_words() -> String {
    format!("{BOOK_WIDTH}; auto: 100 for small tables, else 128,64")
}

pub(super) fn epochs_in_words() -> String {
    format!("{}; auto: 10 for pictures, 10 to 400 for tables, fewer for larger ones", Recipe::book().epochs)
}

pub(super) fn batch_size_in_words() -> String {
    format!("{}; auto: 128 for pictures, 32 to 128 for tables", Recipe::book().batch_size)
}

pub(super) fn optimizer_in_words() -> String {
    "sgd; auto: adamw; with --rounds: sgd".into()
}

pub(super) fn weight_decay_in_words() -> String {
    format!("{WEIGHT_DECAY}; auto: 0.5 for tables, 0.1 for pictures")
}

pub(super) fn warmup_steps_in_words() -> String {
    "0; auto: a twentieth of the run; with --rounds: 60, or a tenth of a short run".into()
}
