//! `nn train`: data and configuration in, a trained model out.

mod budget;
mod choice;
mod conclusion;
mod data;
mod description;
mod evaluator;
mod events;
mod feed;
mod log;
mod meter;
mod noise;
mod observer;
mod outlets;
mod output;
mod probe;
mod raw;
mod recorder;
mod resume;
mod stage;
mod vigil;
mod writer;

use std::path::Path;
use std::sync::Arc;

use nn_core::{Dataset, Features, InputScale, Workspace};
use nn_engine::{Cluster, Compute, Engine, Generation, Manifest, ManifestParts, Outcome, local};

use self::conclusion::Finished;
pub(in crate::commands) use self::data::Data;
pub(in crate::commands) use self::description::beginning;
use self::description::description;
use self::evaluator::Evaluator;
use self::events::Events;
pub(in crate::commands) use self::feed::line as json_line;
use self::feed::{Feed, Start};
use self::log::Log;
use self::meter::Meter;
use self::noise::NoiseMeter;
use self::observer::Earlier;
pub(in crate::commands) use self::observer::Watch;
use self::outlets::{Gradients, Outlets};
use self::output::RunFolder;
use self::recorder::Recorder;
use self::resume::resume;
pub(in crate::commands) use self::stage::Stage;
use self::vigil::{Advice, Vigil};
use super::dashboard::{DashboardPort, DashboardServer, Live, Plan};
use super::scrape::{MetricsPort, MetricsServer};
use super::{isa, names, pixels, scale_of, style, threads};
use crate::clock::Clock;
use crate::config::{Facts, RecipeName, Task, TrainConfig};
use crate::failure::Failure;
use crate::memory;
use crate::metrics::{OutputKind, Units, predicted};
use crate::privacy::Privacy;
use crate::progress::{Progress, warn};
use crate::show;
use crate::signals::StopFlag;
use crate::store::InputInfo;
use crate::store::runs::Occupant;
use crate::telemetry::RunFigures;

/// Trains on this machine.
pub(crate) fn train(config: &TrainConfig) -> Result<(), Failure> {
    let job = Job::prepare(config)?;
    let Job { mut engine, mut watch, train, rest } = job;
    let outcome = if watch.is_over() {
        Outcome::Stopped
    } else {
        local::run(&mut engine, &train, &mut watch).map_err(Failure::data)?
    };
    rest.conclude(config, &engine, watch, outcome)
}

/// A run that is ready to begin, on this machine or in a cluster.
pub(in crate::commands) struct Job {
    pub(in crate::commands) engine: Engine,
    pub(in crate::commands) watch: Watch,
    pub(in crate::commands) train: Arc<Dataset>,
    pub(in crate::commands) rest: Rest,
}

/// A run that is only looked at: nothing is written.
pub(in crate::commands) struct Described {
    pub(in crate::commands) manifest: Manifest,
    pub(in crate::commands) data: Data,
    pub(in crate::commands) compute: Compute,
    /// What follows from `--max-seconds`.
    pub(in crate::commands) timing: Option<String>,
}

impl Described {
    /// Loads the data.
    pub(in crate::commands) fn new(config: &TrainConfig, stop: &StopFlag) -> Result<Self, Failure> {
        let compute = Compute { isa: isa()?, threads: threads(config.threads.get())? };
        let data = Data::load(config, stop)?;
        let (in_time, timing) = within_time(config, &data, &compute, stop)?;
        let (manifest, _) = manifest(in_time.as_ref().unwrap_or(config), &data)?;
        memory::Need::of(&manifest, compute.threads.count()).check(memory::left(Path::new("/")))?;
        Ok(Self { manifest, data, compute, timing })
    }
}

/// Whether somebody is to see the gradients of the run.
fn shows_gradients(config: &TrainConfig) -> bool {
    config.tensorboard.is_some() || matches!(config.dashboard(), Ok(Some(_)))
}

/// The parts of a job that are needed once the run is over.
pub(in crate::commands) struct Rest {
    manifest: Manifest,
    /// The recipe that the defaults come from.
    recipe: RecipeName,
    compute: Compute,
    test: Arc<Dataset>,
    folder: Arc<RunFolder>,
    /// The server of figures, if they are wanted.
    pub(in crate::commands) metrics: Option<MetricsServer<RunFigures>>,
    /// The server of the page, if it is wanted.
    pub(in crate::commands) page: Option<DashboardServer>,
    /// The flag that signals set.
    pub(in crate::commands) stop: StopFlag,
}

impl Job {
    /// Opens the run's folder, loads the data, creates the engine, and resumes from a checkpoint if asked to.
    pub(in crate::commands) fn prepare(config: &TrainConfig) -> Result<Self, Failure> {
        Self::prepare_with(config, StopFlag::install()?, None)
    }

    /// [`Job::prepare`], with a flag that is installed already, and with the data if it is loaded already.
    pub(in crate::commands) fn prepare_with(
        config: &TrainConfig,
        stop: StopFlag,
        data: Option<Data>,
    ) -> Result<Self, Failure> {
        let clock = Clock::start();
        let program = if config.is_of_coordinator { "nn-coord" } else { "nn train" };
        let port = MetricsPort::bind(&config.metrics, program)?;
        let page_port = DashboardPort::bind(config)?;
        let folder = RunFolder::for_run(config)?;
        if let Some(base) = config.base.as_ref().filter(|_| !config.resume) {
            folder.refuse_to_destroy(&base.path)?;
        }
        let folder = Arc::new(folder);
        let compute = Compute { isa: isa()?, threads: threads(config.threads.get())? };
        let splits = data.map_or_else(|| Data::load(config, &stop), Ok)?;
        let (in_time, timing) = within_time(config, &splits, &compute, &stop)?;
        let config = in_time.as_ref().unwrap_or(config);
        let (manifest, options) = manifest(config, &splits)?;
        // What the data does not say, the model to begin with may know.
        let known = config.base.as_ref().map(|base| &base.model.input);
        let input = InputInfo {
            data: splits.name.clone(),
            scale: scale_of(&splits.train).or(known.and_then(|known| known.scale)),
            image: splits.train.image().or(known.and_then(|known| known.image)),
            classes: splits.classes.clone(),
            preparation: splits.preparation.as_deref().cloned(),
            picture_files: splits.picture_files || known.is_some_and(|known| known.picture_files),
        };
        let mut need = memory::Need::of(&manifest, compute.threads.count());
        for samples in [
            config.noise_scale.then_some(NoiseMeter::SAMPLES),
            shows_gradients(config).then_some(Gradients::SAMPLES),
        ] {
            need = need.with_gradient_of(&manifest, samples.unwrap_or(0));
        }
        need.check(memory::left(Path::new("/")))?;
        let every = std::time::Duration::from_secs(config.checkpoint_seconds);
        let mut engine = Engine::new(manifest.clone(), compute.clone(), every)
            .with_snapshot_steps(config.checkpoint_steps);
        let mut log = Log::new(folder.metrics_path(), config.log_steps);

        let mut say = Progress::new(config.quiet, manifest.total_steps(), 0);
        for note in config.notes().into_iter().chain(timing.as_deref()) {
            say.say(note);
        }
        for note in splits.remarks() {
            say.say(note);
        }
        if config.numbered && folder.path() != config.out {
            let (run, out) = (folder.path().display(), config.out.display());
            let note = format!("this run is in {run}, because there are earlier runs in {out}");
            // A script that reads the results of the old one in its place must hear of it.
            if config.quiet { warn(note) } else { say.say(&note) }
        }
        if need.is_much() {
            say.say(&need.in_words());
        }
        // The last chance to stop before files of an earlier run are touched.
        if stop.is_set() {
            return Err(Failure::interrupted("interrupted before the training began"));
        }
        let earlier = if config.resume {
            let checkpoints = folder.checkpoints(config.keep_checkpoints);
            let chooses = splits.validation.is_some();
            let earlier = resume(&mut engine, &folder, (&checkpoints, chooses), &mut log, &say)?;
            folder.keep_options(&options);
            earlier
        } else {
            Earlier::default()
        };
        // The generation shows which contributions were sent to the run before it was resumed.
        let cluster = Cluster { generation: Generation(earlier.generation), ..engine.cluster().clone() };
        engine = engine.with_cluster(cluster);
        let recipe = config.recipe_for(&facts(&splits));
        let base = config.base.as_deref();
        say.say(&description(&manifest, &splits, &compute, (recipe, base), config.dp_delta()));

        let evaluation = Workspace::for_evaluation(manifest.model(), compute.threads.clone(), compute.isa);
        say = Progress::new(config.quiet, manifest.total_steps(), engine.steps_done()).counting(&manifest);
        if config.epochs_are_the_recipes() {
            say = say.showing_few_of(manifest.recipe().epochs);
        }
        let advice = Advice {
            recipe: config.recipe_for(&facts(&splits)),
            // Pictures need it not.
            prepared: splits.preparation.is_some() || facts(&splits).pictures,
            learning_rate: manifest.recipe().learning_rate,
        };
        let remarks: Vec<String> = splits.remarks().map(ToString::to_string).collect();
        let units = Units::from(splits.preparation.as_deref());
        let (train, test) = (splits.train, splits.test);
        let sets = (splits.validation, test.clone());
        let vigil = Vigil::new(&manifest, &train, advice);
        let mut recorder =
            Recorder::new(folder.clone(), config.keep_checkpoints, manifest.clone(), input, log)?;
        match folder.doomed() {
            // An older run is destroyed only by a run that really begins, which the first step shows.
            Some(doomed) => {
                say.say(&format!("replacing {} in {}", doomed.words, folder.path().display()));
                recorder.begin_with_the_first_step(options);
            }
            None if !config.resume => folder.begin(&options)?,
            None => {}
        }
        let noise =
            config.noise_scale.then(|| NoiseMeter::new(&manifest, train.clone(), compute.clone())).flatten();
        let events = config.tensorboard.as_ref().map(|events| {
            let path = events.path(folder.path(), config.is_of_sweep);
            let done = manifest.sequential_steps(engine.steps_done());
            Events::new(path, &manifest, done)
        });
        let gradients =
            shows_gradients(config).then(|| Gradients::new(&manifest, train.clone(), compute.clone()));
        let feed = config.json.then(|| {
            let notes = config.notes().into_iter().map(str::to_owned).chain(timing);
            let start = Start {
                manifest: &manifest,
                compute: &compute,
                out: folder.path().display().to_string(),
                data: &splits.name,
                test_samples: test.len(),
                done: engine.steps_done(),
                notes: notes.chain(remarks).collect(),
            };
            Feed::begin(config.json_progress, start)
        });
        let figures = port.as_ref().map(|_| {
            let total = (manifest.total_steps(), u64::from(manifest.recipe().epochs));
            let total = (manifest.sequential_steps(total.0), total.1);
            Arc::new(RunFigures::new(total, manifest.sequential_steps(engine.steps_done())))
        });
        let metrics = match (port, &figures) {
            (Some(port), Some(figures)) => Some(port.serve(figures.clone())?),
            _ => None,
        };
        if let Some(metrics) = &metrics {
            say.say(&metrics.in_words());
        }
        let page = match page_port {
            None => None,
            Some(port) => {
                let set = if sets.0.is_some() { "validation" } else { "test" };
                let plan = Plan::new(&manifest, engine.steps_done(), splits.classes.clone(), set);
                Some(port.serve(folder.path().to_owned(), Arc::new(Live::new(plan)))?)
            }
        };
        if let Some(page) = &page {
            let url = page.url();
            if config.quiet {
                warn(format_args!("the run is shown at {url}"))
            } else {
                say.say(&format!("look at the run: {url}"))
            }
        }
        let outlets = Outlets {
            events,
            feed,
            figures,
            page: page.as_ref().map(DashboardServer::live),
            gradients,
            stepped: clock.now(),
            waited: std::time::Duration::ZERO,
        };
        let watch = Watch::new(
            stop.clone(),
            say,
            Meter::start(clock),
            (Evaluator::new(train.clone(), sets, units, evaluation, config.eval_every), vigil),
            (recorder, Privacy::of(&manifest, config.dp_delta()), noise),
            outlets,
            (engine.steps_done(), earlier),
        )
        .beginning_with(base.map(|base| base.path.display().to_string()));
        Ok(Self {
            engine,
            watch,
            train,
            rest: Rest { manifest, recipe: advice.recipe, compute, test, folder, metrics, page, stop },
        })
    }
}

impl Rest {
    /// Writes the results and reports how the run ended.
    pub(in crate::commands) fn conclude(
        &self,
        config: &TrainConfig,
        engine: &Engine,
        watch: Watch,
        outcome: Outcome,
    ) -> Result<(), Failure> {
        let finished = watch.finish(engine, outcome, config.threads.get())?;
        if let Outcome::Diverged { epoch, step } = outcome {
            let step = step.0 - self.manifest.steps_until(epoch);
            // What has checkpoints is a run, and the folder that holds it is refused to the next one.
            let held = !config.numbered && Occupant::of(self.folder.path()).is_some();
            return Err(diverged(epoch, step, &self.manifest, held));
        }
        let untouched = self.folder.doomed().filter(|_| finished.model.run.step == 0);
        if let Outcome::NoWorkers { have, want, waited, .. } = outcome {
            let failure = no_workers(have, want, waited, finished.model.run.step, untouched.is_none());
            return Err(match (untouched, self.resume_command(config)) {
                (None, Some(command)) => failure
                    .help(format_args!("start workers with nn-worker --coordinator, then resume: {command}")),
                (None, None) => failure.help(
                    "start workers with nn-worker --coordinator, then run the same command with --resume",
                ),
                (Some(_), _) => failure
                    .help("start workers with nn-worker --coordinator, then run the same command again"),
            });
        }
        if !config.quiet {
            let text = match untouched {
                Some(occupant) => format!(
                    "stopped before the first step; {} still holds {}\n",
                    self.folder.path().display(),
                    occupant.words
                ),
                None => self.closing(&finished, outcome, config)?,
            };
            crate::failure::write_stdout(text)?;
        }
        if is_done(outcome, &finished)
            && !config.is_of_sweep
            && let Some(text) =
                finished.warning(&names(&finished.model), &style(), (&self.manifest, self.recipe))
        {
            warn(text);
        }
        Ok(())
    }

    /// The command that resumes the run; `None` if there is none that works by itself.
    fn resume_command(&self, config: &TrainConfig) -> Option<String> {
        if self.folder.has_options() { config.resume_command(self.folder.path()) } else { None }
    }

    /// The closing text for a person: a few test pictures with the predictions, the comparison with the trivial answer,
    /// where the files are, and what to do next.
    fn closing(
        &self,
        finished: &Finished,
        outcome: Outcome,
        config: &TrainConfig,
    ) -> Result<String, Failure> {
        let Self { test, compute, folder, .. } = self;
        let model = &finished.model;
        let out = folder.path().display();
        let mut text = String::new();
        let (names, style) = (names(model), style());
        if let Some((height, width)) = test.image().filter(|_| style.colored()) {
            let mut workspace = Workspace::for_evaluation(&model.model, compute.threads.clone(), compute.isa);
            let count = test.len().min(10);
            let answers = workspace.outputs(&model.params, test, 0..count).map_err(Failure::data)?;
            let drawn: Vec<Vec<f32>> = (0..count).map(|sample| pixels(test, sample)).collect();
            let tiles: Vec<show::Tile<'_>> = drawn
                .iter()
                .zip(answers.chunks_exact(model.model.output_width()))
                .enumerate()
                .map(|(sample, (pixels, outputs))| {
                    let answer = predicted(outputs);
                    let truth = test.label(sample).map(|label| label as usize);
                    let kind = OutputKind::of(&model.model);
                    show::Tile { pixels, answer, confidence: outputs[answer], kind, truth }
                })
                .collect();
            text += &format!("\n{}\n\n", show::gallery(&tiles, height, width, &names, &style));
        }
        text += &format!("{}\n", finished.comparison(&names, &style));
        if let Some(ending) = &finished.ending {
            text += &format!("{}\n", ending.in_words());
        } else if outcome == Outcome::Stopped {
            let how = match self.resume_command(config) {
                Some(command) => format!("to resume: {command}"),
                None => "to resume, run the same command with --resume".to_owned(),
            };
            text += &format!("stopped after step {}; {how}\n", model.run.step);
        }
        text += &format!("the model is in {out}/model.safetensors, the figures are in {out}/summary.json\n");
        // `nn eval` finds the data, and how to read it, in the run's file.
        if is_done(outcome, finished)
            && folder.has_options()
            && let Some(model) = show::shell_path_flag("model", &folder.path().join("model.safetensors"))
        {
            text += &format!("look closer: nn eval {model}\n");
        }
        Ok(text)
    }
}

/// The run with as many epochs as `--max-seconds` allows, if that is given and the epochs are still open, and what to say
/// about it.
fn within_time(
    config: &TrainConfig,
    splits: &Data,
    compute: &Compute,
    stop: &StopFlag,
) -> Result<(Option<TrainConfig>, Option<String>), Failure> {
    let Some(seconds) = config.max_seconds() else { return Ok((None, None)) };
    if config.has_epochs_of_run() {
        let note = format!(
            "--max-seconds {seconds} has no effect: the run that is resumed has its number of epochs"
        );
        return Ok((None, Some(note)));
    }
    let (manifest, _) = manifest(config, splits)?;
    memory::Need::of(&manifest, compute.threads.count()).check(memory::left(Path::new("/")))?;
    let (epochs, note) = budget::epochs(seconds, &manifest, compute, splits, config, stop)?;
    Ok((Some(config.with_epochs(epochs)), Some(note)))
}

/// Whether the run has nothing left to do.
fn is_done(outcome: Outcome, finished: &Finished) -> bool {
    outcome == Outcome::Complete || finished.ending.is_some()
}

/// The manifest of a run that may begin later, and the text of its `run.toml`.
pub(in crate::commands) fn planned(config: &TrainConfig, data: &Data) -> Result<(Manifest, String), Failure> {
    manifest(config, data)
}

/// The manifest of the run, which is everything that decides its weights, and the text of its `run.toml`.
fn manifest(config: &TrainConfig, splits: &Data) -> Result<(Manifest, String), Failure> {
    let design = config.for_data(&facts(splits))?;
    let (inputs, outputs) = (splits.train.input_width(), splits.train.output_width());
    let base = config.base.as_deref();
    let scale = match base {
        Some(base) => base.model.model.input_scale(),
        None if config.standardizes_pictures() => input_scale(splits)?,
        None => None,
    };
    let model = design.model(inputs, outputs).map_err(Failure::usage)?.with_input_scale(scale);
    if !design.recipe.regularization.augmentation.is_none() && splits.train.image().is_none() {
        return Err(Failure::usage("--augment distorts pictures, but these samples have no height and width").help(
            "remove it; rows of pixels can be stored with their height and width as IDX or NPY, or as PNG files",
        ));
    }
    let options = config.run_file(&design)?;
    let manifest = Manifest::new(ManifestParts {
        model,
        recipe: design.recipe,
        train_samples: splits.train.len(),
        data_sha256: splits.sha256.clone(),
        preprocess_sha256: splits.preparation.as_ref().map(|preparation| preparation.sha256()),
    })
    .map_err(Failure::usage)?;
    let manifest = match base.and_then(|base| base.weights.clone()) {
        Some(weights) => manifest.beginning_with(weights).map_err(Failure::data)?,
        None => manifest,
    };
    Ok((manifest, options))
}

/// The mean and deviation of the pixels of all training pictures; `None` if the samples are no pictures, whose columns have their
/// own.
fn input_scale(splits: &Data) -> Result<Option<InputScale>, Failure> {
    if splits.train.image().is_none() || splits.preparation.is_some() {
        return Ok(None);
    }
    let (mean, deviation) = splits.train.features().moments();
    let scale = InputScale::new(mean as f32, deviation as f32).map_err(|_| {
        Failure::data("the pictures cannot be standardised: all pixels of all training pictures are the same")
            .help("leave out --standardize yes, and look whether the pictures are what they should be")
    })?;
    Ok(Some(scale))
}

/// What is known about the data.
fn facts(splits: &Data) -> Facts {
    Facts {
        task: if splits.classes.is_some() { Task::Classification } else { Task::Regression },
        pictures: matches!(splits.train.features(), Features::U8 { .. }) || splits.train.image().is_some(),
        samples: splits.train.len(),
    }
}

/// A multiple of a learning rate, as a person would write it: a tenth of 0.005 is 0.0005, which it is not in f32.
fn times(rate: f32, factor: f64) -> f64 {
    let written = rate.to_string().parse().unwrap_or(f64::from(rate));
    format!("{:.6e}", written * factor).parse().unwrap_or(written * factor)
}

fn diverged(epoch: u64, step: u64, manifest: &Manifest, held: bool) -> Failure {
    let rate = manifest.recipe().learning_rate;
    Failure::failed(format_args!(
        "the loss or a gradient became NaN or infinite in epoch {}, {} {}",
        epoch + 1,
        if manifest.rounds().is_some() { "round" } else { "step" },
        step + 1
    ))
    .help(format_args!(
        "the learning rate of {rate} is probably too high: try --learning-rate {}{}; inputs far from 0 to 1 have the same effect",
        times(rate, 0.1),
        if held { " with --overwrite or another --out" } else { "" }
    ))
}

fn no_workers(have: usize, want: usize, waited: std::time::Duration, step: u64, kept: bool) -> Failure {
    Failure::network(format_args!(
        "waited {} s for {want} worker{}, but only {have} joined; the run ends after step {step}{}",
        waited.as_secs(),
        if want == 1 { "" } else { "s" },
        if kept { ", with a checkpoint" } else { ", and the older run is untouched" }
    ))
}
