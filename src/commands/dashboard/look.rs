//! The network of a run by the files in its folder: its model, and the samples that it is tested with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nn_core::{Workspace, layout};
use nn_engine::{Manifest, params_sha256};

use super::network::Network;
use crate::commands::insight::{TestSets, network};
use crate::commands::runs::{State, head};
use crate::commands::{isa, misfit, threads};
use crate::failure::Failure;
use crate::store::run_files::{CHECKPOINTS, MODEL};

/// A network that was read, and the files that it is of.
pub(super) struct Loaded {
    of: Of,
    network: Arc<Network>,
}

/// A folder, and when its model and its checkpoints were written.
type Of = (PathBuf, [Option<SystemTime>; 2]);

/// The network of the run in `folder`: the finished model, or that of the newest checkpoint. `before` is the one that was read last; it
/// is given again if its files are still the same.
///
/// # Errors
/// If there is no model or no data, or they do not fit.
pub(super) fn load(folder: &Path, before: Option<Loaded>) -> Result<Loaded, Failure> {
    let time = |name: &str| fs::metadata(folder.join(name)).and_then(|about| about.modified()).ok();
    let of = (folder.to_owned(), [time(MODEL), time(CHECKPOINTS)]);
    if let Some(before) = before.filter(|before| before.of == of) {
        return Ok(before);
    }
    let run = head(folder);
    let (_, _, model) = network(folder, run.state == State::Running).map_err(Failure::data)?;
    let mut sets = TestSets::new(None, None);
    let (name, test) = sets.of(folder, &model).map_err(Failure::data)?;
    let mut workspace = Workspace::for_evaluation(&model.model, threads(1)?, isa()?);
    let mut outputs = Vec::new();
    let _ = workspace
        .evaluate_into(model.model_params(), test, &mut outputs)
        .map_err(|error| misfit(&model, name, &error))?;
    let first = layout(&model.model).into_iter().next().map(|layer| layer.weights);
    let first = first.filter(|_| test.image().is_some());
    let network = Network {
        epoch: Manifest::new(model.run.manifest.clone()).map_or(0, |run| run.place(model.run.step).0),
        params_sha256: params_sha256(model.model_params()),
        set: "test",
        outputs,
        classes: model.input.classes.clone(),
        first: first.map_or_else(Vec::new, |weights| model.model_params()[weights].to_vec()),
        data: test.clone(),
        shows_samples: !run.options.contains_key("dp-noise"),
    };
    Ok(Loaded { of, network: Arc::new(network) })
}

impl Loaded {
    pub(super) fn network(&self) -> &Arc<Network> {
        &self.network
    }
}
