//! Resampling: area averages to shrink, linear interpolation to enlarge.

/// Resamples `pixels`, row-major `[h][w]`, to `[new_h][new_w]`. Each axis is handled on its own: to shrink, a new pixel is
/// the mean of the area that it covers; to enlarge, it is interpolated between its two neighbours.
///
/// # Panics
/// If the length of `pixels` is not `h × w`, or 0.
pub(crate) fn resize(pixels: &[f32], h: usize, w: usize, new_h: usize, new_w: usize) -> Vec<f32> {
    assert_eq!(pixels.len(), h * w, "the pixels of a picture of {h}×{w}");
    assert!(!pixels.is_empty(), "a picture with pixels");
    let across = weights(w, new_w);
    let mut narrowed = Vec::with_capacity(h * new_w);
    for row in pixels.chunks_exact(w) {
        narrowed.extend(across.iter().map(|Weights { first, of }| {
            of.iter().zip(&row[*first..]).map(|(weight, pixel)| weight * pixel).sum::<f32>()
        }));
    }
    let mut resized = vec![0.0; new_h * new_w];
    for (out, Weights { first, of }) in resized.chunks_exact_mut(new_w.max(1)).zip(weights(h, new_h)) {
        for (weight, row) in of.iter().zip(narrowed.chunks_exact(new_w.max(1)).skip(first)) {
            out.iter_mut().zip(row).for_each(|(sum, pixel)| *sum += weight * pixel);
        }
    }
    resized
}

/// A new pixel as a weighted mean of old pixels, starting at `first`.
struct Weights {
    first: usize,
    of: Vec<f32>,
}

fn weights(old: usize, new: usize) -> Vec<Weights> {
    let step = old as f64 / new as f64;
    let average = |at: usize| {
        let (from, to) = (at as f64 * step, ((at + 1) as f64 * step).min(old as f64));
        let (first, last) = (from.floor() as usize, (to.ceil() as usize).clamp(1, old));
        let first = first.min(last - 1);
        let covered = |pixel: usize| ((pixel + 1) as f64).min(to) - (pixel as f64).max(from);
        Weights { first, of: (first..last).map(|pixel| (covered(pixel).max(0.0) / step) as f32).collect() }
    };
    let between = |at: usize| {
        let centre = ((at as f64 + 0.5) * step - 0.5).clamp(0.0, (old - 1) as f64);
        let first = centre.floor() as usize;
        let share = (centre - first as f64) as f32;
        Weights { first, of: if share > 0.0 { vec![1.0 - share, share] } else { vec![1.0] } }
    };
    (0..new).map(|at| if new <= old { average(at) } else { between(at) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_is_the_mean_of_the_area() {
        let pixels = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(resize(&pixels, 2, 4, 1, 2), [2.5, 4.5]);
        let thirds = resize(&[0.0, 3.0, 6.0], 1, 3, 1, 2);
        assert!((thirds[0] - 1.0).abs() < 1e-6 && (thirds[1] - 5.0).abs() < 1e-6, "{thirds:?}");
        assert_eq!(resize(&pixels, 2, 4, 2, 4), pixels);
    }

    #[test]
    fn larger_is_interpolated_between_neighbours() {
        assert_eq!(resize(&[0.0, 1.0], 1, 2, 1, 4), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(resize(&[7.0], 1, 1, 2, 2), [7.0; 4]);
    }

    #[test]
    fn the_mean_is_kept_at_any_size() {
        let pixels: Vec<f32> = (0..37 * 53).map(|at| ((at * 7919) % 101) as f32 / 100.0).collect();
        let mean = |of: &[f32]| of.iter().sum::<f32>() / of.len() as f32;
        for (h, w) in [(1, 1), (5, 7), (20, 28), (37, 1), (36, 52)] {
            assert!((mean(&resize(&pixels, 37, 53, h, w)) - mean(&pixels)).abs() < 1e-4, "{h}×{w}");
        }
    }
}
