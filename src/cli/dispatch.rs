//! From parsed arguments to the work: every command is checked first, then run.

use super::command::Command;
use super::manual;
use crate::commands;
use crate::config::{
    Asked, ConfigOptions, CoordArgs, CoordOptions, DataCommand, Environment, LrFindArgs, Options, PlanArgs,
    ServeOptions, SweepArgs, TrainArgs, TrainOptions, WorkerOptions,
};
use crate::failure::{Failure, write_stdout};
use crate::progress::warn;

/// Runs a command of `nn`.
pub(super) fn nn(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::Train(raw) => train(*raw, environment),
        Command::LrFind(raw) => lr_find(*raw, environment),
        Command::Sweep(raw) => sweep(*raw, environment),
        Command::Eval(raw) => commands::eval(&raw.check()?),
        Command::Predict(raw) => commands::predict(&raw.check()?),
        Command::Serve(raw) => serve(*raw, environment),
        Command::Export(raw) => commands::export(&raw),
        Command::Import(raw) => commands::import(&raw.check()?),
        Command::Replay(raw) => commands::replay(&raw.check()?),
        Command::Report(raw) => commands::report(&raw),
        Command::Dashboard(raw) => commands::dashboard(&raw.into_config()),
        Command::Runs(raw) => commands::runs(&raw),
        Command::Data(DataCommand::Show(raw)) => commands::data_show(&raw.check()?),
        Command::Fetch(raw) => commands::fetch(&raw),
        Command::Status(raw) => commands::status(&raw.check()?),
        Command::Plan(raw) => plan(*raw, environment),
        Command::Certs(raw) => commands::certs(&raw.check()?),
        Command::Doctor(raw) => commands::doctor(&raw.check()?),
        Command::Bench(raw) => commands::bench(&raw.check()?),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { out } => manual::man(out.as_deref()),
    }
}

fn train(raw: TrainArgs, environment: &Environment) -> Result<(), Failure> {
    let entries = [ConfigOptions::entries(), TrainOptions::entries()].concat();
    environment.misspelt(&entries).iter().for_each(warn);
    match raw.check(environment)? {
        Asked::Print(text) => write_stdout(text),
        Asked::Run(config) => commands::train(&config),
    }
}

fn lr_find(raw: LrFindArgs, environment: &Environment) -> Result<(), Failure> {
    let entries = [ConfigOptions::entries(), TrainOptions::entries()].concat();
    environment.misspelt(&entries).iter().for_each(warn);
    match raw.check(environment)? {
        Asked::Print(text) => write_stdout(text),
        Asked::Run(config) => commands::lr_find(&config),
    }
}

fn plan(raw: PlanArgs, environment: &Environment) -> Result<(), Failure> {
    let entries = [ConfigOptions::entries(), TrainOptions::entries()].concat();
    environment.misspelt(&entries).iter().for_each(warn);
    match raw.check(environment)? {
        Asked::Print(text) => write_stdout(text),
        Asked::Run(config) => commands::plan(&config),
    }
}

fn sweep(raw: SweepArgs, environment: &Environment) -> Result<(), Failure> {
    environment.misspelt(&SweepArgs::entries()).iter().for_each(warn);
    match raw.check(environment)? {
        Asked::Print(text) => write_stdout(text),
        Asked::Run(config) => commands::sweep(&config),
    }
}

fn serve(raw: ServeOptions, environment: &Environment) -> Result<(), Failure> {
    environment.misspelt(&ServeOptions::entries()).iter().for_each(warn);
    commands::serve(&raw.resolve(environment)?)
}

/// Runs a coordinator.
pub(super) fn coord(raw: CoordArgs, environment: &Environment) -> Result<(), Failure> {
    let entries = [CoordOptions::entries(), ConfigOptions::entries(), TrainOptions::entries()].concat();
    environment.misspelt(&entries).iter().for_each(warn);
    match raw.check(environment)? {
        Asked::Print(text) => write_stdout(text),
        Asked::Run(config) => commands::coord(&config),
    }
}

/// Runs a worker.
pub(super) fn worker(raw: WorkerOptions, environment: &Environment) -> Result<(), Failure> {
    environment.misspelt(&WorkerOptions::entries()).iter().for_each(warn);
    commands::worker(&raw.resolve(environment)?)
}
