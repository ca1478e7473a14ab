//! The kernels against the definition in `nn_core::reference`: not close but equal, bit for bit, on every instruction
//! set of this processor and with any number of threads.

mod common;

use common::{cases, compute, dataset, normalized, parameters, workspace};
use nn_core::{
    Activation, Augmentation, Cost, Dataset, Init, InputScale, Isa, MismatchError, Model, Output, Precision,
    Regularization, Samples, Workspace, initial_parameters, reference, round_to_bf16,
};
use proptest::prelude::*;

/// Compares every precision, instruction set and number of threads with the reference, for one mini-batch, as it is, with
/// regularization, and with normalised layers, where they can be.
fn check(model: &Model, data: &Dataset, batch: &[u32], shard: usize, thread_counts: &[usize]) {
    let none = Regularization::default();
    // The norms of these gradients are around 1, so that some are clipped.
    let all =
        Regularization { input_dropout: 0.2, dropout: 0.5, label_smoothing: 0.1, clip_samples: 1.0, ..none };
    let some = [
        all,
        Regularization { dropout: 0.3, ..none },
        Regularization { input_dropout: 0.1, ..none },
        Regularization { clip_samples: 0.5, label_smoothing: 0.3, ..none },
    ];
    for precision in [Precision::F32, Precision::Bf16] {
        let model = model.clone().with_precision(precision);
        check_one(&model, none, data, batch, shard, thread_counts);
        // It acts on single samples, so one number of threads will do.
        let regularization = some[(batch.len() + shard) % some.len()];
        let model = model.with_input_scale(Some(InputScale::new(0.3, 0.7).unwrap()));
        check_one(&model, regularization, data, batch, shard, &thread_counts[..1]);
        // Leaves matter to it as to any gradient, so long mini-batches need only one size of them.
        let once = batch.len() < 100 || shard == batch.len();
        if let Some(model) = normalized(&model).filter(|_| once) {
            let either = if batch.len().is_multiple_of(3) { none } else { regularization };
            check_one(&model, either, data, batch, shard, thread_counts);
        }
    }
}

fn check_one(
    model: &Model,
    regularization: Regularization,
    data: &Dataset,
    batch: &[u32],
    shard: usize,
    thread_counts: &[usize],
) {
    let params = parameters(model, Init::Scaled, 11);
    let samples = Samples { indices: batch, epoch: 3 };
    let (want, want_loss) =
        reference::batch_gradient(model, &params, data, samples, shard, (&regularization, 5));
    for isa in Isa::available() {
        // With room for all samples, and for so few that the mini-batch is computed in parts.
        let rooms = if batch.len() < 100 { &[batch.len(), shard][..] } else { &[batch.len()] };
        for (&count, &room) in
            thread_counts.iter().flat_map(|count| rooms.iter().map(move |room| (count, room)))
        {
            let threads = compute(isa, count).threads;
            let mut workspace = Workspace::regularized(model, (regularization, 5), room, threads, isa);
            let mut got = vec![f32::NAN; params.len()];
            let stats = workspace.node_gradient(&params, data, samples, shard, &mut got).unwrap();
            let differ = got.iter().zip(&want).position(|(g, w)| g.to_bits() != w.to_bits());
            let at = differ.map(|i| (i, got[i], want[i]));
            assert_eq!(
                at,
                None,
                "{} with {count} threads, {model:?}, {regularization:?}, {} samples, shard {shard}, room {room}",
                isa.name(),
                batch.len()
            );
            assert_eq!(stats.loss.to_bits(), want_loss.to_bits(), "loss on {}", isa.name());
            assert!(stats.finite);
            assert_eq!(stats.samples, batch.len());

            let mut by_layer = workspace.node_gradient_by_layer(&params, data, samples, shard).unwrap();
            let layers = nn_core::layout(model);
            for l in (0..layers.len()).rev() {
                assert_eq!(by_layer.next_layer(), Some(l));
                let mut got = vec![f32::NAN; layers[l].range().len()];
                assert!(by_layer.gradient(&mut got));
                let same = got.iter().zip(&want[layers[l].range()]).all(|(g, w)| g.to_bits() == w.to_bits());
                assert!(same, "layer {l} alone: {} with {count} threads, {model:?}", isa.name());
            }
            assert_eq!((by_layer.next_layer(), by_layer.stats()), (None, stats));
        }
    }
}

#[test]
fn every_activation_output_and_cost() {
    for (i, (activation, output, cost)) in cases().into_iter().enumerate() {
        let model = Model::new(vec![37, 30, 18, 10], activation, output, cost).unwrap();
        let data = dataset(&model, 60, i % 2 == 0, i as u64 + 1);
        let batch: Vec<u32> = (0..43).map(|s| (s * 7) % 60).collect();
        check(&model, &data, &batch, 6, &[1, 2]);
    }
}

#[test]
fn long_sums_go_through_panels_of_256() {
    // More than 256 inputs, hidden neurons and samples in a leaf, and none a multiple of 256.
    let model = Model::new(vec![700, 290, 5], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 540, true, 3);
    let batch: Vec<u32> = (0..540).rev().collect();
    for shard in [540, 512, 256, 300] {
        check(&model, &data, &batch, shard, &[1]);
    }
}

#[test]
fn hidden_activations_are_those_of_the_definition() {
    let model =
        Model::new(vec![37, 30, 18, 10], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    for model in [Some(model.clone()), normalized(&model), Some(model.with_precision(Precision::Bf16))] {
        let model = model.expect("it can be normalised");
        let data = dataset(&model, 60, true, 3);
        let params = initial_parameters(&model, Init::Scaled, 11);
        let (input, target) = reference::sample(&data, 41);
        let want = reference::backpropagate(&model, &params, &input, &target).activations;
        for isa in Isa::available() {
            let mut workspace = Workspace::for_evaluation(&model, compute(isa, 1).threads, isa);
            let got = workspace.hidden_activations(&params, &data, 41).unwrap();
            assert_eq!(got, want[1..3], "{} {model:?}", isa.name());
        }
    }
}

/// bf16 really is another arithmetic, whose gradient is near that of f32.
#[test]
fn bf16_is_near_f32_but_not_equal() {
    let model = Model::new(vec![130, 60, 10], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 60, true, 3);
    let batch: Vec<u32> = (0..60).collect();
    let params = initial_parameters(&model, Init::Scaled, 11);
    let gradient = |precision| {
        let model = model.clone().with_precision(precision);
        let mut workspace = workspace(&model, batch.len(), 1, Isa::best());
        common::gradient(&mut workspace, &params, &data, &batch, 32)
    };
    let (wide, narrow) = (gradient(Precision::F32), gradient(Precision::Bf16));
    let norm =
        |of: &dyn Fn(usize) -> f32| (0..wide.len()).map(|i| f64::from(of(i)).powi(2)).sum::<f64>().sqrt();
    let off = norm(&|i| wide[i] - narrow[i]) / norm(&|i| wide[i]);
    assert!(off > 1e-4 && off < 0.02, "off by {off}");
}

/// The definition once more, by hand: 70 terms are blocks of 32, 32 and 6.
#[test]
fn a_bf16_product_by_hand() {
    let mut next = common::noise(5);
    let a: Vec<f32> = (0..70).map(|_| round_to_bf16(next())).collect();
    let b: Vec<f32> = (0..70).map(|_| round_to_bf16(next() * 1e3)).collect();
    let half =
        |from: usize, end: usize| (from..end).step_by(2).fold(0.0_f32, |sum, k| a[k].mul_add(b[k], sum));
    let block = |from: usize, end: usize| half(from, end) + half(from + 1, end);
    let want = (block(0, 32) + block(32, 64)) + block(64, 70);
    assert_eq!(reference::dot(Precision::Bf16, &a, &b).to_bits(), want.to_bits());
    assert_ne!(reference::dot(Precision::F32, &a, &b).to_bits(), want.to_bits());
}

/// Operands of 2^63 and more make NaN everywhere, also where a product alone would overflow and a fused one would not.
#[test]
fn bf16_operands_that_are_too_large_are_reported() {
    let model = Model::new(vec![20, 9, 4], Activation::Relu, Output::Linear, Cost::Mse).unwrap();
    let model = model.with_precision(Precision::Bf16);
    let data = dataset(&model, 20, false, 9);
    let batch: Vec<u32> = (0..20).collect();
    for isa in Isa::available() {
        let mut workspace = workspace(&model, 20, 1, isa);
        for (large, finite) in
            [(1e15, true), (2_f32.powi(63), false), (f32::INFINITY, false), (f32::NAN, false)]
        {
            let mut params = initial_parameters(&model, Init::He, 2);
            params[7] = large;
            let mut out = vec![0.0; params.len()];
            let stats = workspace.node_gradient(&params, &data, Samples::first(&batch), 3, &mut out).unwrap();
            assert_eq!(stats.finite, finite, "{} with {large}", isa.name());
        }
    }
}

#[test]
fn distorted_pictures() {
    let model = Model::new(vec![72, 30, 10], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let batch: Vec<u32> = (0..43).map(|s| (s * 7) % 60).collect();
    let augmentation = Augmentation { elastic: 1.2, flip: true, ..Augmentation::AFFINE };
    let alone = Regularization { augmentation, ..Regularization::NONE };
    for bytes in [false, true] {
        let flat = dataset(&model, 60, bytes, 7);
        let data = Dataset::new(flat.features().clone(), 72, flat.targets().clone(), Some((8, 9))).unwrap();
        for precision in [Precision::F32, Precision::Bf16] {
            let model = model.clone().with_precision(precision);
            for regularization in [alone, Regularization { input_dropout: 0.2, dropout: 0.5, ..alone }] {
                check_one(&model, regularization, &data, &batch, 6, &[1, 2, 3]);
            }
        }
        // Rows of numbers are no pictures.
        let threads = compute(Isa::best(), 1).threads;
        let mut workspace = Workspace::regularized(&model, (alone, 5), 43, threads, Isa::best());
        let params = initial_parameters(&model, Init::Scaled, 11);
        let mut out = vec![0.0; params.len()];
        let refused = workspace.node_gradient(&params, &flat, Samples::first(&batch), 6, &mut out);
        assert_eq!(refused, Err(MismatchError::NoPictures));
    }
}

/// Dropout, distortions and the like are for gradients only.
#[test]
fn evaluation_knows_no_regularization() {
    let model = Model::new(vec![33, 20, 7], Activation::Gelu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 50, true, 5);
    let params = initial_parameters(&model, Init::Scaled, 8);
    let all = Regularization {
        input_dropout: 0.2,
        dropout: 0.5,
        label_smoothing: 0.1,
        clip_samples: 1.0,
        ..Regularization::NONE
    };
    let threads = compute(Isa::best(), 1).threads;
    let mut trainer = Workspace::regularized(&model, (all, 5), 50, threads, Isa::best());
    let evaluation = trainer.evaluate(&params, &data).unwrap();
    assert_eq!(evaluation, common::evaluator(&model, Isa::best()).evaluate(&params, &data).unwrap());
}

/// Other epochs and seeds leave out other units.
#[test]
fn dropout_depends_on_seed_and_epoch() {
    let model = Model::new(vec![33, 20, 7], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 50, true, 5);
    let params = initial_parameters(&model, Init::Scaled, 8);
    let half = Regularization { dropout: 0.5, ..Regularization::NONE };
    let gradient = |seed, epoch| {
        let indices: Vec<u32> = (0..50).collect();
        let samples = Samples { indices: &indices, epoch };
        reference::batch_gradient(&model, &params, &data, samples, 8, (&half, seed)).0
    };
    let first = gradient(1, 0);
    assert_eq!(first, gradient(1, 0));
    assert!(first != gradient(2, 0) && first != gradient(1, 1));
}

#[test]
fn enough_work_for_many_threads() {
    let model =
        Model::new(vec![300, 600, 70, 3], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 130, true, 4);
    let batch: Vec<u32> = (0..130).collect();
    check(&model, &data, &batch, 16, &[1, 2, 3, 5, 8]);
}

#[test]
fn a_node_of_the_tree_is_the_same_wherever_it_is_computed() {
    use nn_core::Tree;
    let model = Model::new(vec![20, 9, 4], Activation::Sigmoid, Output::Sigmoid, Cost::Mse).unwrap();
    let data = dataset(&model, 100, false, 9);
    let params = initial_parameters(&model, Init::Normal, 2);
    let batch: Vec<u32> = (0..53).map(|s| (s * 13) % 100).collect();
    let tree = Tree::new(batch.len(), 4);
    let mut workspace = workspace(&model, batch.len(), 1, Isa::best());
    let mut node = |samples: &[u32]| {
        let mut out = vec![0.0; params.len()];
        workspace.node_gradient(&params, &data, Samples::first(samples), 4, &mut out).unwrap();
        out
    };
    let whole = node(&batch);
    // Cut the leaves anywhere, compute the nodes of either side separately, and join them level by level.
    for cut in 1..tree.leaves() {
        let mut parts: Vec<_> = [tree.cover(0..cut), tree.cover(cut..tree.leaves())]
            .concat()
            .into_iter()
            .map(|n| (n, node(&batch[tree.samples_of(n)])))
            .collect();
        while parts.len() > 1 {
            let level = parts.iter().map(|(n, _)| n.level).min().unwrap();
            let at = parts.iter().position(|(n, _)| n.level == level).unwrap();
            let (n, right) = parts[at].clone();
            if at > 0 && parts[at - 1].0 == n.sibling() {
                parts[at - 1].1.iter_mut().zip(right).for_each(|(l, r)| *l += r);
                parts[at - 1].0 = n.parent();
                parts.remove(at);
            } else if at + 1 < parts.len() && parts[at + 1].0 == n.sibling() {
                parts[at].0 = n.parent();
                let (_, right) = parts.remove(at + 1);
                parts[at].1.iter_mut().zip(right).for_each(|(l, r)| *l += r);
            } else {
                // Without a sibling, a node passes up unchanged.
                parts[at].0 = n.parent();
            }
        }
        assert_eq!(parts[0].1, whole, "cut before leaf {cut}");
    }
}

#[test]
fn nan_and_infinity_are_reported() {
    let model = Model::new(vec![20, 9, 4], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 20, false, 9);
    let batch: Vec<u32> = (0..20).collect();
    for isa in Isa::available() {
        let mut workspace = workspace(&model, 20, 1, isa);
        for bad in [f32::NAN, f32::INFINITY, 1e38] {
            for at in [0, 185, model.parameters() - 1] {
                let mut params = initial_parameters(&model, Init::He, 2);
                params[at] = bad;
                // 1e38 in one weight overflows only in the layers after it.
                params[(at + 25) % 180] = bad;
                let mut out = vec![0.0; params.len()];
                let stats =
                    workspace.node_gradient(&params, &data, Samples::first(&batch), 3, &mut out).unwrap();
                let truth = stats.loss.is_finite() && out.iter().all(|g| g.is_finite());
                assert_eq!(stats.finite, truth, "{} with {bad} at {at}", isa.name());
                assert!(bad == 1e38 || !stats.finite);
            }
        }
    }
}

/// 1/√∞ is 0, and normalised units would all be 0 without a sign of it.
#[test]
fn a_variance_that_is_too_large_is_reported() {
    let model = Model::new(vec![20, 9, 4], Activation::Tanh, Output::Linear, Cost::Mse).unwrap();
    let model = normalized(&model).unwrap();
    let data = dataset(&model, 20, false, 9);
    let batch: Vec<u32> = (0..20).collect();
    for isa in Isa::available() {
        let mut workspace = workspace(&model, 20, 1, isa);
        for (large, finite) in [(1e17, true), (1e22, false), (f32::NAN, false)] {
            let mut params = parameters(&model, Init::Xavier, 2);
            params[7] = large;
            let mut out = vec![0.0; params.len()];
            let stats = workspace.node_gradient(&params, &data, Samples::first(&batch), 3, &mut out).unwrap();
            assert_eq!(stats.finite, finite, "{} with {large}", isa.name());
        }
    }
}

#[test]
fn evaluation_and_outputs_agree_with_the_reference() {
    let models = cases().into_iter().flat_map(|(activation, output, cost)| {
        let model = Model::new(vec![33, 20, 7], activation, output, cost).unwrap();
        let narrow = model.clone().with_precision(Precision::Bf16);
        let both = [normalized(&model).unwrap(), normalized(&narrow).unwrap()];
        [model, narrow].into_iter().chain(both)
    });
    for model in models {
        // More samples than one block of evaluation, and not a multiple of 16.
        let data = dataset(&model, 1101, true, 5);
        let params = parameters(&model, Init::Scaled, 8);
        let traces: Vec<_> = (0..data.len())
            .map(|s| {
                let (input, target) = reference::sample(&data, s);
                reference::backpropagate(&model, &params, &input, &target)
            })
            .collect();
        for isa in Isa::available() {
            let threads = compute(isa, 2).threads;
            let mut workspace = Workspace::for_evaluation(&model, threads, isa);
            let evaluation = workspace.evaluate(&params, &data).unwrap();
            let loss = traces.iter().map(|t| t.loss).sum::<f64>() / 1101.0;
            assert!((evaluation.loss - loss).abs() < 1e-9 * loss, "{} {loss}", evaluation.loss);
            let outputs = workspace.outputs(&params, &data, 5..1101).unwrap();
            let want: Vec<f32> = traces[5..].iter().flat_map(|t| t.activations[2].clone()).collect();
            assert_eq!(outputs, want);
            let mut all = vec![9.0; 3];
            assert_eq!(workspace.evaluate_into(&params, &data, &mut all).unwrap(), evaluation);
            assert_eq!((all.len(), &all[5 * 7..]), (1101 * 7, &outputs[..]));
            if model.output() != Output::Linear {
                let right = traces.iter().enumerate().filter(|(s, t)| {
                    let a = &t.activations[2];
                    let best = (0..7).rev().max_by(|&x, &y| a[x].total_cmp(&a[y])).unwrap();
                    data.label(*s) == Some(best as u32)
                });
                assert_eq!(evaluation.correct, right.count());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_shape_equals_the_reference(
        widths in prop::collection::vec(1_usize..70, 2..5),
        case in 0..cases().len(),
        samples in 1_usize..80,
        shard in 1_usize..40,
        bytes: bool,
        seed in 1_u64..1000,
        threads in 1_usize..4,
    ) {
        let (activation, output, cost) = cases()[case];
        let model = Model::new(widths, activation, output, cost).unwrap();
        let data = dataset(&model, samples, bytes, seed);
        let batch: Vec<u32> = (0..samples as u32).rev().collect();
        check(&model, &data, &batch, shard, &[threads]);
    }

    #[test]
    fn wide_products_equal_the_reference(
        inputs in 1_usize..1100,
        outputs in 1_usize..40,
        samples in 1_usize..40,
        seed in 1_u64..1000,
    ) {
        let model = Model::new(vec![inputs, outputs], Activation::Relu, Output::Linear, Cost::Mse).unwrap();
        let data = dataset(&model, samples, false, seed);
        let batch: Vec<u32> = (0..samples as u32).collect();
        check(&model, &data, &batch, 5, &[1]);
    }
}
