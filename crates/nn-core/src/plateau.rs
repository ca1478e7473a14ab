//! The schedule `plateau`: the learning rate is lowered once the loss on the validation samples has stopped falling (PyTorch's
//! `ReduceLROnPlateau`).

use serde::{Deserialize, Serialize};

use crate::math::power;

/// An evaluation improves on the best one if its loss is less by at least this fraction: PyTorch's threshold.
const THRESHOLD: f64 = 1e-4;

/// What the evaluations of a run have come to so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Plateau {
    /// The least loss that counted as an improvement; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
    /// Evaluations since then, or since the rate was lowered, whichever is later.
    pub since: u32,
    /// How many times the rate was lowered.
    pub drops: u32,
}

impl Plateau {
    /// Takes in the loss of an evaluation. After `most` of them in a row without an improvement the rate is lowered, and they are
    /// counted anew.
    ///
    /// PyTorch lowers it after more than `patience` of them, so its `patience` is `most` − 1. A loss that is not finite is no
    /// improvement.
    pub fn take_in(&mut self, loss: f64, most: u32) {
        if loss.is_finite() && self.best.is_none_or(|best| loss < best * (1.0 - THRESHOLD)) {
            (self.best, self.since) = (Some(loss), 0);
            return;
        }
        self.since = self.since.saturating_add(1);
        if self.since >= most {
            (self.since, self.drops) = (0, self.drops.saturating_add(1));
        }
    }

    /// What the learning rate is multiplied by, if `factor` is that of one drop.
    #[must_use]
    pub fn multiplier(&self, factor: f32) -> f64 {
        power(f64::from(factor), u64::from(self.drops))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_that_are_not_finite_are_no_improvement() {
        let mut plateau = Plateau::default();
        plateau.take_in(f64::NAN, 2);
        assert_eq!((plateau.best, plateau.since), (None, 1));
        plateau.take_in(f64::INFINITY, 2);
        assert_eq!((plateau.best, plateau.since, plateau.drops), (None, 0, 1));
        plateau.take_in(0.5, 2);
        assert_eq!((plateau.best, plateau.since, plateau.drops), (Some(0.5), 0, 1));
        // Less, but by too little.
        plateau.take_in(0.499_96, 2);
        assert_eq!((plateau.best, plateau.since), (Some(0.5), 1));
        plateau.take_in(0.499_94, 2);
        assert_eq!((plateau.best, plateau.since, plateau.drops), (Some(0.499_94), 0, 1));
        assert_eq!(plateau.multiplier(0.25), 0.25);
    }
}
