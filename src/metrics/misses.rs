//! The most confidently wrong predictions.

use serde::Serialize;

use super::confusion::predicted;

/// A wrong prediction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Miss {
    /// The index of the sample in the data set.
    pub(crate) sample: usize,
    /// The true class.
    pub(crate) truth: usize,
    /// The predicted class.
    pub(crate) predicted: usize,
    /// The output of the predicted class.
    pub(crate) confidence: f32,
}

/// The wrong predictions with the highest confidence, at most `most` of them, in descending order of confidence, ties in
/// the order of the data set.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn confidently_wrong(labels: &[u32], outputs: &[f32], classes: usize, most: usize) -> Vec<Miss> {
    assert_eq!(outputs.len(), labels.len() * classes, "one row of outputs for each label");
    let mut misses: Vec<Miss> = labels
        .iter()
        .zip(outputs.chunks_exact(classes.max(1)))
        .enumerate()
        .filter_map(|(sample, (&label, row))| {
            let (truth, predicted) = (label as usize, predicted(row));
            (truth != predicted).then(|| Miss { sample, truth, predicted, confidence: row[predicted] })
        })
        .collect();
    misses.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.sample.cmp(&b.sample)));
    misses.truncate(most);
    misses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_confident_miss_comes_first_and_ties_keep_their_order() {
        let outputs =
            [[0.0, 0.6, 0.0], [0.99, 0.0, 0.0], [0.0, 0.0, 0.8], [0.0, 0.6, 0.0], [0.0, 0.0, 0.7]].concat();
        let misses = confidently_wrong(&[0, 0, 1, 2, 2], &outputs, 3, 10);
        let found: Vec<_> = misses.iter().map(|m| (m.sample, m.truth, m.predicted)).collect();
        assert_eq!(found, [(2, 1, 2), (0, 0, 1), (3, 2, 1)]);
        assert_eq!(confidently_wrong(&[0, 0, 1, 2, 2], &outputs, 3, 1).len(), 1);
    }
}
