//! Framing ink in a model's field, like the digits of MNIST.

use super::ink::{Ink, LEAST_INK};
use super::resize::resize;

/// The input field of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Fraction of the field's sides that the ink may fill. Below 1 the ink is centred by its centre of mass, at 1 by its
    /// bounding box.
    pub fill: f64,
    /// Whether a picture of the field's size is used with its own greys, because the model was trained on such files.
    pub as_trained: bool,
}

impl Field {
    /// The field of a model, with the margin that its size suggests: ink fills 20/28 of each side as in MNIST, or
    /// everything if a side has ten pixels or fewer. For Fashion-MNIST, whose images fill the field, set `fill` to 1.
    pub fn new(height: usize, width: usize) -> Self {
        let fill = if height.min(width) <= 10 { 1.0 } else { 20.0 / 28.0 };
        Self { height, width, fill, as_trained: false }
    }
}

/// Crops the ink to its bounding box, scales it to fit the field with its aspect ratio kept, and centres it.
pub(super) fn frame(ink: &Ink, field: Field) -> Vec<f32> {
    let (top, bottom, first, last) = bounding_box(ink);
    let (h, w) = (bottom - top, last - first);
    let rows = ink.amount.chunks_exact(ink.width).skip(top).take(h);
    let cut: Vec<f32> = rows.flat_map(|row| &row[first..last]).copied().collect();

    let side = |side: usize| (side as f64 * field.fill).round().clamp(1.0, side as f64);
    let scale = (side(field.height) / h as f64).min(side(field.width) / w as f64);
    let scaled = |old: usize, limit: usize| ((old as f64 * scale).round() as usize).clamp(1, limit);
    let (new_h, new_w) = (scaled(h, field.height), scaled(w, field.width));
    let mut small = resize(&cut, h, w, new_h, new_w);
    // Averaging turns a thin pen pale grey, unlike any training sample, so the fullest ink becomes 1 again.
    let fullest = small.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    small.iter_mut().for_each(|amount| *amount = (*amount / fullest).clamp(0.0, 1.0));

    let (middle_y, middle_x) = centre_of_mass(&small, new_w);
    let by_mass = field.fill < 1.0;
    let shift = |middle: f64, size: usize, limit: usize| {
        // The centres of mass of MNIST's digits are at 14, counting pixels from 0 (measured), not at 13.5.
        let shift = if by_mass { limit as f64 / 2.0 - middle } else { (limit - size) as f64 / 2.0 };
        shift.round().clamp(0.0, (limit - size) as f64) as usize
    };
    let (down, along) = (shift(middle_y, new_h, field.height), shift(middle_x, new_w, field.width));
    let mut framed = vec![0.0; field.height * field.width];
    for (row, ink) in framed.chunks_exact_mut(field.width).skip(down).zip(small.chunks_exact(new_w)) {
        row[along..along + new_w].copy_from_slice(ink);
    }
    framed
}

/// `(top, bottom, first, last)` of the ink, with exclusive ends; the whole picture if there is no ink.
fn bounding_box(ink: &Ink) -> (usize, usize, usize, usize) {
    let mut found = (ink.height, 0, ink.width, 0);
    for (y, row) in ink.amount.chunks_exact(ink.width).enumerate() {
        for (x, _) in row.iter().enumerate().filter(|(_, amount)| **amount >= LEAST_INK) {
            found = (found.0.min(y), found.1.max(y + 1), found.2.min(x), found.3.max(x + 1));
        }
    }
    if found.1 == 0 { (0, ink.height, 0, ink.width) } else { found }
}

/// Row and column of the centre of mass, counting pixels from 0.
pub(super) fn centre_of_mass(amount: &[f32], w: usize) -> (f64, f64) {
    let (mut mass, mut y, mut x) = (f64::MIN_POSITIVE, 0.0, 0.0);
    for (at, &amount) in amount.iter().enumerate() {
        let amount = f64::from(amount);
        mass += amount;
        y += amount * (at / w) as f64;
        x += amount * (at % w) as f64;
    }
    (y / mass, x / mass)
}
