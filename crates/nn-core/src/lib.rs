//! The arithmetic of `nn`: from samples and weights to gradients, and from gradients to weights, with the same bits on
//! every machine and any number of threads.
//!
//! Start with [`reference::train`]: the whole idea on one screen, in plain code, one sample at a time. It is the
//! definition of what the rest computes fast.
//!
//! - [`Dataset`]: samples in memory. [`Model`], [`Optimizer`], [`Schedule`] and so on: the network and its training, as
//!   plain values. [`layout`]: the place of each layer's weights and biases in the one flat buffer of parameters.
//! - [`Workspace`]: forward and backward; the gradient of a node of the canonical [`Tree`].
//! - [`OptimizerState`]: the step from a gradient sum to the next weights.
//! - [`Augmentation`]: random distortions of pictures in training.
//! - [`clip_factor`]: gradient clipping by the global norm. [`GradientNoise`]: the noise of differential privacy.
//! - [`SampleStats`], [`NoiseScale`]: what single samples' gradients say.
//! - [`OptimizerState::with_max_norm`]: the largest norm of a unit's weights.
//! - [`Average`]: the moving average of the weights.
//! - [`OuterState`]: the step of a round, from the replicas' differences to the next public weights; `encode_8` and its
//!   relatives write differences in few bits.
//! - [`permutation`], [`initial_parameters`]: randomness that is addressed, not drawn.
//!
//! Invariants: nothing in here does IO, logs, reads a clock or knows a socket; only the module `kernel` has `unsafe`.
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
//! let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1)?) };
//! let mut workspace = Workspace::new(&model, data.len(), compute.threads.clone(), compute.isa);
//! let mut params = initial_parameters(&model, Init::Xavier, 1);
//! let mut optimizer = OptimizerState::new(Optimizer::Sgd, &model);
//! let mut gradient = vec![0.0; params.len()];
//! for step in 0..500 {
//!     // The gradient of the mini-batch 0, 1, 2, 3 in leaves of two samples: a sum, of which the step takes the mean.
//!     let stats = workspace.node_gradient(&params, &data, Samples::first(&[0, 1, 2, 3]), 2, &mut gradient)?;
//!     let inputs = StepInputs { samples: stats.samples, step, learning_rate: 0.5, l2: 0.0, clip: 1.0, noise: None };
//!     optimizer.step(&compute, &mut params, &gradient, inputs);
//! }
//! assert_eq!(workspace.evaluate(&params, &data)?.correct, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod augment;
mod average;
mod clip;
mod compute;
mod dataset;
#[macro_use]
mod kernel;
pub mod math;
mod max_norm;
pub mod measure;
mod model;
mod names;
mod noise;
mod noise_scale;
mod optimizer;
mod outer;
mod params;
mod parts;
mod pass;
mod per_sample;
mod plateau;
mod random;
pub mod reference;
mod regularization;
mod schedule;
mod spec;
mod threads;
mod tree;
mod workspace;

pub use augment::{Augmentation, AugmentationError};
pub use average::Average;
pub use clip::{clip_factor, clip_factor_of, sum_of_squares};
pub use compute::Compute;
pub use dataset::{Dataset, DatasetError, Features, Targets};
pub use kernel::bf16::round_to_bf16;
pub use kernel::compact::{Integers, NotCompact, compact, expand};
pub use kernel::delta::{
    BLOCK_OF_4, BLOCK_OF_8, DELTA_BLOCK, DeltaBits, add_4, add_8, blocks_are_finite, decode_4, decode_8,
    encode_4, encode_4_to_nearest, encode_8,
};
pub use kernel::vector::{add_assign, all_finite, all_finite_le};
pub use kernel::{Isa, set_float_mode, zeroed};
pub use model::{CombinationError, InputScale, MAX_PARAMETERS, Model, ModelError, check_combination};
pub use names::Named;
pub use noise::GradientNoise;
pub use noise_scale::NoiseScale;
pub use optimizer::{Before, OptimizerState, StepInputs};
pub use outer::{AfterOuter, BeforeOuter, OuterInputs, OuterState};
pub use params::{LayerLayout, layout};
pub use parts::{MOST_SAMPLES_AT_ONCE, samples_at_once, waiting_sums};
pub use per_sample::SampleStats;
pub use plateau::Plateau;
pub use random::{Purpose, initial_parameters, permutation, rounding_keys, uniform};
pub use regularization::{Regularization, Samples};
pub use schedule::{RangeTest, rate_multiplier};
pub use spec::{
    Activation, Cost, Init, Normalization, Optimizer, OptimizerName, Output, Precision, Schedule,
    ScheduleName, ScheduleShape, Task, exact_f32, exact_f32_if_any,
};
pub use threads::Threads;
pub use tree::{Node, Tree, tree_sum};
pub use workspace::{Evaluation, LayerGradients, MismatchError, NodeStats, Workspace};
