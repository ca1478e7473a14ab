//! The coordinator: the engine, driven as the network drives it, with every fact shown to the invariants.

use std::sync::Arc;

use nn_engine::{
    Action, Assignment, Event, Outcome, Part, Rejection, Release, Step, WorkerId, params_sha256,
};

use crate::invariants::{Delivery, Fact};
use crate::link::{ToCoordinator, ToWorker};
use crate::world::{Item, World};

impl World {
    /// A message reaches the coordinator.
    pub(crate) fn arrive(&mut self, id: WorkerId, message: ToCoordinator) -> Result<(), String> {
        if !self.up {
            return Ok(());
        }
        let Some(link) = self.links.get(&id) else { return Ok(()) };
        let gone = link.closed;
        // Messages that were under way when a connection broke may still be in a queue of the coordinator.
        if (link.cut || gone) && !self.noise.percent(20) {
            return Ok(());
        }
        match message {
            ToCoordinator::Hello(join) if !gone => {
                self.check(&Fact::Met { worker: id, member: join.member })?;
                self.handle(Event::Joined(join))
            }
            ToCoordinator::Hello(_) => Ok(()),
            ToCoordinator::Garbage if gone => Ok(()),
            ToCoordinator::Garbage => {
                self.tally.count("garbled");
                self.check(&Fact::Garbled { worker: id })?;
                self.handle(Event::Garbled(id))?;
                if let Some(link) = self.links.get_mut(&id) {
                    link.closed = true;
                }
                let at = self.now + self.noise.below(20_000);
                self.schedule(at, Item::WorkerSeesCut(id));
                Ok(())
            }
            ToCoordinator::Heartbeat => self.handle(Event::Heartbeat(id)),
            ToCoordinator::Contribution(sent) => {
                let a = sent.assignment;
                self.check(&Fact::Delivered(Delivery {
                    worker: id,
                    generation: a.generation,
                    step: a.step,
                    node: a.node,
                    part: sent.part,
                    computed_with: sent.computed_with.clone(),
                    tampered: sent.tampered,
                    gone,
                }))?;
                self.handle(Event::Contribution(sent.contribution(id)))
            }
        }
    }

    pub(crate) fn handle(&mut self, event: Event) -> Result<(), String> {
        if !self.up {
            return Ok(());
        }
        let mut actions = std::mem::take(&mut self.actions);
        let now = self.clock();
        self.engine.handle(now, event, &mut actions);
        for action in actions.drain(..) {
            if let Some(transcript) = &mut self.transcript {
                transcript.record(&action);
            }
            self.act(action)?;
        }
        self.actions = actions;
        let steps_done = self.engine.steps_done();
        let weights = params_sha256(self.engine.params());
        self.check(&Fact::Handled { steps_done, weights })?;
        if let Some(Outcome::NoWorkers { .. }) = self.engine.outcome() {
            self.give_up();
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Send { worker, step, part } => {
                let known =
                    self.links.get_mut(&worker).is_some_and(|link| std::mem::replace(&mut link.synced, true));
                match part {
                    Part::All if known => self.tally.count("late worker back"),
                    Part::All => self.tally.count("worker admitted"),
                    Part::Layer(_) => self.tally.count("admitted in mid-step"),
                }
                let values = Arc::new(self.weights(step, part)?);
                self.down(worker, ToWorker::Weights(step, part, values));
            }
            Action::Broadcast { step, part } => {
                let values = Arc::new(self.weights(step, part)?);
                let synced = self.links.keys().copied().filter(|&id| self.engine.is_synced(id));
                for id in synced.collect::<Vec<_>>() {
                    self.down(id, ToWorker::Weights(step, part, values.clone()));
                }
            }
            Action::Assign(assignment) => {
                if assignment.attempt.0 > 0 {
                    self.tally.count("reissue");
                }
                let Assignment { worker, step, node, .. } = assignment;
                self.check(&Fact::Assigned { worker, step, node })?;
                self.down(worker, ToWorker::Assign(assignment));
            }
            Action::Counted { worker, step, node, part } => {
                self.check(&Fact::Counted { worker, step, node, part })?;
            }
            Action::Reject { reason, .. } => {
                self.tally.count(rejection_kind(reason));
                self.check(&Fact::Rejected { malformed: reason.is_malformed() })?;
            }
            Action::Release { worker, reason } => self.release(worker, reason)?,
            Action::StepDone(report) => {
                self.tally.count("step");
                let crashes = &mut self.weather.crashes;
                if let Some(at) = crashes.iter().position(|&step| step == report.step.0) {
                    crashes.swap_remove(at);
                    self.crash_soon();
                }
                self.check(&Fact::Stepped(report))?;
            }
            Action::EpochDone(report) => self.check(&Fact::Epoch(report))?,
            Action::WriteSnapshot => self.write_snapshot(),
            // The operator will start it again.
            Action::Finish(Outcome::NoWorkers { .. }) => {}
            Action::Finish(outcome) => {
                self.finished = true;
                let weights = params_sha256(self.engine.params());
                self.check(&Fact::Finished { outcome, weights })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The coordinator releases a worker.
    fn release(&mut self, worker: WorkerId, reason: Release) -> Result<(), String> {
        match reason {
            Release::Over(_) => self.check(&Fact::Told { worker })?,
            Release::Superseded => self.tally.count("superseded"),
            Release::Silent(_) => self.tally.count("silent"),
            Release::Stalled(_) => self.tally.count("stalled"),
            Release::Refused(_) => self.tally.count("not admitted"),
            Release::Disproved { .. } => {
                self.tally.count("disproved");
                self.check(&Fact::Banned { worker, lied: true })?;
            }
            _ => {
                self.tally.count("quarantined");
                self.check(&Fact::Banned { worker, lied: false })?;
            }
        }
        self.close(worker, reason);
        Ok(())
    }

    fn weights(&self, step: Step, part: Part) -> Result<Vec<f32>, String> {
        let lacks = "the engine sends weights that it does not have";
        match (self.run.manifest.update_encoding(), self.engine.part_range(part)) {
            (Some(encoding), Some(range)) if part != Part::All => {
                let update = self.engine.update(step, part).ok_or(lacks)?;
                let mut numbers = vec![0.0; range.len()];
                encoding.decode(&update, &mut numbers);
                Ok(numbers)
            }
            _ => Ok(self.engine.weights(step, part).ok_or(lacks)?.to_vec()),
        }
    }

    /// The coordinator closes a connection and gives the reason.
    fn close(&mut self, id: WorkerId, reason: Release) {
        self.down(id, ToWorker::Release(reason));
        if let Some(link) = self.links.get_mut(&id) {
            link.closed = true;
        }
    }
}

/// The tally's name for a rejection.
fn rejection_kind(reason: Rejection) -> &'static str {
    match reason {
        Rejection::Duplicate(_) => "duplicate",
        Rejection::StaleStep { .. } => "stale step",
        Rejection::StaleGeneration { .. } => "stale generation",
        Rejection::UnknownWorker(_) => "unknown worker",
        reason if reason.is_malformed() => "malformed",
        _ => "other rejection",
    }
}
