//! The data of a run. Its sets are shared, since several runs may train on the same.

use std::sync::Arc;

use nn_core::Dataset;
use nn_data::{Preparation, Splits};

use crate::commands::{SPLIT_SEED, load_data_unless};
use crate::config::TrainConfig;
use crate::failure::Failure;
use crate::signals::StopFlag;

/// [`Splits`] whose sets are shared.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Data {
    pub(in crate::commands) train: Arc<Dataset>,
    pub(in crate::commands) test: Arc<Dataset>,
    pub(in crate::commands) validation: Option<Arc<Dataset>>,
    pub(super) name: String,
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
        let options = config.format.load_options(SPLIT_SEED);
        load_data_unless(stop, &config.data, options, config.quiet).map(Self::from)
    }

    /// The decisions made about the data, for people to read.
    pub(in crate::commands) fn remarks(&self) -> impl Iterator<Item = &String> {
        self.notes.iter().chain(&self.oddities)
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
