//! What a network confuses and what it looks at, for pages: the figures without their HTML. Everything here can be written as JSON.
//!
//! | File | Contents |
//! | --- | --- |
//! | `model.rs` | the network of a run: the finished one, or the newest checkpoint |
//! | `samples.rs` | the test samples of a run, read again and recognised by their hash |
//! | `judged.rs` | the network's answers to them: counts, figures of each class, the worst mistakes |
//! | `tiles.rs` | the weights of the first layer as pictures |

mod judged;
mod model;
mod samples;
mod tiles;

use serde::Serialize;

pub(in crate::commands) use self::judged::{Judged, greys};
pub(in crate::commands) use self::model::network;
pub(in crate::commands) use self::samples::TestSets;
pub(in crate::commands) use self::tiles::Tiles;
use super::names;
use super::runs::{Found, State};
use crate::store::ModelFile;

/// What a page shows of a network.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct Insight {
    /// The file of the network, by its path in the folder of the run.
    pub(in crate::commands) file: String,
    /// The steps after which it was written.
    pub(in crate::commands) step: u64,
    /// Whether it is a checkpoint of a run, and not its result.
    pub(in crate::commands) is_checkpoint: bool,
    /// The names of the classes, or of the targets of a regression.
    pub(in crate::commands) names: Vec<String>,
    /// Height and width of a sample in pixels, if samples are pictures.
    pub(in crate::commands) image: Option<(usize, usize)>,
    /// Its answers to the test samples; `None` if they cannot be had, for the reason in `missing`.
    pub(in crate::commands) judged: Option<Judged>,
    /// Why there are no answers, in a sentence with what helps.
    pub(in crate::commands) missing: Option<String>,
    /// The weights of the first layer, if samples are pictures.
    pub(in crate::commands) tiles: Option<Tiles>,
}

/// Looks at the network of a run. `sets` keeps the data that were read, for the next run.
///
/// # Errors
/// Why the run has no network to look at, in a sentence.
pub(in crate::commands) fn look(run: &Found, sets: &mut TestSets) -> Result<Insight, String> {
    let (file, is_checkpoint, model) = network(&run.folder, run.state == State::Running)?;
    Ok(insight(run, file, is_checkpoint, &model, sets))
}

fn insight(
    run: &Found,
    file: String,
    is_checkpoint: bool,
    model: &ModelFile,
    sets: &mut TestSets,
) -> Insight {
    let names = names(model);
    // Who may have a private model may not have its samples.
    let shows_samples = !run.options.contains_key("dp-noise");
    let judged =
        sets.of(&run.folder, model).and_then(|(data, test)| judged::judge(model, data, test, shows_samples));
    let (judged, missing) = match judged {
        Ok(judged) => (Some(judged), None),
        Err(why) => (None, Some(why)),
    };
    Insight {
        file,
        step: model.run.step,
        is_checkpoint,
        names: (0..names.len()).map(|at| names.name(at)).collect(),
        image: model.input.image,
        judged,
        missing,
        tiles: Tiles::of(model),
    }
}
