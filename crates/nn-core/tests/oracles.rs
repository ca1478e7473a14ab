//! The arithmetic against what it is supposed to mean: finite differences, gradients taken one sample at a time, and
//! whether a network learns; and the law that threads, instruction sets and division among nodes leave no trace.

mod common;

use std::sync::Arc;

use common::{OUTPUTS_AND_COSTS, assert_close, bits, cases, dataset, noise, widen};
use nn_core::{
    Activation, Cost, Dataset, Features, Init, Isa, Model, Node, Optimizer, OptimizerState, Output, Purpose,
    Schedule, ScheduleShape, Targets, Threads, Tree, Workspace, initial_parameters, layout, permutation,
    rate_multiplier,
};

/// Every optimizer, with the usual constants.
const OPTIMIZERS: [Optimizer; 5] = [
    Optimizer::Sgd,
    Optimizer::Momentum { momentum: 0.9 },
    Optimizer::Nesterov { momentum: 0.9 },
    Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 },
];

fn workspace(model: &Model, samples: usize, threads: usize, isa: Isa) -> Workspace {
    Workspace::new(model, samples, Arc::new(Threads::new(threads).unwrap()), isa)
}

fn gradient(
    workspace: &mut Workspace,
    params: &[f32],
    data: &Dataset,
    batch: &[u32],
    shard: usize,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; params.len()];
    assert!(workspace.node_gradient(params, data, batch, shard, &mut out).unwrap().finite);
    out
}

// --- What a gradient is ---------------------------------------------------------------------------------------------

/// The network once more in f64, from the formulas and `std` alone: the mean loss, and the smallest |z| of a hidden neuron.
fn mean_loss(model: &Model, params: &[f64], inputs: &[f64], targets: &[f64]) -> (f64, f64) {
    let (widths, mut nearest) = (model.widths(), f64::INFINITY);
    let mut total = 0.0;
    let samples = inputs.chunks(widths[0]).zip(targets.chunks(widths[widths.len() - 1]));
    let n = samples.len();
    for (x, y) in samples {
        let mut a = x.to_vec();
        let mut rest = params;
        for l in 1..widths.len() {
            let (weights, after) = rest.split_at(widths[l] * widths[l - 1]);
            let (biases, after) = after.split_at(widths[l]);
            rest = after;
            let mut z = biases.to_vec();
            for j in 0..widths[l] {
                for i in 0..widths[l - 1] {
                    z[j] += weights[j * widths[l - 1] + i] * a[i];
                }
            }
            let sigmoid = |z: &f64| 1.0 / (1.0 + (-z).exp());
            a = if l < widths.len() - 1 {
                nearest = z.iter().fold(nearest, |m, z| m.min(z.abs()));
                match model.activation() {
                    Activation::Sigmoid => z.iter().map(sigmoid).collect(),
                    Activation::Relu => z.iter().map(|z| z.max(0.0)).collect(),
                    Activation::Tanh => z.iter().map(|z| z.tanh()).collect(),
                }
            } else {
                let sum: f64 = z.iter().map(|z| z.exp()).sum();
                match model.output() {
                    Output::Sigmoid => z.iter().map(sigmoid).collect(),
                    Output::Softmax => z.iter().map(|z| z.exp() / sum).collect(),
                    Output::Linear => z,
                }
            };
        }
        assert!(rest.is_empty());
        for (a, y) in a.iter().zip(y) {
            total += match (model.cost(), model.output()) {
                (Cost::Mse, _) => 0.5 * (a - y) * (a - y),
                (Cost::CrossEntropy, Output::Softmax) => -y * a.ln(),
                (Cost::CrossEntropy, _) => -(y * a.ln() + (1.0 - y) * (1.0 - a).ln()),
            };
        }
    }
    (total / n as f64, nearest)
}

/// Samples with targets that are neither 0 nor 1: probabilities with cross-entropy and anything at all with MSE. Labels
/// are only a special case of them.
fn soft_samples(model: &Model, samples: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut next = noise(seed);
    let inputs = (0..samples * model.input_width()).map(|_| next() * 2.0).collect();
    let mut targets: Vec<f32> = (0..samples * model.output_width()).map(|_| next()).collect();
    if model.cost() == Cost::CrossEntropy {
        for y in targets.chunks_mut(model.output_width()) {
            y.iter_mut().for_each(|y| *y = y.abs());
            if model.output() == Output::Softmax {
                let sum: f32 = y.iter().sum();
                y.iter_mut().for_each(|y| *y /= sum);
            }
        }
    }
    (inputs, targets)
}

#[test]
fn gradients_are_finite_differences() {
    const STEP: f64 = 1e-5;
    // The differences are good to STEP² and 1e-16/STEP, the f32 gradient to some roundings of 6e-8: 8e-7 was seen.
    const TOLERANCE: f64 = 3e-6;
    // Within a lane of 16 neurons, and across its edge.
    for widths in [vec![5, 4, 3, 3], vec![3, 18, 2]] {
        for (activation, output, cost) in cases() {
            let model = Model::new(widths.clone(), activation, output, cost).unwrap();
            let (x, y) = soft_samples(&model, 9, 6);
            let targets = Targets::Values { data: y.clone(), width: model.output_width() };
            let data = Dataset::new(Features::F32(x.clone()), widths[0], targets, None).unwrap();
            let params = initial_parameters(&model, Init::Scaled, 4);

            let (x, y, mut moved) = (widen(&x), widen(&y), widen(&params));
            let (loss, nearest) = mean_loss(&model, &moved, &x, &y);
            // Differences across the kink of a ReLU mean nothing. No input is above 2 or so: z moves by less than this.
            assert!(activation != Activation::Relu || nearest > 10.0 * STEP, "{model:?}: {nearest}");
            let want: Vec<f64> = (0..params.len())
                .map(|p| {
                    let here = moved[p];
                    let mut at = |w: f64| {
                        moved[p] = w;
                        mean_loss(&model, &moved, &x, &y).0
                    };
                    let slope = (at(here + STEP) - at(here - STEP)) / (2.0 * STEP);
                    moved[p] = here;
                    slope
                })
                .collect();

            for isa in Isa::available() {
                let mut workspace = workspace(&model, 9, 1, isa);
                let mut sum = vec![f32::NAN; params.len()];
                let batch = [0, 1, 2, 3, 4, 5, 6, 7, 8];
                let stats = workspace.node_gradient(&params, &data, &batch, 4, &mut sum).unwrap();
                let what = format!("{model:?} on {}", isa.name());
                assert_close(&format!("{what}: loss"), &[stats.loss / 9.0], &[loss], 1e-6);
                let mean: Vec<f64> = sum.iter().map(|&g| f64::from(g) / 9.0).collect();
                for (l, layer) in layout(&model).into_iter().enumerate() {
                    for (kind, range) in [("weights", layer.weights), ("biases", layer.biases)] {
                        let (got, want) = (&mean[range.clone()], &want[range]);
                        assert_close(&format!("{what}: layer {l}, {kind}"), got, want, TOLERANCE);
                    }
                }
            }
        }
    }
}

#[test]
fn a_batch_is_the_sum_of_its_samples_and_norms_are_theirs() {
    const UNIT: f64 = 1.0 / (1_u64 << 24) as f64; // half a unit in the last place: what one rounding may change
    for (i, (activation, output, cost)) in cases().into_iter().enumerate() {
        let model = Model::new(vec![40, 21, 18, 6], activation, output, cost).unwrap();
        let data = dataset(&model, 60, i % 2 == 1, 20 + i as u64);
        let params = initial_parameters(&model, Init::Scaled, 5);
        // One sample occurs twice, as it may when a test is careless, and counts twice.
        let batch: Vec<u32> = (0..45).map(|s| s * 7 % 60).chain([7]).collect();
        for isa in Isa::available() {
            let what = format!("{model:?} on {}", isa.name());
            let mut one = workspace(&model, 1, 1, isa);
            let (mut sum, mut magnitudes) = (vec![0.0_f64; params.len()], vec![0.0_f64; params.len()]);
            let mut literal_norms = Vec::new();
            for &sample in &batch {
                let own = widen(&gradient(&mut one, &params, &data, &[sample], 1));
                literal_norms.push(own.iter().map(|g| g * g).sum::<f64>().sqrt());
                for ((sum, magnitude), g) in sum.iter_mut().zip(&mut magnitudes).zip(own) {
                    *sum += g;
                    *magnitude += g.abs();
                }
            }

            let mut many = workspace(&model, batch.len(), 1, isa);
            for shard in [46, 16, 6, 1] {
                let got = gradient(&mut many, &params, &data, &batch, shard);
                // Every term passes through at most the additions of its leaf and of the levels above, and the literal
                // gradient rounded its own product once. So this is a bound, not a guess.
                let levels = Tree::new(batch.len(), shard).root().level as usize;
                let roundings = (shard + levels + 1) as f64;
                for (p, (g, (sum, magnitude))) in got.iter().zip(sum.iter().zip(&magnitudes)).enumerate() {
                    let off = (f64::from(*g) - sum).abs();
                    let bound = roundings * UNIT * magnitude;
                    assert!(off <= bound, "{what}, shard {shard}: parameter {p} is {g}, not {sum}");
                }

                // Each literal element is one product, rounded once; the norm from δ and a is f64 throughout.
                let mut norms = vec![f64::NAN; batch.len()];
                many.sample_gradient_norms(&mut norms);
                for (s, (norm, literal)) in norms.iter().zip(&literal_norms).enumerate() {
                    assert!(
                        (norm - literal).abs() <= 2.0 * UNIT * literal,
                        "{what}: sample {s}: {norm}, not {literal}"
                    );
                }
            }
        }
    }
}

// --- Learning -------------------------------------------------------------------------------------------------------

/// How to train; what [`train`] may depend on and what it may not.
#[derive(Clone, Copy)]
struct Plan {
    optimizer: Optimizer,
    learning_rate: f32,
    l2: f32,
    schedule: Schedule,
    batch: usize,
    shard: usize,
    epochs: u32,
    seed: u64,
}

/// Trains from scratch as the engine does; the parameters and the optimizer's moments.
fn train(model: &Model, data: &Dataset, plan: &Plan, threads: usize, isa: Isa) -> [Vec<f32>; 3] {
    let threads = Arc::new(Threads::new(threads).unwrap());
    let mut workspace = Workspace::new(model, plan.batch, Arc::clone(&threads), isa);
    let mut params = initial_parameters(model, Init::Xavier, plan.seed);
    let mut state = OptimizerState::new(plan.optimizer, model);
    let mut order = vec![0; data.len()];
    let steps_per_epoch = data.len().div_ceil(plan.batch) as u64;
    let mut step = 0;
    for epoch in 0..plan.epochs {
        permutation(plan.seed, Purpose::Shuffle, u64::from(epoch), &mut order);
        for batch in order.chunks(plan.batch) {
            let sum = gradient(&mut workspace, &params, data, batch, plan.shard);
            let multiplier = rate_multiplier(&plan.schedule, step, steps_per_epoch, plan.epochs);
            let rate = (f64::from(plan.learning_rate) * multiplier) as f32;
            state.step(isa, &threads, &mut params, &sum, batch.len(), step, rate, plan.l2);
            step += 1;
        }
    }
    let [first, second] = state.moments().map(<[f32]>::to_vec);
    [params, first, second]
}

const CONSTANT: Schedule = Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 };

/// A rate that suits the optimizer, given what suits plain SGD and Adam.
fn rate(optimizer: Optimizer, sgd: f32, adam: f32) -> f32 {
    match optimizer {
        Optimizer::Sgd => sgd,
        Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => sgd / 10.0,
        Optimizer::Adam { .. } | Optimizer::AdamW { .. } => adam,
    }
}

#[test]
fn every_optimizer_learns_exclusive_or() {
    let corners = Features::F32(vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
    let targets = Targets::Classes { labels: vec![0, 1, 1, 0], classes: 2 };
    let data = Dataset::new(corners, 2, targets, None).unwrap();
    for activation in [Activation::Tanh, Activation::Sigmoid, Activation::Relu] {
        for (output, cost) in OUTPUTS_AND_COSTS.into_iter().filter(|(output, _)| *output != Output::Linear) {
            let model = Model::new(vec![2, 16, 2], activation, output, cost).unwrap();
            for optimizer in OPTIMIZERS {
                let learning_rate = rate(optimizer, if cost == Cost::Mse { 4.0 } else { 1.0 }, 0.1);
                let (l2, schedule) = (0.0, CONSTANT);
                let plan =
                    Plan { optimizer, learning_rate, l2, schedule, batch: 4, shard: 2, epochs: 900, seed: 1 };
                let [params, ..] = train(&model, &data, &plan, 1, Isa::best());
                let threads = Arc::new(Threads::new(1).unwrap());
                let mut workspace = Workspace::for_evaluation(&model, threads, Isa::best());
                let result = workspace.evaluate(&params, &data).unwrap();
                assert_eq!(result.correct, 4, "{model:?} {optimizer:?}: {result:?}");
                assert!(result.loss < 0.02, "{model:?} {optimizer:?}: {result:?}");
            }
        }
    }
}

#[test]
fn every_optimizer_tells_two_spirals_apart() {
    let mut x = Vec::new();
    let mut labels = Vec::new();
    for i in 0..96_u32 {
        for arm in 0..2 {
            let t = f64::from(i) / 96.0;
            let angle = (2.0 * t + f64::from(arm)) * std::f64::consts::PI;
            let radius = 0.3 + 2.0 * t;
            x.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
            labels.push(arm);
        }
    }
    let data = Dataset::new(Features::F32(x), 2, Targets::Classes { labels, classes: 2 }, None).unwrap();
    let model =
        Model::new(vec![2, 32, 32, 2], Activation::Tanh, Output::Softmax, Cost::CrossEntropy).unwrap();
    for optimizer in OPTIMIZERS {
        let learning_rate = rate(optimizer, 0.5, 0.01);
        let schedule = Schedule { shape: ScheduleShape::Cosine { floor: 0.05 }, warmup_steps: 20 };
        let plan =
            Plan { optimizer, learning_rate, l2: 0.0, schedule, batch: 20, shard: 5, epochs: 300, seed: 3 };
        let [params, ..] = train(&model, &data, &plan, 1, Isa::best());
        let threads = Arc::new(Threads::new(1).unwrap());
        let result =
            Workspace::for_evaluation(&model, threads, Isa::best()).evaluate(&params, &data).unwrap();
        assert!(result.correct == 192 && result.loss < 0.02, "{optimizer:?}: {result:?}");
    }
}

/// Where the answer is known exactly: values that a linear network made lead back to that network, and with L2 to the
/// minimum of the penalised cost, where the gradient is −l2 · w.
#[test]
fn regression_finds_its_teacher() {
    let model = Model::new(vec![5, 3], Activation::Relu, Output::Linear, Cost::Mse).unwrap();
    let mut next = noise(8);
    let teacher: Vec<f32> = (0..18).map(|_| next()).collect();
    let x: Vec<f32> = (0..40 * 5).map(|_| next()).collect();
    let threads = Arc::new(Threads::new(1).unwrap());
    let blank = Targets::Values { data: vec![0.0; 120], width: 3 };
    let blank = Dataset::new(Features::F32(x.clone()), 5, blank, None).unwrap();
    let values = Workspace::for_evaluation(&model, threads, Isa::best()).outputs(&teacher, &blank, 0..40);
    let targets = Targets::Values { data: values.unwrap(), width: 3 };
    let data = Dataset::new(Features::F32(x), 5, targets, None).unwrap();
    for optimizer in OPTIMIZERS {
        let optimizer = match optimizer {
            // The decoupled decay has another resting point.
            Optimizer::AdamW { beta1, beta2, epsilon, .. } => {
                Optimizer::AdamW { beta1, beta2, epsilon, weight_decay: 0.0 }
            }
            other => other,
        };
        for l2 in [0.0, 0.1] {
            let learning_rate = rate(optimizer, 0.5, 0.02);
            let schedule = Schedule { shape: ScheduleShape::Cosine { floor: 0.0 }, warmup_steps: 0 };
            let plan =
                Plan { optimizer, learning_rate, l2, schedule, batch: 40, shard: 8, epochs: 600, seed: 2 };
            let [params, ..] = train(&model, &data, &plan, 1, Isa::best());
            if l2 == 0.0 {
                assert_close(&format!("{optimizer:?}"), &widen(&params), &widen(&teacher), 1e-4);
            }
            let all: Vec<u32> = (0..40).collect();
            let sum = gradient(&mut workspace(&model, 40, 1, Isa::best()), &params, &data, &all, 8);
            for (p, (g, w)) in sum.iter().zip(&params).enumerate() {
                let pull = g / 40.0 + if p < 15 { l2 * w } else { 0.0 };
                assert!(pull.abs() < 1e-4, "{optimizer:?}, l2 {l2}: parameter {p} still moves by {pull}");
            }
        }
    }
}

// --- The law --------------------------------------------------------------------------------------------------------

const THREADS: [usize; 5] = [1, 2, 3, 5, 8];

fn plan(optimizer: Optimizer) -> Plan {
    let schedule = Schedule { shape: ScheduleShape::Cosine { floor: 0.1 }, warmup_steps: 2 };
    let learning_rate = rate(optimizer, 0.02, 0.01);
    Plan { optimizer, learning_rate, l2: 1e-3, schedule, batch: 33, shard: 5, epochs: 2, seed: 7 }
}

/// Trains on every instruction set with every number of threads, and asserts that it cannot be seen.
fn assert_no_trace(model: &Model, data: &Dataset, plan: &Plan, isas: &[Isa], threads: &[usize]) {
    let mut first: Option<[Vec<u32>; 3]> = None;
    for &isa in isas {
        for &count in threads {
            let got = train(model, data, plan, count, isa).map(|numbers| bits(&numbers));
            let want = first.get_or_insert_with(|| got.clone());
            assert!(*want == got, "{} with {count} threads: {model:?}, {:?}", isa.name(), plan.optimizer);
        }
    }
}

/// Too little work for threads: every instruction set, with shapes where nothing divides by anything.
#[test]
fn training_a_small_network_has_the_same_bits_everywhere() {
    for (i, (activation, output, cost)) in cases().into_iter().enumerate() {
        let model = Model::new(vec![37, 19, 10], activation, output, cost).unwrap();
        let data = dataset(&model, 101, i % 2 == 0, 40 + i as u64);
        for optimizer in OPTIMIZERS {
            // 33 + 33 + 33 + 2 samples, in leaves of 5.
            assert_no_trace(&model, &data, &plan(optimizer), &Isa::available(), &[1, 3]);
        }
    }
}

/// Enough work for eight threads in each of the passes.
#[test]
fn training_a_larger_network_has_the_same_bits_everywhere() {
    for (i, (output, cost)) in OUTPUTS_AND_COSTS.into_iter().enumerate() {
        let activation = [Activation::Relu, Activation::Tanh, Activation::Sigmoid][i % 3];
        let model = Model::new(vec![230, 270, 130, 7], activation, output, cost).unwrap();
        let data = dataset(&model, 250, i % 2 == 0, 60 + i as u64);
        for (j, optimizer) in OPTIMIZERS.into_iter().enumerate() {
            // 150 + 100 samples.
            let plan = Plan { batch: 150, shard: 11, epochs: 1, ..plan(optimizer) };
            // Fused multiply-adds without the instruction are slow: one cost with each optimizer must do there.
            let isas = Isa::available();
            let isas = if i == j { &isas[..] } else { &isas[1.min(isas.len() - 1)..] };
            assert_no_trace(&model, &data, &plan, isas, &THREADS);
        }
    }
}

/// Threads share the optimizer's step only where there are very many parameters.
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
                let threads = Threads::new(count).unwrap();
                let mut state = OptimizerState::new(optimizer, &model);
                let mut params = start.clone();
                for (t, gradient) in gradients.iter().enumerate() {
                    state.step(isa, &threads, &mut params, gradient, 33, t as u64, 0.01, 1e-3);
                }
                let [m, v] = state.moments();
                let got = [bits(&params), bits(m), bits(v)];
                let want = first.get_or_insert_with(|| got.clone());
                assert!(*want == got, "{optimizer:?} on {} with {count} threads", isa.name());
            }
        }
    }
}

/// What must change the bits does: else the tests above would compare a constant with itself.
#[test]
fn training_depends_on_all_that_it_should_depend_on() {
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

/// The value of a node: as somebody computed it, or the sum of the two below it.
fn join(tree: &Tree, parts: &[(Node, Vec<f32>)], node: Node) -> Vec<f32> {
    if let Some((_, value)) = parts.iter().find(|(n, _)| *n == node) {
        return value.clone();
    }
    assert!(node.level > 0, "{node:?} was computed by nobody");
    let left = Node { level: node.level - 1, index: node.index * 2 };
    let mut sum = join(tree, parts, left);
    if tree.contains(left.sibling()) {
        sum.iter_mut().zip(join(tree, parts, left.sibling())).for_each(|(l, r)| *l += r);
    }
    sum
}

/// The tree is really there: any division of the leaves among workers gives its bits, and any other order does not.
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

            // Any number of workers, their shares anything but even, and whoever answers first.
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
                // The same number, so it is only rounding that differs; but that it does.
                assert_close(&format!("{what}: {name}"), &widen(&other), &widen(&root), 1e-5);
                assert!(bits(&other) != bits(&root), "{what}: {name}");
            }
        }
    }
}
