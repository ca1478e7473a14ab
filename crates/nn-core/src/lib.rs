//! The arithmetic of `nn`.

mod dataset;
mod spec;

pub use dataset::{Dataset, DatasetError, Features, Targets};
pub use spec::{
    Activation, Cost, Init, MAX_PARAMETERS, Model, ModelError, Optimizer, Output, Schedule, ScheduleShape,
};
