//! Training on the fast path, without the engine.

use nn_core::{
    Dataset, Init, Isa, Model, Optimizer, OptimizerState, Purpose, Schedule, ScheduleShape, StepInputs,
    Workspace, initial_parameters, permutation, rate_multiplier,
};

use super::{compute, gradient};

/// Every optimizer, with the usual constants.
pub(crate) const OPTIMIZERS: [Optimizer; 5] = [
    Optimizer::Sgd,
    Optimizer::Momentum { momentum: 0.9 },
    Optimizer::Nesterov { momentum: 0.9 },
    Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 },
];

/// The learning rate itself, at every step.
pub(crate) const CONSTANT: Schedule = Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 };

/// The settings that a training's result depends on.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) optimizer: Optimizer,
    pub(crate) learning_rate: f32,
    pub(crate) l2: f32,
    pub(crate) schedule: Schedule,
    pub(crate) batch: usize,
    pub(crate) shard: usize,
    pub(crate) epochs: u32,
    pub(crate) seed: u64,
}

/// Trains from scratch as the engine does. Returns the parameters and the two moments of the optimizer.
pub(crate) fn train(model: &Model, data: &Dataset, plan: &Plan, threads: usize, isa: Isa) -> [Vec<f32>; 3] {
    let compute = compute(isa, threads);
    let mut workspace = Workspace::new(model, plan.batch, compute.threads.clone(), isa);
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
            let learning_rate = (f64::from(plan.learning_rate) * multiplier) as f32;
            let inputs =
                StepInputs { samples: batch.len(), step, learning_rate, l2: plan.l2, clip: 1.0, noise: None };
            state.step(&compute, &mut params, &sum, inputs);
            step += 1;
        }
    }
    let [first, second] = state.moments().map(<[f32]>::to_vec);
    [params, first, second]
}

/// A rate that suits the optimizer, given those that suit plain SGD and Adam.
pub(crate) fn rate(optimizer: Optimizer, sgd: f32, adam: f32) -> f32 {
    match optimizer {
        Optimizer::Sgd => sgd,
        Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => sgd / 10.0,
        Optimizer::Adam { .. } | Optimizer::AdamW { .. } => adam,
    }
}
