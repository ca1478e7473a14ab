//! The network of a run by the files in its folder: its model, and the samples that evaluate it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nn_core::{Workspace, layout};
use nn_engine::{Manifest, params_sha256};

use super::network::Network;
use crate::commands::{isa, load_data, misfit, options_for, read_model, threads};
use crate::config::EvalConfig;
use crate::failure::Failure;
use crate::store::Checkpoints;
use crate::store::run_files::MODEL;

/// A network that was read, and the file that it is of.
pub(super) struct Loaded {
    of: (PathBuf, Option<SystemTime>),
    network: Arc<Network>,
}

/// The network of the run in `folder`: the finished model, or that of the newest checkpoint. `before` is the one that was read last; it
/// is given again if the file is still the same.
///
/// # Errors
/// If there is no model or no data, or they do not fit.
pub(super) fn load(folder: &Path, before: Option<Loaded>) -> Result<Loaded, Failure> {
    let path = file_of(folder)?;
    let time = fs::metadata(&path).and_then(|about| about.modified()).ok();
    let of = (path, time);
    if let Some(before) = before.filter(|before| before.of == of) {
        return Ok(before);
    }
    let model = read_model(&of.0)?;
    let config = EvalConfig::of_run(&of.0)?;
    let splits = load_data(&config.data, &options_for(&config.format, &model), true)?;
    let mut workspace = Workspace::for_evaluation(&model.model, threads(1)?, isa()?);
    let mut outputs = Vec::new();
    let _ = workspace
        .evaluate_into(model.model_params(), &splits.test, &mut outputs)
        .map_err(|error| misfit(&model, &splits.name, &error))?;
    let first = layout(&model.model).into_iter().next().map(|layer| layer.weights);
    let first = first.filter(|_| splits.test.image().is_some());
    let network = Network {
        epoch: Manifest::new(model.run.manifest.clone()).map_or(0, |run| run.place(model.run.step).0),
        params_sha256: params_sha256(model.model_params()),
        set: "test",
        outputs,
        classes: model.input.classes.clone(),
        first: first.map_or_else(Vec::new, |weights| model.model_params()[weights].to_vec()),
        data: Arc::new(splits.test),
    };
    Ok(Loaded { of, network: Arc::new(network) })
}

impl Loaded {
    pub(super) fn network(&self) -> &Arc<Network> {
        &self.network
    }
}

/// The file with the run's network.
fn file_of(folder: &Path) -> Result<PathBuf, Failure> {
    let model = folder.join(MODEL);
    if model.exists() {
        return Ok(model);
    }
    let newest = Checkpoints::of_run(folder, 1).newest().ok().and_then(|found| found.newest);
    newest.map(|(path, _)| path).ok_or_else(|| {
        Failure::data(format_args!("{} has no model and no checkpoint yet", folder.display()))
            .help("wait for the first checkpoint, or for the end of the run")
    })
}
