//! The outer step of a round: from the replicas' differences to the next public weights.
//!
//! A round ends with the sum of its replicas' differences Δ = Ŵ − w, Ŵ being the public weights that all of them started
//! from. With their mean ḡ the coordinator takes a Nesterov step on weights of its own,
//!
//! ```text
//! v ← μv + ḡ,   W ← W − ν(ḡ + μv),
//! ```
//!
//! (DiLoCo, Douillard et al. 2023) and sends D = Q(W − Ŵ), the difference in few bits. Everyone adds it: Ŵ ← Ŵ + D. What
//! the bits could not say, the *residual* W − Ŵ, stays at the coordinator, and is part of the next difference.

use std::ops::Range;

use crate::kernel::delta::{
    BLOCK_OF_4, BLOCK_OF_8, DELTA_BLOCK, DeltaBits, decode_4, decode_8, encode_4_to_nearest, encode_8,
};
use crate::kernel::outer::{nesterov, settle};
use crate::kernel::vector::all_finite;
use crate::kernel::{Isa, zeroed};

/// The constants of an outer step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OuterInputs {
    /// What turns the sum of the differences into their mean.
    pub mean: f32,
    /// ν
    pub learning_rate: f32,
    /// μ
    pub momentum: f32,
}

/// The coordinator's own numbers: v and W − Ŵ, each of the size of the parameters.
#[derive(Debug, Clone)]
pub struct OuterState {
    /// How D is sent.
    bits: DeltaBits,
    velocity: Vec<f32>,
    residual: Vec<f32>,
}

/// The public weights and the state that [`OuterState::step`] starts from and leaves unchanged.
#[derive(Debug, Clone, Copy)]
pub struct BeforeOuter<'a> {
    /// Ŵ
    pub params: &'a [f32],
    /// The state.
    pub state: &'a OuterState,
}

/// Where [`OuterState::step`] puts the next public weights, and appends D, encoded.
#[derive(Debug)]
pub struct AfterOuter<'a> {
    /// The next Ŵ.
    pub params: &'a mut [f32],
    /// The encoded D.
    pub update: &'a mut Vec<u8>,
}

/// Numbers that are stepped at a time: they fit into the first-level cache.
const AT_ONCE: usize = 4 * DELTA_BLOCK;

impl OuterState {
    /// The state before the first round: zeros. D has as many bits as the replicas' differences.
    #[must_use]
    pub fn new(parameters: usize, bits: DeltaBits) -> Self {
        Self { bits, velocity: zeroed(parameters), residual: zeroed(parameters) }
    }

    /// v and W − Ŵ, in the order of the parameters.
    #[must_use]
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.velocity, &self.residual]
    }

    /// The same, to restore them from a checkpoint.
    pub fn moments_mut(&mut self) -> [&mut [f32]; 2] {
        [&mut self.velocity, &mut self.residual]
    }

    /// Takes the step for a range of the parameters that begins with a block, from `before` to `after` and `self`; the
    /// rest of both keeps its values. `sum(i, out)` writes the sum of the differences from the range's `i`-th number on.
    /// False if a number is infinite or NaN, or D too large for its bits.
    ///
    /// # Panics
    /// If the range is not within the parameters, or does not begin with a block.
    pub fn step(
        &mut self,
        isa: Isa,
        range: Range<usize>,
        before: BeforeOuter<'_>,
        after: AfterOuter<'_>,
        sum: &dyn Fn(usize, &mut [f32]),
        inputs: OuterInputs,
    ) -> bool {
        let AfterOuter { params, update } = after;
        assert!(range.start.is_multiple_of(DELTA_BLOCK) && range.end <= params.len());
        let mut finite = true;
        let (mut sums, mut wanted, mut said) = ([0.0; AT_ONCE], [0.0; AT_ONCE], [0.0; AT_ONCE]);
        for from in range.clone().step_by(AT_ONCE) {
            let here = from..range.end.min(from + AT_ONCE);
            let count = here.len();
            let (sums, wanted, said) = (&mut sums[..count], &mut wanted[..count], &mut said[..count]);
            sum(from - range.start, sums);
            finite &= all_finite(isa, sums);
            let old = before.state;
            let velocity = &mut self.velocity[here.clone()];
            velocity.copy_from_slice(&old.velocity[here.clone()]);
            wanted.copy_from_slice(&old.residual[here.clone()]);
            let OuterInputs { mean, learning_rate, momentum } = inputs;
            nesterov(isa, learning_rate, momentum, mean, sums, velocity, wanted);
            let at = update.len();
            let blocks = count.div_ceil(DELTA_BLOCK);
            match self.bits {
                DeltaBits::Exact => {
                    update.extend(wanted.iter().flat_map(|x| x.to_le_bytes()));
                    said.copy_from_slice(wanted);
                }
                DeltaBits::Eight => {
                    update.resize(at + blocks * BLOCK_OF_8, 0);
                    finite &= encode_8(isa, wanted, &mut update[at..]);
                    decode_8(isa, &update[at..], said);
                }
                DeltaBits::Four => {
                    update.resize(at + blocks * BLOCK_OF_4, 0);
                    finite &= encode_4_to_nearest(isa, wanted, &mut update[at..]);
                    decode_4(isa, &update[at..], said);
                }
            }
            let to = &mut params[here.clone()];
            to.copy_from_slice(&before.params[here.clone()]);
            settle(isa, wanted, said, to, &mut self.residual[here]);
            finite &= all_finite(isa, to);
        }
        finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32).map(|i| ((i * 40_503 + seed * 977) % 1009) as f32 / 1009.0 - 0.5).collect()
    }

    /// Three rounds of the definition in plain code, for any way of cutting the parameters into ranges.
    #[test]
    fn ranges_in_any_order_give_the_definition() {
        let n = 3000;
        let inputs = OuterInputs { mean: 0.25, learning_rate: 0.9, momentum: 0.65 };
        for bits in [DeltaBits::Exact, DeltaBits::Eight, DeltaBits::Four] {
            let (mut w, mut v, mut r) = (numbers(n, 1), vec![0.0_f32; n], vec![0.0_f32; n]);
            let mut params = w.clone();
            let mut state = OuterState::new(n, bits);
            for round in 0..3 {
                let sums = numbers(n, 5 + round);
                let x: Vec<f32> = (0..n)
                    .map(|i| {
                        let g = sums[i] * inputs.mean;
                        v[i] = inputs.momentum.mul_add(v[i], g);
                        (-inputs.learning_rate).mul_add(inputs.momentum.mul_add(v[i], g), r[i])
                    })
                    .collect();
                let mut d = x.clone();
                let blocks = n.div_ceil(DELTA_BLOCK);
                match bits {
                    DeltaBits::Exact => {}
                    DeltaBits::Eight => {
                        let mut bytes = vec![0; blocks * BLOCK_OF_8];
                        assert!(encode_8(Isa::best(), &x, &mut bytes));
                        decode_8(Isa::best(), &bytes, &mut d);
                    }
                    DeltaBits::Four => {
                        let mut bytes = vec![0; blocks * BLOCK_OF_4];
                        assert!(encode_4_to_nearest(Isa::best(), &x, &mut bytes));
                        decode_4(Isa::best(), &bytes, &mut d);
                    }
                }
                for i in 0..n {
                    w[i] += d[i];
                    r[i] = x[i] - d[i];
                }
                for isa in Isa::available() {
                    let (mut next, mut after) = (params.clone(), state.clone());
                    for range in [1024..2560, 2560..n, 0..1024] {
                        let sum = |from: usize, out: &mut [f32]| {
                            out.copy_from_slice(&sums[range.start + from..range.start + from + out.len()]);
                        };
                        let before = BeforeOuter { params: &params, state: &state };
                        let mut update = Vec::new();
                        let to = AfterOuter { params: &mut next, update: &mut update };
                        assert!(after.step(isa, range.clone(), before, to, &sum, inputs));
                        let mut said = vec![0.0; range.len()];
                        match bits {
                            DeltaBits::Exact => {
                                let numbers = update.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x));
                                said = numbers.collect();
                            }
                            DeltaBits::Eight => decode_8(isa, &update, &mut said),
                            DeltaBits::Four => decode_4(isa, &update, &mut said),
                        }
                        assert_eq!(said, d[range]);
                    }
                    assert_eq!(next, w, "{}", isa.name());
                    assert_eq!(after.moments(), [&v[..], &r[..]]);
                    if isa == Isa::best() {
                        (params, state) = (next, after);
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_reported() {
        let inputs = OuterInputs { mean: 1.0, learning_rate: 1.0, momentum: 0.0 };
        for bits in [DeltaBits::Exact, DeltaBits::Eight] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut state = OuterState::new(300, bits);
                let (params, old) = (vec![0.0; 300], state.clone());
                let before = BeforeOuter { params: &params, state: &old };
                let sum = |_: usize, out: &mut [f32]| out.fill(bad);
                let (mut next, mut update) = (params.clone(), Vec::new());
                let to = AfterOuter { params: &mut next, update: &mut update };
                assert!(!state.step(Isa::best(), 0..300, before, to, &sum, inputs));
            }
        }
    }
}
