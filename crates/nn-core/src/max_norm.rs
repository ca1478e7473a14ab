//! Max-norm regularization (Hinton et al. 2012; Srivastava et al. 2014): after each step the incoming weights of each hidden unit are
//! scaled down to the norm X where theirs is longer.
//!
//! A unit's incoming weights are its row of W; the bias is not among them. The units of the output layer are left alone, as in both
//! papers: how sure a network can be of an answer, and how large a number it can give, depends on the length of their weights. The
//! initial weights and the moments of the optimizer are left alone, too.
//!
//! [`reference::bound_norms`](crate::reference::bound_norms) is the definition. Σw² is taken in f64, in an order that depends on the row alone: number i goes to
//! sum i mod 16, and the sums are added in order. X/‖w‖ is rounded to f32 once. PyTorch's `renorm` divides by ‖w‖ + 10⁻⁷; here
//! nothing is added.

use crate::compute::Compute;
use crate::kernel::squares::{scale, squares};

/// Weights that a thread bounds at a time, in whole rows.
const CHUNK: usize = 1 << 15;

/// Scales the rows of `inputs` numbers that are longer than `most` down to it. Rows that are not finite are not made so: infinity
/// times 0 is NaN, and NaN is not longer than anything.
pub(crate) fn bound_rows(compute: &Compute, inputs: usize, weights: &mut [f32], most: f32) {
    let most = f64::from(most);
    let bound = |rows: &mut [f32]| {
        for row in rows.chunks_exact_mut(inputs) {
            let norm = squares(compute.isa, row).sqrt();
            if norm > most {
                scale(compute.isa, (most / norm) as f32, row);
            }
        }
    };
    if compute.threads.count() == 1 || weights.len() < 16 * CHUNK {
        bound(weights);
    } else {
        let together = CHUNK.div_ceil(inputs) * inputs;
        compute.threads.for_each_chunk(together, weights, &mut [], &mut [], |_, rows, _, _| bound(rows));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernel::Isa;
    use crate::model::Model;
    use crate::optimizer::{Before, OptimizerState, StepInputs};
    use crate::params::layout;
    use crate::reference;
    use crate::spec::{Activation, Cost, Optimizer, Output};
    use crate::threads::Threads;

    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let number = |i: u32| f32::from((i.wrapping_mul(2_654_435_761) >> 16) as u16) / 32_768.0 - 1.0;
        (0..count as u32).map(|i| number(i + seed) * number(i + seed + 7).powi(3)).collect()
    }

    /// The norm of each row of the hidden layers.
    fn norms(model: &Model, params: &[f32]) -> Vec<f64> {
        let layers = layout(model);
        let rows = layers[..layers.len() - 1].iter().flat_map(|l| params[l.weights.clone()].chunks(l.inputs));
        rows.map(|row| row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt()).collect()
    }

    /// Rows that are shorter than a lane, that are no whole number of lanes, and that threads share; all layers at once, and each by
    /// itself.
    #[test]
    fn bounded_weights_are_the_references_on_every_instruction_set_and_any_threads() {
        let sgd = Optimizer::Sgd;
        for widths in [vec![3, 5, 2], vec![130, 63, 17, 4], vec![903, 611, 3]] {
            let model = Model::new(widths, Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
            let (start, gradient) = (noise(model.parameters(), 1), noise(model.parameters(), 99));
            let inputs =
                StepInputs { samples: 3, step: 0, learning_rate: 0.1, l2: 1e-3, clip: 1.0, noise: None };
            let free = {
                let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).unwrap()) };
                let mut params = start.clone();
                OptimizerState::new(sgd, &model).step(&compute, &mut params, &gradient, inputs);
                params
            };
            let middle = {
                let mut norms = norms(&model, &free);
                norms.sort_by(f64::total_cmp);
                norms[norms.len() / 2] as f32
            };
            // All rows, half of them, and none.
            for most in [middle * 0.01, middle, middle * 100.0] {
                let mut want = free.clone();
                reference::bound_norms(&model, &mut want, most);
                assert_eq!(want == free, most > middle, "{most}");
                let all = norms(&model, &want);
                assert!(all.iter().all(|&norm| norm <= f64::from(most) * (1.0 + 1e-6)), "{most}");
                for isa in Isa::available() {
                    for count in [1, 2, 3, 8] {
                        let compute = Compute { isa, threads: Arc::new(Threads::new(count).unwrap()) };
                        let state = || OptimizerState::new(sgd, &model).with_max_norm(Some(most));
                        let mut got = start.clone();
                        state().step(&compute, &mut got, &gradient, inputs);
                        assert!(got == want, "{most} {} on {count} threads", isa.name());
                        let (old, mut new, mut got) = (state(), state(), start.clone());
                        for (l, layer) in layout(&model).iter().enumerate().rev() {
                            let from = layer.range().start;
                            let sum = |i: usize, out: &mut [f32]| {
                                out.copy_from_slice(&gradient[from + i..from + i + out.len()]);
                            };
                            let before = Before { params: &start, optimizer: &old };
                            new.step_layer(&compute, l, before, &mut got, &sum, inputs);
                        }
                        assert!(got == want, "{most} {} on {count} threads, layer by layer", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_zeros_are_left_alone_and_those_that_are_not_finite_stay_so() {
        let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).unwrap()) };
        let bounded = |row: &[f32]| {
            let mut row = row.to_vec();
            bound_rows(&compute, row.len(), &mut row, 1.0);
            row
        };
        assert_eq!(bounded(&[0.0, -0.0]), [0.0, -0.0]);
        // Large and small numbers neither overflow nor vanish.
        let [large, zero] = bounded(&[3e38, 0.0])[..] else { unreachable!() };
        assert!((large - 1.0).abs() < 1e-5 && zero == 0.0, "{large} {zero}");
        assert_eq!(bounded(&[1e-30, 1.0]), [1e-30, 1.0]);
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(bounded(&[2.0, bad]).iter().any(|w| !w.is_finite()));
        }
    }
}
