//! Whether networks learn: every optimizer on problems with a known answer.

mod common;

use common::training::{CONSTANT, OPTIMIZERS, Plan, rate, train};
use common::{assert_close, evaluator, gradient, noise, outputs_and_costs, widen, workspace};
use nn_core::{
    Activation, Cost, Dataset, Features, Isa, Model, Optimizer, Output, Schedule, ScheduleShape, Targets,
};

#[test]
fn every_optimizer_learns_exclusive_or() {
    let corners = Features::F32(vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
    let targets = Targets::Classes { labels: vec![0, 1, 1, 0], classes: 2 };
    let data = Dataset::new(corners, 2, targets, None).unwrap();
    for activation in [Activation::Tanh, Activation::Sigmoid, Activation::Relu] {
        for (output, cost) in outputs_and_costs().into_iter().filter(|(output, _)| *output != Output::Linear)
        {
            let model = Model::new(vec![2, 16, 2], activation, output, cost).unwrap();
            for optimizer in OPTIMIZERS {
                let learning_rate = rate(optimizer, if cost == Cost::Mse { 4.0 } else { 1.0 }, 0.1);
                let (l2, schedule) = (0.0, CONSTANT);
                let plan =
                    Plan { optimizer, learning_rate, l2, schedule, batch: 4, shard: 2, epochs: 900, seed: 1 };
                let [params, ..] = train(&model, &data, &plan, 1, Isa::best());
                let result = evaluator(&model, Isa::best()).evaluate(&params, &data).unwrap();
                assert_eq!(result.correct, 4, "{model:?} {optimizer:?}: {result:?}");
                assert!(result.loss < 0.02, "{model:?} {optimizer:?}: {result:?}");
            }
        }
    }
}

/// Units are killed by hand, layer by layer, and counted: a unit lives if a single sample reaches it.
#[test]
fn dead_units_are_those_that_no_sample_reaches() {
    let samples = 1100; // more than are evaluated at a time, and not a whole number of panels
    // All inputs are 1, but for the last sample, whose first is 9.
    let mut x = vec![1.0; samples * 3];
    x[(samples - 1) * 3] = 9.0;
    let targets = Targets::Classes { labels: (0..samples as u32).map(|i| i % 2).collect(), classes: 2 };
    let data = Dataset::new(Features::F32(x), 3, targets, None).unwrap();
    let model = Model::new(vec![3, 20, 5, 2], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let layout = nn_core::layout(&model);
    let mut params = vec![0.1; model.parameters()];
    let all: Vec<u32> = (0..samples as u32).collect();
    let mut workspace = evaluator(&model, Isa::best());
    assert_eq!(workspace.dead_units(&params, &data, &all).unwrap(), [0, 0]);
    for unit in [0, 7, 19] {
        params[layout[0].biases.start + unit] = -2.0;
    }
    params[layout[0].biases.start + 3] = -0.5; // 0.3 − 0.5, but 1.1 − 0.5 for the last sample
    for unit in [1, 2] {
        params[layout[1].biases.start + unit] = -100.0;
    }
    assert_eq!(workspace.dead_units(&params, &data, &all).unwrap(), [3, 2]);
    assert_eq!(workspace.dead_units(&params, &data, &all[..samples - 1]).unwrap(), [4, 2]);
    let shallow = Model::new(vec![3, 2], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let params = vec![0.0; shallow.parameters()];
    assert!(evaluator(&shallow, Isa::best()).dead_units(&params, &data, &all).unwrap().is_empty());
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
        let result = evaluator(&model, Isa::best()).evaluate(&params, &data).unwrap();
        assert!(result.correct == 192 && result.loss < 0.02, "{optimizer:?}: {result:?}");
    }
}

/// The answer is known exactly: values from a linear network lead back to that network, and with L2 to the minimum of
/// the penalised cost, at which the gradient is −l2 · w.
#[test]
fn regression_finds_its_teacher() {
    let model = Model::new(vec![5, 3], Activation::Relu, Output::Linear, Cost::Mse).unwrap();
    let mut next = noise(8);
    let teacher: Vec<f32> = (0..18).map(|_| next()).collect();
    let x: Vec<f32> = (0..40 * 5).map(|_| next()).collect();
    let blank = Targets::Values { data: vec![0.0; 120], width: 3 };
    let blank = Dataset::new(Features::F32(x.clone()), 5, blank, None).unwrap();
    let values = evaluator(&model, Isa::best()).outputs(&teacher, &blank, 0..40).unwrap();
    let targets = Targets::Values { data: values, width: 3 };
    let data = Dataset::new(Features::F32(x), 5, targets, None).unwrap();
    for optimizer in OPTIMIZERS {
        let optimizer = match optimizer {
            // With decoupled decay the minimum is elsewhere.
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
