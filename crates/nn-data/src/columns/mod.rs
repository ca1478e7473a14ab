//! The columns of a table: what they are, and how they become the inputs of a network.
//!
//! ```text
//! cells of a column ── Profile ── kind::decide ── Kind, with its reason
//!         │                                         │
//!         └──────────────── Series ─────────────────┤ fit to the training samples
//!                             │                     │
//!                             └── Preparation::apply┘── inputs
//! ```

pub(crate) mod cell;
pub(crate) mod frame;
pub(crate) mod kind;
pub(crate) mod preparation;
pub(crate) mod profile;

pub use cell::{Decimal, Part, missing_spellings};
pub use kind::Kind;
pub use preparation::{Column, Encoding, Preparation, Scaled, Target};
