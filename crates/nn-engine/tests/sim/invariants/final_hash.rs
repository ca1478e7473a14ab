//! The run is completed, and its final weights are those of one machine.

use nn_engine::Outcome;

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug)]
pub(super) struct FinalHash;

impl Invariant for FinalHash {
    fn name(&self) -> &'static str {
        "the final hash is that of one machine"
    }

    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String> {
        let Fact::Finished { outcome, weights } = fact else { return Ok(()) };
        let want = &run.hashes[run.hashes.len() - 1];
        if *outcome == Outcome::Complete && weights == want {
            return Ok(());
        }
        Err(format!("{outcome:?} with {weights}, but one machine has {want}"))
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use super::objects;
    let hashes = &crate::runs::runs()[0].hashes;
    let finished = |outcome, weights: &str| Fact::Finished { outcome, weights: weights.to_owned() };
    assert!(!objects(FinalHash, &[finished(Outcome::Complete, &hashes[hashes.len() - 1])]));
    assert!(objects(FinalHash, &[finished(Outcome::Complete, &hashes[0])]));
    assert!(objects(FinalHash, &[finished(Outcome::Stopped, &hashes[hashes.len() - 1])]));
}
