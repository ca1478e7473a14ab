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

/// The steps of a run on a small table.
const TABLE_STEPS: usize = 1500;

fn auto(facts: &Facts, batch_size: Option<usize>, epochs: Option<u32>) -> Defaults {
    let samples = facts.samples.max(1);
    let batch_size = batch_size.unwrap_or(if facts.pictures { 128 } else { table_batch(samples) });
    let steps_per_epoch = samples.div_ceil(batch_size.max(1));
    let default_epochs =
        if facts.pictures { 20 } else { TABLE_STEPS.div_ceil(steps_per_epoch).clamp(10, 200) as u32 };
    let steps = steps_per_epoch as u64 * u64::from(epochs.unwrap_or(default_epochs));
    Defaults {
        hidden: if facts.pictures { vec![128] } else { vec![64] },
        activation: Activation::Relu,
        cost: match facts.task {
            Task::Classification => Cost::CrossEntropy,
            Task::Regression => Cost::Mse,
        },
        optimizer: OptimizerName::AdamW,
        epochs: default_epochs,
        batch_size,
        weight_decay: WEIGHT_DECAY,
        schedule: ScheduleName::Cosine,
        warmup_steps: steps / 20,
        learning_rate: Some(if facts.pictures { 0.001 } else { 0.005 }),
    }
}

/// The mini-batch for a table: a small table needs many steps, and a large one full mini-batches.
fn table_batch(samples: usize) -> usize {
    match samples {
        0..2_000 => 32,
        2_000..20_000 => 64,
        _ => 128,
    }
}

pub(super) fn recipe_in_words() -> String {
    "book; auto for tables, and for networks wider than the book's".into()
}

pub(super) fn hidden_in_words() -> String {
    format!("{BOOK_WIDTH}; auto: 64, for pictures 128")
}

pub(super) fn epochs_in_words() -> String {
    format!(
        "{}; auto: enough for {TABLE_STEPS} steps, at least 10 and at most 200; 20 for pictures",
        Recipe::book().epochs
    )
}

pub(super) fn batch_size_in_words() -> String {
    format!("{}; auto: 32 to 128, by the number of samples", Recipe::book().batch_size)
}

pub(super) fn optimizer_in_words() -> String {
    "sgd; auto: adamw".into()
}

pub(super) fn weight_decay_in_words() -> String {
    format!("{WEIGHT_DECAY}")
}

pub(super) fn warmup_steps_in_words() -> String {
    "0; auto: a twentieth of the run".into()
}
