//! A command of a document as a call of one of the three programs.

use std::process::Command;

use crate::common::{Place, Ran};
use crate::document::ShellCommand;

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Nn,
    Coord,
    Worker,
}

impl Program {
    /// The program with this name.
    fn named(name: &str) -> Option<Self> {
        match name {
            "nn" => Some(Self::Nn),
            "nn-coord" => Some(Self::Coord),
            "nn-worker" => Some(Self::Worker),
            _ => None,
        }
    }

    /// The path of the binary under test.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Nn => env!("CARGO_BIN_EXE_nn"),
            Self::Coord => env!("CARGO_BIN_EXE_nn-coord"),
            Self::Worker => env!("CARGO_BIN_EXE_nn-worker"),
        }
    }
}

/// A program and its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The document and the line, for messages.
    pub(crate) at: String,
    pub(crate) program: Program,
    pub(crate) arguments: Vec<String>,
}

impl Invocation {
    /// The program that a command runs, directly or through cargo, Docker, kubectl or Slurm.
    pub(crate) fn of(command: &ShellCommand) -> Option<Self> {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        if let Some(options) = words.iter().find_map(|word| word.strip_prefix("NN_OPTIONS=")) {
            return Some(Self::coordinator(&command.at, options.split_whitespace()));
        }
        let last = || words.iter().rposition(|word| Program::named(word).is_some());
        let ours = match words[..] {
            ["cargo", "run", "--release", "--", ..] => return Self::new(&command.at, "nn", &words[4..]),
            ["sbatch", ..] => {
                let script = words.iter().position(|word| word.ends_with("nn.sbatch"))?;
                return Some(Self::coordinator(&command.at, words[script + 1..].iter().copied()));
            }
            ["docker" | "docker-compose", ..] if words.contains(&"exec") || words.contains(&"run") => {
                &words[last()?..]
            }
            ["kubectl", ..] => &words[words.iter().position(|&word| word == "--")? + 1..],
            _ => &words[..],
        };
        Self::new(&command.at, ours.first()?, &ours[1..])
    }

    fn new(at: &str, name: &str, arguments: &[&str]) -> Option<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Some(Self { at: at.to_owned(), program: Program::named(name)?, arguments })
    }

    /// A coordinator with training options.
    pub(crate) fn coordinator<'a>(at: &str, options: impl Iterator<Item = &'a str>) -> Self {
        let arguments = ["--listen", "127.0.0.1:0"].into_iter().chain(options).map(str::to_owned).collect();
        Self { at: at.to_owned(), program: Program::Coord, arguments }
    }

    /// The subcommand of `nn`.
    pub(crate) fn subcommand(&self) -> Option<&str> {
        self.arguments.first().filter(|_| self.program == Program::Nn).map(String::as_str)
    }

    /// Whether it trains a network.
    pub(crate) fn trains(&self) -> bool {
        self.program == Program::Coord || self.subcommand() == Some("train")
    }

    /// The value of an option, by its long name.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let at = self.arguments.iter().position(|argument| argument == name)?;
        self.arguments.get(at + 1).map(String::as_str)
    }

    /// The same on one thread, if it trains or is a worker: they share the processors, and the law says that threads do not
    /// change the result.
    pub(crate) fn on_one_thread(mut self) -> Self {
        if (self.trains() || self.program == Program::Worker) && self.option("--threads").is_none() {
            self.arguments.extend(["--threads", "1"].map(str::to_owned));
        }
        self
    }

    /// The same with at most `limit` epochs, if the options name a number of epochs.
    pub(crate) fn with_epochs_at_most(mut self, limit: u32) -> Self {
        let value = self.arguments.iter().position(|argument| argument == "--epochs").map(|at| at + 1);
        if let Some(epochs) = value.and_then(|at| self.arguments.get_mut(at)) {
            let wanted: u32 = epochs.parse().expect("a number of epochs");
            *epochs = wanted.min(limit).to_string();
        }
        self
    }

    /// The training options: everything from `--data` on.
    pub(crate) fn training_options(&self) -> Option<String> {
        let start = self.arguments.iter().position(|argument| argument == "--data")?;
        Some(self.arguments[start..].join(" "))
    }

    /// Has the program parse the command, and check it as far as it can without running it.
    pub(crate) fn parse(&self, place: &Place) -> Ran {
        let last = if self.trains() { "--print-config" } else { "--help" };
        let mut command = Command::new(self.program.path());
        command.current_dir(place.path()).args(&self.arguments);
        if !self.arguments.iter().any(|argument| argument == last) {
            command.arg(last);
        }
        command.output().unwrap().into()
    }

    /// An option of the run that a training command begins, such as `out`, from its printed configuration.
    #[track_caller]
    pub(crate) fn configured(&self, place: &Place, key: &str) -> String {
        let printed = self.parse(place).ok().stdout;
        // The default folder is shown as an example only.
        let named = |line: &str| {
            line.strip_prefix("# ").unwrap_or(line).strip_prefix(&format!("{key} = ")).map(str::to_owned)
        };
        let found = printed.lines().find_map(named);
        let value = &found.unwrap_or_else(|| panic!("{}: no {key} in {printed}", self.at));
        // A comment behind the value says where it came from.
        value.split_once("  #").map_or(value.as_str(), |(value, _)| value).trim_matches('"').to_owned()
    }
}
