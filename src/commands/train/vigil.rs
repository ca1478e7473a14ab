//! Watches whether a run still moves, and says once what to do if it does not.

use nn_core::{Activation, Cost, Dataset, Output, Targets};
use nn_engine::Manifest;

use super::times;
use crate::config::RecipeName;

/// Samples on which units are looked for that have died.
pub(super) const SAMPLES: usize = 512;

/// A loss of at least this fraction of the trivial answer's is at its level.
const LEVEL: f64 = 0.999;

/// A loss that falls by less than this fraction of itself in an epoch does not fall.
const FALL: f64 = 0.001;

/// Weights that change by less than this fraction of their norm in an epoch do not change.
const CHANGE: f64 = 1e-6;

/// A loss that grows by this factor has exploded.
const EXPLOSION: f64 = 10.0;

/// While the schedule keeps the learning rate below this fraction of its full value, nothing has to move.
const RATE: f64 = 0.1;

/// Watches a run.
#[derive(Debug)]
pub(super) struct Vigil {
    /// The mean loss of the best constant answer on the training samples.
    trivial: f64,
    activation: Activation,
    /// The widths of the hidden layers.
    hidden: Vec<usize>,
    advice: Advice,
    first: Option<f64>,
    before: Option<f64>,
    /// The weights after the last epoch, kept only while the loss is at the level of the trivial answer.
    weights: Option<Vec<f32>>,
    /// Whether it has spoken.
    said: bool,
}

/// What is known about the run for a remedy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Advice {
    /// The recipe that its defaults come from.
    pub(super) recipe: RecipeName,
    /// Whether its inputs are standardised, or need not be.
    pub(super) prepared: bool,
    pub(super) learning_rate: f32,
}

/// A completed epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// Counted from 1.
    pub(super) epoch: u64,
    /// The mean loss during training.
    pub(super) loss: f64,
    /// The learning rate at the end of the epoch, as a fraction of the full one.
    pub(super) rate: f64,
    pub(super) params: &'a [f32],
}

impl Vigil {
    /// Watches a run on these training samples.
    pub(super) fn new(manifest: &Manifest, train: &Dataset, advice: Advice) -> Self {
        let model = manifest.model();
        let widths = model.widths();
        Self {
            trivial: trivial_loss(train, model.output(), model.cost()),
            activation: model.activation(),
            hidden: widths[1..widths.len() - 1].to_vec(),
            advice,
            first: None,
            before: None,
            weights: None,
            said: false,
        }
    }

    /// Takes up the loss of an epoch before the run was resumed.
    pub(super) fn recall(&mut self, loss: f64) {
        self.first.get_or_insert(loss);
        self.before = Some(loss);
    }

    /// Looks at an epoch. Returns what to say, at most once; `dead` counts the dead units of each hidden layer.
    pub(super) fn look(&mut self, seen: &Seen<'_>, dead: impl FnOnce() -> Vec<usize>) -> Option<String> {
        if self.said {
            return None;
        }
        let said = self.judge(seen, dead);
        self.recall(seen.loss);
        self.said = said.is_some();
        // A run that moves pays for no copy.
        if self.said || !self.is_trivial(seen.loss) {
            self.weights = None;
        } else {
            let kept = self.weights.get_or_insert_default();
            kept.clear();
            kept.extend_from_slice(seen.params);
        }
        said
    }

    fn is_trivial(&self, loss: f64) -> bool {
        loss >= LEVEL * self.trivial
    }

    fn judge(&self, seen: &Seen<'_>, dead: impl FnOnce() -> Vec<usize>) -> Option<String> {
        let Seen { epoch, loss, rate, params } = *seen;
        if let Some(first) = self.first.filter(|&first| loss > EXPLOSION * first && self.is_trivial(loss)) {
            return Some(format!(
                "the training loss has risen to {} in epoch {epoch}, from {} in the first; try {}",
                in_words(loss),
                in_words(first),
                self.slower()
            ));
        }
        let stuck = rate >= RATE
            && self.is_trivial(loss)
            && self.before.is_some_and(|before| self.is_trivial(before) && loss > before * (1.0 - FALL));
        if stuck
            && let Some(change) = self.weights.as_ref().map(|before| relative_change(before, params))
            && change < CHANGE
        {
            return Some(format!(
                "training has stopped moving: epoch {epoch} changed the weights by a fraction of {change:.0e} only, so \
                 the gradients have vanished; try {}",
                self.livelier()
            ));
        }
        // Units seldom die late, so they are looked for ever more seldom.
        if self.activation == Activation::Relu && (stuck || epoch.is_power_of_two()) {
            let layers = dead().into_iter().zip(&self.hidden).enumerate();
            let mut dying = layers.filter(|(_, (dead, width))| 2 * dead > **width);
            if let Some((layer, (dead, &width))) = dying.next() {
                return Some(format!(
                    "{dead} of the {width} units of hidden layer {} are dead after epoch {epoch}: they are 0 for all of \
                     up to {SAMPLES} training samples; try {} --init he",
                    layer + 1,
                    self.slower()
                ));
            }
        }
        stuck.then(|| {
            format!(
                "training has stopped moving: the training loss is {loss:.5} in epoch {epoch}, no less than before and \
                 no better than the {:.5} of a constant answer; try {}",
                self.trivial,
                self.livelier()
            )
        })
    }

    /// Options for a run whose steps are too long.
    fn slower(&self) -> String {
        let Advice { learning_rate, prepared, .. } = self.advice;
        let standardize = if prepared { "" } else { " --standardize yes" };
        format!("--learning-rate {}{standardize}", times(learning_rate, 0.1))
    }

    /// Options for a run that does not get away from where it is.
    fn livelier(&self) -> String {
        let Advice { recipe, prepared, learning_rate } = self.advice;
        let standardize = if prepared { "" } else { " --standardize yes" };
        match recipe {
            RecipeName::Book => format!("--recipe auto{standardize}"),
            RecipeName::Auto => format!(
                "--learning-rate {} or {}, --init he{standardize}",
                times(learning_rate, 10.0),
                times(learning_rate, 0.1)
            ),
        }
    }
}

/// A loss, which may be very large.
fn in_words(loss: f64) -> String {
    if loss < 1e6 { format!("{loss:.3}") } else { format!("{loss:.1e}") }
}

/// ‖after − before‖ / ‖before‖.
fn relative_change(before: &[f32], after: &[f32]) -> f64 {
    let (mut difference, mut norm) = (0.0_f64, 0.0_f64);
    for (&before, &after) in before.iter().zip(after) {
        let (before, after) = (f64::from(before), f64::from(after));
        difference += (after - before) * (after - before);
        norm += before * before;
    }
    (difference / norm.max(f64::MIN_POSITIVE)).sqrt()
}

/// The mean loss of the best constant answer: the frequencies of the classes, or the means of the targets. Weights of
/// samples count as they do in training.
fn trivial_loss(train: &Dataset, output: Output, cost: Cost) -> f64 {
    let n = train.len() as f64;
    let weight = |sample: usize| train.weights().map_or(1.0, |weights| f64::from(weights[sample]));
    let total: f64 = (0..train.len()).map(weight).sum();
    if total <= 0.0 {
        return 0.0;
    }
    let of_answer: f64 = match train.targets() {
        Targets::Classes { labels, classes } => {
            let mut counts = vec![0.0; *classes];
            for (sample, &label) in labels.iter().enumerate() {
                counts[label as usize] += weight(sample);
            }
            let nats = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
            let loss = |p: f64| match (cost, output) {
                // The error of a frequency is at most 1, up to which Huber's loss is half the square.
                (Cost::Mse | Cost::Huber, _) => 0.5 * p * (1.0 - p),
                (Cost::CrossEntropy, Output::Softmax) => nats(p),
                (Cost::CrossEntropy, _) => nats(p) + nats(1.0 - p),
            };
            counts.iter().map(|count| loss(count / total)).sum()
        }
        Targets::Values { data, width } => (0..*width)
            .map(|target| {
                let values = || data.iter().skip(target).step_by(*width).map(|&y| f64::from(y)).enumerate();
                let mean = values().map(|(sample, y)| weight(sample) * y).sum::<f64>() / total;
                let loss = |e: f64| match cost {
                    Cost::Huber if e.abs() > 1.0 => e.abs() - 0.5,
                    Cost::Mse | Cost::CrossEntropy | Cost::Huber => 0.5 * e * e,
                };
                values().map(|(sample, y)| weight(sample) * loss(y - mean)).sum::<f64>() / total
            })
            .sum(),
    };
    of_answer * total / n
}

#[cfg(test)]
mod tests {
    use nn_core::Features;

    use super::*;

    fn vigil(activation: Activation, recipe: RecipeName) -> Vigil {
        let advice = Advice { recipe, prepared: true, learning_rate: 0.5 };
        let hidden = vec![10, 4];
        let (first, before, weights, said) = (None, None, None, false);
        Vigil { trivial: 0.45, activation, hidden, advice, first, before, weights, said }
    }

    fn look(vigil: &mut Vigil, epoch: u64, loss: f64, params: &[f32]) -> Option<String> {
        vigil.look(&Seen { epoch, loss, rate: 1.0, params }, || vec![5, 2])
    }

    #[test]
    fn a_run_that_moves_is_left_alone() {
        for activation in [Activation::Relu, Activation::Sigmoid] {
            let mut vigil = vigil(activation, RecipeName::Book);
            for (epoch, loss) in (1..).zip([0.6, 0.5, 0.46, 0.45, 0.44, 0.44, 0.44, 0.3, 0.31, 0.001, 0.01]) {
                assert_eq!(look(&mut vigil, epoch, loss, &[1.0, epoch as f32]), None, "{epoch}");
            }
        }
        // While the rate warms up, nothing has to move.
        let mut vigil = vigil(Activation::Sigmoid, RecipeName::Book);
        for epoch in 1..5 {
            let seen = Seen { epoch, loss: 0.46, rate: 0.01, params: &[1.0] };
            assert_eq!(vigil.look(&seen, Vec::new), None);
        }
    }

    #[test]
    fn a_flat_loss_is_said_once_with_a_remedy() {
        for (recipe, remedy) in
            [(RecipeName::Book, "--recipe auto"), (RecipeName::Auto, "--learning-rate 5 or")]
        {
            let mut vigil = vigil(Activation::Sigmoid, recipe);
            assert_eq!(look(&mut vigil, 1, 0.4503, &[1.0, 2.0]), None);
            let said = look(&mut vigil, 2, 0.4502, &[1.0, 2.1]).unwrap();
            assert!(said.contains("0.45020 in epoch 2") && said.contains(remedy), "{said}");
            assert_eq!(look(&mut vigil, 3, 0.4502, &[1.0, 2.2]), None);
        }
    }

    #[test]
    fn vanished_gradients_dead_units_and_explosions_are_told_apart() {
        let mut still = vigil(Activation::Sigmoid, RecipeName::Book);
        assert_eq!(look(&mut still, 1, 4.5, &[1.0, 2.0]), None);
        let said = look(&mut still, 2, 4.5, &[1.0, 2.000_000_2]).unwrap();
        assert!(said.contains("gradients have vanished"), "{said}");
        let mut dying = vigil(Activation::Relu, RecipeName::Auto);
        let seen = |epoch| Seen { epoch, loss: 0.1, rate: 1.0, params: &[1.0] };
        assert_eq!(dying.look(&seen(1), || vec![5, 2]), None, "half is not more than half");
        assert_eq!(dying.look(&seen(3), || unreachable!("they are not looked for in every epoch")), None);
        let said = dying.look(&seen(4), || vec![5, 3]).unwrap();
        assert!(
            said.contains("3 of the 4 units of hidden layer 2") && said.contains("0.05 --init he"),
            "{said}"
        );
        let mut rising = vigil(Activation::Sigmoid, RecipeName::Book);
        assert_eq!(look(&mut rising, 1, 0.4, &[1.0]), None);
        assert_eq!(look(&mut rising, 2, 3.9, &[2.0]), None);
        let said = look(&mut rising, 3, 4.1, &[3.0]).unwrap();
        assert!(
            said.contains("risen to 4.100 in epoch 3, from 0.400") && said.contains("rate 0.05"),
            "{said}"
        );
    }

    /// The best constant, found by trying.
    #[test]
    fn no_constant_answer_has_a_lower_loss_than_the_trivial_one() {
        let features = || Features::F32(vec![0.0; 5]);
        let weights = vec![2.0, 0.5, 0.5, 1.0, 3.0];
        let labels = vec![0, 1, 1, 1, 0];
        let classes =
            Dataset::new(features(), 1, Targets::Classes { labels: labels.clone(), classes: 2 }, None)
                .unwrap()
                .with_weights(weights.clone())
                .unwrap();
        let loss_of = |of: &dyn Fn(usize, f64) -> f64, c: f64| -> f64 {
            (0..5).map(|i| f64::from(weights[i]) * of(i, c)).sum::<f64>() / 5.0
        };
        let least = |of: &dyn Fn(usize, f64) -> f64| -> f64 {
            (1..100_000).map(|i| loss_of(of, f64::from(i) / 1e5)).fold(f64::MAX, f64::min)
        };
        // c is the answer for class 1, and 1 − c that for class 0.
        let chance = |i: usize, c: f64| if labels[i] == 1 { c } else { 1.0 - c };
        let softmax = least(&|i, c| -chance(i, c).ln());
        let sigmoid = least(&|i, c| -2.0 * chance(i, c).ln());
        let squares = least(&|i, c| 0.5 * 2.0 * (1.0 - chance(i, c)).powi(2));
        for (output, cost, want) in [
            (Output::Softmax, Cost::CrossEntropy, softmax),
            (Output::Sigmoid, Cost::CrossEntropy, sigmoid),
            (Output::Sigmoid, Cost::Mse, squares),
        ] {
            let got = trivial_loss(&classes, output, cost);
            assert!((got - want).abs() < 1e-8, "{output:?} {cost:?}: {got} {want}");
        }
        let y = [0.1, 0.9, 0.4, 0.3, 0.2_f32];
        let values = Targets::Values { data: y.to_vec(), width: 1 };
        let values =
            Dataset::new(features(), 1, values, None).unwrap().with_weights(weights.clone()).unwrap();
        let want = least(&|i, c| 0.5 * (f64::from(y[i]) - c).powi(2));
        let got = trivial_loss(&values, Output::Linear, Cost::Mse);
        assert!((got - want).abs() < 1e-8, "{got} {want}");
    }
}
