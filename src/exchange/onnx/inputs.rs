//! What a graph does to its inputs before the first layer: one shift and scale for all, or one for each.

use super::function::{Function, Linear};
use super::proto::{Length, ValueInfo};
use crate::exchange::network::{Feature, Scale};

/// The most steps of a graph that scale each input by a number of its own, so that a small file cannot take much memory.
pub(super) const MOST_STEPS: usize = 8;

/// The most inputs that are scaled each by its own numbers: each becomes a column of the model's table.
const MOST_FEATURES: usize = 1 << 16;

/// Inputs that are scaled each by its own numbers.
#[derive(Debug, Clone)]
pub(super) struct Each {
    /// The input of the graph.
    pub(super) input: usize,
    /// What becomes of each of them, in order.
    pub(super) features: Vec<Feature>,
}

impl Each {
    /// Inputs that nothing has happened to.
    pub(super) fn new(input: usize, count: usize) -> Self {
        Self { input, features: vec![Feature { mean: 0.0, deviation: 1.0 }; count] }
    }

    /// These inputs after a function of each.
    pub(super) fn with(mut self, function: &Function) -> Option<Self> {
        for step in function.linear()? {
            self.features.iter_mut().for_each(|feature| feature.take(step));
        }
        Some(self)
    }

    /// These inputs after a step with a number for each.
    ///
    /// # Errors
    /// What is wrong with the step.
    pub(super) fn by(mut self, numbers: &[f32], step: fn(f64) -> Linear) -> Result<Self, String> {
        if numbers.len() != self.features.len() {
            let (found, count) = (numbers.len(), self.features.len());
            return Err(format!("scales {count} inputs by {found} numbers"));
        }
        if numbers.len() > MOST_FEATURES {
            return Err(format!("scales more than {MOST_FEATURES} inputs by numbers of their own"));
        }
        for (feature, &number) in self.features.iter_mut().zip(numbers) {
            feature.take(step(f64::from(number)));
        }
        Ok(self)
    }

    /// The first input whose scale no model can have.
    pub(super) fn unsound(&self) -> Option<usize> {
        let sound = |x: f64| x.is_finite() && x > 0.0;
        self.features.iter().position(|feature| !(feature.mean.is_finite() && sound(feature.deviation)))
    }
}

impl Feature {
    fn take(&mut self, step: Linear) {
        match step {
            Linear::Less(number) => self.mean += number * self.deviation,
            Linear::Over(number) => self.deviation *= number,
        }
    }
}

/// The lengths of an input, `None` where they are open; empty if it does not say its shape.
pub(super) fn lengths(input: &ValueInfo) -> Vec<Option<usize>> {
    let shape = input
        .r#type
        .as_ref()
        .and_then(|kind| kind.tensor_type.as_ref())
        .and_then(|tensor| tensor.shape.as_ref());
    let length = |value: &Option<Length>| match value {
        Some(Length::Known(length)) => usize::try_from(*length).ok().filter(|&length| length > 0),
        _ => None,
    };
    shape.map_or_else(Vec::new, |shape| shape.dim.iter().map(|dimension| length(&dimension.value)).collect())
}

/// What a function of the inputs does to them, in the order: divided, less a mean, divided.
pub(super) fn scale(function: &Function) -> Option<Scale> {
    let steps = function.linear()?;
    let scale = match steps[..] {
        [] => Scale::NONE,
        [Linear::Over(divisor)] => Scale { divisor, ..Scale::NONE },
        [Linear::Less(mean)] => Scale { mean, ..Scale::NONE },
        [Linear::Less(mean), Linear::Over(deviation)] => Scale { mean, deviation, ..Scale::NONE },
        [Linear::Over(divisor), Linear::Less(mean)] => Scale { divisor, mean, ..Scale::NONE },
        [Linear::Over(divisor), Linear::Less(mean), Linear::Over(deviation)] => {
            Scale { divisor, mean, deviation }
        }
        _ => return None,
    };
    let Scale { divisor, mean, deviation } = scale;
    let sound = |x: f64| x.is_finite() && x > 0.0;
    (sound(divisor) && mean.is_finite() && sound(deviation)).then_some(scale)
}

#[cfg(test)]
mod tests {
    use super::super::function::Binary;
    use super::*;

    #[test]
    fn steps_become_a_mean_and_a_deviation_of_each_input() {
        let over = |x: f64| Function::identity().join(Binary::Div, &Function::number(x)).unwrap();
        let each = Each::new(0, 2).with(&over(2.0)).unwrap();
        let each = each.by(&[3.0, -1.0], Linear::Less).unwrap().by(&[4.0, 0.5], Linear::Over).unwrap();
        // (x/2 − 3)/4 = (x − 6)/8 and (x/2 + 1)/0.5 = (x + 2)/1
        let want = [Feature { mean: 6.0, deviation: 8.0 }, Feature { mean: -2.0, deviation: 1.0 }];
        assert_eq!(each.features, want);
        assert_eq!(each.unsound(), None);
        let zero = each.clone().by(&[1.0, 0.0], Linear::Over).unwrap();
        assert_eq!(zero.unsound(), Some(1));
        assert!(each.clone().by(&[1.0], Linear::Less).unwrap_err().contains("2 inputs by 1 numbers"));
        assert!(each.with(&over(1.0).join(Binary::Max, &Function::number(0.0)).unwrap()).is_none());
        let wide = Each::new(0, MOST_FEATURES + 1).by(&vec![1.0; MOST_FEATURES + 1], Linear::Less);
        assert!(wide.unwrap_err().contains("more than 65536 inputs"));
    }
}
