use std::collections::BTreeSet;

use super::*;
use crate::config::{
    ConfigOptions, CoordOptions, Entry, LrFindOptions, Options, PlanOptions, ServeOptions, SweepOptions,
    TrainOptions, WorkerOptions,
};

/// Every table of options that a program has, with the program.
fn tables() -> Vec<(clap::Command, Vec<Entry>)> {
    let train = [ConfigOptions::entries(), TrainOptions::entries()].concat();
    let of_nn = |name| command::nn().find_subcommand(name).unwrap().clone();
    vec![
        (of_nn("train"), train.clone()),
        (of_nn("plan"), [PlanOptions::entries(), train.clone()].concat()),
        (of_nn("lr-find"), [LrFindOptions::entries(), train.clone()].concat()),
        (of_nn("sweep"), [SweepOptions::entries(), train.clone()].concat()),
        (of_nn("serve"), ServeOptions::entries()),
        (command::coord(), [CoordOptions::entries(), train].concat()),
        (command::worker(), WorkerOptions::entries()),
    ]
}

#[test]
fn the_command_lines_are_consistent() {
    command::nn().debug_assert();
    command::coord().debug_assert();
    command::worker().debug_assert();
}

#[test]
fn every_option_of_a_program_has_an_entry() {
    for (command, entries) in tables() {
        let flags: BTreeSet<&str> = command
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .filter(|long| !["help", "version", "color"].contains(long))
            .collect();
        let keys: BTreeSet<&str> = entries.iter().map(|entry| entry.key).collect();
        assert_eq!(flags, keys, "{}", command.get_name());
        assert_eq!(keys.len(), entries.len(), "a key of {} is there twice", command.get_name());
    }
}

#[test]
fn every_option_has_a_heading_and_a_help_that_says_its_default() {
    for (command, entries) in tables() {
        for entry in entries {
            let name = format!("--{} of {}", entry.key, command.get_name());
            let help = entry.description();
            assert!(help.len() > 10 && !help.contains("  ") && !help.contains('`'), "{name}: {help:?}");
            assert!(help.starts_with(|c: char| c.is_uppercase()), "{name}: {help:?}");
            if let Some(words) = &entry.default {
                assert!(help.ends_with(&format!("[default: {words}]")), "{name}: {help:?}");
            }
            let argument = command.get_arguments().find(|argument| argument.get_long() == Some(entry.key));
            assert_eq!(argument.unwrap().get_help_heading(), Some(entry.heading), "{name}");
        }
    }
}

#[test]
fn the_short_help_fits_a_screen() {
    let train = command::nn().find_subcommand("train").unwrap().clone();
    let plan = command::nn().find_subcommand("plan").unwrap().clone();
    let find = command::nn().find_subcommand("lr-find").unwrap().clone();
    let serve = command::nn().find_subcommand("serve").unwrap().clone();
    for command in [train, plan, find, serve, command::coord(), command::worker()] {
        let help = command.term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 35, "{} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
