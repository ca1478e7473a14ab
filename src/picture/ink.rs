//! Separating ink from paper.

use nn_data::picture_file::Grey;

use super::page;
use super::resize::resize;
use super::strokes::Strokes;

/// Whether ink or paper is the lighter one. Networks are trained on light ink on dark paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Invert {
    /// The border shows the colour of the paper.
    #[default]
    Auto,
    /// The ink is dark and the paper light: invert them.
    Yes,
    /// The ink is light and the paper dark: keep them.
    No,
}

/// Larger pictures are shrunk to this side before ink is detected. A digit a twentieth as large keeps its strokes.
const WORKING_SIDE: usize = 1024;

/// The least contrast of ink, as a fraction of the range from black to white.
const LEAST_CONTRAST: f32 = 0.06;

/// Ink weaker than this fraction of the fullest does not connect strokes or extend the bounding box.
pub(super) const LEAST_INK: f32 = 0.1;

/// Light is uneven if the greys along the border spread further than this fraction of the contrast.
const UNEVEN: f32 = 0.2;

/// The ink of each pixel: 0 for paper, 1 for full ink.
pub(super) struct Ink {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Row-major.
    pub(super) amount: Vec<f32>,
    /// Number of separate pieces that look like digits.
    pub(super) pieces: usize,
}

/// The pixels of a picture at the model's size, as light ink on dark; `None` if the picture is blank.
pub(super) fn as_it_is(grey: &Grey, invert: Invert) -> Option<Vec<f32>> {
    let values: Vec<f32> = grey.luma.iter().map(|&luma| f32::from(luma) / 255.0).collect();
    let (darkest, lightest) = extremes(&values);
    if lightest - darkest < LEAST_CONTRAST {
        return None;
    }
    let dark_ink = is_dark_ink(&values, median(border(&values, grey.height, grey.width)), invert);
    Some(values.into_iter().map(|value| if dark_ink { 1.0 - value } else { value }).collect())
}

/// Finds the ink in a picture of any size; `None` if nothing stands out from the paper.
///
/// A dark frame around the page is cut off. The paper's grey is the median along the border, unless the light there is
/// uneven: then it is estimated at each pixel. The fullest ink is what differs most from the paper. Deviations from the
/// paper within the border (shadows, grain) are subtracted everywhere, and dust is removed.
pub(super) fn find(grey: &Grey, invert: Invert) -> Option<Ink> {
    let values: Vec<f32> = grey.luma.iter().map(|&luma| f32::from(luma) / 255.0).collect();
    let longest = grey.height.max(grey.width);
    let shrunk = |side: usize| (side * WORKING_SIDE / longest).max(1);
    let (height, width, values) = if longest > WORKING_SIDE {
        let (h, w) = (shrunk(grey.height), shrunk(grey.width));
        (h, w, resize(&values, grey.height, grey.width, h, w))
    } else {
        (grey.height, grey.width, values)
    };
    let (height, width, values) = match page::inside_frame(&values, height, width) {
        None => (height, width, values),
        Some([top, bottom, first, last]) => {
            let rows = values.chunks_exact(width).take(bottom).skip(top);
            (bottom - top, last - first, rows.flat_map(|row| &row[first..last]).copied().collect())
        }
    };

    let edge = border(&values, height, width);
    let paper = median(edge.clone());
    let (darkest, lightest) = extremes(&values);
    let contrast = (paper - darkest).max(lightest - paper);
    let spread = quantile(edge.clone(), 0.95) - quantile(edge, 0.05);
    let uneven = contrast >= LEAST_CONTRAST && spread > UNEVEN * contrast;
    let amount: Vec<f32> = if uneven {
        in_uneven_light(&values, height, width, invert)
    } else {
        let dark_ink = is_dark_ink(&values, paper, invert);
        values.iter().map(|value| (if dark_ink { paper - value } else { value - paper }).max(0.0)).collect()
    };
    // A quantile rather than the maximum: a glint or a dead pixel is stronger than any ink.
    let fullest = quantile(amount.clone(), 1.0 - 1.0 / 2000.0);
    if fullest < LEAST_CONTRAST {
        return None;
    }
    let noise = quantile(border(&amount, height, width), 0.9) / fullest;
    let floor = (1.25 * noise).clamp(if uneven { 0.2 } else { 0.0 }, 0.5);
    let above = |floor: f32| -> (Vec<f32>, Strokes) {
        let above = |amount: &f32| ((amount / fullest - floor) / (1.0 - floor)).clamp(0.0, 1.0);
        let amount: Vec<f32> = amount.iter().map(above).collect();
        let strokes = Strokes::of(&amount, height, width);
        (amount, strokes)
    };
    let (mut inked, mut strokes) = above(floor);
    // The lines of ruled paper, and folds, are weaker than ink. A higher floor leaves them out, if it does.
    if strokes.cross(height, width) {
        let higher = (1..).map(|step| floor + 0.05 * step as f32).take_while(|floor| *floor <= 0.5);
        let free = higher.map(above).find(|(_, strokes)| !strokes.cross(height, width));
        if let Some(free) = free {
            (inked, strokes) = free;
        }
    }
    if uneven {
        strokes.drop_from_corners(height, width);
    }
    let pieces = strokes.like_digits();
    strokes.keep(&mut inked, height, width);
    Some(Ink { height, width, amount: inked, pieces })
}

/// How far the ink at each pixel differs from the paper around it, as a fraction of the paper's grey: in a shadow, paper
/// and ink are darker by the same factor.
fn in_uneven_light(values: &[f32], h: usize, w: usize, invert: Invert) -> Vec<f32> {
    let dark_ink = match invert {
        Invert::Auto => page::has_dark_strokes(values, h, w),
        Invert::Yes => true,
        Invert::No => false,
    };
    let values: Vec<f32> = values.iter().map(|value| if dark_ink { *value } else { 1.0 - value }).collect();
    let paper = page::paper(&values, h, w);
    values.iter().zip(paper).map(|(value, paper)| (1.0 - value / paper.max(0.05)).max(0.0)).collect()
}

fn is_dark_ink(values: &[f32], paper: f32, invert: Invert) -> bool {
    let (darkest, lightest) = extremes(values);
    match invert {
        Invert::Auto => paper - darkest > lightest - paper,
        Invert::Yes => true,
        Invert::No => false,
    }
}

fn extremes(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)))
}

/// The pixels along the border, in a frame 1/32 as thick as the shorter side.
fn border(values: &[f32], h: usize, w: usize) -> Vec<f32> {
    let thick = (h.min(w) / 32).max(1);
    let inside = |at: usize, side: usize| at >= thick && at + thick < side;
    let outside = |at: &usize| !(inside(at / w, h) && inside(at % w, w));
    (0..h * w).filter(outside).map(|at| values[at]).collect()
}

fn median(values: Vec<f32>) -> f32 {
    quantile(values, 0.5)
}

pub(super) fn quantile(mut values: Vec<f32>, fraction: f64) -> f32 {
    let at = ((values.len() - 1) as f64 * fraction).round() as usize;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}
