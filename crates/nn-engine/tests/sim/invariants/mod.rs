//! The invariants, one file each. An invariant sees facts and nothing else, so its own test can show that it can fail.

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

/// An observation about the simulated run.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// A life of the coordinator begins, at this step and with these weights.
    Born { generation: Generation, step: u64, weights: String, audits: bool },
    /// A worker asks to join.
    Met { worker: WorkerId, member: Member },
    /// A worker is excluded from the run, for a wrong result (`lied`) or for malformed messages.
    Banned { worker: WorkerId, lied: bool },
    /// A worker has sent a malformed message.
    Garbled { worker: WorkerId },
    /// A contribution reaches the engine; the facts up to the next [`Fact::Handled`] follow from it.
    Delivered(Delivery),
    /// The engine has assigned a node to a worker.
    Assigned { worker: WorkerId, step: Step, node: Node },
    /// The engine has counted a part of a node.
    Counted { worker: WorkerId, step: Step, node: Node, part: Part },
    /// The engine has refused the latest delivery.
    Rejected { malformed: bool },
    /// The engine has completed a step.
    Stepped(StepReport),
    /// The engine has completed an epoch.
    Epoch(EpochReport),
    /// The engine has handled an event; this many steps are done, and these are its weights.
    Handled { steps_done: u64, weights: String },
    /// A worker holds all weights of a step.
    Holds { worker: WorkerId, step: Step, weights: String },
    /// The engine has told a worker that the run is over.
    Told { worker: WorkerId },
    /// The engine has ended the run.
    Finished { outcome: Outcome, weights: String },
    /// The simulation has ended, long after the last fault. These workers are connected.
    End { connected: Vec<WorkerId> },
}

/// A contribution, with facts that only the simulation knows.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) worker: WorkerId,
    pub(crate) generation: Generation,
    pub(crate) step: Step,
    pub(crate) node: Node,
    pub(crate) part: Part,
    /// Hash of the weights that it was computed with.
    pub(crate) computed_with: String,
    /// Whether it differs from the true result.
    pub(crate) tampered: bool,
    /// Whether the coordinator knows that the connection is gone.
    pub(crate) gone: bool,
}

/// A property that every simulated run must have.
pub(crate) trait Invariant {
    /// The property, as a sentence.
    fn name(&self) -> &'static str;
    /// Takes a fact. An error describes the violation.
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

/// For the invariants' own tests: whether the invariant objects to the last of these facts. It must accept the others.
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
