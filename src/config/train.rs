//! A run: from the flags of a program that trains to the configuration that the work takes.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nn_core::ScheduleShape;

use super::base::{self, Base};
use super::choice::{OptimizerName, RecipeName, ScheduleName, Standardize};
use super::dashboard::{DashboardConfig, PageAddress};
use super::defaults::{available_threads, default_out};
use super::design::Design;
use super::environment::Environment;
use super::event_folder::EventFolder;
use super::file;
use super::limits::MAX_THREADS;
use super::metrics::MetricsConfig;
use super::options::{ConfigOptions, DataFormat, Train, TrainOptions};
use super::origins::Origin;
use super::print::print;
use super::recipes::Facts;
use super::rounds::RoundSteps;
use super::run_file;
use super::security::ServerSecurityConfig;
use super::settings::{Settings, validate};
use super::table::Options as _;
use crate::failure::Failure;
use crate::show::shell_path_flag;

/// The flags of a program that trains.
#[derive(Debug, Clone, Default, Args)]
pub struct TrainArgs {
    /// The options of the run.
    #[command(flatten)]
    pub options: TrainOptions,
    /// The configuration file.
    #[command(flatten)]
    pub source: ConfigOptions,
}

/// What the user of a program that trains asks for.
#[derive(Debug, Clone)]
pub enum Asked<C> {
    /// To see the configuration: this text.
    Print(String),
    /// To train.
    Run(Box<C>),
}

impl TrainArgs {
    /// Completes the flags with variables and the file of `--config`, and checks the outcome.
    ///
    /// # Errors
    /// Exit code 2, naming the flag, the variable or the line to blame.
    pub fn check(self, environment: &Environment) -> Result<Asked<TrainConfig>, Failure> {
        self.check_with(environment, computing)
    }

    /// [`TrainArgs::check`] for a coordinator, which may compute with no threads.
    ///
    /// # Errors
    /// As there.
    pub(super) fn check_of_coordinator(
        self,
        environment: &Environment,
    ) -> Result<Asked<TrainConfig>, Failure> {
        self.check_with(environment, Ok)
    }

    fn check_with(
        self,
        environment: &Environment,
        finally: impl FnOnce(Settings) -> Result<Settings, Failure>,
    ) -> Result<Asked<TrainConfig>, Failure> {
        let (source, origins) = environment.complete(self.source, None)?;
        let source = source.check(&origins)?;
        let file = source.config.as_deref().map(file::read).transpose()?;
        let (options, origins) = environment.complete(self.options, file)?;
        let (options, origins) = run_file::complete(options, origins)?;
        let (options, origins, base) = base::complete(options, origins)?;
        let settings = finally(validate(&options, &origins)?)?;
        if source.print_config {
            return Ok(Asked::Print(print(&settings)?));
        }
        Ok(Asked::Run(Box::new(TrainConfig { base, ..settings.into() })))
    }
}

/// Settings for a program that computes itself, and so needs a thread. A coordinator's run that had none may be resumed.
fn computing(mut settings: Settings) -> Result<Settings, Failure> {
    let Settings { options, origins, .. } = &mut settings;
    if options.threads > 0 {
        return Ok(settings);
    }
    match origins.of("threads") {
        Origin::Run(_) => options.threads = available_threads().get(),
        _ => return Err(no_threads(&origins.subject("threads"))),
    }
    Ok(settings)
}

/// The refusal of 0 threads.
pub(super) fn no_threads(subject: &str) -> Failure {
    Failure::usage(format_args!("{subject} must be at least 1 and at most {MAX_THREADS}, not 0"))
        .help("the default is all of the machine's; only a coordinator leaves all computing to others")
}

/// A run, checked: what the work takes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrainConfig {
    /// `digits`, `mnist`, `fashion-mnist` or a path.
    pub data: String,
    /// How to read the data.
    pub format: DataFormat,
    /// The model to begin with, if it is not to be random weights.
    pub base: Option<Arc<Base>>,
    /// Epochs between two evaluations, at least 1.
    pub eval_every: u32,
    /// Whether to measure the gradient noise scale.
    pub noise_scale: bool,
    /// The folder for the event files of TensorBoard, if they are wanted.
    pub tensorboard: Option<EventFolder>,
    /// The figures for Prometheus.
    pub metrics: MetricsConfig,
    /// Threads to compute with: all of the machine's, if none are asked for.
    pub threads: NonZeroUsize,
    /// Threads were asked for by number; 0 for a coordinator that only coordinates. `None` by default.
    pub given_threads: Option<usize>,
    /// The folder for the files of the run.
    pub out: PathBuf,
    /// Whether `out` is the default, which gets a number if it holds a run.
    pub numbered: bool,
    /// Whether to replace the run in `out`.
    pub overwrite: bool,
    /// Whether to resume from the newest checkpoint in `out`.
    pub resume: bool,
    /// Seconds between two checkpoints; 0 for none by the clock.
    pub checkpoint_seconds: u64,
    /// Steps between two checkpoints; 0 for none by steps.
    pub checkpoint_steps: u64,
    /// The number of newest checkpoints to keep, at least 1.
    pub keep_checkpoints: usize,
    /// Steps between two hashes in the log; 0 for none.
    pub log_steps: u64,
    /// Whether to print only warnings and errors.
    pub quiet: bool,
    /// Whether to print JSON Lines on standard output, and no text for people: `quiet` is true as well.
    pub json: bool,
    /// Whether lines of progress are among them.
    pub json_progress: bool,
    /// Whether this program coordinates workers.
    pub is_of_coordinator: bool,
    /// Whether the run is one of many, whose results are compared.
    pub is_of_sweep: bool,
    /// The program with what it needs to run again, beside the options of the run; `None` if no shell can take it.
    pub(super) program: Option<String>,
    settings: Settings,
}

impl From<Settings> for TrainConfig {
    fn from(settings: Settings) -> Self {
        // Without `..`: an option that is not used must not compile.
        let Train {
            format,
            learn: _, // used by `for_task`
            data,
            out,
            resume,
            overwrite,
            threads,
            eval_every,
            noise_scale,
            tensorboard,
            metrics,
            dashboard: _, // used by `dashboard`, as the four below
            dashboard_token_file: _,
            dashboard_tls_cert: _,
            dashboard_tls_key: _,
            dashboard_insecure: _,
            quiet,
            json,
            checkpoint_seconds,
            checkpoint_steps,
            keep_checkpoints,
            log_steps,
        } = settings.options.clone();
        Self {
            format,
            base: None,
            out: out.unwrap_or_else(|| default_out(&data)),
            data,
            resume,
            overwrite,
            numbered: settings.numbered,
            threads: NonZeroUsize::new(threads).unwrap_or_else(available_threads),
            given_threads: (settings.origins.of("threads") != Origin::Default).then_some(threads),
            eval_every,
            noise_scale,
            tensorboard,
            metrics: metrics.config(),
            quiet: quiet || json,
            json,
            json_progress: json && !quiet,
            is_of_coordinator: false,
            is_of_sweep: false,
            checkpoint_seconds,
            checkpoint_steps,
            keep_checkpoints,
            log_steps,
            program: Some("nn train".to_owned()),
            settings,
        }
    }
}

impl TrainConfig {
    /// A run that another machine has ordered by the text of its `run.toml`, in a folder of this machine. The data is not
    /// read from where the text says, and neither is the model of `--from`: `model` is its file as it was sent, if the run
    /// begins with one.
    ///
    /// # Errors
    /// Exit code 2 if the text is not that of a run, and 3 if the model cannot be used.
    pub fn ordered(
        text: &str,
        out: &Path,
        (resume, model): (bool, Option<&[u8]>),
        threads: NonZeroUsize,
    ) -> Result<Self, Failure> {
        let (mut options, mut origins) = file::parse("the coordinator's run.toml", text)?;
        let base = match (options.learn.from.clone(), model) {
            (None, None) => None,
            (Some(path), Some(bytes)) => Some(Arc::new(Base::sent(path, bytes)?)),
            (Some(_), None) => {
                return Err(Failure::usage(
                    "the coordinator did not send the model that the run begins with",
                )
                .help("use the same version of nn on both sides"));
            }
            (None, Some(_)) => {
                return Err(Failure::usage("the coordinator sends a model for a run that begins with none"));
            }
        };
        if let Some(base) = &base {
            base::apply(base, &mut options, &mut origins)?;
        }
        (options.out, options.resume, options.overwrite) = (Some(out.to_owned()), Some(resume), Some(false));
        let mut config = Self::from(validate(&options, &origins)?);
        config.base = base;
        (config.quiet, config.threads, config.is_of_sweep) = (true, threads, true);
        Ok(config)
    }

    /// What is trained and how, for data of which these facts are known.
    ///
    /// # Errors
    /// Exit code 2 if what was asked for cannot learn the task.
    pub fn for_data(&self, facts: &Facts) -> Result<Design, Failure> {
        let mut design = self.settings.options.learn.design(facts, &self.settings.origins)?;
        if let Some(rule) = &mut design.recipe.early_stopping {
            rule.every_epochs = self.eval_every;
        }
        if let ScheduleShape::Plateau { every_epochs, .. } = &mut design.recipe.schedule.shape {
            *every_epochs = self.eval_every;
        }
        design.recipe.initial_sha256 = self.base.as_ref().map(|base| base.sha256.clone());
        Ok(design)
    }

    /// The page of the run, if one is wanted.
    ///
    /// # Errors
    /// Exit code 2 if its options do not fit each other.
    pub fn dashboard(&self) -> Result<Option<DashboardConfig>, Failure> {
        let Settings { options, origins, .. } = &self.settings;
        let given = [
            ("dashboard-token-file", options.dashboard_token_file.is_some()),
            ("dashboard-tls-cert", options.dashboard_tls_cert.is_some()),
            ("dashboard-tls-key", options.dashboard_tls_key.is_some()),
            ("dashboard-insecure", options.dashboard_insecure),
        ];
        let Some(PageAddress(listen)) = options.dashboard.clone() else {
            return match given.into_iter().find(|(_, given)| *given) {
                None => Ok(None),
                Some((name, _)) => Err(Failure::usage(format_args!(
                    "{} has no effect without --dashboard",
                    origins.subject(name)
                ))
                .help("add --dashboard, or leave it out")),
            };
        };
        let identity = match (&options.dashboard_tls_cert, &options.dashboard_tls_key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (has_cert, _) => {
                let (given, missing) = match has_cert {
                    Some(_) => ("dashboard-tls-cert", "--dashboard-tls-key"),
                    None => ("dashboard-tls-key", "--dashboard-tls-cert"),
                };
                return Err(Failure::usage(format_args!("{} needs {missing}", origins.subject(given)))
                    .help("nn certs init makes both"));
            }
        };
        let security = ServerSecurityConfig {
            identity,
            token_file: options.dashboard_token_file.clone(),
            insecure: options.dashboard_insecure,
            ..ServerSecurityConfig::default()
        };
        Ok(Some(DashboardConfig { folders: Vec::new(), listen, open: false, security }))
    }

    /// δ for which privacy is counted, if it is given.
    #[must_use]
    pub fn dp_delta(&self) -> Option<f32> {
        self.settings.options.learn.dp_delta
    }

    /// Whether pictures are standardised.
    #[must_use]
    pub fn standardizes_pictures(&self) -> bool {
        self.settings.options.format.standardize == Standardize::Yes
    }

    /// The time for the training in seconds, if the number of epochs is to follow from it.
    #[must_use]
    pub fn max_seconds(&self) -> Option<u64> {
        self.settings.options.learn.max_seconds
    }

    /// The number of epochs, if it is given.
    #[must_use]
    pub fn given_epochs(&self) -> Option<u32> {
        self.settings.options.learn.epochs
    }

    /// Whether a run that is resumed has decided the number of epochs.
    #[must_use]
    pub fn has_epochs_of_run(&self) -> bool {
        matches!(self.settings.origins.of("epochs"), Origin::Run(_))
    }

    /// The run with that number of epochs.
    #[must_use]
    pub fn with_epochs(&self, epochs: u32) -> Self {
        let mut config = self.clone();
        config.settings.options.learn.epochs = Some(epochs);
        config
    }

    /// The number of replicas, if it is given.
    #[must_use]
    pub fn given_replicas(&self) -> Option<u32> {
        self.settings.options.learn.replicas
    }

    /// The run in rounds with so many replicas. What is not given is as `--rounds auto` has it, the optimizer among it, and so is
    /// the schedule if it does not go with rounds.
    #[must_use]
    pub fn in_rounds(&self, replicas: u32) -> Self {
        let mut config = self.clone();
        let Settings { options, origins, .. } = &mut config.settings;
        let learn = &mut options.learn;
        learn.rounds.get_or_insert(RoundSteps(None));
        learn.replicas = Some(replicas);
        if origins.of("optimizer") == Origin::Default {
            learn.optimizer = Some(OptimizerName::Sgd);
        }
        if learn.schedule == Some(ScheduleName::Plateau) {
            learn.schedule = Some(ScheduleName::Wsd);
        }
        config
    }

    /// Whether the number of epochs is the recipe's, which nobody asked for and nobody wants to watch one by one.
    #[must_use]
    pub fn epochs_are_the_recipes(&self) -> bool {
        self.settings.origins.of("epochs") == Origin::Default
    }

    /// The recipe that the defaults come from.
    #[must_use]
    pub fn recipe_for(&self, facts: &Facts) -> RecipeName {
        self.settings.options.learn.recipe_for(facts)
    }

    /// The text of `run.toml`, from which the run resumes by itself.
    ///
    /// # Errors
    /// Exit code 2 if an option is not UTF-8.
    pub fn run_file(&self, design: &Design) -> Result<String, Failure> {
        run_file::text(&self.settings, design)
    }

    /// What the user should hear about how the options came together.
    pub fn notes(&self) -> Vec<&str> {
        self.settings.origins.notes()
    }

    /// The command that resumes the run in `out` by its `run.toml`; `None` if a shell cannot take it as text.
    pub fn resume_command(&self, out: &Path) -> Option<String> {
        Some(format!("{} --resume {}", self.program.as_deref()?, shell_path_flag("out", out)?))
    }
}
