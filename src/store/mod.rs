//! Files on disk: models, checkpoints and the other files of a run.

mod atomic;
mod checkpoints;
mod model_file;
pub mod run_files;
pub mod runs;
mod seal;
mod weights_hash;

pub use atomic::{open_to_lock, remove_leftovers, replace, temporary_in, without_path, write_atomically};
pub use checkpoints::{Checkpoints, Found};
pub use model_file::{BestSoFar, Imported, InputInfo, ModelFile, ModelFileError, RunInfo, Validation};
pub use weights_hash::WeightsHash;

#[cfg(test)]
pub(crate) use model_file::tests::example_of;
