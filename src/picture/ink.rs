//! Which pixels are ink, and how much.

use super::Invert;
use super::decode::Grey;
use super::resize::resize;

/// Larger pictures are shrunk to this before ink is looked for; a digit that fills a twentieth of it keeps its strokes.
const WORKING_SIDE: usize = 1024;

/// Less contrast than this is no ink, as a fraction of black to white.
const LEAST_CONTRAST: f32 = 0.06;

/// Ink weaker than this, as a fraction of the strongest, neither holds strokes together nor widens the box.
pub(super) const LEAST_INK: f32 = 0.1;

/// A connected stroke with less of the ink than this fraction of the largest is dust.
const DUST: f32 = 0.02;

/// How much ink each pixel has: 0 for paper, 1 for full ink.
pub(super) struct Ink {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Row-major.
    pub(super) amount: Vec<f32>,
}

/// The pixels as they are, light ink on dark; `None` where all are alike.
pub(super) fn as_it_is(grey: &Grey, invert: Invert) -> Option<Vec<f32>> {
    let values: Vec<f32> = grey.luma.iter().map(|&luma| f32::from(luma) / 255.0).collect();
    let (darkest, lightest) = extremes(&values);
    if lightest - darkest < LEAST_CONTRAST {
        return None;
    }
    let dark_ink = is_dark_ink(&values, median(border(&values, grey.height, grey.width)), invert);
    Some(values.into_iter().map(|value| if dark_ink { 1.0 - value } else { value }).collect())
}

/// Finds the ink in any picture; `None` where nothing stands out from the paper.
///
/// The paper is the median along the border, the fullest ink what differs most from it. What the border has besides paper
/// (shadows, grain) is taken off everywhere, and dust is removed.
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
    // The fullest ink is not one pixel: a glint or a dead pixel is stronger than any ink.
    let fullest = quantile(amount.clone(), 1.0 - 1.0 / 2000.0);
    if fullest < LEAST_CONTRAST {
        return None;
    }
    let besides = quantile(border(&amount, height, width), 0.9) / fullest;
    let floor = (1.25 * besides).clamp(0.0, 0.5);
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

/// The pixels of a frame along the border, as thick as 1/32 of the shorter side.
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

/// Takes away what is not connected to a stroke of some size, and the weak ink that touches no stroke.
fn remove_dust(amount: &mut [f32], h: usize, w: usize) {
    // 0 for what is not visited; else the number of the stroke.
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
