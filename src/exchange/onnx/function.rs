//! Functions that a graph computes of each unit between two layers, and which of ours they are.
//!
//! Trainers write the same function in many ways: PyTorch's GELU is five operators, and their order differs between its exporters.
//! So a function is recognised by its values and not by its form.

use std::rc::Rc;

use nn_core::Activation;

/// The largest function that is looked at, in operators.
const LARGEST: usize = 64;

/// An operator on one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unary {
    Sigmoid,
    Tanh,
    Relu,
    LeakyRelu(f64),
    Erf,
    Exp,
    Neg,
    Reciprocal,
    Sqrt,
    /// z·Φ(z)
    Gelu,
    /// z·σ(αz)
    Swish(f64),
}

/// An operator on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
}

/// What a function is a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    /// The number of a unit.
    Z,
    /// The mean of z over the units.
    Mean,
    /// The variance of z over the units.
    Variance,
    /// The unit's number of a constant vector.
    Vector(usize),
}

/// A function of z, and perhaps of what z has in common with the other units.
#[derive(Debug, Clone)]
pub(super) struct Function {
    expression: Rc<Expression>,
    size: usize,
    /// Whether it has other symbols than z.
    joint: bool,
}

#[derive(Debug)]
enum Expression {
    Symbol(Symbol),
    Number(f64),
    Unary(Unary, Rc<Expression>),
    Binary(Binary, Rc<Expression>, Rc<Expression>),
}

/// A step of a function that only shifts and scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Linear {
    /// x − number
    Less(f64),
    /// x / number
    Over(f64),
}

impl Function {
    /// z itself.
    pub(super) fn identity() -> Self {
        Self::symbol(Symbol::Z)
    }

    /// A symbol itself.
    pub(super) fn symbol(symbol: Symbol) -> Self {
        Self { expression: Rc::new(Expression::Symbol(symbol)), size: 1, joint: symbol != Symbol::Z }
    }

    /// A constant.
    pub(super) fn number(number: f64) -> Self {
        Self { expression: Rc::new(Expression::Number(number)), size: 1, joint: false }
    }

    /// `op` of this function; `None` if it becomes too large.
    pub(super) fn with(&self, op: Unary) -> Option<Self> {
        let expression = Rc::new(Expression::Unary(op, self.expression.clone()));
        (self.size < LARGEST).then_some(Self { expression, size: self.size + 1, joint: self.joint })
    }

    /// `op` of two functions; `None` if it becomes too large.
    pub(super) fn join(&self, op: Binary, other: &Self) -> Option<Self> {
        // A function that is used twice counts twice, since it is computed twice.
        let size = self.size + other.size + 1;
        let expression = Rc::new(Expression::Binary(op, self.expression.clone(), other.expression.clone()));
        (size <= LARGEST).then_some(Self { expression, size, joint: self.joint || other.joint })
    }

    pub(super) fn is_identity(&self) -> bool {
        matches!(*self.expression, Expression::Symbol(Symbol::Z))
    }

    /// Whether it depends on more than the unit's own number.
    pub(super) fn is_joint(&self) -> bool {
        self.joint
    }

    /// The vectors that it depends on.
    pub(super) fn vectors(&self) -> Vec<usize> {
        let (mut vectors, mut waiting) = (Vec::new(), vec![&*self.expression]);
        while let Some(expression) = waiting.pop() {
            match expression {
                Expression::Symbol(Symbol::Vector(at)) if !vectors.contains(at) => vectors.push(*at),
                Expression::Symbol(_) | Expression::Number(_) => {}
                Expression::Unary(_, inner) => waiting.push(inner),
                Expression::Binary(_, left, right) => waiting.extend([&**left, &**right]),
            }
        }
        vectors
    }

    /// Its value, where each symbol has the value `of` it.
    pub(super) fn at(&self, of: &dyn Fn(Symbol) -> f64) -> f64 {
        self.expression.at(of)
    }

    /// Which activation this is.
    pub(super) fn activation(&self) -> Option<Activation> {
        use nn_core::Named as _;
        if self.joint {
            return None;
        }
        Activation::NAMES
            .iter()
            .map(|&(_, activation)| activation)
            .find(|&activation| self.equals(|z| of(activation, z)))
    }

    /// Whether it has the values of `other`, up to the rounding of its constants.
    fn equals(&self, other: impl Fn(f64) -> f64) -> bool {
        let near = (-320..=320).map(|step| f64::from(step) / 16.0);
        let far = [-1000.0, -300.0, -88.0, -30.0, 30.0, 88.0, 300.0, 1000.0];
        near.chain(far).all(|z| (self.at(&|_| z) - other(z)).abs() <= 1e-6 * (1.0 + z.abs()))
    }

    /// The steps of a function that only shifts and scales.
    pub(super) fn linear(&self) -> Option<Vec<Linear>> {
        let mut steps = Vec::new();
        let mut at = &self.expression;
        loop {
            at = match &**at {
                Expression::Symbol(Symbol::Z) => break,
                Expression::Binary(op, left, right) => match (op, &**left, &**right) {
                    (Binary::Add, _, Expression::Number(c)) => (steps.push(Linear::Less(-c)), left).1,
                    (Binary::Add, Expression::Number(c), _) => (steps.push(Linear::Less(-c)), right).1,
                    (Binary::Sub, _, Expression::Number(c)) => (steps.push(Linear::Less(*c)), left).1,
                    (Binary::Mul, _, Expression::Number(c)) => (steps.push(Linear::Over(1.0 / c)), left).1,
                    (Binary::Mul, Expression::Number(c), _) => (steps.push(Linear::Over(1.0 / c)), right).1,
                    (Binary::Div, _, Expression::Number(c)) => (steps.push(Linear::Over(*c)), left).1,
                    _ => return None,
                },
                Expression::Symbol(_) | Expression::Number(_) | Expression::Unary(..) => return None,
            };
        }
        steps.reverse();
        Some(steps)
    }
}

impl Expression {
    fn at(&self, of_symbol: &dyn Fn(Symbol) -> f64) -> f64 {
        match self {
            Self::Symbol(symbol) => of_symbol(*symbol),
            Self::Number(number) => *number,
            Self::Unary(op, inner) => {
                let x = inner.at(of_symbol);
                match op {
                    Unary::Sigmoid => of(Activation::Sigmoid, x),
                    Unary::Tanh => x.tanh(),
                    Unary::Relu => x.max(0.0),
                    Unary::LeakyRelu(slope) => {
                        if x < 0.0 {
                            slope * x
                        } else {
                            x
                        }
                    }
                    Unary::Erf => libm::erf(x),
                    Unary::Exp => x.exp(),
                    Unary::Neg => -x,
                    Unary::Reciprocal => 1.0 / x,
                    Unary::Sqrt => x.sqrt(),
                    Unary::Gelu => of(Activation::Gelu, x),
                    Unary::Swish(alpha) => x * of(Activation::Sigmoid, alpha * x),
                }
            }
            Self::Binary(op, left, right) => {
                let (x, y) = (left.at(of_symbol), right.at(of_symbol));
                match op {
                    Binary::Add => x + y,
                    Binary::Sub => x - y,
                    Binary::Mul => x * y,
                    Binary::Div => x / y,
                    Binary::Max => x.max(y),
                    Binary::Min => x.min(y),
                    Binary::Pow => x.powf(y),
                }
            }
        }
    }
}

/// The value of an activation.
fn of(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        Activation::Relu => z.max(0.0),
        Activation::Tanh => z.tanh(),
        Activation::LeakyRelu => {
            if z < 0.0 {
                f64::from(Activation::LEAK) * z
            } else {
                z
            }
        }
        Activation::Gelu => z * 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2),
        Activation::Silu => z / (1.0 + (-z).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn z() -> Function {
        Function::identity()
    }

    fn joined(left: &Function, op: Binary, number: f64) -> Function {
        left.join(op, &Function::number(number)).unwrap()
    }

    /// PyTorch's form of GELU, with the constants of f32.
    fn gelu() -> Function {
        let erf = joined(&z(), Binary::Div, f64::from(std::f32::consts::SQRT_2)).with(Unary::Erf).unwrap();
        let product = z().join(Binary::Mul, &joined(&erf, Binary::Add, 1.0)).unwrap();
        joined(&product, Binary::Mul, 0.5)
    }

    #[test]
    fn functions_are_known_by_their_values() {
        let sigmoid = z().with(Unary::Sigmoid).unwrap();
        let exp = z().with(Unary::Neg).unwrap().with(Unary::Exp).unwrap();
        let by_hand = joined(&exp, Binary::Add, 1.0).with(Unary::Reciprocal).unwrap();
        for (function, want) in [
            (sigmoid.clone(), Some(Activation::Sigmoid)),
            (by_hand, Some(Activation::Sigmoid)),
            (z().with(Unary::Tanh).unwrap(), Some(Activation::Tanh)),
            (z().with(Unary::Relu).unwrap(), Some(Activation::Relu)),
            (joined(&z(), Binary::Max, 0.0), Some(Activation::Relu)),
            (z().with(Unary::LeakyRelu(f64::from(0.01_f32))).unwrap(), Some(Activation::LeakyRelu)),
            (z().with(Unary::LeakyRelu(0.02)).unwrap(), None),
            (z().join(Binary::Mul, &sigmoid).unwrap(), Some(Activation::Silu)),
            (z().with(Unary::Swish(1.0)).unwrap(), Some(Activation::Silu)),
            (z().with(Unary::Swish(1.702)).unwrap(), None),
            (gelu(), Some(Activation::Gelu)),
            (z().with(Unary::Gelu).unwrap(), Some(Activation::Gelu)),
            (joined(&z().with(Unary::Relu).unwrap(), Binary::Min, 6.0), None),
            (z(), None),
            (Function::number(0.0), None),
        ] {
            assert_eq!(function.activation(), want, "{function:?}");
        }
    }

    #[test]
    fn shifts_and_scales_are_steps() {
        let pixels = joined(&joined(&joined(&z(), Binary::Div, 255.0), Binary::Sub, 0.5), Binary::Mul, 4.0);
        assert_eq!(pixels.linear(), Some(vec![Linear::Over(255.0), Linear::Less(0.5), Linear::Over(0.25)]));
        assert_eq!(joined(&z(), Binary::Max, 0.0).linear(), None);
        assert_eq!(z().linear(), Some(Vec::new()));
        assert_eq!(z().join(Binary::Mul, &z()).unwrap().linear(), None);
    }

    #[test]
    fn functions_do_not_grow_without_end() {
        let mut function = z();
        for _ in 0..5 {
            function = function.join(Binary::Add, &function).unwrap();
        }
        assert!(function.join(Binary::Add, &function).is_none());
    }
}
