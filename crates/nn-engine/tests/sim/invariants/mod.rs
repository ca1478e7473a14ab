//! What must hold, one file each. An invariant sees facts and nothing else, so that it can be shown to fail.

mod counts_once;
mod final_hash;
mod nothing_stale;
mod one_history;
mod quarantine;
mod run_ends;
mod same_reports;
mod same_weights;
mod samples_add_up;
mod step_order;
mod work_is_bounded;

use nn_core::Node;
use nn_engine::{EpochReport, Generation, Member, Outcome, Part, Step, StepReport, WorkerId};

use crate::runs::Run;

/// Something that has happened.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// A life of the coordinator begins, after so many steps and with these weights.
    Born { generation: Generation, step: u64, weights: String, audits: bool },
    /// A worker asks to be let in.
    Met { worker: WorkerId, member: Member },
    /// A worker is sent away for good, for what it has computed or for what it has sent.
    Banned { worker: WorkerId, lied: bool },
    /// What a worker has sent is no message.
    Garbled { worker: WorkerId },
    /// A contribution reaches the engine; the facts up to the next [`Fact::Handled`] are what it makes of it.
    Delivered(Delivery),
    /// The engine has given a node to a worker.
    Assigned { worker: WorkerId, step: Step, node: Node },
    /// The engine has counted a part of a node.
    Counted { worker: WorkerId, step: Step, node: Node, part: Part },
    /// The engine has refused what was delivered.
    Rejected { malformed: bool },
    /// The engine has done a step.
    Stepped(StepReport),
    /// The engine has done an epoch.
    Epoch(EpochReport),
    /// The engine has handled an event; so many steps are done, and these are its weights.
    Handled { steps_done: u64, weights: String },
    /// A worker holds all weights of a step.
    Holds { worker: WorkerId, step: Step, weights: String },
    /// A worker has been told that the run is over.
    Told { worker: WorkerId },
    /// The engine has finished.
    Finished { outcome: Outcome, weights: String },
    /// The simulation has ended; faults had stopped long before. These workers are connected.
    End { connected: Vec<WorkerId> },
}

/// A contribution, as the simulation knows it.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) worker: WorkerId,
    pub(crate) generation: Generation,
    pub(crate) step: Step,
    pub(crate) node: Node,
    pub(crate) part: Part,
    /// The hash of the weights that it was computed with.
    pub(crate) computed_with: String,
    /// Whether it is not what was computed.
    pub(crate) tampered: bool,
    /// Whether the coordinator knows that the connection is gone.
    pub(crate) gone: bool,
}

/// See the module.
pub(crate) trait Invariant {
    /// A sentence.
    fn name(&self) -> &'static str;
    /// An error says what is wrong.
    fn see(&mut self, run: &Run, fact: &Fact) -> Result<(), String>;
}

pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(step_order::StepOrder::default()),
        Box::new(counts_once::CountsOnce::default()),
        Box::new(samples_add_up::SamplesAddUp::default()),
        Box::new(nothing_stale::NothingStale::default()),
        Box::new(one_history::OneHistory::default()),
        Box::new(same_weights::SameWeights),
        Box::new(same_reports::SameReports),
        Box::new(final_hash::FinalHash),
        Box::new(work_is_bounded::WorkIsBounded::default()),
        Box::new(quarantine::Quarantine::default()),
        Box::new(run_ends::RunEnds::default()),
    ]
}

/// For the invariants' own tests: shows it the facts and says whether it objects to the last, and to no other.
#[cfg(test)]
fn objects(mut invariant: impl Invariant, facts: &[Fact]) -> bool {
    let run = &crate::runs::runs()[0];
    let (last, before) = facts.split_last().unwrap();
    for fact in before {
        invariant.see(run, fact).unwrap_or_else(|error| panic!("{}: {error}", invariant.name()));
    }
    invariant.see(run, last).is_err()
}

#[cfg(test)]
fn report(step: u64, samples: usize) -> Fact {
    Fact::Stepped(StepReport { step: Step(step), epoch: 0, samples, loss: 1.0, learning_rate: 1.0 })
}

#[cfg(test)]
fn born(generation: u64, step: u64) -> Fact {
    let weights = crate::runs::runs()[0].hashes[step as usize].clone();
    Fact::Born { generation: Generation(generation), step, weights, audits: false }
}

#[cfg(test)]
fn counted(step: u64, level: u32, index: u32, part: Part) -> Fact {
    Fact::Counted { worker: WorkerId(1), step: Step(step), node: Node { level, index }, part }
}
