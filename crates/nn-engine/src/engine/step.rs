//! From a contribution to the next weights.

use std::time::Duration;

use nn_core::{Node, NodeStats, OuterInputs, StepInputs};

use super::Engine;
use super::handle::Change;
use super::ids::{Part, Step, WorkerId};
use super::protocol::{Action, Contribution, Values};
use super::reduce::Sum;
use super::rejection::Rejection;
use super::report::{EpochReport, Outcome, StepReport};
use super::weights::Inputs;
use super::workers::Standing;
use crate::replica::mean_of;
use crate::rounds::Span;

/// Weight of the newest step in the moving average of the transfer time.
const NEWEST: f64 = 0.1;

/// The sum of a layer, the weights or the loss are NaN or infinite.
struct Diverged;

impl Engine {
    pub(super) fn receive(&mut self, now: Duration, c: Contribution, actions: &mut Vec<Action>) -> Change {
        self.hear(now, c.worker);
        match self.check(&c) {
            Ok(issue) => self.contribute(now, c, issue, actions),
            Err(reason) => self.refuse(now, c, reason, actions),
        }
    }

    /// Takes a checked contribution: holds it for audit, or counts it.
    fn contribute(
        &mut self,
        now: Duration,
        c: Contribution,
        issue: usize,
        actions: &mut Vec<Action>,
    ) -> Change {
        let on_trial = self.is_on_trial(c.node);
        self.round.computed(c.worker, c.compute);
        let done = self.answered(now, issue, c.part, c.stats.is_some(), c.compute);
        if on_trial {
            return self.testify(now, c, done, actions);
        }
        match self.take_in(now, c, actions) {
            Change::Made => Change::Made,
            Change::None => Change::when(done),
        }
    }

    /// Counts a contribution that is believed. It is a change only if it ends the step.
    pub(super) fn take_in(&mut self, now: Duration, c: Contribution, actions: &mut Vec<Action>) -> Change {
        let complete =
            if c.finite { self.count(c, actions) } else { recycle(c.values, actions, Err(Diverged)) };
        match complete {
            Ok(None) => return Change::None,
            Ok(Some(stats)) => self.commit(now, stats, actions),
            Err(Diverged) => {
                let step = Step(self.step);
                let epoch = self.manifest.place(self.step).0;
                self.finish(Outcome::Diverged { epoch, step }, actions);
            }
        }
        Change::Made
    }

    /// Adds a contribution to the sums. Some if that completes the step.
    fn count(&mut self, c: Contribution, actions: &mut Vec<Action>) -> Result<Option<NodeStats>, Diverged> {
        let (worker, step, node) = (c.worker, c.step, c.node);
        // The only worker, in this process, with the whole mini-batch: there is nothing to reduce or to wait for.
        if let (Values::Own(gradient), Part::All, Some(stats)) = (&c.values, c.part, c.stats)
            && node == self.tree.root()
            && self.reduction.is_untouched()
            && self.step_all(gradient)
        {
            actions.push(Action::Counted { worker, step, node, part: Part::All });
            self.broadcast(Part::All, actions);
            return recycle(c.values, actions, Ok(Some(stats)));
        }
        let stats = c.stats;
        self.count_layers(c, actions)?;
        self.count_stats(node, stats)?;
        match self.round.stats {
            Some(stats) if self.weights.commit() => Ok(Some(stats)),
            _ => Ok(None),
        }
    }

    /// Steps all layers by the gradient sum of the whole mini-batch, in place. False if this needs one sum for each piece.
    fn step_all(&mut self, gradient: &[f32]) -> bool {
        let mut constants = self.constants();
        if let Some(clipping) = &self.clipping {
            let samples = self.tree.samples();
            constants = constants.clipped(clipping.factor_of(&self.compute, &self.pieces, gradient, samples));
        }
        self.weights.step_all(&self.compute, gradient, constants)
    }

    /// Adds those layers of a contribution that have not been counted.
    fn count_layers(&mut self, c: Contribution, actions: &mut Vec<Action>) -> Result<(), Diverged> {
        let Contribution { worker, step, node, part, values, .. } = c;
        let constants = self.constants();
        let values = match values {
            Values::Received(received) => Ok(received),
            Values::Own(buffer) => match part {
                Part::All => Err(buffer),
                Part::Layer(layer) => {
                    return self.count_own_layer((worker, step, node), layer as usize, buffer, actions);
                }
            },
        };
        let start = self.part_range(part).map_or(0, |range| range.start);
        let mut result = Ok(());
        // The last layer comes first, because its gradient is complete first.
        for layer in (0..self.pieces.len()).rev() {
            let this = Part::Layer(layer as u32);
            if part != Part::All && part != this || self.reduction.has_layer(layer, node) {
                continue;
            }
            let range = self.pieces[layer].clone();
            let range = range.start - start..range.end - start;
            actions.push(Action::Counted { worker, step, node, part: this });
            let sum = match &values {
                Ok(received) => Sum::Received(received.slice(range)),
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
        result
    }

    /// Adds a layer that was computed in this process, where it is: the sum takes the buffer, and gives another one for it.
    fn count_own_layer(
        &mut self,
        (worker, step, node): (WorkerId, Step, Node),
        layer: usize,
        buffer: Vec<f32>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Diverged> {
        if self.reduction.has_layer(layer, node) {
            actions.push(Action::Recycle(buffer));
            return Ok(());
        }
        actions.push(Action::Counted { worker, step, node, part: Part::Layer(layer as u32) });
        actions.extend(self.reduction.spare(layer).map(Action::Recycle));
        self.add_layer(layer, node, Sum::Buffer(buffer), self.constants(), actions)
    }

    /// Adds a node's sum of one layer; once the layer's sum is complete, steps the layer. Where the gradient is clipped, the
    /// layers are stepped together, once the sums of all are complete: the norm runs over all of them.
    fn add_layer(
        &mut self,
        layer: usize,
        node: Node,
        sum: Sum,
        constants: Inputs,
        actions: &mut Vec<Action>,
    ) -> Result<(), Diverged> {
        let threads = &self.compute.threads;
        let Some(gradient) = self.reduction.add_layer(threads, layer, node, sum) else { return Ok(()) };
        let Some(clipping) = &mut self.clipping else {
            return self.step_layer(layer, gradient, constants, actions);
        };
        clipping.hold(&self.compute, layer, self.pieces[layer].len(), gradient);
        let Some((factor, sums)) = clipping.release(self.tree.samples()) else { return Ok(()) };
        // The last layer first, as its gradients arrive.
        for (layer, gradient) in sums.into_iter().enumerate().rev() {
            self.step_layer(layer, gradient, constants.clipped(factor), actions)?;
        }
        Ok(())
    }

    /// Steps a layer by its complete sum, and sends it ahead.
    fn step_layer(
        &mut self,
        layer: usize,
        gradient: Sum,
        constants: Inputs,
        actions: &mut Vec<Action>,
    ) -> Result<(), Diverged> {
        let finite = self.weights.step_layer(&self.compute, layer, &gradient, constants);
        self.reduction.give_back(layer, gradient);
        if !finite {
            return Err(Diverged);
        }
        self.broadcast(Part::Layer(layer as u32), actions);
        Ok(())
    }

    /// Adds loss and counts of a node, unless they have been counted.
    fn count_stats(&mut self, node: Node, stats: Option<NodeStats>) -> Result<(), Diverged> {
        let Some(stats) = stats.filter(|_| !self.reduction.has_stats(node)) else { return Ok(()) };
        let total = self.reduction.add_stats(node, stats);
        if total.is_some_and(|total| !total.loss.is_finite()) {
            return Err(Diverged);
        }
        self.round.stats = total.or(self.round.stats);
        Ok(())
    }

    fn constants(&self) -> Inputs {
        if let Some(rounds) = self.manifest.rounds() {
            return Inputs::Differences(OuterInputs {
                mean: mean_of(&self.tree),
                learning_rate: rounds.outer_learning_rate,
                momentum: rounds.outer_momentum,
            });
        }
        let parts = self.manifest.parts();
        Inputs::Gradients(StepInputs {
            samples: self.tree.samples(),
            step: self.step,
            learning_rate: self.learning_rate(self.step),
            l2: parts.recipe.l2 / parts.train_samples as f32,
            clip: 1.0,
            noise: parts.recipe.noise(self.step),
        })
    }

    /// Broadcasts stepped weights. Nobody needs those after the last step.
    fn broadcast(&self, part: Part, actions: &mut Vec<Action>) {
        if self.step + 1 < self.total_steps {
            actions.push(Action::Broadcast { step: Step(self.step + 1), part });
        }
    }

    /// Ends the step: all sums are complete and all layers stepped.
    fn commit(&mut self, now: Duration, stats: NodeStats, actions: &mut Vec<Action>) {
        let Span { epoch, index: batch, first_step, steps, .. } = self.manifest.span(self.step);
        if let Some(average) = &mut self.average {
            average.take_in(&self.compute, self.weights.params(), first_step, steps);
        }
        self.epoch.loss += stats.loss;
        self.epoch.correct += stats.correct;
        actions.push(Action::StepDone(StepReport {
            step: Step(self.step),
            epoch,
            samples: stats.samples,
            loss: stats.loss / stats.samples as f64,
            learning_rate: self.learning_rate(self.step),
        }));
        if let Some(transfer) = self.round.transfer(now, self.cluster.own) {
            let known = self.transfer.unwrap_or(transfer);
            self.transfer = Some(known.mul_f64(1.0 - NEWEST) + transfer.mul_f64(NEWEST));
        }
        self.leave_behind(now);
        self.round.clear();
        self.step += 1;
        if batch + 1 == self.manifest.steps_in(epoch) {
            self.end_epoch(epoch, actions);
        }
        if self.step < self.total_steps {
            self.tree = self.manifest.tree(self.step);
            self.reduction.reset(self.tree);
            self.request_snapshot(actions);
        }
    }

    /// Reports an epoch, all of whose steps are done.
    fn end_epoch(&mut self, epoch: u64, actions: &mut Vec<Action>) {
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

    /// Requests a checkpoint if one is due and none is being written.
    fn request_snapshot(&mut self, actions: &mut Vec<Action>) {
        let (every, wall) = (self.snapshot_every, self.clock.wall());
        let by_time = !every.is_zero() && wall.saturating_sub(self.last_snapshot.unwrap_or(wall)) >= every;
        let by_steps = self.snapshot_steps != 0 && self.step.is_multiple_of(self.snapshot_steps);
        if (by_time || by_steps) && self.snapshot_pending.is_none() {
            self.last_snapshot = Some(wall);
            self.snapshot_pending = Some(Step(self.step));
            actions.push(Action::WriteSnapshot);
        }
    }

    /// Marks workers as late that are still computing nodes of a step that is complete without them.
    fn leave_behind(&mut self, now: Duration) {
        let carrying = 2 * self.transfer();
        for issue in self.round.issues.pending() {
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

    /// Notes that a part of an assigned node has arrived. True if that was all of it.
    fn answered(&mut self, now: Duration, issue: usize, part: Part, stats: bool, compute: Duration) -> bool {
        let issue = self.round.issues.get_mut(issue);
        let done = issue.arrived(part, stats, self.pieces.len());
        if done && let Some(worker) = self.workers.get_mut(issue.worker) {
            let elapsed = now.saturating_sub(issue.since.max(worker.free_since));
            worker.pace.record(self.tree.samples_of(issue.node).len(), elapsed, compute);
            worker.free_since = now;
        }
        done
    }

    /// Refuses a contribution. It changes nothing but counters, and what the run waits for.
    fn refuse(
        &mut self,
        now: Duration,
        c: Contribution,
        reason: Rejection,
        actions: &mut Vec<Action>,
    ) -> Change {
        let Contribution { worker: id, part, node, values, stats, compute, .. } = c;
        self.rejected += 1;
        recycle(values, actions, ());
        actions.push(Action::Reject { worker: id, reason });
        let Some(worker) = self.workers.get_mut(id) else { return Change::None };
        worker.rejected += 1;
        match (reason, worker.standing) {
            (reason, _) if reason.is_malformed() => {
                if !self.strike(now, id, reason, actions) {
                    self.round.issues.void(id, node);
                }
                Change::Made
            }
            (Rejection::Duplicate(_), _) => {
                let Some(issue) = self.round.issues.find(id, node) else { return Change::None };
                Change::when(self.answered(now, issue, part, stats.is_some(), compute))
            }
            (Rejection::StaleStep { .. }, Standing::Late { owes }) if stats.is_some() => {
                // One of the nodes that it owes has arrived.
                worker.standing =
                    if owes > 1 { Standing::Late { owes: owes - 1 } } else { Standing::Joining };
                worker.free_since = now;
                Change::Made
            }
            _ => Change::None,
        }
    }
}

/// Returns a buffer of this process to the driver, and passes `result` on.
fn recycle<T>(values: Values, actions: &mut Vec<Action>, result: T) -> T {
    if let Values::Own(buffer) = values {
        actions.push(Action::Recycle(buffer));
    }
    result
}
