//! Separating ink from paper.

use super::decode::Grey;
use super::resize::resize;

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

/// A connected stroke with less than this fraction of the largest stroke's ink is dust.
const DUST: f32 = 0.02;

/// The ink of each pixel: 0 for paper, 1 for full ink.
pub(super) struct Ink {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Row-major.
    pub(super) amount: Vec<f32>,
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
/// The paper's grey is the median along the border, and the fullest ink is what differs most from it. Deviations from the
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

    let paper = median(border(&values, height, width));
    let dark_ink = is_dark_ink(&values, paper, invert);
    let mut amount: Vec<f32> =
        values.iter().map(|value| (if dark_ink { paper - value } else { value - paper }).max(0.0)).collect();
    // A quantile rather than the maximum: a glint or a dead pixel is stronger than any ink.
    let fullest = quantile(amount.clone(), 1.0 - 1.0 / 2000.0);
    if fullest < LEAST_CONTRAST {
        return None;
    }
    let noise = quantile(border(&amount, height, width), 0.9) / fullest;
    let floor = (1.25 * noise).clamp(0.0, 0.5);
    for amount in &mut amount {
        *amount = ((*amount / fullest - floor) / (1.0 - floor)).clamp(0.0, 1.0);
    }
    remove_dust(&mut amount, height, width);
    Some(Ink { height, width, amount })
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

fn quantile(mut values: Vec<f32>, fraction: f64) -> f32 {
    let at = ((values.len() - 1) as f64 * fraction).round() as usize;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

/// Removes small strokes, and weak ink that touches no remaining stroke.
fn remove_dust(amount: &mut [f32], h: usize, w: usize) {
    // 0 for pixels not visited yet, else the number of the stroke.
    let mut stroke = vec![0_u32; h * w];
    let mut sizes = vec![0.0_f32];
    let mut open = Vec::new();
    for start in 0..h * w {
        if stroke[start] != 0 || amount[start] < LEAST_INK {
            continue;
        }
        let number = sizes.len() as u32;
        sizes.push(0.0);
        stroke[start] = number;
        open.push(start);
        while let Some(at) = open.pop() {
            sizes[number as usize] += amount[at];
            for next in neighbours(at, h, w) {
                if stroke[next] == 0 && amount[next] >= LEAST_INK {
                    stroke[next] = number;
                    open.push(next);
                }
            }
        }
    }
    let largest = sizes.iter().copied().fold(0.0, f32::max);
    let kept = |at: usize| stroke[at] != 0 && sizes[stroke[at] as usize] >= DUST * largest;
    let strokes: Vec<bool> = (0..h * w).map(|at| kept(at) || neighbours(at, h, w).any(kept)).collect();
    amount.iter_mut().zip(strokes).for_each(|(amount, stroke)| *amount *= f32::from(u8::from(stroke)));
}

fn neighbours(at: usize, h: usize, w: usize) -> impl Iterator<Item = usize> {
    let (y, x) = (at / w, at % w);
    let rows = y.saturating_sub(1)..(y + 2).min(h);
    rows.flat_map(move |row| (x.saturating_sub(1)..(x + 2).min(w)).map(move |column| row * w + column))
        .filter(move |&next| next != at)
}
