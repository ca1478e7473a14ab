//! From parsed arguments to the work: every command is checked first, then run.

use super::{Command, CoordArgs, WorkerArgs, manual};
use crate::commands;
use crate::config::{self, TrainArgs, defaults};
use crate::failure::{Failure, write_stdout};

/// Runs a command.
pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Train(raw) => train(*raw),
        Command::Eval(raw) => commands::eval(&raw.check()?),
        Command::Predict(raw) => commands::predict(&raw.check()?),
        Command::Replay(raw) => commands::replay(&raw.check()?),
        Command::Status(raw) => commands::status(&raw.check()?),
        Command::Doctor(raw) => commands::doctor(&raw.check()?),
        Command::Certs(raw) => commands::certs(&raw.check()?),
        Command::Fetch(raw) => commands::fetch(&raw),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { out } => manual::man(out.as_deref()),
        Command::Bench(raw) => commands::bench(&raw.check()?),
    }
}

fn train(raw: TrainArgs) -> Result<(), Failure> {
    let print_config = raw.print_config;
    let checked = raw.check()?;
    if print_config {
        return write_stdout(config::print(&checked, defaults::available_threads())?);
    }
    commands::train(&checked)
}

/// Runs a coordinator.
pub(super) fn coord(raw: CoordArgs) -> Result<(), Failure> {
    let print_config = raw.train.print_config;
    let checked = raw.check()?;
    if print_config {
        return write_stdout(config::print(&checked.train, defaults::available_threads())?);
    }
    commands::coord(&checked)
}

/// Runs a worker.
pub(super) fn worker(raw: WorkerArgs) -> Result<(), Failure> {
    commands::worker(&raw.check()?)
}
