//! The commands. Their arguments have been checked before they run.

mod bench;
mod certs;
mod cluster;
mod dashboard;
mod data;
mod doctor;
mod eval;
mod export;
mod fetch;
mod hardest;
mod import;
mod inference;
mod insight;
mod lr_find;
mod plan;
mod predict;
mod replay;
mod report;
mod runs;
mod scrape;
mod serve;
mod sweep;
mod train;

use std::io::{Write, stderr};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nn_core::{Dataset, Features, Isa, MismatchError, Threads, Workspace};
use nn_data::{LoadOptions, Prepare, Source, Splits};

pub(crate) use bench::bench;
pub(crate) use certs::certs;
pub(crate) use cluster::{coord, status, worker};
pub(crate) use dashboard::dashboard;
pub(crate) use data::show as data_show;
pub(crate) use doctor::doctor;
pub(crate) use eval::eval;
pub(crate) use export::export;
pub(crate) use fetch::fetch;
pub(crate) use import::import;
pub(crate) use lr_find::lr_find;
pub(crate) use plan::plan;
pub(crate) use predict::predict;
pub(crate) use replay::replay;
pub(crate) use report::report;
pub(crate) use runs::runs;
pub(crate) use serve::serve;
pub(crate) use sweep::sweep;
pub(crate) use train::train;

use crate::config::DataFormat;
use crate::failure::Failure;
use crate::progress::LoadBar;
use crate::show::{Names, Style};
use crate::signals::StopFlag;
use crate::store::ModelFile;

/// The instruction set to compute with: the best available, unless `NN_ISA` names another (tests compare them that way).
fn isa() -> Result<Isa, Failure> {
    let Ok(name) = std::env::var("NN_ISA") else { return Ok(Isa::best()) };
    Isa::by_name(&name).ok_or_else(|| {
        let names: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
        Failure::usage(format_args!("NN_ISA is `{name}`, which this processor does not have"))
            .help(format_args!("unset it, or use one of {}", names.join(", ")))
    })
}

/// Starts a pool of `count` threads.
fn threads(count: usize) -> Result<Arc<Threads>, Failure> {
    Threads::new(count).map(Arc::new).map_err(|error| {
        Failure::failed(format_args!("cannot start {count} threads: {error}")).help("use fewer --threads")
    })
}

/// The seed that selects the test samples of data without a test set. It does not depend on `--seed`, so runs with
/// different seeds and later evaluations use the same samples.
const SPLIT_SEED: u64 = 0;

/// Loads a data set by its name or path.
fn load_data(data: &str, options: &LoadOptions, quiet: bool) -> Result<Splits, Failure> {
    let source: Source = data.parse()?;
    let progress = LoadBar::new(quiet);
    Ok(nn_data::load(&source, options, &progress)?)
}

/// Tells the user what was not asked for but taken from elsewhere. JSON stays alone on standard output.
fn tell(note: Option<&str>, json: bool) -> Result<(), Failure> {
    match note {
        Some(note) if json => {
            // If standard error is closed, the result still counts.
            let _ = writeln!(stderr(), "{note}");
            Ok(())
        }
        Some(note) => crate::failure::write_stdout(format!("{note}\n")),
        None => Ok(()),
    }
}

/// [`load_data`], unless `stop` is set while a pipe that `data` names is read: nobody may ever write to it.
fn load_data_unless(
    stop: &StopFlag,
    data: &str,
    options: LoadOptions,
    quiet: bool,
) -> Result<Splits, Failure> {
    if !is_pipe(Path::new(data)) {
        return load_data(data, &options, quiet);
    }
    let (send, receive) = mpsc::channel();
    let name = data.to_owned();
    // Nothing ends a read of a pipe, so the thread that reads it is left behind if a stop is requested.
    thread::spawn(move || {
        // If nobody waits any more, the run is over.
        let _ = send.send(load_data(&name, &options, quiet));
    });
    loop {
        match receive.recv_timeout(Duration::from_millis(50)) {
            Ok(loaded) => return loaded,
            Err(mpsc::RecvTimeoutError::Timeout) if !stop.is_set() => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(Failure::interrupted(format_args!("interrupted while reading the pipe {data}")));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Failure::failed(format_args!("reading the pipe {data} failed")));
            }
        }
    }
}

/// Whether a path is a pipe, a terminal or another file whose bytes can be read only once.
fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// The options for reading data for a trained model.
fn options_for(format: &DataFormat, model: &ModelFile) -> LoadOptions {
    let mut options = format.load_options(SPLIT_SEED);
    options.scale = model.input.scale;
    options.class_names = model.input.classes.clone();
    options.prepare = match &model.input.preparation {
        Some(preparation) => Prepare::With(Arc::new(preparation.clone())),
        None => Prepare::Raw,
    };
    if model.input.classes.is_none() {
        options.task = Some(crate::config::Task::Regression);
    }
    options
}

/// Reads a model.
fn read_model(path: &Path) -> Result<ModelFile, Failure> {
    Ok(ModelFile::read(path)?)
}

/// The network's outputs for all samples, row-major `[samples][outputs]`; `source` names the data in errors.
fn outputs(
    model: &ModelFile,
    data: &Dataset,
    source: &str,
    thread_count: usize,
) -> Result<Vec<f32>, Failure> {
    let mut workspace = Workspace::for_evaluation(&model.model, threads(thread_count)?, isa()?);
    workspace
        .outputs(model.model_params(), data, 0..data.len())
        .map_err(|error| misfit(model, source, &error))
}

/// The failure of data that does not have the model's shape; `source` names the data.
fn misfit(model: &ModelFile, source: &str, error: &MismatchError) -> Failure {
    Failure::data(format_args!("{source} does not fit the model: {error}"))
        .help(format_args!("the model was trained on {}; use data of that shape", model.input.data))
}

/// The style for standard output.
fn style() -> Style {
    Style::of_stdout()
}

/// The names of a model's classes, or of the targets of a regression.
fn names(model: &ModelFile) -> Names {
    let targets = model.input.preparation.as_ref().map_or(&[][..], |preparation| &preparation.targets);
    let targets: Option<Vec<String>> = targets.iter().map(|target| target.name.clone()).collect();
    match (&model.input.classes, targets) {
        (Some(classes), _) => Names::new(classes),
        (None, Some(targets)) if targets.len() == model.model.output_width() => Names::new(&targets),
        (None, _) => Names::numbered(model.model.output_width()),
    }
}

/// The divisor of bytes in a data set; `None` if its features are not bytes.
fn scale_of(data: &Dataset) -> Option<f32> {
    match data.features() {
        Features::U8 { scale, .. } => Some(*scale),
        Features::F32(_) => None,
    }
}

/// The pixels of a sample, as the network sees them.
fn pixels(data: &Dataset, sample: usize) -> Vec<f32> {
    let mut pixels = vec![0.0; data.input_width()];
    data.input_into(sample, &mut pixels);
    pixels
}
