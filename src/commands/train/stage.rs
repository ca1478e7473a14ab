//! A run of a sweep, or a part of one: from its folder as it is to the end of the run or of a stage.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_engine::{EpochReport, Outcome, Snapshot, StepReport, local};
use serde_json::Value;

use super::{Data, Job, Watch};
use crate::config::TrainConfig;
use crate::failure::{Failure, FailureKind};
use crate::progress::about;
use crate::signals::StopFlag;

/// A run to train, as far as its stage goes.
pub(in crate::commands) struct Stage<'a> {
    pub(in crate::commands) config: &'a TrainConfig,
    pub(in crate::commands) stop: StopFlag,
    pub(in crate::commands) data: Data,
    /// The epochs after which it pauses; `None` to go on to its end.
    pub(in crate::commands) until: Option<u64>,
    /// What warnings are about.
    pub(in crate::commands) label: String,
}

impl Stage<'_> {
    /// Trains, just as `nn train` does. `begun` is called once the folder is ready, and `tell` with every epoch and its
    /// line of the log. Gives `true` if the run has paused at the end of its stage.
    ///
    /// # Errors
    /// As `nn train` does, but for a divergence, which the summary tells.
    pub(in crate::commands) fn train(
        self,
        begun: impl FnOnce(),
        tell: impl FnMut(u64, &Value) + Send,
    ) -> Result<bool, Failure> {
        let Self { config, stop, data, until, label } = self;
        let Job { mut engine, watch, train, rest } = match Job::prepare_with(config, stop, Some(data)) {
            // It was stopped before it began, and nothing is lost.
            Err(failure) if failure.kind() == FailureKind::Interrupted => return Ok(false),
            prepared => prepared?,
        };
        begun();
        let pause = until.map(|epochs| engine.manifest().steps_until(epochs));
        let is_paused = |steps: u64| pause.is_some_and(|pause| steps >= pause);
        let mut observed = Observed { watch, label, pause, tell };
        let outcome = if observed.watch.is_over() || is_paused(engine.steps_done()) {
            Outcome::Stopped
        } else {
            local::run(&mut engine, &train, &mut observed).map_err(Failure::data)?
        };
        let concluded = rest.conclude(config, &engine, observed.watch, outcome);
        if !matches!(outcome, Outcome::Diverged { .. }) {
            concluded?;
        }
        Ok(is_paused(engine.steps_done()))
    }
}

/// Observes a run as [`Watch`] does, and pauses it.
struct Observed<F> {
    watch: Watch,
    label: String,
    /// The steps after which it pauses.
    pause: Option<u64>,
    tell: F,
}

impl<F: FnMut(u64, &Value)> local::Observer for Observed<F> {
    fn now(&mut self) -> Duration {
        self.watch.now()
    }

    fn weights(&mut self, report: &StepReport, params: &[f32]) {
        self.watch.weights(report, params);
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let flow = self.watch.step(report);
        if self.pause.is_some_and(|pause| report.step.0 + 1 >= pause) { ControlFlow::Break(()) } else { flow }
    }

    fn trained(&mut self, report: &EpochReport, params: &[f32]) {
        self.watch.trained(report, params);
    }

    fn epoch(&mut self, report: &EpochReport, params: &[f32]) {
        let Self { watch, label, .. } = self;
        about(label, || watch.epoch(report, params));
        (self.tell)(report.epoch + 1, self.watch.last_line());
    }

    fn keeps(&mut self) -> bool {
        self.watch.keeps()
    }

    fn ends(&mut self) -> bool {
        self.watch.ends()
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        self.watch.snapshot(snapshot);
    }
}
