//! Layer normalisation that is written with basic operators.
//!
//! Before operators of version 17 PyTorch writes (z − mean) / √(mean of squares + ε)·γ + β; TensorFlow writes
//! z·γ/√(v + ε) + (β − mean·γ/√(v + ε)). So it is recognised by its values, too.

use super::function::{Binary, Function, Symbol};

/// A layer normalisation: (z − mean)/√(variance + ε), times γ, plus β.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LayerNorm {
    /// The vector γ, if there is one.
    pub(super) gain: Option<usize>,
    /// The vector β, if there is one.
    pub(super) shift: Option<usize>,
    /// ε
    pub(super) epsilon: f64,
}

/// Values of everything that a function may depend on.
#[derive(Debug, Clone, Copy)]
struct Sample {
    z: f64,
    mean: f64,
    variance: f64,
    gain: f64,
    shift: f64,
}

impl Sample {
    fn all() -> impl Iterator<Item = Self> {
        // The first ones tell most functions apart.
        let units = [(2.0, -1.5), (-3.0, 0.7), (0.25, 0.25), (0.0, 0.7), (40.0, 0.0), (-0.5, -1.5)];
        let variances = [0.3, 0.0, 1e-6, 1e-4, 90.0];
        let vectors = [(-0.7, 0.4), (1.0, 0.0), (2.5, -3.0)];
        units.into_iter().flat_map(move |(z, mean)| {
            variances.into_iter().flat_map(move |variance| {
                vectors.into_iter().map(move |(gain, shift)| Self { z, mean, variance, gain, shift })
            })
        })
    }

    /// The value of `function`, with the vectors `gain` and `shift`.
    fn of(&self, function: &Function, gain: Option<usize>, shift: Option<usize>) -> f64 {
        function.at(&|symbol| match symbol {
            Symbol::Z => self.z,
            Symbol::Mean => self.mean,
            Symbol::Variance => self.variance,
            Symbol::Vector(at) if gain == Some(at) => self.gain,
            Symbol::Vector(at) if shift == Some(at) => self.shift,
            Symbol::Vector(_) => f64::NAN,
        })
    }
}

fn near(got: f64, want: f64) -> bool {
    (got - want).abs() <= 1e-6 * (1.0 + want.abs())
}

/// The mean over the units of a function of z; `None` if it is not one that layer normalisation needs.
pub(super) fn mean(function: &Function) -> Option<Function> {
    let is = |want: fn(&Sample) -> f64| {
        Sample::all().all(|sample| near(sample.of(function, None, None), want(&sample)))
    };
    if function.is_identity() {
        return Some(Function::symbol(Symbol::Mean));
    }
    if is(|Sample { z, mean, .. }| (z - mean) * (z - mean)) {
        return Some(Function::symbol(Symbol::Variance));
    }
    if is(|Sample { z, .. }| z * z) {
        let mean = Function::symbol(Symbol::Mean);
        return Function::symbol(Symbol::Variance).join(Binary::Add, &mean.join(Binary::Mul, &mean)?);
    }
    None
}

/// The layer normalisation that a function is.
pub(super) fn layer_norm(function: &Function) -> Option<LayerNorm> {
    if !function.is_joint() {
        return None;
    }
    let roles = match function.vectors()[..] {
        [] => vec![(None, None)],
        [one] => vec![(Some(one), None), (None, Some(one))],
        [one, other] => vec![(Some(one), Some(other)), (Some(other), Some(one))],
        _ => return None,
    };
    roles.into_iter().find_map(|(gain, shift)| {
        // Where the variance is 0, only ε is left.
        let still = Sample { z: 1.0, mean: 0.0, variance: 0.0, gain: 1.0, shift: 0.0 };
        let epsilon = still.of(function, gain, shift).powi(-2);
        let sound = epsilon.is_finite() && epsilon > 0.0;
        let same = |sample: Sample| {
            let Sample { z, mean, variance, .. } = sample;
            let factor = if gain.is_some() { sample.gain } else { 1.0 };
            let shifted = if shift.is_some() { sample.shift } else { 0.0 };
            let want = (z - mean) / (variance + epsilon).sqrt() * factor + shifted;
            near(sample.of(function, gain, shift), want)
        };
        (sound && Sample::all().all(same)).then_some(LayerNorm { gain, shift, epsilon })
    })
}

#[cfg(test)]
mod tests {
    use super::super::function::Unary;
    use super::*;

    fn symbol(symbol: Symbol) -> Function {
        Function::symbol(symbol)
    }

    fn join(left: &Function, op: Binary, right: &Function) -> Function {
        left.join(op, right).unwrap()
    }

    fn centred() -> Function {
        join(&symbol(Symbol::Z), Binary::Sub, &symbol(Symbol::Mean))
    }

    /// √(variance + ε)
    fn deviation(epsilon: f64) -> Function {
        let variance = join(&symbol(Symbol::Variance), Binary::Add, &Function::number(epsilon));
        variance.with(Unary::Sqrt).unwrap()
    }

    #[test]
    fn means_that_layer_normalisation_needs_are_known() {
        let (z, centred) = (Function::identity(), centred());
        let two = Function::number(2.0);
        assert!(near(mean(&z).unwrap().at(&|symbol| f64::from(u8::from(symbol == Symbol::Mean))), 1.0));
        for squares in [join(&centred, Binary::Pow, &two), join(&centred, Binary::Mul, &centred)] {
            assert_eq!(format!("{:?}", mean(&squares)), format!("{:?}", Some(symbol(Symbol::Variance))));
        }
        // E[z²] is the variance plus the mean's square.
        let of = |symbol| match symbol {
            Symbol::Mean => 3.0,
            Symbol::Variance => 5.0,
            _ => f64::NAN,
        };
        assert_eq!(mean(&join(&z, Binary::Mul, &z)).unwrap().at(&of), 14.0);
        let other = [
            z.with(Unary::Exp).unwrap(),
            centred.clone(),
            join(&centred, Binary::Pow, &Function::number(4.0)),
        ];
        assert!(other.iter().all(|function| mean(function).is_none()));
    }

    #[test]
    fn layer_normalisation_is_known_by_its_values() {
        let (gain, shift) = (symbol(Symbol::Vector(4)), symbol(Symbol::Vector(2)));
        let core = join(&centred(), Binary::Div, &deviation(1e-3));
        let inverse = join(&deviation(1e-5).with(Unary::Reciprocal).unwrap(), Binary::Mul, &gain);
        let left = join(&shift, Binary::Sub, &join(&symbol(Symbol::Mean), Binary::Mul, &inverse));
        let tensorflow = join(&join(&Function::identity(), Binary::Mul, &inverse), Binary::Add, &left);
        for (function, want) in [
            (core.clone(), Some((None, None, 1e-3))),
            (join(&core, Binary::Mul, &gain), Some((Some(4), None, 1e-3))),
            (join(&core, Binary::Add, &shift), Some((None, Some(2), 1e-3))),
            (tensorflow.clone(), Some((Some(4), Some(2), 1e-5))),
            (join(&tensorflow, Binary::Add, &symbol(Symbol::Vector(7))), None),
            (left, None),
            (inverse, None),
            (centred(), None),
            (join(&core, Binary::Mul, &Function::number(2.0)), None),
            (core.with(Unary::Relu).unwrap(), None),
            // ε outside of the root.
            (
                join(&centred(), Binary::Div, &join(&deviation(0.0), Binary::Add, &Function::number(1e-5))),
                None,
            ),
            // The same vector twice.
            (join(&join(&core, Binary::Mul, &gain), Binary::Add, &gain), None),
            (Function::identity(), None),
        ] {
            let got = layer_norm(&function);
            assert_eq!(
                got.map(|norm| (norm.gain, norm.shift)),
                want.map(|(gain, shift, _)| (gain, shift)),
                "{function:?}"
            );
            if let (Some(got), Some((.., epsilon))) = (got, want) {
                assert!((got.epsilon - epsilon).abs() < 1e-6 * epsilon, "{got:?}");
            }
        }
    }
}
