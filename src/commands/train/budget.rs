//! `--max-seconds`: the number of epochs that fit into a time, from a few steps of the real network on the real data.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_core::Workspace;
use nn_engine::{Compute, Engine, EpochReport, Manifest, Snapshot, StepReport, local, params_sha256};

use super::data::Data;
use crate::clock::Clock;
use crate::config::{self, TrainConfig};
use crate::failure::Failure;
use crate::signals::StopFlag;
use crate::store::WeightsHash;

/// The part of the time that is spent on measuring, within limits.
const PART: f64 = 0.05;
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(1);

/// The most epochs that a run may have.
const MAX_EPOCHS: u32 = config::MAX_EPOCHS as u32;

/// Measures a few steps and an evaluation, and gives the number of epochs and a line that says it. Nothing that was
/// computed goes into the run.
///
/// # Errors
/// Exit code 3, if the data do not fit the network.
pub(super) fn epochs(
    seconds: u64,
    manifest: &Manifest,
    compute: &Compute,
    splits: &Data,
    config: &TrainConfig,
    stop: &StopFlag,
) -> Result<(u32, String), Failure> {
    let clock = Clock::start();
    let until = Duration::from_secs(seconds).mul_f64(PART).clamp(LEAST, MOST);
    let log_steps = config.log_steps;
    let mut timer = Timer { clock, stop, until, log_steps, first: None, last: Duration::ZERO, samples: 0 };
    let mut engine = Engine::new(manifest.clone(), compute.clone(), Duration::ZERO);
    let _ = local::run(&mut engine, &splits.train, &mut timer).map_err(Failure::data)?;
    let begun = clock.now();
    let mut workspace = Workspace::for_evaluation(manifest.model(), compute.threads.clone(), compute.isa);
    for set in splits.validation.iter().chain([&splits.test]) {
        let _ = workspace.evaluate(engine.params(), set).map_err(Failure::data)?;
    }
    // An average is evaluated beside the weights.
    let times = if manifest.recipe().ema.is_some() { 2.0 } else { 1.0 };
    let evaluation = times * (clock.now() - begun).as_secs_f64() / f64::from(config.eval_every);
    let begun = clock.now();
    let _ = params_sha256(engine.params());
    let hash = (clock.now() - begun).as_secs_f64();
    let epoch = timer.of_sample() * manifest.parts().train_samples as f64 + evaluation + hash;
    let most = config.given_epochs().unwrap_or(MAX_EPOCHS);
    let epochs = fitting(seconds as f64, epoch, most);
    let here = if config.is_of_coordinator { "on the coordinator alone, without workers" } else { "here" };
    let counted = if epochs == 1 { "1 epoch".to_owned() } else { format!("{epochs} epochs") };
    Ok((
        epochs,
        format!(
            "--max-seconds {seconds}: an epoch takes about {} {here}, so {counted}; --epochs {epochs} gives the same \
             weights anywhere",
            in_words(epoch)
        ),
    ))
}

/// The number of epochs of so many seconds that fit into `seconds`: at least 1, at most `most`.
fn fitting(seconds: f64, epoch: f64, most: u32) -> u32 {
    let fit = (seconds / epoch.max(1e-9)).floor();
    if fit >= f64::from(most) { most } else { (fit as u32).max(1) }
}

fn in_words(seconds: f64) -> String {
    match seconds {
        0.1.. => format!("{seconds:.1} s"),
        0.001.. => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{:.2} ms", seconds * 1e3),
    }
}

/// Measures steps until there is time enough.
struct Timer<'a> {
    clock: Clock,
    stop: &'a StopFlag,
    until: Duration,
    log_steps: u64,
    /// When the first step was done, and its samples: it does not count, because memory and caches are new to it.
    first: Option<(Duration, usize)>,
    last: Duration,
    /// Samples of the steps after the first.
    samples: usize,
}

impl Timer<'_> {
    /// The mean time of a sample in seconds.
    fn of_sample(&self) -> f64 {
        let (time, samples) = match self.first {
            Some((first, _)) if self.samples > 0 => (self.last - first, self.samples),
            // There was one step only.
            Some((first, samples)) => (first, samples),
            None => (self.last, 1),
        };
        time.as_secs_f64() / samples as f64
    }
}

impl local::Observer for Timer<'_> {
    fn now(&mut self) -> Duration {
        self.clock.now()
    }

    fn weights(&mut self, report: &StepReport, params: &[f32]) {
        // The run does this, too.
        if self.log_steps != 0 && (report.step.0 + 1).is_multiple_of(self.log_steps) {
            let _ = WeightsHash::of(params);
        }
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.last = self.clock.now();
        match self.first {
            None => self.first = Some((self.last, report.samples)),
            Some(_) => self.samples += report.samples,
        }
        if self.last >= self.until || self.stop.is_set() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}

    fn snapshot(&mut self, _: Snapshot) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs_fit_into_the_time() {
        for (seconds, epoch, most, want) in [
            (60.0, 0.8, MAX_EPOCHS, 75),
            (60.0, 0.8, 30, 30),
            (60.0, 61.0, MAX_EPOCHS, 1),
            (60.0, 60.0, MAX_EPOCHS, 1),
            (1.0, 0.0, MAX_EPOCHS, MAX_EPOCHS),
        ] {
            assert_eq!(fitting(seconds, epoch, most), want, "{seconds} {epoch}");
        }
    }
}
