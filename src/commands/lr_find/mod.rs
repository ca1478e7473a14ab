//! `nn lr-find`: the learning-rate range test (Smith 2015, "Cyclical learning rates for training neural networks"). The rate rises from step to
//! step, and the losses of the mini-batches show where it is too low to matter, where it works, and where it is too high.
//!
//! | File | Contents |
//! | --- | --- |
//! | `curve.rs` | the losses, smoothed, and what they say |
//! | `svg.rs` | the picture |
//! | `text.rs` | what a person reads |

mod curve;
mod svg;
mod text;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use nn_core::RangeTest;
use nn_engine::{Engine, EpochReport, Manifest, Snapshot, StepReport, local};
use serde_json::{Value, json};

use self::curve::{Curve, Reason, Step};
use super::style;
use super::train::{Described, beginning};
use crate::clock::Clock;
use crate::config::LrFindConfig;
use crate::failure::{Failure, write_stdout};
use crate::signals::StopFlag;
use crate::store::write_atomically;

/// Tests ever higher rates and suggests one.
pub(crate) fn lr_find(config: &LrFindConfig) -> Result<(), Failure> {
    let stop = StopFlag::install()?;
    let Described { manifest, data, compute, .. } = Described::new(&config.train, &stop)?;
    if manifest.rounds().is_some() {
        return Err(Failure::usage(
            "nn lr-find tests the rate of ordinary steps, so --rounds does not go with it",
        )
        .help("leave out rounds; a rate that suits one machine suits rounds with few replicas, too"));
    }
    if !config.json && !config.train.quiet {
        for note in config.train.notes() {
            write_stdout(format!("{note}\n"))?;
        }
        if let Some(base) = &config.train.base {
            write_stdout(format!("{}\n", beginning(base)))?;
        }
    }
    let test = RangeTest { low: config.lowest_rate, high: config.highest_rate, steps: config.steps };
    let mut engine = Engine::new(manifest.clone(), compute, Duration::ZERO).with_range_test(test);
    let mut tester = Tester { clock: Clock::start(), stop: &stop, curve: Curve::new(config.steps) };
    // It may end as diverged, which is what the test is for.
    let _ = local::run(&mut engine, &data.train, &mut tester).map_err(Failure::data)?;
    if stop.is_set() {
        return Err(Failure::interrupted("interrupted before the highest learning rate was tried"));
    }
    let result = Tested { curve: tester.curve, test, manifest: &manifest, data: &data.name };
    if let Some(path) = &config.plot {
        write_plot(path, &svg::picture(&result))?;
    }
    if config.json {
        return write_stdout(format!("{:#}\n", as_json(&result)));
    }
    write_stdout(text::report(&result, config.plot.as_deref(), &style()))
}

/// A test that is over.
struct Tested<'a> {
    curve: Curve,
    test: RangeTest,
    manifest: &'a Manifest,
    /// The name of the data.
    data: &'a str,
}

impl Tested<'_> {
    /// Whether the loss exploded before the last step.
    fn exploded(&self) -> bool {
        (self.curve.steps().len() as u64) < self.test.steps
    }

    /// The points of the smoothed curve, and the highest loss worth showing: that before the lowest, and a little room.
    fn shown(&self) -> (Vec<(f64, f64)>, f64) {
        let smoothed = self.curve.smoothed();
        let lowest = (0..smoothed.len()).min_by(|&a, &b| smoothed[a].total_cmp(&smoothed[b])).unwrap_or(0);
        let top = smoothed.iter().take(lowest + 1).copied().filter(|y| y.is_finite()).fold(0.0, f64::max);
        let least = smoothed.get(lowest).copied().unwrap_or(0.0);
        let rates = self.curve.steps().iter().map(|step| f64::from(step.rate));
        (rates.zip(smoothed).collect(), top + 0.25 * (top - least).max(0.05 * top))
    }
}

/// Writes the picture.
fn write_plot(path: &Path, picture: &str) -> Result<(), Failure> {
    write_atomically(path, picture.as_bytes()).map_err(|error| {
        Failure::failed(format_args!(
            "cannot write {}: {}",
            path.display(),
            crate::store::without_path(&error)
        ))
        .help("name a file that you may write with --plot")
    })
}

/// The number as it would be given as an option: 0.051, which it is not in f32.
fn written(rate: f32) -> f64 {
    rate.to_string().parse().unwrap_or(f64::from(rate))
}

fn as_json(tested: &Tested<'_>) -> Value {
    let Tested { curve, manifest, data, .. } = tested;
    let finding = curve.finding();
    let steps: Vec<Value> = curve
        .steps()
        .iter()
        .zip(curve.smoothed())
        .map(|(step, smoothed)| json!({ "learning_rate": written(step.rate), "loss": step.loss, "smoothed_loss": smoothed }))
        .collect();
    json!({
        "data": data,
        "layers": manifest.model().widths(),
        "optimizer": manifest.recipe().optimizer.name(),
        "batch_size": manifest.recipe().batch_size,
        "learning_rate": written(manifest.recipe().learning_rate),
        "suggested_learning_rate": finding.map(|finding| written(finding.suggested)),
        "reason": finding.map(|finding| match finding.reason {
            Reason::Steepest => "steepest-fall",
            Reason::TenthOfLowest => "tenth-of-lowest-loss",
        }),
        "lowest_loss_at": finding.map(|finding| written(finding.lowest)),
        "steepest_fall_at": finding.map(|finding| written(finding.steepest)),
        "exploded": tested.exploded(),
        "steps": steps,
    })
}

/// Observes the steps.
struct Tester<'a> {
    clock: Clock,
    stop: &'a StopFlag,
    curve: Curve,
}

impl local::Observer for Tester<'_> {
    fn now(&mut self) -> Duration {
        self.clock.now()
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let goes_on = self.curve.push(Step { rate: report.learning_rate, loss: report.loss });
        if goes_on && !self.stop.is_set() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}

    fn snapshot(&mut self, _: Snapshot) {}
}
