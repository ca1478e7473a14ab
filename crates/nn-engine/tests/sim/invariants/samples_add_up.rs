//! The samples reduced in each layer are the step's samples, no more and no fewer.

use nn_engine::Part;

use super::{Fact, Invariant};
use crate::runs::Run;

#[derive(Debug, Default)]
pub(super) struct SamplesAddUp {
    step: u64,
    /// Samples counted in the step, by layer.
    samples: Vec<usize>,
}

impl Invariant for SamplesAddUp {
    fn name(&self) -> &'static str {
        "the samples reduced are the step's samples"
    }

    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String> {
        self.samples.resize(run.manifest.pieces().len(), 0);
        match fact {
            Fact::Born { step, .. } => {
                self.step = *step;
                self.samples.fill(0);
            }
            Fact::Counted { step, node, part, .. } => {
                if step.0 != self.step {
                    return Err(format!("a node of step {} counts in step {}", step.0, self.step));
                }
                let samples = run.manifest.tree(step.0).samples_of(*node).len();
                for (layer, sum) in self.samples.iter_mut().enumerate() {
                    if *part == Part::All || *part == Part::Layer(layer as u32) {
                        *sum += samples;
                    }
                }
            }
            Fact::Stepped(report) => {
                let want = run.manifest.samples_in(report.step.0);
                if report.samples != want || self.samples.iter().any(|&samples| samples != want) {
                    return Err(format!(
                        "step {} has {want} samples, but its layers have {:?}, and the report has {}",
                        report.step.0, self.samples, report.samples
                    ));
                }
                self.samples.fill(0);
                self.step += 1;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
#[test]
fn it_can_fail() {
    use super::{born, counted, objects, report};
    let [left, right] = [counted(0, 2, 0, Part::All), counted(0, 2, 1, Part::All)];
    assert!(!objects(SamplesAddUp::default(), &[left.clone(), right.clone(), report(0, 12)]));
    assert!(objects(SamplesAddUp::default(), &[left.clone(), right.clone(), report(0, 11)]));
    assert!(objects(SamplesAddUp::default(), &[left.clone(), report(0, 12)]));
    assert!(objects(SamplesAddUp::default(), &[left, counted(0, 2, 1, Part::Layer(0)), report(0, 12)]));
    assert!(objects(SamplesAddUp::default(), &[counted(1, 0, 0, Part::All)]));
    // Nodes that counted in an earlier life are lost.
    let right = || counted(0, 2, 1, Part::All);
    assert!(objects(
        SamplesAddUp::default(),
        &[counted(0, 2, 0, Part::All), born(2, 0), right(), report(0, 12)]
    ));
}
