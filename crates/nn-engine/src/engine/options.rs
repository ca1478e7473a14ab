//! The driver's choices. They decide how fast a run goes, never what it computes.

use std::time::Duration;

use super::ids::{Generation, WorkerId};

/// The most workers that a run is meant for. The driver enforces it; the engine's memory of strangers is sized by it.
pub const MAX_WORKERS: usize = 1024;

/// The most members that are remembered for their strikes, and the most that are remembered as quarantined. A dialling
/// process chooses its own member number, so without a bound strangers could fill the memory.
pub const MAX_REMEMBERED: usize = 2 * MAX_WORKERS;

/// The rules for workers. The result does not depend on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The number of times that the coordinator of this run has been started.
    pub generation: Generation,
    /// The fewest workers that a step begins with; a step under way ends with fewer. 0 counts as 1. [`Cluster::own`] is
    /// not counted. With it, this many others, or none, are needed for the first step only.
    pub min_workers: usize,
    /// The worker that computes in the coordinator's own process beside those from elsewhere, if there is one. Nothing
    /// that it needs or gives has to travel, and it is never released for its silence: the driver sees when it ends.
    pub own: Option<WorkerId>,
    /// How far a worker may exceed its usual time, in median absolute deviations, before an idle worker gets the same
    /// node.
    pub patience: f64,
    /// A worker that has sent nothing for longer than this is released.
    pub silence: Duration,
    /// The run ends with [`Outcome::NoWorkers`](super::Outcome::NoWorkers) after it has had too few workers for this
    /// long. None: it waits without limit.
    pub wait_timeout: Option<Duration>,
    /// A member is quarantined once it has sent this many malformed contributions, over all its connections. 0 counts
    /// as 1.
    pub strikes: u32,
    /// The assumed bandwidth of the coordinator's link, until it has been measured. The planner weighs balance against
    /// bytes with it.
    pub link_bytes_per_second: f64,
    /// The fraction of nodes that a second worker computes too: their bits are compared before they count, and a third
    /// worker decides if they differ. With `min_workers` of 1 a lone worker is believed without a witness.
    pub audit: f64,
}

impl Cluster {
    /// The default of [`Cluster::patience`].
    pub const PATIENCE: f64 = 6.0;
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            generation: Generation(0),
            min_workers: 1,
            own: None,
            patience: Self::PATIENCE,
            silence: Duration::from_secs(10),
            wait_timeout: None,
            strikes: 3,
            link_bytes_per_second: 125e6,
            audit: 0.0,
        }
    }
}
