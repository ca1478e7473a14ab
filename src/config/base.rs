//! `--from`: the model that a run begins with. Its network is the network of the run, and so is its preparation of the inputs:
//! options that say otherwise are refused.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use nn_data::{ColumnEncoding, Preparation};
use nn_engine::params_sha256;

use super::choice::{Choice as _, Standardize, Task};
use super::lists::Widths;
use super::options::{DataOptions, LearnOptions, TrainOptions};
use super::origins::{Origin, Origins};
use super::value::Value;
use crate::failure::Failure;
use crate::store::{Checkpoints, ModelFile, ModelFileError};

/// The model that a run begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Its file, as the user names it.
    pub path: PathBuf,
    /// The network and its inputs, without the parameters.
    pub model: ModelFile,
    /// The SHA-256 of its weights.
    pub sha256: String,
    /// Its weights: the average, if that is its model. `None` for a run that goes on from a checkpoint and whose model is not
    /// there any more.
    pub weights: Option<Arc<Vec<f32>>>,
}

impl Base {
    /// The model in `file`, whose path is `path`.
    fn new(path: PathBuf, file: ModelFile) -> Result<Self, Failure> {
        let mut model = file.finished();
        let weights = std::mem::take(&mut model.params);
        if !weights.iter().all(|x| x.is_finite()) {
            return Err(Failure::data(format_args!(
                "the model {} has weights that are not finite",
                path.display()
            ))
            .help("begin with another model: its training had diverged"));
        }
        let sha256 = params_sha256(&weights);
        Ok(Self { path, model, sha256, weights: Some(Arc::new(weights)) })
    }

    /// The model of a run that another machine has ordered, in the bytes that came with the order. The path is that machine's,
    /// and is only a name here.
    pub(super) fn sent(path: PathBuf, bytes: &[u8]) -> Result<Self, Failure> {
        let file = ModelFile::from_bytes(bytes, &path).map_err(Failure::from)?;
        Self::new(path, file)
    }

    /// The bytes of a file with the model, for another machine; `None` without its weights.
    pub(crate) fn to_bytes(&self) -> io::Result<Option<Vec<u8>>> {
        let Some(weights) = &self.weights else { return Ok(None) };
        let file = ModelFile { params: weights.to_vec(), ..self.model.clone() };
        file.to_bytes().map(Some)
    }
}

/// The options with those that the model of `--from` decides, and the model.
pub(super) fn complete(
    mut options: TrainOptions,
    mut origins: Origins,
) -> Result<(TrainOptions, Origins, Option<Arc<Base>>), Failure> {
    let base = read(&options, &mut origins)?;
    if let Some(base) = &base {
        apply(base, &mut options, &mut origins)?;
    }
    Ok((options, origins, base))
}

/// Reads the model of `--from`. A run that is resumed does not need it if it has a checkpoint.
pub(super) fn read(options: &TrainOptions, origins: &mut Origins) -> Result<Option<Arc<Base>>, Failure> {
    let Some(path) = &options.learn.from else { return Ok(None) };
    let file = match ModelFile::read(path) {
        Ok(file) => file,
        Err(error) => {
            return match of_checkpoint(options, origins) {
                Some(base) => {
                    let file = path.display();
                    origins.say(
                        "from",
                        format!("{file} cannot be read, but the run has a checkpoint without it"),
                    );
                    Ok(Some(Arc::new(base)))
                }
                None => Err(unusable(error, options, &origins.subject("from"))),
            };
        }
    };
    Base::new(path.clone(), file).map(|base| Some(Arc::new(base)))
}

/// The model as the newest checkpoint of the run that is resumed knows it: all but its weights.
fn of_checkpoint(options: &TrainOptions, origins: &Origins) -> Option<Base> {
    let is_of_run = options.resume == Some(true) && matches!(origins.of("from"), Origin::Run(_));
    let out = options.out.as_deref().filter(|_| is_of_run)?;
    let (_, checkpoint) = Checkpoints::of_run(out, 1).newest().ok()?.newest?;
    let sha256 = checkpoint.run.manifest.recipe.initial_sha256.clone()?;
    let mut model = checkpoint.finished();
    model.params = Vec::new();
    Some(Base { path: options.learn.from.clone()?, model, sha256, weights: None })
}

/// The failure of a model that cannot be used.
fn unusable(error: ModelFileError, options: &TrainOptions, subject: &str) -> Failure {
    let is_missing = matches!(&error, ModelFileError::Unreadable { .. });
    let failure = Failure::from(error).within(subject);
    if is_missing && options.resume == Some(true) {
        return failure.help(
            "the run has no checkpoint, so it begins again, and needs the model: put its file back where it was",
        );
    }
    failure
}

/// Takes up what the model decides.
///
/// # Errors
/// Exit code 2, if an option says otherwise.
pub(super) fn apply(base: &Base, options: &mut TrainOptions, origins: &mut Origins) -> Result<(), Failure> {
    same_weights(base, origins)?;
    let mut taking = Taking { base, origins };
    taking.network(&mut options.learn)?;
    taking.reading(&options.format)
}

/// Refuses a file that has been changed since the run began whose options are taken up.
fn same_weights(base: &Base, origins: &Origins) -> Result<(), Failure> {
    let Some((want, resumed)) = origins.wanted_weights() else { return Ok(()) };
    if want == base.sha256 {
        return Ok(());
    }
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let path = base.path.display();
    Err(Failure::usage(format_args!(
        "{path} has other weights now than those that the run began with: their SHA-256 begins with {}, not with {}",
        short(&base.sha256),
        short(want)
    ))
    .help(if resumed {
        "put the old file back; a run that has a checkpoint resumes without the file, too".to_owned()
    } else {
        format!("put the old file back, or add --from {path} to begin with the new weights")
    }))
}

/// Compares options with the model.
struct Taking<'a> {
    base: &'a Base,
    origins: &'a mut Origins,
}

impl Taking<'_> {
    /// Refuses the option `key`, which says `said`, while the model has `own`.
    fn refused(&self, key: &str, said: &str, own: &str) -> Failure {
        let (subject, path) = (self.origins.subject(key), self.base.path.display());
        Failure::usage(format_args!("{subject} is {said}, but the model {path} of --from has {own}"))
            .help(format_args!("leave out {key}, as a run has what its model has; or leave out --from"))
    }

    /// Makes an option what the model has.
    fn agree<T: Value>(&mut self, key: &'static str, given: &mut Option<T>, own: T) -> Result<(), Failure> {
        let words = |value: &T| value.in_words().unwrap_or_default();
        match given {
            Some(given) if *given != own => Err(self.refused(key, &words(given), &words(&own))),
            Some(_) => Ok(()),
            None => {
                self.take(key, given, own);
                Ok(())
            }
        }
    }

    fn take<T>(&mut self, key: &'static str, given: &mut Option<T>, own: T) {
        if given.is_none() {
            *given = Some(own);
            self.origins.note([key], Origin::Model);
        }
    }

    /// The network. Its precision is only the model's default: the weights are single-precision numbers in both.
    fn network(&mut self, learn: &mut LearnOptions) -> Result<(), Failure> {
        let model = &self.base.model.model;
        let widths = model.widths();
        self.agree("hidden", &mut learn.hidden, Widths(widths[1..widths.len() - 1].to_vec()))?;
        self.agree("activation", &mut learn.activation, model.activation())?;
        self.agree("normalization", &mut learn.normalization, model.normalization())?;
        self.agree("output", &mut learn.output, model.output())?;
        self.agree("cost", &mut learn.cost, model.cost())?;
        self.take("precision", &mut learn.precision, model.precision());
        if learn.init.is_some() && !self.origins.of("from").overrides(self.origins.of("init")) {
            return Err(Failure::usage(format_args!(
                "{} has no effect with --from, which brings the weights that the run begins with",
                self.origins.subject("init")
            ))
            .help("leave out init"));
        }
        learn.init = None;
        Ok(())
    }

    /// How the data is read. What the model's preparation decides may be said again, but not otherwise.
    fn reading(&self, format: &DataOptions) -> Result<(), Failure> {
        let input = &self.base.model.input;
        let task = if input.classes.is_some() { Task::Classification } else { Task::Regression };
        if let Some(said) = format.task.filter(|&said| said != task) {
            return Err(self.refused("task", said.name(), task.name()));
        }
        if let Some(said) = format.classes {
            let own = input.classes.as_ref().map_or(0, Vec::len);
            if said != own {
                return Err(self.refused("classes", &said.to_string(), &own.to_string()));
            }
        }
        match &input.preparation {
            Some(preparation) => self.columns(format, preparation),
            None => self.raw(format),
        }
    }

    /// The columns of a model that prepares them.
    fn columns(&self, format: &DataOptions, preparation: &Preparation) -> Result<(), Failure> {
        let names = |positions: &[usize]| -> String {
            positions.iter().map(|&at| preparation.name(at)).collect::<Vec<_>>().join(" and ")
        };
        if let Some(said) = format.label_column.as_ref().filter(|said| !preparation.has_targets(said)) {
            let own = format!("the answer {}", names(preparation.targets_at()));
            return Err(self.refused("label-column", said, &own));
        }
        let own = preparation.standardizes();
        let standardizes = |said| own.is_some_and(|own| own != said);
        match format.standardize {
            Some(Standardize::Yes) if standardizes(true) => {
                return Err(self.refused("standardize", "yes", "numbers that are used as they are"));
            }
            Some(Standardize::No) if standardizes(false) => {
                return Err(self.refused("standardize", "no", "numbers that are standardised"));
            }
            _ => {}
        }
        let input = |said: &str| {
            let at = preparation.find(said)?;
            preparation.columns.iter().find(|column| column.position == at)
        };
        let number = |encoding: &ColumnEncoding| matches!(encoding, ColumnEncoding::Number { .. });
        let category = |encoding: &ColumnEncoding| matches!(encoding, ColumnEncoding::Category { .. });
        type Fits<'a> = &'a dyn Fn(&ColumnEncoding) -> bool;
        let lists: [(_, _, Fits<'_>, _); 3] = [
            ("ignore", &format.ignore, &|_| false, "it as an input"),
            ("categorical", &format.categorical, &category, "a number there"),
            ("numeric", &format.numeric, &number, "a category there"),
        ];
        for (key, said, fits, own) in lists {
            for name in said.iter().flat_map(|names| &names.0) {
                if input(name).is_some_and(|column| !fits(&column.encoding)) {
                    return Err(self.refused(key, name, own));
                }
            }
        }
        Ok(())
    }

    /// The inputs of a model that takes numbers as they are, or pictures.
    fn raw(&self, format: &DataOptions) -> Result<(), Failure> {
        let scaled = self.base.model.model.input_scale().is_some();
        match format.standardize {
            Some(Standardize::Yes) if !scaled => {
                return Err(self.refused("standardize", "yes", "inputs that are used as they are"));
            }
            Some(Standardize::No) if scaled => {
                return Err(self.refused("standardize", "no", "inputs that are standardised"));
            }
            _ => {}
        }
        let lists = [("categorical", &format.categorical), ("numeric", &format.numeric)];
        let names = lists.into_iter().filter_map(|(key, names)| Some((key, names.as_ref()?.0.join(","))));
        let weights = format.weight_column.iter().map(|name| ("weight-column", name.clone()));
        match names.chain(weights).find(|(_, said)| !said.is_empty()) {
            Some((key, said)) => Err(self.refused(key, &said, "no columns by name, only numbers")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;

    use super::super::file;
    use super::super::train::TrainConfig;
    use super::*;

    #[test]
    fn the_file_of_a_run_says_which_weights_it_began_with() {
        let text = |more: &str| format!("from = 'm.safetensors'\n[started]\n{more}");
        let (_, mut origins) = file::parse("run.toml", &text("in = '/x'\nfrom-sha256 = 'ab'")).unwrap();
        assert_eq!(origins.wanted_weights(), Some(("ab", false)));
        let resumed = Origins::default().or_of_run(origins.clone());
        assert_eq!(resumed.wanted_weights(), Some(("ab", true)));
        // A flag names a model whatever it is, but not for a run that has begun.
        origins.note(["from"], Origin::Flag);
        assert_eq!(origins.wanted_weights(), None);
        let mut resumed = resumed;
        resumed.note(["from"], Origin::Flag);
        assert_eq!(resumed.wanted_weights(), Some(("ab", true)));
        for wrong in ["from-sha256 = 3", "sha256 = 'ab'"] {
            assert!(file::parse("run.toml", &text(wrong)).is_err(), "{wrong}");
        }
    }

    /// A worker that trains whole runs does not read files that a coordinator names.
    #[test]
    fn a_run_that_is_ordered_begins_with_the_model_that_was_sent_and_no_other() {
        let ordered = |text: &str, model: Option<&[u8]>| {
            TrainConfig::ordered(text, Path::new("x"), (false, model), NonZeroUsize::MIN)
        };
        for (text, model, says) in [
            ("from = '/etc/x'", None, "did not send the model"),
            ("seed = 1", Some(&b"x"[..]), "sends a model"),
            ("from = '/etc/x'", Some(b"x"), "/etc/x"),
        ] {
            let message = ordered(text, model).unwrap_err().message().to_owned();
            assert!(message.contains(says), "{message}");
        }
    }
}
