//! The command line of `nn`: flags are parsed into the raw arguments of a command, checked, and handed on.

pub mod args;
mod certs;
mod cluster;
mod dispatch;
mod doctor;
mod manual;
mod security;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use args::{BenchArgs, EvalArgs, FetchArgs, PredictArgs, ReplayArgs};
pub use certs::{CertsArgs, CertsConfig};
pub use cluster::{CoordArgs, CoordConfig, StatusArgs, StatusConfig, WorkerArgs, WorkerConfig};
pub use doctor::{DoctorArgs, DoctorConfig};
pub use security::{ClientSecurityArgs, ClientSecurityConfig, ServerSecurityArgs, ServerSecurityConfig};

use crate::config::{DataOptions, TrainArgs, TrainOptions, defaults};
use crate::failure::Failure;

/// Train feedforward neural networks, with the same bits on one thread or many machines
///
/// With no options, `nn train` learns to read handwritten digits that come with the program.
#[derive(Debug, Parser)]
#[command(name = "nn", version, arg_required_else_help = true, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The exit codes, as `nn --help` and the manual tell them.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 bad data, 4 network or \
                          peer, 130 interrupted before a checkpoint could be written.";

/// The commands of `nn`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network
    Train(Box<TrainArgs>),
    /// Tell how well a trained network does on the test samples of a data set
    Eval(EvalArgs),
    /// Let a trained network answer
    Predict(PredictArgs),
    /// Compute steps of a run again, and tell whether the weights are those in its log
    Replay(ReplayArgs),
    /// Tell what a coordinator's run is at
    Status(StatusArgs),
    /// Look at this machine, and at the path to a coordinator, and say what to do about what is found
    Doctor(DoctorArgs),
    /// Make a private CA and the certificates, or a token, that let workers in
    Certs(CertsArgs),
    /// Fetch a public data set into the cache
    Fetch(FetchArgs),
    /// Write completions for a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual: nn.1, nn-train.1, nn-coord.1 and so on into a folder, or the page of nn to standard output
    Man {
        /// Folder for the pages, made if it does not exist
        #[arg(long, value_name = "DIR")]
        out: Option<std::path::PathBuf>,
    },
    /// Measure the steps of training on made-up data
    #[command(hide = true)]
    Bench(BenchArgs),
}

/// Adds to the help of every training option its default, which an `Option` field cannot show by itself.
///
/// To be called on the command of every program that flattens [`TrainArgs`]. Training options are told by their
/// names and by having a heading: the other commands have options of the same names, such as the required --data
/// of `nn eval`, whose defaults differ.
pub fn show_defaults(command: clap::Command) -> clap::Command {
    show_defaults_of(command, &TrainOptions::keys())
}

/// The same for some of them.
fn show_defaults_of(command: clap::Command, keys: &[String]) -> clap::Command {
    let command = command.mut_args(|argument| {
        let long = argument.get_long().filter(|_| argument.get_help_heading().is_some());
        let words = long.filter(|long| keys.iter().any(|key| key == long)).and_then(defaults::in_words);
        match (words, argument.get_help()) {
            (Some(words), Some(help)) => {
                let help = format!("{help} [default: {words}]");
                argument.help(help)
            }
            _ => argument,
        }
    });
    command.mut_subcommands(|command| show_defaults_of(command, keys))
}

/// The whole command line, for parsing, completions and the manual.
pub fn command() -> clap::Command {
    show_defaults(Cli::command())
}

/// The command line of `nn-coord`.
fn coord_command() -> clap::Command {
    show_defaults(CoordArgs::command())
}

/// The command line of `nn-worker`.
fn worker_command() -> clap::Command {
    show_defaults_of(WorkerArgs::command(), &DataOptions::keys())
}

/// Parses a program's arguments, the program's name first; what is not to be run is printed, and gives the exit code.
fn parse<P: FromArgMatches>(
    command: clap::Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<P, ExitCode> {
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| P::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // Help and version are "errors" too, with exit code 0. A closed pipe does not matter here.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs `nn` with the arguments given, the program's name first, and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse::<Cli>(command(), arguments) {
        Ok(cli) => exit_code(dispatch::run(cli.command)),
        Err(code) => code,
    }
}

/// Runs `nn-coord`.
pub fn coord_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse::<CoordArgs>(coord_command(), arguments) {
        Ok(args) => exit_code(dispatch::coord(args)),
        Err(code) => code,
    }
}

/// Runs `nn-worker`.
pub fn worker_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse::<WorkerArgs>(worker_command(), arguments) {
        Ok(args) => exit_code(dispatch::worker(args)),
        Err(code) => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
        coord_command().debug_assert();
        worker_command().debug_assert();
    }

    #[test]
    fn every_option_of_the_cluster_has_a_heading() {
        for command in [coord_command(), worker_command()] {
            for argument in command.get_arguments().filter(|argument| argument.get_long().is_some()) {
                let long = argument.get_long().unwrap();
                let heading = argument.get_help_heading();
                assert!(heading.is_some(), "--{long} of {} has no heading", command.get_name());
            }
        }
    }

    #[test]
    fn every_training_option_is_a_key_of_the_file_and_the_other_way_round() {
        let command = command();
        let train = command.find_subcommand("train").unwrap();
        let mut flags: Vec<&str> = train
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .filter(|long| !["config", "print-config", "help"].contains(long))
            .collect();
        let mut keys = TrainOptions::keys();
        flags.sort_unstable();
        keys.sort_unstable();
        assert_eq!(flags, keys);
    }

    #[test]
    fn every_training_option_has_a_heading_and_shows_its_default() {
        let command = command();
        let train = command.find_subcommand("train").unwrap();
        for argument in train.get_arguments().filter(|argument| argument.get_long().is_some()) {
            let long = argument.get_long().unwrap();
            assert!(argument.get_help_heading().is_some() || long == "help", "--{long} has no heading");
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty() && !help.contains("DataOptions"), "--{long}: {help:?}");
            if let Some(words) = defaults::in_words(long) {
                assert!(help.ends_with(&format!("[default: {words}]")), "--{long}: {help:?}");
            }
        }
        for (key, _) in defaults::table() {
            assert!(TrainOptions::keys().iter().any(|known| known == key), "{key} is no option");
        }
    }
}
