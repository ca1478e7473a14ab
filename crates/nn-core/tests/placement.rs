//! The law: threads, instruction sets and the division of a mini-batch among workers never change a bit.

mod common;

use common::training::{CONSTANT, OPTIMIZERS, Plan, rate, train};
use common::{
    assert_close, bits, cases, compute, dataset, gradient, noise, outputs_and_costs, widen, workspace,
};
use nn_core::{
    Activation, Cost, Dataset, Init, Isa, Model, Node, Optimizer, OptimizerState, Output, Precision,
    Schedule, ScheduleShape, StepInputs, Tree, initial_parameters,
};

const THREADS: [usize; 5] = [1, 2, 3, 5, 8];

fn plan(optimizer: Optimizer) -> Plan {
    let schedule = Schedule { shape: ScheduleShape::Cosine { floor: 0.1 }, warmup_steps: 2 };
    let learning_rate = rate(optimizer, 0.02, 0.01);
    Plan { optimizer, learning_rate, l2: 1e-3, schedule, batch: 33, shard: 5, epochs: 2, seed: 7 }
}

/// Trains on every instruction set with every number of threads, and asserts that all give the same bits.
fn assert_same_bits(model: &Model, data: &Dataset, plan: &Plan, isas: &[Isa], threads: &[usize]) {
    let mut first: Option<[Vec<u32>; 3]> = None;
    for &isa in isas {
        for &count in threads {
            let got = train(model, data, plan, count, isa).map(|numbers| bits(&numbers));
            let want = first.get_or_insert_with(|| got.clone());
            assert!(*want == got, "{} with {count} threads: {model:?}, {:?}", isa.name(), plan.optimizer);
        }
    }
}

/// Too little work for threads: every instruction set, with shapes of which none divides another.
#[test]
fn training_a_small_network_has_the_same_bits_everywhere() {
    for (i, (activation, output, cost)) in cases().into_iter().enumerate() {
        let model = Model::new(vec![37, 19, 10], activation, output, cost).unwrap();
        let data = dataset(&model, 101, i % 2 == 0, 40 + i as u64);
        for optimizer in OPTIMIZERS {
            // 33 + 33 + 33 + 2 samples, in leaves of 5.
            assert_same_bits(&model, &data, &plan(optimizer), &Isa::available(), &[1, 3]);
        }
        let model = model.with_precision(Precision::Bf16);
        assert_same_bits(&model, &data, &plan(Optimizer::Sgd), &Isa::available(), &[1, 3]);
    }
}

/// Enough work for eight threads in each of the passes.
#[test]
fn training_a_larger_network_has_the_same_bits_everywhere() {
    for (i, (output, cost)) in outputs_and_costs().into_iter().enumerate() {
        let activation = [Activation::Relu, Activation::Tanh, Activation::Sigmoid][i % 3];
        let model = Model::new(vec![230, 270, 130, 7], activation, output, cost).unwrap();
        let data = dataset(&model, 250, i % 2 == 0, 60 + i as u64);
        for (j, optimizer) in OPTIMIZERS.into_iter().enumerate() {
            // 150 + 100 samples.
            let plan = Plan { batch: 150, shard: 11, epochs: 1, ..plan(optimizer) };
            // Fused multiply-adds without the instruction are slow, so plain code gets one cost with each optimizer.
            let isas = Isa::available();
            let isas = if i == j { &isas[..] } else { &isas[1.min(isas.len() - 1)..] };
            assert_same_bits(&model, &data, &plan, isas, &THREADS);
            if i == j {
                assert_same_bits(
                    &model.clone().with_precision(Precision::Bf16),
                    &data,
                    &plan,
                    isas,
                    &THREADS,
                );
            }
        }
    }
}

/// Threads share the optimizer step only over very many parameters.
#[test]
fn an_optimizer_step_over_many_parameters_has_the_same_bits_everywhere() {
    let model = Model::new(vec![700, 801, 3], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let start = initial_parameters(&model, Init::He, 1);
    let mut next = noise(3);
    let gradients: Vec<Vec<f32>> =
        (0..2).map(|_| start.iter().map(|_| next() * next().powi(8)).collect()).collect();
    for optimizer in OPTIMIZERS {
        let mut first: Option<[Vec<u32>; 3]> = None;
        for isa in Isa::available() {
            for count in THREADS {
                let compute = compute(isa, count);
                let mut state = OptimizerState::new(optimizer, &model);
                let mut params = start.clone();
                for (t, gradient) in gradients.iter().enumerate() {
                    let inputs = StepInputs {
                        samples: 33,
                        step: t as u64,
                        learning_rate: 0.01,
                        l2: 1e-3,
                        clip: 1.0,
                        noise: None,
                    };
                    state.step(&compute, &mut params, gradient, inputs);
                }
                let [m, v] = state.moments();
                let got = [bits(&params), bits(m), bits(v)];
                let want = first.get_or_insert_with(|| got.clone());
                assert!(*want == got, "{optimizer:?} on {} with {count} threads", isa.name());
            }
        }
    }
}

/// Every setting changes the bits; otherwise the tests above would compare a constant with itself.
#[test]
fn every_setting_changes_the_bits() {
    let model = Model::new(vec![37, 19, 10], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 101, false, 40);
    let base = plan(Optimizer::Nesterov { momentum: 0.9 });
    let end = |plan: Plan| bits(&train(&model, &data, &plan, 1, Isa::best())[0]);
    let want = end(base);
    let others = [
        ("shard", Plan { shard: 6, ..base }),
        ("batch", Plan { batch: 34, ..base }),
        ("seed", Plan { seed: 8, ..base }),
        ("epochs", Plan { epochs: 3, ..base }),
        ("rate", Plan { learning_rate: base.learning_rate * 1.000_001, ..base }),
        ("l2", Plan { l2: 1.01e-3, ..base }),
        ("schedule", Plan { schedule: CONSTANT, ..base }),
        ("optimizer", Plan { optimizer: Optimizer::Momentum { momentum: 0.9 }, ..base }),
    ];
    for (name, plan) in others {
        assert_ne!(want, end(plan), "another {name}");
    }
}

/// The value of a node: one of the computed `parts`, or the sum of its children.
fn join(tree: &Tree, parts: &[(Node, Vec<f32>)], node: Node) -> Vec<f32> {
    if let Some((_, value)) = parts.iter().find(|(n, _)| *n == node) {
        return value.clone();
    }
    assert!(node.level > 0, "nobody computed {node:?}");
    let left = Node { level: node.level - 1, index: node.index * 2 };
    let mut sum = join(tree, parts, left);
    if tree.contains(left.sibling()) {
        sum.iter_mut().zip(join(tree, parts, left.sibling())).for_each(|(l, r)| *l += r);
    }
    sum
}

/// Any division of the leaves among workers gives the bits of the canonical tree, and no other order of summation does.
#[test]
fn only_the_canonical_tree_has_its_bits() {
    let model =
        Model::new(vec![50, 33, 10], Activation::Sigmoid, Output::Softmax, Cost::CrossEntropy).unwrap();
    let data = dataset(&model, 120, true, 77);
    let params = initial_parameters(&model, Init::Scaled, 3);
    let batch: Vec<u32> = (0..107).map(|s| s * 11 % 120).collect();
    for shard in [3, 8, 16] {
        let tree = Tree::new(batch.len(), shard);
        let leaves = tree.leaves();
        let mut whole = None;
        for isa in Isa::available() {
            let mut workspace = workspace(&model, batch.len(), 1, isa);
            let mut of = |samples: &[u32]| gradient(&mut workspace, &params, &data, samples, shard);
            let root = whole.get_or_insert_with(|| of(&batch)).clone();
            let what = format!("shard {shard} on {}", isa.name());

            // Any number of workers, with uneven shares and in any order of arrival.
            let mut next = noise(u64::from(leaves));
            for workers in 1..=9 {
                let mut cuts: Vec<u32> =
                    (1..workers).map(|_| (next().abs() * leaves as f32) as u32).chain([0, leaves]).collect();
                cuts.sort_unstable();
                let nodes = cuts.windows(2).flat_map(|c| tree.cover(c[0]..c[1]));
                let mut parts: Vec<_> = nodes.map(|n| (n, of(&batch[tree.samples_of(n)]))).collect();
                parts.reverse();
                assert!(bits(&join(&tree, &parts, tree.root())) == bits(&root), "{what}: cuts at {cuts:?}");
            }

            // The same leaves in other orders, and the same samples in other leaves.
            let add = |mut sum: Vec<f32>, leaf: Vec<f32>| {
                sum.iter_mut().zip(leaf).for_each(|(l, r)| *l += r);
                sum
            };
            let in_turn = batch.chunks(shard).map(&mut of).reduce(add).unwrap();
            let backwards = batch.chunks(shard).rev().map(&mut of).reduce(add).unwrap();
            let backwards_within: Vec<u32> =
                batch.chunks(shard).flat_map(|leaf| leaf.iter().rev().copied()).collect();
            let backwards_within = of(&backwards_within);
            let mut others = vec![
                ("leaves in turn", in_turn),
                ("leaves backwards", backwards),
                ("samples backwards", backwards_within),
            ];
            for other in [shard - 1, shard + 1, 2 * shard, batch.len()] {
                others.push(("another shard size", gradient(&mut workspace, &params, &data, &batch, other)));
            }
            for (name, other) in others {
                // Only the rounding differs; but it does.
                assert_close(&format!("{what}: {name}"), &widen(&other), &widen(&root), 1e-5);
                assert!(bits(&other) != bits(&root), "{what}: {name}");
            }
        }
    }
}
