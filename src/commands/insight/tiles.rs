//! The weights of the first layer as pictures: what each unit looks at.

use nn_core::layout;
use serde::Serialize;

use crate::store::ModelFile;

/// The most units that are drawn.
const UNITS: usize = 64;

/// The most pixels of all tiles together.
const PIXELS: usize = 1 << 19;

/// The level of a weight as large as the scale.
const FULL: f32 = 31.0;

/// The share of the weights that the scale covers. A few much larger ones would leave all others without a colour.
const COVERED: f64 = 0.995;

/// The weights of the first layer, a tile for each unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::commands) struct Tiles {
    /// Height and width of a tile in pixels.
    pub(in crate::commands) size: (usize, usize),
    /// The units of the layer, of which the first are drawn.
    pub(in crate::commands) units: usize,
    /// Whether the units are hidden; those of a network without hidden layers are its classes.
    pub(in crate::commands) hidden: bool,
    /// The weight of level 31; that of level −31 is the same below 0. 99.5 % of the weights are within.
    pub(in crate::commands) scale: f32,
    /// The largest magnitude of a weight in these tiles.
    pub(in crate::commands) largest: f32,
    /// For each unit that is drawn its weights row by row, as levels from −31 to 31; larger ones are drawn like those of the scale.
    pub(in crate::commands) levels: Vec<Vec<i8>>,
}

impl Tiles {
    /// The tiles of a network; `None` if its samples are not pictures, or very large ones.
    pub(in crate::commands) fn of(model: &ModelFile) -> Option<Self> {
        let size = model.input.image?;
        let layers = layout(&model.model);
        let first = layers.first().filter(|first| first.inputs > 0 && size.0 * size.1 == first.inputs)?;
        let drawn = first.outputs.min(UNITS).min(PIXELS / first.inputs);
        if drawn == 0 {
            return None;
        }
        let weights = &model.model_params()[first.weights.clone()][..drawn * first.inputs];
        let (scale, largest) = scale(weights);
        let level = |w: &f32| (w / scale * FULL).round().clamp(-FULL, FULL) as i8; // NaN is level 0
        let levels =
            weights.chunks_exact(first.inputs).map(|unit| unit.iter().map(level).collect()).collect();
        Some(Self { size, units: first.outputs, hidden: layers.len() > 1, scale, largest, levels })
    }
}

/// The magnitude below which 99.5 % of the weights are, and the largest.
fn scale(weights: &[f32]) -> (f32, f32) {
    let mut sizes: Vec<f32> = weights.iter().map(|w| w.abs()).filter(|size| size.is_finite()).collect();
    sizes.sort_unstable_by(f32::total_cmp);
    let at = (sizes.len() as f64 * COVERED).ceil() as usize;
    let scale = sizes.get(at.saturating_sub(1)).copied().unwrap_or(0.0);
    let largest = sizes.last().copied().unwrap_or(0.0);
    // A network whose weights are all 0 is drawn without a level.
    (if scale > 0.0 { scale } else { largest.max(f32::MIN_POSITIVE) }, largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_leaves_out_what_is_rare() {
        let mut weights: Vec<f32> = (1..=1000).map(|w| w as f32 / -1000.0).collect();
        weights[999] = -50.0;
        assert_eq!(scale(&weights), (0.995, 50.0));
        assert_eq!(scale(&[0.0, f32::NAN]), (f32::MIN_POSITIVE, 0.0));
        assert_eq!(scale(&[0.0, 0.0, 0.0, 2.0]), (2.0, 2.0));
    }
}
