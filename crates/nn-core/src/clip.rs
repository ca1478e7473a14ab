//! Gradient clipping by the global norm (Pascanu, Mikolov and Bengio 2013; PyTorch's `clip_grad_norm_`).
//!
//! The mean gradient g of a mini-batch is multiplied by min(1, X/‖g‖), the norm running over all parameters. The data's
//! gradient is meant: the L2 penalty comes after it, as in PyTorch, where the optimizer adds it. PyTorch divides by ‖g‖ + 10⁻⁶;
//! here nothing is added, so that a clipped gradient has the norm X.
//!
//! [`reference::clip_factor`](crate::reference::clip_factor) is the definition. Σx² is taken of the gradient *sum*, in f64 and in a fixed order that threads can share:
//! blocks of 4096 numbers within a layer, blocks in order to the layer's sum, layers in order to the whole. So a layer's part
//! can be computed as soon as the layer is complete. The factor is rounded to f32 once, and the step multiplies its 1/samples by
//! it; the update of a parameter costs what it did.

use std::ops::Range;

use crate::compute::Compute;
use crate::kernel::squares::squares;

/// Numbers whose squares make a sum of their own.
pub(crate) const SQUARES_BLOCK: usize = 1 << 12;

/// Blocks that a thread sums at a time.
const TOGETHER: usize = 8;

/// Σx² over the gradient sum of a layer, which has `numbers` numbers; `read(i, out)` writes those from the `i`-th on to
/// `out`. The same bits for any number of threads.
pub fn sum_of_squares(compute: &Compute, numbers: usize, read: &(dyn Fn(usize, &mut [f32]) + Sync)) -> f64 {
    let blocks = numbers.div_ceil(SQUARES_BLOCK);
    let of_block = |block: usize| {
        let from = block * SQUARES_BLOCK;
        let mut values = [0.0; SQUARES_BLOCK];
        let values = &mut values[..SQUARES_BLOCK.min(numbers - from)];
        read(from, values);
        squares(compute.isa, values)
    };
    if compute.threads.count() == 1 || blocks < 4 * TOGETHER {
        return (0..blocks).fold(0.0, |sum, block| sum + of_block(block));
    }
    let mut sums = vec![0.0; blocks];
    let mut runs: Vec<&mut [f64]> = sums.chunks_mut(TOGETHER).collect();
    compute.threads.all(&mut runs, |run, sums| {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = of_block(run * TOGETHER + i);
        }
    });
    sums.iter().fold(0.0, |all, sum| all + sum)
}

/// min(1, X/‖g‖) for X = `clip_norm`, if the gradient sums of the layers have these sums of squares. A gradient that is not finite
/// is not made so: infinity times 0 is NaN, and NaN has the factor 1.
#[must_use]
pub fn clip_factor(clip_norm: f32, samples: usize, squares: impl IntoIterator<Item = f64>) -> f32 {
    let squares = squares.into_iter().fold(0.0, |all, sum| all + sum);
    let norm = squares.sqrt() * f64::from(1.0 / samples as f32);
    let most = f64::from(clip_norm);
    if norm > most { (most / norm) as f32 } else { 1.0 }
}

/// [`clip_factor`] of a whole gradient sum, in which the layers have these places.
#[must_use]
pub fn clip_factor_of(
    compute: &Compute,
    layers: impl IntoIterator<Item = Range<usize>>,
    gradient_sum: &[f32],
    clip_norm: f32,
    samples: usize,
) -> f32 {
    let squares = layers.into_iter().map(|layer| {
        let numbers = &gradient_sum[layer];
        let read = |from: usize, out: &mut [f32]| out.copy_from_slice(&numbers[from..from + out.len()]);
        sum_of_squares(compute, numbers.len(), &read)
    });
    clip_factor(clip_norm, samples, squares)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernel::Isa;
    use crate::model::Model;
    use crate::params::{LayerLayout, layout};
    use crate::reference;
    use crate::spec::{Activation, Cost, Output};
    use crate::threads::Threads;

    fn computes() -> impl Iterator<Item = Compute> {
        Isa::available().into_iter().flat_map(|isa| {
            [1, 2, 3, 8].map(|count| Compute { isa, threads: Arc::new(Threads::new(count).unwrap()) })
        })
    }

    fn noise(count: usize) -> Vec<f32> {
        let byte = |i: u32| f32::from((i.wrapping_mul(2_654_435_761) >> 16) as u16) / 32_768.0 - 1.0;
        (0..count as u32).map(|i| byte(i) * byte(i + 7).powi(9)).collect()
    }

    /// Layers that are shorter than a lane, that are no whole number of lanes or blocks, and that threads share.
    #[test]
    fn the_factor_is_the_references_on_every_instruction_set_and_any_threads() {
        for widths in [vec![1, 1], vec![3, 5, 2], vec![130, 63, 4], vec![601, 409, 17]] {
            let model = Model::new(widths, Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
            let gradient = noise(model.parameters());
            for samples in [1, 3, 32] {
                let norm = {
                    let squares: f64 = gradient.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                    squares.sqrt() / samples as f64
                };
                for part in [1e-3, 0.3, 0.999, 1.001, 1e6] {
                    let most = (norm * part) as f32;
                    let want = reference::clip_factor(&model, &gradient, samples, most);
                    assert!((f64::from(want) - part.min(1.0)).abs() < 1e-6, "{want} {part}");
                    for compute in computes() {
                        let got = clip_factor_of(
                            &compute,
                            layout(&model).iter().map(LayerLayout::range),
                            &gradient,
                            most,
                            samples,
                        );
                        assert_eq!(got.to_bits(), want.to_bits(), "{} {part}", compute.isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn a_gradient_of_zeros_is_left_alone_and_one_that_is_not_finite_stays_so() {
        let model = Model::new(vec![2, 1], Activation::Relu, Output::Linear, Cost::Mse).unwrap();
        let factor = |gradient: &[f32]| reference::clip_factor(&model, gradient, 4, 1.0);
        assert_eq!(factor(&[0.0; 3]), 1.0);
        // The largest and the smallest numbers neither overflow nor vanish.
        assert_eq!(factor(&[f32::MAX, 0.0, 0.0]), 4.0 / f32::MAX);
        assert_eq!(reference::clip_factor(&model, &[1e-45, 0.0, 0.0], 1, 0.5e-30), 1.0);
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(!(bad * factor(&[1.0, bad, 0.0])).is_finite());
        }
    }
}
