//! The programs: their command lines are parsed, checked by `config`, and handed to `commands`.

mod command;
mod dispatch;
mod manual;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches;

pub use command::{Cli, Command, CoordCli, WorkerCli};

use crate::config::Environment;
use crate::failure::Failure;
use crate::show;
use crate::signals;

/// Runs `nn` with the arguments given, the program's name first, and gives the exit code.
///
/// A link or copy with the name of `nn-coord` or `nn-worker` is that program: an image needs to be linked, and to hold, one file.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().and_then(|program| Path::new(program).file_stem());
    match name.and_then(|name| name.to_str()) {
        Some("nn-coord") => coord_main(arguments),
        Some("nn-worker") => worker_main(arguments),
        _ => run(command::nn(), arguments, |cli: Cli, environment| dispatch::nn(cli.command, environment)),
    }
}

/// Runs `nn-coord`.
pub fn coord_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run(command::coord(), arguments, |cli: CoordCli, environment| dispatch::coord(cli.args, environment))
}

/// Runs `nn-worker`.
pub fn worker_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run(command::worker(), arguments, |cli: WorkerCli, environment| {
        dispatch::worker(cli.options, environment)
    })
}

/// Parses a program's arguments and does what they ask for.
fn run<P: FromArgMatches>(
    command: clap::Command,
    arguments: impl IntoIterator<Item = OsString>,
    work: impl FnOnce(P, &Environment) -> Result<(), Failure>,
) -> ExitCode {
    // What its reader says of a damaged file is an error with a message of its own.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(nn_data::PARQUET_THREAD) {
            usual(panic);
        }
    }));
    // A library that was loaded before may have left another mode, which all threads would inherit.
    nn_core::set_float_mode();
    signals::fail_on_abort();
    let environment = Environment::of_process();
    let command = satisfied(command, &environment);
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| {
        show::use_color(command::color(&matches));
        P::from_arg_matches(&matches)
    });
    match parsed.map(|parsed| work(parsed, &environment)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        Err(error) => {
            // Help and version are "errors" too, with exit code 0. A closed pipe does not matter here.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// The command without the demand for flags that variables replace. Of the commands below `nn` only `nn serve` reads a variable
/// that is required.
fn satisfied(command: clap::Command, environment: &Environment) -> clap::Command {
    let satisfy = |command: clap::Command| {
        command.mut_args(|argument| {
            let given = argument.get_long().is_some_and(|key| environment.has(key));
            if given { argument.required(false) } else { argument }
        })
    };
    let has_commands = command.has_subcommands();
    let command = satisfy(command);
    if has_commands { command.mut_subcommand("serve", satisfy) } else { command }
}

#[cfg(test)]
mod tests;
