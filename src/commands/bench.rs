//! `nn bench`: time a training step on synthetic data, and measure the processor's peak.

use nn_core::measure::multiply_adds;
use nn_core::{
    Compute, Dataset, Features, Isa, Model, Named as _, Optimizer, OptimizerState, Purpose, Samples,
    StepInputs, Targets, Workspace, initial_parameters, permutation,
};
use serde_json::json;

use super::{isa, threads};
use crate::clock::Clock;
use crate::config::BenchConfig;
use crate::config::defaults::{available_threads, default_init};
use crate::failure::{Failure, write_stdout};

/// Samples from which mini-batches are gathered: as many as in MNIST.
const SAMPLES: usize = 60_000;

/// Runs the benchmark and prints the figures.
pub(crate) fn bench(config: &BenchConfig) -> Result<(), Failure> {
    let isa = isa()?;
    if config.peak {
        let (one, all) = (peak(isa, 1), peak(isa, available_threads().get()));
        return write_stdout(if config.json {
            format!("{}\n", json!({ "peak_gflops_1": one, "peak_gflops_all": all, "isa": isa.name() }))
        } else {
            format!("{one:.1} GFLOP/s on one thread, {all:.1} on all ({})\n", isa.name())
        });
    }
    let mut times = steps(config, isa)?;
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    let operations = operations(&config.layers, config.batch_size);
    let gflops = operations / median / 1e3;
    let peak = peak(isa, config.threads.get().min(available_threads().get()));
    let samples_per_second = config.batch_size as f64 / median * 1e6;
    write_stdout(if config.json {
        let figures = json!({
            "step_us": median,
            "step_us_min": least,
            "samples_per_second": samples_per_second,
            "gflops": gflops,
            "peak_gflops": peak,
            "share_of_peak": gflops / peak,
            "operations": operations,
            "shard_size": config.shard_size,
            "threads": config.threads.get(),
            "isa": isa.name(),
            "precision": config.precision.name(),
        });
        format!("{figures}\n")
    } else {
        format!(
            "{median:.1} µs per step (minimum {least:.1}), {samples_per_second:.0} samples/s, {gflops:.1} GFLOP/s, \
             {:.0} % of the peak of {peak:.0}\n",
            gflops / peak * 100.0
        )
    })
}

/// Floating-point operations of a step's matrix products: forward, weight gradients, and input gradients except for the
/// first layer.
fn operations(layers: &[usize], batch: usize) -> f64 {
    let products: usize = layers.windows(2).map(|pair| pair[0] * pair[1]).sum();
    (2 * batch * (3 * products - layers[0] * layers[1])) as f64
}

/// Microseconds per step, one figure per repetition: gathering by a random permutation, forward, backward, SGD.
fn steps(config: &BenchConfig, isa: Isa) -> Result<Vec<f64>, Failure> {
    let model = Model::new(config.layers.clone(), config.activation, config.output, config.cost)
        .and_then(|model| model.with_precision(config.precision).with_normalization(config.normalization))
        .map_err(Failure::usage)?;
    let inputs = model.input_width();
    let samples = SAMPLES.max(config.batch_size);
    let mut noise = 1_u64;
    let mut byte = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 56) as u8
    };
    let features = Features::U8 { data: (0..samples * inputs).map(|_| byte()).collect(), scale: 255.0 };
    let classes = model.output_width();
    let labels = (0..samples).map(|s| (s % classes) as u32).collect();
    let data = Dataset::new(features, inputs, Targets::Classes { labels, classes }, None)
        .map_err(Failure::failed)?;

    let compute = Compute { isa, threads: threads(config.threads.get())? };
    let mut params = initial_parameters(&model, default_init(config.activation), 1);
    let mut gradient = nn_core::zeroed(params.len());
    let mut optimizer = OptimizerState::new(Optimizer::Sgd, &model);
    let mut workspace = Workspace::new(&model, config.batch_size, compute.threads.clone(), isa);
    let mut order = vec![0; samples];
    let (mut at, mut epoch) = (samples, 0);
    let mut run = |count: usize| {
        for _ in 0..count {
            if at + config.batch_size > samples {
                permutation(1, Purpose::Shuffle, epoch, &mut order);
                (at, epoch) = (0, epoch + 1);
            }
            let batch = Samples::first(&order[at..at + config.batch_size]);
            at += config.batch_size;
            let stats = workspace
                .node_gradient(&params, &data, batch, config.shard_size, &mut gradient)
                .map_err(Failure::failed)?;
            // The rate is so small that weights stay bounded on synthetic data.
            let inputs = StepInputs {
                samples: stats.samples,
                step: 0,
                learning_rate: 1e-4,
                l2: 0.0,
                clip: 1.0,
                noise: None,
            };
            optimizer.step(&compute, &mut params, &gradient, inputs);
        }
        Ok::<(), Failure>(())
    };
    compute.threads.enter(|| {
        run(config.steps.clamp(1, 20))?;
        (0..config.repeats)
            .map(|_| {
                let clock = Clock::start();
                run(config.steps)?;
                Ok(clock.now().as_secs_f64() * 1e6 / config.steps as f64)
            })
            .collect()
    })
}

/// GFLOP/s of multiply-adds in registers alone, on `threads` threads at once: the best of a few attempts.
fn peak(isa: Isa, threads: usize) -> f64 {
    let rounds = 2_000_000;
    let once = || {
        let clock = Clock::start();
        let operations: u64 = std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|_| scope.spawn(|| multiply_adds(isa, rounds))).collect();
            all.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        });
        operations as f64 / clock.now().as_secs_f64() / 1e9
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}
