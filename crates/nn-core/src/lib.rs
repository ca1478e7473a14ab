//! The arithmetic of `nn`: what turns samples and weights into gradients, and gradients into weights, with the same bits
//! on every machine and any number of threads.
//!
//! - [`Dataset`]: samples in memory. [`Model`], [`Optimizer`], [`Schedule`] and so on: what to train and how, as checked
//!   values. [`layout`]: where each layer's weights and biases are in the one flat buffer of parameters.
//! - [`Workspace`]: forward and backward; the gradient of a node of the canonical [`Tree`].
//! - [`OptimizerState`]: the step from a gradient sum to the next weights.
//! - [`mod@reference`]: the definition of all this in plain code, one sample at a time; the oracle of the tests.
//! - [`permutation`], [`initial_parameters`]: randomness that is addressed, not drawn.
//!
//! Invariants: nothing in here does IO, logs, reads a clock or knows a socket; `unsafe` is in the module `kernel` only.
//!
//! A network learns exclusive or:
//!
//! ```
//! use std::sync::Arc;
//! use nn_core::*;
//!
//! let features = Features::F32(vec![0., 0., 0., 1., 1., 0., 1., 1.]);
//! let targets = Targets::Classes { labels: vec![0, 1, 1, 0], classes: 2 };
//! let data = Dataset::new(features, 2, targets, None)?;
//! let model = Model::new(vec![2, 8, 2], Activation::Tanh, Output::Softmax, Cost::CrossEntropy)?;
//!
//! let threads = Arc::new(Threads::new(1)?);
//! let mut workspace = Workspace::new(&model, data.len(), threads.clone(), Isa::best());
//! let mut params = initial_parameters(&model, Init::Xavier, 1);
//! let mut optimizer = OptimizerState::new(Optimizer::Sgd, &model);
//! let mut gradient = vec![0.0; params.len()];
//! for step in 0..500 {
//!     // The gradient of the mini-batch 0, 1, 2, 3 in leaves of two samples: a sum, which the step divides.
//!     let stats = workspace.node_gradient(&params, &data, &[0, 1, 2, 3], 2, &mut gradient)?;
//!     optimizer.step(Isa::best(), &threads, &mut params, &gradient, stats.samples, step, 0.5, 0.0);
//! }
//! assert_eq!(workspace.evaluate(&params, &data)?.correct, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dataset;
#[macro_use]
mod kernel;
pub mod math;
pub mod measure;
mod network;
mod optimizer;
mod params;
mod pass;
mod random;
pub mod reference;
mod spec;
mod threads;
mod tree;

pub use dataset::{Dataset, DatasetError, Features, Targets};
pub use kernel::vector::{add_assign, all_finite};
pub use kernel::{Isa, zeroed};
pub use network::{Evaluation, LayerGradients, MismatchError, NodeStats, Workspace};
pub use optimizer::{OptimizerState, rate_multiplier};
pub use params::{LayerLayout, layout};
pub use random::{Purpose, initial_parameters, permutation};
pub use spec::{
    Activation, Cost, Init, MAX_PARAMETERS, Model, ModelError, Optimizer, Output, Schedule, ScheduleShape,
    exact_f32,
};
pub use threads::Threads;
pub use tree::{Node, Tree, tree_sum};
