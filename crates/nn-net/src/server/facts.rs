//! What all tasks of a coordinator know.

use std::sync::Arc;

use nn_engine::Manifest;

use super::cuts::Cuts;
use super::door::Lobby;
use super::options::CoordinatorOptions;
use crate::data::TrainingSet;
use crate::wire::tensor::Shapes;

/// Facts that do not change during a run; and the lobby and the cuts, which guard their own state.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) manifest: Manifest,
    pub(super) manifest_json: String,
    pub(super) manifest_hash: String,
    pub(super) arithmetic: String,
    pub(super) generation: u64,
    pub(super) training_set: Arc<TrainingSet>,
    pub(super) shapes: Shapes,
    pub(super) options: CoordinatorOptions,
    pub(super) lobby: Arc<Lobby>,
    pub(super) cuts: Cuts,
}
