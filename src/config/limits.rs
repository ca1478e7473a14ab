//! The largest values that options accept.

/// The widest layer, in neurons.
pub(super) const MAX_WIDTH: u64 = 1_000_000;
/// The most hidden layers.
pub(super) const MAX_HIDDEN_LAYERS: usize = 1_000;
/// The most epochs.
pub(crate) const MAX_EPOCHS: u64 = 1_000_000;
/// The largest mini-batch: f32, which divides the sum over it, counts exactly up to here.
pub(super) const MAX_BATCH_SIZE: u64 = 1 << 24;
/// The most steps, wherever they are counted.
pub(super) const MAX_STEPS: u64 = 1_000_000_000_000;
/// The most checkpoints that are kept.
pub(super) const MAX_CHECKPOINTS: u64 = 1_000_000;
/// The longest time between two checkpoints, and the longest wait for workers, in seconds: a year.
pub(super) const MAX_SECONDS: u64 = 365 * 24 * 3600;
/// The most threads.
pub(super) const MAX_THREADS: u64 = 4096;
/// The most classes.
pub(super) const MAX_CLASSES: u64 = MAX_WIDTH;
/// The highest learning rate: ten thousand of Nielsen's steps in one.
pub(super) const MAX_LEARNING_RATE: f64 = 30_000.0;
/// The largest divisor of a learning rate.
pub(super) const MAX_DIVISOR: f64 = 1e9;
/// The largest multiplier of the noise of private training.
pub(super) const MAX_DP_NOISE: f64 = 1e4;
/// The largest norm that gradients are clipped to, or weights scaled down to.
pub(super) const MAX_NORM: f64 = 1e9;
/// The most workers that a coordinator can ask for.
pub(super) const MAX_WORKERS: u64 = nn_engine::MAX_WORKERS as u64;
/// The most parts of a cross-validation.
pub(super) const MAX_FOLDS: usize = 1000;
/// The most runs of a sweep.
pub(super) const MAX_RUNS: u64 = 10_000;
