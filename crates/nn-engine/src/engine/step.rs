//! From a contribution to the next weights.

use std::time::Duration;

use nn_core::{Node, NodeStats, StepInputs};

use super::Engine;
use super::protocol::{Action, Contribution, Part, Step, Values};
use super::reduce::Sum;
use super::report::{EpochReport, Outcome, StepReport};
use super::state::{Issue, Progress, Standing};
use super::validate::Rejection;
use super::wire::Wire;

/// How much the newest step counts in what carrying a node takes.
const NEWEST: f64 = 0.1;

/// A layer's sum, the weights or the loss are NaN or infinite.
struct Diverged;

impl Engine {
    pub(super) fn receive(&mut self, now: Duration, c: Contribution, actions: &mut Vec<Action>) {
        if let Some(worker) = self.workers.get_mut(c.worker) {
            worker.last_heard = now;
        }
        match self.check(&c) {
            Ok(issue) => self.contribute(now, c, issue, actions),
            Err(reason) => self.refuse(now, c, reason, actions),
        }
    }

    /// Counts a checked contribution.
    fn contribute(&mut self, now: Duration, c: Contribution, issue: usize, actions: &mut Vec<Action>) {
        let tried = self.is_tried(c.node);
        self.round.computed(c.worker, c.compute);
        let done = self.answered(now, issue, c.part, c.stats.is_some(), c.compute);
        if tried {
            self.testify(now, c, done, actions);
        } else if !self.take_in(now, c, actions) && done {
            self.settle(now, actions);
        }
    }

    /// Counts what is believed. True if the step is over.
    pub(super) fn take_in(&mut self, now: Duration, c: Contribution, actions: &mut Vec<Action>) -> bool {
        let complete =
            if c.finite { self.count(c, actions) } else { recycle(c.values, actions, Err(Diverged)) };
        match complete {
            Err(Diverged) => {
                let step = Step(self.step);
                let epoch = self.manifest.place(self.step).0;
                self.finish(Outcome::Diverged { epoch, step }, actions);
                true
            }
            Ok(Some(stats)) => {
                self.commit(now, stats, actions);
                true
            }
            Ok(None) => false,
        }
    }

    /// Adds a contribution to its lanes. Some when that completes the step.
    fn count(&mut self, c: Contribution, actions: &mut Vec<Action>) -> Result<Option<NodeStats>, Diverged> {
        let (worker, step, node) = (c.worker, c.step, c.node);
        let constants = self.constants();
        // One worker in this process, with the whole mini-batch: nothing to reduce, nothing to wait for.
        if let (Values::Own(gradient), Part::All, Some(stats)) = (&c.values, c.part, c.stats)
            && node == self.tree.root()
            && self.reduction.is_untouched()
        {
            actions.push(Action::Counted { worker, step, node, part: Part::All });
            self.weights.step_all(&self.compute, gradient, constants);
            self.broadcast(Part::All, actions);
            return recycle(c.values, actions, Ok(Some(stats)));
        }
        let mut result = Ok(());
        match (c.part, c.values) {
            (Part::Layer(layer), Values::Wire(pieces)) => {
                let layer = layer as usize;
                if !self.reduction.has_layer(layer, node) {
                    actions.push(Action::Counted { worker, step, node, part: c.part });
                    let sum = Sum::Wire(Wire::new(pieces));
                    result = self.add_layer(layer, node, sum, constants, actions);
                }
            }
            (part, values) => {
                let values = match values {
                    Values::Wire(pieces) => Ok(Wire::new(pieces)),
                    Values::Own(buffer) => Err(buffer),
                };
                let start = self.part_range(part).map_or(0, |range| range.start);
                // The last layer first, as its gradient is complete first.
                for layer in (0..self.layout.len()).rev() {
                    let this = Part::Layer(layer as u32);
                    if part != Part::All && part != this || self.reduction.has_layer(layer, node) {
                        continue;
                    }
                    let range = self.layout[layer].range();
                    let range = range.start - start..range.end - start;
                    actions.push(Action::Counted { worker, step, node, part: this });
                    let sum = match &values {
                        Ok(wire) => Sum::Wire(wire.slice(range.start, range.end)),
                        Err(own) => {
                            let mut buffer = self.reduction.take(layer);
                            buffer.copy_from_slice(&own[range]);
                            Sum::Buffer(buffer)
                        }
                    };
                    result = self.add_layer(layer, node, sum, constants, actions);
                    if result.is_err() {
                        break;
                    }
                }
                if let Err(own) = values {
                    actions.push(Action::Recycle(own));
                }
            }
        }
        result?;
        if let Some(stats) = c.stats.filter(|_| !self.reduction.has_stats(node)) {
            let total = self.reduction.add_stats(node, stats);
            if total.is_some_and(|total| !total.loss.is_finite()) {
                return Err(Diverged);
            }
            self.round.stats = total.or(self.round.stats);
        }
        match self.round.stats {
            Some(stats) if self.weights.commit() => Ok(Some(stats)),
            _ => Ok(None),
        }
    }

    /// Adds a layer's sum to its lane; when that is full, steps the layer.
    fn add_layer(
        &mut self,
        layer: usize,
        node: Node,
        sum: Sum,
        constants: StepInputs,
        actions: &mut Vec<Action>,
    ) -> Result<(), Diverged> {
        let threads = &self.compute.threads;
        let Some(gradient) = self.reduction.add_layer(threads, layer, node, sum) else { return Ok(()) };
        let finite = self.weights.step_layer(&self.compute, layer, &gradient, constants);
        self.reduction.give_back(layer, gradient);
        if !finite {
            return Err(Diverged);
        }
        self.broadcast(Part::Layer(layer as u32), actions);
        Ok(())
    }

    fn constants(&self) -> StepInputs {
        let parts = self.manifest.parts();
        StepInputs {
            samples: self.tree.samples(),
            step: self.step,
            learning_rate: self.manifest.learning_rate(self.step),
            l2: parts.l2 / parts.train_samples as f32,
        }
    }

    /// Nobody needs the weights after the last step.
    fn broadcast(&self, part: Part, actions: &mut Vec<Action>) {
        if self.step + 1 < self.total_steps {
            actions.push(Action::Broadcast { step: Step(self.step + 1), part });
        }
    }

    /// All lanes are full and all layers stepped: the step is done.
    fn commit(&mut self, now: Duration, stats: NodeStats, actions: &mut Vec<Action>) {
        let (epoch, batch) = self.manifest.place(self.step);
        self.epoch.loss += stats.loss;
        self.epoch.correct += stats.correct;
        actions.push(Action::StepDone(StepReport {
            step: Step(self.step),
            epoch,
            samples: stats.samples,
            loss: stats.loss / stats.samples as f64,
            learning_rate: self.manifest.learning_rate(self.step),
        }));
        if let Some(transfer) = self.round.transfer(now) {
            let known = self.transfer.unwrap_or(transfer);
            self.transfer = Some(known.mul_f64(1.0 - NEWEST) + transfer.mul_f64(NEWEST));
        }
        self.leave_behind(now);
        self.round.clear();
        self.step += 1;
        if batch + 1 == self.manifest.steps_per_epoch() {
            let sums = std::mem::take(&mut self.epoch);
            let samples = self.manifest.parts().train_samples;
            actions.push(Action::EpochDone(EpochReport {
                epoch,
                steps: self.step,
                samples,
                train_loss: sums.loss / samples as f64,
                correct: sums.correct,
            }));
        }
        if self.step < self.total_steps {
            self.tree = self.manifest.tree(self.step);
            self.reduction.reset(self.tree);
            let (every, wall) = (self.snapshot_every, self.clock.wall());
            let by_time =
                !every.is_zero() && wall.saturating_sub(self.last_snapshot.unwrap_or(wall)) >= every;
            let by_steps = self.snapshot_steps != 0 && self.step.is_multiple_of(self.snapshot_steps);
            if (by_time || by_steps) && self.snapshot_pending.is_none() {
                self.last_snapshot = Some(wall);
                self.snapshot_pending = Some(Step(self.step));
                actions.push(Action::WriteSnapshot);
            }
        }
        self.settle(now, actions);
    }

    /// The step is done without what some workers still compute.
    fn leave_behind(&mut self, now: Duration) {
        let carrying = 2 * self.transfer();
        for issue in self.round.issues.iter().filter(|issue| issue.is_pending()) {
            let Some(worker) = self.workers.get_mut(issue.worker) else { continue };
            let elapsed = now.saturating_sub(issue.since.max(worker.free_since));
            worker.pace.record_unfinished(self.tree.samples_of(issue.node).len(), elapsed, carrying);
            let owes = match worker.standing {
                Standing::Late { owes } => owes + 1,
                Standing::Active | Standing::Joining => 1,
            };
            worker.standing = Standing::Late { owes };
        }
    }

    /// A part of an assigned node has come. True if the worker is done with that node.
    fn answered(&mut self, now: Duration, issue: usize, part: Part, stats: bool, compute: Duration) -> bool {
        let issue = &mut self.round.issues[issue];
        let done = issue.arrived(part, stats, self.layout.len());
        if done && let Some(worker) = self.workers.get_mut(issue.worker) {
            let elapsed = now.saturating_sub(issue.since.max(worker.free_since));
            worker.pace.record(self.tree.samples_of(issue.node).len(), elapsed, compute);
            worker.free_since = now;
        }
        done
    }

    /// A contribution changes nothing but counters, and what is waited for.
    fn refuse(&mut self, now: Duration, c: Contribution, reason: Rejection, actions: &mut Vec<Action>) {
        let Contribution { worker: id, part, node, values, stats, compute, .. } = c;
        self.rejected += 1;
        recycle(values, actions, ());
        actions.push(Action::Reject { worker: id, reason });
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.rejected += 1;
        let named = self.round.find(id, node);
        if reason.is_malformed() {
            if !self.strike(now, id, reason, actions) {
                // Where it cannot be said what it was meant to answer, nothing that the worker holds is waited for.
                let meant = |issue: &Issue| issue.worker == id && (named.is_none() || issue.node == node);
                for issue in self.round.issues.iter_mut().filter(|issue| meant(issue) && issue.is_pending()) {
                    issue.progress = Progress::Void;
                }
            }
            self.settle(now, actions);
            return;
        }
        match (reason, worker.standing) {
            (Rejection::Duplicate(_), _) => {
                if let Some(issue) = named
                    && self.answered(now, issue, part, stats.is_some(), compute)
                {
                    self.settle(now, actions);
                }
            }
            // It was left behind, and here is what it owes.
            (Rejection::StaleStep { .. }, Standing::Late { owes }) if stats.is_some() => {
                worker.standing =
                    if owes > 1 { Standing::Late { owes: owes - 1 } } else { Standing::Joining };
                worker.free_since = now;
                self.settle(now, actions);
            }
            _ => {}
        }
    }
}

/// Passes `result` on, and gives a buffer of this process back.
fn recycle<T>(values: Values, actions: &mut Vec<Action>, result: T) -> T {
    if let Values::Own(buffer) = values {
        actions.push(Action::Recycle(buffer));
    }
    result
}
