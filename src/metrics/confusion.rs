//! The predicted class, and counts of samples by true and predicted class.

use serde::Serialize;

/// The class that a row of outputs predicts: the index of the largest output, the lowest index in a tie. NaN is never the
/// largest; a row of only NaN predicts class 0.
pub(crate) fn predicted(outputs: &[f32]) -> usize {
    let mut best = 0;
    for (class, &output) in outputs.iter().enumerate() {
        if output > outputs[best] || (outputs[best].is_nan() && !output.is_nan()) {
            best = class;
        }
    }
    best
}

/// The confusion matrix: counts of samples `[true][predicted]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Confusion {
    counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// An empty matrix.
    pub(crate) fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts the predictions of `outputs`, row-major `[labels.len()][classes]`.
    ///
    /// # Panics
    /// If the lengths disagree or a label is out of range, which a checked data set and its outputs rule out.
    pub(crate) fn of(labels: &[u32], outputs: &[f32], classes: usize) -> Self {
        assert_eq!(outputs.len(), labels.len() * classes, "one row of outputs for each label");
        let mut confusion = Self::new(classes);
        for (&label, row) in labels.iter().zip(outputs.chunks_exact(classes.max(1))) {
            confusion.add(label as usize, predicted(row));
        }
        confusion
    }

    /// Counts one prediction.
    ///
    /// # Panics
    /// If either class is out of range.
    pub(crate) fn add(&mut self, truth: usize, predicted: usize) {
        self.counts[truth][predicted] += 1;
    }

    /// The number of classes.
    pub(crate) fn classes(&self) -> usize {
        self.counts.len()
    }

    /// The number of samples of class `truth` that were predicted as `predicted`.
    pub(crate) fn count(&self, truth: usize, predicted: usize) -> usize {
        self.counts[truth][predicted]
    }

    /// The number of samples of a class.
    pub(crate) fn support(&self, truth: usize) -> usize {
        self.counts[truth].iter().sum()
    }

    /// The number of samples predicted as a class.
    pub(crate) fn answered(&self, predicted: usize) -> usize {
        self.counts.iter().map(|row| row[predicted]).sum()
    }

    /// The number of correct predictions.
    pub(crate) fn correct(&self) -> usize {
        (0..self.classes()).map(|class| self.counts[class][class]).sum()
    }

    /// The wrong predictions that occurred, as `(true, predicted, count)`, most frequent first, ties by class.
    pub(crate) fn confusions(&self) -> Vec<(usize, usize, usize)> {
        let mut all = Vec::new();
        for (truth, row) in self.counts.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                if truth != predicted && count > 0 {
                    all.push((truth, predicted, count));
                }
            }
        }
        all.sort_by_key(|&(truth, predicted, count)| (std::cmp::Reverse(count), truth, predicted));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_index_wins_a_tie_and_nan_never_wins() {
        assert_eq!(predicted(&[0.2, 0.5, 0.5]), 1);
        assert_eq!(predicted(&[0.0, 0.0]), 0);
        assert_eq!(predicted(&[f32::NAN, -3.0, -2.0]), 2);
        assert_eq!(predicted(&[0.1, f32::NAN, 0.2]), 2);
        assert_eq!(predicted(&[f32::NAN, f32::NAN]), 0);
        assert_eq!(predicted(&[f32::NEG_INFINITY, f32::NAN]), 0);
    }
}
