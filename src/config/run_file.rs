//! The file `run.toml` that lies with a run: its options, for `--resume`, for the commands that read the run's data again,
//! and for people. It is a file for `--config` like any other; a table `[started]` adds where the run began.

use std::path::Path;

use nn_data::Source;

use super::defaults::{DATA, default_out};
use super::design::Design;
use super::file;
use super::options::{DataFormat, DataOptions, TrainOptions};
use super::origins::{Origin, Origins};
use super::print::run_file;
use super::settings::Settings;
use super::table::Options as _;
use crate::failure::Failure;
use crate::store::runs::{newest_numbered, numbered};

/// The name of the file in the run's folder.
pub(crate) const NAME: &str = "run.toml";

/// How the file begins. A file without it is the user's own.
pub(crate) const MARK: &str = "# The options of the run in this folder, written by nn.";

/// Whether the folder has a file of that name that is not ours.
pub(crate) fn is_foreign(out: &Path) -> bool {
    let path = out.join(NAME);
    path.exists() && !std::fs::read(path).is_ok_and(|text| is_ours(&text))
}

/// Whether the bytes of a file are options that we have written.
pub(crate) fn is_ours(text: &[u8]) -> bool {
    text.starts_with(MARK.as_bytes())
}

/// The options of the run in `out`; `None` if they are not there, as in a folder of an older version.
fn read(out: &Path) -> Result<Option<(TrainOptions, Origins)>, Failure> {
    if !out.join(NAME).is_file() || is_foreign(out) {
        return Ok(None);
    }
    file::read(&out.join(NAME)).map(Some)
}

/// The text of the file for a run of that design.
pub(super) fn text(settings: &Settings, design: &Design) -> Result<String, Failure> {
    let mut settings = settings.clone();
    settings.options.learn = settings.options.learn.completed(design);
    let of_run = TrainOptions::entries()
        .iter()
        .any(|entry| entry.of_data && matches!(settings.origins.of(entry.key), Origin::Run(_)));
    let here = std::env::current_dir().ok();
    let directory = settings.origins.directory().filter(|_| of_run).map(Path::to_owned).or(here);
    run_file(&settings, MARK, directory.as_deref(), design.recipe.initial_sha256.as_deref())
}

/// Finds the folder that `--resume` and `--overwrite` mean, and adds the options of the run that is resumed to those that
/// are given.
pub(super) fn complete(
    mut options: TrainOptions,
    mut origins: Origins,
) -> Result<(TrainOptions, Origins), Failure> {
    let [resume, overwrite] = ["resume", "overwrite"].map(|key| origins.of(key));
    let on = |option: Option<bool>| option == Some(true);
    if on(options.resume) && on(options.overwrite) {
        // As with other options, what stands nearer to the command wins.
        if overwrite.overrides(resume) {
            options.resume = Some(false);
        } else if resume.overrides(overwrite) {
            options.overwrite = Some(false);
        } else {
            let (resume, overwrite) = (origins.subject("resume"), origins.subject("overwrite"));
            return Err(Failure::usage(format_args!("{resume} and {overwrite} contradict each other"))
                .help("--resume continues the run in the folder, --overwrite destroys it"));
        }
    }
    if !on(options.resume) && !on(options.overwrite) {
        return Ok((options, origins));
    }
    if options.out.is_none() {
        let base = default_out(options.data.as_deref().unwrap_or(DATA));
        let out = numbered(&base, newest_numbered(&base).unwrap_or(1));
        if out != base {
            origins.say("out", format!("the newest run is the one in {}", out.display()));
        }
        options.out = Some(out);
    }
    let Some(out) = options.out.as_deref().filter(|_| on(options.resume)) else {
        return Ok((options, origins));
    };
    Ok(match read(out)? {
        Some((stored, of_run)) => (options.or(stored), origins.or_of_run(of_run)),
        None => (options, origins),
    })
}

/// The data to read for a model.
#[derive(Debug)]
pub(super) struct Reading {
    /// The data set; `None` if neither the user nor the run's file says it.
    pub(super) data: Option<String>,
    /// How to read it.
    pub(super) format: DataFormat,
    /// What to tell the user, if the run's file says it.
    pub(super) note: Option<String>,
}

/// The data that is given, or else that of the run whose model or checkpoint it is, if its file lies with it. Flags
/// overrule how the run read its data.
pub(super) fn reading(model: &Path, data: Option<String>, flags: DataOptions) -> Result<Reading, Failure> {
    let mut origins = Origins::default();
    origins.note(flags.given(), Origin::Flag);
    let folder = model.parent().unwrap_or(Path::new(""));
    let run = if folder.file_name().is_some_and(|name| name == "checkpoints") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    let stored = if data.is_none() { read(run)? } else { None };
    let Some((stored, of_run)) = stored else {
        return Ok(Reading { data, format: flags.check(&origins)?, note: None });
    };
    let origins = origins.or_of_run(of_run);
    let data = stored.data.unwrap_or_else(|| DATA.to_owned());
    let format = flags.or(stored.format).check(&origins)?;
    let mut note = format!("reading {data}, as {} says", run.join(NAME).display());
    for more in origins.notes() {
        note += &format!("; {more}");
    }
    Ok(Reading { data: Some(data), format, note: Some(note) })
}

/// The data of the run in a folder, and how it read them; `data` is read in their place if it is given. `None` if neither says which.
pub(crate) fn data_of(run: &Path, data: Option<&str>) -> Result<Option<(String, DataFormat)>, Failure> {
    let (stored, origins) = match read(run)? {
        Some((stored, of_run)) => (stored, Origins::default().or_of_run(of_run)),
        None if data.is_some() => (TrainOptions::default(), Origins::default()),
        None => return Ok(None),
    };
    let name = data.map(str::to_owned).or(stored.data).unwrap_or_else(|| DATA.to_owned());
    Ok(Some((name, stored.format.check(&origins)?)))
}

/// The path to read in place of `text`, the name of data in a file of a run that began in `directory`, if only that folder
/// has it.
pub(super) fn moved(text: &str, directory: &Path) -> Option<String> {
    let path = Path::new(text);
    if path.is_absolute()
        || path.exists()
        || text.parse::<Source>().is_ok_and(|s| !matches!(s, Source::Path(_)))
    {
        return None;
    }
    let there = directory.join(path);
    if there.exists() { there.into_os_string().into_string().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::choice::Task;
    use super::super::recipes::Facts;
    use super::super::settings::validate;
    use super::super::train::TrainConfig;
    use super::*;

    fn config(text: &str) -> TrainConfig {
        let (options, origins) =
            file::parse("run.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        validate(&options, &origins).unwrap_or_else(|error| panic!("{error}\n{text}")).into()
    }

    #[test]
    fn the_file_gives_the_same_design_again_whatever_decided_it() {
        for text in [
            "",
            "hidden = []\noptimizer = 'momentum'\nmomentum = 0.3\nlearning-rate = 7.038531e-26",
            "recipe = 'book'",
            "optimizer = 'nesterov'\nmomentum = 0.95\nbatch-size = 100\nshard-size = 7\nl2 = 1e-7",
            "activation = 'relu'\noptimizer = 'adam'\nbeta1 = 0.8\nbeta2 = 0.99\nepsilon = 1e-6\nepochs = 77",
            "activation = 'tanh'\ninit = 'xavier'\noptimizer = 'adamw'\nweight-decay = 0.1\nseed = 18446744073709551615",
            "dp-noise = 1.1\ndp-clip = 0.7\ndp-delta = 1e-6\nseed = 99",
            "clip-norm = 0.3\nema = 0.999\nmax-norm = 3.5",
            "schedule = 'plateau'\nplateau-factor = 0.3\nplateau-evaluations = 2\nvalidation-fraction = 0.2\neval-every = 4",
            "schedule = 'one-cycle'\none-cycle-rise = 0.25\none-cycle-divisor = 7\none-cycle-final-divisor = 1e3",
            "schedule = 'step'\nstep-epochs = 2\nstep-factor = 0.3\nwarmup-steps = 100",
            "hidden = [128, 64]\nschedule = 'cosine'\ncosine-floor = 0.01",
        ] {
            for task in [Task::Classification, Task::Regression] {
                let facts = Facts { task, pictures: false, samples: 1000 };
                let first = config(&format!("data = 'x.csv'\n{text}"));
                let design = first.for_data(&facts).unwrap();
                let stored = first.run_file(&design).unwrap();
                assert!(stored.starts_with(MARK), "{stored}");
                let again = config(&stored);
                assert_eq!(again.for_data(&facts).unwrap(), design, "{stored}");
                assert_eq!((again.data, again.format), (first.data, first.format));
                // Nothing is left to defaults, which may change.
                for key in ["output", "init", "learning-rate", "shard-size", "batch-size", "seed", "epochs"] {
                    assert!(stored.contains(&format!("\n{key} = ")), "{key} is missing:\n{stored}");
                }
            }
        }
    }

    #[test]
    fn what_belongs_to_one_command_is_not_stored() {
        let text = "out = 'here'\nresume = true\nquiet = true\nthreads = 2\neval-every = 3";
        let config = config(text);
        let stored = config.run_file(&config.for_data(&Facts::DIGITS).unwrap()).unwrap();
        let (options, origins) = file::parse("run.toml", &stored).unwrap();
        assert_eq!((options.out, options.resume, options.overwrite, options.quiet), (None, None, None, None));
        assert_eq!((options.threads, options.eval_every), (Some(2), Some(3)));
        let here = std::env::current_dir().unwrap();
        assert_eq!(origins.directory(), Some(here.as_path()));
    }

    #[test]
    fn data_that_only_the_first_folder_has_is_read_there() {
        let there = tempfile::tempdir().unwrap();
        std::fs::write(there.path().join("far.csv"), "a,b\n1,2\n").unwrap();
        std::fs::write(there.path().join("digits"), "a file, not the data set").unwrap();
        let text = |data: &str| format!("data = '{data}'\n[started]\nin = '{}'", there.path().display());
        let data = |name: &str| file::parse("run.toml", &text(name)).unwrap().0.data.unwrap();
        assert_eq!(data("far.csv"), there.path().join("far.csv").to_str().unwrap());
        for same in ["digits", "near.csv", "Cargo.toml", "/far.csv"] {
            assert_eq!(data(same), same);
        }
        let (_, mut origins) = file::parse("run.toml", &text("far.csv")).unwrap();
        assert_eq!(origins.notes().len(), 1);
        origins.note(["data"], Origin::Flag);
        assert!(origins.notes().is_empty(), "the flag names other data");
        for wrong in ["started = 1", "[started]\nat = 3", "[started]\nin = 3", "[started]\nin = 'x'\nat = 3"]
        {
            let error = file::parse("run.toml", wrong).unwrap_err();
            assert!(error.message().contains("no option \"started\""), "{error}");
        }
    }
}
