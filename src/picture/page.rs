//! The paper of a picture: dark frames around it, and how the light falls on it.

use super::ink::quantile;
use super::resize::resize;

/// The least step of grey between a frame and the page inside it, as a fraction of the range from black to white.
const LEAST_STEP: f32 = 0.3;

/// The side of the small picture in which the light is estimated.
const SMALL: usize = 96;

/// The range `[top, bottom) × [first, last)` of a page inside a frame, such as the lid of a scanner; `None` without a frame.
///
/// A frame shows as lines of one grey at a side of the picture, followed by a step to the grey of the page. Ink never
/// looks so: most of each line at the edge of a page is paper.
pub(super) fn inside_frame(values: &[f32], h: usize, w: usize) -> Option<[usize; 4]> {
    let row = |y: usize| median(values[y * w..(y + 1) * w].to_vec());
    let column = |x: usize| median(values.iter().skip(x).step_by(w).copied().collect());
    let rows: Vec<f32> = (0..h).map(row).collect();
    let columns: Vec<f32> = (0..w).map(column).collect();
    let page = median(values.to_vec());
    let thickness = |lines: &mut dyn Iterator<Item = f32>, side: usize| {
        let lines: Vec<f32> = lines.take(side / 4 + 1).collect();
        let frame = *lines.first()?;
        let end = lines.iter().position(|line| (line - page).abs() < (line - frame).abs())?;
        let steady = lines[..end].iter().filter(|line| (*line - frame).abs() < LEAST_STEP / 2.0).count();
        // The last lines of a blurred frame are between the two greys.
        let blurred = side / 100 + 2;
        ((frame - page).abs() >= LEAST_STEP && steady + blurred >= end)
            .then_some((end + blurred.min(end)).min(side / 4 + blurred))
    };
    let top = thickness(&mut rows.iter().copied(), h);
    let bottom = thickness(&mut rows.iter().rev().copied(), h);
    let first = thickness(&mut columns.iter().copied(), w);
    let last = thickness(&mut columns.iter().rev().copied(), w);
    if [top, bottom, first, last].iter().all(Option::is_none) {
        return None;
    }
    let [top, bottom, first, last] = [top, bottom, first, last].map(|side| side.unwrap_or(0));
    let (bottom, last) = (h.checked_sub(bottom)?, w.checked_sub(last)?);
    if bottom < top + 2 || last < first + 2 {
        return None;
    }
    // Bold ink in a tight crop would show paper in the corners.
    let edge = |y: usize, x: usize| y == top || y + 1 == bottom || x == first || x + 1 == last;
    let inside = (top..bottom).flat_map(|y| (first..last).map(move |x| (y, x)));
    let ring: Vec<f32> = inside.filter(|&(y, x)| edge(y, x)).map(|(y, x)| values[y * w + x]).collect();
    let like_page = ring.iter().filter(|value| (**value - page).abs() < LEAST_STEP).count();
    (like_page * 10 >= ring.len() * 8).then_some([top, bottom, first, last])
}

fn median(values: Vec<f32>) -> f32 {
    quantile(values, 0.5)
}

/// The grey that the paper would have without its dark ink, at each pixel. It follows shadows and gradients, because
/// they are wider than strokes: a stroke is anything that cannot hold a box a third as wide as the picture.
pub(super) fn paper(values: &[f32], h: usize, w: usize) -> Vec<f32> {
    let (small, small_h, small_w) = shrunk(values, h, w);
    let reach = (small_h.min(small_w) / 6).max(1);
    let lit = extreme(&small, small_h, small_w, reach, f32::max);
    let closed = extreme(&lit, small_h, small_w, reach, f32::min);
    // The box leaves steps, which a mean smooths.
    let smooth = mean(&closed, small_h, small_w, (reach / 6).max(1));
    resize(&smooth, small_h, small_w, h, w)
}

/// Whether strokes are darker than the paper around them. Strokes are fewer than the paper around them, so they lie
/// further from the mean of both: the sum of the cubes of all distances has their sign. The distances of gradients, grain
/// and the edges of shadows lie on both sides alike.
pub(super) fn has_dark_strokes(values: &[f32], h: usize, w: usize) -> bool {
    let (small, small_h, small_w) = shrunk(values, h, w);
    let around = mean(&small, small_h, small_w, (small_h.min(small_w) / 4).max(1));
    small.iter().zip(around).map(|(value, around)| f64::from(value - around).powi(3)).sum::<f64>() < 0.0
}

/// A small copy, whose pixels are means of many and have no grain, with its height and width.
fn shrunk(values: &[f32], h: usize, w: usize) -> (Vec<f32>, usize, usize) {
    let longest = h.max(w).max(SMALL);
    let side = |side: usize| (side * SMALL / longest).max(1);
    (resize(values, h, w, side(h), side(w)), side(h), side(w))
}

/// The greatest or least value in a box around each pixel, cut at the edges.
fn extreme(values: &[f32], h: usize, w: usize, reach: usize, of: fn(f32, f32) -> f32) -> Vec<f32> {
    boxed(values, h, w, reach, |line| line.copied().reduce(of).unwrap_or_default())
}

fn mean(values: &[f32], h: usize, w: usize, reach: usize) -> Vec<f32> {
    boxed(values, h, w, reach, |line| {
        let (sum, count) = line.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0_f32));
        sum / count.max(1.0)
    })
}

/// Applies a function of lines along both axes.
fn boxed(
    values: &[f32],
    h: usize,
    w: usize,
    reach: usize,
    of: impl Fn(&mut dyn Iterator<Item = &f32>) -> f32,
) -> Vec<f32> {
    let around = |at: usize, side: usize| (at.saturating_sub(reach), (at + reach + 1).min(side));
    let mut across = Vec::with_capacity(h * w);
    for row in values.chunks_exact(w) {
        across.extend((0..w).map(|x| {
            let (from, to) = around(x, w);
            of(&mut row[from..to].iter())
        }));
    }
    let down = (0..h * w).map(|at| {
        let ((from, to), x) = (around(at / w, h), at % w);
        of(&mut across[from * w..to * w].iter().skip(x).step_by(w))
    });
    down.collect()
}
