//! The arithmetic against PyTorch's, on every instruction set of this processor. `golden/make_golden.py` computed the
//! golden file in float64; `golden/README.md` describes it.
//!
//! Tolerances are fractions of the largest number in the array compared. The golden inputs are exact in f32, so
//! differences come only from the rounding of our f32 arithmetic, 2⁻²⁴ = 6e-8 an operation over some tens of
//! operations a number, and from the nine digits of the golden file, 5e-10. Each limit is a few times the observed
//! difference, which is noted beside it. A wrong formula is off by far more.

mod common;

use common::{assert_close, compute, evaluator, widen, workspace};
use nn_core::{
    Activation, Average, Cost, Dataset, Features, Isa, LayerLayout, Model, Optimizer, OptimizerState, Output,
    Plateau, Precision, Regularization, Samples, Schedule, StepInputs, Targets, Workspace, clip_factor_of,
    layout, rate_multiplier, reference,
};
use serde::Deserialize;

/// For outputs, losses and norms. Observed: 2e-7.
const FORWARD: f64 = 1e-6;
/// For gradients, of each layer's weights or biases separately. Observed: 6e-7.
const GRADIENT: f64 = 2e-6;

#[derive(Deserialize)]
struct Golden {
    networks: Vec<Network>,
    cases: Vec<Case>,
    regularized: Vec<Case>,
    normalized: Vec<Case>,
    optimizers: Optimizers,
    bounded: Bounded,
    schedules: Schedules,
    plateau: PlateauRuns,
}

#[derive(Deserialize)]
struct Network {
    name: String,
    widths: Vec<usize>,
    batch: usize,
    weights: Vec<Vec<f32>>,
    biases: Vec<Vec<f32>>,
    x: Vec<f32>,
    labels: Vec<u32>,
    dense: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    network: String,
    model: Model,
    target: String,
    #[serde(default)]
    label_smoothing: f32,
    #[serde(default)]
    clip_samples: f32,
    outputs: Vec<f64>,
    losses: Vec<f64>,
    mean_loss: f64,
    /// Those of each hidden layer that is normalised.
    #[serde(default)]
    gains: Vec<Vec<f32>>,
    #[serde(default)]
    shifts: Vec<Vec<f32>>,
    weight_gradients: Vec<Vec<f64>>,
    bias_gradients: Vec<Vec<f64>>,
    #[serde(default)]
    gain_gradients: Vec<Vec<f64>>,
    #[serde(default)]
    shift_gradients: Vec<Vec<f64>>,
    sample_gradient_norms: Vec<f64>,
}

#[derive(Deserialize)]
struct Optimizers {
    weights: usize,
    biases: usize,
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    runs: Vec<OptimizerRun>,
}

#[derive(Deserialize)]
struct OptimizerRun {
    optimizer: Optimizer,
    learning_rate: f32,
    l2: f32,
    clip_norm: Option<f32>,
    parameters: Vec<Vec<f64>>,
    ema: Option<f32>,
    #[serde(default)]
    averages: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Bounded {
    widths: Vec<usize>,
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    runs: Vec<BoundedRun>,
}

#[derive(Deserialize)]
struct BoundedRun {
    optimizer: Optimizer,
    learning_rate: f32,
    max_norm: f32,
    parameters: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Schedules {
    steps_per_epoch: u64,
    total_steps: u64,
    runs: Vec<ScheduleRun>,
}

#[derive(Deserialize)]
struct ScheduleRun {
    schedule: Schedule,
    multipliers: Vec<f64>,
}

#[derive(Deserialize)]
struct PlateauRuns {
    losses: Vec<f64>,
    runs: Vec<PlateauRun>,
}

#[derive(Deserialize)]
struct PlateauRun {
    factor: f32,
    evaluations: u32,
    multipliers: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/golden.json")).unwrap()
}

impl Golden {
    fn network(&self, case: &Case) -> &Network {
        self.networks.iter().find(|n| n.name == case.network).unwrap()
    }
}

impl Network {
    fn parameters(&self, case: &Case) -> Vec<f32> {
        let mut params = Vec::new();
        for (l, (weights, biases)) in self.weights.iter().zip(&self.biases).enumerate() {
            params.extend(weights);
            params.extend(biases);
            params.extend(case.gains.get(l).into_iter().flatten());
            params.extend(case.shifts.get(l).into_iter().flatten());
        }
        params
    }

    fn dataset(&self, target: &str) -> Dataset {
        let outputs = self.widths[self.widths.len() - 1];
        let targets = match target {
            "one-hot" => Targets::Classes { labels: self.labels.clone(), classes: outputs },
            "dense" => Targets::Values { data: self.dense.clone(), width: outputs },
            other => panic!("unknown target {other}"),
        };
        let data = Dataset::new(Features::F32(self.x.clone()), self.widths[0], targets, None).unwrap();
        assert_eq!(data.len(), self.batch);
        data
    }
}

#[test]
fn outputs_and_losses_are_pytorchs() {
    let golden = golden();
    assert_eq!((golden.cases.len(), golden.normalized.len()), (86, 14));
    for case in golden.cases.iter().chain(&golden.normalized) {
        let network = golden.network(case);
        let (params, data) = (network.parameters(case), network.dataset(&case.target));
        let m = &case.model;
        // Reading a model is the same as making it.
        let made = Model::new(m.widths().to_vec(), m.activation(), m.output(), m.cost()).unwrap();
        assert_eq!(&made.with_normalization(m.normalization()).unwrap(), m);

        let (mut outputs, mut losses) = (Vec::new(), Vec::new());
        for s in 0..data.len() {
            let (input, target) = reference::sample(&data, s);
            let trace = reference::backpropagate(m, &params, &input, &target);
            outputs.extend(widen(&trace.activations[m.layers()]));
            losses.push(trace.loss);
        }
        let name = &case.name;
        assert_close(&format!("{name}: outputs"), &outputs, &case.outputs, FORWARD);
        assert_close(&format!("{name}: losses"), &losses, &case.losses, FORWARD);

        for isa in Isa::available() {
            let what = format!("{name} on {}", isa.name());
            let mut workspace = evaluator(m, isa);
            let outputs = widen(&workspace.outputs(&params, &data, 0..data.len()).unwrap());
            assert_close(&format!("{what}: outputs"), &outputs, &case.outputs, FORWARD);
            let evaluation = workspace.evaluate(&params, &data).unwrap();
            assert_close(&format!("{what}: mean loss"), &[evaluation.loss], &[case.mean_loss], FORWARD);
            if case.target == "one-hot" {
                let right =
                    case.outputs.chunks(m.output_width()).zip(&network.labels).filter(|(a, label)| {
                        a.iter().enumerate().all(|(j, x)| j == **label as usize || *x < a[**label as usize])
                    });
                // Saturated sigmoids tie at 1 to nine digits, so the golden file cannot say which is the strongest.
                if network.name != "saturated" || m.output() != Output::Sigmoid {
                    assert_eq!(evaluation.correct, right.count(), "{what}: right answers");
                }
            }
        }
    }
}

#[test]
fn gradients_and_norms_are_pytorchs() {
    let golden = golden();
    assert_eq!(golden.regularized.len(), 5);
    for case in golden.cases.iter().chain(&golden.regularized).chain(&golden.normalized) {
        let network = golden.network(case);
        let (params, data) = (network.parameters(case), network.dataset(&case.target));
        let &Case { label_smoothing, clip_samples, .. } = case;
        let regularization = Regularization { label_smoothing, clip_samples, ..Regularization::NONE };
        let n = data.len();
        let batch: Vec<u32> = (0..n as u32).collect();
        for isa in Isa::available() {
            let threads = compute(isa, 1).threads;
            let mut workspace = Workspace::regularized(&case.model, (regularization, 1), n, threads, isa);
            // One leaf; several, the last of them short; a leaf for each sample.
            for shard in [n, 2, 1] {
                let what = format!("{} on {}, shard {shard}", case.name, isa.name());
                let mut sum = vec![f32::NAN; params.len()];
                let stats =
                    workspace.node_gradient(&params, &data, Samples::first(&batch), shard, &mut sum).unwrap();
                assert!(stats.finite, "{what}");
                assert_close(&format!("{what}: loss"), &[stats.loss / n as f64], &[case.mean_loss], FORWARD);

                let mean: Vec<f64> = sum.iter().map(|&g| f64::from(g) / n as f64).collect();
                for (l, layer) in layout(&case.model).into_iter().enumerate() {
                    let (w, b) = (&case.weight_gradients[l], &case.bias_gradients[l]);
                    let what = format!("{what}, layer {l}");
                    assert_close(&format!("{what}: weights"), &mean[layer.weights], w, GRADIENT);
                    assert_close(&format!("{what}: biases"), &mean[layer.biases], b, GRADIENT);
                    if !layer.gains.is_empty() {
                        let (gains, shifts) = (&case.gain_gradients[l], &case.shift_gradients[l]);
                        assert_close(&format!("{what}: gains"), &mean[layer.gains], gains, GRADIENT);
                        assert_close(&format!("{what}: shifts"), &mean[layer.shifts], shifts, GRADIENT);
                    }
                }

                let mut norms = vec![f64::NAN; n];
                workspace.sample_gradient_norms(&mut norms);
                let want = &case.sample_gradient_norms;
                assert_close(&format!("{what}: norms"), &norms, want, FORWARD);
            }
        }
    }
}

#[test]
fn optimizers_step_as_pytorchs() {
    // An update of Adam is at most 1 % of the largest parameter, so 5e-7 of the largest is 5e-5 of an update. Observed:
    // 2e-7, the rounding of the parameters themselves over six steps.
    const TOLERANCE: f64 = 5e-7;
    let Optimizers { weights, biases, start, gradients, runs } = golden().optimizers;
    let widths = vec![weights / biases, biases];
    let model = Model::new(widths, Activation::Sigmoid, Output::Linear, Cost::Mse).unwrap();
    assert_eq!((model.parameters(), start.len(), runs.len()), (weights + biases, weights + biases, 11));
    let mut clipped = 0;
    for run in &runs {
        for isa in Isa::available() {
            let compute = compute(isa, 1);
            // A sum over 8 samples is the same gradient to the bit; over 3 to a rounding or two.
            for samples in [1_usize, 8, 3] {
                let what = format!("{:?}, l2 {}, {}, n = {samples}", run.optimizer, run.l2, isa.name());
                let mut state = OptimizerState::new(run.optimizer, &model);
                let mut params = start.clone();
                let mut average = run.ema.map(|decay| Average::new(decay, &start));
                for (t, (gradient, want)) in gradients.iter().zip(&run.parameters).enumerate() {
                    let sum: Vec<f32> = gradient.iter().map(|g| g * samples as f32).collect();
                    let (step, learning_rate, l2) = (t as u64, run.learning_rate, run.l2);
                    let clip = run.clip_norm.map_or(1.0, |most| {
                        let layers = layout(&model);
                        clip_factor_of(&compute, layers.iter().map(LayerLayout::range), &sum, most, samples)
                    });
                    clipped += usize::from(clip < 1.0);
                    let inputs = StepInputs { samples, step, learning_rate, l2, clip, noise: None };
                    state.step(&compute, &mut params, &sum, inputs);
                    let what = format!("{what}, step {t}");
                    assert_close(&what, &widen(&params), want, TOLERANCE);
                    if let Some(average) = &mut average {
                        average.take_in(&compute, &params, step, 1);
                        let what = format!("{what}: average");
                        assert_close(&what, &widen(average.values()), &run.averages[t], TOLERANCE);
                    }
                    // A bias without a gradient does not move.
                    assert_eq!(params[weights + 1].to_bits(), start[weights + 1].to_bits(), "{what}");
                }
            }
        }
    }
    assert!(clipped > 12 * 3 * Isa::available().len(), "{clipped}");
}

#[test]
fn norms_of_weights_are_bounded_as_pytorchs() {
    // PyTorch adds 1e-7 to a norm of at least 0.5. Observed: 2e-7.
    const TOLERANCE: f64 = 1e-6;
    let Bounded { widths, start, gradients, runs } = golden().bounded;
    let model = Model::new(widths, Activation::Tanh, Output::Linear, Cost::Mse).unwrap();
    assert_eq!((model.parameters(), runs.len()), (start.len(), 3));
    for BoundedRun { optimizer, learning_rate, max_norm, parameters } in runs {
        for isa in Isa::available() {
            let compute = compute(isa, 1);
            let mut state = OptimizerState::new(optimizer, &model).with_max_norm(Some(max_norm));
            let mut params = start.clone();
            for (step, (gradient, want)) in (0..).zip(gradients.iter().zip(&parameters)) {
                let inputs = StepInputs { samples: 1, step, learning_rate, l2: 0.0, clip: 1.0, noise: None };
                state.step(&compute, &mut params, gradient, inputs);
                let what = format!("{optimizer:?} at most {max_norm}, {}, step {step}", isa.name());
                assert_close(&what, &widen(&params), want, TOLERANCE);
            }
            // Some rows are as long as they may be, and some are shorter.
            let layers = layout(&model);
            let rows =
                layers[..2].iter().flat_map(|layer| params[layer.weights.clone()].chunks(layer.inputs));
            let norms = rows.map(|row| row.iter().map(|w| w * w).sum::<f32>().sqrt());
            let (bounded, shorter): (Vec<f32>, Vec<f32>) = norms.partition(|norm| *norm > max_norm * 0.9999);
            assert!(bounded.len() > 1 && !shorter.is_empty(), "{bounded:?} {shorter:?}");
        }
    }
}

#[test]
fn learning_rates_follow_their_schedules() {
    let Schedules { steps_per_epoch, total_steps, runs } = golden().schedules;
    let epochs = (total_steps / steps_per_epoch) as u32;
    assert_eq!(runs.len(), 10);
    for run in &runs {
        let got: Vec<f64> = (0..total_steps)
            .map(|step| rate_multiplier(&run.schedule, step, steps_per_epoch, epochs))
            .collect();
        // All is in f64, so only the nine digits of the file differ.
        assert_close(&format!("{:?}", run.schedule), &got, &run.multipliers, 1e-9);
    }
}

#[test]
fn rates_fall_on_a_plateau_as_pytorchs() {
    let PlateauRuns { losses, runs } = golden().plateau;
    assert_eq!(runs.len(), 4);
    for PlateauRun { factor, evaluations, multipliers } in runs {
        let mut plateau = Plateau::default();
        let got: Vec<f64> = losses
            .iter()
            .map(|&loss| {
                plateau.take_in(loss, evaluations);
                plateau.multiplier(factor)
            })
            .collect();
        assert!(plateau.drops > 0, "{factor} after {evaluations}");
        // Each drop on its own: the last ones are small beside the first.
        for (got, want) in got.iter().zip(&multipliers) {
            assert_close(&format!("{factor} after {evaluations}"), &[*got], &[*want], 1e-8);
        }
    }
}

#[derive(Deserialize)]
struct Bf16 {
    widths: Vec<usize>,
    shard: usize,
    parameters: Vec<u32>,
    inputs: Vec<u32>,
    targets: Vec<u32>,
    gradient: Vec<u32>,
}

/// Not close but equal: `golden/make_bf16_golden.py` computed the bits with exact fractions.
#[test]
fn bf16_has_the_bits_that_exact_fractions_give() {
    let golden: Bf16 = serde_json::from_str(include_str!("golden/bf16.json")).unwrap();
    let floats = |bits: &[u32]| -> Vec<f32> { bits.iter().copied().map(f32::from_bits).collect() };
    let model = Model::new(golden.widths, Activation::Relu, Output::Linear, Cost::Mse).unwrap();
    let model = model.with_precision(Precision::Bf16);
    let targets = Targets::Values { data: floats(&golden.targets), width: model.output_width() };
    let data =
        Dataset::new(Features::F32(floats(&golden.inputs)), model.input_width(), targets, None).unwrap();
    let (params, batch) = (floats(&golden.parameters), (0..data.len() as u32).collect::<Vec<_>>());
    let samples = Samples::first(&batch);
    let found = |gradient: &[f32], name: &str| {
        let differ = gradient.iter().zip(&golden.gradient).position(|(found, want)| found.to_bits() != *want);
        assert_eq!((gradient.len(), differ), (golden.gradient.len(), None), "{name}");
    };
    found(
        &reference::batch_gradient(
            &model,
            &params,
            &data,
            samples,
            golden.shard,
            (&Regularization::default(), 0),
        )
        .0,
        "reference",
    );
    for isa in Isa::available() {
        let mut workspace = workspace(&model, batch.len(), 2, isa);
        let mut gradient = vec![0.0; params.len()];
        let _ = workspace.node_gradient(&params, &data, samples, golden.shard, &mut gradient).unwrap();
        found(&gradient, isa.name());
    }
}
