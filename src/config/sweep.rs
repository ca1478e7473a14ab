//! `nn sweep`: many runs from one configuration.
//!
//! ```text
//! sweep.toml ─┬─ options of all runs ─┐
//!             ├─ [grid], [random] ────┼─ SweepRun: the options of one run ─ validate ─ TrainConfig
//! --seeds, ───┴─ [sweep] ─────────────┘
//! --folds          [halving] ─ Halving
//! ```

mod plan;
mod values;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::base::{self, Base};
use super::defaults::available_threads;
use super::environment::Environment;
use super::file::{parse_beside, text_of};
use super::limits::{MAX_FOLDS, MAX_RUNS, MAX_THREADS};
use super::metrics::MetricsConfig;
use super::option::{derived, unset};
use super::options::{ConfigOptions, TrainOptions};
use super::origins::{Origin, Origins};
use super::print::print;
use super::run_file;
use super::security::{ServerSecurity, ServerSecurityConfig, ServerSecurityOptions};
use super::settings::validate;
use super::table::{Options as _, options};
use super::train::{Asked, TrainArgs, TrainConfig, no_threads};
use crate::failure::Failure;

pub(crate) use plan::Halving;
use plan::{Drawn, TABLES};

options! {
    /// What `nn sweep` is told beside the options of its runs. Those of the heading "Sweep" may stand in the table
    /// `[sweep]` of the file.
    SweepOptions => Sweep {
        group security: ServerSecurityOptions => ServerSecurity;
        "Sweep" {
            /// Address and port to listen on for workers, such as 0.0.0.0:7654, which then train the runs
            listen: Option<String> = unset().takes("ADDR").example("0.0.0.0:7654".into()).common();
            /// Repeat every run with N seeds: its own, and those that follow
            seeds: Option<u64> = unset().within(1..=MAX_RUNS).example(3).common();
            /// Cross-validation: divide the training samples into N parts, and repeat every run with each held out
            folds: Option<usize> = unset().within(2..=MAX_FOLDS as u64).example(5).common();
            /// Runs side by side
            parallel: Option<usize> = derived("as many as there are threads, with one thread each")
                .within(1..=MAX_THREADS)
                .example(2)
                .common();
        }
    }
}

/// Flags of `nn sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The sweep's own options.
    #[command(flatten)]
    pub options: SweepOptions,
    /// The options of its runs.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// `nn sweep`, checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SweepConfig {
    /// The runs, in order. There is at least one.
    pub runs: Vec<SweepRun>,
    /// Successive halving, if it is asked for.
    pub(crate) halving: Option<Halving>,
    /// The folder for the runs.
    pub out: PathBuf,
    /// Whether `out` is the default, which gets a number if it holds a sweep.
    pub numbered: bool,
    /// Whether to go on with the sweep in `out`.
    pub resume: bool,
    /// Whether to replace the sweep in `out`.
    pub overwrite: bool,
    /// Whether to print only warnings and errors.
    pub quiet: bool,
    /// Whether to print the results as JSON at the end, and no text for people: `quiet` is true as well.
    pub json: bool,
    /// The address to listen on for workers, and who may join; `None` to train here.
    pub listen: Option<(String, ServerSecurityConfig)>,
    /// Runs side by side, and the threads of each.
    pub parallel: (usize, NonZeroUsize),
    /// Whether the two were asked for.
    pub parallel_given: bool,
    /// The figures for Prometheus.
    pub metrics: MetricsConfig,
}

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct SweepRun {
    /// The number of its configuration, from 0: runs that differ only in seed and fold have the same.
    pub configuration: usize,
    /// The options in which configurations differ, with their values in TOML.
    pub options: Vec<(String, String)>,
    /// The seed, if there are several.
    pub seed: Option<u64>,
    /// The fold, if there are several.
    pub fold: Option<usize>,
    given: TrainOptions,
    origins: Origins,
    /// The model that all runs begin with.
    base: Option<Arc<Base>>,
}

impl SweepRun {
    /// What distinguishes the run, for people to read.
    #[must_use]
    pub fn in_words(&self) -> String {
        let options = self.options.iter().map(|(key, value)| format!("{key}={}", plain(value)));
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        let fold = self.fold.map(|fold| format!("fold={fold}"));
        options.chain(seed).chain(fold).collect::<Vec<_>>().join(" ")
    }

    /// The model that the run begins with, if it is not to be random weights.
    pub(crate) fn base(&self) -> Option<&Base> {
        self.base.as_deref()
    }

    /// The run in the folder `out`, on `threads` threads.
    ///
    /// # Errors
    /// Exit code 2 if the options do not make a run.
    pub fn config(&self, out: &Path, resume: bool, threads: NonZeroUsize) -> Result<TrainConfig, Failure> {
        let mut given = self.given.clone();
        (given.out, given.resume, given.overwrite) = (Some(out.to_owned()), Some(resume), Some(false));
        let (mut given, mut origins) = run_file::complete(given, self.origins.clone())?;
        if let Some(base) = &self.base {
            base::apply(base, &mut given, &mut origins)?;
        }
        let mut config = TrainConfig::from(validate(&given, &origins)?);
        config.base.clone_from(&self.base);
        (config.quiet, config.threads, config.is_of_sweep) = (true, threads, true);
        Ok(config)
    }
}

/// A value in TOML without quotes and spaces.
pub(crate) fn plain(value: &str) -> String {
    value.chars().filter(|c| !matches!(c, '"' | '\'' | ' ')).collect()
}

impl SweepArgs {
    /// Completes the flags with variables and the file of `--config`, and checks every run.
    ///
    /// # Errors
    /// Exit code 2, naming the flag, the variable or the line to blame.
    pub fn check(self, environment: &Environment) -> Result<Asked<SweepConfig>, Failure> {
        let Self { options, train: TrainArgs { options: flags, source } } = self;
        let (source, origins) = environment.complete(source, None)?;
        let source = source.check(&origins)?;
        let file = source.config.as_deref().map(text_of).transpose()?;
        let (name, text) = file.unwrap_or_default();
        let drawn = Drawn::parse(&name, &text)?;
        let base = parse_beside(&name, &text, &TABLES)?;
        let (mut given, mut origins) = environment.complete(flags, Some(base))?;
        let (options, own) = environment.complete(options, Some(drawn.own(&name)?))?;
        let Sweep { security, listen, seeds, folds, parallel } = options.check(&own)?;
        let security = security.resolve(&own)?;
        if listen.is_none() && security != ServerSecurityConfig::default() {
            return Err(Failure::usage("certificates and tokens have no effect without --listen")
                .help("add --listen, or take them out"));
        }
        let listen = listen.map(|listen| (listen, security));
        if source.print_config {
            let (given, origins, _) = base::complete(given, origins)?;
            return Ok(Asked::Print(print(&validate(&given, &origins)?)?));
        }
        let [resume, overwrite, quiet, json] =
            [&mut given.resume, &mut given.overwrite, &mut given.quiet, &mut given.json]
                .map(|option| option.take().unwrap_or(false));
        if resume && overwrite {
            return Err(Failure::usage("--resume and --overwrite contradict each other")
                .help("--resume goes on with the sweep in the folder, --overwrite destroys it"));
        }
        // The figures are the sweep's, and not those of each of its runs.
        let metrics = std::mem::take(&mut given.metrics).check(&origins)?.resolve(&origins)?;
        let out = given.out.take();
        if out.as_deref().is_some_and(|out| out.as_os_str().is_empty()) {
            return Err(Failure::usage(format_args!("{} names no folder", origins.subject("out")))
                .help("leave it out to write to runs/"));
        }
        let (numbered, out) = (out.is_none(), out.unwrap_or_else(|| Path::new("runs").join("sweep")));
        let threads = given.threads.take();
        if threads == Some(0) {
            return Err(no_threads(&origins.subject("threads")));
        }
        let base = base::read(&given, &mut origins)?;
        let mut runs = drawn.runs(&given, &origins, (seeds, folds))?;
        for run in &mut runs {
            run.base.clone_from(&base);
        }
        if runs.len() == 1 && drawn.is_empty() && seeds.is_none() {
            return Err(Failure::usage("there is nothing to sweep over").help(
                "give the values of an option in the table [grid] or [random] of the file of --config, or --seeds, or \
                 --folds; `nn sweep --help` has an example",
            ));
        }
        for (at, run) in runs.iter().enumerate() {
            let _ = run
                .config(&out, false, NonZeroUsize::MIN)
                .map_err(|failure| failure.within(&format!("run {} ({})", at + 1, run.in_words())))?;
        }
        let parallel_given = parallel.is_some() || threads.is_some();
        let parallel = side_by_side(parallel, threads, runs.len(), available_threads().get());
        if let (Some(_), true) = (&listen, own.of("parallel") != Origin::Default) {
            let text = format_args!("{} has no effect with --listen", own.subject("parallel"));
            return Err(Failure::usage(text).help("a worker has as many runs at once as --threads says"));
        }
        let halving = drawn.halving;
        Ok(Asked::Run(Box::new(SweepConfig {
            runs,
            halving,
            listen,
            out,
            numbered,
            resume,
            overwrite,
            quiet: quiet || json,
            json,
            parallel,
            parallel_given,
            metrics,
        })))
    }

    /// The tables of options that the variables of the environment may set.
    pub(crate) fn entries() -> Vec<super::Entry> {
        [SweepOptions::entries(), ConfigOptions::entries(), TrainOptions::entries()].concat()
    }
}

/// How many of `runs` runs go side by side, and the threads of each, on a machine of `cores`. A thread for each run is
/// best: nothing is divided, so nothing waits.
fn side_by_side(
    parallel: Option<usize>,
    threads: Option<usize>,
    runs: usize,
    cores: usize,
) -> (usize, NonZeroUsize) {
    let parallel = parallel.unwrap_or_else(|| cores / threads.unwrap_or(1)).clamp(1, runs.max(1));
    let threads = threads.unwrap_or_else(|| (cores / parallel).max(1));
    (parallel, NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_has_a_run_and_a_few_runs_have_several_cores() {
        let of = |parallel, threads, runs, cores| {
            let (runs, threads) = side_by_side(parallel, threads, runs, cores);
            (runs, threads.get())
        };
        assert_eq!(of(None, None, 32, 8), (8, 1));
        assert_eq!(of(None, None, 3, 8), (3, 2));
        assert_eq!(of(Some(4), None, 32, 8), (4, 2));
        assert_eq!(of(Some(4), Some(1), 32, 8), (4, 1));
        assert_eq!(of(None, Some(4), 32, 8), (2, 4));
        assert_eq!(of(None, Some(16), 32, 8), (1, 16));
        assert_eq!(of(Some(9), None, 4, 2), (4, 1));
    }
}
