//! From parsed arguments to the work: every command is checked first, then run.

use super::{Command, args, manual};
use crate::config::{self, TrainArgs, TrainConfig, defaults};
use crate::failure::{Failure, write_stdout};

/// Runs a command.
pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Train(raw) => train(*raw),
        Command::Eval(raw) => eval(&raw.check()?),
        Command::Predict(raw) => predict(&raw.check()?),
        Command::Fetch(raw) => fetch(&raw),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { out } => manual::man(out.as_deref()),
        Command::Bench(raw) => bench(&raw.check()?),
    }
}

fn train(raw: TrainArgs) -> Result<(), Failure> {
    let print_config = raw.print_config;
    let checked = raw.check()?;
    if print_config {
        return write_stdout(config::print(&checked, defaults::available_threads())?);
    }
    train_checked(&checked)
}

fn train_checked(_: &TrainConfig) -> Result<(), Failure> {
    Err(not_built("train"))
}

fn eval(_: &args::EvalConfig) -> Result<(), Failure> {
    Err(not_built("eval"))
}

fn predict(_: &args::PredictConfig) -> Result<(), Failure> {
    Err(not_built("predict"))
}

fn fetch(_: &args::FetchArgs) -> Result<(), Failure> {
    Err(not_built("fetch"))
}

fn bench(_: &args::BenchConfig) -> Result<(), Failure> {
    Err(not_built("bench"))
}

fn not_built(name: &str) -> Failure {
    Failure::failed(format_args!("nn {name} is not built yet"))
}
