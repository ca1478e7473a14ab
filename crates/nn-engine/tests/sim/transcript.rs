//! Everything that the engine did in a simulated run, as a hash: the text of every action, in order.

use std::fmt::{self, Write};

use nn_engine::Action;
use sha2::{Digest, Sha256};

use crate::world::World;

/// A running hash of actions.
#[derive(Debug, Default)]
pub(crate) struct Transcript(Sha256);

impl Transcript {
    pub(crate) fn record(&mut self, action: &Action) {
        // Writing to a hash cannot fail.
        let _ = writeln!(self, "{action:?}");
    }

    fn hash(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Write for Transcript {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

/// Seeds whose actions are pinned.
const SEEDS: u64 = 300;

const PINNED: &str = "10d87242ae5118cb4073ce687f93e28d64a483879f67c35986db7fca7d9bcef4";

/// The hash of the actions of the first seeds.
fn transcripts(seeds: u64) -> String {
    let mut all = Sha256::new();
    for seed in 0..seeds {
        let mut world = World::new(seed, false);
        world.transcript = Some(Transcript::default());
        world.run().unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        all.update(world.transcript.unwrap_or_default().hash());
    }
    all.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The engine's decisions are those of the day when this hash was taken: refactoring must not change it.
///
/// A change of the engine's decisions does change it (which worker gets a node, when a node is reissued, who is
/// released), and so does a change of the simulation's faults or runs, or of the `Debug` text of an action. Then pin the
/// new hash, and give the reason in the commit. `NN_SIM_TRANSCRIPT=20000` prints the hash of as many seeds instead, to
/// compare two versions of the engine.
#[test]
fn the_engine_decides_as_it_did() {
    if let Some(seeds) = crate::from_environment("NN_SIM_TRANSCRIPT") {
        eprintln!("the transcripts of {seeds} seeds: {}", transcripts(seeds));
        return;
    }
    assert_eq!(transcripts(SEEDS), PINNED, "the actions of the first {SEEDS} seeds");
}
