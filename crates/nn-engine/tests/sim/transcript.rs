//! Everything that the engine did in a simulated run, as a hash: the text of every action, in order.

use std::fmt::{self, Write};

use nn_engine::Action;
use sha2::{Digest, Sha256};

/// A running hash of actions.
#[derive(Debug, Default)]
pub(crate) struct Transcript(Sha256);

impl Transcript {
    pub(crate) fn record(&mut self, action: &Action) {
        // Writing to a hash cannot fail.
        let _ = writeln!(self, "{action:?}");
    }

    pub(crate) fn hash(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Write for Transcript {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
