//! The means of computing: instructions and threads.

use std::sync::Arc;

use crate::kernel::Isa;
use crate::threads::Threads;

/// The instructions and threads to compute with. They affect the speed and never a result.
#[derive(Debug, Clone)]
pub struct Compute {
    /// The instructions.
    pub isa: Isa,
    /// The threads.
    pub threads: Arc<Threads>,
}
