//! Runs side by side in this process, each just as `nn train` does it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nn_engine::{EpochReport, Outcome, Snapshot, StepReport, local};

use super::board::{Board, Ended, Entry, State};
use super::folder::SweepFolder;
use super::plan::Plan;
use super::stages::Task;
use super::table;
use crate::commands::train::{Job, Watch};
use crate::config::SweepConfig;
use crate::failure::{Failure, FailureKind, write_stdout};
use crate::progress::{Table, about, above};
use crate::signals::StopFlag;
use crate::store::runs::Occupant;

/// What the threads share.
struct Shared<'a> {
    plan: &'a Plan,
    board: &'a Board,
    folder: &'a SweepFolder,
    config: &'a SweepConfig,
    stop: &'a StopFlag,
    queue: Mutex<VecDeque<Task>>,
    /// The first failure of the sweep itself.
    trouble: Mutex<Option<Failure>>,
}

/// Does the tasks, as many at once as the configuration says.
pub(super) fn run(
    tasks: &[Task],
    plan: &Plan,
    board: &Board,
    folder: &SweepFolder,
    config: &SweepConfig,
    stop: &StopFlag,
) -> Result<(), Failure> {
    let queue = Mutex::new(tasks.iter().copied().collect());
    let shared = Shared { plan, board, folder, config, stop, queue, trouble: Mutex::new(None) };
    let table = Table::new(config.quiet);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..config.parallel.0.min(tasks.len()) {
            let shared = &shared;
            let thread = thread::Builder::new().name(format!("nn-sweep-{number}"));
            let started = thread.spawn_scoped(scope, move || shared.work());
            threads.push(
                started.map_err(|error| Failure::failed(format_args!("cannot start a thread: {error}")))?,
            );
        }
        while threads.iter().any(|thread| !thread.is_finished()) {
            if table.is_drawn() {
                table.draw(&table::lines(board, table.room()));
            }
            // Of short runs, the last must not be waited for long.
            thread::sleep(Duration::from_millis(if table.is_drawn() { 100 } else { 2 }));
        }
        Ok::<(), Failure>(())
    })?;
    shared.trouble.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

impl Shared<'_> {
    /// Does one task after the other.
    fn work(&self) {
        loop {
            let task = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(task) = task.filter(|_| !self.stop.is_set()) else { return };
            self.board.begin(task.run, None);
            let name = SweepFolder::name(task.run);
            let ended = catch_unwind(AssertUnwindSafe(|| about(&name, || self.train(task))));
            let ended = ended.unwrap_or_else(|_| {
                Ended::Failed(Failure::failed("the run ended with a panic, whose message is above"))
            });
            let entry = self.board.end(task.run, ended);
            if let Err(trouble) = self.folder.write(self.board).and_then(|()| self.say(task.run, &entry)) {
                let mut first = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(trouble);
                // Without its record the sweep does not go on.
                self.queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return;
            }
        }
    }

    /// Tells that a run is over.
    fn say(&self, run: usize, entry: &Entry) -> Result<(), Failure> {
        if self.config.quiet || entry.state == State::Waiting {
            return Ok(());
        }
        above(|| write_stdout(format!("{}\n", table::ended(run, entry, self.board))))
    }

    /// Trains a run, as far as its stage goes.
    fn train(&self, task: Task) -> Ended {
        match self.try_train(task) {
            Ok(ended) => ended,
            Err(failure) => Ended::Failed(failure),
        }
    }

    fn try_train(&self, task: Task) -> Result<Ended, Failure> {
        let Task { run, until } = task;
        let planned = &self.plan.runs[run];
        let out = self.folder.of_run(run);
        let occupant = Occupant::of(&out);
        // A run that ended just before the sweep was killed is not in `sweep.json`.
        if occupant.is_some()
            && let Some(summary) = self.folder.summary(run)
            && matches!(summary["outcome"].as_str(), Some("complete" | "early-stopped" | "diverged"))
            && summary["config_hash"] == planned.manifest.hash().as_str()
        {
            return Ok(Ended::Finished(summary));
        }
        let resume = occupant.as_ref().is_some_and(|occupant| occupant.resumable);
        let mut config = planned.run.config(&out, resume, self.config.parallel.1)?;
        config.overwrite = occupant.is_some() && !resume;
        let data = self.plan.data(run).clone();
        let Job { mut engine, watch, train, rest } =
            match Job::prepare_with(&config, self.stop.clone(), Some(data)) {
                // It was stopped before it began, and nothing is lost.
                Err(failure) if failure.kind() == FailureKind::Interrupted => {
                    return Ok(Ended::Stopped(None));
                }
                prepared => prepared?,
            };
        let pause = until.map(|epochs| epochs * engine.manifest().steps_per_epoch());
        let is_paused = |steps: u64| pause.is_some_and(|pause| steps >= pause);
        let (name, board) = (SweepFolder::name(run), self.board);
        let mut observed = Observed { watch, run, name, pause, board };
        let outcome = if observed.watch.is_over() || is_paused(engine.steps_done()) {
            Outcome::Stopped
        } else {
            local::run(&mut engine, &train, &mut observed).map_err(Failure::data)?
        };
        let concluded = rest.conclude(&config, &engine, observed.watch, outcome);
        let paused = is_paused(engine.steps_done());
        if !matches!(outcome, Outcome::Diverged { .. }) {
            concluded?;
        }
        let Some(summary) = self.folder.summary(run) else {
            return Ok(Ended::Stopped(None));
        };
        Ok(match summary["outcome"].as_str() {
            Some("complete" | "early-stopped" | "diverged") => Ended::Finished(summary),
            _ if paused => Ended::Paused(summary),
            _ => Ended::Stopped(Some(summary)),
        })
    }
}

/// Observes a run as [`Watch`] does, tells the board, and pauses at the end of a stage.
struct Observed<'a> {
    watch: Watch,
    run: usize,
    name: String,
    pause: Option<u64>,
    board: &'a Board,
}

impl local::Observer for Observed<'_> {
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

    fn epoch(&mut self, report: &EpochReport, params: &[f32]) {
        let Self { watch, name, .. } = self;
        about(name, || watch.epoch(report, params));
        self.board.epoch(self.run, report.epoch + 1, self.watch.last_line());
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
