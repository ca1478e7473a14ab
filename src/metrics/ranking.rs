//! How well scores rank the samples of a class above the others: the areas under the ROC and precision-recall curves.
//! Any scores will do; they need not be probabilities.

use std::cmp::Ordering;

/// The areas of one class, or their means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Areas {
    /// The probability that a random sample of the class has a higher score than a random other one; ties count half.
    pub(super) roc: f64,
    /// The average precision Σ (Rᵢ − Rᵢ₋₁) Pᵢ, without interpolation, where samples with the same score enter together.
    pub(super) pr: f64,
}

/// The areas for the scores `outputs`, row-major `[labels.len()][classes]`. With two classes they are those of class 1;
/// with more, the mean over the classes, each against the rest. A class that has no samples or all of them is left out.
/// `None` if every class is, or a score is NaN.
pub(super) fn areas(labels: &[u32], outputs: &[f32], classes: usize) -> Option<Areas> {
    let judged = match classes {
        0 | 1 => return None,
        2 => 1..2,
        _ => 0..classes,
    };
    if outputs.iter().any(|output| output.is_nan()) {
        return None;
    }
    let mut column = Vec::with_capacity(labels.len());
    let (mut roc, mut pr, mut found) = (0.0, 0.0, 0_usize);
    for class in judged {
        column.clear();
        column.extend(
            labels
                .iter()
                .zip(outputs.chunks_exact(classes))
                .map(|(&label, row)| (row[class], label as usize == class)),
        );
        if let Some(areas) = against_the_rest(&mut column) {
            (roc, pr, found) = (roc + areas.roc, pr + areas.pr, found + 1);
        }
    }
    (found > 0).then(|| Areas { roc: roc / found as f64, pr: pr / found as f64 })
}

/// The areas for scores, each with whether its sample belongs to the class. Sorts the samples.
fn against_the_rest(column: &mut [(f32, bool)]) -> Option<Areas> {
    let members = column.iter().filter(|&&(_, member)| member).count() as u64;
    let others = column.len() as u64 - members;
    if members == 0 || others == 0 {
        return None;
    }
    // No score is NaN, so that all of them compare.
    column.sort_unstable_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    // Twice the area in units of one member and one other: whole numbers, which no order of samples can change.
    let mut twice_area: u128 = 0;
    // The area, times the number of members: exactly that number if they all come first.
    let mut pr = 0.0;
    let (mut above_members, mut above_others) = (0_u64, 0_u64);
    for tied in column.chunk_by(|(a, _), (b, _)| a == b) {
        let new_members = tied.iter().filter(|&&(_, member)| member).count() as u64;
        let new_others = tied.len() as u64 - new_members;
        twice_area += u128::from(new_others) * u128::from(2 * above_members + new_members);
        above_members += new_members;
        above_others += new_others;
        let precision = above_members as f64 / (above_members + above_others) as f64;
        pr += new_members as f64 * precision;
    }
    Some(Areas { roc: twice_area as f64 / (2.0 * members as f64 * others as f64), pr: pr / members as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        // Members at 0.9, 0.5 and 0.5; others at 0.7 and 0.5.
        let labels = [1, 0, 1, 1, 0];
        let ones = [0.9, 0.7, 0.5, 0.5, 0.5];
        let outputs: Vec<f32> = ones.iter().flat_map(|&one| [1.0 - one, one]).collect();
        let found = areas(&labels, &outputs, 2).unwrap();
        // Of the 6 pairs, 2 are in order with the member at 0.9; at 0.5 there are 2 ties and 2 in the wrong order.
        assert_eq!(found.roc, 3.0 / 6.0);
        assert!((found.pr - (1.0 / 3.0 + 2.0 / 3.0 * 3.0 / 5.0)).abs() < 1e-15);
    }

    #[test]
    fn the_order_of_the_samples_changes_nothing() {
        let labels: Vec<u32> = (0..60).map(|i| i * 7 % 3).collect();
        let outputs: Vec<f32> = (0..180).map(|i| ((i * 37) % 11) as f32).collect();
        let found = areas(&labels, &outputs, 3);
        let (mut labels, mut rows) = (labels, outputs.chunks_exact(3).collect::<Vec<_>>());
        labels.reverse();
        rows.reverse();
        assert_eq!(areas(&labels, &rows.concat(), 3), found);
    }

    #[test]
    fn zero_and_minus_zero_are_tied_and_nan_is_no_score() {
        assert_eq!(areas(&[0, 1], &[0.0, -0.0, 0.0, 0.0], 2).unwrap().roc, 0.5);
        assert_eq!(areas(&[0, 1], &[0.0, f32::NAN, 0.0, 0.0], 2), None);
        assert_eq!(areas(&[0, 1], &[0.0, f32::NEG_INFINITY, 0.0, f32::INFINITY], 2).unwrap().roc, 1.0);
        assert_eq!(areas(&[0, 0], &[0.0], 1), None);
        assert_eq!(areas(&[], &[], 2), None);
    }
}
