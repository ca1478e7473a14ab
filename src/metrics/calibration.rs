//! How far probabilities can be taken at their word.

use super::confusion::predicted;

/// The bins of [`calibration_error`].
const BINS: usize = 10;

/// The expected calibration error: over ten bins (b/10, (b+1)/10] of the highest probability of a sample, the mean of the
/// distance between the fraction of correct predictions and the mean probability, weighted by the samples in the bin
/// (Guo et al. 2017, equation 3). 0 is perfect. `None` without samples or if it is not finite.
///
/// `outputs` are probabilities, row-major `[labels.len()][classes]`.
pub(super) fn calibration_error(labels: &[u32], outputs: &[f32], classes: usize) -> Option<f64> {
    let mut bins = [(0.0, 0_usize); BINS];
    for (&label, row) in labels.iter().zip(outputs.chunks_exact(classes.max(1))) {
        let answer = predicted(row);
        let top = f64::from(*row.get(answer)?);
        let above = (1..BINS).take_while(|&edge| top > edge as f64 / BINS as f64).count();
        bins[above].0 += top;
        bins[above].1 += usize::from(answer == label as usize);
    }
    // |accuracy − mean probability| · samples in the bin / all samples, with the samples in the bin cancelled.
    let gap: f64 = bins.iter().map(|&(sum, correct)| (correct as f64 - sum).abs()).sum();
    Some(gap / labels.len() as f64).filter(|error| error.is_finite())
}

/// The Brier score: the mean squared distance between the probabilities and the true class. With two classes it is taken
/// over the probability of class 1 only, from 0 to 1; with more it is summed over the classes, from 0 to 2, as in
/// scikit-learn. 0 is perfect. `None` without samples or if it is not finite.
///
/// `outputs` are probabilities, row-major `[labels.len()][classes]`.
pub(super) fn brier(labels: &[u32], outputs: &[f32], classes: usize) -> Option<f64> {
    let from = usize::from(classes == 2);
    let mut sum = 0.0;
    for (&label, row) in labels.iter().zip(outputs.chunks_exact(classes.max(1))) {
        for (class, &output) in row.iter().enumerate().skip(from) {
            let truth = if class == label as usize { 1.0 } else { 0.0 };
            sum += (f64::from(output) - truth).powi(2);
        }
    }
    Some(sum / labels.len() as f64).filter(|score| score.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_by_hand() {
        // Two samples at 0.75, one of them right; one at 1, right; 0.5 belongs to the bin that ends there.
        let outputs = [[0.75, 0.25], [0.25, 0.75], [0.0, 1.0], [0.5, 0.5]].concat();
        let error = calibration_error(&[0, 0, 1, 1], &outputs, 2).unwrap();
        assert!((error - (2.0 * 0.25 + 0.0 + 0.5) / 4.0).abs() < 1e-15);
        assert_eq!(brier(&[0, 0, 1, 1], &outputs, 2), Some((0.0625 + 0.5625 + 0.0 + 0.25) / 4.0));
        assert_eq!(brier(&[2], &[0.25, 0.25, 0.5], 3), Some(0.0625 + 0.0625 + 0.25));
        assert_eq!((calibration_error(&[], &[], 2), brier(&[], &[], 2)), (None, None));
        assert_eq!(brier(&[0], &[f32::NAN, f32::NAN], 2), None);
        assert_eq!(calibration_error(&[0], &[f32::NAN, f32::NAN], 2), None);
    }
}
