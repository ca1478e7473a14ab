//! What packagers want: shell completions and manual pages, made from the same definition as the help.

use std::fs;
use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;

use super::command;

use crate::failure::{Failure, write_stdout};

/// Writes the completions for a shell to standard output.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    // Into memory first: clap_complete panics where a write fails, as it does on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command::nn(), "nn", &mut script);
    write_stdout(script)
}

/// Writes the page of `nn` to standard output, or the pages of all commands, and of the cluster's programs, into a folder.
pub(super) fn man(out: Option<&Path>) -> Result<(), Failure> {
    let mut command = command::nn();
    command.build();
    let Some(folder) = out else {
        return write_stdout(page(command)?);
    };
    fs::create_dir_all(folder).map_err(|error| {
        Failure::failed(format_args!("cannot make the folder {}: {error}", folder.display()))
            .help("name a folder that you may write to with --out")
    })?;
    let mut commands = vec![command::coord(), command::worker()];
    with_subcommands(&command, &mut commands);
    for command in commands {
        let path = folder.join(Man::new(command.clone()).get_filename());
        fs::write(&path, page(command)?).map_err(|error| {
            Failure::failed(format_args!("cannot write {}: {error}", path.display()))
                .help("name a folder that you may write to with --out")
        })?;
    }
    Ok(())
}

/// A command, and those below it that are not hidden.
fn with_subcommands(command: &clap::Command, found: &mut Vec<clap::Command>) {
    found.push(command.clone());
    let below = command.get_subcommands();
    for command in below.filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        with_subcommands(command, found);
    }
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::failed(format_args!("cannot make the manual page: {error}")))?;
    Ok(page)
}
