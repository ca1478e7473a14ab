//! Rounds: several replicas take mini-batch steps of their own before their differences are averaged.
//!
//! A run with rounds has R *replicas*. Round k starts from the public weights Ŵ. Each replica takes H steps on its own
//! slice of the epoch's permutation, and gives Δ = Ŵ − w. The replicas take the place of the leaves: their differences
//! are summed along the canonical tree, and the coordinator takes the outer step ([`nn_core::OuterState`]). A replica
//! has no state between rounds, so that any worker can compute any replica at any time.
//!
//! *Sequential steps* are the mini-batch steps that each replica takes one after another. The learning rate's schedule
//! counts them, and so does the warm-up. An epoch of M mini-batches has ⌈M/R⌉; its rounds cut them into runs of H, the
//! last of which is short.

use nn_core::{DeltaBits, Tree};
use serde::{Deserialize, Serialize};

use crate::manifest::ManifestError;

/// How a run is divided into rounds, and how a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rounds {
    /// R: a power of two, at most [`MAX_REPLICAS`].
    pub replicas: u32,
    /// H, the steps of each replica in a round; `None` for a number that grows with the steps done: see
    /// [`Rounds::steps_after`].
    pub steps: Option<u32>,
    /// ν of the outer step; positive and finite.
    #[serde(deserialize_with = "nn_core::exact_f32")]
    pub outer_learning_rate: f32,
    /// μ of the outer step, from 0 to below 1.
    #[serde(deserialize_with = "nn_core::exact_f32")]
    pub outer_momentum: f32,
    /// The bits of a number of a difference.
    pub delta_bits: DeltaBits,
}

/// The most replicas of a run.
pub const MAX_REPLICAS: u32 = 1024;

/// The fewest steps of a round that chooses its own number, unless its epoch is short.
const FEWEST: u64 = 8;
/// The most steps of a round that chooses its own number.
const MOST: u64 = 64;

impl Rounds {
    /// The outer learning rate that suits plain averages with Nesterov momentum.
    pub const OUTER_LEARNING_RATE: f32 = 1.0;

    /// The outer momentum for so many replicas: the more of them, the less noise is left to damp.
    #[must_use]
    pub fn outer_momentum_for(replicas: u32) -> f32 {
        match replicas {
            0 | 1 => 0.0,
            2 | 3 => 0.5,
            4..8 => 0.65,
            8..16 => 0.7,
            _ => 0.8,
        }
    }

    /// The factor on one machine's learning rate for so many replicas: their mean has less noise.
    #[must_use]
    pub fn learning_rate_factor(replicas: u32) -> f32 {
        match replicas {
            0..4 => 1.0,
            4..8 => 1.25,
            8..16 => 1.75,
            _ => 2.0,
        }
    }

    /// The steps of a round that begins after `done` sequential steps, if its epoch is long enough: a quarter of the
    /// steps done, from 8 to 64. Short rounds in the beginning are what matters, and few rounds what a network wants;
    /// growing in proportion to what is done gives both. An epoch of fewer than 32 steps begins with rounds of a quarter
    /// of it, so that it has several.
    #[must_use]
    pub fn steps_after(&self, done: u64, epoch: u64) -> u64 {
        match self.steps {
            Some(steps) => u64::from(steps),
            None => (done / 4).clamp(FEWEST.min(epoch.div_ceil(4)).max(1), MOST),
        }
    }

    /// Checks every part.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        if !self.replicas.is_power_of_two() || self.replicas > MAX_REPLICAS {
            return Err(ManifestError::Replicas(self.replicas));
        }
        if self.steps == Some(0) {
            return Err(ManifestError::NoRoundSteps);
        }
        if !(self.outer_learning_rate.is_finite() && self.outer_learning_rate > 0.0) {
            return Err(ManifestError::OuterLearningRate(self.outer_learning_rate));
        }
        if !(0.0..1.0).contains(&self.outer_momentum) {
            return Err(ManifestError::OuterMomentum(self.outer_momentum));
        }
        Ok(())
    }

    /// The name and value of every part, numbers to the last bit.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        // Without `..`: a part that is not hashed must not compile.
        let Self { replicas, steps, outer_learning_rate, outer_momentum, delta_bits } = self;
        vec![
            ("rounds", steps.map_or_else(|| "auto".to_owned(), |steps| steps.to_string())),
            ("replicas", replicas.to_string()),
            ("outer-learning-rate", format!("{outer_learning_rate:?}")),
            ("outer-momentum", format!("{outer_momentum:?}")),
            ("delta-bits", delta_bits.to_string()),
        ]
    }
}

/// What the weights change by at once: a mini-batch, or a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The position in the epoch, counted from 0.
    pub index: u64,
    /// Sequential steps before it, since the run began.
    pub first_step: u64,
    /// Its sequential steps: 1 for a mini-batch.
    pub steps: u64,
    /// The first of its samples, as a position in the epoch's permutation.
    pub start: usize,
    /// Its samples.
    pub samples: usize,
}

/// The run of sequential steps of a round within its epoch.
type Cut = (u64, u64);

/// Where a run's rounds are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RoundPlan {
    rounds: Rounds,
    batch: usize,
    train_samples: usize,
    /// Sequential steps of an epoch.
    epoch_steps: u64,
    /// The rounds of the first epochs, in which their length still grows.
    growing: Vec<Vec<Cut>>,
    /// Rounds before each of these epochs, and before the first one after them.
    before: Vec<u64>,
    /// The steps of a round in all epochs after these.
    steady: u64,
}

impl RoundPlan {
    pub(crate) fn new(rounds: Rounds, batch: usize, train_samples: usize) -> Self {
        let mini_batches = train_samples.div_ceil(batch) as u64;
        let epoch_steps = mini_batches.div_ceil(u64::from(rounds.replicas));
        let mut plan = Self {
            rounds,
            batch,
            train_samples,
            epoch_steps,
            growing: Vec::new(),
            before: vec![0],
            steady: rounds.steps_after(u64::MAX, epoch_steps),
        };
        let mut done = 0;
        // From here on a round has as many steps as it ever has, so all epochs are alike.
        while rounds.steps_after(done, epoch_steps) < plan.steady {
            let mut cuts = Vec::new();
            let mut at = 0;
            while at < epoch_steps {
                let steps = plan.joined(rounds.steps_after(done + at, epoch_steps), epoch_steps - at);
                cuts.push((at, steps));
                at += steps;
            }
            plan.before.push(plan.before[plan.before.len() - 1] + cuts.len() as u64);
            plan.growing.push(cuts);
            done += epoch_steps;
        }
        plan
    }

    /// The steps of a round that should have `steps`, when `left` are left of the epoch. A round that chooses its own
    /// length takes a small rest along: to wait for another round would cost more than a quarter more steps do.
    fn joined(&self, steps: u64, left: u64) -> u64 {
        let rest = left.saturating_sub(steps);
        if self.rounds.steps.is_none() && rest * 4 <= steps { left } else { steps.min(left) }
    }

    /// Sequential steps of an epoch.
    pub(crate) fn epoch_steps(&self) -> u64 {
        self.epoch_steps
    }

    /// Rounds of every epoch after the growing ones.
    fn steady_rounds(&self) -> u64 {
        let (whole, rest) = (self.epoch_steps / self.steady, self.epoch_steps % self.steady);
        let joins = self.rounds.steps.is_none() && whole > 0 && rest * 4 <= self.steady;
        whole + u64::from(rest > 0 && !joins)
    }

    /// Rounds before an epoch.
    pub(crate) fn before_epoch(&self, epoch: u64) -> u64 {
        let growing = self.growing.len() as u64;
        let steady = epoch.saturating_sub(growing).saturating_mul(self.steady_rounds());
        self.before[epoch.min(growing) as usize].saturating_add(steady)
    }

    /// The place of a round.
    pub(crate) fn span(&self, round: u64) -> Span {
        let growing = self.growing.len();
        let after = self.before[growing];
        let (epoch, index, (at, steps)) = if round < after {
            let epoch = self.before.partition_point(|&before| before <= round) - 1;
            let index = round - self.before[epoch];
            (epoch as u64, index, self.growing[epoch][index as usize])
        } else {
            let per_epoch = self.steady_rounds();
            let (epoch, index) = ((round - after) / per_epoch, (round - after) % per_epoch);
            let at = index * self.steady;
            let steps = if index + 1 == per_epoch { self.epoch_steps - at } else { self.steady };
            (growing as u64 + epoch, index, (at, steps))
        };
        let together = self.rounds.replicas as usize * self.batch;
        let start = at as usize * together;
        let samples = (self.train_samples - start).min((steps as usize).saturating_mul(together));
        Span { epoch, index, first_step: epoch * self.epoch_steps + at, steps, start, samples }
    }

    /// The tree over the replicas of a round: its leaves are their slices.
    pub(crate) fn tree(&self, span: &Span) -> Tree {
        Tree::new(span.samples, (span.steps as usize).saturating_mul(self.batch))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn rounds(replicas: u32, steps: Option<u32>) -> Rounds {
        Rounds {
            replicas,
            steps,
            outer_learning_rate: 1.0,
            outer_momentum: 0.5,
            delta_bits: DeltaBits::Eight,
        }
    }

    /// Whatever the numbers, the rounds of an epoch cover its samples once and in order, each replica has a slice, and no
    /// slice has more mini-batches than the round has steps.
    #[test]
    fn rounds_cover_every_epoch_once() {
        for samples in [1, 2, 7, 100, 1438, 5000] {
            for batch in [1, 3, 10, 128] {
                for replicas in [1, 2, 4, 16] {
                    for steps in [None, Some(1), Some(5), Some(64), Some(u32::MAX)] {
                        let plan = RoundPlan::new(rounds(replicas, steps), batch, samples);
                        let (mut round, mut done) = (0, 0);
                        for epoch in 0..if steps.is_none() { 300 } else { 3 } {
                            assert_eq!(plan.before_epoch(epoch), round);
                            let (mut start, mut index) = (0, 0);
                            while start < samples {
                                let span = plan.span(round);
                                assert_eq!((span.epoch, span.index, span.first_step), (epoch, index, done));
                                assert_eq!(span.start, start);
                                let tree = plan.tree(&span);
                                assert!((1..=replicas).contains(&tree.leaves()));
                                assert!(tree.shard() <= span.steps as usize * batch);
                                assert_eq!(tree.samples(), span.samples);
                                start += span.samples;
                                done += span.steps;
                                (round, index) = (round + 1, index + 1);
                            }
                            assert_eq!(start, samples);
                            assert_eq!(done, (epoch + 1) * plan.epoch_steps());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rounds_grow_with_the_steps_done() {
        // MNIST in mini-batches of 32 with 4 replicas: 469 steps an epoch.
        let plan = RoundPlan::new(rounds(4, None), 32, 60_000);
        assert_eq!(plan.epoch_steps(), 469);
        let steps: Vec<u64> = (0..plan.before_epoch(2)).map(|round| plan.span(round).steps).collect();
        assert_eq!(
            steps,
            [8, 8, 8, 8, 8, 10, 12, 15, 19, 24, 30, 37, 46, 58, 64, 64, 50, 64, 64, 64, 64, 64, 64, 64, 21]
        );
        // A small table: a quarter of an epoch to begin with.
        let plan = RoundPlan::new(rounds(2, None), 32, 500);
        let steps: Vec<u64> = (0..plan.before_epoch(9)).map(|round| plan.span(round).steps).collect();
        assert_eq!(plan.epoch_steps(), 8);
        assert_eq!(steps, [2, 2, 2, 2, 2, 2, 3, 1, 4, 4, 6, 2, 8, 8, 8, 8, 8]);
    }
}
