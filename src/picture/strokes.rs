//! Connected strokes: which are dust, shadows or separate digits.

use super::ink::LEAST_INK;

/// A stroke with less than this fraction of the largest stroke's ink is dust.
const DUST: f32 = 0.02;

/// A connected stroke.
#[derive(Debug, Clone, Copy)]
struct Stroke {
    /// The sum of its ink; 0 if it has been dropped.
    ink: f32,
    /// Its rows, with an exclusive end.
    rows: (usize, usize),
    /// Its columns, with an exclusive end.
    columns: (usize, usize),
}

/// The strokes of a picture.
pub(super) struct Strokes {
    /// The number of the stroke that each pixel belongs to, counted from 1; 0 for paper.
    of: Vec<u32>,
    strokes: Vec<Stroke>,
}

impl Strokes {
    pub(super) fn of(amount: &[f32], h: usize, w: usize) -> Self {
        let mut of = vec![0_u32; h * w];
        let mut strokes = Vec::new();
        let mut open = Vec::new();
        for start in 0..h * w {
            if of[start] != 0 || amount[start] < LEAST_INK {
                continue;
            }
            let number = strokes.len() as u32 + 1;
            let mut stroke = Stroke { ink: 0.0, rows: (h, 0), columns: (w, 0) };
            of[start] = number;
            open.push(start);
            while let Some(at) = open.pop() {
                let (y, x) = (at / w, at % w);
                stroke.ink += amount[at];
                stroke.rows = (stroke.rows.0.min(y), stroke.rows.1.max(y + 1));
                stroke.columns = (stroke.columns.0.min(x), stroke.columns.1.max(x + 1));
                for next in neighbours(at, h, w) {
                    if of[next] == 0 && amount[next] >= LEAST_INK {
                        of[next] = number;
                        open.push(next);
                    }
                }
            }
            strokes.push(stroke);
        }
        Self { of, strokes }
    }

    /// Whether a stroke runs from one side of the picture to the opposite one.
    pub(super) fn cross(&self, h: usize, w: usize) -> bool {
        self.strokes.iter().any(|stroke| stroke.columns == (0, w) || stroke.rows == (0, h))
    }

    /// Drops strokes that run into a corner of the picture, if another stroke could be the ink: they are shadows, fingers
    /// and edges of the sheet.
    pub(super) fn drop_from_corners(&mut self, h: usize, w: usize) {
        let sides = |stroke: &Stroke| {
            let across = usize::from(stroke.columns.0 == 0) + usize::from(stroke.columns.1 == w);
            let down = usize::from(stroke.rows.0 == 0) + usize::from(stroke.rows.1 == h);
            (across, down)
        };
        let in_corner = |stroke: &Stroke| matches!(sides(stroke), (1.., 1..));
        let largest = self.largest();
        let inner = |stroke: &Stroke| sides(stroke) == (0, 0) && stroke.ink >= 0.05 * largest;
        if self.strokes.iter().any(inner) {
            self.strokes.iter_mut().filter(|stroke| in_corner(stroke)).for_each(|stroke| stroke.ink = 0.0);
        }
    }

    /// The number of strokes that are as tall and heavy as digits beside each other. A digit may have several strokes,
    /// such as a 5 with its bar; they are short, or overlap.
    pub(super) fn like_digits(&self) -> usize {
        let largest = self.largest();
        let height = |stroke: &Stroke| stroke.rows.1 - stroke.rows.0;
        let heavy = |stroke: &&Stroke| stroke.ink > 0.0 && stroke.ink >= 0.25 * largest;
        let tallest = self.strokes.iter().filter(heavy).map(height).max().unwrap_or(0);
        let mut digits: Vec<Stroke> = Vec::new();
        for stroke in self.strokes.iter().filter(heavy).filter(|stroke| 10 * height(stroke) >= 6 * tallest) {
            let apart = |other: &Stroke| {
                share(stroke.columns, other.columns) < 0.2 || share(stroke.rows, other.rows) < 0.2
            };
            if digits.iter().all(apart) {
                digits.push(*stroke);
            }
        }
        digits.len()
    }

    /// Removes dust and dropped strokes from the ink, and weak ink that touches no remaining stroke.
    pub(super) fn keep(&self, amount: &mut [f32], h: usize, w: usize) {
        let least = (DUST * self.largest()).max(f32::MIN_POSITIVE);
        let kept = |at: usize| {
            let number = self.of[at] as usize;
            number != 0 && self.strokes[number - 1].ink >= least
        };
        let strokes: Vec<bool> =
            (0..h * w).map(|at| kept(at) || self.of[at] == 0 && neighbours(at, h, w).any(kept)).collect();
        amount.iter_mut().zip(strokes).for_each(|(amount, stroke)| *amount *= f32::from(u8::from(stroke)));
    }

    fn largest(&self) -> f32 {
        self.strokes.iter().map(|stroke| stroke.ink).fold(0.0, f32::max)
    }
}

/// The overlap of two ranges as a fraction of the shorter one.
fn share(a: (usize, usize), b: (usize, usize)) -> f64 {
    let overlap = a.1.min(b.1).saturating_sub(a.0.max(b.0));
    overlap as f64 / (a.1 - a.0).min(b.1 - b.0).max(1) as f64
}

fn neighbours(at: usize, h: usize, w: usize) -> impl Iterator<Item = usize> {
    let (y, x) = (at / w, at % w);
    let rows = y.saturating_sub(1)..(y + 2).min(h);
    rows.flat_map(move |row| (x.saturating_sub(1)..(x + 2).min(w)).map(move |column| row * w + column))
        .filter(move |&next| next != at)
}
