//! Runs side by side in this process, each just as `nn train` does it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::board::{Board, Ended, Entry, State};
use super::folder::SweepFolder;
use super::plan::Plan;
use super::stages::Task;
use super::table;
use crate::commands::train::Stage;
use crate::config::SweepConfig;
use crate::failure::{Failure, write_stdout};
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
        if let Some(summary) = self.folder.finished(run, self.plan) {
            return Ok(Ended::Finished(summary));
        }
        let occupant = Occupant::of(&out);
        let resume = occupant.as_ref().is_some_and(|occupant| occupant.resumable);
        let mut config = planned.run.config(&out, resume, self.config.parallel.1)?;
        config.overwrite = occupant.is_some() && !resume;
        let (data, label) = (self.plan.data(run).clone(), SweepFolder::name(run));
        let stage = Stage { config: &config, stop: self.stop.clone(), data, until, label };
        let paused = stage.train(|| {}, |epoch, line| self.board.epoch(run, epoch, line))?;
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
