//! The runs of a sweep, checked against their data.

use std::num::NonZeroUsize;
use std::path::Path;

use nn_data::LoadOptions;
use nn_engine::Manifest;

use super::folder::SweepFolder;
use super::rank::By;
use crate::commands::is_pipe;
use crate::commands::train::{Data, planned};
use crate::config::{SweepConfig, SweepRun};
use crate::failure::Failure;
use crate::memory;
use crate::show::counted;
use crate::signals::StopFlag;

/// The runs of a sweep, all of which can begin.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) runs: Vec<Planned>,
    /// The figure that compares them.
    pub(super) by: By,
    readings: Vec<Reading>,
}

/// A run that can begin.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) run: SweepRun,
    /// What decides its weights; the epochs may be open, if a time is given.
    pub(super) manifest: Manifest,
    /// The text of its `run.toml`.
    pub(super) options: String,
    pub(super) keep_checkpoints: usize,
    /// Its data, among those of the plan.
    reading: usize,
}

/// Data, and how it was read.
#[derive(Debug)]
struct Reading {
    source: String,
    options: LoadOptions,
    data: Data,
}

impl Planned {
    /// Which of the plan's data it has.
    pub(super) fn reading(&self) -> usize {
        self.reading
    }
}

impl Plan {
    /// Loads the data of all runs, each reading of it once, and checks every run against it.
    pub(super) fn check(config: &SweepConfig, stop: &StopFlag) -> Result<Self, Failure> {
        let mut readings: Vec<Reading> = Vec::new();
        let mut runs = Vec::new();
        for (at, run) in config.runs.iter().enumerate() {
            let within = |failure: Failure| failure.within(&format!("run {} ({})", at + 1, run.in_words()));
            let mut asked = run.config(&config.out, false, NonZeroUsize::MIN)?;
            asked.quiet = config.quiet;
            if config.listen.is_some() && asked.max_seconds().is_some() {
                let failure = Failure::usage("max-seconds has no effect on workers, which are not alike");
                return Err(within(failure).help("give epochs instead"));
            }
            let options = Data::options(&asked);
            let same = |reading: &Reading| reading.source == asked.data && reading.options == options;
            let reading = match readings.iter().position(same) {
                Some(reading) => reading,
                None => {
                    if is_pipe(Path::new(&asked.data)) && readings.iter().any(|r| r.source == asked.data) {
                        return Err(Failure::usage(format_args!(
                            "the runs read {} in several ways, but a pipe can be read only once",
                            asked.data
                        ))
                        .help("write it to a file first"));
                    }
                    let data = Data::load(&asked, stop).map_err(within)?;
                    readings.push(Reading { source: asked.data.clone(), options, data });
                    readings.len() - 1
                }
            };
            let (manifest, text) = planned(&asked, &readings[reading].data).map_err(within)?;
            let (run, keep_checkpoints) = (run.clone(), asked.keep_checkpoints);
            runs.push(Planned { run, manifest, options: text, keep_checkpoints, reading });
            if stop.is_set() {
                return Err(Failure::interrupted("interrupted before the first run began"));
            }
        }
        let needs = runs.iter().map(|run| memory::Need::of(&run.manifest, config.parallel.1.get()));
        if let Some(most) = needs.max_by_key(memory::Need::bytes) {
            let parallel = if config.listen.is_some() { 1 } else { config.parallel.0 };
            most.times(parallel).check(memory::left(Path::new("/"))).map_err(|failure| {
                let help = "use a smaller --parallel";
                failure.within(&format!("{parallel} runs side by side, counted as one")).help(help)
            })?;
        }
        let by = By::of(readings.iter().map(|reading| &reading.data));
        Ok(Self { runs, by, readings })
    }

    /// All data.
    pub(super) fn readings(&self) -> impl Iterator<Item = &Data> {
        self.readings.iter().map(|reading| &reading.data)
    }

    /// The data of a run.
    pub(super) fn data(&self, run: usize) -> &Data {
        &self.readings[self.runs[run].reading].data
    }

    /// The epochs of a run.
    pub(super) fn epochs(&self, run: usize) -> u64 {
        u64::from(self.runs[run].manifest.recipe().epochs)
    }

    /// The number of configurations.
    pub(super) fn configurations(&self) -> usize {
        self.runs.last().map_or(0, |last| last.run.configuration + 1)
    }

    /// What is going to happen.
    pub(super) fn in_words(&self, config: &SweepConfig, folder: &SweepFolder) -> String {
        let mut text = String::new();
        for reading in &self.readings[..1.min(self.readings.len())] {
            for remark in reading.data.remarks() {
                text += &format!("{remark}\n");
            }
        }
        let repeats = match self.runs.len() / self.configurations().max(1) {
            1 => String::new(),
            repeats => format!(" of {}, {repeats} of each", counted(self.configurations(), "configuration")),
        };
        let (parallel, threads) = config.parallel;
        let side = match parallel {
            _ if config.listen.is_some() => "on the threads of workers".to_owned(),
            1 => "one after the other".to_owned(),
            _ => format!("{parallel} side by side"),
        };
        let flags = if config.parallel_given { "" } else { "; --parallel N changes that" };
        let each = match config.listen {
            Some(_) => String::new(),
            None => format!(", each on {}{flags}", counted(threads.get(), "thread")),
        };
        text += &format!(
            "{}{repeats}, {side}{each}; compared by {}; the folder is {}",
            counted(self.runs.len(), "run"),
            self.by.in_words(),
            folder.path().display()
        );
        if let Some(halving) = config.halving {
            text += &format!(
                "\nsuccessive halving: one of {} configurations goes on after {}, and so on",
                halving.factor,
                counted(usize::try_from(halving.min_epochs).unwrap_or(usize::MAX), "epoch")
            );
        }
        text
    }
}
