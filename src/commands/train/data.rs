//! The data of a run. Its sets are shared, since several runs may train on the same.

use std::sync::Arc;

use nn_core::{Dataset, MismatchError};
use nn_data::{LoadOptions, Preparation, Splits};
use serde::{Deserialize, Serialize};

use crate::commands::{SPLIT_SEED, load_data_unless, misfit, options_for};
use crate::config::{Base, TrainConfig};
use crate::failure::Failure;
use crate::signals::StopFlag;

/// [`Splits`] whose sets are shared.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Data {
    pub(in crate::commands) train: Arc<Dataset>,
    pub(in crate::commands) test: Arc<Dataset>,
    pub(in crate::commands) validation: Option<Arc<Dataset>>,
    pub(in crate::commands) name: String,
    pub(super) classes: Option<Vec<String>>,
    pub(super) sha256: String,
    pub(super) oddities: Vec<String>,
    pub(super) preparation: Option<Arc<Preparation>>,
    pub(super) picture_files: bool,
    pub(super) notes: Vec<String>,
}

impl Data {
    /// Loads the data of a run, unless `stop` is set while it waits for a pipe.
    ///
    /// # Errors
    /// Exit code 3 if the data cannot be used.
    pub(in crate::commands) fn load(config: &TrainConfig, stop: &StopFlag) -> Result<Self, Failure> {
        let options = Self::options(config);
        let data = Self::from(load_data_unless(stop, &config.data, options, config.quiet)?);
        if let Some(base) = &config.base {
            data.check_fit(base)?;
        }
        Ok(data)
    }

    /// How the data of a run is read: as its own, or as that of the model that it begins with.
    pub(in crate::commands) fn options(config: &TrainConfig) -> LoadOptions {
        match &config.base {
            Some(base) => options_for(&config.format, &base.model),
            None => config.format.load_options(SPLIT_SEED),
        }
    }

    /// Fails if a model cannot be trained with the data.
    fn check_fit(&self, base: &Base) -> Result<(), Failure> {
        let (model, input) = (&base.model.model, &base.model.input);
        let refused = |what: &str| {
            Failure::data(format_args!(
                "{} does not fit the model {}: {what}",
                self.name,
                base.path.display()
            ))
            .help(format_args!(
                "the model was trained on {}; use data of that kind, or leave out --from",
                base.model.input.data
            ))
        };
        let preparation = |preparation: &Option<Arc<Preparation>>| preparation.as_ref().map(|p| p.sha256());
        if input.preparation.as_ref().map(Preparation::sha256) != preparation(&self.preparation) {
            return Err(refused("the model prepares the columns of a table, and these samples have none"));
        }
        if let (Some(own), Some(theirs)) = (input.image, self.train.image())
            && own != theirs
        {
            let ((height, width), (h, w)) = (own, theirs);
            return Err(refused(&format!(
                "the model takes pictures of {height} x {width}, and these have {h} x {w}"
            )));
        }
        let (inputs, data) = (model.input_width(), self.train.input_width());
        if inputs != data {
            return Err(misfit(&base.model, &self.name, &MismatchError::Inputs { model: inputs, data }));
        }
        match (&input.classes, &self.classes) {
            (Some(_), None) => Err(refused("the model answers with classes, and these answers are numbers")),
            (None, Some(_)) => Err(refused("the model answers with numbers, and these answers are classes")),
            _ if model.output_width() != self.train.output_width() => {
                let (model, data) = (model.output_width(), self.train.output_width());
                Err(misfit(&base.model, &self.name, &MismatchError::Outputs { model, data }))
            }
            (Some(own), Some(theirs)) if own != theirs && !has_numbered_classes(base, own) => {
                let other = own.iter().zip(theirs).find(|(own, theirs)| own != theirs);
                let (own, theirs) = other.map_or(("", ""), |(own, theirs)| (own, theirs));
                Err(refused(&format!("a class is `{own}` for the model and `{theirs}` in the data")))
            }
            _ => Ok(()),
        }
    }

    /// The decisions made about the data, for people to read.
    pub(in crate::commands) fn remarks(&self) -> impl Iterator<Item = &String> {
        self.notes.iter().chain(&self.oddities)
    }
}

/// Whether the classes of a model have numbers for names because nobody has named them when it was imported.
fn has_numbered_classes(base: &Base, classes: &[String]) -> bool {
    let numbered = || classes.iter().enumerate().all(|(class, name)| *name == class.to_string());
    base.model.run.imported.is_some() && numbered()
}

/// What is known of data besides its samples, for a worker that receives these.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    name: String,
    classes: Option<Vec<String>>,
    sha256: String,
    preparation: Option<Preparation>,
    picture_files: bool,
}

impl Data {
    /// What is known besides the samples, as JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(in crate::commands) fn about(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&About {
            name: self.name.clone(),
            classes: self.classes.clone(),
            sha256: self.sha256.clone(),
            preparation: self.preparation.as_deref().cloned(),
            picture_files: self.picture_files,
        })
    }

    /// The data with these samples, for training, testing and, if there are three sets, validation.
    ///
    /// # Errors
    /// A sentence, if they do not fit.
    pub(in crate::commands) fn from_parts(about: &str, sets: Vec<Arc<Dataset>>) -> Result<Self, String> {
        let about: About = serde_json::from_str(about).map_err(|error| error.to_string())?;
        let About { name, classes, sha256, preparation, picture_files } = about;
        let mut sets = sets.into_iter();
        let (Some(train), Some(test)) = (sets.next(), sets.next()) else {
            return Err("a run needs samples for training and for testing".to_owned());
        };
        let validation = sets.next();
        let widths = |set: &Dataset| (set.input_width(), set.output_width(), set.label(0).is_some());
        if [Some(&test), validation.as_ref()].into_iter().flatten().any(|set| widths(set) != widths(&train))
            || train.label(0).is_some() != classes.is_some()
            || classes.as_ref().is_some_and(|classes| classes.len() != train.output_width())
            || preparation.as_ref().is_some_and(|p| !p.is_consistent(train.input_width()))
        {
            return Err("the samples do not fit each other, or what is said of them".to_owned());
        }
        let preparation = preparation.map(Arc::new);
        let (oddities, notes) = (Vec::new(), Vec::new());
        Ok(Self {
            train,
            test,
            validation,
            name,
            classes,
            sha256,
            oddities,
            preparation,
            picture_files,
            notes,
        })
    }
}

impl From<Splits> for Data {
    fn from(splits: Splits) -> Self {
        let Splits {
            train,
            test,
            name,
            classes,
            validation,
            sha256,
            oddities,
            preparation,
            survey: _,
            origins: _,
            picture_files,
            notes,
        } = splits;
        Self {
            train: Arc::new(train),
            test: Arc::new(test),
            validation: validation.map(Arc::new),
            name,
            classes,
            sha256,
            oddities,
            preparation,
            picture_files,
            notes,
        }
    }
}
