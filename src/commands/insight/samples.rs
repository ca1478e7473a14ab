//! The test samples of a run, read again as the run read them.

use std::path::Path;
use std::sync::Arc;

use nn_core::Dataset;
use nn_data::{Preparation, Remote, Source, default_cache_dir, is_cached};

use crate::commands::{SPLIT_SEED, is_pipe, load_data};
use crate::config::{DataFormat, run_file};
use crate::failure::Failure;
use crate::store::ModelFile;

/// Test samples, each set read once for all runs that have it.
#[derive(Debug)]
pub(in crate::commands) struct TestSets {
    /// The data to read in place of those that the runs name.
    instead: Option<String>,
    /// The flag with which the user can name other data, for advice.
    flag: Option<&'static str>,
    read: Vec<(String, DataFormat, Result<Arc<TestSet>, String>)>,
}

/// What is kept of data that were read.
#[derive(Debug)]
struct TestSet {
    test: Arc<Dataset>,
    name: String,
    sha256: String,
    preparation: Option<Arc<Preparation>>,
}

impl TestSets {
    /// No data so far. `instead` is read in place of what the runs name; `flag` is where the user can say so.
    pub(in crate::commands) fn new(instead: Option<String>, flag: Option<&'static str>) -> Self {
        Self { instead, flag, read: Vec::new() }
    }

    /// The test samples of the run in `folder`, whose network is `model`, with the name of the data. They are those that the run was
    /// tested with: data with another hash are refused.
    ///
    /// # Errors
    /// Why they cannot be had, in a sentence with what helps.
    pub(in crate::commands) fn of(
        &mut self,
        folder: &Path,
        model: &ModelFile,
    ) -> Result<(&str, &Arc<Dataset>), String> {
        let want = &model.run.manifest;
        if want.data_sha256.is_empty() {
            return Err("The network was imported, and comes from no data that nn knows".to_owned());
        }
        let instead = self.instead.as_deref();
        let found = run_file::data_of(folder, instead).map_err(|failure| in_a_sentence(&failure))?;
        let Some((data, format)) = found else {
            let text = format!("{} has no run.toml, which says what the data are", folder.display());
            return Err(self.advised(&text));
        };
        let known = |(name, how, _): &(String, DataFormat, _)| *name == data && *how == format;
        let at = self.read.iter().position(known).unwrap_or_else(|| {
            let set = read(&data, &format).map(Arc::new);
            self.read.push((data.clone(), format, set));
            self.read.len() - 1
        });
        let (_, _, set) = &self.read[at];
        let set = set.as_ref().map_err(|why| self.advised(why))?;
        if set.sha256 != want.data_sha256 {
            let text = format!(
                "{data} is not what it was: its hash is {}…, and the run had data with the hash {}…",
                start(&set.sha256),
                start(&want.data_sha256)
            );
            return Err(self.advised(&text));
        }
        if set.preparation.as_deref() != model.input.preparation.as_ref() {
            return Err(format!(
                "{data} is prepared differently by this version of nn, so its inputs are not the run's"
            ));
        }
        Ok((&set.name, &set.test))
    }

    /// A sentence with what helps.
    fn advised(&self, text: &str) -> String {
        match self.flag {
            Some(flag) => format!("{text}; to name the run's data where they are now, add {flag}"),
            None => text.to_owned(),
        }
    }
}

/// Reads data, unless that would take them from the network or wait for a pipe.
fn read(data: &str, format: &DataFormat) -> Result<TestSet, String> {
    let source: Source = data.parse().map_err(|error| in_a_sentence(&Failure::from(error)))?;
    match source {
        Source::Mnist => in_cache(Remote::Mnist)?,
        Source::FashionMnist => in_cache(Remote::FashionMnist)?,
        Source::Path(path) if is_pipe(&path) => {
            return Err(format!("{data} is a pipe, whose samples are gone"));
        }
        _ => {}
    }
    let splits = load_data(data, &format.load_options(SPLIT_SEED), false);
    let splits = splits.map_err(|failure| in_a_sentence(&failure))?;
    Ok(TestSet {
        test: splits.test.into(),
        name: splits.name,
        sha256: splits.sha256,
        preparation: splits.preparation,
    })
}

/// Whether data from the network are here already.
fn in_cache(remote: Remote) -> Result<(), String> {
    let here = default_cache_dir().is_some_and(|cache| is_cached(remote, &cache));
    let name = remote.name();
    if here { Ok(()) } else { Err(format!("{name} is not in the cache; `nn fetch {name}` brings it there")) }
}

fn in_a_sentence(failure: &Failure) -> String {
    match failure.remedy() {
        Some(remedy) => format!("{}; {remedy}", failure.message()),
        None => failure.message().to_owned(),
    }
}

/// The start of a hash, by which people tell it from others.
fn start(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
