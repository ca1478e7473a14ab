//! Data sets for `nn`: formats, the embedded digits, fetching and caching, fingerprints.
//!
//! ```text
//! Source ── digits ───────────────────────────────┐
//!    ├───── mnist, fashion-mnist ── fetch ── cache ─┤
//!    └───── path ─────────────────────┬─────────────┘
//!                 folder, zip, tar ── container ── members
//!                                                    │
//!                      idx, npy, table: bytes → raw::Samples
//!                                                    │
//!               pixel rule, answers, split: Samples → Splits (+ fingerprint)
//!
//! table of other than pixels: survey → kinds of columns → split → preparation → Splits
//! ```
//!
//! ```
//! use nn_data::{LoadOptions, Silent, load};
//!
//! let splits = load(&"digits".parse()?, &LoadOptions::default(), &Silent)?;
//! assert_eq!(splits.train.input_width(), 64);
//! assert_eq!(splits.train.output_width(), 10);
//! # Ok::<(), nn_data::DataError>(())
//! ```
//!
//! All input bytes are treated as hostile: they never cause a panic, no allocation trusts a header, decompressed output
//! is capped, and archives are never unpacked to disk. Nothing here knows about training or reads a clock.

mod answers;
mod bytes;
mod columns;
mod container;
mod digits;
mod error;
mod fetch;
mod fingerprint;
mod foreign;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod idx;
mod inputs;
mod load;
mod members;
mod npy;
mod parquet;
pub mod picture_file;
mod pictures;
mod progress;
mod raw;
mod sheet;
mod source;
mod split;
mod survey;
mod table;
mod tabular;
mod text;
mod weights;

pub use columns::{
    Column, Decimal, Encoding as ColumnEncoding, Kind as ColumnKind, Part, Preparation, Scaled, Target,
    missing_spellings,
};
pub use error::{DataError, Kind};
pub use fetch::{Mirrors, Remote, default_cache_dir, fetch, is_cached};
pub use fingerprint::fingerprint;
pub use inputs::{Inputs, load_inputs, read_inputs};
pub use load::{Splits, load};
pub use nn_core::Task;
pub use npy::half;
pub use parquet::PARQUET_THREAD;
pub use progress::{LoadProgress, Silent};
pub use raw::Origins;
pub use source::{DEFAULT_MAX_BYTES, Header, LoadOptions, Prepare, Source, Standardize, Validation};
pub use split::TEST_FRACTION;
pub use survey::{ColumnSurvey, Survey};
pub use text::Encoding;
pub use weights::ClassWeights;
