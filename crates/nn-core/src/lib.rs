//! The arithmetic of `nn`.

mod dataset;
#[macro_use]
mod kernel;
pub mod math;
pub mod measure;
mod network;
mod optimizer;
mod params;
mod random;
pub mod reference;
mod spec;
mod threads;
mod tree;

pub use dataset::{Dataset, DatasetError, Features, Targets};
pub use kernel::vector::{add_assign, all_finite};
pub use kernel::{Isa, zeroed};
pub use network::{Evaluation, MismatchError, NodeStats, Workspace};
pub use optimizer::{OptimizerState, rate_multiplier};
pub use params::{LayerLayout, layout};
pub use random::{Purpose, initial_parameters, permutation};
pub use spec::{
    Activation, Cost, Init, MAX_PARAMETERS, Model, ModelError, Optimizer, Output, Schedule, ScheduleShape,
};
pub use threads::Threads;
pub use tree::{Node, Tree, tree_sum};
