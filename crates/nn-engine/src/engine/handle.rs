//! The control flow: an event is applied, and then the run is settled until nothing changes.
//!
//! Only [`Engine::handle`] calls `settle`. Everything below it reports a [`Change`] instead.

use std::time::Duration;

use super::Engine;
use super::ids::{Part, Step};
use super::protocol::{Action, Event, Release};
use super::report::Outcome;
use super::workers::Standing;

/// Whether something changed that may let the run advance, so that it has to be settled.
#[must_use = "a change that does not reach `Engine::handle` is never settled"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Made,
}

impl Change {
    /// A change if the condition holds.
    pub(super) fn when(condition: bool) -> Self {
        if condition { Self::Made } else { Self::None }
    }
}

impl Engine {
    /// Handles an event at time `now` (since any fixed moment) and appends the actions that follow from it, in order.
    ///
    /// If the driver's clock is set back, the engine's time continues from where it was. A gap of more than half a
    /// second between events hardly counts: it was the coordinator that stood still, not the workers.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        self.events += 1;
        let now = self.clock.read(now);
        self.last_snapshot.get_or_insert(self.clock.wall());
        let before = actions.len();
        let mut change = self.apply(now, event, actions);
        if actions.iter().skip(before).any(|action| matches!(action, Action::Counted { .. })) {
            self.round.fruitless = None;
        }
        while change == Change::Made {
            change = self.settle(now, actions);
        }
    }

    /// Applies an event to the state.
    fn apply(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) -> Change {
        match event {
            Event::Contribution(contribution) => self.receive(now, contribution, actions),
            Event::Joined(join) => self.join(now, join, actions),
            Event::Left(worker) => Change::when(self.depart(worker)),
            Event::Garbled(worker) => {
                self.drop_garbled(now, worker, actions);
                Change::Made
            }
            Event::Heartbeat(worker) => {
                self.hear(now, worker);
                Change::None
            }
            Event::Tick => {
                self.release_silent(now, actions);
                self.release_stalled(now, actions);
                self.round.next_due = Duration::ZERO;
                Change::Made
            }
            Event::StopRequested => {
                if self.outcome.is_none() {
                    self.finish(Outcome::Stopped, actions);
                }
                Change::None
            }
            Event::SnapshotWritten(step) => {
                if self.snapshot_pending.is_some_and(|pending| pending <= step) {
                    self.snapshot_pending = None;
                }
                Change::None
            }
        }
    }

    /// Takes the run as far as it can go without another event: begins the step if there are enough workers, assigns
    /// missing nodes, and reissues overdue ones.
    fn settle(&mut self, now: Duration, actions: &mut Vec<Action>) -> Change {
        if self.outcome.is_some() {
            return Change::None;
        }
        if self.step >= self.total_steps {
            self.finish(Outcome::Complete, actions);
            return Change::None;
        }
        // This may end the step, so it comes before workers are admitted to it.
        if self.believe_lone_worker(now, actions) == Change::Made {
            return Change::Made;
        }
        if !self.round.begun || self.workers.active().next().is_none() {
            if self.workers.ready() == 0 || !self.has_enough_workers() {
                // Workers that left without a contribution did not end the wait before.
                let since = *self.round.fruitless.get_or_insert(now);
                self.round.paused.get_or_insert(since);
                self.pause(now, actions);
                return Change::None;
            }
            self.begin(now, actions);
        }
        self.issue_missing(now, actions);
        self.reissue_overdue(now, actions);
        self.call_witnesses(now, actions);
        Change::None
    }

    /// Whether there are enough workers for a step to begin. A machine that computes itself waits for others before its
    /// first step, so that it does not run ahead of them; afterwards it needs nobody.
    fn has_enough_workers(&self) -> bool {
        self.goes_on_alone() || self.elsewhere() >= self.cluster.min_workers
    }

    /// Whether the worker in this process has begun, and so goes on whoever else leaves.
    pub(super) fn goes_on_alone(&self) -> bool {
        self.started && self.cluster.own.is_some_and(|own| self.workers.get(own).is_some())
    }

    /// The number of connected workers that are not in this process: those that an operator counts.
    pub(super) fn elsewhere(&self) -> usize {
        self.workers.count_without(self.cluster.own)
    }

    /// Waits for more workers, at most as long as the operator allows.
    pub(super) fn pause(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let since = *self.round.paused.get_or_insert(now);
        let waited = now.saturating_sub(since);
        // The worker in this process may still compute what a step has done without; that ends by itself.
        if self.goes_on_alone() && !self.round.deadlock {
            return;
        }
        if self.cluster.wait_timeout.is_some_and(|timeout| waited >= timeout) {
            let (have, want) = (self.elsewhere(), self.wanted());
            let since = self.clock.shown(since);
            self.finish(Outcome::NoWorkers { have, want, since, waited }, actions);
        }
    }

    /// The number of workers from elsewhere that must be connected for the run to continue.
    pub(super) fn wanted(&self) -> usize {
        let more = if self.round.deadlock { self.elsewhere() + 1 } else { 1 };
        let least = if self.goes_on_alone() { 0 } else { self.cluster.min_workers };
        least.max(more)
    }

    /// Begins the step, or resumes it after all its workers were lost, with every worker that has joined.
    fn begin(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.started = true;
        self.round.paused = None;
        self.workers.miss_nobody();
        if !self.round.begun {
            self.round.begun = true;
            self.round.began = now;
            for (_, worker) in self.workers.iter_mut() {
                worker.given = 0;
            }
        }
        self.admit(actions);
    }

    /// Admits the workers that have joined to the step under way. They get its weights, and the layers of the next step
    /// that have already been broadcast to the others.
    pub(super) fn admit(&mut self, actions: &mut Vec<Action>) {
        let step = Step(self.step);
        for (worker, state) in self.workers.iter_mut() {
            if state.standing != Standing::Joining {
                continue;
            }
            state.standing = Standing::Active;
            state.admitted = self.events;
            actions.push(Action::Send { worker, step, part: Part::All });
            if self.step + 1 < self.total_steps {
                let ahead = (0..self.pieces.len()).filter(|&layer| self.weights.is_ahead(layer));
                let next = Step(self.step + 1);
                actions.extend(ahead.map(|layer| {
                    let part = Part::Layer(layer as u32);
                    Action::Send { worker, step: next, part }
                }));
            }
        }
    }

    /// Ends the run.
    pub(super) fn finish(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.outcome = Some(outcome);
        self.weights.abandon();
        self.reduction.reset(self.tree);
        if let Some(clipping) = &mut self.clipping {
            clipping.clear();
        }
        self.round.clear();
        let reason = Release::Over(outcome);
        actions.extend(self.workers.iter().map(|(worker, _)| Action::Release { worker, reason }));
        self.workers.clear();
        // After a divergence the last good checkpoint stays the newest.
        if !matches!(outcome, Outcome::Diverged { .. }) {
            actions.push(Action::WriteSnapshot);
        }
        actions.push(Action::Finish(outcome));
    }
}
