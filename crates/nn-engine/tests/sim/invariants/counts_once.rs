//! Each node counts once: no leaf counts twice in a layer of a step, within one life of the coordinator.

use std::collections::HashSet;

use nn_engine::Part;

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct CountsOnce {
    leaves: HashSet<(u64, usize, u32)>,
}

impl Invariant for CountsOnce {
    fn name(&self) -> &'static str {
        "each node counts once"
    }

    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String> {
        if let Fact::Born { .. } = fact {
            self.leaves.clear();
        }
        let Fact::Counted { step, node, part, .. } = fact else { return Ok(()) };
        let tree = run.manifest.tree(step.0);
        if !tree.contains(*node) {
            return Err(format!("{node:?} is not a node of step {}", step.0));
        }
        for layer in 0..run.manifest.pieces().len() {
            if *part != Part::All && *part != Part::Layer(layer as u32) {
                continue;
            }
            for leaf in tree.leaves_of(*node) {
                if !self.leaves.insert((step.0, layer, leaf)) {
                    return Err(format!("leaf {leaf} counts twice in layer {layer} of step {}", step.0));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use super::{born, counted, objects};
    let orderly = [
        counted(0, 0, 0, Part::Layer(0)),
        counted(0, 0, 0, Part::Layer(1)),
        counted(0, 0, 1, Part::All),
        counted(1, 1, 0, Part::All),
    ];
    assert!(!objects(CountsOnce::default(), &orderly));
    assert!(objects(CountsOnce::default(), &[counted(0, 0, 0, Part::All), counted(0, 0, 0, Part::Layer(1))]));
    assert!(objects(CountsOnce::default(), &[counted(0, 0, 1, Part::All), counted(0, 1, 0, Part::All)]));
    assert!(objects(CountsOnce::default(), &[counted(0, 0, 6, Part::All)]));
    let again = [counted(0, 0, 0, Part::All), born(2, 0), counted(0, 0, 0, Part::All)];
    assert!(!objects(CountsOnce::default(), &again));
}
