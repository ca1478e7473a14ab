//! Regularization: what training does to samples that evaluation does not.
//!
//! All of it is a function of the sample, and what is random about it has the address (seed, epoch, sample). So a gradient
//! is the same wherever it is computed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::augment::Augmentation;
use crate::spec::exact_f32;

/// Means against overfitting that act on single samples. [`Regularization::default`] has none of them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Regularization {
    /// The probability that an input is left out, in 0..1.
    #[serde(deserialize_with = "exact_f32")]
    pub input_dropout: f32,
    /// The probability that a hidden unit is left out, in 0..1 (Srivastava et al. 2014). Units that stay are multiplied by
    /// 1/(1 − p), so that evaluation needs no correction.
    #[serde(deserialize_with = "exact_f32")]
    pub dropout: f32,
    /// ε: targets are 1 − ε + ε/K for the class of a sample and ε/K for the other K − 1 classes, in 0..1 (Szegedy et al. 2016).
    #[serde(deserialize_with = "exact_f32")]
    pub label_smoothing: f32,
    /// The largest norm of a sample's gradient: a larger gradient is scaled down to it. 0 for no limit.
    #[serde(deserialize_with = "exact_f32")]
    pub clip_samples: f32,
    /// The distortions of pictures, which precede input dropout.
    #[serde(skip_serializing_if = "Augmentation::is_none")]
    pub augmentation: Augmentation,
}

impl Regularization {
    /// No regularization, as a constant.
    pub const NONE: Self = Self {
        input_dropout: 0.0,
        dropout: 0.0,
        label_smoothing: 0.0,
        clip_samples: 0.0,
        augmentation: Augmentation {
            rotation: 0.0,
            scale: 0.0,
            shear: 0.0,
            shift: 0.0,
            elastic: 0.0,
            flip: false,
        },
    };

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The name and value of each mean that is on, for a manifest's hash.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let on = self.constants().into_iter().filter(|(_, value, _)| *value != 0.0);
        let mut fields: Vec<_> = on.map(|(name, value, _)| (name, format!("{value:?}"))).collect();
        if self.augmentation.flip {
            fields.push(("augment-flip", "true".into()));
        }
        fields
    }

    /// The name and value of the first number that is out of its range.
    #[must_use]
    pub fn out_of_range(&self) -> Option<(&'static str, f32)> {
        self.constants().into_iter().find(|(_, _, good)| !good).map(|(name, value, _)| (name, value))
    }

    /// The name and value of each number, and whether it is in its range.
    fn constants(&self) -> [(&'static str, f32, bool); 9] {
        // Without `..`: one that is not listed must not compile.
        let Self { input_dropout, dropout, label_smoothing, clip_samples, augmentation } = *self;
        let Augmentation { rotation, scale, shear, shift, elastic, flip: _ } = augmentation;
        let wrong = augmentation.check().err().map(|error| error.field);
        let fraction = |x: f32| (0.0..1.0).contains(&x);
        [
            ("input-dropout", input_dropout, fraction(input_dropout)),
            ("dropout", dropout, fraction(dropout)),
            ("label-smoothing", label_smoothing, fraction(label_smoothing)),
            ("clip-samples", clip_samples, clip_samples >= 0.0 && clip_samples.is_finite()),
            ("augment-rotation", rotation, wrong != Some("rotation")),
            ("augment-scale", scale, wrong != Some("scale")),
            ("augment-shear", shear, wrong != Some("shear")),
            ("augment-shift", shift, wrong != Some("shift")),
            ("augment-elastic", elastic, wrong != Some("elastic")),
        ]
    }

    /// The targets of a sample's own class and of every other one.
    pub(crate) fn class_targets(&self, classes: usize) -> [f32; 2] {
        let other = self.label_smoothing / classes as f32;
        [1.0 - self.label_smoothing + other, other]
    }

    /// What a norm is multiplied by, so that it is at most `clip_samples`.
    pub(crate) fn clip_factor(&self, norm: f64) -> f32 {
        let most = f64::from(self.clip_samples);
        if most > 0.0 && norm > most { (most / norm) as f32 } else { 1.0 }
    }
}

/// Dropout with a probability: units whose 24 random bits are below the first number are left out, and the others are multiplied by
/// the second.
pub(crate) fn drop_rule(probability: f32) -> (u32, f32) {
    ((f64::from(probability) * f64::from(1 << 24)).ceil() as u32, 1.0 / (1.0 - probability))
}

/// Samples of a mini-batch, or some of them.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// Indices into the data, in the order of the mini-batch.
    pub indices: &'a [u32],
    /// The epoch, a part of the address of what is random about them.
    pub epoch: u64,
}

impl<'a> Samples<'a> {
    /// Samples of the first epoch.
    #[must_use]
    pub fn first(indices: &'a [u32]) -> Self {
        Self { indices, epoch: 0 }
    }

    /// Some of them, by their places.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn part(self, places: Range<usize>) -> Self {
        Self { indices: &self.indices[places], ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_add_up_to_one() {
        for (smoothing, classes) in [(0.0, 10), (0.1, 10), (0.3, 2), (0.5, 1)] {
            let [own, other] =
                Regularization { label_smoothing: smoothing, ..Default::default() }.class_targets(classes);
            assert!((own + other * (classes - 1) as f32 - 1.0).abs() < 1e-6, "{smoothing}");
        }
        assert_eq!(Regularization::default().class_targets(10), [1.0, 0.0]);
    }

    #[test]
    fn a_norm_is_scaled_down_to_the_limit_and_never_up() {
        let limit = Regularization { clip_samples: 2.0, ..Default::default() };
        assert_eq!(
            [0.0, 1.0, 2.0, 8.0, f64::INFINITY].map(|norm| limit.clip_factor(norm)),
            [1.0, 1.0, 1.0, 0.25, 0.0]
        );
        assert_eq!(limit.clip_factor(f64::NAN), 1.0, "it stays NaN, and the run is found to have diverged");
        assert_eq!(Regularization::default().clip_factor(1e9), 1.0);
    }

    #[test]
    fn dropout_keeps_the_mean() {
        for p in [0.0_f32, 0.1, 0.5, 0.999] {
            let (threshold, factor) = drop_rule(p);
            let kept = 1.0 - f64::from(threshold) / f64::from(1 << 24);
            assert!((kept * f64::from(factor) - 1.0).abs() < 1e-3, "{p}");
        }
    }
}
